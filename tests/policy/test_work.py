"""What takes time is asked for, and meanwhile nothing else touches what it is about."""

import pytest
from healing.policy.actions import LONG_BYTES, Abort, Action, Finish, Respond, Send, Start, Work
from healing.policy.attempt import Attempt
from healing.policy.exchange import Exchange

from tests.policy.stage import JSON, SSE, Script, Stage, play
from tests.upstream import (
    anthropic_error_body,
    anthropic_event,
    anthropic_events,
    anthropic_json,
    gemini_chunk,
    gemini_event,
    gemini_events,
)
from tests.upstream.anthropic import compact

LONG = "z" * LONG_BYTES


def image(size: int) -> bytes:
    """An event with an image of so many bytes."""
    return gemini_event(gemini_chunk([{"inlineData": {"mimeType": "image/png", "data": "A" * size}}]))


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("anthropic", b"".join(anthropic_events(LONG, pieces=1))),
        ("gemini", image(LONG_BYTES) + b"".join(gemini_events("fine"))),
    ],
)
def test_a_long_event_is_understood_beside_everything_else(dialect: str, body: bytes) -> None:
    shares = tuple(body[at : at + 50_000] for at in range(0, len(body), 50_000))
    played = play([Script(body=shares)], dialect=dialect)
    assert (played.exchange.outcome, played.body, played.attempts) == ("clean", body, 1)
    # The event, and what is kept of the answer.
    assert played.works == 2


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_what_is_short_is_understood_at_once(dialect: str) -> None:
    events = anthropic_events("fine") if dialect == "anthropic" else gemini_events("fine")
    played = play([Script(body=tuple(events))], dialect=dialect)
    assert (played.exchange.outcome, played.body, played.works) == ("clean", b"".join(events), 0)


@pytest.mark.parametrize("text", [LONG, "short"])
def test_whole_answers_are_judged_beside_everything_else_if_they_are_long(text: str) -> None:
    whole = anthropic_json(text).whole
    played = play([Script(headers=JSON, body=(whole,))], mode="json")
    assert (played.exchange.outcome, played.body) == ("clean", whole)
    assert bool(played.works) == (text == LONG)


@pytest.mark.parametrize("text", [LONG, "short"])
def test_errors_are_judged_beside_everything_else_if_they_are_long(text: str) -> None:
    whole = compact(anthropic_error_body("invalid_request_error", text)).encode()
    played = play([Script(400, JSON, (whole,))], mode="json")
    assert (played.exchange.outcome, played.body, played.attempts) == ("failed", whole, 1)
    assert played.respond is not None
    assert played.respond.status == 400
    assert bool(played.works) == (text == LONG)


# What happens meanwhile.


def drained(exchange: Exchange) -> list[Action]:
    """What is to be done now."""
    actions = list(exchange.actions)
    exchange.actions.clear()
    return actions


def at_work(body: bytes) -> tuple[Exchange, Attempt, Work]:
    """An exchange for which something is found out."""
    exchange = Stage(lambda number: Script()).exchange
    exchange.start()
    (start,) = drained(exchange)
    assert isinstance(start, Start)
    exchange.head(start.attempt, 200, SSE)
    tell(exchange, start.attempt, body)
    (work,) = (action for action in drained(exchange) if isinstance(action, Work))
    return exchange, start.attempt, work


def tell(exchange: Exchange, attempt: Attempt, body: bytes) -> None:
    """More of the body comes, as a socket brings it."""
    for at in range(0, len(body), 65536):
        exchange.data(attempt, body[at : at + 65536])
        exchange.settle()


def done(exchange: Exchange, work: Work) -> list[Action]:
    """All that follows once the work is done, works included."""
    exchange.worked(work, work.work())
    actions: list[Action] = []
    while True:
        exchange.settle()
        if not (found := drained(exchange)):
            return actions
        for action in found:
            if isinstance(action, Work):
                exchange.worked(action, action.work())
            else:
                actions.append(action)


def sent(actions: list[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Send))


EVENTS = anthropic_events(LONG, pieces=1)
BEGIN, REST = b"".join(EVENTS[:3]), b"".join(EVENTS[3:])


@pytest.mark.parametrize("ended", ["before", "after"])
def test_what_comes_meanwhile_waits(ended: str) -> None:
    exchange, attempt, work = at_work(BEGIN)
    tell(exchange, attempt, REST)
    if ended == "before":
        exchange.end(attempt)
    exchange.wakeup()
    assert exchange.deadline is None
    assert not drained(exchange)
    actions = done(exchange, work)
    if ended == "after":
        exchange.end(attempt)
        actions += drained(exchange)
    assert sent(actions) == BEGIN + REST
    assert isinstance(actions[0], Respond)
    assert exchange.outcome == "clean"


def test_who_leaves_meanwhile_gets_nothing_more() -> None:
    exchange, _, work = at_work(BEGIN)
    exchange.client_left()
    (abort,) = drained(exchange)
    assert isinstance(abort, Abort)
    assert not done(exchange, work)
    assert exchange.outcome == "failed"


def test_what_a_person_ends_meanwhile_ends_afterwards() -> None:
    exchange, attempt, work = at_work(BEGIN)
    exchange.killed(attempt)
    assert not drained(exchange)
    actions = done(exchange, work)
    assert exchange.outcome == "failed"
    assert isinstance(actions[-1], Finish)
    assert len(exchange.attempts) == 1


@pytest.mark.parametrize("more", [b"", REST])
def test_a_bug_in_it_costs_the_client_nothing(more: bytes) -> None:
    exchange, attempt, work = at_work(BEGIN)
    tell(exchange, attempt, more)
    exchange.worked(work, None, RuntimeError("a bug"))
    tell(exchange, attempt, REST.removeprefix(more))
    exchange.end(attempt)
    actions = drained(exchange)
    assert sent(actions) == BEGIN + REST
    assert isinstance(actions[-1], Finish)


def test_an_error_in_a_long_event_is_healed() -> None:
    failing = anthropic_event({"type": "error", "error": {"type": "overloaded_error", "message": LONG}})
    good = b"".join(anthropic_events("fine"))
    played = play([Script(body=(failing,)), Script(body=(good,))])
    assert (played.exchange.outcome, played.body, played.attempts) == ("healed", good, 2)
