"""What the store knows of one conversation, found by where it stands."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.signing.store import Address, Origin, SignatureStore
from antigravity_healing.wire.json.value import digest
from antigravity_healing.wire.requests.places import Place, Places, Side, Spot, is_unguessable

TURN = "turn"
"""The spot of a whole turn: what it says, or the id of one of its calls, and this."""
_WORTH_READING_AT_ONCE = 8
MOST_KEPT = 256
"""Signed pieces of one turn: none has so many."""


@dataclass(slots=True)
class Known:
    """The store, as one request asks it.

    origin: who is asked, and so whose signatures are of use. places: those of the request. now: seconds since 1970.
    """

    store: SignatureStore
    origin: Origin
    owner: Owner
    places: Places
    now: float
    _rows: dict[str, dict[str, str]] = field(default_factory=dict)

    def key(self, index: int, *what: str) -> str:
        """What identifies something in the message with this index, in this conversation and in no other."""
        side = self.places.at(index)
        stands = (side.place.exact, str(index - side.first)) if side is not None else ("nowhere", str(index))
        return digest("here", self.owner.client, self.owner.session, *stands, *what)

    def look_up(self, sides: Iterable[Side], ids: Iterable[str] = ()) -> None:
        """Read at once what will be asked for of these turns one by one, and of these ids."""
        if not self.store.entries:
            return
        sides = list(sides)
        if len(sides) < _WORTH_READING_AT_ONCE:
            return
        self._read(row for side in sides for row in self._exact_rows(side.place))
        strange = [side for side in sides if not any(map(self._rows.get, self._exact_rows(side.place)))]
        self._read(row for side in strange for row in self._loose_rows(side.place))
        if strange:
            self._read(row for each in ids for row, _ in self._of_id(each, ""))

    def knows_nothing_of(self, side: Side) -> bool:
        """Whether nothing is known of a turn by where it stands; False where `look_up` has not read that."""
        rows = [*self._exact_rows(side.place), *self._loose_rows(side.place)]
        return all(row in self._rows and not self._rows[row] for row in rows)

    def find(self, place: Place, spot: Spot) -> Any:
        """What is kept for this spot of the turn at this place; None if nothing is known."""
        return self._find(self._addresses(place, spot))

    def find_exactly(self, place: Place, spot: Spot) -> Any:
        """The same, but only where all that was said before is exactly the same."""
        return self._find(self._exact_addresses(place, spot))

    def find_by_id(self, identifier: str, spot: str) -> Any:
        """What is kept for an id, if nobody can guess it; None if nothing is known."""
        return self._find(self._of_id(identifier, spot))

    def keep(
        self,
        value: Any,
        place: Place,
        spots: Iterable[tuple[Spot, int | None]],
        ids: Iterable[tuple[str, str, int | None]] = (),
    ) -> None:
        """Keep a thing for spots of the turn at this place, and for ids, each with its spot there.

        A spot gets the thing, or one item of the list that it is. Only so many are kept.
        """
        spots, ids = islice(spots, MOST_KEPT), islice(ids, MOST_KEPT)
        addresses = [(address, item) for spot, item in spots for address in self._addresses(place, spot)]
        addresses += [(address, item) for each, spot, item in ids for address in self._of_id(each, spot)]
        if addresses:
            self.store.keep(addresses, value, self.now)
            self._rows.clear()

    def forget(self, place: Place, spots: Iterable[Spot], ids: Iterable[tuple[str, str]] = ()) -> None:
        """What is kept for these is no good."""
        addresses = [address for spot in spots for address in self._addresses(place, spot)]
        addresses += [address for each in ids for address in self._of_id(*each)]
        self.store.forget(addresses, self.now)
        self._rows.clear()

    def _read(self, rows: Iterable[str]) -> None:
        self._rows |= self.store.rows([row for row in dict.fromkeys(rows) if row not in self._rows], self.now)

    def _find(self, addresses: Iterable[Address]) -> Any:
        if not self.store.entries:
            return None
        for row, spot in addresses:
            if (spots := self._rows.get(row)) is None:
                spots = self._rows[row] = self.store.spots(row, self.now)
            if (name := spots.get(spot)) is not None:
                return self.store.thing(name, self.now)
        return None

    def _addresses(self, place: Place, spot: Spot) -> Iterator[Address]:
        """From where nobody else can be to where all stand who were told apart by nothing that means anything."""
        for scope in self._scopes:
            yield Address(self._exact_row(scope, place), spot.exact)
            yield Address(self._loose_row(scope, place), spot.loose)

    def _exact_addresses(self, place: Place, spot: Spot) -> Iterator[Address]:
        return (Address(row, spot.exact) for row in self._exact_rows(place))

    def _exact_rows(self, place: Place) -> list[str]:
        return [self._exact_row(scope, place) for scope in self._scopes]

    def _loose_rows(self, place: Place) -> list[str]:
        return [self._loose_row(scope, place) for scope in self._scopes]

    @property
    def _scopes(self) -> tuple[str, ...]:
        """Among whose conversations is looked, as sessions: in the own one first; "" is any."""
        return (self.owner.session, "") if self.owner.session else ("",)

    def _exact_row(self, scope: str, place: Place) -> str:
        return self.origin.row("exact", scope, place.exact)

    def _loose_row(self, scope: str, place: Place) -> str:
        return self.origin.row("loose", scope, place.loose)

    def _of_id(self, identifier: str, spot: str) -> list[Address]:
        return [Address(self.origin.row("id", identifier), spot)] if is_unguessable(identifier) else []
