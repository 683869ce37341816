"""The thought signatures of Gemini answers: kept as they come, found again when a client has lost them."""

from collections.abc import Iterator

from antigravity_healing.policy.signing.by_place import MOST_KEPT, Known
from antigravity_healing.wire.errors.signature_refusals import Position, SignatureFault
from antigravity_healing.wire.gemini import history
from antigravity_healing.wire.gemini.history import Body, Part, PartPlace
from antigravity_healing.wire.requests.places import SHORTEST_SIGNATURE, Side, Spot


def restore_lost(body: Body, known: Known) -> Body:
    """The body with the signatures that the client lost, each on exactly the call or text that it was made for."""
    if not known.store.entries:
        return body
    turns = history.turns_of(body, known.places)
    lacking = [turn for turn in turns if history.lacks_signatures([part for _, part in turn[1]])]
    known.look_up(side for side, _ in lacking)
    found: dict[PartPlace, str] = {}
    for side, parts in lacking:
        if not known.knows_nothing_of(side) or any(history.call_of(part) for _, part in parts):
            found |= _lost(known, side, parts)
    return with_signatures(body, found)


def with_signatures(body: Body, signatures: dict[PartPlace, str]) -> Body:
    """The body with these signatures on the parts at these places, spelled as the client spells them."""
    if not signatures:
        return body
    spelling = history.spelling_in(body)

    def change(place: PartPlace, part: Part) -> Part:
        return history.signed(part, signatures[place], spelling) if place in signatures else part

    return history.with_parts(body, change)


def made_for(known: Known, side: Side, part: Part, spot: Spot) -> str:
    """The signature that was made for a part in its place, or for a call with its id; "" if nothing is known."""
    made = known.find(side.place, spot)
    if made is None and (call := history.call_of(part)) is not None and call.get("id"):
        made = known.find_by_id(str(call["id"]), history.call_said(call))
    return made if isinstance(made, str) and len(made) >= SHORTEST_SIGNATURE else ""


def signed_spots(known: Known, body: Body) -> Iterator[tuple[Side, PartPlace, Part, Spot]]:
    """The parts of the history with a signature that was minted for them, each with its spot."""
    for side, parts in history.turns_of(body, known.places):
        if not any(history.real_signature_of(part) for _, part in parts):
            continue
        places = {id(part): place for place, part in parts}
        for part, spot in history.spots_of(part for _, part in parts):
            if history.real_signature_of(part):
                yield side, places[id(part)], part, spot


def is_healthy(known: Known, side: Side, part: Part, spot: Spot) -> bool:
    """Whether a signature is known to stand exactly where it was minted."""
    made = known.find_exactly(side.place, spot)
    return isinstance(made, str) and history.signature_key(made) == history.signature_key(history.signature_of(part))


def capture(known: Known, content: list[Part]) -> list[str]:
    """Keep the signatures of an answer. Gives what was kept, in words."""
    if not known.places.last_is_users:
        return []  # what goes on with the model's own words has another place in the next request
    signatures: list[str] = []
    words: list[str] = []
    spots: list[tuple[Spot, int | None]] = []
    ids: list[tuple[str, str, int | None]] = []
    for part, spot in history.spots_of(content):
        if not (signature := history.real_signature_of(part)):
            continue
        spots.append((spot, len(signatures)))
        if (call := history.call_of(part)) is not None:
            ids.append((str(call.get("id") or ""), history.call_said(call), len(signatures)))
        signatures.append(signature)
        words.append(history.in_words(part))
        if len(signatures) == MOST_KEPT:
            break
    if signatures:
        known.keep(signatures, known.places.end, spots, ids)
    return words


def forget(known: Known, body: Body, fault: SignatureFault, position: Position | None) -> None:
    """Upstream rejected a signature of this body, it does not say which.

    If the store did not mint all of them, it is one of the others; else none of those that it was sent is any good.
    """
    if fault is not SignatureFault.CALL_CORRUPTED:
        return
    sent = list(signed_spots(known, body))
    if not all(is_healthy(known, side, part, spot) for side, _, part, spot in sent):
        return
    for side, _, part, spot in sent:
        call = history.call_of(part)
        by_id = [(str(call["id"]), history.call_said(call))] if call is not None and call.get("id") else []
        known.forget(side.place, [spot], by_id)


def _lost(known: Known, side: Side, parts: list[tuple[PartPlace, Part]]) -> dict[PartPlace, str]:
    """The signatures that the parts of one turn have lost, by where they belong."""
    places = {id(part): place for place, part in parts}
    at_spot: dict[Spot, Part] = {}
    signed: set[Spot] = set()
    for part, spot in history.spots_of(part for _, part in parts):
        if history.signature_of(part):
            signed.add(spot)
        # A part with nothing in it stands where the text before it ends: that text is what was signed.
        if spot not in at_spot or part.get("text") != "":
            at_spot[spot] = part
    found = {}
    for spot, part in at_spot.items():
        if spot not in signed and (signature := made_for(known, side, part, spot)):
            found[places[id(part)]] = signature
    return found
