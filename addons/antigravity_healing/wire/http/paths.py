"""Paths as servers may read them: dot segments resolved, and nothing that hides one (RFC 3986, section 5.2.4).

Whoever forwards a path with a prefix or a credential has to mean the same by it as whoever serves it. Servers decode
once or twice, merge slashes, cut off `;parameters` and take a backslash for a slash; a path that could mean another one
to any of them is refused.
"""

import re
from urllib.parse import unquote_to_bytes

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_ENCODED_DOT = re.compile(r"%2[eE]")
# What some server takes for the end of a segment's name.
_END_OF_NAME = re.compile(r"[;?#\x00-\x20\x7f].*", re.DOTALL)
_MODELS = "models"
# What somebody may take for an end of the name, or decode again.
_NOT_IN_NAME = re.compile(r"[;?#%\\]")


class PathError(ValueError):
    """A path that does not mean one thing only; the text says why."""


def resolved(path: str) -> str:
    """The path without its dot segments, every other byte as it was.

    Raises PathError for one that climbs out of its root, and for one that may be another path to somebody.
    """
    kept: list[str] = []
    segments = path.split("/")
    for place, segment in enumerate(segments):
        match _ENCODED_DOT.sub(".", segment):
            case "..":
                if len(kept) < 2:
                    raise PathError("the path climbs out of its root")
                kept.pop()
            case ".":
                pass
            case _:
                _check(segment, names_model=bool(kept) and kept[-1] == _MODELS)
                kept.append(segment)
                continue
        if place == len(segments) - 1:
            kept.append("")  # "/a/.." is the folder "/"
    return "/".join(kept)


def is_name(text: str) -> bool:
    """Whether a model's name, encoded in a path, means one place to everybody. It may have slashes."""
    names_one = all(part not in ("", ".", "..") for part in text.split("/"))
    return names_one and text.isprintable() and " " not in text and not _NOT_IN_NAME.search(text)


def plain(path: str) -> str:
    """The path as the most lenient of servers may read it, only to be compared.

    It is decoded, in lower case, and without parameters and empty segments. path: one that `resolved` has given.
    """
    names = (_END_OF_NAME.sub("", name).casefold() for name in decoded(path).split("/"))
    return "/" + "/".join(name for name in names if name)


def decoded(text: str) -> str:
    """The text decoded until there is nothing left to decode. Raises PathError where that has no end, or is no text."""
    for _ in range(4):
        if "%" not in text:
            return text
        try:
            before, text = text, unquote_to_bytes(text).decode()
        except UnicodeError:  # also of a text with bytes in it that were no UTF-8 from the first
            raise PathError("a path segment is encoded as something that is not UTF-8") from None
        if text == before:
            return text
    raise PathError("a path segment is encoded again and again")


def _check(segment: str, *, names_model: bool) -> None:
    """Refuse a segment that is more than one segment, or a dot segment, to some server. Raises PathError.

    names_model: whether it may name a model: some have a slash in their names.
    """
    if segment.count("%") > len(_ENCODED.findall(segment)):
        raise PathError('a "%" in the path is not followed by two hexadecimal digits; write it as %25')
    if "#" in segment:
        raise PathError('a "#" in the path has to be written as %23')
    whole = decoded(segment)
    if "\\" in whole:
        raise PathError("a path segment has a backslash in it")
    names = whole.split("/")
    if len(names) > 1 and not (names_model and all(names)):
        raise PathError("a path segment has an encoded slash in it")
    if any(_END_OF_NAME.sub("", name) in (".", "..") for name in names):
        raise PathError("a path segment hides a dot segment")
