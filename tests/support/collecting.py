"""Streams of events as dicts, and collectors that have taken them."""

from typing import Any

from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.collecting import LONGEST_WHOLE
from antigravity_healing.wire.reading import Collector

type Fields = dict[str, Any]


def taken[C: Collector](collector: C, events: list[Fields]) -> C:
    """The collector, which has taken these events."""
    for event in events:
        collector.take(event)
    return collector


def started(*events: Fields) -> AnthropicCollector:
    """A collector that has taken the start of a message, and these events."""
    message: Fields = {
        "id": "msg_1",
        "type": "message",
        "model": "claude-a",
        "content": [],
        "stop_reason": None,
        "usage": {},
    }
    return taken(AnthropicCollector(LONGEST_WHOLE), [{"type": "message_start", "message": message}, *events])


def block_events(index: int, start: Fields, *deltas: Fields) -> list[Fields]:
    """The events of a block."""
    said = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *said,
        {"type": "content_block_stop", "index": index},
    ]


def stopping(reason: str = "end_turn", **fields: Any) -> Fields:
    """The end of a message."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, **fields}


def call_events(text: str) -> list[Fields]:
    """The events of a call whose input is this text."""
    return block_events(
        0, {"type": "tool_use", "name": "look", "input": {}}, {"type": "input_json_delta", "partial_json": text}
    )
