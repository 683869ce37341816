"""What the Gemini API sends, as events (bytes) and as replies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from .anthropic import Tool, compact, deltas
from .replies import Playing, Reply

MODEL = "gemini-3-pro-preview"
SIGNATURE = "EsoGCscGdGhlIGZhdWx0eSB1cHN0cmVhbSBzaWduZWQgdGhpcw=="
RESPONSE_ID = "FaultyUpstreamResponse"

SSE_HEADERS = {"content-type": "text/event-stream", "server-timing": "gfet4t7; dur=3"}
JSON_HEADERS = {"content-type": "application/json; charset=UTF-8", "server-timing": "gfet4t7; dur=3"}

# What a Google front end may send to keep a stream alive; every Google SDK bears it.
HEARTBEAT = b"\r\n\r\n"

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def gemini_event(data: Mapping[str, Any]) -> bytes:
    return f"data: {compact(data)}\r\n\r\n".encode()


def usage(prompt_tokens: int, output_tokens: int, thought_tokens: int) -> dict[str, Any]:
    counts: dict[str, Any] = {"promptTokenCount": prompt_tokens}
    if output_tokens:
        counts["candidatesTokenCount"] = output_tokens
    counts["totalTokenCount"] = prompt_tokens + output_tokens + thought_tokens
    counts["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt_tokens}]
    if thought_tokens:
        counts["thoughtsTokenCount"] = thought_tokens
    return counts


def gemini_chunk(
    parts: Sequence[Mapping[str, Any]] | None,
    *,
    finish_reason: str | None = None,
    model: str | None = None,
    prompt_tokens: int = 12,
    output_tokens: int = 0,
    thought_tokens: int = 0,
    response_id: str = RESPONSE_ID,
) -> dict[str, Any]:
    """One response object; with `parts=None` the candidate has no content at all."""
    candidate: dict[str, Any] = {}
    if parts is not None:
        candidate["content"] = {"parts": list(parts), "role": "model"}
    if finish_reason is not None:
        candidate["finishReason"] = finish_reason
    candidate["index"] = 0
    return {
        "candidates": [candidate],
        "usageMetadata": usage(prompt_tokens, output_tokens, thought_tokens),
        "modelVersion": model or MODEL,
        "responseId": response_id,
    }


def gemini_chunks(
    text: str = "Hello",
    *,
    model: str | None = None,
    thinking: str | None = None,
    signature: str | None = None,
    tool: Tool | None = None,
    finish_reason: str | None = "STOP",
    pieces: int = 2,
    prompt_tokens: int = 12,
    output_tokens: int = 9,
    response_id: str = RESPONSE_ID,
) -> list[dict[str, Any]]:
    """The response objects of a stream.

    `pieces`: in how many objects text and thinking each come. `signature` goes on the tool call, else on the last
    text part, else on an empty text part. `finish_reason` is in the last object; None leaves it out.
    """
    thoughts = [{"text": part, "thought": True} for part in deltas(thinking or "", pieces)]
    parts: list[dict[str, Any]] = [*thoughts, *({"text": part} for part in deltas(text, pieces))]
    if tool is not None:
        parts.append({"functionCall": {"name": tool[0], "args": dict(tool[1])}})
    if signature is not None:
        if len(parts) == len(thoughts):
            parts.append({"text": ""})
        parts[-1]["thoughtSignature"] = signature
    if not parts:
        parts.append({"text": ""})
    last = len(parts) - 1
    return [
        gemini_chunk(
            [part],
            finish_reason=finish_reason if number == last else None,
            model=model,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens * (number + 1) // len(parts),
            thought_tokens=7 if thoughts else 0,
            response_id=response_id,
        )
        for number, part in enumerate(parts)
    ]


def gemini_events(
    text: str = "Hello",
    *,
    model: str | None = None,
    thinking: str | None = None,
    signature: str | None = None,
    tool: Tool | None = None,
    finish_reason: str | None = "STOP",
    pieces: int = 2,
    prompt_tokens: int = 12,
    output_tokens: int = 9,
) -> list[bytes]:
    """`gemini_chunks` as SSE events."""
    chunks = gemini_chunks(
        text,
        model=model,
        thinking=thinking,
        signature=signature,
        tool=tool,
        finish_reason=finish_reason,
        pieces=pieces,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
    )
    return [gemini_event(chunk) for chunk in chunks]


def gemini_reply(chunks: Sequence[bytes], **play: Unpack[Playing]) -> Reply:
    """A 200 SSE reply of these events."""
    return Reply(headers=SSE_HEADERS, chunks=tuple(chunks), **play)


def gemini_stream(
    text: str = "Hello",
    *,
    model: str | None = None,
    thinking: str | None = None,
    signature: str | None = None,
    tool: Tool | None = None,
    finish_reason: str | None = "STOP",
    pieces: int = 2,
    prompt_tokens: int = 12,
    output_tokens: int = 9,
    sse: bool = True,
    **play: Unpack[Playing],
) -> Reply:
    """`gemini_chunks` as a reply: SSE, or with `sse=False` the JSON array that comes without `alt=sse`."""
    chunks = gemini_chunks(
        text,
        model=model,
        thinking=thinking,
        signature=signature,
        tool=tool,
        finish_reason=finish_reason,
        pieces=pieces,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
    )
    if sse:
        return gemini_reply([gemini_event(chunk) for chunk in chunks], name="gemini stream").but(**play)
    starts = ["[", *[",\r\n"] * (len(chunks) - 1)]
    array = [
        f"{start}{json.dumps(chunk, indent=2, ensure_ascii=False)}\n".encode()
        for start, chunk in zip(starts, chunks, strict=True)
    ]
    return Reply(headers=JSON_HEADERS, chunks=(*array, b"]"), name="gemini array").but(**play)


def gemini_json(
    text: str = "Hello",
    *,
    model: str | None = None,
    thinking: str | None = None,
    signature: str | None = None,
    tool: Tool | None = None,
    finish_reason: str | None = "STOP",
    prompt_tokens: int = 12,
    output_tokens: int = 9,
    **play: Unpack[Playing],
) -> Reply:
    """The answer to generateContent."""
    chunks = gemini_chunks(text, thinking=thinking, signature=signature, tool=tool, pieces=1)
    answer = gemini_chunk(
        [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]],
        finish_reason=finish_reason,
        model=model,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        thought_tokens=7 if thinking else 0,
    )
    body = json.dumps(answer, indent=2, ensure_ascii=False).encode() + b"\n"
    return Reply(headers=JSON_HEADERS, body=body, name="gemini json").but(**play)


def gemini_error_body(
    code: int, status: str | None, message: str, details: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message, "status": status or STATUSES.get(code, "UNKNOWN")}
    if details:
        error["details"] = [dict(detail) for detail in details]
    return {"error": error}


def gemini_error(
    code: int,
    status: str | None,
    message: str,
    *,
    details: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    **play: Unpack[Playing],
) -> Reply:
    """An error answer; `code` is the HTTP status too, `status` (None: the usual one of the code) Google's name."""
    body = gemini_error_body(code, status, message, details)
    text = json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n"
    name = f"{code} {body['error']['status']}"
    return Reply(code, {**JSON_HEADERS, **(headers or {})}, text, name=name).but(**play)


def retry_info(delay: str) -> dict[str, Any]:
    """The error detail that says how long to wait; `delay` in Google's grammar, e.g. "1.5s"."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    """The error detail with a reason, e.g. "API_KEY_INVALID"."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": metadata,
    }


def quota_failure(quota_id: str) -> dict[str, Any]:
    """The error detail that names a quota, e.g. "GenerateRequestsPerDayPerProjectPerModel-FreeTier"."""
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": quota_id}],
    }


def gemini_error_event(
    code: int = 503,
    status: str | None = None,
    message: str = "The model is overloaded. Please try again later.",
    details: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """An error as a `data:` event inside a 200."""
    return gemini_event(gemini_error_body(code, status, message, details))


def gemini_error_tail(
    code: int = 503,
    status: str | None = None,
    message: str = "The model is overloaded. Please try again later.",
    details: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """An error as raw, pretty-printed JSON after the events of a 200, without `data:`."""
    return json.dumps(gemini_error_body(code, status, message, details), indent=2).encode() + b"\n"


def gemini_empty(
    *, model: str | None = None, finish_reason: str = "STOP", parts: bool = True, **play: Unpack[Playing]
) -> Reply:
    """The 0-token answer: a finish reason with an empty text part, or with `parts=False` without content."""
    chunk = gemini_chunk([{"text": ""}] if parts else None, finish_reason=finish_reason, model=model)
    return gemini_reply([gemini_event(chunk)], name="gemini empty").but(**play)


def gemini_blocked(reason: str = "PROHIBITED_CONTENT", **play: Unpack[Playing]) -> Reply:
    """The prompt was refused: promptFeedback, no candidates."""
    answer = {
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": usage(12, 0, 0),
        "modelVersion": MODEL,
        "responseId": RESPONSE_ID,
    }
    return gemini_reply([gemini_event(answer)], name="gemini blocked").but(**play)


def gemini_heartbeats(*, every: float = 0.05, beat: bytes = HEARTBEAT, **play: Unpack[Playing]) -> Reply:
    """`beat` every `every` seconds until the client leaves, and nothing else."""
    start = gemini_reply([beat], name="gemini heartbeats")
    return start.but(end="stall", heartbeat=beat, heartbeat_gap=every).but(**play)
