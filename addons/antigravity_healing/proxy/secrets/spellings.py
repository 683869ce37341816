"""How JSON and URLs spell a text, and where in what they wrote each piece of it stands."""

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

JSON_ESCAPE = re.compile(rb"\\u([0-9A-Fa-f]{4})")
CUT_ESCAPE = re.compile(rb"(?:\\{1,16}(?:u[0-9A-Fa-f]{0,3})?|%[0-9A-Fa-f]?)\Z")
"""What may be the beginning of an escape. JSON inside of JSON doubles the backslashes before one each time."""

type Reading = re.Pattern[bytes]
"""Takes a text apart: its groups are the digits of a code point, those of a byte, and what stands for itself."""

# What the decoder of quoted-printable takes for a sign of its own; it decodes whole bodies without a step of Python.
_SIGNS = bytes.maketrans(b"=\r\n", b"\0  ")
_SIGNS_AND_PERCENT = bytes.maketrans(b"=\r\n%", b"\0  \0")
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
_ASCII_ESCAPE = re.compile(rb"\\u00(?=[0-9A-Fa-f]{2})")
_NO_ASCII_ESCAPE = re.compile(rb"\\u00(?![0-9A-Fa-f]{2})")

# No run of backslashes is gone through twice.
AS_IN_URLS: Reading = re.compile(rb"\\++(?:u([0-9A-Fa-f]{4}))?+|%([0-9A-Fa-f]{2})|([^\\%]++|%)")
AS_IN_JSON: Reading = re.compile(rb"\\++(?:u([0-9A-Fa-f]{4}))?+|(?!)()|([^\\]++)")


def escaped(match: re.Match[bytes]) -> bytes:
    """What an escape of JSON stands for, in UTF-8."""
    return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")


class Rough:
    """What all of a text spells as far as it is ASCII, at little cost. Some signs can't be told from each other."""

    def __init__(self, data: bytes) -> None:
        while b"\\\\" in data:
            data = data.replace(b"\\\\", b"\\")
        text = data.translate(_SIGNS)
        odd = _NO_ASCII_ESCAPE.search(text) is not None
        text = _ASCII_ESCAPE.sub(b"=", text) if odd else text.replace(b"\\u00", b"=")
        self._as_in_json = _without_backslashes(text).translate(_SIGNS)

    def may_say(self, words: Iterable[bytes]) -> bool:
        """Whether it may have one of these in it, as JSON spells it; False is certain. words: by `roughly`."""
        return any(word.translate(_SIGNS) in self._as_in_json for word in words)

    def may_say_in_urls(self, words: Iterable[bytes]) -> bool:
        """The same of what JSON and URLs spell."""
        if b"%" not in self._as_in_json:
            return False
        text = self._as_in_json.replace(b"%", b"=") + b" "
        while b"==" in text:
            # The first of them begins no escape.
            text = text.replace(b"==", b"\0=")
        as_in_urls = _without_backslashes(text).translate(_SIGNS_AND_PERCENT)
        return any(word.translate(_SIGNS_AND_PERCENT) in as_in_urls for word in words)


def _without_backslashes(text: bytes) -> bytes:
    return binascii.a2b_qp(text.replace(b"\\", b"")).replace(b"\\", b"")


def roughly(secret: bytes) -> bytes:
    """The longest piece of a secret, which has no backslashes, that is ASCII."""
    return max(_NOT_ASCII.split(secret), key=len)


class Spelled:
    """What data[begin:end] spells in one reading.

    text: that, without any backslash.
    """

    def __init__(self, data: bytes, begin: int, end: int, reading: Reading) -> None:
        text = bytearray()
        # Of each unit: from which byte of the text on it is what that says, where it begins in the data, whether it
        # stands for itself byte by byte, and how many backslashes there are before it.
        self._offsets, self._places, self._plain, self._slashes = list[int](), list[int](), list[bool](), [0]
        for match in reading.finditer(data, begin, end):
            code, byte, plain = match.groups()
            value = escaped(match) if code else bytes.fromhex(byte.decode()) if byte else plain or b""
            self._offsets.append(len(text))
            self._places.append(match.start())
            self._plain.append(plain is not None)
            is_slash = value == b"\\"
            run = 0 if plain or byte else len(match[0]) - (5 if code else 0)
            self._slashes.append(self._slashes[-1] + (1 if is_slash else run))
            text += b"" if is_slash else value
        self._places.append(end)
        self.text = bytes(text)

    def spans(self, secret: bytes, slashes: int) -> Iterator[tuple[int, int]]:
        """Where in the data a secret stands that has no backslashes any more; in between there are at least so many."""
        at = self.text.find(secret)
        while at >= 0:
            last = at + len(secret) - 1
            if self._slashes[self._unit(last)] - self._slashes[self._unit(at) + 1] >= slashes:
                yield self.start(at), self._end(last)
                at = last
            at = self.text.find(secret, at + 1)

    def start(self, offset: int) -> int:
        """Where in the data the byte of the text with this offset is spelled."""
        unit = self._unit(offset)
        return self._places[unit] + (offset - self._offsets[unit] if self._plain[unit] else 0)

    def _end(self, offset: int) -> int:
        unit = self._unit(offset)
        return self.start(offset) + 1 if self._plain[unit] else self._places[unit + 1]

    def _unit(self, offset: int) -> int:
        """The unit that spells this byte: of those that begin there, the last, as others spell nothing."""
        return bisect_right(self._offsets, offset) - 1
