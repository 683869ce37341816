"""What stands at the end of a long JSON object, told from its end alone."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

type Span = tuple[int, int]

_SIGN = re.compile(rb"[{}\[\],:\0]")
# Each takes half a microsecond.
_MOST_SIGNS = 20_000
_MOST_BACKSLASHES = 1000
_STRING = b"\0"
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")


class Ending(NamedTuple):
    """The end of an object, by places in its whole text.

    items: the last of the list in the middle of which the end begins. members: those behind that list.
    """

    items: list[Span]
    members: dict[str, Span]


def ending(text: bytes, size: int) -> Ending | None:
    """The end of a JSON object; never raises. None where its last bytes do not begin in a list that is a member of it.

    size: so many bytes, or a few less, are looked at. Nothing is known of what stands before them.
    """
    start = max(0, len(text) - size)
    # Neither an escape nor a pair of them may be cut in two.
    before = text[max(0, start - _MOST_BACKSLASHES) : start]
    backslashes = len(before) - len(before.rstrip(b"\\"))
    if backslashes == _MOST_BACKSLASHES:
        return None
    return _read_backwards(text, islice(_signs(text, start - backslashes), _MOST_SIGNS))


def _signs(text: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    """What stands outside of strings, and where strings begin, from the end of the text to this place or near it."""
    # Of the same length each, so that a quote that is left begins or ends a string.
    plain = text[start:].replace(b"\\\\", b"--").replace(b'\\"', b"--")
    # The end is outside of strings, so every second part from there is.
    parts = plain.rsplit(b'"', _MOST_SIGNS)
    end, is_outside = len(text), True
    for number, part in enumerate(reversed(parts)):
        begins = end - len(part)
        if number == _MOST_SIGNS:
            return  # it is what has not been looked at
        if is_outside:
            # No more of them are taken.
            seen = max(0, len(part) - _MOST_SIGNS)
            for match in reversed(list(_SIGN.finditer(part, seen))):
                yield match[0], begins + match.start()
            if seen:
                return
        elif begins > start:
            yield _STRING, begins - 1
        end, is_outside = begins - 1, not is_outside


def _read_backwards(text: bytes, signs: Iterable[tuple[bytes, int]]) -> Ending | None:
    """Go from the last sign of an object to the first that is known."""
    depth = 0
    value_end = item_end = -1
    in_list = False
    found = Ending([], {})
    colon = -1
    for sign, at in signs:
        if sign in _CLOSING:
            depth += 1
            if depth == 1:
                if sign != b"}":
                    return None
                value_end = at
            elif depth == 2:
                in_list, item_end = sign == b"]", at
                found.items.clear()
        elif sign in _OPENING:
            depth -= 1
            if depth == 0:
                return None  # the whole object is in sight
        elif depth == 1:
            if sign == b":":
                colon = at
            elif sign == b",":
                value_end, colon = at, -1
            elif colon >= 0:
                if (name := _name(text, at, colon)) is None:
                    return None
                found.members.setdefault(name, _stripped(text, colon + 1, value_end))
                colon = -1
        elif depth == 2 and in_list and sign == b",":
            found.items.append(_stripped(text, at + 1, item_end))
            item_end = at
    if depth < 2 or not in_list or not found.items:
        return None
    found.items.reverse()
    return found


def _name(text: bytes, start: int, colon: int) -> str | None:
    try:
        return str(json.loads(text[start:colon]))
    except ValueError:
        return None


def _stripped(text: bytes, start: int, end: int) -> Span:
    """The same without white space around it."""
    value = text[start:end]
    return start + len(value) - len(value.lstrip()), end - len(value) + len(value.rstrip())
