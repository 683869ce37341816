"""Changing one value of a JSON text and leaving every other byte as it is."""

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]

_SPACE = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder()


def replace_member(text: bytes, name: str, value: str) -> bytes:
    """Put the string `value` in place of the top-level member `name` of a JSON object, each time that it occurs.

    Only the bytes of that value change: prompt caches depend on the rest. Raises ValueError if `text` is no JSON
    object in UTF-8 or has no such member.
    """
    source = text.decode("utf-8")
    spans = [span for key, *span in _members(source) if key == name]
    if not spans:
        raise ValueError(f"no member {name!r}")
    new = json.dumps(value, ensure_ascii=False)
    for start, end in reversed(spans):
        source = source[:start] + new + source[end:]
    return source.encode("utf-8")


def _members(source: str) -> list[tuple[str, int, int]]:
    """The top-level members of an object: name, and where the value starts and ends (in characters)."""
    at = _skip(source, 0)
    if source[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at = _skip(source, at + 1)
    members: list[tuple[str, int, int]] = []
    while source[at : at + 1] != "}":
        if source[at : at + 1] != '"':
            raise ValueError(f"no member name at character {at}")
        name, at = scanstring(source, at + 1, True)
        at = _skip(source, at)
        if source[at : at + 1] != ":":
            raise ValueError(f"no colon at character {at}")
        start = _skip(source, at + 1)
        _, end = _decoder.raw_decode(source, start)
        members.append((name, start, end))
        at = _skip(source, end)
        if source[at : at + 1] == ",":
            at = _skip(source, at + 1)
        elif source[at : at + 1] != "}":
            raise ValueError(f"neither comma nor end at character {at}")
    return members


def _skip(source: str, at: int) -> int:
    match = _SPACE.match(source, at)
    assert match is not None
    return match.end()
