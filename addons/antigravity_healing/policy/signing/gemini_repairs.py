"""The repairs of Gemini conversations: what each changes, and which answers which refusal."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing import gemini_signed
from antigravity_healing.policy.signing.by_place import Known
from antigravity_healing.policy.signing.gemini_signed import is_healthy, made_for, signed_spots
from antigravity_healing.policy.signing.prefix_check import takes_stand_in
from antigravity_healing.policy.signing.rules import REMOVED, Change, RepairRule, View
from antigravity_healing.policy.signing.rules import Case as AnyCase
from antigravity_healing.wire.errors.signature_refusals import SignatureFault
from antigravity_healing.wire.gemini import history
from antigravity_healing.wire.gemini.history import Body, Call, Part, PartPlace
from antigravity_healing.wire.json.value import digest
from antigravity_healing.wire.requests.places import is_unguessable


@dataclass(frozen=True)
class GeminiView(View):
    """A generateContent request, and what identifies the pieces of its history."""

    def key(self, call: Call) -> str:
        """What identifies a call: its id, or where it stands; and what it says."""
        if is_unguessable(call.id):
            return digest("call", call.id, call.said)
        side = self.known.places.at(call.place.content)
        return self.known.key(side.first if side else call.place.content, "call", call.said, str(call.nth))

    @property
    def takes_stand_in(self) -> bool:
        """Whether the model takes the documented stand-in."""
        return takes_stand_in(self.model)


type Case = AnyCase[GeminiView]


class Replacement(BaseModel):
    """A signature in the place of another one. instead: the key of the refused one, "" where there was none."""

    model_config = ConfigDict(frozen=True)

    instead: str
    signature: str


class GeminiChange(Change[GeminiView]):
    """A repair of a Gemini conversation.

    anchors: keys of calls and of signatures.
    unsigned: keys of the signatures that are taken off.
    signed: by a call's key, the signature that it gets.
    stand_ins: keys of the calls that get the documented stand-in.
    """

    unsigned: frozenset[str] = frozenset()
    signed: dict[str, Replacement] = Field(default_factory=dict)
    stand_ins: frozenset[str] = frozenset()

    def apply(self, body: Body, view: GeminiView) -> Body:
        """The body with this change; applied again it changes nothing more."""
        if self.unsigned:
            bared: set[int] = set()
            body = history.with_parts(body, lambda _, part: self._without(part, bared))
            # What has to be signed now may not have had to be when the repair was made.
            body = self._with_signatures(body, view, bared)
        elif self.signed or self.stand_ins:
            body = self._with_signatures(body, view, set())
        return body

    def _with_signatures(self, body: Body, view: GeminiView, bared: set[int]) -> Body:
        signatures: dict[PartPlace, str] = {}
        for call in history.calls_of(body):
            own, key = history.signature_of(call.part), view.key(call)
            if (new := self.signed.get(key)) and new.instead == (history.signature_key(own) if own else ""):
                signatures[call.place] = new.signature
            elif own or not view.takes_stand_in:
                continue
            elif key in self.stand_ins or (id(call.part) in bared and call.first and call.current):
                signatures[call.place] = history.STAND_IN
        return gemini_signed.with_signatures(body, signatures)

    def _without(self, part: Part, bared: set[int]) -> Part | None:
        signature = history.real_signature_of(part)
        if not signature or history.signature_key(signature) not in self.unsigned:
            return part
        bare = history.unsigned(part)
        bared.add(id(bare))
        return bare


def _restore(case: Case) -> GeminiChange | None:
    """Put the signatures that the store has on calls that have none, or another one than was refused."""
    known = case.view.known
    signed = {}
    calls = {call.place: call for call in history.calls_of(case.body)}
    for side, parts in history.turns_of(case.body, known.places):
        places = {id(part): place for place, part in parts}
        for part, spot in history.spots_of(part for _, part in parts):
            if (call := calls.get(places[id(part)])) is None or history.is_stand_in(history.signature_of(part)):
                continue
            own = history.signature_of(part)
            instead = history.signature_key(own) if own else ""
            found = made_for(known, side, part, spot)
            if found and history.signature_key(found) != instead:
                signed[case.view.key(call)] = Replacement(instead=instead, signature=found)
    return GeminiChange(anchors=frozenset(signed), signed=signed) if signed else None


def _unsigned(body: Body) -> list[history.Call]:
    """The calls of the current turn that need a signature and have none."""
    return [call for call in history.checked_calls(body) if not history.signature_of(call.part)]


def _stand_in(case: Case) -> GeminiChange | None:
    """Put the documented stand-in on the calls that need a signature and have none."""
    keys = frozenset(case.view.key(call) for call in _unsigned(case.body))
    if not keys or not case.view.takes_stand_in:
        return None
    return GeminiChange(anchors=keys, stand_ins=keys)


def with_stand_ins(body: Body, model: str) -> Body:
    """The body with the documented stand-in on each call that has to be signed and is not: Gemini never made it."""
    if not takes_stand_in(model):
        return body
    return gemini_signed.with_signatures(body, {call.place: history.STAND_IN for call in _unsigned(body)})


def _unsign(case: Case) -> GeminiChange | None:
    """Take all signatures off the history, and put the stand-in where one has to be."""
    known = case.view.known
    signed = list(signed_spots(known, case.body))
    keys = {place: history.signature_key(history.signature_of(part)) for _, place, part, _ in signed}
    if not keys:
        return None
    unsure = frozenset(keys[place] for side, place, part, spot in signed if not is_healthy(known, side, part, spot))
    needed = history.checked_calls(case.body) if case.view.takes_stand_in else []
    bare = [call for call in needed if not history.is_stand_in(history.signature_of(call.part))]
    stand_ins = frozenset(map(case.view.key, bare))
    unsigned = frozenset(keys.values())
    return GeminiChange(anchors=unsure or unsigned, unsigned=unsigned, stand_ins=stand_ins)


_RESTORE = RepairRule("restore", _restore, "Retrying with the signatures put back.")
_UNSIGN = RepairRule("strip", _unsign, REMOVED)
RULES = {
    SignatureFault.CALL_UNSIGNED: (
        _RESTORE,
        RepairRule("stand_in", _stand_in, "Retrying with the documented stand-in for what is missing."),
    ),
    SignatureFault.CALL_CORRUPTED: (_RESTORE, _UNSIGN),
}


class GeminiRepairer:
    """The Gemini API's signatures."""

    rules = RULES

    load = GeminiChange.load
    places = staticmethod(history.places_of)
    restore_lost = staticmethod(gemini_signed.restore_lost)
    capture = staticmethod(gemini_signed.capture)
    forget = staticmethod(gemini_signed.forget)

    def view(self, body: Body, known: Known, settings: schema.Repair) -> GeminiView:
        """A client's request as its repairs see it."""
        return GeminiView(body, known, settings)

    def anchors(self, body: Body, view: GeminiView) -> frozenset[str]:
        """The keys of those pieces of a history that repairs are known for, and that are not known to be in order."""
        known = view.known
        keys = {view.key(call) for call in history.calls_of(body)}
        for side, _, part, spot in signed_spots(known, body):
            key = history.signature_key(history.signature_of(part))
            if known.store.is_anchor(key) and not is_healthy(known, side, part, spot):
                keys.add(key)
        return frozenset(keys)

    def betas(self, body: Body) -> tuple[str, ...]:
        """None: this is no API with betas."""
        return ()
