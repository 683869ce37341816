"""A whole Anthropic message as the events of the stream that would have made it."""

from collections.abc import Iterator
from typing import Any

from antigravity_healing.wire.json.value import dump_text, objects_at

type Body = dict[str, Any]
type Block = dict[str, Any]

# What the start of a message can't know yet, and its end tells.
_ENDING = ("stop_reason", "stop_sequence", "stop_details", "container")
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


def events_of(message: Body) -> Iterator[Body]:
    """The events, in their order. What is no block among the content makes none."""
    ending = {name: message[name] for name in _ENDING if name in message}
    start = {**message, **dict.fromkeys(ending), "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": start}
    blocks = [block for block in objects_at(message, "content") if block]
    for index, block in enumerate(blocks):
        begun, deltas = _parted(block)
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": None, "stop_sequence": None, **ending}
    usage = message.get("usage")
    yield {"type": "message_delta", "delta": delta, "usage": usage if isinstance(usage, dict) else {}}
    yield {"type": "message_stop"}


def _parted(block: Block) -> tuple[Block, list[Block]]:
    """A block as it begins, and the deltas that make it whole; of most kinds it begins whole."""
    begun = dict(block)
    deltas: list[Block] = []
    kind = block.get("type")
    if kind in _CALLS:
        if given := block.get("input"):
            begun["input"] = {}
            deltas.append({"type": "input_json_delta", "partial_json": dump_text(given)})
    elif kind == "text":
        if isinstance(citations := block.get("citations"), list) and citations:
            begun["citations"] = []
            deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
        deltas += _taken(begun, "text", "text_delta")
    elif kind == "thinking":
        deltas += _taken(begun, "thinking", "thinking_delta") + _taken(begun, "signature", "signature_delta")
    return begun, deltas


def _taken(begun: Block, name: str, delta: str) -> list[Block]:
    """The delta that says a block's text, which is taken from the block; none where there is no text."""
    text = begun.get(name)
    if not isinstance(text, str) or not text:
        return []
    begun[name] = ""
    return [{"type": delta, name: text}]
