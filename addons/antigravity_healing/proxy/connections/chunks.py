"""The chunked coding of HTTP/1, many chunks at once."""

import re
from collections.abc import Iterable, Iterator

import h11
from h11._readers import _obsolete_line_fold
from h11._receivebuffer import ReceiveBuffer

from antigravity_healing.wire.http.fields import wrong_fields

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,20}")
_BARE_LINE = re.compile(rb"([0-9A-Fa-f]{1,20})\r\n")
_LINE_END = b"\r\n"


class ChunkReader:
    """Reads a chunked body and takes for one what h11's reader does, but gives all data that has come as one.

    h11's own costs so much for each chunk that a body of tiny ones holds up everybody, and its patterns take time that
    grows with the square of the spaces in a chunk's line or in a trailer.
    """

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the chunk that is under way."""
        self._end_left = 0
        """Bytes of the line's end behind it that are still to come."""
        self._in_trailers = False

    def __call__(self, buf: ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        """Take data, or the end with its trailers; None if neither is there. Raises h11.ProtocolError.

        What is wrong behind data is told by the next call.
        """
        if not self._in_trailers and (data := self._take_data(buf)):
            return h11.Data(data=data)
        lines = buf.maybe_extract_lines() if self._in_trailers else None
        return None if lines is None else h11.EndOfMessage(headers=_trailers(lines))

    def read_eof(self) -> None:
        """The connection has ended before the body has. Raises h11.ProtocolError."""
        raise h11.RemoteProtocolError("the connection was closed within a chunked body")

    def _take_data(self, buf: ReceiveBuffer) -> bytes:
        received = bytes(buf)
        pieces: list[bytes] = []
        at = 0
        try:
            while at < len(received) and not self._in_trailers:
                if self._left:
                    piece = received[at : at + self._left]
                    pieces.append(piece)
                    at += len(piece)
                    self._left -= len(piece)
                    self._end_left = 0 if self._left else len(_LINE_END)
                elif self._end_left:
                    at += self._take_end(received, at)
                    at += _take_whole(received, at, pieces) if not self._end_left else 0
                elif size := self._take_line(received, at):
                    at += size
                else:
                    break
        except h11.ProtocolError:
            if not pieces:
                raise
        buf.maybe_extract_at_most(at)
        return b"".join(pieces)

    def _take_end(self, received: bytes, at: int) -> int:
        """Take what is there of the line's end behind a chunk; gives its length."""
        missing = _LINE_END[-self._end_left :]
        found = received[at : at + len(missing)]
        if not missing.startswith(found):
            raise h11.RemoteProtocolError("a chunk that is longer than it says")
        self._end_left -= len(found)
        return len(found)

    def _take_line(self, received: bytes, at: int) -> int:
        """Take a line that begins a chunk; gives its length, 0 if it is not complete."""
        end = received.find(_LINE_END, at)
        if end < 0:
            return 0
        self._left = _size(received[at:end])
        self._in_trailers = not self._left
        return end + len(_LINE_END) - at


def _take_whole(received: bytes, at: int, pieces: list[bytes]) -> int:
    """Take chunks as long as they are whole and of the plainest form; gives how many bytes those are."""
    begin = at
    while line := _BARE_LINE.match(received, at):
        start = line.end()
        end = start + int(line[1], 16)
        if end == start or not received.startswith(_LINE_END, end):
            break
        pieces.append(received[start:end])
        at = end + len(_LINE_END)
    return at - begin


def _size(line: bytes) -> int:
    """The size in the line of a chunk; spaces, or extensions, may follow it."""
    size = _SIZE.match(line)
    rest = line[size.end() :] if size else line
    is_extension = rest.startswith(b";") and b"\n" not in rest
    if size is None or not (is_extension or not rest.strip(b" \t")):
        raise h11.RemoteProtocolError("a chunk without a size")
    return int(size[0], 16)


def _trailers(lines: Iterable[bytes | bytearray]) -> list[tuple[bytes, bytes]]:
    fields = list(_fields(lines))
    if wrong := wrong_fields(fields):
        raise h11.RemoteProtocolError(f"trailers with {wrong}")
    return fields


def _fields(lines: Iterable[bytes | bytearray]) -> Iterator[tuple[bytes, bytes]]:
    for line in _obsolete_line_fold(map(bytes, lines)):
        name, colon, value = bytes(line).partition(b":")
        if not colon:
            raise h11.RemoteProtocolError("trailers with a line that is not a header")
        yield name, value.strip(b" \t")
