"""What the Anthropic Messages API sends, as events (bytes) and as replies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from .replies import Playing, Reply

MODEL = "claude-sonnet-4-5"
SIGNATURE = "EqQBCgIYAhIkdGhlIGZhdWx0eSB1cHN0cmVhbSBzaWduZWQgdGhpcw=="
MESSAGE_ID = "msg_01FaultyUpstream"
REQUEST_ID = "req_011FaultyUpstream"
TOOL_ID = "toolu_01FaultyUpstream"

SSE_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "request-id": REQUEST_ID,
}
JSON_HEADERS = {"content-type": "application/json", "request-id": REQUEST_ID}

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

type Tool = tuple[str, Mapping[str, Any]]
"""A tool's name and its input."""


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def deltas(text: str, pieces: int) -> list[str]:
    """`text` in at most `pieces` parts of about the same length, none of them empty."""
    size = max(1, -(-len(text) // max(1, pieces)))
    return [text[at : at + size] for at in range(0, len(text), size)]


def anthropic_event(data: Mapping[str, Any]) -> bytes:
    """One SSE event, named by the `type` in `data`."""
    return f"event: {data['type']}\ndata: {compact(data)}\n\n".encode()


def block_events(index: int, start: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """The events of one content block: its start, a delta for each of `changes`, its stop."""
    return [
        anthropic_event({"type": "content_block_start", "index": index, "content_block": start}),
        *(anthropic_event({"type": "content_block_delta", "index": index, "delta": each}) for each in changes),
        anthropic_event({"type": "content_block_stop", "index": index}),
    ]


def usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


def anthropic_start(*, model: str | None = None, input_tokens: int = 12, message_id: str = MESSAGE_ID) -> bytes:
    message: dict[str, Any] = {
        "model": model or MODEL,
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage(input_tokens, 1), "service_tier": "standard"},
    }
    return anthropic_event({"type": "message_start", "message": message})


def anthropic_end(stop_reason: str = "end_turn", *, input_tokens: int = 12, output_tokens: int = 9) -> list[bytes]:
    """The two events that end a stream: message_delta, message_stop."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [
        anthropic_event({"type": "message_delta", "delta": delta, "usage": usage(input_tokens, output_tokens)}),
        anthropic_event({"type": "message_stop"}),
    ]


def anthropic_events(
    text: str = "Hello",
    *,
    model: str | None = None,
    thinking: str | None = None,
    signature: str = SIGNATURE,
    redacted: str | None = None,
    tool: Tool | None = None,
    stop_reason: str | None = None,
    pieces: int = 2,
    pings: int = 0,
    input_tokens: int = 12,
    output_tokens: int = 9,
    message_id: str = MESSAGE_ID,
) -> list[bytes]:
    """The SSE events of one answer.

    `pieces`: in how many deltas text, thinking and tool input each come. `pings` come after the first block's
    start, as in real streams. `thinking=""` is an omitted one: a block with nothing but its signature.
    `redacted` is the data of a redacted_thinking block. Without text no text block. `stop_reason` is "end_turn",
    or "tool_use" with a tool, when it is not given.
    """
    blocks: list[tuple[Mapping[str, Any], list[Mapping[str, Any]]]] = []
    if thinking is not None:
        changes: list[Mapping[str, Any]] = [
            {"type": "thinking_delta", "thinking": part} for part in deltas(thinking, pieces)
        ]
        changes.append({"type": "signature_delta", "signature": signature})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, changes))
    if redacted is not None:
        blocks.append(({"type": "redacted_thinking", "data": redacted}, []))
    if text:
        parts = [{"type": "text_delta", "text": part} for part in deltas(text, pieces)]
        blocks.append(({"type": "text", "text": ""}, list(parts)))
    if tool is not None:
        name, given = tool
        inputs = ["", *deltas(compact(given), pieces)] if given else [""]
        start = {"type": "tool_use", "id": TOOL_ID, "name": name, "input": {}}
        blocks.append((start, [{"type": "input_json_delta", "partial_json": part} for part in inputs]))

    events = [anthropic_start(model=model, input_tokens=input_tokens, message_id=message_id)]
    for index, (start_block, changes) in enumerate(blocks):
        events += block_events(index, start_block, changes)
    events[min(2, len(events)) : min(2, len(events))] = [PING] * pings
    reason = stop_reason or ("tool_use" if tool is not None else "end_turn")
    return events + anthropic_end(reason, input_tokens=input_tokens, output_tokens=output_tokens)


def anthropic_reply(chunks: Sequence[bytes], **play: Unpack[Playing]) -> Reply:
    """A 200 SSE reply of these events."""
    return Reply(headers=SSE_HEADERS, chunks=tuple(chunks), **play)


def anthropic_stream(
    text: str = "Hello",
    *,
    model: str | None = None,
    thinking: str | None = None,
    signature: str = SIGNATURE,
    redacted: str | None = None,
    tool: Tool | None = None,
    stop_reason: str | None = None,
    pieces: int = 2,
    pings: int = 0,
    input_tokens: int = 12,
    output_tokens: int = 9,
    message_id: str = MESSAGE_ID,
    **play: Unpack[Playing],
) -> Reply:
    """`anthropic_events` as a reply."""
    events = anthropic_events(
        text,
        model=model,
        thinking=thinking,
        signature=signature,
        redacted=redacted,
        tool=tool,
        stop_reason=stop_reason,
        pieces=pieces,
        pings=pings,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        message_id=message_id,
    )
    return anthropic_reply(events, name="anthropic stream").but(**play)


def anthropic_json(
    text: str = "Hello",
    *,
    model: str | None = None,
    thinking: str | None = None,
    signature: str = SIGNATURE,
    tool: Tool | None = None,
    stop_reason: str | None = None,
    input_tokens: int = 12,
    output_tokens: int = 9,
    message_id: str = MESSAGE_ID,
    **play: Unpack[Playing],
) -> Reply:
    """The answer to a request that does not stream."""
    content: list[dict[str, Any]] = []
    if thinking is not None:
        content.append({"type": "thinking", "thinking": thinking, "signature": signature})
    if text:
        content.append({"type": "text", "text": text})
    if tool is not None:
        content.append({"type": "tool_use", "id": TOOL_ID, "name": tool[0], "input": dict(tool[1])})
    message = {
        "model": model or MODEL,
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason or ("tool_use" if tool is not None else "end_turn"),
        "stop_sequence": None,
        "usage": {**usage(input_tokens, output_tokens), "service_tier": "standard"},
    }
    return Reply(headers=JSON_HEADERS, body=compact(message).encode(), name="anthropic json").but(**play)


def anthropic_error_body(type: str, message: str, **more: Any) -> dict[str, Any]:  # noqa: A002
    """`more` goes beside type and message, e.g. `details={"error_code": "ramp_limit_exceeded"}`."""
    return {"type": "error", "error": {"type": type, "message": message, **more}, "request_id": REQUEST_ID}


def anthropic_error(
    status: int,
    type: str,  # noqa: A002
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
    **play: Unpack[Playing],
) -> Reply:
    """An error answer; `headers` (e.g. retry-after, in seconds) are added to the usual ones."""
    more = {"details": dict(details)} if details is not None else {}
    body = compact(anthropic_error_body(type, message, **more)).encode()
    return Reply(status, {**JSON_HEADERS, **(headers or {})}, body, name=f"{status} {type}").but(**play)


def anthropic_error_event(type: str = "overloaded_error", message: str = "Overloaded") -> bytes:  # noqa: A002
    """One `event: error`, as it comes inside a 200."""
    return anthropic_event({"type": "error", "error": {"type": type, "message": message}})


def anthropic_empty(*, model: str | None = None, stop_reason: str = "end_turn", **play: Unpack[Playing]) -> Reply:
    """The 0-token answer: start, stop reason, stop, and no content between."""
    events = [anthropic_start(model=model), *anthropic_end(stop_reason, output_tokens=0)]
    return anthropic_reply(events, name="anthropic empty").but(**play)


def anthropic_heartbeats(
    *, every: float = 0.05, beat: bytes = PING, model: str | None = None, **play: Unpack[Playing]
) -> Reply:
    """message_start, then `beat` every `every` seconds until the client leaves."""
    start = anthropic_reply([anthropic_start(model=model)], name="anthropic heartbeats")
    return start.but(end="stall", heartbeat=beat, heartbeat_gap=every).but(**play)
