"""Ends without content: a meaningful one is the answer, a plain one is the 0-token answer and tried again."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.streaming import ask, reply_of, seen, stream_for
from tests.support.protocol import check_anthropic_json, check_gemini_json
from tests.support.raw import RawResponse
from tests.upstream import (
    Reply,
    anthropic_empty,
    anthropic_events,
    anthropic_json,
    anthropic_stream,
    gemini_blocked,
    gemini_chunk,
    gemini_empty,
    gemini_event,
    gemini_json,
)
from tests.upstream.anthropic import JSON_HEADERS, anthropic_event, anthropic_start, compact

ANTHROPIC_ANSWERS = [
    "refusal",
    "max_tokens",
    "pause_turn",
    "stop_sequence",
    "model_context_window_exceeded",
    "compaction",
    "a_reason_of_the_future",
]
GEMINI_ANSWERS = [
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "TOO_MANY_TOOL_CALLS",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
    "CONTINUATION",
    "MODEL_ARMOR",
    "A_REASON_OF_THE_FUTURE",
]
GEMINI_FAULTS = ["STOP", "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL"]

only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)


def check_as_it_is(lane: Lane, response: RawResponse, reply: Reply, stop: str) -> None:
    """The answer is upstream's to the byte, after one more call."""
    assert (response.status, response.ended, response.body) == (200, "complete", reply.whole)
    assert (response.header("x-healing-attempts"), response.header("x-healing-outcome")) == ("1", "clean")
    if reply.body is None:
        view = seen(lane.dialect, response.body)
        assert (view.ended, view.stop, view.text) == ("complete", stop, "")
    elif lane.dialect == "anthropic":
        assert check_anthropic_json(response.body).stop_reason == stop
    else:
        report = check_gemini_json(response.body)
        assert (report.finish_reason or report.block_reason) == stop


@pytest.mark.parametrize("reason", ANTHROPIC_ANSWERS)
def test_anthropics_meaningful_stop_without_content_is_the_answer(lane: Lane, reason: str) -> None:
    stream, whole = anthropic_empty(stop_reason=reason), anthropic_json("", stop_reason=reason)
    lane.upstream.play(stream, whole)
    check_as_it_is(lane, ask(lane), stream, reason)
    check_as_it_is(lane, ask(lane, stream=False), whole, reason)
    assert len(lane.calls) == 2


@pytest.mark.parametrize("reason", GEMINI_ANSWERS)
@only_gemini
def test_googles_meaningful_finish_without_content_is_the_answer(lane: Lane, reason: str) -> None:
    bare, empty_part = gemini_empty(finish_reason=reason, parts=False), gemini_empty(finish_reason=reason)
    whole = gemini_json("", finish_reason=reason)
    lane.upstream.play(bare, empty_part, whole)
    check_as_it_is(lane, ask(lane), bare, reason)
    check_as_it_is(lane, ask(lane), empty_part, reason)
    check_as_it_is(lane, ask(lane, stream=False), whole, reason)
    assert len(lane.calls) == 3


def test_a_refusal_keeps_its_details(lane: Lane) -> None:
    details = {"category": "cyber", "explanation": "This can't be helped with."}
    delta = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    end = anthropic_event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}})
    reply = reply_of(lane, [anthropic_start(), end, anthropic_event({"type": "message_stop"})])
    lane.upstream.play(reply)
    check_as_it_is(lane, ask(lane), reply, "refusal")


@only_gemini
def test_a_continuation_keeps_its_token(lane: Lane) -> None:
    chunk: dict[str, Any] = gemini_chunk(None, finish_reason="CONTINUATION")
    chunk["candidates"][0]["continuationToken"] = "dG9rZW4="
    reply = reply_of(lane, [gemini_event(chunk)])
    lane.upstream.play(reply)
    check_as_it_is(lane, ask(lane), reply, "CONTINUATION")


@pytest.mark.parametrize("reason", ["PROHIBITED_CONTENT", "SAFETY", "OTHER", "A_REASON_OF_THE_FUTURE"])
@only_gemini
def test_a_blocked_prompt_is_the_answer(lane: Lane, reason: str) -> None:
    stream = gemini_blocked(reason)
    whole = Reply(headers=JSON_HEADERS, body=stream.whole.removeprefix(b"data: ").strip())
    lane.upstream.play(stream, whole)
    check_as_it_is(lane, ask(lane), stream, reason)
    check_as_it_is(lane, ask(lane, stream=False), whole, reason)
    assert len(lane.calls) == 2


@only_gemini
def test_usage_behind_a_finish_reason_without_content_still_arrives(lane: Lane) -> None:
    usage = gemini_event({"usageMetadata": {"totalTokenCount": 12}})
    reply = gemini_empty(finish_reason="SAFETY").inserted(9, usage).but(gap=0.05)
    lane.upstream.play(reply)
    check_as_it_is(lane, ask(lane), reply, "SAFETY")


def empties(lane: Lane) -> list[Reply]:
    """The 0-token answer in the forms that it takes."""
    if lane.dialect == "gemini":
        return [gemini_empty(), gemini_empty(parts=False)]
    block = anthropic_events("x")
    return [anthropic_empty(), reply_of(lane, [block[0], block[1], *block[-3:]])]


@both_dialects
def test_an_answer_of_no_tokens_is_tried_again_and_leaves_no_trace(lane: Lane) -> None:
    good = stream_for(lane)
    lane.upstream.play(*empties(lane), good)
    response = ask(lane)
    assert response.body == good.whole
    assert (response.header("x-healing-attempts"), response.header("x-healing-outcome")) == ("3", "healed")
    assert [lane.account_of(call) for call in lane.calls][:2] == list(lane.accounts)


@both_dialects
def test_an_answer_of_no_tokens_is_delivered_as_it_is_when_no_try_is_left(lane: Lane) -> None:
    first, last = empties(lane)
    lane.upstream.play(first, first, last)
    response = ask(lane)
    assert (response.status, response.ended, response.body) == (200, "complete", last.whole)
    assert seen(lane.dialect, response.body).ended == "complete"
    assert response.header("x-healing-attempts") == "3"
    assert len(lane.calls) == 3


@both_dialects
def test_a_whole_answer_of_no_tokens_is_tried_again_and_delivered_when_no_try_is_left(lane: Lane) -> None:
    make = anthropic_json if lane.dialect == "anthropic" else gemini_json
    good, empty, other = make("Hello"), make(""), make("", output_tokens=0)
    lane.upstream.play(empty, good, empty, empty, other)
    response = ask(lane, stream=False)
    assert (response.body, response.header("x-healing-outcome")) == (good.body, "healed")
    response = ask(lane, stream=False)
    assert (response.status, response.body) == (200, other.body)
    assert (response.header("x-healing-attempts"), response.header("x-healing-outcome")) == ("3", "failed")


@pytest.mark.parametrize("reason", GEMINI_FAULTS)
@only_gemini
def test_googles_faulty_finish_without_content_is_tried_again(lane: Lane, reason: str) -> None:
    good = stream_for(lane)
    chunk: dict[str, Any] = gemini_chunk(None, finish_reason=reason)
    chunk["candidates"][0]["finishMessage"] = "Malformed function call: print(default_api."
    faulty = reply_of(lane, [gemini_event(chunk)])
    lane.upstream.play(faulty, good, faulty, faulty, faulty)
    assert ask(lane).body == good.whole
    assert ask(lane).body == faulty.whole
    assert len(lane.calls) == 5


@pytest.mark.parametrize("reason", GEMINI_FAULTS)
@only_gemini
def test_googles_faulty_finish_behind_content_is_the_answer(lane: Lane, reason: str) -> None:
    reply = reply_of(lane, [gemini_event(gemini_chunk([{"text": "x"}])), *gemini_empty(finish_reason=reason).chunks])
    lane.upstream.play(reply)
    response = ask(lane)
    assert response.body == reply.whole
    assert seen("gemini", response.body).stop == reason
    assert len(lane.calls) == 1


@both_dialects
def test_a_200_without_a_body_is_tried_again_and_told_when_no_try_is_left(lane: Lane) -> None:
    """The SDKs would take it for an answer."""
    empty = [reply_of(lane, []), Reply(headers=reply_of(lane, []).headers, body=b""), reply_of(lane, [b"\r\n\r\n"])]
    good = stream_for(lane)
    lane.upstream.play(*empty[:2], good, *empty)
    response = ask(lane)
    assert (response.body, response.header("x-healing-attempts")) == (good.whole, "3")
    response = ask(lane)
    if response.status == 200:
        assert seen(lane.dialect, response.body).ended == "error"
    else:
        assert "error" in json.loads(response.body)
    assert len(lane.calls) == 6


@both_dialects
def test_a_whole_answer_without_a_body_is_tried_again(lane: Lane) -> None:
    make = anthropic_json if lane.dialect == "anthropic" else gemini_json
    headers = make("").headers
    lane.upstream.play(Reply(headers=headers, body=b""), Reply(headers=headers, body=b'{"conten'), make("Hello"))
    response = ask(lane, stream=False)
    assert (response.status, response.body) == (200, make("Hello").body)
    assert len(lane.calls) == 3


def test_a_whole_answer_with_nothing_but_empty_text_is_one_of_no_tokens(lane: Lane) -> None:
    message = json.loads(anthropic_json("x").whole)
    message["content"][0]["text"] = ""
    empty = Reply(headers=JSON_HEADERS, body=compact(message).encode())
    good = anthropic_json("Hello")
    lane.upstream.play(empty, good)
    assert ask(lane, stream=False).body == good.body
    assert len(lane.calls) == 2


def test_thinking_alone_that_ends_its_turn_is_an_answer_if_it_says_something(lane: Lane) -> None:
    """With text it is content; omitted, with nothing but a signature, it is none."""
    said, omitted = anthropic_stream("", thinking="Hmm."), anthropic_stream("", thinking="")
    good = stream_for(lane)
    lane.upstream.play(said, omitted, good)
    assert ask(lane).body == said.whole
    assert ask(lane).body == good.whole
    assert len(lane.calls) == 3
