"""An API that works with files: it has an agent read and write them by the tools that the agent itself declares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .anthropic import compact
from .judging_anthropic import as_blocks, blocks_of
from .judging_gemini import member, merged
from .saying import function_calls, text_parts
from .talking import Talking, thinks

MARKER = 'The marker line: ä, 世界, "quoted".'
"""The last line of all that is written."""
FILE_TOOLS = {"read": ("Read", "read_file"), "write": ("Write", "write_file")}
"""What Claude Code and Gemini CLI call them."""
THOUGHT = "What is next?"
_MARK = re.compile(r"\[(read|write):([^\[\]]+)\]")

type Piece = tuple[Literal["said", "called", "returned"], str]
"""What a history has in it, in its order: a text of the user, what a call was to write, a tool's result."""


@dataclass(frozen=True)
class Tool:
    """A declared tool."""

    name: str
    required: list[str]

    def called(self, path: str, content: str) -> tuple[str, dict[str, Any]]:
        """Its name, and the arguments that it insists on."""
        return self.name, {name: path if "path" in name else content for name in self.required}


@dataclass(frozen=True)
class Work:
    """How far the work is.

    marks: what the prompt asks for, as `read` or `write` and a path. returned: the results of the tools since then.
    written: what the last call of a tool was to write.
    """

    marks: list[tuple[str, str]]
    returned: list[str]
    written: str


class Working(Talking):
    """What is played for each call; to be used as an upstream's default.

    The prompt is the last text of the user with marks in it: `[read:/a/path]`, `[write:/a/path]`. Each takes a call of
    the client's own tool, one after the other; what is written is the last result and `MARKER`. The end quotes it.
    A request for JSON gets the simplest that its schema allows, one without tools or marks a few words.
    """

    def _blocks(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        tools = [_tool(each, each.get("input_schema")) for each in body.get("tools") or []]
        wanted = ((body.get("output_config") or {}).get("format") or {}).get("schema")
        said, calls = _next(work_of(_anthropic_pieces(body)), tools, wanted)
        thoughts = [{"type": "thinking", "thinking": THOUGHT}] if thinks(body) else []
        made = [
            {"type": "tool_use", "id": self._ids.claude("toolu"), "name": name, "input": given} for name, given in calls
        ]
        return [*thoughts, {"type": "text", "text": said}, *made]

    def _parts(self, body: dict[str, Any], *, stream: bool) -> list[dict[str, Any]]:
        declared = [each for tool in body.get("tools") or [] for each in tool.get("functionDeclarations") or []]
        tools = [_tool(each, member(each, "parametersJsonSchema") or each.get("parameters")) for each in declared]
        config = body.get("generationConfig") or {}
        wanted = config.get("responseJsonSchema") or config.get("responseSchema")
        said, calls = _next(work_of(_gemini_pieces(body)), tools, wanted)
        thought = {"text": THOUGHT, "thought": True}
        if calls:
            return [thought, {"text": said}, *function_calls([{"name": name, "args": args} for name, args in calls])]
        return [thought, *text_parts(said, "tail" if stream else "whole", pieces=2)]


def work_of(pieces: Iterable[Piece]) -> Work:
    """How far the work is after a history."""
    marks: list[tuple[str, str]] = []
    returned: list[str] = []
    written = ""
    for kind, text in pieces:
        if kind == "returned":
            returned.append(text)
        elif kind == "called":
            written = text or written
        elif found := _MARK.findall(text):
            marks, returned, written = found, [], ""
    return Work(marks, returned, written)


def example(schema: dict[str, Any]) -> Any:
    """The simplest value that a JSON schema allows."""
    if schema.get("enum"):
        return schema["enum"][0]
    # Google's own schemas have their types in capitals.
    match str(schema.get("type")).lower():
        case "object":
            return {name: example(each) for name, each in (schema.get("properties") or {}).items()}
        case "array":
            return []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
    return "simple"


def _next(work: Work, tools: list[Tool], wanted: dict[str, Any] | None) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """What is said next, and what is called."""
    if wanted is not None:
        return compact(example(wanted)), []
    done = len(work.returned)
    if not tools or not work.marks:
        return "These are only a few words.", []
    if done >= len(work.marks):
        return f"That is what I wrote:\n{work.written}", []
    what, path = work.marks[done]
    tool = next((tool for tool in tools if tool.name in FILE_TOOLS[what]), None)
    if tool is None:
        return f"There is no tool to {what} with.", []
    content = f"{work.returned[-1].rstrip()}\n{MARKER}\n" if work.returned else f"{MARKER}\n"
    return f"Step {done + 1}: I {what} {path}.", [tool.called(path, content)]


def _tool(declared: dict[str, Any], schema: dict[str, Any] | None) -> Tool:
    return Tool(declared.get("name", ""), (schema or {}).get("required") or [])


def _anthropic_pieces(body: dict[str, Any]) -> Iterator[Piece]:
    for message in body["messages"]:
        for block in blocks_of(message):
            match block.get("type"):
                case "text" if message["role"] == "user":
                    yield "said", block["text"]
                case "tool_use":
                    yield "called", block["input"].get("content", "")
                case "tool_result":
                    yield "returned", "\n".join(each.get("text", "") for each in as_blocks(block.get("content") or []))


def _gemini_pieces(body: dict[str, Any]) -> Iterator[Piece]:
    for role, parts in merged(body["contents"]):
        for part in parts:
            if (called := member(part, "functionCall")) is not None:
                yield "called", (called.get("args") or {}).get("content", "")
            elif (answer := member(part, "functionResponse")) is not None:
                response = answer.get("response") or {}
                yield "returned", str(response.get("output", response))
            elif role == "user":
                yield "said", part.get("text", "")
