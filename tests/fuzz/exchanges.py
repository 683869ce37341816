"""A whole exchange without a proxy: any request of a client, any answer of an upstream, in both dialects."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import get_args

from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.policy.settings.schema import Signatures
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.wire.translate.common import UntranslatableError

from tests.fuzz.target import Target, cut, value_in
from tests.policy.exchange.stage import JSON, SSE, End, Mode, Script, Stage, accounts_named
from tests.support.recorded import RECORDED

BORDER = b"\n\x00\n"
"""Between what the client asks and what upstream answers."""
_MODES: tuple[Mode, ...] = get_args(Mode)
_DIALECTS = ("anthropic", "gemini")


def exchange(data: bytes) -> None:
    """No request and no answer breaks an exchange: it comes to an end and logs no bug."""
    head, (asked, _, answered) = data[:3].ljust(3, b"\0"), data[3:].partition(BORDER)
    client, upstream = _DIALECTS[head[0] & 1], _DIALECTS[head[0] >> 1 & 1]
    mode = _MODES[head[0] >> 2 & 1]
    status = (200, 200, 200, 400, 429, 500, 529, 404)[head[0] >> 5]
    headers = JSON if head[0] & 16 else SSE
    pieces = tuple(cut(answered, head[1] * 16 + 1))[:40]
    end: End = "cut" if head[2] & 1 else "end"
    with _no_bugs(), suppress(UntranslatableError):
        Stage(
            lambda number: Script(status, headers, pieces if number < 3 else pieces[:1], end),
            dialect=client,
            mode=mode,
            accounts=Accounts(accounts_named("a", "b", dialect=upstream)),
            value=value_in(asked),
            signatures=SignatureStore(None, Signatures()),
        ).play()


class _Keeping(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.found.append(record)


@contextmanager
def _no_bugs() -> Iterator[None]:
    handler = _Keeping(logging.ERROR)
    logger = logging.getLogger("antigravity_healing")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
    for record in handler.found:
        if record.exc_info and record.exc_info[1] is not None:
            raise record.exc_info[1]
        raise AssertionError(record.getMessage())


def _seeds() -> list[bytes]:
    made = []
    for each in RECORDED:
        if each.request_body:
            client = _DIALECTS.index(each.dialect)
            mode = 0 if each.is_stream else 1
            status = 3 if each.status >= 400 else 0
            flags = client | client << 1 | mode << 2 | (0 if each.is_stream else 16) | status << 5
            made.append(bytes([flags, 255, 0]) + each.request_body + BORDER + each.response_body)
    return made


EXCHANGES = [Target("exchange", exchange, _seeds)]
