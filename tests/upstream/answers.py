"""Blocks and parts as whole answers: events, an array, or one object, as was asked for."""

from __future__ import annotations

from typing import Any

from . import anthropic, gemini
from .healthy import Asked
from .replies import Reply


def message(blocks: list[dict[str, Any]], stop: str, ask: Asked, more: dict[str, Any]) -> Reply:
    """An Anthropic answer of these blocks, streamed or not."""
    whole = {**_head(ask.model), **more, "content": blocks, "stop_reason": stop}
    if not ask.stream:
        return Reply(headers=anthropic.JSON_HEADERS, body=anthropic.compact(whole).encode(), name="talking")
    events = [anthropic.anthropic_event({"type": "message_start", "message": {**_head(ask.model), **more}})]
    for index, block in enumerate(blocks):
        events += anthropic.block_events(index, *_streamed(block))
    return anthropic.anthropic_reply([*events, *anthropic.anthropic_end(stop)], name="talking")


def candidate(parts: list[dict[str, Any]], ask: Asked, response_id: str) -> Reply:
    """A Gemini answer of these parts: one object, or one for each part."""
    pieces = [[part] for part in parts] if ask.stream else [parts]
    last = len(pieces) - 1
    return responses(
        [
            gemini.gemini_chunk(
                piece, finish_reason="STOP" if number == last else None, model=ask.model, response_id=response_id
            )
            for number, piece in enumerate(pieces)
        ],
        ask,
    )


def responses(chunks: list[dict[str, Any]], ask: Asked) -> Reply:
    """These objects as they were asked for: as events, as an array that streams, or the only one."""
    if ask.stream and ask.sse:
        return gemini.gemini_reply([gemini.gemini_event(chunk) for chunk in chunks], name="talking")
    body = anthropic.compact(chunks if ask.stream else chunks[0]).encode()
    if not ask.stream:
        return Reply(headers=gemini.JSON_HEADERS, body=body, name="talking")
    halves = (body[: len(body) // 2], body[len(body) // 2 :])
    return Reply(headers=gemini.JSON_HEADERS, chunks=halves, name="talking")


def _head(model: str) -> dict[str, Any]:
    return {
        "model": model,
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": anthropic.usage(12, 9),
    }


def _streamed(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as its start and its deltas."""
    match block["type"]:
        case "thinking":
            pieces = anthropic.deltas(block["thinking"], 3)
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
            start = {"type": "thinking", "thinking": "", "signature": ""}
            return start, [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
        case "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in anthropic.deltas(block["text"], 2)]
            cited = [{"type": "citations_delta", "citation": each} for each in block.get("citations", ())]
            return {**({"citations": []} if cited else {}), "type": "text", "text": ""}, [*deltas, *cited]
        case "tool_use" | "server_tool_use":
            given = anthropic.compact(block["input"]) if block["input"] else ""
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    return block, []
