"""An incremental decoder for a stream that is one JSON array, an element for each event, that keeps every byte."""

import re

from antigravity_healing.wire.http.sse import BOM, SSEEvent

_BETWEEN = re.compile(rb"[ \t\r\n,]*+")
_JUNK = re.compile(rb"[^ \t\r\n,{}\[\]]++|.", re.DOTALL)
# What has no bracket that counts: strings have some that do not.
_STRING_TAIL = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_LEVEL = re.compile(rb'[^"{}\[\]]*+(?:"%b"[^"{}\[\]]*+)*+' % _STRING_TAIL, re.DOTALL)
_REST_OF_STRING = re.compile(_STRING_TAIL, re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]++")
_QUOTE = ord('"')


class ArrayDecoder:
    """A push decoder: `decode` takes bytes as they come and gives the elements they complete, `flush` the rest.

    An event's `data` is its element, its `raw` that with the bracket or comma before it, so that what has come out
    always ends behind an element. Blanks, and the closing bracket, come out as events that say nothing.
    It looks for brackets only: an element is whatever stands between two that match, and what is none is told as data
    that is no JSON. What it does for a stream is proportional to the stream's length, however it is cut.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._seen = 0
        self._element = -1
        self._depth = 0
        self._in_string = False
        self._started = False
        self._open = False

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their element."""
        return len(self._rest)

    @property
    def rest(self) -> bytes:
        """The bytes that wait for the rest of their element."""
        return bytes(self._rest)

    def completes(self, data: bytes) -> bool:
        """Whether an element that has begun may be complete with these bytes."""
        return self._element >= 0 and (b"}" in data or b"]" in data)

    def decode(self, data: bytes) -> list[SSEEvent]:
        """Take the next bytes of the stream, give the elements that are complete now."""
        self._rest += data
        if not self._has_started():
            return []
        events, start = [], 0
        while self._seen < len(self._rest):
            found = self._end_of_element() if self._element >= 0 else self._next_between()
            if found is None:
                break
            end, element = found
            events.append(SSEEvent(bytes(self._rest[start:end]), element))
            self._seen, start = end, end
        if self._element < 0 and _BLANKS.fullmatch(self._rest, start):
            # A sign of life: nothing that follows is needed to pass it on.
            events.append(SSEEvent(bytes(self._rest[start:])))
            start = len(self._rest)
        del self._rest[:start]
        self._seen = max(0, self._seen - start)
        if self._element >= 0:
            self._element -= start
        return events

    def flush(self) -> list[SSEEvent]:
        """The stream has ended: give what is left, marked as not complete."""
        rest, self._rest = bytes(self._rest), bytearray()
        element = rest[self._element :] if self._element >= 0 else None
        self._element, self._seen = -1, 0
        return [SSEEvent(rest, element, complete=False)] if rest else []

    def _has_started(self) -> bool:
        """Whether what may be a byte order mark has come whole."""
        if not self._started and (len(self._rest) >= len(BOM) or not BOM.startswith(self._rest)):
            self._started = True
            self._seen = len(BOM) if self._rest.startswith(BOM) else 0
        return self._started

    def _next_between(self) -> tuple[int, bytes | None] | None:
        """Look on from outside of an element. Gives where an event ends, and what it says; None where none does."""
        rest = self._rest
        while (at := _end_of(_BETWEEN, rest, self._seen)) < len(rest):
            sign = bytes(rest[at : at + 1])
            if sign == b"[" and not self._open:
                self._open, self._seen = True, at + 1
            elif sign in (b"{", b"["):
                self._element, self._seen, self._depth = at, at, 0
                return self._end_of_element()
            elif sign == b"]" and self._open:
                self._open = False
                return at + 1, None
            else:
                end = _end_of(_JUNK, rest, at)
                return end, bytes(rest[at:end])
        self._seen = at
        return None

    def _end_of_element(self) -> tuple[int, bytes] | None:
        """Look on in an element. Gives where it ends, and the element; None where more has to come."""
        rest, at = self._rest, self._seen
        while True:
            if self._in_string:
                at = _end_of(_REST_OF_STRING, rest, at)
                if rest[at : at + 1] != b'"':
                    break
                self._in_string, at = False, at + 1
            at = _end_of(_LEVEL, rest, at)
            if at == len(rest):
                break
            sign, at = rest[at], at + 1
            if sign == _QUOTE:
                self._in_string = True
                continue
            self._depth += 1 if sign in b"{[" else -1
            if self._depth == 0:
                element, self._element = bytes(rest[self._element : at]), -1
                return at, element
        self._seen = at
        return None


def _end_of(form: re.Pattern[bytes], text: bytearray, at: int) -> int:
    """Where what has this form, from here on, ends. The text can grow again afterwards."""
    found = form.match(text, at)
    assert found is not None
    return found.end()
