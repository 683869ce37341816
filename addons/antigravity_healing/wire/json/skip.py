"""Where a value in a JSON text ends, without making anything of it.

For texts that have been parsed before, so that only strings and the number of brackets are looked at. `re` is quick
where a single byte ends what it looks for, and slow for classes of bytes: strings are most of every long text.
"""

import re

BLANKS = b" \t\r\n"
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"-?+(?:\d++(?:\.\d++)?+(?:[eE][+-]?+\d++)?+|Infinity)|true|false|null|NaN")
# A quote ends its string unless an odd number of backslashes stands before it; what is longer or has more of them is
# left to `string_end`.
_PART = rb'[^"]{0,4096}+'
_ESCAPED, _NOT_ESCAPED = (
    b"|".join(rb"(?<=[^\\]%b)" % (rb"\\" * count) for count in range(first, 8, 2)) for first in (1, 2)
)
STRING = rb'"%b(?:(?<!\\)"|(?:(?:%b)"%b){0,64}+(?:(?<!\\)|%b)")' % (_PART, _ESCAPED, _PART, _NOT_ESCAPED)
_ESCAPED_QUOTES = re.compile(rb'(?:%b(?:%b)"){0,512}+' % (_PART, _ESCAPED))
_SEARCHED_AT_ONCE = 4 * 1024 * 1024
# So many items at once hold the interpreter for a millisecond or so.
_AT_ONCE = 500


def _balanced(depth: int) -> bytes:
    """Text whose brackets are balanced and not nested deeper than this."""
    inner = rb"[^\"{}\[\]]{1,4096}+(?:%b)?+|%b" % (STRING, STRING)
    if depth:
        inner += rb"|[{\[]%b[}\]]" % _balanced(depth - 1)
    return rb"(?:%b){0,%d}+" % (inner, _AT_ONCE)


_BALANCED = re.compile(_balanced(8))
_BACKSLASH = ord("\\")
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")


TOO_MANY = "it has too many values"


class Steps:
    """So many steps may still be made by whoever looks through a text that nobody has bounded."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self) -> None:
        """Make one. Raises ValueError where none is left."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(TOO_MANY)


def contains(text: bytes, sign: bytes) -> bool:
    """Whether a short text is in a long one; others have their turn meanwhile."""
    return any(
        text.find(sign, at, at + _SEARCHED_AT_ONCE + len(sign)) >= 0 for at in range(0, len(text), _SEARCHED_AT_ONCE)
    )


def skip_space(text: bytes, at: int) -> int:
    """Where the next byte that is no white space is."""
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def string_end(text: bytes | bytearray, at: int) -> int:
    """Where the string that begins here ends. Raises ValueError."""
    quote = at
    while True:
        behind = _ESCAPED_QUOTES.match(text, quote + 1)
        assert behind is not None
        quote = text.find(b'"', behind.end())
        if quote < 0:
            raise ValueError(f"a string without an end at byte {at}")
        if text[quote - 1] != _BACKSLASH:
            return quote + 1
        before = quote - 1
        while text[before - 1] == _BACKSLASH:
            before -= 1
        if (quote - before) % 2 == 0:
            return quote + 1


def value_end(text: bytes, at: int, steps: Steps | None = None) -> int:
    """Where the value that begins here ends. Raises ValueError where none does, or where no steps are left."""
    first = text[at : at + 1]
    if first == b'"':
        return string_end(text, at)
    if first not in _OPENING:
        scalar = _SCALAR.match(text, at)
        if scalar is None:
            raise ValueError(f"no value at byte {at}")
        return scalar.end()
    return container_end(text, at + 1, steps)


def container_end(text: bytes, at: int, steps: Steps | None = None) -> int:
    """Where the object or array ends in which this place lies, outside of its strings. Raises ValueError."""
    depth = 1
    while True:
        if steps is not None:
            steps.take()
        match = _BALANCED.match(text, at)
        assert match is not None
        before, at = at, match.end()
        found = text[at : at + 1]
        if found in _CLOSING:
            at += 1
            depth -= 1
            if not depth:
                return at
        elif found in _OPENING:
            at += 1
            depth += 1
        elif found == b'"':
            at = string_end(text, at)
        elif at == before:
            raise ValueError(f"no end of what begins before byte {at}")
