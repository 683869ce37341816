"""The thought signatures of Gemini answers: kept as they come, found again when a client has lost them."""

from typing import Any

from healing.policy.signatures import SHORTEST, Origin, SignatureStore
from healing.wire import gemini_history as history
from healing.wire.gemini_history import Body, Part, Place
from healing.wire.refusals import Position, SignatureFault


def restore_lost(body: Body, store: SignatureStore, origin: Origin, now: float) -> Body:
    """The body with the signatures that the client lost, each on exactly the call or text that it was made for."""
    if not store.entries or not history.lacks_signatures(body):
        return body
    found: dict[Place, str] = {}
    for call in history.calls_of(body):
        if not history.signature_of(call.part) and (signature := call_signature(call, store, origin, now)):
            found[call.place] = signature
    for index, content in enumerate(history.contents_of(body)):
        parts = history.parts_of(content)
        if content.get("role") != "model" or any(history.signature_of(part) for part in parts):
            continue
        text = history.visible_text(parts)
        if text and isinstance(signature := store.find("family", origin, ("text", text), now), str):
            found[Place(index, len(parts) - 1)] = signature
    return with_signatures(body, found)


def with_signatures(body: Body, signatures: dict[Place, str]) -> Body:
    """The body with these signatures on the parts at these places, spelled as the client spells them."""
    if not signatures:
        return body
    spelling = history.spelling_in(body)

    def change(place: Place, part: Part) -> Part:
        return history.signed(part, signatures[place], spelling) if place in signatures else part

    return history.with_parts(body, change)


def call_signature(call: history.Call, store: SignatureStore, origin: Origin, now: float) -> str | None:
    """The signature of a call: known by its id, or, for the first of a turn, by its name and arguments.

    Of calls that are made at once only the first is signed: one that looks like an earlier one needs none.
    """
    places: list[tuple[str, ...]] = [("id", call.id, call.said)] if call.id else []
    if call.first:
        places.append(("call", call.said))
    for what in places:
        if isinstance(found := store.find("tool", origin, what, now), str):
            return found
    return None


def capture(
    store: SignatureStore, origin: Origin, session: str, request: Body, content: list[Part], now: float
) -> None:
    """Keep the signatures of an answer."""
    minted = []
    text = ""
    for part in content:
        signature, call = history.signature_of(part), history.call_of(part)
        if call is not None:
            text = ""
        elif not part.get("thought"):
            text += str(part.get("text") or "")
        if len(signature) < SHORTEST:
            continue
        if call is not None:
            said = history.said_by(call)
            store.keep("tool", origin, ("call", said), signature, now)
            if call.get("id"):
                store.keep("tool", origin, ("id", str(call["id"]), said), signature, now)
            minted.append(f"call {call.get('name')}")
        elif isinstance(part.get("text"), str) and not part.get("thought"):
            store.keep("family", origin, ("text", text), signature, now)
            minted.append("text")
    if minted:
        store.note(session, origin, minted, now)


def forget(
    store: SignatureStore, origin: Origin, body: Body, fault: SignatureFault, position: Position | None, now: float
) -> None:
    """Upstream rejected a signature of this body, it does not say which: those that it was sent are no good."""
    if fault is not SignatureFault.CALL_CORRUPTED:
        return
    for call in history.calls_of(body):
        sent = history.signature_key(history.signature_of(call.part))
        for what in (("id", call.id, call.said), ("call", call.said)):
            found: Any = store.find("tool", origin, what, now)
            if isinstance(found, str) and history.signature_key(found) == sent:
                store.forget("tool", origin, what)
    for content in history.contents_of(body):
        parts = history.parts_of(content)
        text = history.visible_text(parts)
        if text and any(history.signature_of(part) for part in parts):
            store.forget("family", origin, ("text", text))
