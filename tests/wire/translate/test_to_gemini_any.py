"""Any history becomes a valid Gemini request in which nothing is lost; anything else is refused."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.gemini.history import signature_of
from antigravity_healing.wire.translate.common import Body, UntranslatableError, gemini_tool_names
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer, as_given_back, in_words
from antigravity_healing.wire.translate.to_gemini.request import count_tokens_to_gemini, to_gemini
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.anthropic_history import histories
from tests.support.examples import examples
from tests.support.gemini_parts import PARTS, chunk_of
from tests.support.gemini_request import check_gemini_request
from tests.support.work import calls_made
from tests.wire.translate.asking import LOOK, PRO, Known, assistant, call, result, user

steady = settings(deadline=None, derandomize=True, max_examples=examples(150))
MODELS = st.sampled_from(["gemini-2.0-flash", "gemini-2.5-pro", PRO, "gemini-3.8-flash"])
WORDS = st.sampled_from(
    [
        *("user", "assistant", "system", "text", "image", "document", "tool_use", "tool_result", "thinking", "base64"),
        *(
            "url",
            "content",
            "https://[",
            "server_tool_use",
            "search_result",
            "auto",
            "any",
            "tool",
            "enabled",
            "adaptive",
        ),
        *("low", "json_schema", "custom", "web_search_20250305", "look", "next_user_message", "file"),
    ]
)
FIELDS = st.sampled_from(
    [
        *(
            "role",
            "content",
            "type",
            "text",
            "source",
            "data",
            "media_type",
            "url",
            "id",
            "name",
            "input",
            "tool_use_id",
        ),
        *("is_error", "title", "thinking", "budget_tokens", "effort", "format", "schema", "input_schema", "properties"),
        *("output_config", "clear_at", "allowed_domains", "description", "allowed_callers", "$ref", "$defs"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=25,
)
TOP = st.sampled_from(
    [
        *("system", "tools", "tool_choice", "max_tokens", "stop_sequences", "temperature", "thinking", "output_config"),
        *("output_format", "container", "mcp_servers", "top_k", "new"),
    ]
)
DEEP: Any = {"type": "text"}
for member in ("items", "content", "properties") * 100:
    DEEP = {member: [DEEP] if member == "content" else DEEP}
MESSAGES = JSON | st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"])},
        optional={"content": JSON | st.lists(st.dictionaries(FIELDS, JSON | WORDS, max_size=5), max_size=3)},
    ),
    max_size=4,
)


@given(histories(), MODELS, st.booleans(), st.sampled_from([frozenset[str](), frozenset({"call_id"})]))
@steady
def test_any_history_becomes_a_valid_request_in_which_nothing_is_lost(
    messages: list[Body], model: str, vertex: bool, without: frozenset[str]
) -> None:
    body = {"max_tokens": 10, "messages": messages, "tools": [LOOK]}
    before = deepcopy(body)
    translated = to_gemini(body, model, Known(), vertex=vertex, without=without)
    assert body == before
    check_gemini_request(translated)
    check_nothing_is_lost(messages, translated["contents"])
    assert count_tokens_to_gemini(body, model, Known(), vertex=True)["contents"] == translated["contents"]


def check_nothing_is_lost(messages: list[Body], contents: list[Body]) -> None:
    """Raise AssertionError unless the contents have all texts, calls and results of the messages."""
    blocks = [
        {"type": "text", "text": block} if isinstance(block, str) else block
        for message in messages
        for block in ([message["content"]] if isinstance(message["content"], str) else message["content"])
    ]
    parts = [part for content in contents for part in content["parts"]]
    texts = Counter(block["text"] for block in blocks if block["type"] == "text")
    assert texts <= Counter(part["text"] for part in parts if "text" in part)
    calls = [block for block in blocks if block["type"] == "tool_use"]
    assert [call["input"] for call in calls] == [
        part["functionCall"]["args"] for part in parts if "functionCall" in part
    ]
    results = {block["tool_use_id"]: block for block in blocks if block["type"] == "tool_result"}
    answered = [results[call["id"]] for call in calls if call["id"] in results]
    responses = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    for block, response in zip(answered, responses, strict=True):
        [(kind, said)] = response.items()
        assert kind == ("error" if block.get("is_error") else "output")
        content = block["content"] or ""
        wanted = [content] if isinstance(content, str) else [each["text"] for each in content if each["type"] == "text"]
        assert all(text in said for text in wanted)
    images = sum(str(message["content"]).count("'type': 'image'") for message in messages)
    assert images == str(contents).count("'inlineData': ") + str(contents).count("'fileData': ")


@given(st.dictionaries(TOP, JSON, max_size=3), MESSAGES, MODELS, st.booleans())
@steady
def test_any_json_is_translated_or_refused_and_stays_as_it_was(
    fields: Body, messages: Any, model: str, vertex: bool
) -> None:
    body = {**fields, "messages": messages}
    before = repr(body)
    for translate in (to_gemini, count_tokens_to_gemini):
        with suppress(UntranslatableError):
            assert translate(body, model, Known(), vertex=vertex)
    assert repr(body) == before


@pytest.mark.parametrize(
    "body",
    [
        {"system": DEEP},
        {"messages": [user(DEEP)]},
        {"messages": [user({"type": "document", "source": {"type": "content", "content": DEEP}})]},
        {"messages": [user("x"), assistant(call("t", at=DEEP)), user(result("t"))]},
        {"messages": [user("x"), assistant(call("t")), user(result("t", DEEP))]},
        {"messages": [user("x"), assistant({"type": "web_search_tool_result", "content": DEEP}), user("y")]},
        {"tools": [{"name": "look", "input_schema": {"type": "object", "properties": DEEP}}]},
        {"tools": [{"name": "look", "input_schema": {"anyOf": [DEEP]}}]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"items": DEEP}}}},
    ],
)
def test_what_is_nested_deeply_is_translated_or_refused(body: Body) -> None:
    with suppress(UntranslatableError):
        assert to_gemini({"messages": [user("x")], **body}, PRO, Known())


@given(PARTS)
@steady
def test_what_gemini_said_comes_back_as_it_was_said(parts: list[Body]) -> None:
    translator = AnthropicAnswer(names=gemini_tool_names(), model=PRO, seed="seed")
    collector = AnthropicCollector()
    for event in [*translator.take(chunk_of(parts, finishReason="STOP")), *translator.end()]:
        collector.take(event)
    content = collector.content
    results = [result(block["id"]) for block in content if block["type"] == "tool_use"]
    messages = [user("x"), {"role": "assistant", "content": content}, user(*results, "y")]
    translated = to_gemini({"messages": messages}, PRO, Known(as_given_back(parts)))
    assert normal(translated["contents"][1]["parts"]) == (normal(parts) or [{"text": "(no text)"}])


def normal(parts: list[Body]) -> list[Body]:
    """The parts without what need not come back: thoughts that are not signed, data, and how a text was cut."""
    kept: list[Body] = []
    for each in parts:
        part = {"text": in_words(each)} if "inlineData" in each else each
        signed = bool(signature_of(part))
        if not signed and (part.get("thought") or part.get("text") == ""):
            continue
        if kept and not signed and kept[-1].keys() == part.keys() == {"text"}:
            kept[-1] = {"text": kept[-1]["text"] + part["text"]}
        else:
            kept.append(part)
    return kept


def long_history(rounds: int) -> tuple[Body, Known]:
    """Many turns, each with many calls."""
    messages = []
    for number in range(rounds):
        calls = [call(f"t{number}_{each}") for each in range(5)]
        messages += [user("x"), assistant("a", *calls), user(*(result(each["id"]) for each in calls))]
    return {"messages": messages}, Known()


def long_turn(blocks: int) -> tuple[Body, Known]:
    """One turn of many blocks, all known."""
    calls = [call(f"t{number}") for number in range(blocks)]
    said = [each for one in calls for each in ("abc", one)]
    own: list[Body] = []
    for _ in calls:
        signed = {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "c2ln"}
        own += [{"text": "a", "thoughtSignature": "c2ln"}, {"text": "bc"}, signed]
    return {"messages": [user("x"), assistant(*said), user(*(result(one["id"]) for one in calls))]}, Known(own)


def long_schema(properties: int) -> tuple[Body, Known]:
    """One tool of many properties, each of which refers to another."""
    schema = {
        "properties": {f"p{number}": {"$ref": f"#/$defs/d{number}"} for number in range(properties)},
        "required": [f"p{number}" for number in range(properties)],
        "$defs": {f"d{number}": {"type": "string"} for number in range(properties)},
    }
    return {"messages": [user("x")], "tools": [{"name": "look", "input_schema": schema}]}, Known()


@pytest.mark.parametrize("build", [long_history, long_turn, long_schema])
def test_the_work_grows_as_the_request_does(build: Callable[[int], tuple[Body, Known]]) -> None:
    counts = []
    for size in (50, 100, 200):
        body, known = build(size)
        counts.append(calls_made(partial(to_gemini, body, PRO, known)))
    for smaller, larger in pairwise(counts):
        assert larger < 2.1 * smaller
