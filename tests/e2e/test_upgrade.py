"""A request for a whole answer is sent as one for a stream, so that a failure anywhere in the answer is healed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.dialect import Anthropic

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.failures import Asked, answer, ask, error, overloaded
from tests.e2e.streaming import OwnLanes
from tests.support import raw
from tests.support.recorded import Exchange, recorded_params
from tests.upstream import (
    Reply,
    anthropic_error_event,
    anthropic_json,
    anthropic_reply,
    anthropic_stream,
    gemini_error_tail,
    gemini_json,
    gemini_stream,
)

LONG = "An answer that takes its time, one word after the other, and then some more. "


def long_stream(lane: Lane, *, pieces: int = 20) -> Reply:
    """A stream with a thought, words and a call."""
    if lane.upstream_dialect == "anthropic":
        return anthropic_stream(LONG, thinking="I think.", tool=("look", {"at": 1}), pieces=pieces)
    return gemini_stream(LONG, thinking="I think.", tool=("look", {"at": 1}), pieces=pieces)


def whole(lane: Lane) -> Reply:
    """The same, as upstream gives it to one who does not want a stream."""
    if lane.upstream_dialect == "anthropic":
        return anthropic_json(LONG, thinking="I think.", tool=("look", {"at": 1}))
    return gemini_json(LONG, thinking="I think.", tool=("look", {"at": 1}))


def trouble(lane: Lane, kind: str, code: int) -> bytes:
    """An error in the middle of a stream, as each API tells it."""
    if lane.dialect == "anthropic":
        return anthropic_error_event(kind, "It went wrong.")
    return gemini_error_tail(code, None, "It went wrong.")


def collected(lane: Lane, *plan: Reply) -> Asked:
    """Ask without streaming; upstream answers with these, streams among them."""
    return ask(lane, *plan, stream=False)


@both_dialects
def test_upstream_is_asked_for_a_stream_and_the_client_gets_what_it_would_have_got_without(lane: Lane) -> None:
    asked = collected(lane, long_stream(lane))
    (call,) = asked.calls
    if lane.dialect == "anthropic":
        assert call.json["stream"] is True
    else:
        assert (call.path.rpartition(":")[2], call.query) == ("streamGenerateContent", "alt=sse")
    assert json.loads(asked.body) == json.loads(whole(lane).whole)
    assert (asked.response.header("content-type") or "").startswith("application/json")
    assert asked.response.header("x-healing-outcome") == "clean"
    assert asked.logged("as a stream") == 1


@both_dialects
def test_nothing_of_the_request_changes_but_that_it_asks_for_a_stream(lane: Lane) -> None:
    if lane.dialect == "anthropic":
        body = b'{ "max_tokens" : 9,"model":"%s","stream" : false, "messages":[{"role":"user","content":"\\u0041"}]}'
        body, target = body % lane.model.encode(), "/v1/messages?beta=true"
        sent = body.replace(b'"stream" : false', b'"stream" : true')
    else:
        body = b'{ "contents":[ {"role":"user", "parts":[{"text":"\\u0041"}]}]}'
        target, sent = f"/v1beta/models/{lane.model}:generateContent?alt=json&x=1", body
    raw.request("POST", lane.proxy.url + target, body)
    (call,) = lane.calls
    assert call.body == sent
    assert call.query == ("beta=true" if lane.dialect == "anthropic" else "x=1&alt=sse")


@both_dialects
def test_a_cut_after_nine_tenths_of_the_answer_is_healed_unseen(lane: Lane) -> None:
    stream = long_stream(lane)
    asked = collected(lane, stream.first(len(stream.chunks) * 9 // 10), long_stream(lane))
    assert json.loads(asked.body) == json.loads(whole(lane).whole)
    assert asked.accounts == ["first", "second"]
    assert asked.response.header("x-healing-outcome") == "healed"
    assert asked.logged("Stream ended in the middle of the answer") == 1


@both_dialects
@pytest.mark.parametrize("end", ["reset", "stop"])
def test_any_end_before_the_end_is_healed(lane: Lane, end: str) -> None:
    stream = long_stream(lane)
    if end == "reset":
        broken = stream.first(len(stream.chunks) - 2, "reset")
    else:
        # The connection ends in the regular way, but the answer has not.
        broken = stream.first(len(stream.chunks) - 2, "normal")
    asked = collected(lane, broken, long_stream(lane))
    assert json.loads(asked.body) == json.loads(whole(lane).whole)
    assert asked.accounts == ["first", "second"]


@both_dialects
def test_an_error_in_the_middle_of_the_answer_is_retried_as_it_demands(lane: Lane) -> None:
    stream = long_stream(lane)
    half = len(stream.chunks) // 2
    broken = Reply(200, stream.headers, chunks=[*stream.chunks[:half], trouble(lane, "overloaded_error", 503)])
    asked = collected(lane, broken, long_stream(lane))
    assert json.loads(asked.body) == json.loads(whole(lane).whole)
    assert asked.accounts == ["first", "first"]
    assert asked.logged("Stream error in the middle of the answer") == 1


@both_dialects
def test_an_error_in_every_stream_comes_with_the_status_that_it_means(lane: Lane) -> None:
    stream = long_stream(lane)
    broken = Reply(200, stream.headers, chunks=[*stream.chunks[:6], trouble(lane, "api_error", 500)])
    asked = collected(lane, broken, broken, broken)
    assert asked.status == 500
    assert asked.error()["message"] == "It went wrong."
    assert asked.response.header("x-healing-outcome") == "failed"


@both_dialects
def test_a_stream_that_is_cut_every_time_never_becomes_an_answer(lane: Lane) -> None:
    stream = long_stream(lane)
    cut = stream.first(len(stream.chunks) - 1 - (lane.dialect == "anthropic"))
    asked = collected(lane, cut, cut, cut)
    assert asked.status >= 500
    assert "Stream ended in the middle of the answer" in asked.error()["message"]


@both_dialects
def test_an_error_status_is_what_the_client_gets_as_it_is(lane: Lane) -> None:
    refusal = error(lane, 400, "max_tokens: too many", headers={"content-type": "application/json; charset=x"})
    asked = collected(lane, refusal)
    asked.assert_delivered(refusal, ["first"])


@both_dialects
def test_a_busy_upstream_is_asked_again(lane: Lane) -> None:
    asked = collected(lane, overloaded(lane), long_stream(lane))
    assert json.loads(asked.body) == json.loads(whole(lane).whole)
    assert asked.accounts == ["first", "first"]


@both_dialects
def test_an_upstream_that_answers_with_a_whole_answer_all_the_same_is_passed_on_to_the_byte(lane: Lane) -> None:
    reply = answer(lane, "whole", stream=False)
    asked = collected(lane, reply)
    assert asked.body == reply.whole


@both_dialects
def test_a_0_token_stream_is_retried_and_the_last_one_delivered(lane: Lane) -> None:
    empty = anthropic_stream("", stop_reason="end_turn") if lane.dialect == "anthropic" else gemini_stream("")
    asked = collected(lane, empty, empty, empty)
    assert asked.status == 200
    assert asked.report().text == ""
    assert asked.response.header("x-healing-outcome") == "failed"
    assert len(asked.calls) == 3


@both_dialects
def test_a_meaningful_end_without_content_is_an_answer(lane: Lane) -> None:
    if lane.dialect == "anthropic":
        asked = collected(lane, anthropic_stream("", stop_reason="refusal"))
        assert json.loads(asked.body)["stop_reason"] == "refusal"
    else:
        asked = collected(lane, gemini_stream("", finish_reason="SAFETY"))
        assert json.loads(asked.body)["candidates"][0]["finishReason"] == "SAFETY"
    assert asked.response.header("x-healing-outcome") == "clean"


@both_dialects
def test_an_answer_that_does_not_close_is_not_waited_for(lane: Lane) -> None:
    """The clock for it is short: all has been said."""
    asked = collected(lane, long_stream(lane).but(end="stall"))
    assert json.loads(asked.body) == json.loads(whole(lane).whole)


@both_dialects
def test_an_upstream_that_does_not_stream_is_asked_once_more_without_and_remembered(lane: Lane) -> None:
    text = "Streaming is not supported for this model."
    refusal = error(lane, 400, text)
    good = answer(lane, "whole", stream=False)
    first = ask_twice(lane, refusal, good)
    assert [streams(lane, call) for call in first.calls] == [True, False]
    assert first.body == good.whole
    assert first.logged("retrying... without streaming") == 1
    again = collected(lane, good)
    assert [streams(lane, call) for call in again.calls] == [False]


def ask_twice(lane: Lane, *plan: Reply) -> Asked:
    """As `collected`, for calls that differ."""
    return ask(lane, *plan, stream=False, same=False)


def streams(lane: Lane, call: Any) -> bool:
    if lane.dialect == "anthropic":
        return call.json.get("stream") is True
    return "streamGenerateContent" in call.path


@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
def test_what_comes_in_one_piece_is_asked_for_in_one_piece(lane: Lane) -> None:
    asked = {
        "contents": [{"role": "user", "parts": [{"text": "Draw."}]}],
        "generationConfig": {"responseModalities": ["IMAGE"]},
    }
    raw.request("POST", f"{lane.proxy.url}/v1beta/models/{lane.model}:generateContent", asked)
    (call,) = lane.calls
    assert call.path.endswith(":generateContent")


CITATION = {"type": "char_location", "cited_text": "a", "document_index": 0}
RICH: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "container": {"id": "c1"},
    "content": [
        {"type": "thinking", "thinking": "", "signature": "S" * 80},
        {"type": "redacted_thinking", "data": "R" * 80},
        {"type": "text", "text": "Look: ", "citations": [CITATION, CITATION]},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"url": "u"}]},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": [1, {"deep": None}]}},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
        {"type": "something_new", "payload": {"a": 1}},
    ],
    "stop_reason": "tool_use", "stop_sequence": None, "stop_details": None,
    "usage": {"input_tokens": 5, "output_tokens": 7, "server_tool_use": {"web_search_requests": 1}},
    "context_management": {"applied_edits": []}, "new_field": [1],
}  # fmt: skip


def streamed(message: dict[str, Any]) -> Reply:
    """The stream that a message would have come as."""
    dialect = Anthropic()
    return anthropic_reply([dialect.encode(event) for event in dialect.events_of(message)])


def test_a_message_of_all_kinds_of_blocks_comes_field_by_field(lane: Lane) -> None:
    asked = collected(lane, streamed(RICH))
    assert json.loads(asked.body) == RICH


def is_message(recorded: Exchange) -> bool:
    """Whether this is a message that came as a whole."""
    return recorded.path == "/v1/messages" and recorded.status == 200 and not recorded.is_stream


@pytest.mark.parametrize("recorded", recorded_params(is_message))
def test_recorded_messages_come_field_by_field(lane: Lane, recorded: Exchange) -> None:
    message = json.loads(recorded.response_body)
    asked = collected(lane, streamed(message))
    assert json.loads(asked.body) == message


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLanes]:
    """A proxy that sends requests as they are."""
    with OwnLanes(tmp_path_factory.mktemp("off"), "upgrade = false\n", lanes=6) as made:
        yield made


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_without_upgrade_a_request_is_sent_as_it_is(off: OwnLanes, dialect: str) -> None:
    lane = off.lane(dialect)
    good = answer(lane, "whole", stream=False)
    asked = collected(lane, good)
    assert asked.body == good.whole
    assert not any(streams(lane, call) for call in asked.calls)
    assert not asked.logged("as a stream")
