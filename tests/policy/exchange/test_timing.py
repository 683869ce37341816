from typing import Any

import pytest
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.timing import attempt_deadline
from antigravity_healing.policy.judging.gate import Gate
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.settings.schema import BUILT_IN, Peek
from antigravity_healing.wire.anthropic.dialect import Anthropic

from tests.policy.exchange.stage import request_in

PEEK = Peek(first_byte=30.0, silence=12.0, first_content=60.0, idle=25.0, first_byte_json=90.0)
OFF = Peek(first_byte=None, silence=None, first_content=None, idle=None, progress=None)


def attempt(*, head: float | None = None, last_byte: float = 0.0, gate: str = "", **more: Any) -> Attempt:
    """An attempt that began at 90 and was held up until 100; gate: "held", "committed" or "answering"."""
    account = Account("work", "work", "anthropic", BUILT_IN["anthropic"])
    made = Attempt(1, account, "m", request_in("anthropic").as_it_is(), 90.0, **more)
    made.times.left_at = 100.0
    made.times.head_at, made.times.last_byte_at = head, last_byte
    made.times.progress_at = last_byte
    if gate:
        made.gate = Gate(Anthropic(), "first_content", grace_s=2.0, wall_s=0.0)
        if gate != "held":
            made.gate.commit()
        made.gate.content = gate == "answering"
    return made


@pytest.mark.parametrize(
    ("made", "streams", "pings", "at", "word"),
    [
        (attempt(), True, True, 130.0, "no response headers"),
        (attempt(), False, True, 190.0, "no response headers"),
        # Before commit: silence for those that ping, and always the first content.
        (attempt(head=110.0, last_byte=110.0, gate="held"), True, True, 122.0, "nothing came"),
        (attempt(head=110.0, last_byte=120.0, gate="held"), True, True, 132.0, "nothing came"),
        (attempt(head=110.0, last_byte=110.0, gate="held"), True, False, 160.0, "no content"),
        (attempt(head=110.0, last_byte=155.0, gate="held"), True, True, 160.0, "no content"),
        # Let through without having content yet, as on the last try: the same, and idle.
        (attempt(head=110.0, last_byte=110.0, gate="committed"), True, True, 122.0, "nothing came"),
        (attempt(head=110.0, last_byte=110.0, gate="committed"), True, False, 135.0, "nothing more"),
        (attempt(head=110.0, last_byte=155.0, gate="committed"), True, True, 160.0, "no content"),
        # With content: idle only.
        (attempt(head=110.0, last_byte=155.0, gate="answering"), True, True, 180.0, "nothing more"),
        (attempt(head=110.0, last_byte=500.0, gate="answering"), True, False, 525.0, "nothing more"),
        (attempt(head=110.0, last_byte=115.0, passes_unread=True), True, False, 140.0, "nothing more"),
        (attempt(head=110.0, last_byte=115.0), False, True, 140.0, "nothing more"),
    ],
)
def test_the_clock_that_runs(made: Attempt, streams: bool, pings: bool, at: float, word: str) -> None:
    due = attempt_deadline(made, PEEK, streams=streams, pings=pings)
    assert due is not None
    assert due[0] == at
    assert word in due[1]


@pytest.mark.parametrize("pings", [True, False])
@pytest.mark.parametrize("gate", ["", "held", "committed", "answering"])
@pytest.mark.parametrize("head", [None, 110.0])
def test_clocks_can_be_turned_off(pings: bool, gate: str, head: float | None) -> None:
    made = attempt(head=head, last_byte=110.0, gate=gate if head else "")
    assert attempt_deadline(made, OFF, streams=True, pings=pings) is None


def test_what_peek_finds_says_so_in_the_words_people_search_for() -> None:
    for made in (attempt(), attempt(head=110.0, last_byte=110.0, gate="held")):
        due = attempt_deadline(made, PEEK, streams=True, pings=True)
        assert due is not None
        assert due[1].startswith("Timeout waiting for first data")


def test_pings_do_not_move_the_clock_of_the_first_content() -> None:
    for last_byte in (110.0, 130.0, 159.0):
        due = attempt_deadline(attempt(head=110.0, last_byte=last_byte, gate="held"), PEEK, streams=True, pings=False)
        assert due is not None
        assert due[0] == 160.0


def test_no_clock_runs_for_what_has_not_left() -> None:
    made = attempt()
    made.times.left_at = None
    assert attempt_deadline(made, PEEK, streams=True, pings=True) is None
    assert attempt_deadline(made, PEEK, streams=False, pings=True) is None
