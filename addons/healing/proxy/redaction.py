"""Taking secrets out of what others say, in the spellings that HTTP and JSON have for them.

Those are: as it is, with JSON's escapes (`\\/`, `\\u0041`, also those of JSON inside of JSON), with those of URLs
(`%2F`), and any mixture of these. What is transformed as a whole (base64, a digest) is not found.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from urllib.parse import unquote_to_bytes

SHORTEST_SECRET = 8
"""In characters. What is shorter is no secret, and would take pieces out of ordinary words."""
_REDACTED = b"[redacted]"
# In a name brackets are not allowed.
_REDACTED_NAME = b"redacted"
_NOT_IN_NAMES = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
# JSON inside of JSON doubles the backslashes before an escape each time.
_MOST_BACKSLASHES = 8
_JSON_ESCAPE = re.compile(rb"\\u([0-9A-Fa-f]{4})")
_SPELLED = re.compile(rb"\\+u([0-9A-Fa-f]{4})|\\*%([0-9A-Fa-f]{2})|\\*(%|(?<=\\)[^\\])|([^\\%]+)", re.DOTALL)
_UNQUOTED = re.compile(rb"\\+u([0-9A-Fa-f]{4})|(?!)()|\\+([^\\])|([^\\]+)", re.DOTALL)
_CUT_ESCAPE = re.compile(rb"(?:\\{1,16}(?:u[0-9A-Fa-f]{0,3})?|%[0-9A-Fa-f]?)\Z")
_OF_ESCAPES = frozenset(b"\\%u0123456789abcdefABCDEF")
_LONGEST_SPELLING = 14


class Redaction:
    """Finds some secrets, and puts `[redacted]` in their place."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # A backslash at an end of a secret could be an escape's, and may have gone out already.
        kept = {secret.strip("\\") or secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        # A key may begin with another one: the longer one is looked for first.
        self._texts = sorted(kept, key=len, reverse=True)
        self._plain = [secret.encode("utf-8", "surrogateescape") for secret in self._texts]

    def redact(self, data: bytes, *, same_length: bool = False) -> bytes:
        """The data without any of the secrets; what was JSON still is. same_length: also as long as it was."""
        return self._pattern.sub(_marked if same_length else _mark, data) if self._may_be_in(data) else data

    def redact_name(self, name: bytes) -> bytes:
        """A header's name without any of the secrets, in whatever case and without what may not stand in a name."""
        lower = name.lower()
        return self._in_names.sub(_REDACTED_NAME, name) if any(s in lower for s in self._for_names) else name

    def unfinished(self, data: bytes) -> int:
        """How many bytes at the end of the data may be the beginning of a secret."""
        if not self._plain or not data or data[-1] not in self._inside:
            return 0
        cut = _CUT_ESCAPE.search(data, max(0, len(data) - 2 * _MOST_BACKSLASHES - 4))
        end = cut.start() if cut else len(data)
        begin = max(0, end - _LONGEST_SPELLING * max(map(len, self._bare)))
        # A percent sign may begin an escape or be itself.
        return len(data) - min(self._beginning(data, begin, end, reading) for reading in (_SPELLED, _UNQUOTED))

    def _beginning(self, data: bytes, begin: int, end: int, reading: re.Pattern[bytes]) -> int:
        """Where what may be the beginning of a secret begins in data[begin:end]; `end` where there is none."""
        spelled = bytearray()
        # From which byte of it on it is spelled at which place of the data; and whether byte by byte.
        offsets, places = list[int](), list[tuple[int, bool]]()
        for match in reading.finditer(data, begin, end):
            offsets.append(len(spelled))
            places.append((match.start(), match[4] is not None))
            spelled += match[4] or _value(match)
        longest = max(_common(secret, table, spelled) for secret, table in self._tables)
        if not longest:
            return end
        offset = len(spelled) - longest
        nearest = bisect_right(offsets, offset) - 1
        place, is_run = places[nearest]
        return place + (offset - offsets[nearest] if is_run else 0)

    def piecewise(self, *, same_length: bool = False) -> "Piecewise":
        """What takes the secrets out of data that comes in pieces. same_length: as for `redact`."""
        return Piecewise(self, same_length=same_length)

    def before(self, data: bytes, cut: int) -> int:
        """The cut, or where the secret begins that it would cut in two."""
        if self._may_be_in(data):
            for match in self._pattern.finditer(data):
                if match.start() < cut < match.end():
                    return match.start()
        return cut

    def _may_be_in(self, data: bytes) -> bool:
        if any(secret in data for secret in self._plain):
            return True
        if not self._plain or not (b"\\" in data or b"%" in data):
            return False
        bare = _JSON_ESCAPE.sub(_escaped, data).replace(b"\\", b"")
        unquoted = unquote_to_bytes(bare).replace(b"\\", b"") if b"%" in bare else bare
        return any(secret in bare or secret in unquoted for secret in self._bare)

    @cached_property
    def _bare(self) -> list[bytes]:
        return [secret.replace(b"\\", b"") for secret in self._plain]

    @cached_property
    def _tables(self) -> list[tuple[bytes, list[int]]]:
        return [(secret, _borders(secret)) for secret in self._bare]

    @cached_property
    def _inside(self) -> frozenset[int]:
        return _OF_ESCAPES.union(*self._plain)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(b"".join(map(_spellings, secret)) for secret in self._texts), re.DOTALL)

    @cached_property
    def _for_names(self) -> list[bytes]:
        allowed = (_NOT_IN_NAMES.sub(b"", secret) for secret in self._plain)
        names = {secret.lower() for secret in (*self._plain, *allowed) if len(secret) >= SHORTEST_SECRET}
        return sorted(names, key=len, reverse=True)

    @cached_property
    def _in_names(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(map(re.escape, self._for_names)), re.IGNORECASE)


class Piecewise:
    """Redacts a body piece by piece: a secret may lie in two of them."""

    def __init__(self, redaction: Redaction, *, same_length: bool) -> None:
        self._redaction = redaction
        self._same_length = same_length
        self._kept = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What can be passed on now; with `last`, all that is left."""
        data, self._kept = self._kept + data, b""
        if not last and (held := self._redaction.unfinished(data)):
            cut = self._redaction.before(data, len(data) - held)
            data, self._kept = data[:cut], data[cut:]
        return self._redaction.redact(data, same_length=self._same_length)


def _spellings(char: str) -> bytes:
    """A pattern for all the ways to write a character, with the backslashes before it."""
    raw = char.encode("utf-8", "surrogateescape")
    quoted = b"".join(b"%" + b"".join(_any_case_of(digit) for digit in b"%02x" % byte) for byte in raw)
    code = b"".join(_any_case_of(digit) for digit in b"%04x" % ord(char))
    if char == "\\":
        return rb"(?:\\{1,%d}u%b|\\{1,2}|%b)" % (_MOST_BACKSLASHES, code, quoted)
    before = rb"\\{0,%d}" % _MOST_BACKSLASHES
    return rb"(?:%b(?:%b|%b)|\\{1,%d}u%b)" % (before, re.escape(raw), quoted, _MOST_BACKSLASHES, code)


def _any_case_of(digit: int) -> bytes:
    one = bytes((digit,))
    return one if one.isdigit() else b"[%b%b]" % (one, one.upper())


def _escaped(match: re.Match[bytes]) -> bytes:
    return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")


def _value(match: re.Match[bytes]) -> bytes:
    value = _escaped(match) if match[1] else bytes((int(match[2], 16),)) if match[2] else match[3]
    return value.replace(b"\\", b"")


def _mark(match: re.Match[bytes]) -> bytes:
    # What is digits only may be a number: one has to stand there again.
    return b"0" if match[0].isdigit() else _REDACTED


def _marked(match: re.Match[bytes]) -> bytes:
    length = len(match[0])
    if match[0].isdigit():
        return b"1" * length
    return _REDACTED.ljust(length, b"*") if length >= len(_REDACTED) else b"*" * length


def _borders(secret: bytes) -> list[int]:
    """For each beginning of a secret: how long the longest shorter one is that it ends with (Knuth, Morris, Pratt)."""
    table, length = [0] * len(secret), 0
    for place in range(1, len(secret)):
        while length and secret[length] != secret[place]:
            length = table[length - 1]
        length += secret[length] == secret[place]
        table[place] = length
    return table


def _common(secret: bytes, table: list[int], text: bytearray) -> int:
    """How long the longest beginning of a secret is, but for all of it, with which the text ends."""
    length = 0
    for byte in text[-(len(secret) - 1) :] if len(secret) > 1 else b"":
        while length and secret[length] != byte:
            length = table[length - 1]
        length += secret[length] == byte
    return length
