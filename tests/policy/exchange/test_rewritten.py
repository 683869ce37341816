"""Exchanges whose client gets something else than upstream's events: the invariants, under any schedule of faults."""

import json
from dataclasses import replace
from typing import Any

import pytest
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.exchange.retry_table import RetryBudget
from antigravity_healing.policy.judging.written import Rewriting
from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.exchange.stage import DIALECTS, FakeClock, Script, Stage, accounts_named, play
from tests.policy.exchange.test_schedules import (
    DialectName,
    World,
    check_budgets,
    report_of,
    script_of,
    steady,
    tag,
    worlds,
)
from tests.support.examples import examples
from tests.support.protocol import (
    check_anthropic_error,
    check_anthropic_json,
    check_gemini_error,
    check_gemini_json,
)
from tests.upstream import anthropic_events, anthropic_json, gemini_events

ASKED: dict[DialectName, Any] = {
    "anthropic": {"max_tokens": 9, "messages": [{"role": "user", "content": "one"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "one"}]}]},
}


def rewritten(world: World, upstream: DialectName) -> Stage:
    """A client that does not stream, or speaks another dialect than upstream; upstream always streams."""

    def script_for(number: int) -> Script:
        return script_of(world.faults[min(number, len(world.faults)) - 1], number, upstream, "sse")

    return Stage(
        script_for,
        dialect=world.dialect,
        mode="json" if world.mode == "json" else "sse",
        accounts=Accounts(accounts_named(*"abcd"[: world.accounts], dialect=upstream), world.retry.strategy),
        budget=RetryBudget(world.spare),
        rules=Rules(world.retry, world.peek),
        clock=FakeClock(),
        seed=world.seed,
        leave_at=world.leave_at,
        value=ASKED[world.dialect],
    )


@settings(steady, max_examples=examples(200))
@given(worlds, st.sampled_from(["anthropic", "gemini"]), st.sampled_from(["json", "sse"]))
def test_whatever_happens_the_invariants_hold(world: World, upstream: DialectName, mode: str) -> None:
    world = replace(world, mode=mode, cooling=(None,) * 3)  # type: ignore[arg-type]
    if mode == "sse" and upstream == world.dialect:
        world = replace(world, dialect="gemini" if upstream == "anthropic" else "anthropic")
    played = rewritten(world, upstream).play()
    check_budgets(world, played)
    if played.respond is None:
        return
    status, outcome = played.respond.status, played.exchange.outcome
    if not played.respond.streams and status >= 400:
        assert outcome == "failed"
        if world.dialect == "anthropic":
            # What upstream said to a client of its own is passed on as it is.
            check_anthropic_error(status, played.body, any_status=upstream == "anthropic")
        else:
            check_gemini_error(status, played.body)
        return
    if played.left and not played.respond.streams:
        assert not played.body
        return
    keep_alive = DIALECTS[world.dialect].keep_alive
    assert played.sent_before_commit.replace(keep_alive, b"") == b"" or not played.respond.streams
    if played.respond.streams:
        broken = played.finish is not None and bool(played.finish.broken)
        report = report_of(world, played.body, allow_cut=played.left or broken)
    else:
        report = (check_anthropic_json if world.dialect == "anthropic" else check_gemini_json)(played.body)
    # Of one attempt only, and of a whole answer all or nothing.
    assert tag(played.attempts).startswith(report.text)
    if not played.respond.streams:
        assert report.text in ("", tag(played.attempts))
        assert played.responded_at == played.finished_at
    if outcome in ("clean", "healed"):
        assert report.ended == "complete"
    elif not played.left:
        assert report.ended in ("error", "cut") or report.text == ""


BROKEN = RuntimeError("broken on purpose")


def breaks(*_: object, **__: object) -> Any:
    raise BROKEN


ANTHROPIC = Script(body=tuple(anthropic_events("Hello")))
GEMINI = Script(body=tuple(gemini_events("Hello")))


def test_a_bug_of_ours_costs_an_upgraded_request_one_call_and_not_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rewriting, "event", breaks)
    plain = anthropic_json("as it is")
    headers = ((b"content-type", b"application/json"),)
    played = Stage(
        lambda number: ANTHROPIC if number == 1 else Script(headers=headers, body=(plain.whole,)),
        mode="json",
        value=ASKED["anthropic"],
    )
    played._check_end = lambda: None  # type: ignore[method-assign]
    played.play()
    assert played.body == plain.whole
    assert [each.attempt.asked.streams for each in played.played] == [True, False]
    assert played.played[0].aborted


def test_a_bug_of_ours_in_a_translation_ends_the_exchange_and_nothing_is_made_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AnthropicAnswer, "take", breaks)
    accounts = Accounts(accounts_named("a", dialect="gemini"))
    played = Stage(lambda _: GEMINI, accounts=accounts, value=ASKED["anthropic"])
    exchange = played.exchange
    exchange.start()
    attempt = exchange.attempts[0]
    exchange.head(attempt, 200, GEMINI.headers)
    exchange.data(attempt, GEMINI.whole)
    exchange.read_data()
    assert exchange.crashed
    assert all(type(action).__name__ != "Send" for action in exchange.actions)
    exchange.client_left()
    assert exchange.outcome == "failed"


def test_an_answer_that_has_said_all_and_does_not_end_is_waited_for_a_moment_only() -> None:
    for upstream, script in (("anthropic", ANTHROPIC), ("gemini", GEMINI)):
        hanging = replace(script, end="hang")
        accounts = Accounts(accounts_named("a", dialect=upstream))
        for mode in ("json", "sse"):
            client = upstream if mode == "json" else {"anthropic": "gemini", "gemini": "anthropic"}[upstream]
            played = play([hanging], dialect=client, mode=mode, accounts=accounts, value=ASKED[client])  # type: ignore[index]
            assert played.exchange.outcome == "clean"
            # What has an end of its own is over with it, what has none a moment after its stop.
            assert played.finished_at == (1000.0 if upstream == "anthropic" else 1002.0)


def test_the_same_body_is_asked_for_again_after_a_failure() -> None:
    accounts = Accounts(accounts_named("a", "b", dialect="gemini"))
    cut = replace(GEMINI, body=GEMINI.body[:1], end="cut")
    played = play([cut, GEMINI], mode="json", accounts=accounts, value=ASKED["anthropic"])
    first, second = (each.attempt for each in played.played)
    assert first.body == second.body == dump(json.loads(first.body))
    assert played.exchange.outcome == "healed"
