"""The Anthropic Messages API (https://docs.anthropic.com/en/api/messages-streaming)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.anthropic.conversation import AnthropicConversation
from antigravity_healing.wire.anthropic.events_of_whole import events_of
from antigravity_healing.wire.anthropic.rate_limits import AnthropicRateLimits
from antigravity_healing.wire.anthropic.reader import AnthropicReader, read_message
from antigravity_healing.wire.anthropic.usage import AnthropicTally
from antigravity_healing.wire.anthropic.vertex import AnthropicOnVertex
from antigravity_healing.wire.dialect import (
    ClientVariables,
    CredentialPlaces,
    GenAI,
    LateEnd,
    Streamed,
    ThingIds,
    VertexVariables,
)
from antigravity_healing.wire.errors.parsing import STATUS_OF_ANTHROPIC_TYPE, read_error
from antigravity_healing.wire.http.sse import BOM, SSEEvent, encode
from antigravity_healing.wire.json.span import replace_member
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.reading import EmptyStop, Kind, Reading
from antigravity_healing.wire.requests.opening import opening_key
from antigravity_healing.wire.usage import count_in
from antigravity_healing.wire.vertex import meant

_MODEL_PATH = re.compile(r"/v1/models/([^/]+)")
# With the version left out or written twice, behind another API's, or behind the whole path of an endpoint.
_MEANT = re.compile(
    r"/*+(?:(?:v1|v1beta|v1alpha)/++(?:messages/++(?=v1/))?+)*+"
    r"(?:(?P<messages>messages(?:/++count_tokens)?)|(?P<models>models(?:/++[^/]+)?))/*+"
)
_SLASHES = re.compile(r"//+")
_TYPE_OF_STATUS = {status: kind for kind, status in STATUS_OF_ANTHROPIC_TYPE.items()}
_THING_PREFIXES = "file|msgbatch|container|skill|agent|sesn|env|vlt|memstore"

_THINGS = ThingIds(
    id=re.compile(rf"((?:{_THING_PREFIXES})_[A-Za-z0-9]{{8,200}})\Z"),
    in_segments=True,
    request_signs=(b'"file_id"', b'"container"', b'"skill_id"'),
    answer_signs=tuple(f'"{prefix}_'.encode() for prefix in _THING_PREFIXES.split("|")),
    event_signs=(b'"container_', b'"file_'),
    # What a model writes stands there within a string, where its quotes are escaped.
    in_event=re.compile(rb'"(?:id|file_id)":\s*"((?:file|container)_[A-Za-z0-9]{8,200})"'),
)


class Anthropic:
    """The dialect of the Messages API."""

    name = "anthropic"
    label = "Anthropic"
    public_url = "https://api.anthropic.com"
    base_path = "/v1"
    endpoints = "POST /v1/messages, POST /v1/messages/count_tokens and GET /v1/models (Anthropic)"
    credentials = CredentialPlaces(("x-api-key", "authorization"))
    variables = ClientVariables(
        ("ANTHROPIC_API_KEY",),
        ("ANTHROPIC_AUTH_TOKEN",),
        "ANTHROPIC_BASE_URL",
        VertexVariables("CLAUDE_CODE_USE_VERTEX", "ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION"),
    )
    models_path = "/v1/models"
    flag_header = "anthropic-beta"
    gen_ai = GenAI("anthropic", "chat")
    answer_headers = "anthropic-"
    session_header = "x-claude-code-session-id"
    things = _THINGS
    rate_limits = AnthropicRateLimits()
    conversation = AnthropicConversation()
    secret_signs = (b'"mcp_server',)
    pings = True
    arrays = False
    keep_alive = encode(b'{"type": "ping"}', "ping")
    # Not the newest: with 2026-10-21 no model takes sampling settings any more.
    required_headers = ((b"anthropic-version", b"2023-06-01"),)
    logged_empty = ""
    end_marker = encode(b'{"type":"message_stop"}', "message_stop")
    vertex = AnthropicOnVertex()

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
        return self.vertex.operation(method, path)

    def pointed_at(self, url: str, *, keyless: bool) -> str:
        """The variables that Claude Code and the SDKs read."""
        return f"ANTHROPIC_BASE_URL={url} {'ANTHROPIC_AUTH_TOKEN=dummy ' if keyless else ''}claude"

    def endpoint_like(self, path: str) -> str:
        """`/v1/messages` or `/v1/messages/count_tokens`."""
        return path if path in ("/v1/messages", "/v1/messages/count_tokens") else ""

    def meant(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        """What comes behind the version says enough, but for models: other APIs have these, too."""
        if on_vertex := meant(path, "anthropic"):
            return on_vertex if on_vertex != path and self.operation(method, on_vertex, {}) else ""
        match = _MEANT.fullmatch(path)
        if not match or (match["models"] and not self.is_native(headers)):
            return ""
        right = "/v1/" + _SLASHES.sub("/", match["messages"] or match["models"])
        return right if right != path and self.operation(method, right, {}) else ""

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
        return read_message(body)

    def content_of(self, answer: Any) -> list[dict[str, Any]]:
        """The blocks of a whole message."""
        blocks = answer.get("content") if isinstance(answer, dict) else None
        return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []

    def longest_answer(self, body: Any) -> int | None:
        """`max_tokens`, which every request has to have."""
        return count_in(body, "max_tokens")

    def answer_tally(self) -> AnthropicTally:
        """What takes down what a new answer tells of itself."""
        return AnthropicTally()

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
