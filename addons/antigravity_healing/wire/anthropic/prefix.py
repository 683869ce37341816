"""What thinking blocks are bound to: everything that stands before them, and the thinking among it.

Models with this check refuse a block that does not stand behind exactly what it was made behind. Thinking may be gone
from the beginning of what stands before it, or all of it, but not from in between.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from antigravity_healing.wire.anthropic import history
from antigravity_healing.wire.anthropic.history import Block, Body
from antigravity_healing.wire.json.value import canonical, with_items


class Bond(NamedTuple):
    """What thinking is bound to.

    prefix: all before its turn but thinking. thinking: the last block before it. blocks: how many there are before it:
    where the last one fits, those before that tell by their number whether one has come back.
    """

    prefix: str
    thinking: str
    blocks: int = 0


def bond_of_answer(body: Body) -> Bond:
    """What the answer to this request will be bound to."""
    *_, (_, bond) = _bonds(body)
    return bond


def with_thinking_that_fits(body: Body, made: Callable[[list[Block]], Bond | None]) -> Body:
    """The body without the thinking of those turns that no longer stand behind what they were made behind.

    made: what the turn with this content was bound to, None for one that is not looked at.
    """
    content: dict[int, list[Block]] = {}
    last, before = "", 0
    for index, bond in _bonds(body):
        message = body["messages"][index] if index < len(body["messages"]) else {}
        blocks = message.get("content")
        if not isinstance(blocks, list) or (bound := made(blocks)) is None:
            continue
        thinking = history.thinking_of(blocks)
        if not thinking:
            continue
        if bound.prefix != bond.prefix:
            content[index] = blocks
            continue
        if bound.thinking != last or before > bound.blocks:
            # Of what was before it then something is gone, or back: it stands with none of it.
            content |= {at: each["content"] for at, each in enumerate(body["messages"][:index]) if _thinks(each)}
            before = 0
        last, before = _key(thinking[-1]), before + len(thinking)
    bare = {at: history.without_thinking(blocks) or [history.EMPTY_TURN] for at, blocks in content.items()}
    messages = {at: {**body["messages"][at], "content": blocks} for at, blocks in bare.items()}
    return with_items(body, "messages", messages)


def _bonds(body: Body) -> Iterator[tuple[int, Bond]]:
    """For each message, and for the answer, what stands before it."""
    prefix = hashlib.blake2b(digest_size=16)
    for frame in ("system", "tools"):
        prefix.update(canonical(history.without_cache_marks(history.as_blocks(body.get(frame) or []))))
    last, before = "", 0
    for index, message in enumerate(history.messages_of(body)):
        yield index, Bond(prefix.hexdigest(), last, before)
        blocks = history.as_blocks(message.get("content"))
        spoken: Any = blocks
        if isinstance(blocks, list) and all(isinstance(block, dict) for block in blocks):
            spoken = history.without_thinking(blocks)
            thinking = history.thinking_of(blocks)
            last, before = _key(thinking[-1]) if thinking else last, before + len(thinking)
        prefix.update(canonical([message.get("role"), history.without_cache_marks(spoken)]))
    yield len(history.messages_of(body)), Bond(prefix.hexdigest(), last, before)


def _thinks(message: Body) -> bool:
    blocks = message.get("content")
    return isinstance(blocks, list) and bool(history.thinking_of(blocks))


def _key(block: Block) -> str:
    return history.block_key(block) or ""
