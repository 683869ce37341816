"""What Anthropic requests and answers say, for people."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from antigravity_healing.wire.conversation import Answer, Asked, Part, Turn, data_part, names_of, parts_of, texts
from antigravity_healing.wire.json.value import joined, parse

_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_RESULTS = "tool_result"
_NOT_SETTINGS = frozenset(("messages", "system", "tools", "model"))
_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_BLOCK_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "tool_use"}
_DEEPEST = 4


class AnthropicConversation:
    """How the Messages API says what is talked about."""

    turns_in = "messages"

    def turn(self, item: Any) -> Turn:
        """A message."""
        message = item if isinstance(item, dict) else {"content": item}
        return Turn(texts(message.get("role")) or "?", _parts_of(message.get("content")))

    def asked(self, body: Mapping[str, Any]) -> Asked:
        """The system prompt, the tools, and all other members."""
        settings = {name: value for name, value in body.items() if name not in _NOT_SETTINGS}
        return Asked(_parts_of(body.get("system", "")), names_of(body.get("tools"), "name", "type"), settings)

    def answer_reader(self) -> "AnthropicAnswerReader":
        """A reader for a new answer."""
        return AnthropicAnswerReader()


class AnthropicAnswerReader:
    """Puts together what the events of a message say."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._role = "assistant"
        self._model = self._stop = ""
        self._usage: dict[str, Any] = {}
        self._error: Any = None

    @property
    def answer(self) -> Answer:
        """The message as far as it has come; a block whose start is missing is known by its deltas."""
        parts = [block.part() for _, block in sorted(self._blocks.items())]
        turns = [Turn(self._role, parts)] if parts else []
        return Answer(turns, self._stop, self._model, self._usage, self._error)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event."""
        index = event.get("index")
        match event.get("type"):
            case "content_block_delta" if isinstance(index, int) and isinstance(delta := event.get("delta"), dict):
                if (block := self._blocks.get(index)) is None:
                    kind = delta.get("type")
                    known = _BLOCK_OF_DELTA.get(kind) if isinstance(kind, str) else None
                    if known is None:
                        return
                    block = self._blocks[index] = _Block({"type": known})
                block.take(delta)
            case "content_block_start" if isinstance(index, int):
                start = event.get("content_block")
                self._blocks[index] = _Block(start if isinstance(start, dict) else {})
            case "message_start" if isinstance(message := event.get("message"), dict):
                self._model = texts(message.get("model"))
                self._role = texts(message.get("role")) or self._role
                self._take_end(message, message.get("usage"))
            case "message_delta":
                self._take_end(event.get("delta"), event.get("usage"))
            case "error":
                self._error = event

    def _take_end(self, fields: Any, usage: Any) -> None:
        if isinstance(fields, dict):
            self._stop = texts(fields.get("stop_reason")) or self._stop
        if isinstance(usage, dict):
            self._usage |= {name: count for name, count in usage.items() if count is not None}


class _Block:
    """A content block that is coming."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._start = start
        self._pieces: list[str] = []

    def take(self, delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        name = _PIECES.get(kind) if isinstance(kind, str) else None
        if name is not None and isinstance(piece := delta.get(name), str):
            self._pieces.append(piece)

    def part(self) -> Part:
        part = _part_of(self._start, _DEEPEST)
        if not self._pieces:
            return part
        text = joined(self._pieces)
        if part.kind != "call":
            return part._replace(text=part.text + text)
        try:
            return part._replace(value=parse(text.encode("utf-8", "backslashreplace")))
        except ValueError:
            return part._replace(value=None, text=text)


def _parts_of(content: Any, depth: int = _DEEPEST) -> list[Part]:
    return parts_of(content, partial(_part_of, depth=depth))


def _part_of(block: Any, depth: int) -> Part:
    if not isinstance(block, dict):
        return Part("other", value=block)
    kind = texts(block.get("type"))
    name, call = texts(block.get("name")), texts(block.get("id"))
    match kind:
        case "text":
            return Part("text", texts(block.get("text")))
        case "thinking":
            return Part("thinking", texts(block.get("thinking")), size=len(texts(block.get("signature"))))
        case "redacted_thinking":
            return Part("thinking", size=len(texts(block.get("data"))))
        case "image" | "document":
            return _data_of(block, kind)
        case _ if kind in _CALLS:
            return Part("call", name=name, id=call, value=block.get("input"))
        case _ if kind.endswith(_RESULTS) and depth:
            parts = _parts_of(block.get("content"), depth - 1)
            failed = block.get("is_error") is True
            return Part("result", id=texts(block.get("tool_use_id")), failed=failed, parts=parts)
    if url := texts(block.get("url")) or texts(block.get("source")):
        return Part("data", url, texts(block.get("title")) or kind)
    return Part("other", name=kind, value=block)


def _data_of(block: dict[str, Any], kind: str) -> Part:
    source = block.get("source")
    fields = source if isinstance(source, dict) else {}
    media = texts(fields.get("media_type")) or kind
    if text := texts(fields.get("url")) or texts(fields.get("file_id")):
        return Part("data", text, media)
    return data_part(media, fields.get("data"))
