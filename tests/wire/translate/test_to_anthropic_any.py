"""Any Gemini history, any Anthropic answer, and any JSON at all."""

import contextlib
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.events_of_whole import events_of
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.translate.common import (
    UntranslatableError,
    anthropic_tool_names,
)
from antigravity_healing.wire.translate.to_anthropic.request import count_tokens_to_anthropic, to_anthropic
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.anthropic_request import check_anthropic_request
from tests.support.examples import examples
from tests.support.protocol.gemini import check_gemini_stream
from tests.support.work import calls_made

MODELS = st.sampled_from(["claude-sonnet-4-0", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5-5"])
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NO_TEXT = {"type": "text", "text": "(no text)"}
NAMES = ["look", "read_file", "mcp.a:b", "ü"]
ARGUMENTS = st.dictionaries(TEXT, st.recursive(
    st.none() | st.booleans() | st.integers(-10**6, 10**6) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=4,
), max_size=2)  # fmt: skip

# Gemini histories.

USER_PARTS = st.one_of(
    TEXT.map(lambda text: {"text": text}),
    st.sampled_from([
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"inline_data": {"mime_type": "text/plain", "data": "aGk"}},
        {"fileData": {"fileUri": "https://x.org/a.pdf"}},
    ]),
)  # fmt: skip
MODEL_PARTS = st.one_of(
    TEXT.map(lambda text: {"text": text}),
    TEXT.map(lambda text: {"text": text, "thought": True}),
    TEXT.map(lambda text: {"text": text, "thoughtSignature": "c2ln"}),
    st.sampled_from([
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    ]),
)  # fmt: skip
CALLS = st.tuples(st.sampled_from(NAMES), ARGUMENTS, st.sampled_from(["", "", "c1", "c2", "ö", "call_1_0"]))


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The contents of a conversation as clients send it, with all calls answered in some order."""
    contents = []
    for _ in range(draw(st.integers(1, 4))):
        contents.append({"role": draw(st.sampled_from(["user", ""])), "parts": draw(st.lists(USER_PARTS, max_size=3))})
        for _ in range(draw(st.integers(0, 2))):
            calls = draw(st.lists(CALLS, max_size=3))
            parts = draw(st.lists(MODEL_PARTS, max_size=3)) + [
                {"functionCall": {"name": name, "args": args, **({"id": own} if own else {})}}
                for name, args, own in calls
            ]
            cut = draw(st.integers(0, len(parts)))
            contents += [{"role": "model", "parts": half} for half in (parts[:cut], parts[cut:]) if half]
            if calls:
                contents.append(draw(answers(calls)))
    return contents


@st.composite
def answers(draw: st.DrawFn, calls: list[tuple[str, dict[str, Any], str]]) -> dict[str, Any]:
    """The responses to these calls; those with ids of their own come in any order."""
    said = draw(st.sampled_from(["output", "error", "x"]))
    responses = [
        {"functionResponse": {"name": name, "response": {said: draw(TEXT)}, **({"id": own} if own else {})}}
        for name, _, own in calls
    ]
    if len({own for _, _, own in calls}) == len(calls) and all(own for _, _, own in calls):
        responses = draw(st.permutations(responses))
    return {"role": draw(st.sampled_from(["user", "function"])), "parts": responses}


@settings(max_examples=examples(200), deadline=None)
@given(histories(), MODELS, st.sampled_from(["AUTO", "ANY", "NONE", "VALIDATED"]), st.integers(-1, 40_000))
def test_any_history_becomes_a_valid_request(
    contents: list[dict[str, Any]], model: str, mode: str, budget: int
) -> None:
    body = {
        "contents": contents,
        "tools": [{"functionDeclarations": [{"name": name} for name in NAMES]}],
        "toolConfig": {"functionCallingConfig": {"mode": mode}},
        "generationConfig": {"thinkingConfig": {"thinkingBudget": budget}, "temperature": 0.5, "topP": 0.5, "topK": 3},
    }
    request = to_anthropic(body, model, stream=True)
    check_anthropic_request(request)
    assert to_anthropic(body, model, stream=True) == request
    calls = [
        part["functionCall"]["args"] for content in contents for part in content["parts"] if "functionCall" in part
    ]
    blocks = [block for message in request["messages"] for block in message["content"]]
    assert [block["input"] for block in blocks if block["type"] == "tool_use"] == calls


# Anthropic answers.

CITATIONS = st.lists(st.sampled_from([{"url": "https://x.org", "title": "X"}, {"document_title": "D"}]), max_size=2)
BLOCKS = st.one_of(
    st.builds(lambda text, citations: {"type": "text", "text": text, "citations": citations}, TEXT, CITATIONS),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "c2ln"}, TEXT),
    st.builds(lambda name, given: {"type": "tool_use", "id": "toolu_1", "name": name, "input": given},
              st.sampled_from(NAMES[:2]), ARGUMENTS),
    st.sampled_from([
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "server_tool_use", "id": "s", "name": "bash_code_execution", "input": {"command": "ls"}},
        {"type": "bash_code_execution_tool_result", "content": {"stdout": "a", "return_code": 0}},
        {"type": "web_search_tool_result", "content": [{"url": "https://x.org", "title": "X"}]},
        {"type": "fallback"},
    ]),
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn, blocks: list[dict[str, Any]], stop: str) -> list[dict[str, Any]]:
    """The events of a message with these blocks; their deltas are cut anywhere, and pings come at times."""
    usage = {"input_tokens": 3, "output_tokens": 5}
    message = {"id": "msg_1", "model": "claude-x", "content": blocks, "stop_reason": stop, "usage": usage}
    events = []
    for event in events_of(message):
        delta = event.get("delta", {})
        name = next((key for key in ("text", "thinking", "partial_json") if delta.get(key)), "")
        if event["type"] == "content_block_delta" and name:
            said = delta[name]
            at = draw(st.integers(0, len(said)))
            events += [{**event, "delta": {**delta, name: piece}} for piece in (said[:at], said[at:])]
        else:
            events.append(event)
        if draw(st.booleans()):
            events.append({"type": "ping"})
    return events


def answer() -> GeminiAnswer:
    names = anthropic_tool_names(NAMES)
    return GeminiAnswer(names=names, model="claude-x", seed="seed")


@settings(max_examples=examples(150), deadline=None)
@given(st.data(), st.lists(BLOCKS, max_size=6), st.sampled_from(["end_turn", "max_tokens", "refusal"]))
def test_any_answer_becomes_a_valid_stream_in_which_nothing_is_lost(
    data: st.DataObject, blocks: list[dict[str, Any]], stop: str
) -> None:
    translator = answer()
    chunks = [chunk for event in data.draw(streams(blocks, stop)) for chunk in translator.take(event)]
    report = check_gemini_stream(b"".join(map(Gemini().encode, chunks)))

    def said(kind: str, name: str) -> str:
        return "".join(block[name] for block in blocks if block["type"] == kind)

    assert report.text.replace("[fallback: {}]", "") == said("text", "text")
    assert report.thoughts == said("thinking", "thinking")
    assert report.calls == [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    assert report.usage["totalTokenCount"] == 8
    shown = [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", ())]
    ran = [block for block in blocks if block.get("name") == "bash_code_execution"]
    assert sum("executableCode" in part for part in shown) == len(ran)
    assert translator.end() == []
    assert translator.broken == ""


# There and back.


@settings(max_examples=examples(100), deadline=None)
@given(st.data(), st.lists(BLOCKS, min_size=1, max_size=6))
def test_what_a_client_was_shown_comes_back_as_it_was_said(data: st.DataObject, blocks: list[dict[str, Any]]) -> None:
    """Else the thinking that belongs to a turn would not be found again."""
    # Where nothing is shown between two texts, a client can't know that they were two.
    kept = [block for block in blocks if any(block.get(name) for name in ("text", "thinking", "id"))]
    kept = [block for block in kept if block["type"] != "server_tool_use"]
    blocks = [block for at, block in enumerate(kept) if not at or {block["type"], kept[at - 1]["type"]} != {"text"}]
    blocks = [{**block, "id": f"toolu_{at}"} if "id" in block else block for at, block in enumerate(blocks)]
    translator = answer()
    chunks = [chunk for event in data.draw(streams(blocks, "end_turn")) for chunk in translator.take(event)]
    contents = [candidate["content"] for chunk in chunks for candidate in chunk["candidates"] if "content" in candidate]
    responses: list[dict[str, Any]] = [
        {"functionResponse": {"id": block["id"], "name": block["name"], "response": {}}}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    hello, answered = {"parts": [{"text": "Hi"}]}, {"parts": responses or [{"text": "Go on"}]}
    request = to_anthropic({"contents": [hello, *contents, answered]}, "claude-sonnet-4-5", stream=True)
    spoken: list[dict[str, Any]] = [
        {name: block[name] for name in ("type", "text", "id", "name", "input") if name in block}
        for block in blocks
        if block["type"] != "thinking" and block.get("text", "x").strip()
    ]
    turns = [message["content"] for message in request["messages"] if message["role"] == "assistant"]
    assert turns == ([spoken or [NO_TEXT]] if contents else [])


# Anything.

MEMBERS = [
    "contents", "role", "parts", "text", "thought", "functionCall", "function_call", "functionResponse", "name", "args",
    "id", "response", "inlineData", "fileData", "mimeType", "data", "fileUri", "executableCode", "codeExecutionResult",
    "systemInstruction", "tools", "functionDeclarations", "parameters", "parametersJsonSchema", "properties", "type",
    "items", "anyOf", "enum", "nullable", "required", "propertyOrdering", "additionalProperties", "googleSearch",
    "toolConfig", "functionCallingConfig", "mode", "allowedFunctionNames", "generationConfig", "maxOutputTokens",
    "stopSequences", "temperature", "topP", "topK", "candidateCount", "responseModalities", "responseMimeType",
    "responseJsonSchema", "responseSchema", "responseFormat", "schema", "thinkingConfig", "thinkingLevel",
    "thinkingBudget", "includeThoughts", "generateContentRequest", "minItems", "format", "$ref", "$defs", "default",
]  # fmt: skip
WORDS = ["user", "model", "ANY", "NONE", "OBJECT", "object", "look", "image/png", "text/plain", "HIGH", "https://[x"]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text(max_size=5)
)  # fmt: skip
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=25,
)
HELLO = {"contents": [{"parts": [{"text": "Hi"}]}]}


def survives(body: dict[str, Any]) -> None:
    for model in ("claude-sonnet-4-5", "claude-opus-5-5"):
        with contextlib.suppress(UntranslatableError):
            dump(to_anthropic(body, model, stream=True))
        with contextlib.suppress(UntranslatableError):
            dump(count_tokens_to_anthropic(body, model))


@settings(max_examples=examples(200), deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), ANY, max_size=4))
def test_no_json_whatever_breaks_a_request(body: dict[str, Any]) -> None:
    survives(body)
    survives({**HELLO, **body})


@settings(max_examples=examples(300), deadline=None)
@given(st.sampled_from(MEMBERS), ANY)
def test_no_json_whatever_breaks_any_member_of_a_request(name: str, value: Any) -> None:
    survives({**HELLO, "generationConfig": {name: value}})
    survives({**HELLO, "generationConfig": {"thinkingConfig": {name: value}}})
    survives({**HELLO, "tools": [{name: value}]})
    survives({**HELLO, "tools": [{"functionDeclarations": [{"name": "f", name: value}]}], "toolConfig": {name: value}})
    survives({**HELLO, "generationConfig": {"responseSchema": {"type": "OBJECT", name: value}}})
    survives({**HELLO, "generationConfig": {"responseJsonSchema": {"type": "object", name: value}}})
    survives({**HELLO, "systemInstruction": {name: value}})
    survives({"contents": [{"role": "user", "parts": [{name: value}]}, {"role": "model", "parts": [{name: value}]}]})
    survives({"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", name: value}}]}]})
    response = {"functionResponse": {"name": "f", name: value}}
    survives({"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, {"parts": [response]}]})
    for media in ("inlineData", "fileData"):
        survives({"contents": [{"parts": [{media: {"mimeType": "image/png", name: value}}]}]})


@pytest.mark.parametrize("opening", ["[", '{"parts":', '{"properties":{"a":', '{"items":'])
@pytest.mark.parametrize("member", ["contents", "tools", "generationConfig", "systemInstruction"])
def test_deep_nesting_breaks_nothing(opening: str, member: str) -> None:
    value: Any = 1
    for _ in range(900):
        value = [value] if opening == "[" else {opening.split('"')[1]: value}
    survives({**HELLO, member: value})
    survives({**HELLO, "generationConfig": {"responseSchema": value}})
    survives({**HELLO, "tools": [{"functionDeclarations": [{"name": "f", "parameters": value}]}]})
    survives({"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": value}}}]}]})


EVENT_MEMBERS = [
    "type", "index", "message", "content_block", "delta", "usage", "id", "model", "name", "input", "content", "text",
    "thinking", "signature", "partial_json", "citation", "citations", "stop_reason", "stop_details", "output_tokens",
    "input_tokens", "output_tokens_details", "tool_use_id", "url", "query", "explanation",
]  # fmt: skip
EVENT_WORDS = [
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop", "text", "thinking", "tool_use", "server_tool_use", "web_search_tool_result", "text_delta",
    "input_json_delta", "citations_delta", "web_search", "code_execution", "code_execution_tool_result",
]  # fmt: skip
EVENT_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.floats() | st.sampled_from(EVENT_WORDS) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(EVENT_MEMBERS), inner, max_size=4),
    max_leaves=20,
)
EVENTS = st.builds(
    lambda kind, index, members: {**members, "type": kind, "index": index},
    st.sampled_from(EVENT_WORDS[:6]), st.integers(0, 1) | EVENT_VALUES,
    st.dictionaries(st.sampled_from(EVENT_MEMBERS), EVENT_VALUES, max_size=4),
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(EVENTS | st.dictionaries(st.sampled_from(EVENT_MEMBERS), EVENT_VALUES, max_size=4), max_size=8))
def test_no_json_whatever_breaks_an_answer(events: list[dict[str, Any]]) -> None:
    translator = answer()
    chunks = [chunk for event in events for chunk in translator.take(event)]
    check_gemini_stream(b"".join(map(Gemini().encode, chunks + translator.end())), allow_cut=True)
    assert isinstance(translator.broken, str)


@settings(max_examples=examples(100), deadline=None)
@given(st.dictionaries(st.sampled_from(EVENT_MEMBERS), EVENT_VALUES, max_size=5))
def test_no_json_whatever_breaks_a_message(message: dict[str, Any]) -> None:
    translator = answer()
    for event in events_of(message):
        dump(event)
        translator.take(event)


# How much work it is.


def test_twice_the_conversation_is_twice_the_work() -> None:
    def conversation(size: int) -> dict[str, Any]:
        ids = [str(number) for number in range(size)]
        calls = [{"functionCall": {"name": "look", "args": {}, "id": own}} for own in ids]
        responses = [{"functionResponse": {"name": "look", "response": {}, "id": own}} for own in reversed(ids)]
        return {"contents": [{"parts": [{"text": "a"}]}, {"role": "model", "parts": calls}, {"parts": responses}] * 2}

    def work(size: int) -> int:
        body = conversation(size)
        return calls_made(lambda: to_anthropic(body, "claude-sonnet-4-5", stream=True))

    assert work(200) < 2.2 * work(100)
