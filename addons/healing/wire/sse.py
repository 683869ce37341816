"""An incremental decoder for server-sent events that keeps every byte.

The rules are those of the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end
with CR, LF or CRLF, a blank line ends an event, one space after the colon is dropped, several `data` lines are joined
by LF. Two things go beyond it, because what a proxy has read it must be able to pass on: each event carries the bytes
it was made of, and the lines that the standard tells a reader to ignore are kept (Google appends errors as plain JSON).
"""

import re
from typing import NamedTuple

_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_EOL = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")
# The form of nearly every event there is; anything else is read line by line.
_PLAIN = re.compile(rb"(?:event: ([^\r\n]*)\r?\n)?data: ([^\r\n]*)(?:\r\n\r\n|\n\n)")


class SSEEvent(NamedTuple):
    """One block of a stream: everything up to and including its blank line.

    raw: the bytes as they came; the concatenation of all `raw` of a stream is the stream.
    data: the joined `data` lines, None where there is none (a comment, a blank line, only ignored lines).
    name: the `event` field, "" where there is none.
    stray: the lines that are no SSE at all, joined by LF; b"" nearly always.
    complete: False for a last event that the stream's end cut off before its blank line.
    """

    raw: bytes
    data: bytes | None = None
    name: str = ""
    stray: bytes = b""
    complete: bool = True

    @property
    def blank(self) -> bool:
        """Whether nothing is said: comments and empty lines only."""
        return self.data is None and not self.name and not self.stray


class SSEDecoder:
    """A push decoder: `decode` takes bytes as they come and gives the events they complete, `flush` the rest."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._scanned = 0
        self._started = False

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their event."""
        return self._size

    def decode(self, data: bytes) -> list[SSEEvent]:
        """Take the next bytes of the stream, give the events that are complete now."""
        if self._pieces and not _may_complete(self._pieces[-1], data):
            # A long event, an image say, comes in many pieces: they are joined once.
            self._pieces.append(data)
            self._size += len(data)
            return []
        buffer = b"".join((*self._pieces, data)) if self._pieces else data
        events = []
        start, scan = 0, self._scanned
        while start < len(buffer):
            if scan <= start and (plain := _PLAIN.match(buffer, start)):
                self._started = True
                start = scan = plain.end()
                name, field = plain.groups()
                events.append(SSEEvent(plain.group(), field, name.decode("utf-8", "replace") if name else ""))
                continue
            end = _leading_blank_lines(buffer, start)
            if end is None:
                match = _BLANK_LINE.search(buffer, max(start, scan))
                if match is None or _may_continue(match, buffer):
                    break
                end = match.end()
            elif end < 0:
                break
            events.append(self._event(buffer[start:end]))
            start = scan = end
        rest = buffer[start:]
        self._pieces, self._size = ([rest] if rest else []), len(rest)
        # A line end at the very end may be the first half of a blank line: look at it again.
        self._scanned = max(0, len(rest) - 3)
        return events

    def flush(self) -> list[SSEEvent]:
        """The stream has ended: give what is left, marked as not complete."""
        rest, self._pieces, self._size, self._scanned = b"".join(self._pieces), [], 0, 0
        return [self._event(rest, complete=False)] if rest else []

    def _event(self, raw: bytes, *, complete: bool = True) -> SSEEvent:
        text = raw
        if not self._started:
            self._started = True
            text = raw.removeprefix(BOM)
        data: list[bytes] = []
        stray: list[bytes] = []
        name = ""
        for line in _lines(text):
            if not line or line.startswith(b":"):
                continue
            field, colon, value = line.partition(b":")
            if field not in _FIELDS:
                stray.append(line)
                continue
            if colon and value.startswith(b" "):
                value = value[1:]
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
        joined = (data[0] if len(data) == 1 else b"\n".join(data)) if data else None
        return SSEEvent(raw, joined, name, b"\n".join(stray), complete)


def _may_complete(before: bytes, data: bytes) -> bool:
    """Whether these bytes may complete an event: they hold a line end, or show that a CR before them was one."""
    return b"\n" in data or b"\r" in data or before.endswith(b"\r")


def _lines(text: bytes) -> list[bytes]:
    return text.split(b"\n") if b"\r" not in text else _EOL.split(text)


def _leading_blank_lines(buffer: bytes, start: int) -> int | None:
    """Where two blank lines at the start of a block end; None where there are none, -1 where more bytes decide.

    They are told in pairs, however they come, as Google's keep-alive is a pair; a single one is what is left over.
    """
    first = _EOL.match(buffer, start)
    if first is None:
        return None
    pair = _BLANK_LINE.match(buffer, start)
    end = (pair or first).end()
    return -1 if end == len(buffer) and (pair is None or buffer.endswith(b"\r")) else end


def _may_continue(match: re.Match[bytes], buffer: bytes) -> bool:
    """Whether the blank line found may only be the CR of a CRLF whose LF has not come yet.

    A stream that ends its lines with CRLF does so throughout, so a CR alone at the end is waited on there, and
    nowhere else: a stream that uses bare CRs would otherwise lag one event behind.
    """
    return match.end() == len(buffer) and match.group() == b"\r\n\r"


def encode(data: bytes, name: str = "") -> bytes:
    """One event with LF line ends, as the Anthropic API writes them; `data` must not contain a line end."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"
