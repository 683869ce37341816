"""What the Gemini API asks of a request, checked without knowing how the request was made."""

import re
from collections.abc import Iterator
from typing import Any

from google.genai import types

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_TOP = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
_DATA = {
    *("text", "inlineData", "fileData", "functionCall", "functionResponse"),
    *("executableCode", "codeExecutionResult", "toolCall", "toolResponse"),
}
_BESIDE_DATA = {"thought", "thoughtSignature"}
SCHEMA_KEYWORDS = {
    *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"),
    *("minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required"),
}
_LEVELS = {"minimal", "low", "medium", "high"}
_MODES = {"AUTO", "ANY", "NONE"}


def check_gemini_request(body: dict[str, Any]) -> None:
    """Raise AssertionError unless the body is a valid generateContent request."""
    assert not body.keys() - _TOP, f"fields that the API does not know: {body.keys() - _TOP}"
    _check_contents(body["contents"])
    _check_tools(body)
    if "systemInstruction" in body:
        parts = body["systemInstruction"]["parts"]
        assert parts
        assert all(part.keys() == {"text"} and part["text"] for part in parts)
    _check_config(body.get("generationConfig", {}))


def _check_contents(contents: list[dict[str, Any]]) -> None:
    assert contents, "no contents"
    for index, content in enumerate(contents):
        assert content.keys() == {"role", "parts"}
        assert content["role"] == ("user", "model")[index % 2], f"contents.{index} is out of turn"
        assert content["parts"], f"contents.{index} is empty"
        for part in content["parts"]:
            _check_part(part, content["role"])
        # The SDK knows the members of everything, and their types.
        types.Content.model_validate(content)
    for index, content in enumerate(contents):
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        answer = contents[index + 1]["parts"] if index + 1 < len(contents) else None
        if answer is not None and content["role"] == "model":
            _check_pairs(calls, answer)
    assert not _responses(contents[0]["parts"]), "responses without calls"


def _check_pairs(calls: list[dict[str, Any]], answer: list[dict[str, Any]]) -> None:
    responses = _responses(answer)
    assert len(responses) == len(calls), "as many responses as calls"
    assert [part for part in answer if "functionResponse" in part] == answer[: len(calls)], "responses come first"
    for call, response in zip(calls, responses, strict=True):
        assert (call["name"], call.get("id")) == (response["name"], response.get("id"))


def _responses(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part["functionResponse"] for part in parts if "functionResponse" in part]


def _check_part(part: dict[str, Any], role: str) -> None:
    assert len(part.keys() & _DATA) == 1, f"one kind of data: {part}"
    assert not part.keys() - _DATA - _BESIDE_DATA, part
    if "text" in part:
        assert part["text"] or part.get("thoughtSignature"), "an empty part"
    assert not part.keys() & _BESIDE_DATA or role == "model", "a signature on what the user says"
    assert "functionCall" not in part or role == "model"
    assert "functionResponse" not in part or role == "user"
    if call := part.get("functionCall"):
        assert _NAME.fullmatch(call["name"])
        assert isinstance(call["args"], dict)
        assert call.get("id") != ""
    if response := part.get("functionResponse"):
        assert _NAME.fullmatch(response["name"])
        assert isinstance(response["response"], dict)
        for media in response.get("parts", ()):
            assert len(media) == 1
            assert media.keys() <= {"inlineData", "fileData"}


def _check_tools(body: dict[str, Any]) -> None:
    tools, config = body.get("tools", []), body.get("toolConfig", {})
    declarations = [each for tool in tools for each in tool.get("functionDeclarations", ())]
    names = [declaration["name"] for declaration in declarations]
    assert len(set(names)) == len(names)
    for tool in tools:
        assert len(tool) == 1, "one kind of tool"
        types.Tool.model_validate(tool)
    for declaration in declarations:
        assert _NAME.fullmatch(declaration["name"])
        assert "parameters" not in declaration
        _check_schema(declaration["parametersJsonSchema"])
    types.ToolConfig.model_validate(config)
    mixed = bool(declarations) and any("functionDeclarations" not in tool for tool in tools)
    assert config.get("includeServerSideToolInvocations", False) is mixed
    calling = config.get("functionCallingConfig")
    if calling is not None:
        assert declarations, "a function calling config without functions"
        assert calling["mode"] in _MODES
        assert not (mixed and calling["mode"] == "AUTO")
        allowed = calling.get("allowedFunctionNames")
        assert allowed is None or (calling["mode"] == "ANY" and allowed and set(allowed) <= set(names))


def _check_config(config: dict[str, Any]) -> None:
    types.GenerationConfig.model_validate(config)
    assert config.get("maxOutputTokens", 1) > 0
    assert len(config.get("stopSequences", ())) <= 5
    if "responseJsonSchema" in config:
        assert config["responseMimeType"] == "application/json"
        _check_schema(config["responseJsonSchema"])
    thinking = config.get("thinkingConfig", {})
    assert not {"thinkingLevel", "thinkingBudget"} <= thinking.keys(), "never both"
    assert thinking.get("thinkingLevel", "low") in _LEVELS


def _check_schema(schema: dict[str, Any]) -> None:
    check_circles(schema)
    for each in subschemas(schema):
        assert isinstance(each, dict)
        assert not each.keys() - SCHEMA_KEYWORDS, f"keywords that are not taken: {each.keys() - SCHEMA_KEYWORDS}"
        if "$ref" in each:
            assert all(name.startswith("$") for name in each), "nothing may stand beside a reference"
        assert set(each.get("required", ())) <= each.get("properties", {}).keys()
        assert len(set(each.get("required", ()))) == len(each.get("required", ()))
        values = each.get("enum", ())
        assert all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values), values


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and all that it is made of."""
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        yield each
        for name in ("properties", "$defs"):
            waiting += each.get(name, {}).values()
        for name in ("prefixItems", "anyOf", "oneOf"):
            waiting += each.get(name, ())
        waiting += [each[name] for name in ("items", "additionalProperties") if isinstance(each.get(name), dict)]


def check_circles(root: dict[str, Any]) -> None:
    """Raise AssertionError where a value would have to hold another of its kind: references may not lead there."""
    done: set[int] = set()

    def visit(each: Any, path: tuple[int, ...]) -> None:
        assert id(each) not in path, f"a circle of what is required: {each}"
        if isinstance(each, dict) and id(each) not in done:
            required = each.get("required", ())
            needed = [item for name, item in each.get("properties", {}).items() if name in required]
            needed += [item for name in ("prefixItems", "anyOf", "oneOf") for item in each.get(name, ())]
            needed += [each[name] for name in ("items", "additionalProperties") if name in each]
            if each.get("$ref", "").startswith("#/$defs/"):
                needed.append(root["$defs"][each["$ref"].removeprefix("#/$defs/")])
            elif each.get("$ref") == "#":
                needed.append(root)
            for item in needed:
                visit(item, (*path, id(each)))
            done.add(id(each))

    for each in subschemas(root):
        visit(each, ())
