"""Content codings, decoded as they come, and never more at once than a piece.

A few bytes can stand for gigabytes: nothing here makes more of them than whoever takes the pieces asks for.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import brotli
import zstandard

MOST_CODINGS = 2
"""One for the content and one for the way; more are a bomb."""
PIECE_BYTES = 64 * 1024
"""About the longest piece that a decompressor gives at once."""
# How many bytes are given at first after the end of a member.
_SHORT = 64
# After so many members with or without anything in them there is a piece.
_MANY = 256
# A block of four bytes may stand for 128 kB of zstd, and zstandard gives all that it makes of what it is given.
_ZSTD_GIVEN = 256
# RFC 9659: what a decoder has to have for a content-encoding, and need not have more of.
_ZSTD_WINDOW = 8 * 1024 * 1024
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LONGEST_ZSTD_HEAD = 18


class DecodingError(Exception):
    """The body is not what its content-encoding says."""


class TooLongError(Exception):
    """What a body decodes to is longer than it may be. limit: how many bytes that is."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it decodes to more than {limit:,} bytes")
        self.limit = limit


class Decompressor:
    """Decodes a body as it comes.

    coding: the content-encoding header's value, also a list of several.
    Raises ValueError for a coding that is not known, and for more than two of them.
    """

    def __init__(self, coding: str) -> None:
        names = [name.strip().lower() for name in coding.split(",")]
        names = [name for name in names if name not in ("", "identity")]
        if len(names) > MOST_CODINGS:
            raise ValueError(f"content-encoding has {len(names)} codings, at most {MOST_CODINGS} are taken off")
        self._steps = [_step(name) for name in reversed(names)]
        self._made = [0] * len(names)

    @property
    def made(self) -> int:
        """How many bytes have been made so far, by the coding that has made most."""
        return max(self._made, default=0)

    @property
    def plain(self) -> bool:
        """Whether there is nothing to decode."""
        return not self._steps

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes decode to, made piece by piece; all are to be taken before the next bytes.

        Some are empty: that is work, too, after which others may have their turn. Raises DecodingError.
        """
        found = iter((data,))
        for number in range(len(self._steps)):
            found = self._through(number, found)
        try:
            yield from found
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise DecodingError(str(error)) from error

    def decode(self, data: bytes, limit: int) -> bytes:
        """What the next bytes decode to.

        Raises DecodingError, and TooLongError as soon as all that has been made is more than `limit`.
        """
        out = bytearray()
        for piece in self.pieces(data):
            out += piece
            if max(len(out), self.made) > limit:
                raise TooLongError(limit)
        return bytes(out)

    def finish(self) -> None:
        """The body has come to its end. Raises DecodingError where a coding has not."""
        if not all(step.whole for step in self._steps):
            raise DecodingError("it ends in the middle")

    def _through(self, number: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
        step = self._steps[number]
        for piece in pieces:
            for made in step.pieces(piece):
                self._made[number] += len(made)
                yield made
            yield b""


def readable(data: bytes, coding: str, limit: int) -> bytes:
    """What a body says, for people and reports: what can't be decoded into at most `limit` bytes stays as it is."""
    try:
        return Decompressor(coding).decode(data, limit)
    except (ValueError, DecodingError, TooLongError):
        return data


class _Step(Protocol):
    """One coding of a body. whole: whether the body may end here."""

    @property
    def whole(self) -> bool: ...

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What these bytes decode to."""


def _step(name: str) -> _Step:
    match name:
        case "gzip" | "x-gzip":
            return _Members(lambda: _Zlib(zlib.MAX_WBITS | 16))
        case "deflate":
            return _Deflate()
        case "br":
            return _Brotli()
        case "zstd":
            return _Members(_Zstd, _ZSTD_GIVEN)
        case _:
            raise ValueError(f"content-encoding {name[:40]!r} is not known")


class _Member(Protocol):
    """A part of a body that ends by itself."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def pieces(self, data: bytes, /) -> Iterator[bytes]: ...


class _Zlib:
    """One zlib stream."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def pieces(self, data: bytes) -> Iterator[bytes]:
        full = True
        while data or full:
            piece = self._inner.decompress(data, PIECE_BYTES)
            data = self._inner.unconsumed_tail
            # A full piece may be followed by more that the same bytes stand for.
            full = len(piece) == PIECE_BYTES
            if piece:
                yield piece
            if self._inner.eof:
                return


class _Zstd:
    """One frame."""

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._head = b""
        self._made = 0

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self._head += data[: _LONGEST_ZSTD_HEAD - len(self._head)]
        made = self._inner.decompress(data)
        self._made += len(made)
        if self._inner.eof and self._says_other_length():
            raise DecodingError("a frame ends before all that it says it has")
        for at in range(0, len(made), PIECE_BYTES):
            yield made[at : at + PIECE_BYTES]

    def _says_other_length(self) -> bool:
        """Whether the frame has not the length that it says. Not all is compared when it comes in pieces."""
        if not self._head.startswith(_ZSTD_MAGIC):
            return False
        said = zstandard.get_frame_parameters(self._head).content_size
        return said not in (zstandard.CONTENTSIZE_UNKNOWN, self._made)


class _Members:
    """A gzip body may be several members, a zstd body several frames, one behind the other."""

    def __init__(self, start: Callable[[], _Member], longest: int = PIECE_BYTES) -> None:
        """longest: how many bytes a member is given at once at most."""
        self._start = start
        self._longest = longest
        self._inner: _Member | None = None

    @property
    def whole(self) -> bool:
        return self._inner is None or self._inner.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        at, size, ends = 0, self._longest, 0
        while at < len(data):
            if self._inner is None or self._inner.eof:
                self._inner = self._start()
            given = data[at : at + size]
            at += len(given)
            yield from self._inner.pieces(given)
            size = min(size * 2, self._longest)
            if self._inner.eof:
                # What is behind a member is copied with its end: of many short ones little is given at a time.
                at -= len(self._inner.unused_data)
                size = _SHORT
                ends += 1
                if ends % _MANY == 0:
                    yield b""


class _Deflate:
    """`deflate` is zlib's format by the standard and the bare one in the wild: the first byte tells."""

    def __init__(self) -> None:
        self._inner: _Zlib | None = None

    @property
    def whole(self) -> bool:
        return self._inner is None or self._inner.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), PIECE_BYTES):
            given = data[at : at + PIECE_BYTES]
            if self._inner is None:
                zlib_header = given[0] & 0x0F == 8
                self._inner = _Zlib(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
            elif self._inner.eof:
                raise DecodingError("something comes after its end")
            yield from self._inner.pieces(given)
        if self._inner is not None and self._inner.unused_data:
            raise DecodingError("something comes after its end")


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()
        self._begun = False

    @property
    def whole(self) -> bool:
        return not self._begun or bool(self._inner.is_finished())

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        given = data
        while True:
            piece: bytes = self._inner.process(given, output_buffer_limit=PIECE_BYTES)
            given = b""
            if piece:
                yield piece
            # All input may have been taken while a part of what it stands for has not been given yet.
            if len(piece) < PIECE_BYTES and self._inner.can_accept_more_data():
                return
