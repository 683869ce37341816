"""Repairs inside an exchange: where they are made, what they cost, and what the client gets when none helps."""

import json
from typing import Any

import pytest
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.exchange.retry_table import RetryBudget
from antigravity_healing.policy.settings.schema import Peek, Retry, Signatures
from antigravity_healing.policy.signing.store import SignatureStore

from tests.policy.exchange.stage import JSON, Script, Stage, play
from tests.policy.exchange.test_exchange import GOOD, INTERNAL, STREAM, limited_for, script
from tests.upstream import anthropic_error, anthropic_events, gemini_chunk, gemini_event, gemini_events

BLOCK = script(
    anthropic_error(400, "invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block")
)
LATEST = script(
    anthropic_error(
        400,
        "invalid_request_error",
        "messages.3.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be"
        " modified.",
    )
)
CALLER = script(anthropic_error(400, "invalid_request_error", "max_tokens: Field required"))
SIGNED = "c2lnbmVk" * 10
VALUE = {
    "messages": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "A", "signature": SIGNED}]},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "B", "signature": SIGNED}]},
        {"role": "user", "content": "three"},
    ]
}
CALLED = {
    "contents": [
        {"role": "user", "parts": [{"text": "one"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {}}}]},
    ]
}
UNSIGNED = Script(body=(gemini_event(gemini_chunk(None, finish_reason="MISSING_THOUGHT_SIGNATURE")),))
ANSWERED = Script(body=(b"".join(gemini_events("Hello")),))


def store() -> SignatureStore:
    return SignatureStore(None, Signatures())


def acted(scripts: list[Script], **stage: Any) -> Stage:
    return play(scripts, **{"value": VALUE, "signatures": store(), **stage})


def test_a_repair_is_made_on_the_same_account_after_a_moment() -> None:
    played = acted([BLOCK, GOOD])
    assert (played.body, played.exchange.outcome) == (STREAM, "healed")
    assert played.names[0] == played.names[1]
    assert 0.16 <= played.waited_s <= 0.24
    assert "repair" in played.steps()
    assert "retry" not in played.steps()
    assert "thinking" not in played.played[1].attempt.body.decode()
    assert played.exchange.meta["attempts"][1]["repaired"] == ["strip"]


def test_repairs_count_neither_as_attempts_nor_against_the_storm_budget() -> None:
    nothing_left = RetryBudget(spare=0)
    played = acted([LATEST, BLOCK, GOOD], rules=Rules(Retry(max_attempts=1)), budget=nothing_left)
    assert (played.attempts, played.exchange.outcome) == (3, "healed")
    played = acted([BLOCK, INTERNAL, INTERNAL, GOOD])
    assert (played.attempts, played.exchange.outcome) == (4, "healed")
    assert b"thinking" not in played.played[3].attempt.body, "what was repaired stays so on another account"


def test_when_nothing_helps_the_client_gets_the_first_error_unchanged() -> None:
    played = acted([LATEST, BLOCK, CALLER])
    assert played.respond is not None
    assert (played.respond.status, played.body) == (400, LATEST.whole)
    assert played.header("x-healing-attempts") == "3"
    assert played.exchange.outcome == "failed"


def test_a_failure_of_another_kind_after_a_repair_is_told_itself() -> None:
    played = acted([BLOCK, limited_for(5000)])
    assert played.respond is not None
    assert (played.respond.status, played.body) == (429, limited_for(5000).whole)


def test_without_anything_to_repair_there_is_one_call() -> None:
    played = acted([BLOCK], value={"messages": [{"role": "user", "content": "one"}]})
    assert played.respond is not None
    assert (played.attempts, played.respond.status, played.body) == (1, 400, BLOCK.whole)


def test_a_bug_in_the_repairs_costs_nothing_but_the_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("a bug")

    for name in ("prepare", "after", "capture", "served"):
        monkeypatch.setattr(f"antigravity_healing.policy.signing.repairs.Repairs.{name}", broken)
        assert acted([GOOD]).body == STREAM
        assert acted([GOOD]).exchange.outcome == "clean"
        assert acted([BLOCK, GOOD]).exchange.pass_through is None


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_an_empty_answer_for_a_missing_signature_is_held_and_repaired(max_attempts: int) -> None:
    rules = Rules(Retry(max_attempts=max_attempts))
    played = acted([UNSIGNED, ANSWERED], dialect="gemini", value=CALLED, rules=rules)
    assert (played.body, played.exchange.outcome, played.attempts) == (ANSWERED.whole, "healed", 2)
    [_, second] = played.played
    assert b"skip_thought_signature_validator" in second.attempt.body


def test_when_that_does_not_help_the_client_gets_the_empty_answer() -> None:
    played = acted([UNSIGNED], dialect="gemini", value=CALLED)
    assert (played.body, played.exchange.outcome) == (UNSIGNED.whole, "failed")
    assert played.header("x-healing-attempts") == str(played.attempts) == "2"


def streamed(thinking: str) -> tuple[bytes, ...]:
    return tuple(anthropic_events("Hello", thinking=thinking, signature=SIGNED))


@pytest.mark.parametrize("how", ["whole", "cut", "left", "json"])
def test_what_was_signed_is_kept_however_the_answer_ended(how: str) -> None:
    kept = store()
    question: dict[str, Any] = {"role": "user", "content": "one"}
    first = {"messages": [question]}
    events = streamed("Hm.")
    if how == "json":
        message = {
            "type": "message",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": SIGNED},
                {"type": "text", "text": "Hello"},
            ],
            "stop_reason": "end_turn",
        }
        play([Script(headers=JSON, body=(json.dumps(message).encode(),))], mode="json", value=first, signatures=kept)
    elif how == "left":
        # The thinking block is complete, then the answer goes on for long.
        spaced = tuple(piece for event in events for piece in (event, 1.0))
        play([Script(body=spaced)], value=first, signatures=kept, leave_at=7.5)
    else:
        script_ = Script(body=events) if how == "whole" else Script(body=events[:-3], end="cut")
        play([script_], value=first, signatures=kept)
    lost = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hello"}]
    again = {"messages": [question, {"role": "assistant", "content": lost}, question]}
    played = play([GOOD], value=again, signatures=kept)
    assert json.loads(played.played[0].attempt.body)["messages"][1]["content"][0]["signature"] == SIGNED


def test_an_answer_that_was_not_let_through_leaves_nothing_behind() -> None:
    kept = store()
    play([Script(body=streamed("Hm.")[:4], end="cut"), GOOD], value={"messages": [{"role": "user", "content": "1"}]},
         signatures=kept, rules=Rules(peek=Peek(commit="first_visible")))  # fmt: skip
    assert kept.entries == 0
