"""The repairs of one exchange: what its conversation has had so far, what this refusal asks for, what is kept of it."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing.anthropic_repairs import AnthropicRepairer
from antigravity_healing.policy.signing.by_place import Known
from antigravity_healing.policy.signing.gemini_repairs import GeminiRepairer
from antigravity_healing.policy.signing.rules import Body, Case, Change, Repairer, RepairRule, View
from antigravity_healing.policy.signing.store import KeptRepair, Origin, SignatureStore, conversation_key
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.errors.signature_refusals import Position, SignatureFault, refuses_binding
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json.span import respell
from antigravity_healing.wire.requests.places import Places

MAX_REPAIRS = 3
REPAIRERS: dict[str, Repairer] = {Anthropic.name: AnthropicRepairer(), Gemini.name: GeminiRepairer()}
"""By the names of the dialects that have signatures; of no other is anything kept or repaired."""
_UNRESTORED = RepairRule("unrestored", lambda _: None, "Retrying without the signatures that were put back.")
# What is written down at the same moment stays in its order.
_TICK_S = 1e-6


class Prepared(NamedTuple):
    """What an attempt sends.

    betas: flags that the dialect's header for them has to have. repaired: names of what was changed.
    value: what the body says, None if that is what was asked.
    target: its path and query, "" where they are what was asked. headers: more of them.
    unflagged: flags that the dialect's header for them must not have.
    """

    body: bytes
    betas: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    value: Any = None
    target: str = ""
    headers: Headers = ()
    unflagged: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tried:
    """A repair of this exchange.

    kept: the key under which the conversation has it already, "" for a new one; made_at: since when.
    """

    name: str
    fault: SignatureFault | None
    position: Position | None
    change: Change[Any]
    kept: str = ""
    made_at: float = 0.0


@dataclass(slots=True)
class Repairs:
    """Repairs one exchange's request; the client's own body is never changed, each attempt's is made from it anew.

    text, value: the body as the client sent it, and what it says; a value of None can't be repaired.
    session: what the conversation is called in the store's notes. translated: whether it is the border's to remember.
    count: how many repairs there were. sent: what the last attempt asked.
    """

    dialect: str
    text: bytes
    value: Any
    model: str
    owner: Owner
    session: str
    store: SignatureStore
    settings: schema.Repair
    translated: bool = False
    count: int = 0
    _changes: list[_Tried] = field(default_factory=list)
    _used: set[str] = field(default_factory=set)
    _looked: bool = False
    _outdated: list[str] = field(default_factory=list)
    sent: Body = field(default_factory=dict)
    _restored: tuple[str, ...] = ()
    _places: Places = field(init=False)

    def __post_init__(self) -> None:
        self._places = self._repairer.places(self.value, self.owner.client)

    @property
    def _repairer(self) -> Repairer:
        return REPAIRERS[self.dialect]

    def prepare(self, account: Account, now: float) -> Prepared:
        """The body for an attempt on this account: with what the client lost, and what was repaired before."""
        if not isinstance(self.value, dict):
            return Prepared(self.text)
        try:
            body = self.sent = self._body(self._view(account, now))
            names = (*self._restored, *(tried.name for tried in self._changes))
            return Prepared(respell(self.text, self.value, body), self._repairer.betas(body), names, body)
        except (ValueError, RecursionError):
            # What is no JSON in UTF-8 is upstream's to refuse.
            return Prepared(self.text)

    def after(self, account: Account, failure: Failure, text: str, now: float) -> RepairRule | None:
        """The repair with which the next attempt on the same account is made, None where nothing helps.

        text: what the body of upstream's error says.
        """
        fault, position = self._fault(failure, text)
        if fault is None or self.count >= MAX_REPAIRS or not isinstance(self.value, dict):
            return None
        view = self._view(account, now)
        restored = self._restored_body(view) if self._restored else None
        self._repairer.forget(view.known, self.sent, fault, position)
        case = Case(self._body(view), view, fault, position)
        # A gateway may pass on what another dialect's API says: for that there is nothing here.
        for rule in self._repairer.rules.get(fault, ()):
            if rule.name in self._used:
                continue
            change = rule.make(case)
            if change is not None and change.apply(case.body, view) != case.body:
                self._used.add(rule.name)
                self._changes.append(_Tried(rule.name, fault, position, change))
                self.count += 1
                return rule
        if restored is None or self._restored_body(view) == restored:
            return None
        # What was put back was no good, and is forgotten now.
        self.count += 1
        return _UNRESTORED

    def served(self, now: float) -> None:
        """The request was accepted: what it took belongs to the conversation from now on."""
        before: _Tried | None = None
        for number, tried in enumerate(list(self._changes)):
            if not tried.kept:
                tried.made_at = now + number * _TICK_S
                if before is not None and before.name == tried.name:
                    # One repair that grows, and not one more with each turn.
                    tried.change, tried.made_at = before.change.joined(tried.change), before.made_at
                    self._outdated.append(before.kept)
                    self._changes.remove(before)
                repair = self._kept(tried, now)
                self.store.keep_repair(repair)
                tried.kept = repair.key
            before = tried
        kept = {tried.kept for tried in self._changes}
        for key in self._outdated:
            if key not in kept:
                self.store.forget_repair(key, now)
        self._outdated.clear()

    def _kept(self, tried: _Tried, now: float) -> KeptRepair:
        change = tried.change
        return KeptRepair(self.dialect, tried.name, change.dump(), change.anchors, tried.made_at, now)

    def capture(self, account: Account, content: list[dict[str, Any]], now: float) -> None:
        """Keep what an answer has signed."""
        if not content or not isinstance(self.value, dict) or self.translated:
            return
        known = self._view(account, now).known
        if minted := self._repairer.capture(known, content):
            key = conversation_key(self.owner.client, self.session)
            self.store.note(key, known.origin, minted, now)

    def _view(self, account: Account, now: float) -> View:
        """The client's request, for an attempt on this account."""
        origin = Origin(account.upstream.url, self.model, account.name)
        known = Known(self.store, origin, self.owner, self._places, now)
        return self._repairer.view(self.value, known, self.settings)

    def ask(self, text: bytes, value: Any) -> None:
        """What is asked from now on."""
        if value is not self.value:
            self.text, self.value = text, value
            self._places = self._repairer.places(value, self.owner.client)

    def _body(self, view: View) -> Body:
        """The client's body with what it lost and with all changes."""
        body = self._restored_body(view)
        self._restored = ("restore_lost",) if body is not self.value else ()
        if not self._looked:
            self._looked = True
            return self._look_up(body, view)
        for tried in self._changes:
            body = tried.change.apply(body, view)
        return body

    def _restored_body(self, view: View) -> Body:
        """The client's body with what it lost."""
        body: Body = self.value if self.translated else self._repairer.restore_lost(self.value, view.known)
        return body

    def _look_up(self, body: Body, view: View) -> Body:
        """Find the repairs that the conversation has had, and apply them; one may bring to light what another is of."""
        known: set[str] = set()
        now = view.known.now
        while self.store.has_repairs(now):
            found = self.store.repairs_for(self.dialect, self._repairer.anchors(body, view), now)
            new = [(key, kept) for key, kept in found if key not in known]
            if not new:
                break
            for key, kept in new:
                known.add(key)
                change = self._repairer.load(kept.change)
                self._changes.append(_Tried(kept.name, None, None, change, key, kept.made_at))
                body = change.apply(body, view)
        return body

    def _fault(self, failure: Failure, text: str) -> tuple[SignatureFault | None, Position | None]:
        """What is to be repaired. What was tried for the same fault in vain is given up first."""
        last = self._changes[-1] if self._changes and not self._changes[-1].kept else None
        if failure.kind is FailureClass.SIGNATURE:
            if last is not None and last.fault is failure.fault:
                self._changes.pop()
            return failure.fault, failure.position
        if failure.kind is not FailureClass.CALLER:
            return None, None
        if last is not None:
            # Refused for another reason than before: the repair itself does not suit this upstream.
            self._changes.pop()
            return last.fault, last.position
        if self._repairer.betas(self.sent) and refuses_binding(text):
            return self._without_kept_binding(), None
        return None, None

    def _without_kept_binding(self) -> SignatureFault | None:
        """Another upstream, or another model, that does not know the control: the blocks have to go after all."""
        binding = [tried for tried in self._changes if tried.name == "drop_block"]
        self._changes = [tried for tried in self._changes if tried.name != "drop_block"]
        self._outdated += [tried.kept for tried in binding if tried.kept]
        self._used.add("drop_block")
        return SignatureFault.PREFIX if binding else None
