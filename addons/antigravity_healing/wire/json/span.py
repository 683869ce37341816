"""Changing some values of a JSON text and leaving every other byte as it is."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from antigravity_healing.wire.json.skip import BLANKS, container_end, contains, skip_space, string_end, value_end
from antigravity_healing.wire.json.value import dump

# What it costs to look at one place, in bytes that could be read meanwhile.
_LEAST = 1000
_BACKSLASH = ord("\\")
_COLON = ord(":")


class Member(NamedTuple):
    """A member of an object: where its name begins, where its value begins, and where it ends."""

    name: str
    start: int
    value: int
    end: int


def replace_member(text: bytes, name: str, value: Any, *, add: bool = False) -> bytes:
    """Put `value` in place of the top-level member `name` of a JSON object, each time that it occurs.

    Only the bytes of that value change: prompt caches depend on the rest. add: whether a member that is not there is
    added at the end. Raises ValueError if `text` is no JSON object (inside of its values only strings and brackets are
    looked at), or has no such member to replace.
    """
    start, end = skip_space(text, 0), whole_end(text)
    members = [member for member in members_of(text, start, end) if member.name == name]
    new, view = dump(value), memoryview(text)
    if members:
        pieces: list[bytes | memoryview] = []
        at = 0
        for member in members:
            text[member.value : member.end].decode("utf-8")
            pieces += [view[at : member.value], new]
            at = member.end
        return b"".join((*pieces, view[at:]))
    if not add:
        raise ValueError(f"no member {name!r}")
    last = end - 1
    while text[last - 1] in BLANKS:
        last -= 1
    comma = b"" if last == start + 1 else b","
    return b"".join((view[:last], comma, dump(name), b":", new, view[last:]))


def remove_member(text: bytes, name: str) -> bytes:
    """A JSON object without its top-level member `name`, each time that it occurs; all else as it stands there.

    Raises ValueError if `text` is no JSON object, as `replace_member` does.
    """
    start, end = skip_space(text, 0), whole_end(text)
    members = members_of(text, start, end)
    kept = [member for member in members if member.name != name]
    if len(kept) == len(members):
        return text
    if not kept:
        return text[: start + 1] + text[members[-1].end :]
    pieces = [text[: members[0].start], text[kept[0].start : kept[0].end]]
    for before, member in pairwise(members):
        if member.name != name and member is not kept[0]:
            # The comma, and what stands between it and the member.
            pieces.append(text[before.end : member.end])
    return b"".join((*pieces, text[members[-1].end :]))


def has_twice(text: bytes, name: str) -> bool:
    """Whether a JSON object that has a top-level member `name` has another one of the same name.

    text: has been parsed before. name: of ASCII letters. Raises ValueError.
    """
    # A letter that is written as an escape; `in` and `find` are much quicker than `re`.
    if any(contains(text, b"\\u00%x" % half) for half in {ord(letter) >> 4 for letter in name}):
        return _count(text, name) > 1
    places = _places(text, b'"%b"' % name.encode())
    if len(places) < 2:
        return False
    # Most lie deep inside, in short objects: if all but the first do, that one is the only one at the top.
    end, left = whole_end(text), len(text)
    at_top = 0
    for place in reversed(places[1:]):
        behind = container_end(text, place)
        at_top += behind == end
        left -= behind - place + _LEAST
        if left < 0:
            return _count(text, name) > 1
    return at_top > 1 or (at_top == 1 and container_end(text, places[0]) == end)


def _places(text: bytes, quoted: bytes) -> list[int]:
    """Where this stands as the name of a member, at the top or deep inside."""
    places = []
    at = text.find(quoted)
    while at >= 0:
        behind = at + len(quoted)
        # Inside of a string a quote has a backslash before it.
        if text[at - 1] != _BACKSLASH and text[skip_space(text, behind)] == _COLON:
            places.append(at)
        at = text.find(quoted, behind)
    return places


def _count(text: bytes, name: str) -> int:
    members = members_of(text, skip_space(text, 0), whole_end(text))
    return sum(member.name == name for member in members)


def respell(text: bytes, old: Any, new: Any) -> bytes:
    """The JSON text of `new`, in the bytes of `text` wherever `new` shares its parts with `old`.

    old: what `text` says. new: made from it without changing it, so that what is the same is the same object.
    Raises ValueError if `text` is no JSON.
    """
    if new is old:
        return text
    start, end = skip_space(text, 0), whole_end(text)
    if not (isinstance(old, dict | list) and old) and value_end(text, start) != end:
        raise ValueError("more than one value")
    # Views, as what stays is most of the text and is copied once, at the end.
    pieces = _respell(_Text(text, memoryview(text)), start, end, old, new)
    return b"".join((text[:start], *pieces, text[end:]))


def whole_end(text: bytes) -> int:
    """Where the value ends that is the whole text."""
    end = len(text)
    while end and text[end - 1] in BLANKS:
        end -= 1
    return end


type _Piece = bytes | memoryview


class _Text(NamedTuple):
    """A JSON text, and a view of it from which pieces are taken without copying them."""

    whole: bytes
    view: memoryview


def _respell(text: _Text, start: int, end: int, old: Any, new: Any) -> Iterator[_Piece]:
    """The text of `new`, piece by piece; `old` stands at text.view[start:end]."""
    if new is old:
        yield text.view[start:end]
    elif isinstance(old, dict) and isinstance(new, dict) and old:
        yield from _respell_object(text, start, end, old, new)
    elif isinstance(old, list) and isinstance(new, list) and old:
        yield from _respell_array(text, start, end, old, new)
    else:
        yield dump(new)


def _respell_object(text: _Text, start: int, end: int, old: dict[str, Any], new: dict[str, Any]) -> Iterator[_Piece]:
    spans = members_of(text.whole, start, end)
    # A name that comes twice counts as its last value.
    places = {member.name: place for place, member in enumerate(spans)}
    chosen: list[tuple[int | None, list[_Piece]]] = []
    for name, value in new.items():
        place = places.get(name)
        if place is None:
            chosen.append((None, [dump(name), b":", dump(value)]))
        else:
            span = spans[place]
            spelled = _respell(text, span.value, span.end, old[name], value)
            chosen.append((place, [text.view[span.start : span.value], *spelled]))
    return _joined(text, start, end, [(span.start, span.end) for span in spans], chosen)


def _respell_array(text: _Text, start: int, end: int, old: list[Any], new: list[Any]) -> Iterator[_Piece]:
    spans = elements_of(text.whole, start, end)
    places = {id(value): place for place, value in enumerate(old)}
    chosen: list[tuple[int | None, list[_Piece]]] = []
    nearest = 0
    for value in new:
        # What is no element of the old one is most likely what became of the next one.
        place = places.get(id(value), nearest)
        if place < len(old):
            chosen.append((place, list(_respell(text, *spans[place], old[place], value))))
            nearest = place + 1
        else:
            chosen.append((None, [dump(value)]))
    return _joined(text, start, end, spans, chosen)


def _joined(
    text: _Text, start: int, end: int, spans: list[tuple[int, int]], chosen: list[tuple[int | None, list[_Piece]]]
) -> Iterator[_Piece]:
    """The items of a container with what stood between them, where they still are neighbours."""
    before: int | None = None
    for number, (place, spelled) in enumerate(chosen):
        if number == 0:
            yield text.view[start : spans[0][0]] if place == 0 else text.view[start : start + 1]
        elif place is not None and before == place - 1:
            yield text.view[spans[before][1] : spans[place][0]]
        else:
            yield b","
        yield from spelled
        before = place
    if not chosen:
        yield text.view[start : start + 1]
    yield text.view[spans[-1][1] : end] if before == len(spans) - 1 else text.view[end - 1 : end]


def members_of(text: bytes, at: int, end: int) -> list[Member]:
    """The members of the object at text[at:end]."""
    if text[at : at + 1] != b"{":
        raise ValueError("not a JSON object")
    members = []
    at = skip_space(text, at + 1)
    while text[at : at + 1] != b"}":
        if text[at : at + 1] != b'"':
            raise ValueError(f"no member name at byte {at}")
        colon = skip_space(text, name_end := string_end(text, at))
        if text[colon : colon + 1] != b":":
            raise ValueError(f"no colon at byte {colon}")
        value = skip_space(text, colon + 1)
        behind = value_end(text, value)
        members.append(Member(json.loads(text[at:name_end]), at, value, behind))
        at = _behind_comma(text, behind, b"}")
    _expect_end(at, end)
    return members


def elements_of(text: bytes, at: int, end: int) -> list[tuple[int, int]]:
    """Where the elements of the array at text[at:end] start and end."""
    if text[at : at + 1] != b"[":
        raise ValueError("not a JSON array")
    elements = []
    at = skip_space(text, at + 1)
    while text[at : at + 1] != b"]":
        behind = value_end(text, at)
        elements.append((at, behind))
        at = _behind_comma(text, behind, b"]")
    _expect_end(at, end)
    return elements


def _behind_comma(text: bytes, at: int, closing: bytes) -> int:
    """Where the next member or element, or the closing bracket, is."""
    at = skip_space(text, at)
    found = text[at : at + 1]
    if found == b",":
        return skip_space(text, at + 1)
    if found != closing:
        raise ValueError(f"neither comma nor end at byte {at}")
    return at


def _expect_end(bracket: int, end: int) -> None:
    if bracket + 1 != end:
        raise ValueError(f"more than one value at byte {bracket + 1}")
