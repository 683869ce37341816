"""What a client of the Anthropic Messages API may receive."""

from dataclasses import dataclass, field
from typing import Any

from .sse import read_frames
from .strict import Ended, as_int, as_list, as_object, as_text, parsed, require, shown, utf8

# Which deltas a block of a known kind takes. Kinds not listed take any: new ones keep coming.
DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "mcp_tool_use": {"input_json_delta"},
    "compaction": {"compaction_delta"},
    "redacted_thinking": set[str](),
    "container_upload": set[str](),
    "fallback": set[str](),
}
KNOWN_DELTAS = set[str]().union(*DELTAS.values())
TOOLS = {"tool_use", "server_tool_use", "mcp_tool_use"}

# A turn that stopped here may have stopped in the middle of a tool's input.
TRUNCATING = {"max_tokens", "model_context_window_exceeded", "refusal", "compaction"}

STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass
class AnthropicReport:
    """What the client got."""

    ended: Ended = "cut"
    error: dict[str, Any] | None = None
    """The inner `error` object, when the stream ended with one."""
    text: str = ""
    thinking: str = ""
    tools: list[tuple[str, Any]] = field(default_factory=list)
    """Name and input of each finished `tool_use` block: what the client would run. Input cut by a limit is a string."""
    stop_reason: str | None = None
    pings: int = 0
    usage: dict[str, Any] = field(default_factory=dict)
    """`message_start`'s usage, updated by each `message_delta`'s."""
    blocks: list[str] = field(default_factory=list)
    """The type of each block."""
    message: dict[str, Any] = field(default_factory=dict)
    """The message of `message_start`, or the whole answer where nothing was streamed."""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def check_anthropic_stream(body: bytes, *, allow_cut: bool = False) -> AnthropicReport:
    """Check a whole streamed body.

    `allow_cut` bears an end anywhere: for a client that left, or a cut that must show.
    """
    frames, tail = read_frames(body)
    stream = _Stream()
    for frame in frames:
        where = f"event {len(stream.report.events)}"
        if frame.data is None:
            require(not stream.over, f"{where}: a comment after the end")
            continue
        event = as_object(parsed(frame.data, where), where)
        kind = as_text(event.get("type"), f"{where}: type", empty=False)
        require(frame.name == kind, f"{where}: `event: {frame.name}` names data of type {kind!r}")
        require(not stream.over, f"{where}: {kind} after the end of the stream")
        stream.take(kind, event, f"{where} ({kind})")
    rest = b"".join(line for line in tail.splitlines(keepends=True) if not line.startswith(b":"))
    if not allow_cut:
        require(not rest, f"the last event has no blank line behind it: {shown(rest)}")
        require(stream.over, f"the stream ends without message_stop or error, after {stream.last}")
    require(not (stream.over and tail), f"something after the end of the stream: {shown(tail)}")
    stream.check_tools()
    return stream.report


class _Stream:
    """The order of events. `take` accepts one or raises."""

    def __init__(self) -> None:
        self.report = AnthropicReport()
        self.over = False
        self._started = False
        self._open: dict[str, Any] | None = None
        self._input = ""
        self._inputs: list[tuple[str, str, Any, str]] = []
        self._deltas = 0

    @property
    def last(self) -> str:
        return self.report.events[-1][0] if self.report.events else "nothing at all"

    def take(self, kind: str, event: dict[str, Any], where: str) -> None:
        self.report.events.append((kind, event))
        if kind == "ping":
            self.report.pings += 1
        elif kind == "error":
            self.report.error = _error(event, where)
            self._end("error")
        elif kind == "message_start":
            self._start(event, where)
        else:
            require(self._started, f"{where}: before message_start")
            if kind == "content_block_start":
                self._block_start(event, where)
            elif kind == "content_block_delta":
                self._block_delta(event, where)
            elif kind == "content_block_stop":
                self._block_stop(event, where)
            elif kind == "message_delta":
                self._message_delta(event, where)
            elif kind == "message_stop":
                require(self._open is None, f"{where}: block {len(self.report.blocks) - 1} is still open")
                require(self._deltas, f"{where}: no message_delta before it")
                require(self.report.stop_reason, f"{where}: no stop_reason before it")
                self._end("complete")

    def check_tools(self) -> None:
        """Parse the tools' inputs, which can be judged only when the stop reason is known."""
        for kind, name, start_input, streamed in self._inputs:
            where = f"{kind} {name!r}: input"
            value: Any = start_input
            if streamed:
                try:
                    value = as_object(parsed(streamed, where), where)
                except AssertionError:
                    if self.report.stop_reason not in TRUNCATING:
                        raise
                    value = streamed
            if kind == "tool_use":
                self.report.tools.append((name, value))

    def _end(self, ended: Ended) -> None:
        self.report.ended = ended
        self.over = True

    def _start(self, event: dict[str, Any], where: str) -> None:
        require(not self._started, f"{where}: a second message_start")
        self._started = True
        message = as_object(event.get("message"), f"{where}: message")
        _envelope(message, where)
        require(message["content"] == [], f"{where}: content before any block: {shown(message['content'])}")
        self.report.message = message
        self.report.usage.update(as_object(message.get("usage"), f"{where}: usage"))

    def _block_start(self, event: dict[str, Any], where: str) -> None:
        index = as_int(event.get("index"), f"{where}: index")
        require(self._open is None, f"{where}: block {index} opened while another is open")
        require(not self._deltas, f"{where}: block {index} opened after message_delta")
        require(index == len(self.report.blocks), f"{where}: block {index} opened, expected {len(self.report.blocks)}")
        block = as_object(event.get("content_block"), f"{where}: content_block")
        kind = as_text(block.get("type"), f"{where}: content_block.type", empty=False)
        self._open = block
        self._input = ""
        self.report.blocks.append(kind)
        if kind == "text":
            self.report.text += as_text(block.get("text"), f"{where}: text")
        elif kind == "thinking":
            self.report.thinking += as_text(block.get("thinking"), f"{where}: thinking")
        elif kind in TOOLS:
            as_text(block.get("id"), f"{where}: id", empty=False)
            as_text(block.get("name"), f"{where}: name", empty=False)
            as_object(block.get("input"), f"{where}: input")

    def _block_delta(self, event: dict[str, Any], where: str) -> None:
        block = self._opened(event, where)
        delta = as_object(event.get("delta"), f"{where}: delta")
        kind = as_text(delta.get("type"), f"{where}: delta.type", empty=False)
        require(_fits(kind, block["type"]), f"{where}: {kind} in a block of type {block['type']}")
        if kind == "text_delta":
            self.report.text += as_text(delta.get("text"), f"{where}: text")
        elif kind == "thinking_delta":
            self.report.thinking += as_text(delta.get("thinking"), f"{where}: thinking")
        elif kind == "signature_delta":
            as_text(delta.get("signature"), f"{where}: signature")
        elif kind == "input_json_delta":
            self._input += as_text(delta.get("partial_json"), f"{where}: partial_json")

    def _block_stop(self, event: dict[str, Any], where: str) -> None:
        block = self._opened(event, where)
        if block["type"] in TOOLS:
            self._inputs.append((block["type"], block["name"], block["input"], self._input))
        self._open = None

    def _opened(self, event: dict[str, Any], where: str) -> dict[str, Any]:
        index = as_int(event.get("index"), f"{where}: index")
        if self._open is None:
            raise AssertionError(f"{where}: for block {index}, but no block is open")
        require(index == len(self.report.blocks) - 1, f"{where}: for block {index}, not the one that is open")
        return self._open

    def _message_delta(self, event: dict[str, Any], where: str) -> None:
        require(self._open is None, f"{where}: block {len(self.report.blocks) - 1} is still open")
        self._deltas += 1
        delta = as_object(event.get("delta"), f"{where}: delta")
        if delta.get("stop_reason") is not None:
            self.report.stop_reason = as_text(delta["stop_reason"], f"{where}: stop_reason", empty=False)
        if event.get("usage") is not None:
            self.report.usage.update(as_object(event["usage"], f"{where}: usage"))


def check_anthropic_json(body: bytes) -> AnthropicReport:
    """Check the complete answer to a request that did not stream."""
    message = as_object(parsed(utf8(body, "answer"), "answer"), "answer")
    _envelope(message, "answer")
    report = AnthropicReport(ended="complete", message=message, events=[("message", message)])
    report.stop_reason = as_text(message.get("stop_reason"), "answer: stop_reason", empty=False)
    report.usage = as_object(message.get("usage"), "answer: usage")
    for index, value in enumerate(message["content"]):
        where = f"answer: content[{index}]"
        block = as_object(value, where)
        kind = as_text(block.get("type"), f"{where}: type", empty=False)
        report.blocks.append(kind)
        if kind == "text":
            report.text += as_text(block.get("text"), f"{where}: text")
        elif kind == "thinking":
            report.thinking += as_text(block.get("thinking"), f"{where}: thinking")
        elif kind in TOOLS:
            name = as_text(block.get("name"), f"{where}: name", empty=False)
            as_text(block.get("id"), f"{where}: id", empty=False)
            arguments = as_object(block.get("input"), f"{where}: input")
            if kind == "tool_use":
                report.tools.append((name, arguments))
    return report


def check_anthropic_error(status: int, body: bytes, *, any_status: bool = False) -> dict[str, Any]:
    """Check an error answer; returns its inner `error`.

    `any_status` bears a status that does not go with the type: an upstream's own odd pair, passed on as it is.
    """
    require(status >= 400, f"an error with status {status}")
    error = _error(as_object(parsed(utf8(body, "error body"), "error body"), "error body"), "error body")
    expected = STATUS.get(error["type"], status)
    require(any_status or status == expected, f"{error['type']} with status {status}, which goes with {expected}")
    return error


def _fits(delta: str, block: str) -> bool:
    if delta not in KNOWN_DELTAS:
        return True
    if block.endswith("_tool_result"):
        return False
    return delta in DELTAS.get(block, KNOWN_DELTAS)


def _error(event: dict[str, Any], where: str) -> dict[str, Any]:
    require(event.get("type") == "error", f"{where}: its type is {shown(event.get('type'))}, not 'error'")
    error = as_object(event.get("error"), f"{where}: error")
    as_text(error.get("type"), f"{where}: error.type", empty=False)
    as_text(error.get("message"), f"{where}: error.message", empty=False)
    return error


def _envelope(message: dict[str, Any], where: str) -> None:
    require(message.get("type") == "message", f"{where}: message.type is {shown(message.get('type'))}")
    require(message.get("role") == "assistant", f"{where}: message.role is {shown(message.get('role'))}")
    as_text(message.get("id"), f"{where}: message.id", empty=False)
    as_text(message.get("model"), f"{where}: message.model", empty=False)
    as_list(message.get("content"), f"{where}: message.content")
