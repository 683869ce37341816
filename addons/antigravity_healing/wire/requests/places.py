"""Where in a conversation something stands: digests of all that was spoken before it.

Models and clients repeat themselves, so words identify nothing. A place does: who speaks, and everything that was said
before, as the providers' own check of a prefix sees it. Thinking and signatures are no part of it: clients lose them.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import islice
from typing import Any, NamedTuple

from antigravity_healing.wire.json.value import canonical, digest

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
_INEXACT = re.compile(rb"\d[.eE]|\d{16}|-0")
_LONGEST_LOOSE = 64 * 1024


class Place:
    """Two digests of the same.

    exact: equal only where all is, but for what changes nothing (`cache_control`, the order of members).
    loose: equal also where a client changed what it means nothing by: white space, `1.0` to `1`, how a text is cut
    into pieces, what is neither text nor call, the system prompt and the tools. It is made when it is asked for.
    """

    __slots__ = ("_loose", "exact")

    def __init__(self, exact: str, loose: str | Callable[[], str]) -> None:
        self.exact = exact
        self._loose = loose

    @property
    def loose(self) -> str:
        """The loose digest."""
        if not isinstance(self._loose, str):
            self._loose = self._loose()
        return self._loose

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and other.exact == self.exact

    def __hash__(self) -> int:
        return hash(self.exact)

    def __repr__(self) -> str:
        return f"Place({self.exact!r}, {self.loose!r})"

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


class _Digest:
    """The digest of what is said, piece by piece; what it takes to know it so far does not grow with that."""

    __slots__ = ("_run", "_run_size", "_whole")

    def __init__(self) -> None:
        self._whole = hashlib.blake2b(digest_size=_SIZE)
        self._run = hashlib.blake2b(digest_size=_SIZE)
        self._run_size = 0

    def text(self, data: bytes) -> None:
        """More of the text that is going on."""
        self._run.update(data)
        self._run_size += len(data)

    def item(self, kind: bytes, data: bytes) -> None:
        """A piece that is no text."""
        self._whole.update(kind + len(data).to_bytes(8))
        self._whole.update(data)

    def end_run(self) -> None:
        """The text that is going on ends here."""
        if self._run_size:
            self._whole.update(_TEXT + self._run.digest())
            self._run = hashlib.blake2b(digest_size=_SIZE)
            self._run_size = 0

    @property
    def run(self) -> str:
        """Of the text that is going on."""
        return self._run.hexdigest()

    @property
    def before_run(self) -> str:
        """Of all before that."""
        return self._whole.hexdigest()

    @property
    def so_far(self) -> str:
        """Of all."""
        if not self._run_size:
            return self._whole.hexdigest()
        whole = self._whole.copy()
        whole.update(_TEXT + self._run.digest())
        return whole.hexdigest()


class _LooseDigests:
    """The loose digests of what is said, made when they are asked for: best in their order.

    pieces: texts, and bytes that stand for what is none.
    """

    __slots__ = ("_at", "_digest", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str | bytes] = []
        self._digest = _Digest()
        self._at = 0

    def of_first(self, count: int) -> str:
        """The digest of so many pieces from the first."""
        if count < self._at:
            self._digest, self._at = _Digest(), 0
        for piece in islice(self.pieces, self._at, count):
            if isinstance(piece, str):
                self._digest.text(_encoded(piece).translate(None, _SPACE))
            else:
                self._digest.end_run()
                self._digest.item(_ITEM, piece)
        self._at = count
        return self._digest.so_far


class Said:
    """What one side says in its turn, piece by piece. Neighbouring texts are one, however they are cut."""

    def __init__(self) -> None:
        self._exact = _Digest()
        self._loose = _LooseDigests()
        self._run_from = 0

    @property
    def run(self) -> str:
        """A digest of the text since the last piece that was none."""
        return self._exact.run

    def text(self, text: str) -> None:
        """More text."""
        if text:
            self._exact.text(_encoded(text))
            self._loose.pieces.append(text)

    def item(self, exact: bytes, loose: bytes | None = None) -> None:
        """A piece that is no text. loose: what identifies it loosely, None if it is left out there."""
        self._exact.end_run()
        self._exact.item(_ITEM, exact)
        if loose is not None:
            self._loose.pieces.append(loose)
        self._run_from = len(self._loose.pieces)

    def aside(self, exact: bytes) -> None:
        """What counts exactly only, and ends no text."""
        self._exact.item(_SIDE, exact)

    def before_run(self) -> Place:
        """All that was said before the text that is going on."""
        return Place(self._exact.before_run, partial(self._loose.of_first, self._run_from))

    def so_far(self) -> Place:
        """All that was said up to here."""
        return Place(self._exact.so_far, partial(self._loose.of_first, len(self._loose.pieces)))


class Side(NamedTuple):
    """The turn of one side: neighbouring messages of the same role.

    first, last: the indices of its messages. place: where it stands. said: what it says.
    parted: whether messages of neither side stand among its own.
    """

    is_model: bool
    first: int
    last: int
    place: Place
    said: Place
    parted: bool = False


class Places:
    """The sides of one conversation, in their order, and where the answer to it will stand.

    make: gives the sides, each with where it stands, and the place behind the last. It is asked when the first place
    is, as most requests lack nothing.
    """

    def __init__(self, make: Callable[[], tuple[list[Side], Place]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> tuple[list[Side], Place]:
        return self._make()

    @cached_property
    def _of(self) -> dict[int, Side]:
        return {index: side for side in self.sides for index in range(side.first, side.last + 1)}

    @property
    def sides(self) -> list[Side]:
        """The sides, each with where it stands."""
        return self._made[0]

    @property
    def end(self) -> Place:
        """Where the next side will stand."""
        return self._made[1]

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
        self._exact = digest(client, *(canonical(part) for part in frame if part))
        self._loose = _LoosePlaces(digest(client))
        self._sides: list[Side] = []
        self._said = Said()
        self._is_model: bool | None = None
        self._first = self._last = 0
        self._parted = False

    def message(self, index: int, *, is_model: bool) -> Said:
        """The message with this index begins; what it says is to be put into what is given."""
        if self._is_model is not is_model:
            self._end_side()
            self._said, self._is_model, self._first, self._parted = Said(), is_model, index, False
        self._last = index
        return self._said

    def aside(self, index: int, exact: bytes) -> None:
        """The message with this index is of neither side."""
        if self._is_model is None:
            self._exact = digest(self._exact, exact)
        else:
            self._last, self._parted = index, True
            self._said.aside(exact)

    def places(self) -> tuple[list[Side], Place]:
        """The sides of all that was said, and the place behind them."""
        self._end_side()
        return self._sides, self._place

    @property
    def _place(self) -> Place:
        return Place(self._exact, partial(self._loose.at, len(self._sides)))

    def _end_side(self) -> None:
        if self._is_model is None:
            return
        said, role = self._said.so_far(), "m" if self._is_model else "u"
        self._sides.append(Side(self._is_model, self._first, self._last, self._place, said, self._parted))
        self._loose.sides.append((role, said))
        self._exact = _after(self._exact, role, said.exact)
        self._is_model = None


class _LoosePlaces:
    """The loose digests of all places of a conversation. sides: the role of each, and what it says."""

    def __init__(self, start: str) -> None:
        self.sides: list[tuple[str, Place]] = []
        self._places = [start]

    def at(self, number: int) -> str:
        """Where the side with this number stands."""
        while len(self._places) <= number:
            role, said = self.sides[len(self._places) - 1]
            self._places.append(_after(self._places[-1], role, said.loose))
        return self._places[number]


def _after(place: str, role: str, said: str) -> str:
    """The digest of a place behind what was said at another one."""
    return hashlib.blake2b(f"{place}{role}{said}".encode(), digest_size=_SIZE).hexdigest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def is_unguessable(identifier: str) -> bool:
    """Whether an id can only come from who made it: `toolu_01A09q90qw90…` or `8gk2xq0z`, and not `call_1`."""
    rest = _PREFIXES.sub("", identifier)
    if len(rest) < _SHORTEST_ID or len(set(rest)) < _FEWEST_CHARACTERS:
        return False
    # Some servers give the function's name as the id; words have more vowels than chance.
    return any(map(str.isdigit, rest)) or 5 * sum(letter in "aeiouAEIOU" for letter in rest) <= len(rest)


def loosely(value: Any, written: bytes) -> bytes:
    """A JSON value as any client would write it: `1.0` as `1`, and what no double holds as nothing.

    written: the value as canonical JSON; what is very long or nested very deeply is taken as it is.
    """
    if len(written) > _LONGEST_LOOSE or _INEXACT.search(written) is None:
        return written
    try:
        return canonical(_loosened(value))
    except RecursionError:
        return written


def _loosened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _loosened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_loosened(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        return None
    if number - number != 0:
        return None
    return int(number) if number == int(number) and abs(number) <= _EXACT_INTEGER else number
