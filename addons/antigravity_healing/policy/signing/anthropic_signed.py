"""The signed blocks of Anthropic answers: kept as they come, found again when a client has lost or changed them."""

from collections.abc import Iterator

from antigravity_healing.policy.signing.by_place import TURN, Known
from antigravity_healing.wire.anthropic import history
from antigravity_healing.wire.anthropic.history import Block, Body, Layout, Turn
from antigravity_healing.wire.errors.signature_refusals import Position, SignatureFault
from antigravity_healing.wire.requests.places import SHORTEST_SIGNATURE, Place, Side, Spot


def restore_lost(body: Body, known: Known) -> Body:
    """The body with the signatures that the client lost, each on exactly the text that it was made for."""

    lacking = [turn.place for turn in history.turns_of(body) if any(map(_lacks_signature, turn.content))]
    if not lacking:
        return body
    known.look_up(side for index in lacking if (side := known.places.at(index)) is not None)
    spots = Spots(body)

    def signed(index: int, content: list[Block]) -> list[Block]:
        side = known.places.at(index)
        if side is None or not any(map(_lacks_signature, content)):
            return content
        present = [block.get("signature") for block in content]
        found: dict[int, str] = {}
        for block, spot in spots.among(side, content):
            signature = _signature_at(known, side.place, spot) if _lacks_signature(block) else None
            if signature and signature not in present:
                found[id(block)] = signature
        if not found:
            return content
        return [{**block, "signature": found[id(block)]} if id(block) in found else block for block in content]

    return history.with_content(body, signed)


class Spots:
    """The thinking blocks of a body, each with its spot in the turn of its side, which may be of many messages."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._sides: dict[int, dict[int, Spot]] = {}

    def among(self, side: Side, content: list[Block]) -> Iterator[tuple[Block, Spot]]:
        """Those of one message of this side."""
        if (spots := self._sides.get(side.first)) is None:
            messages = self._body["messages"][side.first : side.last + 1]
            blocks = [block for turn in history.turns_of({"messages": messages}) for block in turn.content]
            spots = self._sides[side.first] = {id(block): spot for block, spot in history.spots_of(blocks)}
        return ((block, spots[id(block)]) for block in content if id(block) in spots)


def found_turn(known: Known, turn: Turn) -> Layout | None:
    """A turn's signed blocks as they came: it is known by its place and by what it says, or by one of its calls."""
    side = known.places.at(turn.place)
    layout = None
    if side is not None and side.first == side.last:
        layout = known.find(side.place, history.said_by(turn.content).with_(TURN))
    for call in () if layout is not None else history.call_ids(turn.content):
        if (layout := known.find_by_id(call, TURN)) is not None:
            break
    if isinstance(layout, dict):
        return history.layout_of(layout["content"])  # of a turn whose translation the client was shown
    return layout if isinstance(layout, list) else None


def is_healthy(known: Known, side: Side, block: Block, spot: Spot) -> bool:
    """Whether a block is known to stand exactly where it was made, as it was made."""
    made = known.find_exactly(side.place, spot)
    return isinstance(made, dict) and history.block_key(made) == history.block_key(block)


def capture(known: Known, content: list[Block]) -> list[str]:
    """Keep the signed blocks of an answer. Gives what was kept, in words."""
    signed = history.signed_in(content)
    # After a prefill the client has another message than the one that was answered.
    if not signed or not known.places.last_is_users:
        return []
    whole = [block for block in content if not history.is_thinking(block) or history.block_key(block) is not None]
    layout = history.layout_of(whole)
    places = {id(item): number for number, item in enumerate(layout) if isinstance(item, dict)}
    spots: list[tuple[Spot, int | None]] = [(history.said_by(content).with_(TURN), None)]
    spots += [(spot, places[id(block)]) for block, spot in history.spots_of(content) if id(block) in places]
    known.keep(layout, known.places.end, spots, [(call, TURN, None) for call in history.call_ids(content)])
    return signed


def forget(known: Known, body: Body, fault: SignatureFault, position: Position | None) -> None:
    """Upstream rejected a block of this body: what the store has of it is no good."""
    if fault is not SignatureFault.BLOCK or position is None or position.block is None:
        return
    for turn in history.turns_of(body):
        side = known.places.at(turn.place)
        if turn.place != position.message or position.block >= len(turn.content) or side is None:
            continue
        rejected = turn.content[position.block]
        for block, spot in Spots(body).among(side, turn.content):
            made = known.find(side.place, spot) if block is rejected else None
            if isinstance(made, dict) and history.block_key(made) == history.block_key(rejected):
                calls = [(call, TURN) for call in history.call_ids(turn.content)]
                known.forget(side.place, [spot, history.said_by(turn.content).with_(TURN)], calls)


def _signature_at(known: Known, place: Place, spot: Spot) -> str | None:
    made = known.find(place, spot)
    signature = made.get("signature") if isinstance(made, dict) else None
    return signature if isinstance(signature, str) and len(signature) >= SHORTEST_SIGNATURE else None


def _lacks_signature(block: Block) -> bool:
    return block.get("type") == "thinking" and not block.get("signature")
