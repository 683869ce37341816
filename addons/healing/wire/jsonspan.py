"""Changing some values of a JSON text and leaving every other byte as it is."""

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

_SPACE = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder()


def replace_member(text: bytes, name: str, value: Any, *, add: bool = False) -> bytes:
    """Put `value` in place of the top-level member `name` of a JSON object, each time that it occurs.

    Only the bytes of that value change: prompt caches depend on the rest. add: whether a member that is not there is
    added at the end. Raises ValueError if `text` is no JSON object in UTF-8, or has no such member to replace.
    """
    source = text.decode("utf-8")
    start = _skip(source, 0)
    members = list(_members(source, start))
    spans = [member for member in members if member.name == name]
    new = _dump(value)
    if not spans:
        if not add:
            raise ValueError(f"no member {name!r}")
        end = members[-1].end if members else start + 1
        return (source[:end] + ("," if members else "") + f"{_dump(name)}:{new}" + source[end:]).encode("utf-8")
    for member in reversed(spans):
        source = source[: member.value] + new + source[member.end :]
    return source.encode("utf-8")


def respell(text: bytes, old: Any, new: Any) -> bytes:
    """The JSON text of `new`, in the bytes of `text` wherever `new` shares its parts with `old`.

    old: what `text` says. new: made from it without changing it, so that what is the same is the same object.
    Raises ValueError if `text` is no JSON in UTF-8.
    """
    if new is old:
        return text
    source = text.decode("utf-8")
    start = _skip(source, 0)
    _, end = _decoder.raw_decode(source, start)
    changed = "".join(_respell(source, start, end, old, new))
    return (source[:start] + changed + source[end:]).encode("utf-8")


def _respell(source: str, start: int, end: int, old: Any, new: Any) -> Iterator[str]:
    """The text of `new`, piece by piece; `old` stands at source[start:end]."""
    if new is old:
        yield source[start:end]
    elif isinstance(old, dict) and isinstance(new, dict) and old:
        yield from _respell_object(source, start, end, old, new)
    elif isinstance(old, list) and isinstance(new, list) and old:
        yield from _respell_array(source, start, end, old, new)
    else:
        yield _dump(new)


def _respell_object(source: str, start: int, end: int, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    spans = list(_members(source, start))
    # A name that comes twice counts as its last value.
    places = {member.name: place for place, member in enumerate(spans)}
    chosen: list[tuple[int | None, list[str]]] = []
    for name, value in new.items():
        place = places.get(name)
        if place is None:
            chosen.append((None, [f"{_dump(name)}:{_dump(value)}"]))
        else:
            span = spans[place]
            text = _respell(source, span.value, span.end, old[name], value)
            chosen.append((place, [source[span.start : span.value], *text]))
    return _joined(source, start, end, [(span.start, span.end) for span in spans], chosen)


def _respell_array(source: str, start: int, end: int, old: list[Any], new: list[Any]) -> Iterator[str]:
    spans = list(_elements(source, start))
    places = {id(value): place for place, value in enumerate(old)}
    chosen: list[tuple[int | None, list[str]]] = []
    nearest = 0
    for value in new:
        # What is no element of the old one is most likely what became of the next one.
        place = places.get(id(value), nearest)
        if place < len(old):
            chosen.append((place, list(_respell(source, *spans[place], old[place], value))))
            nearest = place + 1
        else:
            chosen.append((None, [_dump(value)]))
    return _joined(source, start, end, spans, chosen)


def _joined(
    source: str, start: int, end: int, spans: list[tuple[int, int]], chosen: list[tuple[int | None, list[str]]]
) -> Iterator[str]:
    """The items of a container with what stood between them, where they still are neighbours."""
    before: int | None = None
    for number, (place, text) in enumerate(chosen):
        if number == 0:
            yield source[start : spans[0][0]] if place == 0 else source[start]
        elif place is not None and before == place - 1:
            yield source[spans[before][1] : spans[place][0]]
        else:
            yield ","
        yield from text
        before = place
    if not chosen:
        yield source[start]
    yield source[spans[-1][1] : end] if before == len(spans) - 1 else source[end - 1]


def _dump(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair can be written in ASCII only.
    return text if text.isascii() or _is_unicode(text) else json.dumps(value, separators=(",", ":"))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Member(NamedTuple):
    """A member of an object: where its name begins, where its value begins, and where it ends (in characters)."""

    name: str
    start: int
    value: int
    end: int


def _members(source: str, at: int) -> Iterator[_Member]:
    """The members of the object that begins here."""
    if source[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at = _skip(source, at + 1)
    while source[at : at + 1] != "}":
        if source[at : at + 1] != '"':
            raise ValueError(f"no member name at character {at}")
        begin = at
        name, at = scanstring(source, at + 1, True)
        at = _skip(source, at)
        if source[at : at + 1] != ":":
            raise ValueError(f"no colon at character {at}")
        start = _skip(source, at + 1)
        _, end = _decoder.raw_decode(source, start)
        yield _Member(name, begin, start, end)
        at = _behind_comma(source, end, "}")


def _elements(source: str, at: int) -> Iterator[tuple[int, int]]:
    """Where the elements of the array that begins here start and end (in characters)."""
    at = _skip(source, at + 1)
    while source[at : at + 1] != "]":
        _, end = _decoder.raw_decode(source, at)
        yield at, end
        at = _behind_comma(source, end, "]")


def _behind_comma(source: str, at: int, closing: str) -> int:
    """Where the next member or element, or the closing bracket, is."""
    at = _skip(source, at)
    if source[at : at + 1] == ",":
        return _skip(source, at + 1)
    if source[at : at + 1] != closing:
        raise ValueError(f"neither comma nor end at character {at}")
    return at


def _skip(source: str, at: int) -> int:
    match = _SPACE.match(source, at)
    assert match is not None
    return match.end()
