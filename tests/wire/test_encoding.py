import gzip
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import brotli
import pytest
import zstandard
from healing.wire import encoding
from healing.wire.encoding import DecodingError, Decompressor
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(deadline=None, derandomize=True)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


CODERS = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstd),
    ("", bytes),
    ("identity", bytes),
]
TEXT = b'data: {"candidates": [{"content": {"parts": [{"text": "\xc3\xa9"}]}}]}\r\n\r\n' * 20


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize(("coding", "pack"), CODERS)
@steady
@given(data=st.binary(max_size=300) | st.just(TEXT), cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_decodes_to_the_same(coding: str, pack: object, data: bytes, cuts: list[int]) -> None:
    assert callable(pack)
    decompressor = Decompressor(coding)
    assert b"".join(decompressor.decode(piece) for piece in pieces(pack(data), cuts)) == data


@pytest.mark.parametrize(("coding", "pack"), CODERS)
def test_byte_by_byte_decodes_to_the_same(coding: str, pack: object) -> None:
    assert callable(pack)
    decompressor, packed = Decompressor(coding), pack(TEXT)
    assert b"".join(decompressor.decode(packed[at : at + 1]) for at in range(len(packed))) == TEXT
    assert decompressor.decode(b"") == b""


def flushing_gzip() -> tuple[bytes, bytes]:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    first = packer.compress(b"data: one\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    return first, packer.compress(b"data: two\n\n") + packer.flush()


def flushing_brotli() -> tuple[bytes, bytes]:
    packer = brotli.Compressor()
    first = packer.process(b"data: one\n\n") + packer.flush()
    return first, packer.process(b"data: two\n\n") + packer.finish()


def flushing_zstd() -> tuple[bytes, bytes]:
    packer = zstandard.ZstdCompressor().compressobj()
    first = packer.compress(b"data: one\n\n") + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return first, packer.compress(b"data: two\n\n") + packer.flush()


@pytest.mark.parametrize(
    ("coding", "halves"), [("gzip", flushing_gzip()), ("br", flushing_brotli()), ("zstd", flushing_zstd())]
)
def test_what_upstream_has_flushed_comes_out_at_once(coding: str, halves: tuple[bytes, bytes]) -> None:
    decompressor = Decompressor(coding)
    assert decompressor.decode(halves[0]) == b"data: one\n\n"
    assert decompressor.decode(halves[1]) == b"data: two\n\n"


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip, br", brotli.compress(gzip.compress(TEXT, mtime=0))),
        ("br,gzip", gzip.compress(brotli.compress(TEXT), mtime=0)),
        ("identity, gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate, zstd", zstd(zlib.compress(TEXT))),
    ],
    ids=["gzip-br", "br-gzip", "identity-gzip", "deflate-zstd"],
)
def test_several_codings_are_taken_off_from_the_last_to_the_first(coding: str, packed: bytes) -> None:
    assert Decompressor(coding).decode(packed) == TEXT


def test_several_members_of_a_gzip_body_are_one_body() -> None:
    # RFC 1952, section 2.2: a gzip file is a series of members.
    assert Decompressor("gzip").decode(gzip.compress(b"one ") + gzip.compress(b"two")) == b"one two"


def test_several_frames_of_a_zstd_body_are_one_body() -> None:
    # RFC 8878, section 3: the content is the concatenation of all frames'.
    decompressor = Decompressor("zstd")
    assert decompressor.decode(zstd(b"one ")) + decompressor.decode(zstd(b"two")) == b"one two"


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd)])
@steady
@given(texts=st.lists(st.binary(max_size=200), max_size=30), cuts=st.lists(st.integers(0, 2000), max_size=4))
def test_any_members_in_any_split_are_one_body(
    coding: str, pack: Callable[[bytes], bytes], texts: list[bytes], cuts: list[int]
) -> None:
    decompressor = Decompressor(coding)
    packed = b"".join(map(pack, texts))
    assert b"".join(decompressor.decode(piece) for piece in pieces(packed, cuts)) == b"".join(texts)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd)])
def test_many_short_members_cost_what_their_number_costs(coding: str, pack: Callable[[bytes], bytes]) -> None:
    class Counted:
        """A member's decompressor that counts what it is given."""

        given = 0

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def decompress(self, data: bytes) -> bytes:
            Counted.given += len(data)
            return bytes(self._inner.decompress(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    whole = pack(b"x") * 2000

    def start() -> Counted:
        gzipped = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return Counted(gzipped if coding == "gzip" else zstandard.ZstdDecompressor().decompressobj())

    assert encoding._Members(start).decode(whole) == b"x" * 2000
    assert Counted.given < len(whole) + 2000 * 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_not_in_the_coding_raises(coding: str) -> None:
    decompressor = Decompressor(coding)
    with pytest.raises(DecodingError):
        decompressor.decode(b'{"error": {"code": 500, "message": "not compressed at all, whatever the header says"}}')


@pytest.mark.parametrize("coding", ["compress", "gzip, rot13", "gzip;q=1"])
def test_an_unknown_coding_is_refused_at_once(coding: str) -> None:
    with pytest.raises(ValueError, match="not known"):
        Decompressor(coding)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@settings(steady, max_examples=150)
@given(data=st.binary(max_size=80), cuts=st.lists(st.integers(0, 80), max_size=4))
def test_garbage_raises_nothing_but_a_decoding_error(coding: str, data: bytes, cuts: list[int]) -> None:
    decompressor = Decompressor(coding)
    try:
        for piece in pieces(data, cuts):
            decompressor.decode(piece)
    except DecodingError:
        pass
