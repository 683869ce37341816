"""What counts as content: cut right behind it, a stream of meta is healed, one with content is told as cut."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.streaming import ask, reply_of, seen, seen_broken, stream_for
from tests.upstream import PING, Reply, anthropic_event, anthropic_start, anthropic_stream, gemini_chunk, gemini_event
from tests.upstream.anthropic import SIGNATURE

START = anthropic_start()
STOP_0 = anthropic_event({"type": "content_block_stop", "index": 0})
HELD_EVENTS = 256
HELD_BYTES = 1024 * 1024


def block(kind: str, **more: Any) -> bytes:
    return anthropic_event({"type": "content_block_start", "index": 0, "content_block": {"type": kind, **more}})


def delta(kind: str, **more: Any) -> bytes:
    return anthropic_event({"type": "content_block_delta", "index": 0, "delta": {"type": kind, **more}})


TEXT = block("text", text="")
THINKING = block("thinking", thinking="", signature="")
SIGNED = delta("signature_delta", signature=SIGNATURE)
TOOL = block("tool_use", id="toolu_1", name="now", input={})

ANTHROPIC_META: dict[str, Sequence[bytes]] = {
    "nothing but the start": [],
    "pings": [PING, PING, b": comment\n\n"],
    "an empty text block": [TEXT],
    "an empty text delta": [TEXT, delta("text_delta", text="")],
    "a finished text block without text": [TEXT, STOP_0],
    "a thinking block": [THINKING],
    "an empty thinking delta": [THINKING, delta("thinking_delta", thinking="")],
    "omitted thinking": [THINKING, SIGNED],
    "omitted thinking, finished": [THINKING, SIGNED, STOP_0],
    "the start of a tool call": [TOOL],
    "an empty delta of a tool call": [TOOL, delta("input_json_delta", partial_json="")],
    "the start of a server's tool call": [block("server_tool_use", id="srvtoolu_1", name="web_search", input={})],
    "the start of a compaction": [block("compaction", content=None)],
    "usage": [anthropic_event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}})],
}
ANTHROPIC_CONTENT: dict[str, Sequence[bytes]] = {
    "text": [TEXT, delta("text_delta", text="H")],
    "a space": [TEXT, delta("text_delta", text=" ")],
    "text in the block's start": [block("text", text="H")],
    "thinking": [THINKING, delta("thinking_delta", thinking="H")],
    "redacted thinking": [block("redacted_thinking", data="EmwKAhgBEgy3va3pzix/LafPsn4a")],
    "a tool's input": [TOOL, delta("input_json_delta", partial_json="{")],
    "a tool call without input, at its end": [TOOL, STOP_0],
    "a tool call with an empty delta, at its end": [TOOL, delta("input_json_delta", partial_json=""), STOP_0],
    "a tool's result": [block("web_search_tool_result", tool_use_id="srvtoolu_1", content=[])],
    "an uploaded file": [block("container_upload", file_id="file_1")],
    "a citation": [TEXT, delta("citations_delta", citation={"type": "char_location", "cited_text": "H"})],
    "a compaction": [block("compaction", content=None), delta("compaction_delta", content="H")],
    "a block of the future": [block("hologram")],
    "a delta of the future": [TEXT, delta("hologram_delta")],
}
GEMINI_META: dict[str, Sequence[dict[str, Any]]] = {
    "nothing at all": [],
    "an empty object": [{}],
    "usage": [{"usageMetadata": {"promptTokenCount": 12}, "modelVersion": "gemini-3-pro-preview"}],
    "a candidate without content": [gemini_chunk(None)],
    "a role": [{"candidates": [{"content": {"role": "model"}, "index": 0}]}],
    "no parts": [gemini_chunk([])],
    "an empty part": [gemini_chunk([{}])],
    "empty text": [gemini_chunk([{"text": ""}])],
    "an empty thought": [gemini_chunk([{"text": "", "thought": True}])],
    "a signature on empty text": [gemini_chunk([{"text": "", "thoughtSignature": SIGNATURE}])],
    "a prompt that was not blocked": [{"promptFeedback": {"safetyRatings": []}}],
}
GEMINI_CONTENT: dict[str, dict[str, Any]] = {
    "text": {"text": "H"},
    "a space": {"text": " "},
    "a thought": {"text": "H", "thought": True},
    "signed text": {"text": "H", "thoughtSignature": SIGNATURE},
    "a function call": {"functionCall": {"name": "now", "args": {}}},
    "a function call without arguments": {"functionCall": {"name": "now"}, "thoughtSignature": SIGNATURE},
    "data": {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
    "a file": {"fileData": {"fileUri": "https://files.example/1"}},
    "code": {"executableCode": {"language": "PYTHON", "code": "1"}},
    "a code's result": {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
    "a part of the future": {"hologram": {}},
}

only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)


def check_held(lane: Lane, chunks: Sequence[bytes]) -> None:
    """The cut stream is healed, and nothing of it reaches the client."""
    good = stream_for(lane)
    lane.upstream.play(reply_of(lane, chunks).but(end="cut"), good)
    assert ask(lane).body == good.whole
    assert len(lane.calls) == 2


def check_committed(lane: Lane, chunks: Sequence[bytes]) -> None:
    """All that came reaches the client, at once and to the byte; then the cut is told."""
    whole = b"".join(chunks)
    cut, endless = reply_of(lane, chunks).but(end="cut"), reply_of(lane, chunks).but(end="stall")
    lane.upstream.play(cut, endless)
    response = ask(lane)
    assert response.body.startswith(whole)
    seen_broken(lane.dialect, response)
    assert len(lane.calls) == 1
    # No later event is needed to let it through.
    assert ask(lane, read=len(whole)).body == whole


@pytest.mark.parametrize("what", ANTHROPIC_META)
def test_anthropics_meta_is_held(lane: Lane, what: str) -> None:
    check_held(lane, [START, *ANTHROPIC_META[what]])


@pytest.mark.parametrize("what", ANTHROPIC_CONTENT)
def test_anthropics_content_commits(lane: Lane, what: str) -> None:
    check_committed(lane, [START, PING, *ANTHROPIC_CONTENT[what]])


@pytest.mark.parametrize("what", GEMINI_META)
@only_gemini
def test_googles_meta_is_held(lane: Lane, what: str) -> None:
    check_held(lane, [b"\r\n\r\n", *(gemini_event(chunk) for chunk in GEMINI_META[what])])


@pytest.mark.parametrize("what", GEMINI_CONTENT)
@only_gemini
def test_googles_content_commits(lane: Lane, what: str) -> None:
    check_committed(lane, [gemini_event(gemini_chunk([])), gemini_event(gemini_chunk([GEMINI_CONTENT[what]]))])


def test_a_tool_call_without_input_passes_after_one_call(lane: Lane) -> None:
    reply = anthropic_stream("", tool=("now", {}))
    lane.upstream.play(reply)
    response = ask(lane)
    assert response.body == reply.whole
    assert seen("anthropic", response.body).tools == [("now", {})]
    assert len(lane.calls) == 1


def test_omitted_thinking_before_text_passes_after_one_call(lane: Lane) -> None:
    reply = anthropic_stream("Hello", thinking="", pings=5)
    lane.upstream.play(reply)
    assert ask(lane).body == reply.whole
    assert len(lane.calls) == 1


def test_redacted_thinking_alone_is_an_answer(lane: Lane) -> None:
    reply = anthropic_stream("", redacted="EmwKAhgBEgy3va3pzix/LafPsn4a")
    lane.upstream.play(reply)
    assert ask(lane).body == reply.whole
    assert len(lane.calls) == 1


def meta_of(lane: Lane, count: int) -> list[bytes]:
    """So many events without content."""
    if lane.dialect == "gemini":
        return [gemini_event(gemini_chunk([]))] * count
    return [START, TEXT, *[delta("text_delta", text="")] * (count - 2)]


@both_dialects
def test_fewer_events_than_the_limit_are_held(lane: Lane) -> None:
    check_held(lane, meta_of(lane, HELD_EVENTS - 1))


@both_dialects
def test_more_events_than_the_limit_commit_without_content(lane: Lane) -> None:
    check_committed(lane, meta_of(lane, HELD_EVENTS))


@both_dialects
def test_heartbeats_are_no_events_of_the_answer_and_held_in_any_number(lane: Lane) -> None:
    """Else an upstream that only ever beats would be let through and could not be healed any more."""
    beat = PING if lane.dialect == "anthropic" else b"\r\n\r\n"
    check_held(lane, [*meta_of(lane, 2), *[beat] * (2 * HELD_EVENTS)])


def fat(lane: Lane, size: int) -> list[bytes]:
    """One event without content, of at least so many bytes."""
    if lane.dialect == "gemini":
        return [gemini_event({**gemini_chunk([]), "padding": "x" * size})]
    return [START.replace(b'"service_tier":', b'"padding":"%b","service_tier":' % (b"x" * size))]


@both_dialects
def test_fewer_bytes_than_the_limit_are_held(lane: Lane) -> None:
    check_held(lane, fat(lane, HELD_BYTES - 2000))


@both_dialects
def test_more_bytes_than_the_limit_commit_without_content(lane: Lane) -> None:
    check_committed(lane, fat(lane, HELD_BYTES))


@both_dialects
def test_a_cut_of_the_last_try_is_told_with_its_status(lane: Lane) -> None:
    cut: Reply = reply_of(lane, meta_of(lane, 2)).but(end="cut")
    lane.upstream.play(cut, cut, cut)
    response = ask(lane)
    assert response.status in (500, 503)
    assert response.header("x-healing-outcome") == "failed"
    assert cut.whole not in response.body
    assert len(lane.calls) == 3
