"""The repairs of one exchange: what its conversation has had so far, what this refusal asks for, what is kept of it."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from healing.policy import config
from healing.policy.accounts import Account
from healing.policy.failures import Failure, FailureClass
from healing.policy.repair.anthropic import AnthropicRepairer
from healing.policy.repair.gemini import GeminiRepairer
from healing.policy.repair.rules import Body, Case, Change, Repairer, Rule
from healing.policy.signatures import KeptRepair, Origin, SignatureStore
from healing.wire.errors import parse_error
from healing.wire.jsonspan import respell
from healing.wire.refusals import Position, SignatureFault, refuses_binding

MAX_REPAIRS = 3
REPAIRERS: dict[str, Repairer] = {"anthropic": AnthropicRepairer(), "gemini": GeminiRepairer()}
# What is written down at the same moment stays in its order.
_TICK_S = 1e-6


class Prepared(NamedTuple):
    """What an attempt sends. betas: values that `anthropic-beta` has to have. repaired: names of what was changed."""

    body: bytes
    betas: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tried:
    """A repair of this exchange. kept: the key under which the conversation has it already, "" for a new one."""

    name: str
    fault: SignatureFault | None
    position: Position | None
    change: Change
    kept: str = ""


@dataclass(slots=True)
class Repairs:
    """Repairs one exchange's request; the client's own body is never changed, each attempt's is made from it anew.

    text, value: the body as the client sent it, and what it says; a value of None can't be repaired.
    count: how many repairs there were.
    """

    dialect: str
    text: bytes
    value: Any
    model: str
    session: str
    store: SignatureStore
    settings: config.Repair
    count: int = 0
    _changes: list[_Tried] = field(default_factory=list)
    _used: set[str] = field(default_factory=set)
    _looked: bool = False
    _outdated: list[str] = field(default_factory=list)
    _sent: Body = field(default_factory=dict)
    _restored: tuple[str, ...] = ()

    @property
    def _repairer(self) -> Repairer:
        return REPAIRERS[self.dialect]

    @property
    def may_end_unsigned(self) -> bool:
        """Whether an answer with a good status may still turn out to be a refusal that can be repaired."""
        return self.count < MAX_REPAIRS and self._repairer.may_end_unsigned(self._sent, self.model)

    def prepare(self, account: Account, now: float) -> Prepared:
        """The body for an attempt on this account: with what the client lost, and what was repaired before."""
        if not isinstance(self.value, dict):
            return Prepared(self.text)
        try:
            body = self._sent = self._body(self._origin(account), now)
            names = (*self._restored, *(tried.name for tried in self._changes))
            return Prepared(respell(self.text, self.value, body), self._repairer.betas(body), names)
        except (ValueError, RecursionError):
            # What is no JSON in UTF-8 is upstream's to refuse.
            return Prepared(self.text)

    def after(self, account: Account, failure: Failure, answer: bytes, now: float) -> Rule | None:
        """The repair with which the next attempt on the same account is made, None where nothing helps."""
        fault, position = self._fault(failure, answer)
        if fault is None or self.count >= MAX_REPAIRS or not isinstance(self.value, dict):
            return None
        origin = self._origin(account)
        self._repairer.forget(self.store, origin, self._sent, fault, position, now)
        case = Case(self._body(origin, now), origin, self.store, self.settings, fault, position, now)
        # A gateway may pass on what the other dialect's API says: for that there is nothing here.
        for rule in self._repairer.rules.get(fault, ()):
            if rule.name in self._used:
                continue
            change = rule.make(case)
            if change is not None and change.apply(case.body) != case.body:
                self._used.add(rule.name)
                self._changes.append(_Tried(rule.name, fault, position, change))
                self.count += 1
                return rule
        return None

    def served(self, now: float) -> None:
        """The request was accepted: what it took belongs to the conversation from now on."""
        for number, tried in enumerate(self._changes):
            if not tried.kept:
                at = now + number * _TICK_S
                repair = KeptRepair(self.dialect, tried.name, tried.change.dump(), tried.change.anchors, at, at)
                self.store.keep_repair(repair)
                tried.kept = repair.key
        for key in self._outdated:
            self.store.forget_repair(key, now)
        self._outdated.clear()

    def capture(self, account: Account, content: list[dict[str, Any]], now: float) -> None:
        """Keep what an answer has signed."""
        if content and isinstance(self.value, dict):
            with self.store.writing():
                self._repairer.capture(self.store, self._origin(account), self.session, self.value, content, now)

    def _origin(self, account: Account) -> Origin:
        return Origin(account.upstream.url, self.model, account.name)

    def _body(self, origin: Origin, now: float) -> Body:
        """The client's body with what it lost and with all changes."""
        body: Body = self._repairer.restore_lost(self.value, self.store, origin, now)
        self._restored = ("restore_lost",) if body is not self.value else ()
        if not self._looked:
            self._looked = True
            return self._look_up(body, now)
        for tried in self._changes:
            body = tried.change.apply(body)
        return body

    def _look_up(self, body: Body, now: float) -> Body:
        """Find the repairs that the conversation has had, and apply them; one may bring to light what another is of."""
        known: set[str] = set()
        while self.store.has_repairs(now):
            found = self.store.repairs_for(self.dialect, self._repairer.anchors(body), now)
            new = [(key, kept) for key, kept in found if key not in known]
            if not new:
                break
            for key, kept in new:
                known.add(key)
                change = self._repairer.load(kept.change)
                self._changes.append(_Tried(kept.name, None, None, change, key))
                body = change.apply(body)
        return body

    def _fault(self, failure: Failure, answer: bytes) -> tuple[SignatureFault | None, Position | None]:
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
        if self._repairer.betas(self._sent) and refuses_binding(parse_error(answer).text):
            return self._without_kept_binding(), None
        return None, None

    def _without_kept_binding(self) -> SignatureFault | None:
        """Another upstream, or another model, that does not know the control: the blocks have to go after all."""
        binding = [tried for tried in self._changes if tried.name == "drop_block"]
        self._changes = [tried for tried in self._changes if tried.name != "drop_block"]
        self._outdated += [tried.kept for tried in binding if tried.kept]
        self._used.add("drop_block")
        return SignatureFault.PREFIX if binding else None
