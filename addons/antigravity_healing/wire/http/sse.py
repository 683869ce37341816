"""An incremental decoder for server-sent events that keeps every byte.

The rules are those of the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end
with CR, LF or CRLF, a blank line ends an event, one space after the colon is dropped, several `data` lines are joined
by LF. Two things go beyond it, because what a proxy has read it must be able to pass on: each event carries the bytes
it was made of, and the lines that the standard tells a reader to ignore are kept (Google appends errors as plain JSON).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# A blank line is two line ends; a CRLF after its LF is the second of them as much as a bare CR.
_BLANK_LINES = (b"\n\n", b"\n\r", b"\r\r")
_EOL = re.compile(rb"\r\n|\n|\r")
_PAIR = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")
# The form of nearly every event there is, in streams with and without CR; anything else is read line by line.
# `re` is quick where one byte ends a field, and with CRs one far away must not be looked for again for each event.
_PLAIN_LF = re.compile(rb"(?:event: ([^\n]*+)\n)?data: ([^\n]*+)\n\n")
_PLAIN_CRLF = re.compile(rb"(?:event: ([^\r]{0,4096}+)\r\n)?data: ([^\r]{0,4096}+)\r\n\r\n")
# The longest beginning of a blank line, and so what is looked at again when more has come.
_TAIL = 3
_CR = ord("\r")
_LINES_AT_ONCE = 64 * 1024


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
    """A push decoder: `decode` takes bytes as they come and gives the events they complete, `flush` the rest.

    What it does for a stream is proportional to the stream's length, however it is cut and whatever is in it.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._started = False

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their event."""
        return len(self._rest)

    @property
    def begun(self) -> bool:
        """Whether these are more than comments and empty lines."""
        return any(line and not line.startswith(b":") for line in _lines(self.rest))

    @property
    def rest(self) -> bytes:
        """The bytes that wait for the rest of their event."""
        return bytes(self._rest)

    def decode(self, data: bytes) -> list[SSEEvent]:
        """Take the next bytes of the stream, give the events that are complete now."""
        if not self._rest:
            buffer, scan = data, 0
        elif self.completes(data):
            buffer, scan = b"".join((self._rest, data)), max(0, len(self._rest) - _TAIL)
        else:
            # A long event, an image say, comes in many pieces: what has come is not looked at again before its end.
            self._rest += data
            return []
        events, start = [], 0
        ends = _BlankLines(buffer)
        form = _PLAIN_CRLF if b"\r" in buffer else _PLAIN_LF
        while start < len(buffer):
            if (plain := form.match(buffer, start)) and (event := _plain(plain)):
                self._started = True
                events.append(event)
                start = plain.end()
                continue
            end = _leading_blank_lines(buffer, start) if buffer[start] in b"\r\n" else ends.end_after(max(start, scan))
            if end < 0:
                break
            events.append(self._event(buffer[start:end]))
            start = end
        # Only now, so that a failure leaves what had come as it was.
        self._rest = bytearray(memoryview(buffer)[start:])
        return events

    def flush(self) -> list[SSEEvent]:
        """The stream has ended: give what is left, marked as not complete."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [self._event(rest, complete=False)] if rest else []

    def completes(self, data: bytes) -> bool:
        """Whether an event that has begun is complete with these bytes."""
        if not self._rest:
            return False
        if self._rest[0] in b"\r\n":
            return True  # blank lines, a few bytes at most: that is not decided here
        tail = bytes(self._rest[-_TAIL:])
        if not (b"\n" in data or b"\r" in data or tail.endswith(b"\r")):
            return False
        return _BlankLines(tail + data).end_after(0) >= 0

    def _event(self, raw: bytes, *, complete: bool = True) -> SSEEvent:
        text = raw
        if not self._started:
            self._started = True
            text = raw.removeprefix(BOM)
        data: bytes | bytearray | None = None
        stray: bytes | bytearray | None = None
        name = ""
        for line in _lines(text):
            if not line or line.startswith(b":"):
                continue
            field, colon, value = line.partition(b":")
            if field not in _FIELDS:
                stray = _joined(stray, line)
                continue
            if colon and value.startswith(b" "):
                value = value[1:]
            if field == b"data":
                data = _joined(data, value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
        return SSEEvent(raw, None if data is None else bytes(data), name, bytes(stray or b""), complete)


def _plain(match: re.Match[bytes]) -> SSEEvent | None:
    """The event of this form; None where a bare LF among CRs makes it more lines than it seems."""
    name, data = match.groups()
    if match.re is _PLAIN_CRLF and (b"\n" in data or (name and b"\n" in name)):
        return None
    return SSEEvent(match.group(), data, name.decode("utf-8", "replace") if name else "")


class _BlankLines:
    """Finds the blank lines of a buffer from the first to the last, looking at each byte once for each of their forms.

    By `find`, as a class of characters takes `re` ten times as long.
    """

    def __init__(self, buffer: bytes) -> None:
        self._buffer = buffer
        self._next = dict.fromkeys(_BLANK_LINES, -1)

    def end_after(self, at: int) -> int:
        """Where the first blank line from `at` on ends, -1 where there is none or more bytes decide.

        `at` never goes back. A stream that ends its lines with CRLF does so throughout, so a CR alone at the end is
        waited on there, and nowhere else: a stream that uses bare CRs would otherwise lag one event behind.
        """
        buffer, length = self._buffer, len(self._buffer)
        first = length
        for form, place in self._next.items():
            if place < at:
                place = buffer.find(form, at)
                self._next[form] = place = place if place >= 0 else length
            first = min(first, place)
        if first == length:
            return -1
        end = first + 2
        if buffer[end - 1] != _CR:
            return end
        if buffer[end : end + 1] == b"\n":
            return end + 1
        return -1 if end == length and buffer[first - 1 : end] == b"\r\n\r" else end


def _joined(before: bytes | bytearray | None, line: bytes) -> bytes | bytearray:
    """Lines joined by LF as they are found: a list of many short ones would take several times their bytes."""
    if before is None:
        return line
    joined = before if isinstance(before, bytearray) else bytearray(before)
    joined += b"\n"
    joined += line
    return joined


def _lines(text: bytes) -> Iterator[bytes]:
    """The lines of a text, not all at once if it is long."""
    start = 0
    while len(text) - start > _LINES_AT_ONCE and (end := text.find(b"\n", start + _LINES_AT_ONCE)) >= 0:
        yield from text[start : end + 1].splitlines()
        start = end + 1
    yield from (text[start:] if start else text).splitlines()


def _leading_blank_lines(buffer: bytes, start: int) -> int:
    """Where the one or two blank lines at the start of a block end, -1 where more bytes decide.

    They are told in pairs, however they come, as Google's keep-alive is a pair; a single one is what is left over.
    """
    pair = _PAIR.match(buffer, start)
    found = pair or _EOL.match(buffer, start)
    assert found is not None
    end = found.end()
    return -1 if end == len(buffer) and (pair is None or buffer.endswith(b"\r")) else end


def encode(data: bytes, name: str = "") -> bytes:
    """One event with LF line ends, as the Anthropic API writes them; `data` must not contain a line end."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"
