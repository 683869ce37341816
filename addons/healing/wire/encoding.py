"""Content codings, decoded as they come."""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

# How many bytes are given at first after the end of a member.
_SHORT = 64


class DecodingError(Exception):
    """The body is not what its content-encoding says."""


class Decompressor:
    """Decodes a body piece by piece.

    coding: the content-encoding header's value, also a list of several.
    Raises ValueError for a coding that is not known.
    """

    def __init__(self, coding: str) -> None:
        names = [name.strip().lower() for name in coding.split(",")]
        self._steps = [_step(name) for name in reversed(names) if name not in ("", "identity")]

    def decode(self, data: bytes) -> bytes:
        """Decode the next bytes. Raises DecodingError."""
        try:
            for step in self._steps:
                data = step(data)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise DecodingError(str(error)) from error
        return data


def _step(name: str) -> Callable[[bytes], bytes]:
    match name:
        case "gzip" | "x-gzip":
            return _Members(lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)).decode
        case "deflate":
            return _Deflate().decode
        case "br":
            process: Callable[[bytes], bytes] = brotli.Decompressor().process
            return process
        case "zstd":
            return _Members(lambda: zstandard.ZstdDecompressor().decompressobj()).decode
        case _:
            raise ValueError(f"content-encoding {name!r} is not known")


class _Decompressing(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Members:
    """A gzip body may be several members, a zstd body several frames, one behind the other."""

    def __init__(self, start: Callable[[], _Decompressing]) -> None:
        self._start = start
        self._inner = start()

    def decode(self, data: bytes) -> bytes:
        out, at, size = bytearray(), 0, len(data)
        while at < len(data):
            if self._inner.eof:
                self._inner = self._start()
            given = data[at : at + size]
            out += self._inner.decompress(given)
            if self._inner.eof:
                # What is behind a member is copied with its end: of many short ones little is given at a time.
                at += len(given) - len(self._inner.unused_data)
                size = _SHORT
            else:
                at += len(given)
                size *= 2
        return bytes(out)


class _Deflate:
    """`deflate` is zlib's format by the standard and the bare one in the wild: the first byte tells."""

    def __init__(self) -> None:
        self._inner: zlib._Decompress | None = None

    def decode(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._inner is None:
            zlib_header = data[0] & 0x0F == 8
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        return self._inner.decompress(data)
