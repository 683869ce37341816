"""Records of exchanges as the journal tells them; it has no tests of its own."""

from collections.abc import Iterator

from antigravity_healing.policy.journal.records import (
    AttemptFacts,
    ExchangeEnd,
    ExchangeFacts,
    Finding,
    Outcome,
    Record,
)
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.wire.usage import Usage

AT = 1_700_000_000.0
DAY_S = 24 * 3600.0


def facts(exchange: str = "e", at: float = AT, **more: str) -> ExchangeFacts:
    told = {"path": "/v1/messages", "client": "c", "conversation": "talk", "model": "m", "mapped_model": "m", **more}
    return ExchangeFacts(exchange, "anthropic", at, "POST", streams=True, **told)


def attempt(
    number: int = 1, account: str = "a", failure: FailureClass | None = None, at: float = AT, usage: Usage | None = None
) -> AttemptFacts:
    return AttemptFacts(
        number,
        account,
        "anthropic",
        "m",
        at,
        "accounts[0]",
        "https://api.example",
        200 if failure is None else 500,
        failure,
        "" if failure is None else "Bad day",
        first_byte_s=0.1,
        first_content_s=0.2,
        last_byte_s=0.3,
        over_s=0.4,
        bytes=100,
        usage=usage,
        repaired=("strip", "text"),
        delivered=failure is None,
    )


def end(outcome: Outcome, *attempts: AttemptFacts, what: str = "what", **more: float) -> ExchangeEnd:
    usage = next((each.usage for each in attempts if each.usage), None)
    return ExchangeEnd(outcome, Finding(what, "done", "do"), 200, usage=usage, attempts=attempts, **more)


def received(of: ExchangeFacts) -> Record:
    return Record("received", of.at, of.at, of)


def attempt_over(of: ExchangeFacts, one: AttemptFacts) -> Record:
    return Record("attempt_over", of.at, of.at, of, attempt=one)


def over(of: ExchangeFacts, how: ExchangeEnd) -> Record:
    return Record("over", of.at, of.at, of, how.outcome, end=how)


def refused(text: str, at: float, exchange: str = "e", client: str = "c") -> Record:
    return Record("refused", at, at, facts(exchange, at, client=client), text)


def whole(of: ExchangeFacts, how: ExchangeEnd) -> Iterator[Record]:
    """All that is told of an exchange."""
    yield received(of)
    yield from (attempt_over(of, one) for one in how.attempts)
    yield over(of, how)
