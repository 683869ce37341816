"""The thinking in an Anthropic conversation's history: where it is, what identifies it, what holds it together.

Nothing here changes what it is given: changed bodies share their unchanged parts with the old ones.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from healing.wire.jsonvalue import canonical, digest, objects_at, only_objects_at, with_items

type Body = dict[str, Any]
type Block = dict[str, Any]
type Layout = list[int | Block]
"""A turn's content: its signed blocks, and between them the places of its other blocks, counted from 0."""

BINDING_BETA = "thinking-binding-controls-2026-08-01"
"""The value of `anthropic-beta` that allows `thinking.block_binding`."""
DROP_BLOCK = {"prefix_mismatch_behavior": "drop_block"}
CLEAR_THINKING = "clear_thinking_"
"""How the types of the context edits begin that the API refuses while thinking is off."""
EMPTY_TURN: Block = {"type": "text", "text": "(no text)"}
"""Stands in a turn of which nothing is left: a message without content is refused."""


class Turn(NamedTuple):
    """An assistant message of the history. place: its index among the messages."""

    place: int
    content: list[Block]


class Round(NamedTuple):
    """An open tool round: the calls since the last real user message are answered, the model goes on.

    start: the index of its first message. key: the id of its first call.
    """

    start: int
    key: str


def is_thinking(block: Block) -> bool:
    """Whether a block is thinking, readable or not."""
    return block.get("type") in ("thinking", "redacted_thinking")


def messages_of(body: Any) -> list[dict[str, Any]]:
    """The messages; what is no message at all stands as an empty one, so that places stay right."""
    return objects_at(body, "messages")


def turns_of(body: Any) -> Iterator[Turn]:
    """The assistant's messages that are made of blocks."""
    for place, message in enumerate(messages_of(body)):
        if message.get("role") == "assistant" and (content := _blocks(message)):
            yield Turn(place, content)


def thinking_of(content: Sequence[Block]) -> list[Block]:
    """The thinking blocks among these."""
    return [block for block in content if is_thinking(block)]


def without_thinking(content: Sequence[Block]) -> list[Block]:
    """The others."""
    return [block for block in content if not is_thinking(block)]


def block_key(block: Block) -> str:
    """What identifies a thinking block: its text with its signature, or its data."""
    if block.get("type") == "redacted_thinking":
        return digest("redacted", str(block.get("data") or ""))
    return digest("thinking", str(block.get("thinking") or ""), str(block.get("signature") or ""))


def call_ids(content: Sequence[Block]) -> list[str]:
    """The ids of the tool calls among these blocks."""
    return [str(block["id"]) for block in content if block.get("type") == "tool_use" and block.get("id")]


def anchors_of(body: Any) -> Iterator[str]:
    """All that identifies pieces of this history: the keys of its thinking blocks, and the ids of its calls."""
    for turn in turns_of(body):
        yield from turn_anchors(turn.content)


def turn_anchors(content: Sequence[Block]) -> list[str]:
    """What identifies a turn, as the client sends it."""
    return [*call_ids(content), *map(block_key, thinking_of(content))]


def message_key(message: dict[str, Any]) -> str:
    """What identifies a message: its role and content, without the cache marks, which move from turn to turn."""
    blocks = _as_list(message.get("content"))
    return digest(str(message.get("role")), canonical(_without_cache_marks(blocks)))


def turn_key(before: dict[str, Any], content: Sequence[Block]) -> str:
    """What identifies a turn by what it answers and by what it says aloud, whatever became of its thinking."""
    return digest(message_key(before), *map(_spoken, without_thinking(content)))


def layout_of(content: Sequence[Block]) -> Layout:
    """A turn's content as a layout."""
    layout: Layout = []
    others = 0
    for block in content:
        if is_thinking(block):
            layout.append(block)
        else:
            layout.append(others)
            others += 1
    return layout


def laid_out(content: list[Block], layout: Layout) -> list[Block]:
    """A turn with the signed blocks of the layout in their places; as it is where the layout does not fit it."""
    others = without_thinking(content)
    if len(others) != sum(isinstance(item, int) for item in layout):
        return content
    return [others[item] if isinstance(item, int) else item for item in layout]


def spoken(body: Any) -> list[tuple[int, dict[str, Any]]]:
    """The messages of user and assistant with their places: clients put `system` messages anywhere between them."""
    return [(place, message) for place, message in enumerate(messages_of(body)) if message.get("role") != "system"]


def answered_by(body: Any, place: int) -> dict[str, Any]:
    """The message that the one at this place answers, {} if there is none."""
    earlier = (body["messages"][at] for at in range(place - 1, -1, -1))
    return next((each for each in earlier if isinstance(each, dict) and each.get("role") != "system"), {})


def open_round(body: Any) -> Round | None:
    """The open tool round at the end of the history, None if the last message is no tool's result."""
    messages = spoken(body)
    if not messages or not _has_results(messages[-1][1]):
        return None
    start = len(messages) - 1
    while start > 0 and (messages[start - 1][1].get("role") == "assistant" or _has_results(messages[start - 1][1])):
        start -= 1
    for _, message in messages[start:]:
        if message.get("role") == "assistant" and (ids := call_ids(_blocks(message))):
            return Round(messages[start][0], ids[0])
    return None


def thinking_type(body: Body) -> str | None:
    """The `type` of the thinking setting, None where there is none."""
    thinking = body.get("thinking")
    return str(thinking.get("type")) if isinstance(thinking, dict) else None


def without_thinking_setting(body: Body) -> Body:
    """The body with thinking off, and without the context edit that is only taken while it is on."""
    off = {**body, "thinking": {"type": "disabled"}}
    management = body.get("context_management")
    if not isinstance(management, dict) or not isinstance(edits := management.get("edits"), list):
        return off
    kept = [edit for edit in edits if not (isinstance(edit, dict) and str(edit.get("type")).startswith(CLEAR_THINKING))]
    if len(kept) == len(edits):
        return off
    if kept or len(management) > 1:
        return {**off, "context_management": {**management, "edits": kept}}
    del off["context_management"]
    return off


def with_content(body: Body, change: Callable[[int, list[Block]], list[Block]]) -> Body:
    """The body with each assistant turn's content as `change` gives it, for its place and content."""
    changed = {}
    for turn in turns_of(body):
        content = change(turn.place, turn.content)
        if content is not turn.content:
            changed[turn.place] = {**body["messages"][turn.place], "content": content or [EMPTY_TURN]}
    return with_items(body, "messages", changed)


def with_note(body: Body, place: int, note: str) -> Body:
    """The body with a text block at the end of the user message at this place."""
    message = body["messages"][place]
    noted = {**message, "content": [*_as_list(message["content"]), {"type": "text", "text": note}]}
    return with_items(body, "messages", {place: noted})


def _as_list(content: Any) -> Any:
    """Content as blocks, also where it is written as a string."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _blocks(message: dict[str, Any]) -> list[Block]:
    return only_objects_at(message, "content")


def _has_results(message: dict[str, Any]) -> bool:
    return message.get("role") == "user" and any(block.get("type") == "tool_result" for block in _blocks(message))


def _spoken(block: Block) -> str:
    """What a block says aloud; clients add members of their own, so only what counts is looked at."""
    kind = str(block.get("type"))
    return digest(kind, str(block.get("id") or block.get("tool_use_id") or block.get("text") or ""))


def _without_cache_marks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_cache_marks(item) for item in value]
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if name != "cache_control"}
        if isinstance(kept.get("content"), list):
            kept["content"] = _without_cache_marks(kept["content"])
        return kept
    return value
