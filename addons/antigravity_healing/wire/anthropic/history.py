"""The thinking in an Anthropic conversation's history: where it is, what identifies it, what holds it together.

Nothing here changes what it is given: changed bodies share their unchanged parts with the old ones.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from antigravity_healing.wire.json.value import canonical, digest, objects_at, only_objects_at, with_items
from antigravity_healing.wire.requests.places import (
    SHORTEST_SIGNATURE,
    Place,
    Places,
    PlacesBuilder,
    Said,
    Side,
    Spot,
    is_unguessable,
    loosely,
)

type Body = dict[str, Any]
type Block = dict[str, Any]
type Layout = list[int | Block]
"""A turn's content: its signed blocks, and between them the places of its other blocks, counted from 0."""

BINDING_BETA = "thinking-binding-controls-2026-08-01"
"""The value of `anthropic-beta` that allows `thinking.block_binding`."""
DROP_BLOCK = {"prefix_mismatch_behavior": "drop_block"}
CLEAR_THINKING = "clear_thinking_"
"""How the types of the context edits begin that the API refuses while thinking is off."""
# What users say beside texts; clients send it again as it was.
_USERS = ("tool_result", "image", "document", "search_result")
# Claude Code tells its version and session so, for Anthropic's bills: it differs from request to request.
_BILLING = "x-anthropic-billing-header:"
EMPTY_TURN: Block = {"type": "text", "text": "(no text)"}
"""Stands in a turn of which nothing is left: a message without content is refused."""


class Turn(NamedTuple):
    """An assistant message of the history. place: its index among the messages."""

    place: int
    content: list[Block]


class Round(NamedTuple):
    """An open tool round: the calls since the last real user message are answered, the model goes on.

    start: the index of its first message. calls: that of the first one with a call. call: that call's id.
    """

    start: int
    calls: int
    call: str


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


def without_blank_text(content: Sequence[Block]) -> list[Block]:
    """These blocks without the texts that are white space alone."""
    return [block for block in content if block.get("type") != "text" or str(block.get("text") or "").strip()]


def block_key(block: Block) -> str | None:
    """What identifies a signed thinking block wherever it stands: text and signature; None for one that is not."""
    if block.get("type") == "redacted_thinking":
        data = block.get("data")
        return digest("redacted", data) if isinstance(data, str) and len(data) >= SHORTEST_SIGNATURE else None
    signature = block.get("signature")
    if not isinstance(signature, str) or len(signature) < SHORTEST_SIGNATURE:
        return None
    return digest("thinking", str(block.get("thinking") or ""), signature)


def signed_in(content: Sequence[Block]) -> list[str]:
    """What is signed among these blocks, in short words."""
    return [str(block.get("type")) for block in content if block_key(block) is not None]


def call_ids(content: Sequence[Block]) -> list[str]:
    """The ids of the tool calls among these blocks."""
    return [str(block["id"]) for block in content if block.get("type") == "tool_use" and block.get("id")]


def sure_ids(content: Sequence[Block]) -> list[str]:
    """Those of the ids that nobody can guess."""
    return [each for each in call_ids(content) if is_unguessable(each)]


def places_of(body: Any, client: str) -> Places:
    """Where each side's turn stands. client: whose conversation it is."""
    return Places(partial(_sides_of, body, client))


def _sides_of(body: Any, client: str) -> tuple[list[Side], Place]:
    system = [said for block in _listed(body, "system") if (said := said_to_model(block)) is not None]
    places = PlacesBuilder(client, without_cache_marks(system), without_cache_marks(_listed(body, "tools")))
    for index, message in enumerate(messages_of(body)):
        if message.get("role") == "system":
            places.aside(index, canonical(without_cache_marks(message.get("content"))))
            continue
        said = places.message(index, is_model=message.get("role") == "assistant")
        content = as_blocks(message.get("content"))
        for block in content if isinstance(content, list) else [content]:
            _say(said, block)
    return places.places()


def said_by(content: Sequence[Block]) -> Place:
    """What an answer of these blocks says."""
    said = Said()
    for block in content:
        _say(said, block)
    return said.so_far()


def spots_of(content: Sequence[Block]) -> Iterator[tuple[Block, Spot]]:
    """The thinking blocks of a turn, each with its spot in it: what is said before it, and what it says itself."""
    said = Said()
    seen: Counter[tuple[Place, str, str]] = Counter()
    for block in content:
        if not is_thinking(block):
            _say(said, block)
            continue
        kind = str(block["type"])
        what = (said.so_far(), kind, str(block.get("thinking" if kind == "thinking" else "data") or ""))
        yield block, what[0].with_(kind, what[2], str(seen[what]))
        seen[what] += 1


def _say(said: Said, block: Any) -> None:
    """Tell what a block says, but for thinking, which clients lose."""
    if not isinstance(block, dict):
        said.item(canonical(block))
        return
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        said.text(block["text"])
    elif kind == "tool_use":
        name, given = str(block.get("name")), block.get("input")
        written = canonical(given)
        exact = digest("call", str(block.get("id")), name, written).encode()
        said.item(exact, digest("call", name, loosely(given, written)).encode())
    elif kind in _USERS:
        exact = digest(canonical(without_cache_marks(_plain(block)))).encode()
        said.item(exact, exact)
    elif not is_thinking(block):
        said.item(digest(canonical(without_cache_marks(block))).encode())


def message_key(message: dict[str, Any]) -> str:
    """What identifies a message: its role and content, without the cache marks, which move from turn to turn."""
    blocks = as_blocks(message.get("content"))
    return digest(str(message.get("role")), canonical(without_cache_marks(blocks)))


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


def open_round(body: Any) -> Round | None:
    """The open tool round at the end of the history, None if the last message is no tool's result."""
    messages = spoken(body)
    if not messages or not _has_results(messages[-1][1]):
        return None
    start = len(messages) - 1
    while start > 0 and (messages[start - 1][1].get("role") == "assistant" or _has_results(messages[start - 1][1])):
        start -= 1
    for place, message in messages[start:]:
        if message.get("role") == "assistant" and (ids := call_ids(_blocks(message))):
            return Round(messages[start][0], place, ids[0])
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
    noted = {**message, "content": [*as_blocks(message["content"]), {"type": "text", "text": note}]}
    return with_items(body, "messages", {place: noted})


def _plain(block: Block) -> Block:
    """A block in whose content a text is a block of its own."""
    return {**block, "content": as_blocks(block["content"])} if isinstance(block.get("content"), str) else block


def _listed(body: Any, name: str) -> list[Any]:
    """A list of blocks or tools in a body; a text is one block of it."""
    value = as_blocks(body.get(name)) if isinstance(body, dict) else None
    return value if isinstance(value, list) else []


def said_to_model(block: Any) -> Any:
    """A block of the system prompt without the line, another one in each session, by which Claude Code is billed.

    None where there is nothing else in it.
    """
    text = block.get("text") if isinstance(block, dict) else None
    if not isinstance(text, str) or not text.startswith(_BILLING):
        return block
    rest = text.partition("\n")[2]
    return {**block, "text": rest} if rest.strip() else None


def as_blocks(content: Any) -> Any:
    """Content as blocks, also where it is written as a string."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _blocks(message: dict[str, Any]) -> list[Block]:
    return only_objects_at(message, "content")


def _has_results(message: dict[str, Any]) -> bool:
    return message.get("role") == "user" and any(block.get("type") == "tool_result" for block in _blocks(message))


def without_cache_marks(value: Any) -> Any:
    """Blocks or tools without what marks the places to which caches reach."""
    if isinstance(value, list):
        return [without_cache_marks(item) for item in value]
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if name != "cache_control"}
        if isinstance(kept.get("content"), list):
            kept["content"] = without_cache_marks(kept["content"])
        return kept
    return value
