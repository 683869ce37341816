"""Where in a conversation something stands: digests of all that was spoken before it.

Models and clients repeat themselves, so words identify nothing. A place does: who speaks, and everything that was said
before, as the providers' own check of a prefix sees it. Thinking and signatures are no part of it: clients lose them.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from healing.wire.jsonvalue import canonical, digest

SHORTEST_SIGNATURE = 50
"""Characters of the shortest signature that is taken for a real one."""
_SPACE = b" \t\r\n\v\f"
_SIZE = 16
# Kinds of what is said, so that a text never equals a block that says the same.
_TEXT, _ITEM, _SIDE = b"t", b"i", b"s"
# Words, and one that a mere number is written on to.
_PREFIXES = re.compile(r"^(?:[A-Za-z]+[^A-Za-z0-9])*(?:[A-Za-z]+(?=[0-9]+$))?")
_SHORTEST_ID = 8
_FEWEST_CHARACTERS = 5
_EXACT_INTEGER = 2**53


class Place(NamedTuple):
    """Two digests of the same.

    exact: equal only where all is, but for what changes nothing (`cache_control`, the order of members).
    loose: equal also where a client changed what it means nothing by: white space, `1.0` to `1`, how a text is cut
    into pieces, the system prompt and the tools.
    """

    exact: str
    loose: str

    def with_(self, *more: str) -> "Place":
        """The digests of this and more."""
        return Place(digest(self.exact, *more), digest(self.loose, *more))


class Said:
    """What one side says in its turn, piece by piece. Neighbouring texts are one, however they are cut."""

    def __init__(self) -> None:
        self._exact = hashlib.blake2b(digest_size=_SIZE)
        self._loose = hashlib.blake2b(digest_size=_SIZE)
        self._texts: list[str] = []

    @property
    def run(self) -> str:
        """The text since the last piece that was none."""
        return "".join(self._texts)

    def text(self, text: str) -> None:
        """More text."""
        if text:
            self._texts.append(text)

    def item(self, exact: bytes, loose: bytes | None = None) -> None:
        """A piece that is no text. loose: what identifies it loosely, None if it is left out there."""
        self._end_run()
        _put(self._exact, _ITEM, exact)
        if loose is not None:
            _put(self._loose, _ITEM, loose)

    def aside(self, exact: bytes) -> None:
        """What counts exactly only, and ends no text."""
        _put(self._exact, _SIDE, exact)

    def before_run(self) -> Place:
        """All that was said before the text that is going on."""
        return Place(self._exact.hexdigest(), self._loose.hexdigest())

    def so_far(self) -> Place:
        """All that was said up to here."""
        if not self._texts:
            return self.before_run()
        exact, loose = self._exact.copy(), self._loose.copy()
        _put_run(exact, loose, self.run)
        return Place(exact.hexdigest(), loose.hexdigest())

    def _end_run(self) -> None:
        if self._texts:
            _put_run(self._exact, self._loose, self.run)
            self._texts.clear()


class Side(NamedTuple):
    """The turn of one side: neighbouring messages of the same role.

    first, last: the indices of its messages. place: where it stands. said: what it says.
    """

    is_model: bool
    first: int
    last: int
    place: Place
    said: Place


class Places:
    """The sides of one conversation, in their order, and where the answer to it will stand.

    sides: each with where it stands. end: where the next side will.
    """

    def __init__(self, sides: list[Side], end: Place) -> None:
        self.sides = sides
        self.end = end
        self._of = {index: side for side in sides for index in range(side.first, side.last + 1)}

    def at(self, index: int) -> Side | None:
        """The side to which the message with this index belongs; None where there is none."""
        return self._of.get(index)

    @property
    def models(self) -> Iterator[Side]:
        """The model's sides."""
        return (side for side in self.sides if side.is_model)

    @property
    def last_is_users(self) -> bool:
        """Whether the model has to answer, and does not go on with what it is said to have said."""
        return bool(self.sides) and not self.sides[-1].is_model


class PlacesBuilder:
    """Makes the places of a conversation in one pass."""

    def __init__(self, client: str, *frame: Any) -> None:
        """client: whose conversation it is. frame: what stands before all that is spoken: system prompt and tools."""
        self._place = Place(digest(client, *map(canonical, frame)), digest(client))
        self._sides: list[Side] = []
        self._said = Said()
        self._is_model: bool | None = None
        self._first = self._last = 0

    def message(self, index: int, *, is_model: bool) -> Said:
        """The message with this index begins; what it says is to be put into what is given."""
        if self._is_model is not is_model:
            self._end_side()
            self._said, self._is_model, self._first = Said(), is_model, index
        self._last = index
        return self._said

    def aside(self, index: int, exact: bytes) -> None:
        """The message with this index is of neither side."""
        if self._is_model is None:
            self._place = Place(digest(self._place.exact, exact), self._place.loose)
        else:
            self._last = index
            self._said.aside(exact)

    def places(self) -> Places:
        """The places of all that was said."""
        self._end_side()
        return Places(self._sides, self._place)

    def _end_side(self) -> None:
        if self._is_model is None:
            return
        said = self._said.so_far()
        self._sides.append(Side(self._is_model, self._first, self._last, self._place, said))
        role = "model" if self._is_model else "user"
        self._place = Place(digest(self._place.exact, role, said.exact), digest(self._place.loose, role, said.loose))
        self._is_model = None


def is_unguessable(identifier: str) -> bool:
    """Whether an id can only come from who made it: `toolu_01A09q90qw90…` or `8gk2xq0z`, and not `call_1`."""
    rest = _PREFIXES.sub("", identifier)
    return len(rest) >= _SHORTEST_ID and len(set(rest)) >= _FEWEST_CHARACTERS and any(map(str.isdigit, rest))


def loosened(value: Any) -> Any:
    """A JSON value whose numbers are what clients make of them: `1.0` is `1`, what no double holds is nothing."""
    if isinstance(value, dict):
        return {name: loosened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [loosened(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        return None
    if number - number != 0:
        return None
    return int(number) if number == int(number) and abs(number) <= _EXACT_INTEGER else number


def _put_run(exact: hashlib.blake2b, loose: hashlib.blake2b, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    _put(exact, _TEXT, data)
    if spoken := data.translate(None, _SPACE):
        _put(loose, _TEXT, spoken)


def _put(into: hashlib.blake2b, kind: bytes, data: bytes) -> None:
    into.update(len(data).to_bytes(8) + kind)
    into.update(data)
