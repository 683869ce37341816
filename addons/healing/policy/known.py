"""What the store knows of one conversation, found by where it stands."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from healing.policy.signatures import Address, Origin, SignatureStore
from healing.wire.jsonvalue import digest
from healing.wire.places import Place, Places, Spot, is_unguessable


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose conversation it is.

    client: a digest of the client's key or credential. session: what the client itself calls its conversation, "" where
    it does not: conversations that began alike are told apart by it.
    """

    client: str = ""
    session: str = ""


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

        A spot gets the thing, or one item of the list that it is.
        """
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

    def _find(self, addresses: Iterable[Address]) -> Any:
        for row, spot in addresses:
            if (spots := self._rows.get(row)) is None:
                spots = self._rows[row] = self.store.spots(row, self.now)
            if (name := spots.get(spot)) is not None:
                return self.store.thing(name, self.now)
        return None

    def _addresses(self, place: Place, spot: Spot) -> Iterator[Address]:
        """From where nobody else can be to where all stand who were told apart by nothing that means anything."""
        exact, session = spot.exact, self.owner.session
        if session:
            yield self._in_session(place.exact, exact)
            yield self._in_session(place.loose, spot.loose)
        yield Address(self.origin.row("exact", place.exact), exact)
        yield Address(self.origin.row("loose", place.loose), spot.loose)

    def _exact_addresses(self, place: Place, spot: Spot) -> Iterator[Address]:
        exact = spot.exact
        if self.owner.session:
            yield self._in_session(place.exact, exact)
        yield Address(self.origin.row("exact", place.exact), exact)

    def _in_session(self, place: str, spot: str) -> Address:
        return Address(self.origin.row("session", self.owner.session, place), spot)

    def _of_id(self, identifier: str, spot: str) -> list[Address]:
        return [Address(self.origin.row("id", identifier), spot)] if is_unguessable(identifier) else []
