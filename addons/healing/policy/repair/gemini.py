"""The repairs of Gemini conversations: what each changes, and which answers which refusal."""

from pydantic import Field

from healing.policy.model_names import takes_stand_in
from healing.policy.repair import gemini_signed
from healing.policy.repair.rules import REMOVED, Case, Change, Rule
from healing.wire import gemini_history as history
from healing.wire.gemini_history import Body, Part, Place
from healing.wire.refusals import SignatureFault


class GeminiChange(Change):
    """A repair of a Gemini conversation.

    anchors: keys of calls and of signatures.
    unsigned: keys of the signatures that are taken off.
    signed: by a call's key, the signature that it gets.
    stand_ins: keys of the calls that get the documented stand-in.
    """

    unsigned: frozenset[str] = frozenset()
    signed: dict[str, str] = Field(default_factory=dict)
    stand_ins: frozenset[str] = frozenset()

    def apply(self, body: Body) -> Body:
        """The body with this change; applied again it changes nothing more."""
        if self.unsigned:
            body = history.with_parts(body, lambda _, part: self._without(part))
        signatures: dict[Place, str] = {}
        for call in history.calls_of(body) if self.signed or self.stand_ins else ():
            if call.key in self.signed:
                signatures[call.place] = self.signed[call.key]
            elif call.key in self.stand_ins and not history.signature_of(call.part):
                signatures[call.place] = history.STAND_IN
        return gemini_signed.with_signatures(body, signatures)

    def _without(self, part: Part) -> Part | None:
        signature = history.signature_of(part)
        if not signature or history.signature_key(signature) not in self.unsigned:
            return part
        return history.unsigned(part)


def _restore(case: Case) -> GeminiChange | None:
    """Put the signatures that the store has on calls that have none, or another one than was refused."""
    signed = {}
    for call in history.calls_of(case.body):
        found = gemini_signed.call_signature(call, case.store, case.origin, case.now)
        own = history.signature_of(call.part)
        if found is not None and (not own or history.signature_key(found) != history.signature_key(own)):
            signed[call.key] = found
    return GeminiChange(anchors=frozenset(signed), signed=signed) if signed else None


def _unsigned(body: Body) -> list[history.Call]:
    """The calls of the current turn that need a signature and have none."""
    return [call for call in history.checked_calls(body) if not history.signature_of(call.part)]


def _stand_in(case: Case) -> GeminiChange | None:
    """Put the documented stand-in on the calls that need a signature and have none."""
    keys = frozenset(call.key for call in _unsigned(case.body))
    if not keys or not takes_stand_in(case.origin.model):
        return None
    return GeminiChange(anchors=keys, stand_ins=keys)


def with_stand_ins(body: Body, model: str) -> Body:
    """The body with the documented stand-in on each call that has to be signed and is not: Gemini never made it."""
    if not takes_stand_in(model):
        return body
    return gemini_signed.with_signatures(body, {call.place: history.STAND_IN for call in _unsigned(body)})


def _unsign(case: Case) -> GeminiChange | None:
    """Take all signatures off the history, and put the stand-in where one has to be."""
    unsigned = frozenset(
        history.signature_key(signature)
        for _, part in history.model_parts(case.body)
        if (signature := history.signature_of(part))
    )
    if not unsigned:
        return None
    needed = history.checked_calls(case.body) if takes_stand_in(case.origin.model) else []
    stand_ins = frozenset(call.key for call in needed)
    return GeminiChange(anchors=unsigned | stand_ins, unsigned=unsigned, stand_ins=stand_ins)


_RESTORE = Rule("restore", _restore, "Retrying with the signatures put back.")
_UNSIGN = Rule("strip", _unsign, REMOVED)
RULES = {
    SignatureFault.CALL_UNSIGNED: (
        _RESTORE,
        Rule("stand_in", _stand_in, "Retrying with the documented stand-in for what is missing."),
    ),
    SignatureFault.CALL_CORRUPTED: (_RESTORE, _UNSIGN),
}


class GeminiRepairer:
    """The Gemini API's signatures."""

    rules = RULES

    load = GeminiChange.load
    restore_lost = staticmethod(gemini_signed.restore_lost)
    capture = staticmethod(gemini_signed.capture)
    forget = staticmethod(gemini_signed.forget)

    def anchors(self, body: Body) -> frozenset[str]:
        """What identifies the pieces of a history."""
        signatures = (history.signature_of(part) for _, part in history.model_parts(body))
        keys = {history.signature_key(signature) for signature in signatures if signature}
        return frozenset(keys | {call.key for call in history.calls_of(body)})

    def may_end_unsigned(self, body: Body, model: str) -> bool:
        """Whether a call of the current turn lacks the signature that it needs: `MISSING_THOUGHT_SIGNATURE`."""
        return takes_stand_in(model) and bool(_unsigned(body))

    def betas(self, body: Body) -> tuple[str, ...]:
        """None: this is no API with betas."""
        return ()
