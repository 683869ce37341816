"""Where the members of a long JSON object stand, and the items of one of them: to read a few without all others."""

import json
from typing import NamedTuple

from healing.wire.json.skip import BLANKS, skip_space, string_end, value_end

MOST_BRACKETS = 250_000
"""Brackets, those in strings included, that a text may have: each takes time."""

type Span = tuple[int, int]


class Outline(NamedTuple):
    """Where what stands in an object begins and ends.

    members: the values by their names, but for the one that is looked into; of those that come twice the last.
    items: those of the list that is looked into. flaw: why it ends early; "" if it does not.
    """

    members: dict[str, Span]
    items: list[Span]
    flaw: str = ""


def outline(text: bytes, list_name: str) -> Outline:
    """The outline of a JSON object, as far as it goes; never raises.

    list_name: the member that is a list to be looked into.
    """
    found = Outline({}, [])
    if text.count(b"{") + text.count(b"[") > MOST_BRACKETS:
        return found._replace(flaw="it has too many values")
    try:
        _walk(text, list_name, found)
    except ValueError as error:
        return found._replace(flaw=f"it is no whole JSON object: {error}")
    return found


def _walk(text: bytes, list_name: str, found: Outline) -> None:
    at = _behind(text, skip_space(text, 0), b"{")
    while text[at : at + 1] != b"}":
        name_end = string_end(text, at)
        name = str(json.loads(text[at:name_end]))
        start = _behind(text, skip_space(text, name_end), b":")
        if name == list_name and text[start : start + 1] == b"[":
            found.items.clear()
            at = _walk_items(text, start, found.items)
        else:
            at = value_end(text, start)
            found.members[name] = start, at
        at = _next(text, at, b"}")
    if text[at + 1 :].strip(BLANKS):
        raise ValueError(f"more than one value at byte {at + 1}")


def _walk_items(text: bytes, start: int, items: list[Span]) -> int:
    at = skip_space(text, start + 1)
    while text[at : at + 1] != b"]":
        end = value_end(text, at)
        items.append((at, end))
        at = _next(text, end, b"]")
    return at + 1


def array_items(text: bytes) -> Outline:
    """Where the items of a JSON array stand, as far as it goes; never raises."""
    found = Outline({}, [])
    if text.count(b"{") + text.count(b"[") > MOST_BRACKETS:
        return found._replace(flaw="it has too many values")
    try:
        _walk_items(text, _behind(text, skip_space(text, 0), b"[") - 1, found.items)
    except ValueError as error:
        return found._replace(flaw=f"it is no whole JSON array: {error}")
    return found


def _behind(text: bytes, at: int, sign: bytes) -> int:
    if text[at : at + 1] != sign:
        raise ValueError(f"no {sign.decode()} at byte {at}")
    return skip_space(text, at + 1)


def _next(text: bytes, at: int, closing: bytes) -> int:
    at = skip_space(text, at)
    if text[at : at + 1] == b",":
        return skip_space(text, at + 1)
    if text[at : at + 1] != closing:
        raise ValueError(f"neither comma nor end at byte {at}")
    return at
