"""What the Messages API asks of a request, checked without knowing how the request was made."""

import re
from typing import Any

from .anthropic_schema import check_input_schema

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ID = re.compile(r"[A-Za-z0-9_-]+")
_TOP = {
    *("model", "messages", "max_tokens", "system", "tools", "tool_choice", "thinking", "output_config", "stream"),
    *("stop_sequences", "temperature", "top_p", "top_k"),
}
_BLOCKS = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}
_SOURCES = {
    "base64": {"type", "media_type", "data"},
    "url": {"type", "url"},
    "text": {"type", "media_type", "data"},
}
_MEDIA = {"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "text/plain"}
_TYPES = {"string", "number", "integer", "boolean", "array", "object", "null"}
_MODEL = re.compile(r"(opus|sonnet|haiku|fable|mythos)-(\d)-?(\d)?\b")
_FORMAT = {
    *("$ref", "$defs", "type", "title", "description", "enum", "const", "anyOf", "allOf", "properties", "required"),
    *("additionalProperties", "items", "minItems", "format", "definitions"),
}


def check_anthropic_request(body: dict[str, Any]) -> None:
    """Raise AssertionError unless the body is a valid Messages request for its model."""
    assert not body.keys() - _TOP, f"fields that the API does not know: {body.keys() - _TOP}"
    assert body["max_tokens"] > 0
    for block in body.get("system", ()):
        assert block["type"] == "text"
        assert block["text"].strip()
    check_messages(body["messages"])
    _check_tools(body)
    _check_settings(body)


def check_messages(messages: list[dict[str, Any]]) -> None:
    """Raise AssertionError unless the messages are a valid history."""
    assert messages, "no messages"
    seen: set[str] = set()
    for index, message in enumerate(messages):
        assert message.keys() == {"role", "content"}
        role = ("user", "assistant")[index % 2]
        assert message["role"] == role, f"messages.{index} is out of turn"
        assert message["content"], f"messages.{index} is empty"
        for block in message["content"]:
            assert block["type"] in _BLOCKS[role], f"messages.{index}: {block['type']}"
            _check_block(block)
        for call in _of_type(message, "tool_use"):
            assert call["id"] not in seen, "ids are unique"
            seen.add(call["id"])
    for index, message in enumerate(messages):
        _check_pairs(messages[index - 1] if index else None, message)
    last = messages[-1]["content"][-1]
    if messages[-1]["role"] == "assistant" and last["type"] == "text":
        assert last["text"] == last["text"].rstrip(), "a prefill ends with white space"


def _check_pairs(before: dict[str, Any] | None, message: dict[str, Any]) -> None:
    if message["role"] == "assistant":
        return
    results = [result["tool_use_id"] for result in _of_type(message, "tool_result")]
    assert results == [call["id"] for call in _of_type(before, "tool_use")], "each call has its result, in order"
    first = message["content"][: len(results)]
    assert all(block["type"] == "tool_result" for block in first), "results come first"


def _of_type(message: dict[str, Any] | None, kind: str) -> list[dict[str, Any]]:
    return [block for block in message["content"] if block["type"] == kind] if message else []


def _check_block(block: dict[str, Any]) -> None:
    match block["type"]:
        case "text":
            assert block.keys() == {"type", "text"}
            assert block["text"].strip(), "an empty text"
        case "image" | "document":
            source = block["source"]
            assert source.keys() == _SOURCES[source["type"]]
            assert source.get("media_type", "text/plain") in _MEDIA
            assert source["type"] != "url" or source["url"].startswith("https://")
        case "tool_use":
            assert block.keys() == {"type", "id", "name", "input"}
            assert _ID.fullmatch(block["id"])
            assert _NAME.fullmatch(block["name"])
            assert isinstance(block["input"], dict)
        case "tool_result":
            assert block.keys() <= {"type", "tool_use_id", "content", "is_error"}
            content = block.get("content", "text")
            assert content, "an empty result"
            for inner in () if isinstance(content, str) else content:
                assert inner["type"] in ("text", "image", "document")
                _check_block(inner)


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools", [])
    names = [tool["name"] for tool in tools]
    assert len(set(names)) == len(names), "names are unique"
    assert all(_NAME.fullmatch(name) for name in names)
    for tool in tools:
        if "type" not in tool:
            assert tool.keys() <= {"name", "description", "input_schema"}
            check_input_schema(tool["input_schema"])
    choice = body.get("tool_choice")
    if choice is not None:
        assert tools, "a choice without tools"
        assert choice["type"] in ("auto", "any", "tool", "none")
        assert choice["type"] != "tool" or choice["name"] in names


def _check_settings(body: dict[str, Any]) -> None:
    thinking, version = body.get("thinking", {}), _version(body["model"])
    kind = thinking.get("type")
    if kind == "enabled":
        assert version < (4, 7)
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
    if kind == "adaptive":
        assert version >= (4, 6)
        assert "budget_tokens" not in thinking
    if kind == "disabled":
        assert "haiku" in body["model"] or version < (5, 5)
    if kind in ("enabled", "adaptive"):
        assert body.get("tool_choice", {}).get("type") not in ("any", "tool")
        assert not body.keys() & {"temperature", "top_k"}
    sampling = body.keys() & {"temperature", "top_p", "top_k"}
    assert not sampling or version <= (4, 6)
    assert version < (4, 1) or not {"temperature", "top_p"} <= sampling
    assert 0 <= body.get("temperature", 0) <= 1
    output = body.get("output_config", {})
    assert "effort" not in output or version >= (4, 5)
    if "format" in output:
        _check_format(output["format"]["schema"])


def _check_type(schema: dict[str, Any]) -> None:
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        assert kind in _TYPES, f"no type of JSON schema: {kind}"


def _version(model: str) -> tuple[int, int]:
    match = _MODEL.search(model)
    assert match is not None
    return int(match.group(2)), int(match.group(3) or 0)


def _check_format(schema: dict[str, Any]) -> None:
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        _check_type(each)
        assert not each.keys() - _FORMAT, f"keywords that are not taken: {each.keys() - _FORMAT}"
        if each.get("type") == "object":
            assert each["additionalProperties"] is False
        for name in ("properties", "$defs", "definitions"):
            waiting += each.get(name, {}).values()
        for name in ("anyOf", "allOf"):
            waiting += each.get(name, ())
        waiting += [each["items"]] if "items" in each else []
