"""A tiny dialect, as a script that is loaded before the addon: what registers it is all that knows of it.

`POST /tiny/say` with `{"model", "text", "stream"}` is answered by `{"say": "…"}` events and a last `{"stop": "…"}`.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from antigravity_healing.wire.conversation import NoConversation
from antigravity_healing.wire.dialect import ClientVariables, CredentialPlaces, GenAI, LateEnd, Streamed, ThingIds
from antigravity_healing.wire.dialects import register
from antigravity_healing.wire.http.sse import SSEEvent
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.rate_limits import NoRateLimits
from antigravity_healing.wire.reading import EmptyStop, Kind, Reading
from antigravity_healing.wire.usage import Usage


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _event(value: Any) -> bytes:
    return b"data: " + _dump(value) + b"\n\n"


class TinyReader:
    """Understands the events of one stream."""

    owed = ""
    open = False

    def __init__(self) -> None:
        self.stopped = False
        self.content: list[dict[str, Any]] = []
        self.body: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        return self.stopped

    @property
    def closed(self) -> bool:
        return self.stopped

    def read(self, event: SSEEvent) -> Reading:
        self.body = {}
        if event.data is None:
            return Reading(Kind.HEARTBEAT)
        try:
            body = json.loads(event.data)
        except ValueError:
            return Reading(Kind.MALFORMED)
        self.body = body
        if "error" in body:
            return Reading(Kind.ERROR, error=body)
        if "stop" in body:
            self.stopped = True
            return Reading(Kind.TERMINAL, stop=body["stop"])
        self.content.append(body)
        return Reading(Kind.CONTENT, visible=True) if body.get("say") else Reading(Kind.META)


class TinyCollector:
    """Puts a stream together."""

    overfull = False
    flaw = "the stream is no answer"

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self._stop = ""

    @property
    def intact(self) -> bool:
        return bool(self._stop)

    @property
    def answer(self) -> dict[str, Any] | None:
        said = "".join(part["say"] for part in self.content)
        return {"said": said, "stop": self._stop} if self._stop else None

    def take(self, event: dict[str, Any]) -> None:
        self._stop = event.get("stop", self._stop)
        if "say" in event:
            self.content.append(event)


class TinyUsage:
    """A token for each word."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.response_id = ""
        self.finish_reasons: tuple[str, ...] = ()

    def take(self, body: Any) -> None:
        words = len(str(body.get("say") or body.get("said") or "").split())
        self.usage = (self.usage or Usage()) + Usage(output=words)


class Tiny:
    """The dialect."""

    name = "tiny"
    label = "Tiny"
    public_url = ""
    endpoints = "POST /tiny/say (Tiny)"
    credentials = CredentialPlaces(("x-tiny-pass",), ("tiny-pass",))
    variables = ClientVariables()
    models_path = ""
    flag_header = ""
    gen_ai = GenAI("tiny", "say")
    answer_headers = "tiny-"
    session_header = "x-tiny-talk"
    things = ThingIds()
    rate_limits = NoRateLimits()
    conversation = NoConversation()
    secret_signs: tuple[bytes, ...] = ()
    pings = False
    base_path = ""
    arrays = False
    keep_alive = b": wait\n\n"
    required_headers: tuple[tuple[bytes, bytes], ...] = ()
    logged_empty = "Nothing was said"
    end_marker = b""
    vertex = None

    def operation(self, method: str, path: str, query: Mapping[str, str]) -> Operation | None:
        return Operation("generate", streams=None) if (method, path) == ("POST", "/tiny/say") else None

    def pointed_at(self, url: str, *, keyless: bool) -> str:
        return f"TINY={url}"

    def endpoint_like(self, path: str) -> str:
        return ""

    def meant(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        return ""

    def is_native(self, headers: Mapping[str, str]) -> bool:
        return "x-tiny-pass" in headers

    def claims(self, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        return path.startswith("/tiny/")

    def model_of(self, operation: Operation, body: Any) -> str:
        return str(body.get("model", "")) if isinstance(body, dict) else ""

    def with_model(self, path: str, body: bytes, operation: Operation, model: str) -> tuple[str, bytes]:
        return path, _dump({**json.loads(body), "model": model})

    def stated_session(self, body: Any) -> str:
        return ""

    def session_of(self, body: Any) -> str | None:
        return None

    def reader(self, asked: Any = None) -> TinyReader:
        return TinyReader()

    def read_answer(self, body: Any) -> Reading:
        if not isinstance(body, dict) or "said" not in body:
            return Reading(Kind.MALFORMED)
        return Reading(Kind.CONTENT if body["said"] else Kind.TERMINAL, bool(body["said"]), body.get("stop", ""))

    def content_of(self, answer: Any) -> list[dict[str, Any]]:
        return [{"say": answer["said"]}]

    def longest_answer(self, body: Any) -> int | None:
        return None

    def answer_tally(self) -> TinyUsage:
        return TinyUsage()

    def empty_stop(self, stop: str) -> EmptyStop:
        return EmptyStop.PLAIN

    def broken_stop(self, stop: str) -> bool:
        return False

    def too_long(self, limit: str, count: str) -> str:
        return f"more than {limit}"

    def clean(self, event: SSEEvent, reading: Reading) -> bytes:
        return event.raw

    def fitting_status(self, status: int) -> int:
        return status

    def error_body(self, status: int, message: str, retry_after_s: float | None = None) -> bytes:
        return _dump({"error": {"tiny": status, "message": message}})

    def late_error(self, status: int, message: str) -> bytes:
        return b"data: " + self.error_body(status, message) + b"\n\n"

    def cut_off(self, status: int, message: str) -> bytes:
        return self.late_error(status, message)

    def late_end(self, *, said: bool) -> LateEnd:
        return LateEnd(broken=False)

    def shaped(self, error: Any) -> dict[str, Any]:
        return {"error": error.get("error", error)}

    def relayed_error(self, error: Any, event: SSEEvent | None = None) -> bytes:
        return _event(self.shaped(error))

    def with_models(self, body: Any, names: list[str]) -> Any:
        return body

    def model_list(self, names: list[str]) -> Any:
        return names

    def encode(self, event: dict[str, Any]) -> bytes:
        return _event(event)

    def collector(self, longest: int) -> TinyCollector:
        return TinyCollector()

    def events_of(self, answer: Any) -> Iterable[dict[str, Any]]:
        return iter([{"say": answer["said"]}, {"stop": answer["stop"]}])

    def streamed(self, path: str, query: str, body: bytes, value: Any) -> Streamed | None:
        asked = {**value, "stream": True}
        return Streamed(path, query, _dump(asked), asked)


register(Tiny())
