"""The one shape of all repairs."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict

from healing.policy import config
from healing.policy.signatures import Origin, SignatureStore
from healing.wire.refusals import Position, SignatureFault

type Body = dict[str, Any]

REMOVED = "Retrying with all thinking blocks removed."
"""What is told of each repair after which none is left; users know the words from older proxies."""


class Change(BaseModel):
    """What a repair changes, told by what identifies the pieces of a history, so that later requests get the same.

    anchors: keys of pieces of the history that it was made for: it belongs to whatever history has one of them.
    """

    model_config = ConfigDict(frozen=True)

    anchors: frozenset[str]

    @abstractmethod
    def apply(self, body: Body) -> Body:
        """The body with this change, made without touching the given one; applied again it changes nothing more."""

    @classmethod
    def load(cls, value: dict[str, Any]) -> Self:
        """The change that `dump` gave."""
        return cls.model_validate(value)

    def dump(self) -> dict[str, Any]:
        """The change as JSON, equal for equal changes."""
        value = self.model_dump(exclude_defaults=True)
        return {name: sorted(item) if isinstance(item, frozenset) else item for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class Case:
    """A refused request, as a rule sees it.

    body: what was refused, without what this exchange has tried in vain. position: the block that upstream named.
    now: seconds since 1970.
    """

    body: Body
    origin: Origin
    store: SignatureStore
    settings: config.Repair
    fault: SignatureFault
    position: Position | None
    now: float


@dataclass(frozen=True, slots=True)
class Rule:
    """A repair.

    make: the change for a case, None where the repair can do nothing for it. says: what it does, for people.
    """

    name: str
    make: Callable[[Case], Change | None]
    says: str


class Repairer(Protocol):
    """What a dialect knows of signatures: where they are, how they are kept, and how they are repaired."""

    @property
    def rules(self) -> Mapping[SignatureFault, Sequence[Rule]]:
        """For each fault the repairs, in the order in which they are tried."""

    def load(self, value: dict[str, Any]) -> Change:
        """A kept change."""

    def anchors(self, body: Body) -> frozenset[str]:
        """What identifies the pieces of a history."""

    def betas(self, body: Body) -> tuple[str, ...]:
        """The values of `anthropic-beta` that the body needs."""

    def may_end_unsigned(self, body: Body, model: str) -> bool:
        """Whether the answer to this may end for a missing signature, instead of an error."""

    def restore_lost(self, body: Body, store: SignatureStore, origin: Origin, now: float) -> Body:
        """The body with the signatures that the client lost, each on exactly what it was made for."""

    def capture(
        self,
        store: SignatureStore,
        origin: Origin,
        session: str,
        request: Body,
        content: list[dict[str, Any]],
        now: float,
    ) -> None:
        """Keep the signed pieces of an answer to this request, as the client sent it."""

    def forget(
        self,
        store: SignatureStore,
        origin: Origin,
        body: Body,
        fault: SignatureFault,
        position: Position | None,
        now: float,
    ) -> None:
        """Upstream rejected a piece of this body: what the store has of it is no good."""
