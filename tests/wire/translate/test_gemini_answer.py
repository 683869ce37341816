"""Anthropic's answers in Gemini's chunks."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.events_of_whole import events_of
from antigravity_healing.wire.anthropic.reader import AnthropicReader
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.translate.common import anthropic_tool_names
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer

from tests.support.protocol.gemini import GeminiReport, check_gemini_stream
from tests.support.recorded import Exchange, recorded_params

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}
WITH_A_MESSAGE = recorded_params(
    lambda each: each.dialect == "anthropic" and each.status == 200 and not each.path.endswith("/count_tokens")
)


def answer(*names: str) -> GeminiAnswer:
    tools = anthropic_tool_names(names)
    return GeminiAnswer(names=tools, model="claude-asked", seed="seed")


def told(events: Iterable[dict[str, Any]], translator: GeminiAnswer | None = None) -> GeminiReport:
    """What a strict client reads from the translation."""
    translator = translator or answer()
    chunks = [chunk for event in events for chunk in translator.take(event)]
    return check_gemini_stream(b"".join(map(Gemini().encode, chunks + translator.end())))


def message(*content: dict[str, Any], stop: str = "end_turn", **members: Any) -> list[dict[str, Any]]:
    """The events of a message with these blocks."""
    return list(events_of({**MESSAGE, "content": list(content), "stop_reason": stop, "stop_sequence": None, **members}))


def text(said: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **members}


def tool_use(call_id: str, name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def parts(report: GeminiReport) -> list[dict[str, Any]]:
    return [
        part
        for event in report.events
        for candidate in event["candidates"]
        for part in candidate.get("content", {}).get("parts", ())
    ]


def recorded_events(exchange: Exchange) -> list[dict[str, Any]]:
    if not exchange.is_stream:
        return list(events_of(json.loads(exchange.response_body)))
    reader, decoder, events = AnthropicReader(), SSEDecoder(), []
    for event in [*decoder.decode(exchange.response_body), *decoder.flush()]:
        reader.read(event)
        events.append(reader.body)
    return events


def accumulated(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream's events add up to, as the API's documentation says."""
    whole: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for event in events:
        match event.get("type"):
            case "message_start":
                whole = {**event["message"], "content": []}
            case "content_block_start":
                whole["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                block, delta = whole["content"][event["index"]], event["delta"]
                match delta["type"]:
                    case "input_json_delta":
                        inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
                    case "citations_delta":
                        block["citations"] = [*block["citations"], delta["citation"]]
                    case kind:
                        name = kind.removesuffix("_delta")
                        block[name] = block[name] + delta[name]
            case "message_delta":
                whole |= event["delta"]
                whole["usage"] = {**(whole.get("usage") or {}), **event["usage"]}
    for index, written in inputs.items():
        if written:
            whole["content"][index]["input"] = json.loads(written)
    return whole


# Recorded answers.


@pytest.mark.parametrize("exchange", WITH_A_MESSAGE)
def test_of_recorded_answers_nothing_is_lost(exchange: Exchange) -> None:
    events = recorded_events(exchange)
    whole = accumulated(events)
    report = told(events)

    def said(kind: str, name: str) -> list[Any]:
        return [block[name] for block in whole["content"] if block["type"] == kind]

    assert report.text == "".join(said("text", "text"))
    assert report.thoughts == "".join(said("thinking", "thinking"))
    assert report.calls == list(zip(said("tool_use", "name"), said("tool_use", "input"), strict=True))
    calls = [part["functionCall"]["id"] for part in parts(report) if "functionCall" in part]
    assert calls == said("tool_use", "id")
    assert report.finish_reason == "STOP"
    assert report.usage["totalTokenCount"] >= whole["usage"]["input_tokens"] + whole["usage"]["output_tokens"]
    assert {(event["modelVersion"], event["responseId"]) for event in report.events} == {(whole["model"], whole["id"])}


@pytest.mark.parametrize("exchange", WITH_A_MESSAGE)
def test_the_events_of_a_recorded_message_add_up_to_it(exchange: Exchange) -> None:
    whole = accumulated(recorded_events(exchange))
    assert accumulated(events_of(whole)) == whole


@pytest.mark.parametrize("exchange", recorded_params(lambda each: "web_search_tool_stream" in each.name))
def test_what_a_recorded_search_found_is_told_with_what_is_based_on_it(exchange: Exchange) -> None:
    report = told(recorded_events(exchange))
    grounding = report.events[-1]["candidates"][0]["groundingMetadata"]
    assert grounding["webSearchQueries"][0] == "San Francisco weather today"
    said = report.text.encode()
    for support in grounding["groundingSupports"]:
        segment = support["segment"]
        assert said[segment["startIndex"] : segment["endIndex"]].decode() == segment["text"]
        for place in support["groundingChunkIndices"]:
            assert grounding["groundingChunks"][place]["web"]["uri"].startswith("https://")


@pytest.mark.parametrize("exchange", recorded_params(lambda each: "code_execution_tool_stream" in each.name))
def test_recorded_code_and_its_result_have_their_own_parts(exchange: Exchange) -> None:
    code, result = [part for part in parts(told(recorded_events(exchange))) if "text" not in part]
    assert code["executableCode"]["code"].startswith("echo")
    told_of = {"id": code["executableCode"]["id"], "outcome": "OUTCOME_OK", "output": "-428330955.97745\n"}
    assert result["codeExecutionResult"] == told_of


# Parts.


def test_each_delta_is_told_as_soon_as_it_has_come() -> None:
    translator = answer()
    kinds = {"thinking": ("thinking_delta", "Hm"), "text": ("text_delta", "Hi")}
    for index, (kind, (delta, said)) in enumerate(kinds.items()):
        start = {"type": "content_block_start", "index": index, "content_block": {"type": kind, kind: ""}}
        assert translator.take(start) == []
        [chunk] = translator.take({"type": "content_block_delta", "index": index, "delta": {"type": delta, kind: said}})
        [part] = chunk["candidates"][0]["content"]["parts"]
        assert part == ({"text": said, "thought": True} if kind == "thinking" else {"text": said})
        assert translator.take({"type": "content_block_stop", "index": index}) == []


def test_a_call_is_told_once_when_it_is_whole() -> None:
    translator = answer()
    start = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"a"', ": 1}")]
    assert translator.take({"type": "content_block_start", "index": 0, "content_block": start}) == []
    for delta in deltas:
        assert translator.take({"type": "content_block_delta", "index": 0, "delta": delta}) == []
    [chunk] = translator.take({"type": "content_block_stop", "index": 0})
    [part] = chunk["candidates"][0]["content"]["parts"]
    assert part == {"functionCall": {"id": "toolu_1", "name": "look", "args": {"a": 1}}}


def test_a_call_without_input_has_no_arguments_and_its_name_is_the_clients() -> None:
    name = "mcp.server:tool"
    there = anthropic_tool_names([name]).there(name)
    report = told(message(tool_use("toolu_1", there), stop="tool_use"), answer(name))
    assert (report.calls, report.finish_reason) == ([(name, {})], "STOP")


def test_half_a_call_is_not_told() -> None:
    events = message(tool_use("toolu_1", "look", a=1), stop="tool_use")
    deltas = [event for event in events if event["type"] == "content_block_delta"]
    deltas[0]["delta"]["partial_json"] = '{"a":'
    translator = answer()
    assert told(events, translator).calls == []
    assert "look" in translator.broken
    events[-2]["delta"]["stop_reason"] = "max_tokens"
    translator = answer()
    assert told(events, translator).finish_reason == "MAX_TOKENS"
    assert translator.broken == ""


def test_what_is_signed_or_encrypted_is_not_shown() -> None:
    report = told(
        message({"type": "redacted_thinking", "data": "x"}, {"type": "thinking", "thinking": "", "signature": "s"})
    )
    assert parts(report) == []


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {"code": "1"}},
            {"executableCode": {"id": "s", "language": "PYTHON", "code": "1"}},
        ),
        (
            {"type": "server_tool_use", "id": "s", "name": "text_editor_code_execution", "input": {"path": "a"}},
            {"executableCode": {"id": "s", "language": "LANGUAGE_UNSPECIFIED", "code": '{"path":"a"}'}},
        ),
        (
            {"type": "code_execution_tool_result", "content": {"stdout": "a", "stderr": "b", "return_code": 1}},
            {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "a\nb"}},
        ),
        (
            {"type": "bash_code_execution_tool_result", "content": {"type": "x_error", "error_code": "unavailable"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "unavailable"}},
        ),
        (
            {"type": "mcp_tool_use", "id": "m", "name": "look", "server_name": "s", "input": {"a": 1}},
            {"text": '[mcp_tool_use: {"name":"look","server_name":"s","input":{"a":1}}]'},
        ),
        (
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"error_code": "max_uses_exceeded"}},
            {"text": '[web_search_tool_result: {"content":{"error_code":"max_uses_exceeded"}}]'},
        ),
        ({"type": "something_new", "id": "x", "a": [1]}, {"text": '[something_new: {"a":[1]}]'}),
    ],
)  # fmt: skip
def test_other_blocks_have_a_part_of_their_own_or_are_told_in_words(
    block: dict[str, Any], part: dict[str, Any]
) -> None:
    assert parts(told(message(block))) == [part, {"text": ""}]


def test_pages_that_were_fetched_are_told() -> None:
    report = told(
        message(
            {"type": "server_tool_use", "id": "s", "name": "web_fetch", "input": {"url": "https://x.org"}},
            {"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result", "url": "https://x.org"}},
            text("Documents too.", citations=[{"type": "char_location", "document_title": "D", "cited_text": "d"}]),
        )
    )
    candidate = report.events[-1]["candidates"][0]
    assert candidate["urlContextMetadata"] == {
        "urlMetadata": [{"retrievedUrl": "https://x.org", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}]
    }
    assert candidate["groundingMetadata"]["groundingChunks"] == [{"retrievedContext": {"title": "D", "text": "d"}}]


# The end.


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "STOP"),
        ("stop_sequence", "STOP"),
        ("tool_use", "STOP"),
        ("pause_turn", "TOO_MANY_TOOL_CALLS"),
        ("compaction", "STOP"),
        ("max_tokens", "MAX_TOKENS"),
        ("model_context_window_exceeded", "MAX_TOKENS"),
        ("refusal", "SAFETY"),
        ("something_new", "OTHER"),
    ],
)
def test_each_stop_reason_has_its_finish_reason(stop: str, finish: str) -> None:
    assert told(message(text("Hi"), stop=stop)).finish_reason == finish


def test_a_refusal_says_why_also_where_nothing_was_said_before() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    report = told(message(stop="refusal", stop_details=details))
    assert (report.finish_reason, report.text) == ("SAFETY", "")
    assert report.events[-1]["candidates"][0]["finishMessage"] == "Anthropic refused to answer: cyber: No."


def test_of_usage_the_last_value_of_each_field_counts() -> None:
    events = message(text("Hi"))
    events[0]["message"]["usage"] = {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 1}
    late = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    events[-2]["usage"] = {"cache_creation_input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": None}
    events.insert(-1, {"type": "message_delta", "delta": {}, "usage": late})
    assert told(events).usage == {
        "promptTokenCount": 28,
        "cachedContentTokenCount": 20,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 4,
        "totalTokenCount": 37,
    }


def test_a_stream_that_closes_after_its_stop_reason_gets_its_end_once() -> None:
    translator = answer()
    for event in message(text("Hi"))[:-1]:
        translator.take(event)
    [last] = translator.end()
    assert last["candidates"][0]["finishReason"] == "STOP"
    assert translator.end() == []
    assert translator.take({"type": "message_stop"}) == []


def test_pings_errors_and_what_is_new_say_nothing() -> None:
    translator = answer()
    for kind in ("ping", "error", "something_new"):
        assert translator.take({"type": kind}) == []
    assert translator.end() == []


def test_a_message_without_names_gets_them() -> None:
    report = told([{"type": "message_start", "message": {}}, *message(text("Hi"))[1:]])
    assert {event["modelVersion"] for event in report.events} == {"claude-asked"}
    assert len({event["responseId"] for event in report.events}) == 1
