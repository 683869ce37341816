"""What an event of a Messages stream says, and a whole message."""

from typing import Any

from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.errors.parsing import find_error
from antigravity_healing.wire.http.sse import SSEEvent
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import parse
from antigravity_healing.wire.reading import LONGEST_INDEX, MOST_OPEN, Kind, Reading

# What a block or delta of a known type says by itself; a type that is not here is passed on and counts as content.
_BLOCK_TEXT = {"text": "text", "thinking": "thinking", "tool_use": "input", "server_tool_use": "input",
               "mcp_tool_use": "input", "compaction": "content", "fallback": ""}  # fmt: skip
_DELTA_TEXT = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json",
               "citations_delta": "citation", "compaction_delta": "content", "signature_delta": ""}  # fmt: skip
_LONGEST_ID = 200
_CALL_BLOCKS = ("tool_use", "server_tool_use", "mcp_tool_use")
_NOTHING: tuple[Any, ...] = (None, "", [], {})

_HEARTBEAT = Reading(Kind.HEARTBEAT)
_META = Reading(Kind.META)
_MALFORMED = Reading(Kind.MALFORMED)
_VISIBLE = Reading(Kind.CONTENT, visible=True)
_HIDDEN = Reading(Kind.CONTENT)


class AnthropicReader:
    """Understands the events of one Messages stream."""

    def __init__(self) -> None:
        self.stopped = False
        self.ended = False
        self.body: dict[str, Any] = {}
        self._begun = False
        self._open: dict[str, str] = {}
        self._done: set[str] = set()
        self._owed: dict[str, str] = {}
        self._stop = ""
        self._collector = AnthropicCollector()

    @property
    def closed(self) -> bool:
        """Whether nothing may follow any more: `message_stop` is the last event."""
        return self.ended

    @property
    def owed(self) -> str:
        """The result of a tool that upstream runs itself. With other stop reasons than this it may be owed for long."""
        return next(iter(self._owed.values()), "") if self._stop == "end_turn" and not self.ended else ""

    @property
    def open(self) -> bool:
        """Whether a block is open."""
        return bool(self._open)

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks that are complete."""
        return self._collector.content

    def read(self, event: SSEEvent) -> Reading:
        """Understand the next event."""
        self.body = {}
        if event.data is None:
            return self._read_stray(event.stray) if event.stray else _HEARTBEAT
        if event.data.strip() in (b"", b"[DONE]"):
            return _HEARTBEAT
        try:
            body = exact.parse(event.data)
        except ValueError:
            return _MALFORMED
        if not isinstance(body, dict):
            return _MALFORMED
        name = str(body.get("type", event.name))
        self.body = body
        self._collector.take(body)
        reading = self._read_body(name, body)
        return reading if name == event.name else reading._replace(name=name)

    def _read_body(self, name: str, body: dict[str, Any]) -> Reading:
        match name:
            case "message_start":
                if self._begun:
                    return _flawed("a second message_start")
                self._begun = True
                return Reading(Kind.ERROR, error=body) if find_error(body) else _META
            case "content_block_delta":
                if (index := _index_of(body)) and index not in self._open:
                    return _flawed(f"a delta for block {index}, which is not open")
                return _read_delta(body.get("delta"))
            case "content_block_start":
                return self._read_start(_index_of(body), body.get("content_block"))
            case "content_block_stop":
                return self._read_end(_index_of(body))
            case "message_delta":
                return self._read_stop(body.get("delta"))
            case "message_stop":
                self.stopped = self.ended = True
                return Reading(Kind.TERMINAL)
            case "ping":
                return _HEARTBEAT
            case "error":
                return Reading(Kind.ERROR, error=body)
            case _:
                return Reading(Kind.ERROR, error=body) if find_error(body) else _META

    def _read_start(self, index: str, block: Any) -> Reading:
        if not isinstance(block, dict):
            return _MALFORMED
        kind = str(block.get("type"))
        if index and (index in self._open or index in self._done):
            return _flawed(f"block {index} is opened twice")
        if len(self._open) >= MOST_OPEN:
            return _flawed("too many open blocks")
        self._open[index] = kind
        self.stopped = False
        self._count(kind, block)
        if kind not in _BLOCK_TEXT:
            return _VISIBLE if kind != "redacted_thinking" else _HIDDEN
        if block.get(_BLOCK_TEXT[kind]) in _NOTHING:
            return _META
        return _HIDDEN if kind == "thinking" else _VISIBLE

    def _read_end(self, index: str) -> Reading:
        kind = self._open.pop(index, "")
        if len(self._done) < MOST_OPEN:
            self._done.add(index)
        return _VISIBLE if kind in _CALL_BLOCKS else _META

    def _count(self, kind: str, block: dict[str, Any]) -> None:
        """Count what upstream runs itself, and the results of that."""
        self._owed.pop(str(block.get("tool_use_id"))[:_LONGEST_ID], None)
        if kind in _CALL_BLOCKS and kind != "tool_use" and len(self._owed) < MOST_OPEN:
            self._owed[str(block.get("id"))[:_LONGEST_ID]] = f"the result of {str(block.get('name'))[:LONGEST_INDEX]}"

    def _read_stop(self, delta: Any) -> Reading:
        stop = delta.get("stop_reason") if isinstance(delta, dict) else None
        if not stop:
            return _META
        self.stopped = True
        self._stop = str(stop)
        return Reading(Kind.TERMINAL, stop=self._stop)

    @staticmethod
    def _read_stray(stray: bytes) -> Reading:
        try:
            error = find_error(parse(stray))
        except ValueError:
            return _MALFORMED
        return Reading(Kind.ERROR, error=error) if error else _MALFORMED


def _flawed(flaw: str) -> Reading:
    return Reading(Kind.MALFORMED, flaw=flaw)


def _index_of(body: dict[str, Any]) -> str:
    index = body.get("index")
    return str(index)[:LONGEST_INDEX] if isinstance(index, str | int) else ""


def _read_delta(delta: Any) -> Reading:
    if not isinstance(delta, dict):
        return _MALFORMED
    kind = str(delta.get("type"))
    if kind not in _DELTA_TEXT:
        return _VISIBLE
    if delta.get(_DELTA_TEXT[kind]) in _NOTHING:
        return _META
    return _HIDDEN if kind == "thinking_delta" else _VISIBLE


def read_message(body: Any) -> Reading:
    """Understand a whole message that came as JSON."""
    if error := find_error(body):
        return Reading(Kind.ERROR, error=error)
    if not isinstance(body, dict):
        return _MALFORMED
    blocks = body.get("content")
    stop = str(body.get("stop_reason") or "")
    content = visible = False
    for block in blocks if isinstance(blocks, list) else ():
        kind = str(block.get("type")) if isinstance(block, dict) else ""
        if kind not in _BLOCK_TEXT or kind in _CALL_BLOCKS or block.get(_BLOCK_TEXT[kind]) not in _NOTHING:
            content, visible = True, visible or kind not in ("thinking", "redacted_thinking")
    if content:
        return Reading(Kind.CONTENT, visible, stop)
    return Reading(Kind.TERMINAL if blocks is not None else Kind.META, stop=stop)
