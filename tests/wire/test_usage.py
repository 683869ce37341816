"""The tokens of an answer are counted alike from a stream, from a whole answer, and through a translation."""

import json
import re
from typing import Any

import pytest
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.translate.common import ToolNames
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer
from antigravity_healing.wire.usage import MOST_TOKENS, Usage
from hypothesis import given
from hypothesis import strategies as st

SPENT = Usage(uncached=7, cache_read=50, cache_write=20, output=11, reasoning=4)
ANTHROPIC = {
    "input_tokens": 7,
    "cache_read_input_tokens": 50,
    "cache_creation_input_tokens": 20,
    "output_tokens": 11,
    "output_tokens_details": {"thinking_tokens": 4},
}
GEMINI = {
    "promptTokenCount": 60,
    "toolUsePromptTokenCount": 10,
    "cachedContentTokenCount": 50,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 4,
}


def told(dialect: str, *bodies: Any) -> Usage | None:
    tally = DIALECTS[dialect].answer_tally()
    for body in bodies:
        tally.take(body)
    return tally.usage


def test_a_message_counts_alike_whole_and_streamed() -> None:
    begun = {"type": "message_start", "message": {"usage": {**ANTHROPIC, "output_tokens": 1}}}
    ended = {"type": "message_delta", "usage": {"output_tokens": 11}}
    assert told("anthropic", {"usage": ANTHROPIC}) == told("anthropic", begun, ended) == SPENT
    assert SPENT.input == 77


def test_the_last_chunk_of_a_gemini_stream_counts() -> None:
    more = {"usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 900}}
    found = told("gemini", more, {"usageMetadata": GEMINI})
    assert found == told("gemini", [{"usageMetadata": GEMINI}]) == Usage(20, 50, 0, 11, 4)
    assert found is not None
    assert found.input == 70


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_told_is_not_nothing_spent(dialect: str) -> None:
    assert told(dialect, {}, {"usage": {}}, {"usageMetadata": {}}, {"type": "ping"}) is None


@pytest.mark.parametrize("dialect", DIALECTS)
@given(odd=st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner)))
def test_what_is_no_count_is_not_counted(dialect: str, odd: Any) -> None:
    plain = isinstance(odd, int) and not isinstance(odd, bool) and 0 <= odd <= MOST_TOKENS
    for name in ("usage", "usageMetadata", "message"):
        assert told(dialect, {name: odd}, odd) is None
    fields = dict.fromkeys((*ANTHROPIC, *GEMINI), odd)
    found = told(dialect, {"usage": fields, "usageMetadata": fields})
    assert (found is not None) == plain


def marks(dialect: str, *bodies: Any) -> tuple[str, tuple[str, ...]]:
    tally = DIALECTS[dialect].answer_tally()
    for body in bodies:
        tally.take(body)
    return tally.response_id, tally.finish_reasons


def test_the_id_and_why_it_stopped_are_told_alike_whole_and_streamed() -> None:
    begun = {"type": "message_start", "message": {"id": "msg_1", "stop_reason": None}}
    block = {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "toolu_1"}}
    ended = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    assert marks("anthropic", begun, block, ended, {"type": "message_stop"}) == ("msg_1", ("tool_use",))
    assert marks("anthropic", {"type": "message", "id": "msg_1", "stop_reason": "end_turn"}) == ("msg_1", ("end_turn",))
    chunk = {"responseId": "r1", "candidates": [{"index": 0}, {"index": 1, "finishReason": "SAFETY"}]}
    last = {"candidates": [{"finishReason": "STOP"}], "responseId": "r1"}
    assert marks("gemini", chunk, last) == marks("gemini", [chunk, last]) == ("r1", ("SAFETY", "STOP"))


@pytest.mark.parametrize("dialect", DIALECTS)
@given(odd=st.recursive(st.none() | st.integers() | st.text(), st.lists), long=st.integers(201, 300))
def test_what_is_no_id_or_reason_is_not_taken_for_one(dialect: str, odd: Any, long: int) -> None:
    for value in (odd if not isinstance(odd, str) else [odd], "x" * long):
        fields = {"id": value, "responseId": value, "stop_reason": value, "finishReason": value, "index": value}
        body = {"message": fields, "delta": fields, "candidates": [fields, value], **fields}
        for kind in (None, "message", "message_start", "message_delta"):
            assert marks(dialect, {**body, "type": kind}) == ("", ())


@pytest.mark.parametrize(
    ("dialect", "body", "longest"),
    [
        ("anthropic", {"max_tokens": 16}, 16),
        ("anthropic", {"max_tokens": "16"}, None),
        ("gemini", {"generationConfig": {"maxOutputTokens": 17}}, 17),
        ("gemini", {"generation_config": {"max_output_tokens": 18}}, 18),
        ("gemini", {"generationConfig": {"maxOutputTokens": True}}, None),
        ("gemini", {"generationConfig": []}, None),
        ("gemini", None, None),
    ],
)
def test_how_long_an_answer_may_be_is_what_its_request_says(dialect: str, body: Any, longest: int | None) -> None:
    assert DIALECTS[dialect].longest_answer(body) == longest


def test_a_translated_answer_tells_its_client_the_same_tokens() -> None:
    client = DIALECTS["gemini"].answer_tally()
    made = GeminiAnswer(names=ToolNames((), re.compile(".*"), 64), model="m", seed="s")
    for event in ({"type": "message_start", "message": {"usage": ANTHROPIC}}, {"type": "message_stop"}):
        for chunk in made.take(event):
            client.take(json.loads(json.dumps(chunk)))
    assert client.usage == Usage(uncached=27, cache_read=50, output=11, reasoning=4)
    client = DIALECTS["anthropic"].answer_tally()
    answer = AnthropicAnswer(names=ToolNames((), re.compile(".*"), 64), model="m", seed="s")
    for event in (*answer.take({"candidates": [{"finishReason": "STOP"}], "usageMetadata": GEMINI}), *answer.end()):
        client.take(event)
    assert client.usage == Usage(20, 50, 0, 11, 4)
