"""Whoever tells of exchanges never waits for who sends it on, and nothing grows without end."""

import threading
from collections.abc import Sequence

from antigravity_healing.monitor.tracing.tracing import MOST_WAITING, Batches
from antigravity_healing.policy.journal.records import ExchangeEnd, ExchangeFacts, Finding, Record

END = ExchangeEnd("clean", Finding("x"))


def record(number: int, end: ExchangeEnd | None = END) -> Record:
    return Record("over", 0.0, 0.0, ExchangeFacts(f"e{number}", "gemini", 0.0), end=end)


class Sending:
    """Sends nothing before `open` is set, and then remembers it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.open = threading.Event()
        self.began = threading.Event()
        self.sent: list[str] = []
        self.closed = False
        self._fails = fails

    def send(self, records: Sequence[Record]) -> str:
        self.began.set()
        self.open.wait(15)
        self.sent += [record.exchange.exchange for record in records]
        if self._fails:
            raise ValueError("odd")
        return ""

    def close(self) -> None:
        self.closed = True
        self.open.set()


def test_all_that_is_over_is_sent_in_its_order() -> None:
    sending = Sending()
    sending.open.set()
    batches = Batches(sending)
    for number in range(700):
        batches.take(record(number))
        batches.take(record(-1, end=None))
    batches.close()
    assert sending.sent == [f"e{number}" for number in range(700)]
    assert sending.closed


def test_while_nothing_can_be_sent_only_so_much_waits() -> None:
    sending = Sending()
    batches = Batches(sending)
    batches.take(record(0))
    assert sending.began.wait(15)
    for number in range(2 * MOST_WAITING):
        batches.take(record(1 + number))
    sending.open.set()
    batches.close()
    assert sending.sent == [f"e{number}" for number in range(1 + MOST_WAITING)]


def test_what_can_not_be_sent_does_not_stop_what_comes_later() -> None:
    sending = Sending(fails=True)
    sending.open.set()
    batches = Batches(sending)
    for number in range(600):
        batches.take(record(number))
    batches.close()
    assert len(sending.sent) == 600
