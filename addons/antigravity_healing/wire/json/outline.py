"""Where the members of a long JSON object stand, and the items of one of them: to read a few without all others.

Strings are most of every long text. They are taken out first, by calls that are as quick as copying; what is left is a
few kilobytes, in which brackets are all that counts.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, overload

from antigravity_healing.wire.json.ending import ending
from antigravity_healing.wire.json.skip import BLANKS, TOO_MANY, Steps, skip_space, value_end

# A conversation takes one for each turn, and few more.
_MOST_STEPS = 10_000
# Quotes that a text may have: each takes a tenth of a microsecond.
_MOST_QUOTES = 200_000
_LONG_BYTES = 2 * 1024 * 1024
_BEGINNING_BYTES = 256 * 1024
_END_BYTES = 512 * 1024
# Stands where a string stood. No JSON has it outside of strings.
_STRING = b"\0"

CUT = "it ends within a value"

type Span = tuple[int, int]


class Spans(Sequence[Span]):
    """Where items begin and end; told when it is asked for, as most are not."""

    def __init__(self, found: list[Span], told: Callable[[Span], Span]) -> None:
        self._found = found
        self._told = told

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, place: int) -> Span: ...
    @overload
    def __getitem__(self, place: slice) -> "Spans": ...
    def __getitem__(self, place: int | slice) -> "Span | Spans":
        found = self._found[place]
        return Spans(found, self._told) if isinstance(found, list) else self._told(found)


class Outline(NamedTuple):
    """Where what stands in an object begins and ends.

    members: the values by their names, but for the one that is looked into; of those that come twice the last.
    items: those of the list that is looked into, the last ones; unseen: how many bytes of it stand before them and were
    not looked at. flaw: why it ends early; "" if it does not.
    """

    members: dict[str, Span]
    items: Sequence[Span]
    unseen: int = 0
    flaw: str = ""


def outline(text: bytes, list_name: str) -> Outline:
    """The outline of a JSON object, as far as it goes; never raises.

    list_name: the member that is a list to be looked into. Of a long text both ends are read, if it begins in the one
    and ends in the other.
    """
    if len(text) > _LONG_BYTES and (found := _both_ends(text, list_name)) is not None:
        return found
    found = _outlined(text, lambda skeleton: skeleton.walk_object(list_name))
    return (_both_ends(text, list_name) if found.flaw == TOO_MANY else None) or found


def _both_ends(text: bytes, list_name: str) -> Outline | None:
    """The outline without the middle of the list; None where it does not begin in the one end and end in the other."""
    if (last := ending(text, _END_BYTES)) is None:
        return None
    begun = _outlined(text[:_BEGINNING_BYTES], lambda skeleton: skeleton.walk_object(list_name))
    if not begun.items:
        return None
    return Outline({**begun.members, **last.members}, last.items, max(0, last.items[0][0] - begun.items[0][0]))


def array_items(text: bytes) -> Outline:
    """Where the items of a JSON array stand, as far as it goes; never raises."""
    return _outlined(text, lambda skeleton: skeleton.walk_array())


def _outlined(text: bytes, walk: Callable[["_Skeleton"], None]) -> Outline:
    members: dict[str, Span] = {}
    items: Sequence[Span] = ()
    try:
        skeleton = _Skeleton(text)
        members, items = skeleton.members, Spans(skeleton.items, skeleton.span)
        walk(skeleton)
    except ValueError as error:
        return Outline(members, items, flaw=str(error))
    return Outline(members, items)


class _Skeleton:
    """A JSON text without its strings. Places are those in it, unless they are said to be in the text.

    members: in the text. items: not in the text.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        # Of the same length each, so that a quote that is left begins or ends a string.
        plain = text.replace(b"\\\\", b"--").replace(b'\\"', b"--") if b"\\" in text else text
        parts = plain.split(b'"', _MOST_QUOTES)
        if len(parts) > _MOST_QUOTES:
            raise ValueError(TOO_MANY)
        outside, inside = parts[::2], parts[1::2]
        outside = outside[: len(inside) + 1]
        self._bare = _STRING.join(outside)
        self._before = list(accumulate(map(len, outside)))
        self._longer = list(accumulate(map(len, inside), initial=0))
        self._numbers = range(len(inside))
        self._steps = Steps(_MOST_STEPS)
        self.members: dict[str, Span] = {}
        self.items: list[Span] = []

    def walk_object(self, list_name: str) -> None:
        """Find the members of the whole."""
        bare = self._bare
        at = self._behind(skip_space(bare, 0), b"{")
        while bare[at : at + 1] != b"}":
            name = self._name(at)
            start = self._behind(skip_space(bare, at + 1), b":")
            if name == list_name and bare[start : start + 1] == b"[":
                self.items.clear()
                at = self._walk_items(start)
            else:
                at = self._value_end(start)
                if at == len(bare) and bare[at - 1 : at].isalnum():
                    raise ValueError(CUT)  # a number of which more may have come
                self.members[name] = self.span((start, at))
            at = self._next(at, b"}")
        self._expect_end(at)

    def walk_array(self) -> None:
        """Find the items of the whole."""
        start = skip_space(self._bare, 0)
        self._behind(start, b"[")
        self._expect_end(self._walk_items(start) - 1)

    def _walk_items(self, start: int) -> int:
        at = skip_space(self._bare, start + 1)
        while self._bare[at : at + 1] != b"]":
            end = self._value_end(at)
            self.items.append((at, end))
            at = self._next(end, b"]")
        return at + 1

    def _value_end(self, at: int) -> int:
        self._steps.take()
        if self._bare[at : at + 1] == _STRING:
            return at + 1
        return value_end(self._bare, at, self._steps)

    def _name(self, at: int) -> str:
        if self._bare[at : at + 1] != _STRING:
            raise ValueError(f"no member name at byte {self._in_text(at)}")
        start, end = self.span((at, at + 1))
        return str(json.loads(self._text[start:end]))

    def span(self, bare: Span) -> Span:
        """The same in the text."""
        return self._in_text(bare[0]), self._in_text(bare[1])

    def _in_text(self, at: int) -> int:
        # A string stands behind what is outside of strings before it, and behind as many marks as there are strings.
        before = bisect_left(self._numbers, at, key=lambda number: self._before[number] + number)
        return at + self._longer[before] + before

    def _behind(self, at: int, sign: bytes) -> int:
        if self._bare[at : at + 1] != sign:
            raise ValueError(f"no {sign.decode()} at byte {self._in_text(at)}")
        return skip_space(self._bare, at + 1)

    def _next(self, at: int, closing: bytes) -> int:
        at = skip_space(self._bare, at)
        if self._bare[at : at + 1] == b",":
            return skip_space(self._bare, at + 1)
        if self._bare[at : at + 1] != closing:
            raise ValueError(f"neither comma nor end at byte {self._in_text(at)}")
        return at

    def _expect_end(self, bracket: int) -> None:
        if self._bare[bracket + 1 :].strip(BLANKS):
            raise ValueError(f"more than one value at byte {self._in_text(bracket + 1)}")
