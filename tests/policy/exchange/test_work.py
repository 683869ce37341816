"""What takes time is asked for, and meanwhile nothing else touches what it is about."""

from typing import Any
from unittest.mock import patch

import pytest
from antigravity_healing.policy.exchange.actions import LONG_BYTES, Abort, Action, Finish, Respond, Send, Start, Work
from antigravity_healing.policy.exchange.answer_reader import AnswerReader
from antigravity_healing.policy.exchange.attempt import Attempt, NoSecrets
from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.judging.intake import MOST_LINES
from antigravity_healing.policy.routing.accounts import Accounts

from tests.policy.exchange.stage import JSON, SSE, Mode, Script, Stage, accounts_named, play
from tests.policy.exchange.test_exchange import GOOD, INTERNAL, STREAM, script
from tests.policy.exchange.test_repairs import BLOCK, VALUE, store
from tests.support.protocol import check_anthropic_stream
from tests.upstream import (
    anthropic_error,
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


# Long requests.


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {**VALUE, "system": text, **more}


@pytest.mark.parametrize("text", [LONG, "short"])
def test_later_attempts_of_long_requests_are_prepared_beside_everything_else(text: str) -> None:
    played = play([INTERNAL, GOOD], value=asked(text), signatures=store())
    assert (played.exchange.outcome, played.body, played.attempts) == ("healed", STREAM, 2)
    first, second = (each.attempt.body for each in played.played)
    assert first == second
    # The second attempt, and what is kept of its answer.
    assert played.works == (2 if text == LONG else 0)


def test_a_request_of_very_many_objects_counts_as_long() -> None:
    played = play([INTERNAL, GOOD], value=asked("short", tools=[{}] * 2000), signatures=store())
    assert (played.exchange.outcome, played.works) == ("healed", 2)


@pytest.mark.parametrize("text", [LONG, "short"])
def test_repairs_of_long_requests_are_found_beside_everything_else(text: str) -> None:
    played = play([BLOCK, GOOD], value=asked(text), signatures=store())
    assert (played.exchange.outcome, played.body, played.attempts) == ("healed", STREAM, 2)
    assert b"thinking" not in played.played[1].attempt.body
    # The repair, the second attempt, and what is kept.
    assert played.works == (3 if text == LONG else 0)


@pytest.mark.parametrize("text", [LONG, "short"])
def test_what_upstream_does_not_take_is_left_out_of_long_requests_beside_everything_else(text: str) -> None:
    refusal = script(anthropic_error(400, "invalid_request_error", "streaming is not supported for this model"))
    whole = anthropic_json("fine").whole
    played = play([refusal, Script(headers=JSON, body=(whole,))], value=asked(text), mode="json")
    assert (played.exchange.outcome, played.body, played.attempts) == ("healed", whole, 2)
    assert [each.attempt.asked.streams for each in played.played] == [True, False]
    assert played.works == (3 if text == LONG else 0)


@pytest.mark.parametrize("text", [LONG, "short"])
def test_long_requests_are_continued_beside_everything_else(text: str) -> None:
    begun = gemini_chunk([{"text": "one "}], finish_reason="CONTINUATION")
    begun["candidates"][0]["continuationToken"] = "dG9rZW4="
    scripts = [Script(body=(gemini_event(begun),)), Script(body=tuple(gemini_events("two")))]
    value = {"max_tokens": 9, "messages": [{"role": "user", "content": f"one{text}"}]}
    accounts = Accounts(accounts_named("a", dialect="gemini"))
    played = play(scripts, value=value, accounts=accounts, signatures=store())
    assert (played.exchange.outcome, played.attempts) == ("clean", 2)
    assert check_anthropic_stream(played.body).text == "one two"
    # That it goes on, the second attempt, and what is kept; what has been said is taken over beside in any case.
    assert played.works == (3 if text == LONG else 1)


def while_preparing() -> tuple[Stage, Work]:
    """An exchange whose second attempt is being prepared."""
    stage = Stage(lambda number: Script(), value=asked(LONG))
    stage.exchange.start()
    (start,) = drained(stage.exchange)
    assert isinstance(start, Start)
    stage.exchange.body_ended(start.attempt, "connection reset")
    (work,) = drained(stage.exchange)
    assert isinstance(work, Work)
    return stage, work


def test_who_leaves_while_an_attempt_is_prepared_has_nothing_sent() -> None:
    stage, work = while_preparing()
    assert stage.exchange.deadline is None
    stage.exchange.client_left()
    assert not drained(stage.exchange)
    assert not done(stage.exchange, work)
    assert stage.exchange.outcome == "client_left"
    assert all(each["active"] == 0 for each in stage.accounts.report(stage.clock.at))


def test_an_attempt_that_can_not_be_prepared_is_sent_as_the_client_asked() -> None:
    stage, work = while_preparing()
    stage.exchange.worked(work, None, RuntimeError("a bug"))
    (start,) = drained(stage.exchange)
    assert isinstance(start, Start)
    assert start.attempt.body == stage.exchange.request.body
    assert start.attempt in stage.exchange.attempts


# What happens meanwhile.


def drained(exchange: Exchange) -> list[Action]:
    """What is to be done now."""
    actions = list(exchange.actions)
    exchange.actions.clear()
    return actions


def at_work(body: bytes) -> tuple[Exchange, Attempt, Work]:
    """An exchange for which something is found out."""
    exchange, attempt = under_way()
    tell(exchange, attempt, body)
    (work,) = (action for action in drained(exchange) if isinstance(action, Work))
    return exchange, attempt, work


def under_way(dialect: str = "anthropic", mode: Mode = "sse") -> tuple[Exchange, Attempt]:
    """An exchange whose attempt has been answered."""
    exchange = Stage(lambda number: Script(), dialect, mode).exchange
    exchange.start()
    (start,) = drained(exchange)
    assert isinstance(start, Start)
    exchange.head(start.attempt, 200, SSE)
    return exchange, start.attempt


def tell(exchange: Exchange, attempt: Attempt, body: bytes) -> None:
    """More of the body comes, as a socket brings it."""
    for at in range(0, len(body), 65536):
        exchange.data(attempt, body[at : at + 65536])
        exchange.read_data()


def done(exchange: Exchange, work: Work) -> list[Action]:
    """All that follows once the work is done, works included."""
    exchange.worked(work, work.work())
    actions: list[Action] = []
    while True:
        exchange.read_data()
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
        exchange.body_ended(attempt)
    exchange.wakeup()
    assert exchange.deadline is None
    assert not drained(exchange)
    actions = done(exchange, work)
    if ended == "after":
        exchange.body_ended(attempt)
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
    assert exchange.outcome == "client_left"


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
    exchange.body_ended(attempt)
    actions = drained(exchange)
    assert sent(actions) == BEGIN + REST
    assert isinstance(actions[-1], Finish)


class FailsOnce(NoSecrets):
    """A redactor with a bug."""

    failed = False

    def redact(self, data: bytes) -> bytes:
        if not self.failed:
            self.failed = True
            raise RuntimeError("a bug")
        return data


@pytest.mark.parametrize("broken", ["redactor", "delivery"])
def test_a_bug_behind_the_gate_neither_doubles_nor_loses_what_went_in(broken: str) -> None:
    body = b"".join(anthropic_events("fine"))
    for at in range(0, len(body), 7):
        exchange, attempt = under_way()
        if broken == "redactor":
            attempt.redactor = FailsOnce()
            tell(exchange, attempt, body[:at])
        else:
            with patch.object(AnswerReader, "_through_gate", side_effect=RuntimeError("a bug")):
                tell(exchange, attempt, body[:at])
        tell(exchange, attempt, body[at:])
        exchange.body_ended(attempt)
        actions = drained(exchange)
        assert sent(actions) == body, at
        assert isinstance(actions[-1], Finish)


def test_an_error_in_a_long_event_is_healed() -> None:
    failing = anthropic_event({"type": "error", "error": {"type": "overloaded_error", "message": LONG}})
    good = b"".join(anthropic_events("fine"))
    played = play([Script(body=(failing,)), Script(body=(good,))])
    assert (played.exchange.outcome, played.body, played.attempts) == ("healed", good, 2)


@pytest.mark.parametrize("mode", ["array", "sse"])
@pytest.mark.parametrize("tiny", [b"{},", b'{"a":[[[[]]]]},'])
def test_an_array_of_tiny_elements_is_looked_at_few_at_a_time(mode: Mode, tiny: bytes) -> None:
    exchange, attempt = under_way("gemini", mode)
    gate, seen, shares = attempt.gate, 0, 0
    assert gate is not None
    for body in (b"[" + tiny * 3000, tiny * 3000):
        exchange.data(attempt, body)
        while attempt.incoming.intake.waiting:
            exchange.read_data()
            assert 0 < gate.progress - seen <= MOST_LINES
            seen, shares = gate.progress, shares + 1
            exchange.wakeup()
    assert seen == 6000
    assert shares > 6000 / MOST_LINES
