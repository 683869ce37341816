"""JSON as it really comes: fast where it is ordinary, and without refusing what only strict parsers refuse.

Half a surrogate pair (an emoji split over two deltas), integers beyond 64 bits, numbers beyond a double and NaN are in
real traffic; orjson takes none of them, or not as they are.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Never

import orjson

from antigravity_healing.wire.json.parts import parse_in_parts

MOST_VALUES = 1_000_000
"""Values that a JSON text may have: those of the smallest take fifty times the room of their text, and long to make."""
# What is longer, or has more values, is read in parts: reading it at once would take more than some milliseconds.
_SHORT_BYTES = 1024 * 1024
_SHORT_VALUES = 32 * 1024
_NO_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
# As deep as messages and the calls in them lie. What is deeper is written in one go.
_SPLIT_LEVELS = 10


class JsonText(dict[str, Any]):
    """An object that is written as the JSON text that it was read from.

    Read it as the dict that it is; a changed copy is a plain dict again.
    text: UTF-8 in one line.
    """

    __slots__ = ("text",)

    def __init__(self, value: dict[str, Any], text: bytes) -> None:
        super().__init__(value)
        # Line breaks can only stand between tokens, and would end an event's data.
        self.text = text.translate(_NO_LINE_BREAKS) if b"\n" in text or b"\r" in text else text


def parse(data: bytes | bytearray) -> Any:
    """The value. Raises ValueError for what is no JSON, for nesting that is too deep, and for too many values."""
    return _load(data) if is_short(data) else parse_in_parts(data, _load, MOST_VALUES)


def is_json(data: bytes | bytearray) -> bool:
    """Whether this is one JSON value."""
    try:
        parse(data)
    except ValueError:
        return False
    return True


def parse_strictly(data: bytes | bytearray) -> Any:
    """As `parse`, but NaN and Infinity are what they are: no JSON."""
    return _load_strictly(data) if is_short(data) else parse_in_parts(data, _load_strictly, MOST_VALUES)


def is_short(data: bytes | bytearray) -> bool:
    """Whether a JSON text is read in a few milliseconds at most."""
    size = len(data)
    return size <= _SHORT_VALUES or (size <= _SHORT_BYTES and sum(map(data.count, b",[{")) <= _SHORT_VALUES)


def _load(data: bytes | bytearray) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _load_slowly(data)


def _load_strictly(data: bytes | bytearray) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _load_slowly(data, _refuse_constant)


def _load_slowly(data: bytes | bytearray, constant: Any = None) -> Any:
    try:
        return json.loads(data.decode(), parse_constant=constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


def dump(value: Any) -> bytes:
    """The value as compact JSON in UTF-8; what was read as a `JsonText` is written as it was read."""
    return _dumped(value, _SPLIT_LEVELS)


def _dumped(value: Any, levels: int) -> bytes:
    try:
        return orjson.dumps(value, _written, orjson.OPT_PASSTHROUGH_SUBCLASS)
    except TypeError:
        # Only what holds it goes through the json module, which is slow and lets nobody else run meanwhile.
        if levels and isinstance(value, dict):
            members = (json.dumps(name).encode() + b":" + _dumped(item, levels - 1) for name, item in value.items())
            return b"{" + b",".join(members) + b"}"
        if levels and isinstance(value, list):
            return b"[" + b",".join(_dumped(item, levels - 1) for item in value) + b"]"
        return json.dumps(value, separators=(",", ":")).encode()


def _written(value: Any) -> Any:
    """What orjson is to write for an object of a subclass."""
    if isinstance(value, JsonText):
        return orjson.Fragment(value.text)
    plain: type[Any]
    for plain in (str, dict, list, int):
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"{type(value)} is no JSON")


def joined(pieces: Iterable[str]) -> str:
    """The text of its pieces; an emoji may have been split between two of them, into halves of a surrogate pair."""
    text = "".join(pieces)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def dump_text(value: Any) -> str:
    """The value as compact JSON, as text."""
    return dump(value).decode()


def objects_at(body: Any, name: str) -> list[dict[str, Any]]:
    """The objects of a list in a body; what is none stands as an empty one, so that places stay right."""
    items = body.get(name) if isinstance(body, dict) else None
    return [item if isinstance(item, dict) else {} for item in items] if isinstance(items, list) else []


def only_objects_at(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list in a body, the list itself; an empty one where anything else is in it."""
    items = body.get(name)
    return items if isinstance(items, list) and all(isinstance(item, dict) for item in items) else []


def with_items(body: dict[str, Any], name: str, changed: dict[int, Any]) -> dict[str, Any]:
    """The body with other items at some places of a list; the body itself where nothing is to be changed."""
    if not changed:
        return body
    items = list(body[name])
    for place, item in changed.items():
        items[place] = item
    return {**body, name: items}


def canonical(value: Any) -> bytes:
    """The value as JSON that is the same for equal values, whatever the order of their members."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def digest(*parts: str | bytes) -> str:
    """A short key for these parts: 32 hexadecimal digits; equal for equal parts only."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8))
        whole.update(data)
    return whole.hexdigest()
