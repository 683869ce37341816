"""The Anthropic Messages API (https://docs.anthropic.com/en/api/messages-streaming)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from healing.wire.anthropic.collector import AnthropicCollector
from healing.wire.anthropic.events_of_whole import events_of
from healing.wire.anthropic.rate_limits import AnthropicRateLimits
from healing.wire.anthropic.things import THINGS
from healing.wire.anthropic.usage import AnthropicUsage
from healing.wire.dialect import (
    LONGEST_INDEX,
    MOST_OPEN,
    CredentialPlaces,
    EmptyStop,
    Kind,
    LateEnd,
    Operation,
    Reading,
    Streamed,
)
from healing.wire.errors.parsing import STATUS_OF_ANTHROPIC_TYPE, find_error, read_error
from healing.wire.http.sse import BOM, SSEEvent, encode
from healing.wire.json import exact
from healing.wire.json.span import replace_member
from healing.wire.json.value import dump, parse
from healing.wire.requests.opening import opening_key

_MODEL_PATH = re.compile(r"/v1/models/([^/]+)")
_TYPE_OF_STATUS = {status: kind for kind, status in STATUS_OF_ANTHROPIC_TYPE.items()}
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


class Anthropic:
    """The dialect of the Messages API."""

    name = "anthropic"
    label = "Anthropic"
    public_url = "https://api.anthropic.com"
    endpoints = "POST /v1/messages, POST /v1/messages/count_tokens and GET /v1/models (Anthropic)"
    credentials = CredentialPlaces(("x-api-key", "authorization"))
    flag_header = "anthropic-beta"
    answer_headers = "anthropic-"
    session_header = "x-claude-code-session-id"
    things = THINGS
    rate_limits = AnthropicRateLimits()
    secret_signs = (b'"mcp_server',)
    pings = True
    keep_alive = encode(b'{"type": "ping"}', "ping")
    # Not the newest: with 2026-10-21 no model takes sampling settings any more.
    required_headers = ((b"anthropic-version", b"2023-06-01"),)
    logged_empty = ""
    end_marker = encode(b'{"type":"message_stop"}', "message_stop")

    def operation(self, method: str, path: str, query: Mapping[str, str]) -> Operation | None:
        """What a request asks for; None if it is no endpoint."""
        match method, path:
            case "POST", "/v1/messages":
                return Operation("generate", streams=None)
            case "POST", "/v1/messages/count_tokens":
                return Operation("count_tokens")
            case "GET", "/v1/models":
                return Operation("list_models")
            case "GET", _ if match := _MODEL_PATH.fullmatch(path):
                return Operation("get_model", model=unquote(match.group(1)))
        return None

    def endpoint_like(self, path: str) -> str:
        """`/v1/messages` or `/v1/messages/count_tokens`."""
        return path if path in ("/v1/messages", "/v1/messages/count_tokens") else ""

    def is_native(self, headers: Mapping[str, str]) -> bool:
        """The SDKs name the API's version in each request."""
        return "anthropic-version" in headers

    def claims(self, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether another request belongs to this API: the SDKs name its version in each."""
        return path.startswith("/v1/") and ("anthropic-version" in headers or path.startswith("/v1/messages/"))

    def model_of(self, operation: Operation, body: Any) -> str:
        """The model that is asked for, "" if none."""
        model = body.get("model") if isinstance(body, dict) else None
        return operation.model or (model if isinstance(model, str) else "")

    def with_model(self, path: str, body: bytes, operation: Operation, model: str) -> tuple[str, bytes]:
        """The same request for another model. Raises ValueError where the body names none."""
        if operation.kind == "get_model":
            return "/v1/models/" + quote(model, safe=""), body
        return path, replace_member(body, "model", model)

    def stated_session(self, body: Any) -> str:
        """`metadata.user_id`."""
        metadata = body.get("metadata") if isinstance(body, dict) else None
        stated = metadata.get("user_id") if isinstance(metadata, dict) else None
        return stated if isinstance(stated, str) else ""

    def session_of(self, body: Any) -> str | None:
        """What is stated, else a hash of the system prompt and the first user message."""
        if not isinstance(body, dict):
            return None
        if stated := self.stated_session(body):
            return stated
        messages = body.get("messages")
        first = messages[0] if isinstance(messages, list) and messages else None
        if first is None:
            return None
        return opening_key(body.get("system"), first)

    def reader(self, asked: Any = None) -> AnthropicReader:
        """A reader for a new stream."""
        return AnthropicReader()

    def read_answer(self, body: Any) -> Reading:
        """Understand a whole message."""
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

    def content_of(self, answer: Any) -> list[dict[str, Any]]:
        """The blocks of a whole message."""
        blocks = answer.get("content") if isinstance(answer, dict) else None
        return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []

    def usage_tally(self) -> AnthropicUsage:
        """A tally of the tokens of a new answer."""
        return AnthropicUsage()

    def empty_stop(self, stop: str) -> EmptyStop:
        """`end_turn` without content is the 0-token answer; a tool call without a call is broken."""
        match stop:
            case "" | "end_turn":
                return EmptyStop.PLAIN
            case "tool_use":
                return EmptyStop.MALFORMED
        return EmptyStop.ANSWER

    def broken_stop(self, stop: str) -> bool:
        """None says so."""
        return False

    def too_long(self, limit: str, count: str) -> str:
        """The API's own words."""
        if not count:
            return f"prompt is too long: it has more tokens than the {limit} maximum"
        return f"prompt is too long: {count} tokens > {limit} maximum"

    def clean(self, event: SSEEvent, reading: Reading) -> bytes:
        """The event as it came, with its blank line and its name: the SDKs bear all else that the standard allows."""
        if reading.name and event.data is not None:
            return encode(b" ".join(event.data.splitlines()), reading.name)
        raw = event.raw.removeprefix(BOM)
        return raw if event.complete else raw.rstrip(b"\r\n") + b"\n\n"

    def fitting_status(self, status: int) -> int:
        """The status itself if an error type has it, else 529 for 503, 400 or 500 for the others of their hundred."""
        if status in _TYPE_OF_STATUS:
            return status
        return 529 if status == 503 else 500 if status >= 500 or status in (408, 499) else 400

    def error_body(self, status: int, message: str, retry_after_s: float | None = None) -> bytes:
        """`{"type":"error","error":{"type":…,"message":…}}` with the type that fits the status."""
        kind = _TYPE_OF_STATUS[self.fitting_status(status)]
        return dump({"type": "error", "error": {"type": kind, "message": message}})

    def late_error(self, status: int, message: str) -> bytes:
        """An `event: error`."""
        return encode(self.error_body(status, message), "error")

    def cut_off(self, status: int, message: str) -> bytes:
        """Nothing: agents that begin anew when a connection breaks give up at an error event."""
        return b""

    def late_end(self, *, said: bool) -> LateEnd:
        """What upstream said ends as upstream ends it; what it broke or hid is a broken connection."""
        return LateEnd(broken=not said)

    def shaped(self, error: Any) -> dict[str, Any]:
        """An upstream's error in this shape: gateways send Google's, or leave out the outer type."""
        error = error if isinstance(error, dict) else {}
        inner = error.get("error")
        fields = inner if isinstance(inner, dict) else {}
        if error.get("type") == "error" and all(isinstance(fields.get(key), str) for key in ("type", "message")):
            return dict(error)
        read = read_error(error)
        message = read.text or "upstream reported an error without a message"
        known = next((kind for kind in reversed(read.kinds) if kind in STATUS_OF_ANTHROPIC_TYPE), None)
        kind = known or _TYPE_OF_STATUS[self.fitting_status(read.status or 500)]
        return {**error, "type": "error", "error": {**fields, "type": kind, "message": message}}

    def relayed_error(self, error: Any, event: SSEEvent | None = None) -> bytes:
        """Upstream's error as `event: error`, unchanged if it came so."""
        shaped = self.shaped(error)
        if event is not None and event.name == "error" and not event.stray and shaped == error:
            return self.clean(event, Reading(Kind.ERROR))
        return encode(dump(shaped), "error")

    def with_models(self, body: Any, names: list[str]) -> Any:
        """The list with the names put in front, as models of the same shape."""
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            return body
        known = {model.get("id") for model in body["data"] if isinstance(model, dict)}
        added = [
            {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
            for name in names
            if name not in known
        ]
        data = added + body["data"]
        return {**body, "data": data, **({"first_id": data[0].get("id")} if added else {})}

    def model_list(self, names: list[str]) -> Any:
        """A model list with these names and no others."""
        last = names[-1] if names else None
        return self.with_models({"data": [], "has_more": False, "first_id": None, "last_id": last}, names)

    def encode(self, event: dict[str, Any]) -> bytes:
        """The event with its name, as the SDKs go by it."""
        return encode(dump(event), str(event.get("type")))

    def collector(self, longest: int) -> AnthropicCollector:
        """A collector for a new stream."""
        return AnthropicCollector(longest)

    def events_of(self, answer: Any) -> Iterator[dict[str, Any]]:
        """A whole message as its events."""
        if not isinstance(answer, dict):
            raise ValueError("no message")
        return events_of(answer)

    def streamed(self, path: str, query: str, body: bytes, value: Any) -> Streamed | None:
        """The same request with `stream: true`; none for one whose `stream` is not what it should be."""
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
        if value.get("stream") not in (None, False):
            return None
        return Streamed(path, query, replace_member(body, "stream", True, add=True), {**value, "stream": True})
