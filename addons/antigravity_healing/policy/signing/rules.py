"""The one shape of all repairs."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict

from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing.by_place import Known
from antigravity_healing.wire.errors.signature_refusals import Position, SignatureFault
from antigravity_healing.wire.requests.places import Places

type Body = dict[str, Any]

REMOVED = "Retrying with all thinking blocks removed."
"""What is told of each repair after which none is left; users know the words from older proxies."""


@dataclass(frozen=True)
class View:
    """A request of a conversation, as its repairs see it.

    body: as the client sent it; repairs change what is said in its messages, and never which messages there are.
    known: what the store knows of it. settings: of repairs.
    """

    body: Body
    known: Known
    settings: schema.Repair

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.known.origin.model


class Change[SomeView: View](BaseModel):
    """What a repair changes, told by what identifies the pieces of a history, so that later requests get the same.

    anchors: keys of pieces of the history that it was made for: it belongs to whatever history has one of them.
    """

    model_config = ConfigDict(frozen=True)

    anchors: frozenset[str]

    @abstractmethod
    def apply(self, body: Body, view: SomeView) -> Body:
        """The body with this change, made without touching the given one; applied again it changes nothing more.

        view: of the client's request that the body was made from.
        """

    def joined(self, later: Self) -> Self:
        """This change and a later one of the same rule as one: what either names, the later one's word counting."""
        members: dict[str, Any] = {}
        for name in type(self).model_fields:
            mine, its = getattr(self, name), getattr(later, name)
            members[name] = mine + its if isinstance(mine, tuple) else mine | its
        return self.model_copy(update=members)

    @classmethod
    def load(cls, value: dict[str, Any]) -> Self:
        """The change that `dump` gave."""
        return cls.model_validate(value)

    def dump(self) -> dict[str, Any]:
        """The change as JSON, equal for equal changes."""
        value = self.model_dump(exclude_defaults=True)
        return {name: sorted(item) if isinstance(item, frozenset) else item for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class Case[SomeView: View]:
    """A refused request, as a rule sees it.

    body: what was refused, without what this exchange has tried in vain. view: of the client's request.
    position: the block that upstream named.
    """

    body: Body
    view: SomeView
    fault: SignatureFault
    position: Position | None


@dataclass(frozen=True, slots=True)
class RepairRule:
    """A repair.

    make: the change for a case, None where the repair can do nothing for it. says: what it does, for people.
    """

    name: str
    make: Callable[[Case[Any]], Change[Any] | None]
    says: str


class Repairer(Protocol):
    """What a dialect knows of signatures: where they are, how they are kept, and how they are repaired."""

    @property
    def rules(self) -> Mapping[SignatureFault, Sequence[RepairRule]]:
        """For each fault the repairs, in the order in which they are tried."""

    def places(self, body: Body, client: str) -> Places:
        """Where each side's turn stands."""

    def view(self, body: Body, known: Known, settings: schema.Repair) -> View:
        """A client's request as its repairs see it."""

    def load(self, value: dict[str, Any]) -> Change[Any]:
        """A kept change."""

    def anchors(self, body: Body, view: Any) -> frozenset[str]:
        """The keys of those pieces of a history that repairs are known for, and that are not known to be in order."""

    def betas(self, body: Body) -> tuple[str, ...]:
        """The flags that the body needs in the header that the dialect has for them."""

    def restore_lost(self, body: Body, known: Known) -> Body:
        """The body with the signatures that the client lost, each on exactly what it was made for."""

    def capture(self, known: Known, content: list[dict[str, Any]]) -> list[str]:
        """Keep the signed pieces of an answer. Gives what was kept, in words."""

    def forget(self, known: Known, body: Body, fault: SignatureFault, position: Position | None) -> None:
        """Upstream rejected a piece of this body: what the store has of it is no good."""
