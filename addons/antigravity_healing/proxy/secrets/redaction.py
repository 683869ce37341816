"""Taking secrets out of what others say, in the spellings that HTTP and JSON have for them.

Those are: as it is, with JSON's escapes (`\\/`, `\\u0041`, also those of JSON inside of JSON), with those of URLs
(`%2F`), and any mixture of these. What is transformed as a whole (base64, a digest) is not found.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache

from antigravity_healing.proxy.secrets.spellings import (
    AS_IN_JSON,
    AS_IN_URLS,
    CUT_ESCAPE,
    Reading,
    Rough,
    Spelled,
    roughly,
)

SHORTEST_SECRET = 8
"""In characters. What is shorter is no secret, and would take pieces out of ordinary words."""
_REDACTED = b"[redacted]"
# In a name brackets are not allowed.
_REDACTED_NAME = b"redacted"
_NOT_IN_NAMES = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_OF_ESCAPES = frozenset(b"\\%u0123456789abcdefABCDEF")
_LONGEST_CUT_ESCAPE = 20
_LONGEST_SPELLING = 14
_SHARE_BYTES = 32 * 1024
# Of the places where a secret may begin; with more, each byte is looked at.
_MOST_COMPARED = 16
_BACKSLASH = ord("\\")

type Span = tuple[int, int]


class Redaction:
    """Finds some secrets, and puts `[redacted]` in their place."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # A backslash at an end of a secret could be an escape's, and may have gone out already.
        kept = {secret.strip("\\") or secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        self._plain = [secret.encode("utf-8", "surrogateescape") for secret in kept]

    def redact(self, data: bytes, *, same_length: bool = False) -> bytes:
        """The data without any of the secrets; what was JSON still is. same_length: also as long as it was."""
        return self.piecewise(same_length=same_length).feed(data, last=True)

    def redact_before(self, data: bytes, cut: int, *, same_length: bool = False) -> tuple[bytes, bytes]:
        """The same of what is before the cut, or before the secret that it would cut in two; and the rest as it is."""
        spans = self._spans(data)
        cut = next((start for start, end in spans if start < cut < end), cut)
        before = [span for span in spans if span[1] <= cut]
        return _replaced(data[:cut], before, _marked if same_length else _mark), data[cut:]

    def redact_name(self, name: bytes) -> bytes:
        """A header's name without any of the secrets, in whatever case and without what may not stand in a name."""
        lower = name.lower()
        found = (span for secret in self._for_names for span in _occurrences(secret, lower))
        return _replaced(name, _joined(found), lambda _: _REDACTED_NAME)

    def unfinished(self, data: bytes) -> int:
        """How many bytes at the end of the data may be the beginning of a secret."""
        if not self._plain or not data or data[-1] not in self._inside:
            return 0
        cut = CUT_ESCAPE.search(data, max(0, len(data) - _LONGEST_CUT_ESCAPE))
        end = cut.start() if cut else len(data)
        begin = max(0, end - _LONGEST_SPELLING * max(len(secret) for secret, _ in self._bare))
        # A percent sign may begin an escape or be itself.
        readings = (AS_IN_URLS, AS_IN_JSON) if data.find(b"%", begin, end) >= 0 else (AS_IN_JSON,)
        return len(data) - min(self._beginning(data, begin, end, reading) for reading in readings)

    def _beginning(self, data: bytes, begin: int, end: int, reading: Reading) -> int:
        """Where what may be the beginning of a secret begins in data[begin:end]; `end` where there is none."""
        spelled = Spelled(data, begin, end, reading)
        longest = max(_common(secret, spelled.text) for secret, _ in self._bare)
        return _escape_before(data, spelled.start(len(spelled.text) - longest)) if longest else end

    def piecewise(self, *, same_length: bool = False) -> "Piecewise":
        """What takes the secrets out of data that comes in pieces. same_length: as for `redact`."""
        return Piecewise(self, same_length=same_length)

    def _spans(self, data: bytes) -> list[Span]:
        """Where secrets are, in order."""
        found = [span for secret in self._plain for span in _occurrences(secret, data)]
        for reading in self._readings(data):
            spelled = Spelled(data, 0, len(data), reading)
            found += (span for secret, count in self._bare if secret for span in spelled.spans(secret, count))
        return _with_escapes(data, _joined(found))

    def _readings(self, data: bytes) -> Iterator[Reading]:
        """The ways to read the data in which it may have a secret."""
        if not self._plain or not (b"\\" in data or b"%" in data):
            return
        rough = Rough(data)
        if rough.may_say(self._rough):
            yield AS_IN_JSON
        if rough.may_say_in_urls(self._rough):
            yield AS_IN_URLS

    @cached_property
    def _bare(self) -> list[tuple[bytes, int]]:
        """The secrets without their backslashes, and how many those are."""
        return [(secret.replace(b"\\", b""), secret.count(b"\\")) for secret in self._plain]

    @cached_property
    def _rough(self) -> list[bytes]:
        return [roughly(secret) for secret, _ in self._bare if secret]

    @cached_property
    def share(self) -> int:
        """How much is looked at together, at most: what takes the time and the memory is what is spelled oddly."""
        return max(_SHARE_BYTES, 4 * _LONGEST_SPELLING * max((len(secret) for secret in self._plain), default=0))

    @cached_property
    def _inside(self) -> frozenset[int]:
        return _OF_ESCAPES.union(*self._plain)

    @cached_property
    def _for_names(self) -> list[bytes]:
        allowed = (_NOT_IN_NAMES.sub(b"", secret) for secret in self._plain)
        return list({secret.lower() for secret in (*self._plain, *allowed) if len(secret) >= SHORTEST_SECRET})


class Piecewise:
    """Redacts a body piece by piece: a secret may lie in two of them."""

    def __init__(self, redaction: Redaction, *, same_length: bool) -> None:
        self._redaction = redaction
        self._same_length = same_length
        self._kept = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What can be passed on now; with `last`, all that is left."""
        size = self._redaction.share
        starts = range(0, max(len(data), 1), size)
        return b"".join(self._feed(data[at : at + size], last=last and at == starts[-1]) for at in starts)

    def _feed(self, share: bytes, *, last: bool) -> bytes:
        data = self._kept + share
        cut = len(data) - (0 if last else self._redaction.unfinished(data))
        redacted, self._kept = self._redaction.redact_before(data, cut, same_length=self._same_length)
        return redacted


def _occurrences(secret: bytes, data: bytes) -> Iterator[Span]:
    at = data.find(secret)
    while at >= 0:
        yield at, at + len(secret)
        at = data.find(secret, at + len(secret))


def _with_escapes(data: bytes, spans: list[Span]) -> list[Span]:
    """The spans with the escapes that their first characters may belong to."""
    before = 0
    for at, (start, end) in enumerate(spans):
        spans[at] = _escape_before(data, start, before), end
        before = end
    return spans


def _escape_before(data: bytes, start: int, least: int = 0) -> int:
    """Where the escape begins that the character at `start` may belong to, at the earliest."""
    while start > least and data[start - 1] == _BACKSLASH:
        start -= 1
    return start


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order; those that overlap are one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _replaced(data: bytes, spans: list[Span], mark: Callable[[bytes], bytes]) -> bytes:
    pieces, at = list[bytes](), 0
    for start, end in spans:
        pieces += (data[at:start], mark(data[start:end]))
        at = end
    return b"".join((*pieces, data[at:])) if spans else data


def _mark(found: bytes) -> bytes:
    # What is digits only may be a number: one has to stand there again.
    return b"0" if found.isdigit() else _REDACTED


def _marked(found: bytes) -> bytes:
    length = len(found)
    if found.isdigit():
        return b"1" * length
    return _REDACTED.ljust(length, b"*") if length >= len(_REDACTED) else b"*" * length


def _common(secret: bytes, text: bytes) -> int:
    """How long the longest beginning of a secret is, but for all of it, with which the text ends."""
    rest = text[max(0, len(text) - len(secret) + 1) :] if secret else b""
    head = secret[:SHORTEST_SECRET]
    at = rest.find(head)
    for _ in range(_MOST_COMPARED):
        if at < 0:
            return next((size for size in range(len(head), 0, -1) if rest.endswith(head[:size])), 0)
        if secret.startswith(rest[at:]):
            return len(rest) - at
        at = rest.find(head, at + 1)
    table, length = _borders(secret), 0
    for byte in rest:
        while length and secret[length] != byte:
            length = table[length - 1]
        length += secret[length] == byte
    return length


@lru_cache(16)
def _borders(secret: bytes) -> list[int]:
    """For each beginning of a secret: how long the longest shorter one is that it ends with (Knuth, Morris, Pratt)."""
    table, length = [0] * len(secret), 0
    for place in range(1, len(secret)):
        while length and secret[length] != secret[place]:
            length = table[length - 1]
        length += secret[length] == secret[place]
        table[place] = length
    return table
