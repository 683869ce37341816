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
_FEWEST_CHARACTERS = 4
_EXACT_INTEGER = 2**53


class Place(NamedTuple):
    """Two digests of the same.

    exact: equal only where all is, but for what changes nothing (`cache_control`, the order of members).
    loose: equal also where a client changed what it means nothing by: white space, `1.0` to `1`, how a text is cut
    into pieces, the system prompt and the tools.
    """

    exact: str
    loose: str

    def with_(self, *what: str) -> "Spot":
        """Something that stands here."""
        return Spot(self, what)


class Spot(NamedTuple):
    """What stands somewhere in a turn. before: all that is said there before it. what: what it is, exactly."""

    before: Place
    what: tuple[str, ...]

    @property
    def exact(self) -> str:
        """The digest of it, and exactly of what is before it."""
        return digest(self.before.exact, *self.what)

    @property
    def loose(self) -> str:
        """The digest of it, and loosely of what is before it."""
        return digest(self.before.loose, *self.what)


class Said:
    """What one side says in its turn, piece by piece. Neighbouring texts are one, however they are cut."""

    def __init__(self) -> None:
        self._exact, self._loose = _Digest(), _Digest()

    @property
    def run(self) -> str:
        """The text since the last piece that was none."""
        return "".join(self._exact.texts)

    def text(self, text: str) -> None:
        """More text."""
        if text:
            self._exact.texts.append(text)
            self._loose.texts.append(text)

    def item(self, exact: bytes, loose: bytes | None = None) -> None:
        """A piece that is no text. loose: what identifies it loosely, None if it is left out there."""
        self._exact.end_run()
        self._exact.put(_ITEM, exact)
        if loose is not None:
            self._loose.end_run(_SPACE)
            self._loose.put(_ITEM, loose)

    def aside(self, exact: bytes) -> None:
        """What counts exactly only, and ends no text."""
        self._exact.put(_SIDE, exact)

    def before_run(self) -> Place:
        """All that was said before the text that is going on."""
        return Place(self._exact.hexdigest(), self._loose.hexdigest())

    def all(self) -> Place:
        """All that was said, once nothing more is."""
        self._exact.end_run()
        self._loose.end_run(_SPACE)
        return self.before_run()

    def so_far(self) -> Place:
        """All that was said up to here."""
        if not (self._exact.texts or self._loose.texts):
            return self.before_run()
        exact, loose = self._exact.copy(), self._loose.copy()
        exact.end_run()
        loose.end_run(_SPACE)
        return Place(exact.hexdigest(), loose.hexdigest())


class _Digest:
    """A digest of pieces. texts: those of the text that is going on, which is not in it yet."""

    __slots__ = ("_hash", "_pending", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        # Most turns are a single text, whose digest is asked for once.
        self._pending: list[bytes] = []
        self._hash: hashlib.blake2b | None = None

    def put(self, kind: bytes, data: bytes) -> None:
        """The next piece."""
        self._pending += (kind, len(data).to_bytes(8), data)

    def end_run(self, without: bytes = b"") -> None:
        """The text that was going on is over. without: bytes of it that do not count."""
        if self.texts:
            data = "".join(self.texts).encode("utf-8", "surrogatepass")
            self.texts = []
            if data := data.translate(None, without) if without else data:
                self.put(_TEXT, data)

    def copy(self) -> "_Digest":
        """The same once more, to go on by itself."""
        copied = _Digest()
        copied.texts, copied._hash = self.texts, self._hashed().copy()
        return copied

    def hexdigest(self) -> str:
        """The digest of all that was put in."""
        if self._hash is None:
            return hashlib.blake2b(b"".join(self._pending), digest_size=_SIZE).hexdigest()
        return self._hashed().hexdigest()

    def _hashed(self) -> hashlib.blake2b:
        if self._hash is None:
            self._hash = hashlib.blake2b(digest_size=_SIZE)
        for piece in self._pending:
            self._hash.update(piece)
        self._pending = []
        return self._hash


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
        exactly = (canonical(part) for part in frame if part)
        self._place = Place(digest(client, *exactly), digest(client))
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
        said = self._said.all()
        self._sides.append(Side(self._is_model, self._first, self._last, self._place, said))
        role = "m" if self._is_model else "u"
        self._place = Place(_after(self._place.exact, role, said.exact), _after(self._place.loose, role, said.loose))
        self._is_model = None


def _after(place: str, role: str, said: str) -> str:
    """The digest of a place behind what was said at another one."""
    return hashlib.blake2b(f"{place}{role}{said}".encode(), digest_size=_SIZE).hexdigest()


def is_unguessable(identifier: str) -> bool:
    """Whether an id can only come from who made it: `toolu_01A09q90qw90…` or `8gk2xq0z`, and not `call_1`."""
    rest = _PREFIXES.sub("", identifier)
    if len(rest) < _SHORTEST_ID or len(set(rest)) < _FEWEST_CHARACTERS:
        return False
    # Some servers give the function's name as the id; words have more vowels than chance.
    return any(map(str.isdigit, rest)) or 5 * sum(letter in "aeiouAEIOU" for letter in rest) <= len(rest)


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
