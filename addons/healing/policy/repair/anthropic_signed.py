"""The signed blocks of Anthropic answers: kept as they come, found again when a client has lost or changed them."""

from typing import Any

from healing.policy.signatures import SHORTEST, Origin, SignatureStore
from healing.wire import anthropic_history as history
from healing.wire.anthropic_history import Block, Body, Layout
from healing.wire.refusals import Position, SignatureFault


def restore_lost(body: Body, store: SignatureStore, origin: Origin, now: float) -> Body:
    """The body with the signatures that the client lost, each on exactly the text that it was made for."""

    def signed(place: int, content: list[Block]) -> list[Block]:
        if not any(_lacks_signature(block) for block in content):
            return content
        before = history.answered_by(body, place)
        known = [block for block in found_turn(store, origin, before, content, now) or () if isinstance(block, dict)]
        new = [_signed(block, known, store, origin, now) if _lacks_signature(block) else block for block in content]
        return new if new != content else content

    return history.with_content(body, signed)


def with_known_thinking(body: Body, store: SignatureStore, origin: Origin, now: float) -> Body:
    """The body with the thinking of all turns that are known, for a client that can't give it back itself."""

    def laid_out(place: int, content: list[Block]) -> list[Block]:
        layout = found_turn(store, origin, history.answered_by(body, place), content, now)
        return history.laid_out(content, layout) if layout is not None else content

    return history.with_content(body, laid_out)


def _signed(block: Block, known: list[Block], store: SignatureStore, origin: Origin, now: float) -> Block:
    """The block with its signature, from the blocks of its turn that are known (it is taken off them), else by text."""
    text = str(block.get("thinking") or "")
    for number, each in enumerate(known):
        if each.get("type") == "thinking" and str(each.get("thinking") or "") == text:
            del known[number]
            return {**block, "signature": each["signature"]}
    signature = other_signature(store, origin, block, now)
    return {**block, "signature": signature} if signature else block


def other_signature(store: SignatureStore, origin: Origin, block: Block, now: float) -> str | None:
    """The signature that the store has for a thinking block's text, unless it is the one that the block has."""
    text = block.get("thinking")
    if block.get("type") != "thinking" or not isinstance(text, str) or not text:
        return None
    found = store.find("family", origin, ("thinking", text), now)
    return found if isinstance(found, str) and found != block.get("signature") else None


def found_turn(
    store: SignatureStore, origin: Origin, before: dict[str, Any], content: list[Block], now: float
) -> Layout | None:
    """A turn's signed blocks as they came: it is known by what it answers and says, or by one of its calls."""
    for key in _turn_keys(store, origin, before, content, now):
        layout = store.find("turn", origin, (key,), now)
        if isinstance(layout, list):
            return layout
    return None


def capture(
    store: SignatureStore, origin: Origin, session: str, request: Body, content: list[Block], now: float
) -> None:
    """Keep the signed blocks of an answer to this request, as the client sent it."""
    signed = [block for block in content if _is_signed(block)]
    _, asked = (history.spoken(request) or [(0, {})])[-1]
    # After a prefill the client has another message than the one that was answered.
    if not signed or asked.get("role") != "user":
        return
    key = history.turn_key(asked, content)
    whole = [block for block in content if not history.is_thinking(block) or _is_signed(block)]
    store.keep("turn", origin, (key,), history.layout_of(whole), now)
    for block in signed:
        if block.get("thinking"):
            store.keep("family", origin, ("thinking", str(block["thinking"])), block["signature"], now)
    for call in history.call_ids(content):
        store.keep("tool", origin, ("id", call), {"turn": key}, now)
    store.note(session, origin, [str(block["type"]) for block in signed], now)


def forget(
    store: SignatureStore, origin: Origin, body: Body, fault: SignatureFault, position: Position | None, now: float
) -> None:
    """Upstream rejected a block of this body: what the store has of it is no good."""
    if fault is not SignatureFault.BLOCK or position is None or position.block is None:
        return
    for turn in history.turns_of(body):
        if turn.place != position.message or position.block >= len(turn.content):
            continue
        block = turn.content[position.block]
        text = ("thinking", str(block.get("thinking") or ""))
        if store.find("family", origin, text, now) == block.get("signature"):
            store.forget("family", origin, text)
        before = history.answered_by(body, turn.place)
        for key in _turn_keys(store, origin, before, turn.content, now):
            if block in (store.find("turn", origin, (key,), now) or ()):
                store.forget("turn", origin, (key,))


def _turn_keys(
    store: SignatureStore, origin: Origin, before: dict[str, Any], content: list[Block], now: float
) -> list[str]:
    """The keys under which a turn may be known."""
    keys = [history.turn_key(before, content)]
    for call in history.call_ids(content):
        found = store.find("tool", origin, ("id", call), now)
        if isinstance(found, dict) and "turn" in found:
            keys.append(str(found["turn"]))
    return list(dict.fromkeys(keys))


def _is_signed(block: Block) -> bool:
    if block.get("type") == "redacted_thinking":
        return bool(block.get("data"))
    return block.get("type") == "thinking" and len(str(block.get("signature") or "")) >= SHORTEST


def _lacks_signature(block: Block) -> bool:
    return block.get("type") == "thinking" and not block.get("signature")
