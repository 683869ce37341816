"""The working upstream through the real SDKs, without a proxy: a call a step, of the tools that the client declares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.sdk import anthropic_client, gemini_client

from .server import Upstream
from .working import MARKER, Working, example

FILES = {"/a/b.txt": 'some "text"'}
PROMPT = "Copy [read:/a/b.txt] to [write:/c.txt]."
WRITTEN = f'some "text"\n{MARKER}\n'
PROPERTIES = {"file_path": {"type": "string"}, "content": {"type": "string"}}
READ = {"type": "object", "properties": PROPERTIES, "required": ["file_path"]}
WRITE = {"type": "object", "properties": PROPERTIES, "required": ["file_path", "content"]}
SCHEMA = {
    "type": "OBJECT",
    "properties": {
        "why": {"type": "STRING"},
        "score": {"type": "INTEGER"},
        "who": {"type": "string", "enum": ["user"]},
    },
}

streaming_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])


@pytest.fixture
def up() -> Iterator[Upstream]:
    """A server that plays it."""
    with Upstream() as server:
        server.default = Working(call_ids=True)
        yield server


def used(files: dict[str, str], name: str, given: dict[str, Any]) -> str:
    """What the client's tool answers."""
    if name in ("Read", "read_file"):
        return files[given["file_path"]]
    files[given["file_path"]] = given["content"]
    return "Done."


def anthropic_answer(up: Upstream, stream: bool, **asked: Any) -> list[dict[str, Any]]:
    messages = anthropic_client(up.url).messages
    asked = {"model": "claude-opus-5-5", "max_tokens": 4000, "thinking": {"type": "adaptive"}, **asked}
    if stream:
        with messages.stream(**asked) as answer:
            message = answer.get_final_message()
    else:
        message = messages.create(**asked)
    blocks: list[dict[str, Any]] = json.loads(message.to_json())["content"]
    return blocks


def gemini_answer(up: Upstream, stream: bool, contents: Any, **config: Any) -> list[dict[str, Any]]:
    client = gemini_client(up.url)
    asked: dict[str, Any] = {"model": "gemini-3-pro-preview", "contents": contents, "config": config}
    models = client.models
    answers = list(models.generate_content_stream(**asked)) if stream else [models.generate_content(**asked)]
    dumped = [json.loads(answer.model_dump_json(by_alias=True, exclude_none=True)) for answer in answers]
    return [part for each in dumped for part in each["candidates"][0]["content"]["parts"]]


@streaming_or_not
def test_an_anthropic_client_copies_a_file(up: Upstream, stream: bool) -> None:
    files, calls = dict(FILES), []
    history: list[dict[str, Any]] = [{"role": "user", "content": PROMPT}]
    tools = [{"name": "Read", "input_schema": READ}, {"name": "Write", "input_schema": WRITE}]
    while True:
        blocks = anthropic_answer(up, stream, messages=history, tools=tools)
        history.append({"role": "assistant", "content": blocks})
        made = [block for block in blocks if block["type"] == "tool_use"]
        if not made:
            break
        calls += [call["name"] for call in made]
        results = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": used(files, call["name"], call["input"])}
            for call in made
        ]
        history.append({"role": "user", "content": results})
    assert calls == ["Read", "Write"]
    assert files["/c.txt"] == WRITTEN
    assert WRITTEN in blocks[-1]["text"]


@streaming_or_not
def test_a_gemini_client_copies_a_file(up: Upstream, stream: bool) -> None:
    files, calls = dict(FILES), []
    history: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": PROMPT}]}]
    declared = [
        {"name": "read_file", "parameters_json_schema": READ},
        {"name": "write_file", "parameters_json_schema": WRITE},
    ]
    while True:
        parts = gemini_answer(up, stream, history, tools=[{"function_declarations": declared}])
        history.append({"role": "model", "parts": parts})
        made = [part["functionCall"] for part in parts if "functionCall" in part]
        if not made:
            break
        calls += [call["name"] for call in made]
        for call in made:
            response = {"output": used(files, call["name"], call["args"])}
            history.append(
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"id": call["id"], "name": call["name"], "response": response}}],
                }
            )
    assert calls == ["read_file", "write_file"]
    assert files["/c.txt"] == WRITTEN
    assert WRITTEN in "".join(part.get("text", "") for part in parts)


@streaming_or_not
@pytest.mark.parametrize("wanted", [True, False], ids=["JSON wanted", "words wanted"])
def test_requests_without_tools_get_words_or_the_json_that_they_want(up: Upstream, stream: bool, wanted: bool) -> None:
    config = {"response_mime_type": "application/json", "response_json_schema": SCHEMA} if wanted else {}
    parts = gemini_answer(up, stream, PROMPT, **config)
    said = ["".join(part.get("text", "") for part in parts if not part.get("thought"))]
    output = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}} if wanted else {}
    blocks = anthropic_answer(up, stream, messages=[{"role": "user", "content": PROMPT}], **output)
    said.append(blocks[-1]["text"])
    if wanted:
        assert [json.loads(text) for text in said] == [{"why": "simple", "score": 1, "who": "user"}] * 2
    else:
        assert said == ["These are only a few words."] * 2


@pytest.mark.parametrize(
    ("schema", "value"),
    [({}, "simple"), ({"type": "array"}, []), ({"type": "NUMBER", "minimum": 5}, 5), ({"type": "boolean"}, False)],
)
def test_the_simplest_value_is_one_that_the_schema_allows(schema: dict[str, Any], value: object) -> None:
    assert example(schema) == value
