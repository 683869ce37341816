"""Answers through translation: how they end, how they are continued, and what the SDKs read from recorded ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import orjson
import pytest
from google import genai

from tests.e2e.crossed import CrossedLanes
from tests.e2e.failures import ask, request_of, with_and_without_stream
from tests.support import raw
from tests.support.protocol import (
    AnthropicReport,
    GeminiReport,
    check_anthropic_json,
)
from tests.support.recorded import Exchange, recorded_params
from tests.support.sdk import anthropic_client, gemini_client
from tests.upstream import (
    Reply,
    anthropic_error,
    anthropic_json,
    anthropic_stream,
    gemini_blocked,
    gemini_chunk,
    gemini_error,
    gemini_event,
    gemini_events,
    gemini_json,
    gemini_reply,
    gemini_stream,
)


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for the tests of this file."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=130) as made:
        yield made


# Ends.

LATE_USAGE = {"promptTokenCount": 30, "candidatesTokenCount": 8, "thoughtsTokenCount": 4, "cachedContentTokenCount": 10}
CALLED: list[dict[str, Any]] = [{"functionCall": {"name": "look", "args": {}}}, {"text": "Looked."}]
ENDS: dict[str, tuple[Reply, str, str]] = {
    "stopped in the middle": (gemini_stream("half an ans", finish_reason="MAX_TOKENS"), "half an ans", "max_tokens"),
    "a safety block": (gemini_stream("so far", finish_reason="SAFETY"), "so far", "refusal"),
    "a blocked prompt": (gemini_blocked(), "", "refusal"),
    "text after a call": (
        gemini_reply([gemini_event(gemini_chunk(CALLED, finish_reason="STOP"))]), "Looked.", "tool_use",
    ),
    "usage after the end": (
        gemini_reply([*gemini_events("Hello"), gemini_event({"usageMetadata": LATE_USAGE})]), "Hello", "end_turn",
    ),
    "a signature on nothing": (gemini_stream("Hello", signature="c2lnbmF0dXJl" * 8), "Hello", "end_turn"),
}  # fmt: skip


@with_and_without_stream
@pytest.mark.parametrize("name", ENDS)
def test_each_end_of_an_answer_of_gemini_is_told_as_what_it_is(lanes: CrossedLanes, stream: bool, name: str) -> None:
    reply, text, stop = ENDS[name]
    asked = ask(lanes.lane("anthropic"), reply, stream=stream)
    report = asked.report()
    assert isinstance(report, AnthropicReport)
    assert (report.text, report.stop_reason, report.ended) == (text, stop, "complete")
    assert asked.logged("delivered, clean") == 1
    if name == "usage after the end":
        usage = [report.usage[name] for name in ("input_tokens", "cache_read_input_tokens", "output_tokens")]
        assert usage == [20, 10, 12]


CLAUDES_ENDS = {
    "max_tokens": "MAX_TOKENS",
    "refusal": "SAFETY",
    "pause_turn": "TOO_MANY_TOOL_CALLS",
    "stop_sequence": "STOP",
    "model_context_window_exceeded": "MAX_TOKENS",
}


@with_and_without_stream
@pytest.mark.parametrize("stop", CLAUDES_ENDS)
def test_each_end_of_an_answer_of_claude_is_told_as_what_it_is(lanes: CrossedLanes, stream: bool, stop: str) -> None:
    for text in ("so far", ""):
        asked = ask(lanes.lane("gemini"), anthropic_stream(text, stop_reason=stop), stream=stream)
        report = asked.report()
        assert isinstance(report, GeminiReport)
        assert (report.text, report.finish_reason) == (text, CLAUDES_ENDS[stop])


# Continuations.

TOKEN = "Y29udGludWUhIQ=="


def unfinished(text: str, token: str = TOKEN) -> Reply:
    """A stream that says something and that there is more."""
    end = gemini_chunk([], finish_reason="CONTINUATION", output_tokens=4)
    end["candidates"][0]["continuationToken"] = token
    return gemini_reply([gemini_event(gemini_chunk([{"text": text}])), gemini_event(end)])


@with_and_without_stream
def test_gemini_is_asked_to_go_on_and_the_client_gets_one_message(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("anthropic")
    plan = [unfinished("One, "), unfinished("two, ", "dHdv"), gemini_stream("three.")]
    asked = ask(lane, *plan, stream=stream, same=False)
    report = asked.report()
    assert (report.text, report.ended) == ("One, two, three.", "complete")
    assert [call.json.get("continuationToken") for call in asked.calls] == [None, TOKEN, "dHdv"]
    rest = [{**call.json, "continuationToken": None} for call in asked.calls]
    assert rest[0] == rest[1] == rest[2]
    assert asked.accounts == ["first", "first", "first"]
    assert report.usage["output_tokens"] == 4 + 4 + 9
    assert asked.logged("going on with its token") == 2
    assert asked.logged("delivered, clean") == 1


@with_and_without_stream
def test_a_continuation_that_fails_is_tried_again_with_the_same_token(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("anthropic")
    cut = gemini_stream("thr").first(0, "cut")
    plan = [unfinished("One, "), cut, gemini_error(500, None, "It went wrong."), gemini_stream("three.")]
    asked = ask(lane, *plan, stream=stream, same=False)
    assert asked.report().text == "One, three."
    assert [call.json.get("continuationToken") for call in asked.calls] == [None, TOKEN, TOKEN, TOKEN]
    assert asked.logged("delivered, healed") == 1


def test_a_continuation_that_is_cut_leaves_nothing_behind_in_a_whole_answer(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    cut = gemini_stream("three.", pieces=3).first(2)
    asked = ask(lane, unfinished("One, "), cut, gemini_stream("three."), stream=False, same=False)
    assert asked.report().text == "One, three."


def test_a_continuation_that_fails_for_good_is_an_error_in_the_answer(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    asked = ask(lane, unfinished("One, "), *[gemini_error(500, None, "It went wrong.")] * 3, same=False)
    report = asked.report()
    assert (report.text, report.ended) == ("One, ", "error")
    lane = lanes.lane("anthropic")
    asked = ask(lane, unfinished("One, "), *[gemini_error(500, None, "It went wrong.")] * 3, stream=False, same=False)
    assert (asked.status, asked.error()["type"]) == (500, "api_error")


def test_an_answer_that_never_comes_to_an_end_is_given_up(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    asked = ask(lane, *[unfinished("more ")] * 51, same=False)
    assert asked.report().ended == "error"


def test_a_whole_answer_of_gemini_is_continued_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    first = json.loads(gemini_json("One, ", finish_reason="CONTINUATION").whole)
    first["candidates"][0]["continuationToken"] = TOKEN
    whole = Reply(200, gemini_json().headers, orjson.dumps(first))
    with CrossedLanes(tmp_path_factory.mktemp("off"), "upgrade = false\n", lanes=3) as made:
        lane = made.lane("anthropic")
        asked = ask(lane, whole, gemini_json("two."), stream=False, same=False)
        assert asked.report().text == "One, two."
        assert [call.path.rpartition(":")[2] for call in asked.calls] == ["generateContent"] * 2
        for client, reply in (("anthropic", gemini_json("all")), ("gemini", anthropic_json("all"))):
            asked = ask(made.lane(client), reply, stream=False)
            asked.assert_served("all", ["first"])


# Waiting.


def test_a_client_that_waits_gets_signs_of_life_and_the_end_in_its_own_dialect(tmp_path: Path) -> None:
    with CrossedLanes(tmp_path, "[peek]\nsoft_commit = 0.2\nkeep_alive = 0.1\n", lanes=8) as made:
        for client, good, bad in (
            ("anthropic", gemini_stream("Hello"), gemini_error(500, None, "It went wrong.")),
            ("gemini", anthropic_stream("Hello"), anthropic_error(500, "api_error", "It went wrong.")),
        ):
            asked = ask(made.lane(client), good.but(head_gap=0.6))
            report = asked.report()
            assert (report.text, report.ended) == ("Hello", "complete")
            assert (report.pings if isinstance(report, AnthropicReport) else report.keep_alives) > 1
            asked = ask(made.lane(client), good.but(head_gap=0.4).first(0), bad, bad)
            report = asked.report()
            assert (report.text, report.ended) == ("", "error")
            assert report.error is not None
            assert report.error["message"] == "It went wrong."
            assert asked.logged("keeping the client waiting with keep-alives") == 1


def test_pings_of_claude_keep_a_gemini_client_alive(lanes: CrossedLanes) -> None:
    asked = ask(lanes.lane("gemini"), anthropic_stream("Hello", pings=3))
    report = asked.report()
    assert isinstance(report, GeminiReport)
    assert (report.text, report.keep_alives) == ("Hello", 3)


# Recorded traffic.


def is_gemini_stream(recorded: Exchange) -> bool:
    return recorded.dialect == "gemini" and recorded.is_stream


@pytest.mark.parametrize("recorded", recorded_params(is_gemini_stream))
def test_the_anthropic_sdk_reads_from_a_recorded_gemini_stream_what_googles_reads(
    lanes: CrossedLanes, recorded: Exchange
) -> None:
    lane = lanes.lane("anthropic")
    reply = Reply(200, recorded.response_headers, chunks=[recorded.response_body], split=700)
    lane.upstream.play(reply, reply)
    with (
        anthropic_client(lane.proxy.url) as sdk,
        sdk.messages.stream(model=lane.model, max_tokens=99, messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        message = stream.get_final_message()
    google = gemini_client(lane.upstream.url)
    chunks = list(google.models.generate_content_stream(model=lane.upstream_model, contents="x"))
    parts = [
        part
        for chunk in chunks
        for candidate in chunk.candidates or []
        if candidate.content
        for part in candidate.content.parts or []
    ]
    blocks = message.content
    assert "".join(block.text for block in blocks if block.type == "text") == "".join(
        part.text or "" for part in parts if not part.thought
    )
    assert "".join(block.thinking for block in blocks if block.type == "thinking") == "".join(
        part.text or "" for part in parts if part.thought
    )
    calls = [part.function_call for part in parts if part.function_call]
    assert [(block.name, block.input) for block in blocks if block.type == "tool_use"] == [
        (call.name, call.args) for call in calls
    ]
    usage = chunks[-1].usage_metadata
    assert usage is not None
    cached = usage.cached_content_token_count or 0
    assert message.usage.input_tokens == (usage.prompt_token_count or 0) - cached
    output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    assert message.usage.output_tokens == output


def is_gemini_answer(recorded: Exchange) -> bool:
    return recorded.dialect == "gemini" and not recorded.is_stream and "enerateContent" in recorded.path


@pytest.mark.parametrize("recorded", recorded_params(is_gemini_answer))
def test_a_recorded_answer_of_gemini_is_a_message_that_says_the_same(lanes: CrossedLanes, recorded: Exchange) -> None:
    lane = lanes.lane("anthropic")
    reply = Reply(200, recorded.response_headers, recorded.response_body)
    lane.upstream.play(reply, reply, reply)
    target, body = request_of(lane, lane.model, stream=False)
    response = raw.request("POST", lane.proxy.url + target, body)
    report = check_anthropic_json(response.body)
    [candidate] = json.loads(recorded.response_body).get("candidates", [{}])
    parts = candidate.get("content", {}).get("parts", [])
    assert report.text == "".join(part.get("text", "") for part in parts if not part.get("thought"))
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    assert report.tools == [(call["name"], call["args"]) for call in calls]


def is_anthropic_answer(recorded: Exchange) -> bool:
    return recorded.path == "/v1/messages" and recorded.status == 200


@pytest.fixture(scope="module")
def sdks(lanes: CrossedLanes) -> Iterator[tuple[genai.Client, anthropic.Anthropic]]:
    """Google's of the proxy, and Anthropic's of upstream itself."""
    lane = lanes.lane("gemini")
    with gemini_client(lane.proxy.url) as google, anthropic_client(lane.upstream.url) as sdk:
        yield google, sdk


@pytest.mark.parametrize("recorded", recorded_params(is_anthropic_answer))
def test_googles_sdk_reads_from_a_recorded_answer_of_claude_what_anthropics_reads(
    lanes: CrossedLanes, sdks: tuple[genai.Client, anthropic.Anthropic], recorded: Exchange
) -> None:
    lane = lanes.lane("gemini")
    google, sdk = sdks
    body, headers = recorded.response_body, recorded.response_headers
    reply = Reply(200, headers, chunks=[body], split=700) if recorded.is_stream else Reply(200, headers, body)
    lane.upstream.play(reply, reply, reply)
    if recorded.is_stream:
        chunks = list(google.models.generate_content_stream(model=lane.model, contents="x"))
    else:
        chunks = [google.models.generate_content(model=lane.model, contents="x")]
    lane.upstream.reset()
    lane.upstream.play(reply)
    asked: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    if recorded.is_stream:
        with sdk.beta.messages.stream(**asked) as stream:
            blocks = json.loads(stream.get_final_message().to_json())["content"]
    else:
        blocks = json.loads(sdk.beta.messages.create(**asked).to_json())["content"]
    contents = [candidate.content for chunk in chunks for candidate in chunk.candidates or [] if candidate.content]
    parts = [part for content in contents for part in content.parts or []]
    thoughts = "".join(part.text or "" for part in parts if part.thought)
    assert thoughts == "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    said = "".join(part.text or "" for part in parts if not part.thought)
    # What has no counterpart is said in words between.
    for block in blocks:
        if block["type"] == "text":
            assert block["text"] in said
    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.id, call.name, call.args) for call in calls] == [
        (block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"
    ]
