"""Content codings that are flushed piece by piece, as a streaming server does it."""

from __future__ import annotations

import zlib
from typing import Literal, Protocol

import brotli
import zstandard

type Encoding = Literal["gzip", "deflate", "br", "zstd"]


class Coder(Protocol):
    """Encodes a body; what `piece` has given can be decoded without waiting for more."""

    def piece(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Identity:
    def piece(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class Zlib:
    def __init__(self, wbits: int) -> None:
        self._coder = zlib.compressobj(wbits=wbits)

    def piece(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._coder.flush()


class Brotli:
    def __init__(self) -> None:
        self._coder = brotli.Compressor()

    def piece(self, data: bytes) -> bytes:
        return bytes(self._coder.process(data) + self._coder.flush())

    def finish(self) -> bytes:
        return bytes(self._coder.finish())


class Zstd:
    def __init__(self) -> None:
        self._coder = zstandard.ZstdCompressor().compressobj()

    def piece(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._coder.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


def coder_for(encoding: Encoding | None) -> Coder:
    match encoding:
        case None:
            return Identity()
        case "gzip":
            return Zlib(31)
        case "deflate":
            return Zlib(15)
        case "br":
            return Brotli()
        case "zstd":
            return Zstd()
