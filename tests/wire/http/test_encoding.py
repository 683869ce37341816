import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import brotli
import pytest
import zstandard
from antigravity_healing.wire.http import encoding
from antigravity_healing.wire.http.encoding import PIECE_BYTES, DecodingError, Decompressor, TooLongError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples

MB = 1024 * 1024
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


def decoded(decompressor: Decompressor, data: bytes) -> bytes:
    return decompressor.decode(data, 2**40)


@pytest.mark.parametrize(("coding", "pack"), CODERS)
@steady
@given(data=st.binary(max_size=300) | st.just(TEXT), cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_decodes_to_the_same(coding: str, pack: object, data: bytes, cuts: list[int]) -> None:
    assert callable(pack)
    decompressor = Decompressor(coding)
    assert b"".join(decoded(decompressor, piece) for piece in pieces(pack(data), cuts)) == data


@pytest.mark.parametrize(("coding", "pack"), CODERS)
def test_byte_by_byte_decodes_to_the_same(coding: str, pack: object) -> None:
    assert callable(pack)
    decompressor, packed = Decompressor(coding), pack(TEXT)
    assert b"".join(decoded(decompressor, packed[at : at + 1]) for at in range(len(packed))) == TEXT
    assert decoded(decompressor, b"") == b""


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
    assert decoded(decompressor, halves[0]) == b"data: one\n\n"
    assert decoded(decompressor, halves[1]) == b"data: two\n\n"


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
    assert decoded(Decompressor(coding), packed) == TEXT


def test_several_members_of_a_gzip_body_are_one_body() -> None:
    # RFC 1952, section 2.2: a gzip file is a series of members.
    assert decoded(Decompressor("gzip"), gzip.compress(b"one ") + gzip.compress(b"two")) == b"one two"


def test_several_frames_of_a_zstd_body_are_one_body() -> None:
    # RFC 8878, section 3: the content is the concatenation of all frames'.
    decompressor = Decompressor("zstd")
    assert decoded(decompressor, zstd(b"one ")) + decoded(decompressor, zstd(b"two")) == b"one two"


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd)])
@steady
@given(texts=st.lists(st.binary(max_size=200), max_size=30), cuts=st.lists(st.integers(0, 2000), max_size=4))
def test_any_members_in_any_split_are_one_body(
    coding: str, pack: Callable[[bytes], bytes], texts: list[bytes], cuts: list[int]
) -> None:
    decompressor = Decompressor(coding)
    packed = b"".join(map(pack, texts))
    assert b"".join(decoded(decompressor, piece) for piece in pieces(packed, cuts)) == b"".join(texts)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd)])
def test_many_short_members_cost_what_their_number_costs(coding: str, pack: Callable[[bytes], bytes]) -> None:
    class Counted:
        """A member's decompressor that counts what it is given."""

        given = 0

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def pieces(self, data: bytes) -> Iterator[bytes]:
            Counted.given += len(data)
            yield from self._inner.pieces(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    whole = pack(b"x") * 2000

    def start() -> Counted:
        return Counted(encoding._Zlib(zlib.MAX_WBITS | 16) if coding == "gzip" else encoding._Zstd())

    assert b"".join(encoding._Members(start).pieces(whole)) == b"x" * 2000
    assert Counted.given < len(whole) + 2000 * 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_not_in_the_coding_raises(coding: str) -> None:
    decompressor = Decompressor(coding)
    with pytest.raises(DecodingError):
        decoded(decompressor, b'{"error": {"code": 500, "message": "not compressed at all, whatever the header says"}}')


@pytest.mark.parametrize("coding", ["compress", "gzip, rot13", "gzip;q=1"])
def test_an_unknown_coding_is_refused_at_once(coding: str) -> None:
    with pytest.raises(ValueError, match="not known"):
        Decompressor(coding)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@settings(steady, max_examples=examples(150))
@given(data=st.binary(max_size=80), cuts=st.lists(st.integers(0, 80), max_size=4))
def test_garbage_raises_nothing_but_a_decoding_error(coding: str, data: bytes, cuts: list[int]) -> None:
    decompressor = Decompressor(coding)
    try:
        for piece in pieces(data, cuts):
            decoded(decompressor, piece)
    except DecodingError:
        pass


def zeros(coding: str, size: int) -> bytes:
    """So many zeros, packed a megabyte at a time."""
    piece = bytes(MB)
    if coding == "br":
        packer = brotli.Compressor(quality=5)
        packed = b"".join(packer.process(piece) for _ in range(size // MB)) + packer.finish()
        return bytes(packed)
    if coding == "zstd":
        frame = zstandard.ZstdCompressor().compressobj()
        return b"".join(frame.compress(piece) for _ in range(size // MB)) + frame.flush()
    deflated = zlib.compressobj(1, wbits=zlib.MAX_WBITS | (16 if coding == "gzip" else 0))
    return b"".join(deflated.compress(piece) for _ in range(size // MB)) + deflated.flush()


BOMBS = ("gzip", "deflate", "br", "zstd", "gzip, gzip", "zstd, br")


@cache
def bomb(coding: str) -> bytes:
    """One of BOMBS, made when a test first wants it."""
    first, _, second = coding.partition(", ")
    packed = bomb(first) if second else zeros(first, 64 * MB)
    return brotli.compress(packed) if second == "br" else gzip.compress(packed) if second else packed


@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb_is_put_out_at_the_limit(coding: str) -> None:
    decompressor = Decompressor(coding)
    with pytest.raises(TooLongError):
        decompressor.decode(bomb(coding), MB)
    assert decompressor.made < MB + 2 * PIECE_BYTES


@pytest.mark.parametrize("coding", BOMBS)
def test_only_what_is_taken_is_made(coding: str) -> None:
    decompressor = Decompressor(coding)
    pieces = decompressor.pieces(bomb(coding))
    while decompressor.made < MB:
        assert len(next(pieces)) <= 2 * PIECE_BYTES
    assert decompressor.made < MB + 2 * PIECE_BYTES
    assert sum(map(len, Decompressor(coding).pieces(bomb(coding)))) == 64 * MB


def test_a_coding_that_makes_nothing_of_much_counts_too() -> None:
    nothing = gzip.compress(gzip.compress(b"") * 60_000)
    decompressor = Decompressor("gzip, gzip")
    with pytest.raises(TooLongError):
        decompressor.decode(nothing, MB)
    assert list(Decompressor("gzip, gzip").pieces(nothing)).count(b"") > 10
    assert decoded(Decompressor("gzip, gzip"), nothing) == b""


def test_what_is_as_long_as_the_limit_is_decoded() -> None:
    assert len(Decompressor("gzip").decode(zeros("gzip", MB), MB)) == MB


def test_a_zstd_frame_that_wants_much_memory_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    frame = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    packed = frame.compress(bytes(MB)) + frame.flush()
    with pytest.raises(DecodingError, match="memory"):
        decoded(Decompressor("zstd"), packed)


def test_more_than_two_codings_are_refused() -> None:
    with pytest.raises(ValueError, match="3 codings"):
        Decompressor("gzip, gzip, gzip")
    assert decoded(Decompressor("identity, gzip, identity, br"), brotli.compress(gzip.compress(TEXT))) == TEXT


@pytest.mark.parametrize(("coding", "pack"), CODERS)
@steady
@given(data=st.binary(max_size=300), cut=st.integers(1, 2000))
def test_a_body_is_whole_only_at_its_end(coding: str, pack: Callable[[bytes], bytes], data: bytes, cut: int) -> None:
    packed = pack(data)
    decompressor = Decompressor(coding)
    decoded(decompressor, packed)
    decompressor.finish()
    begun = packed[: cut % len(packed)] if packed else b""
    decompressor = Decompressor(coding)
    decoded(decompressor, begun)
    if begun and not decompressor.plain:
        with pytest.raises(DecodingError, match="ends in the middle"):
            decompressor.finish()
    else:
        decompressor.finish()


def outcome(coding: str, parts: list[bytes]) -> bytes | None:
    """What a whole body says that comes in these parts, None where it is refused."""
    decompressor = Decompressor(coding)
    try:
        said = b"".join([decoded(decompressor, part) for part in parts])
        decompressor.finish()
    except DecodingError:
        return None
    return said


@pytest.mark.parametrize(("coding", "pack"), CODERS[:-2])
@steady
@given(data=st.data(), cuts=st.lists(st.integers(0, 2000), max_size=4))
def test_a_body_that_was_hurt_is_refused_in_any_split_or_in_none(
    coding: str, pack: Callable[[bytes], bytes], data: st.DataObject, cuts: list[int]
) -> None:
    packed = bytearray(pack(data.draw(st.binary(max_size=40))))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(packed)
    whole = outcome(coding, [body])
    assert outcome(coding, pieces(body, cuts)) == whole
    assert outcome(coding, [body[at : at + 1] for at in range(len(body))]) == whole


@pytest.mark.parametrize("step", [1, 5, 8, 100])
def test_a_zstd_frame_has_as_much_as_it_says(step: int) -> None:
    last_block = b"\x01\0\0"
    for says, whole in ((0, True), (69, False)):
        frame = b"\x28\xb5\x2f\xfd\x20" + bytes([says]) + last_block
        parts = [frame[at : at + step] for at in range(0, len(frame), step)]
        assert outcome("zstd", parts) == (b"" if whole else None)
        assert outcome("zstd", [zstd(b"one"), *parts, zstd(b"two")]) == (b"onetwo" if whole else None)
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(b"three")
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    body = unsaid + skipped + unsaid
    assert outcome("zstd", [body[at : at + step] for at in range(0, len(body), step)]) == b"threethree"


@pytest.mark.parametrize("coding", ["gzip, br", "br, gzip", "zstd, deflate"])
def test_a_body_is_whole_only_where_each_of_its_codings_is(coding: str) -> None:
    pack = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd, "deflate": zlib.compress}
    inner, outer = coding.split(", ")
    decompressor = Decompressor(coding)
    decoded(decompressor, pack[outer](pack[inner](TEXT)[:-1]))
    with pytest.raises(DecodingError, match="ends in the middle"):
        decompressor.finish()


@pytest.mark.parametrize("pack", [zlib.compress, raw_deflate])
def test_nothing_may_come_after_the_end_of_what_has_no_members(pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DecodingError, match="after its end"):
        decoded(Decompressor("deflate"), pack(b"one") + b"more")
    decompressor = Decompressor("deflate")
    decoded(decompressor, pack(b"one"))
    with pytest.raises(DecodingError, match="after its end"):
        decoded(decompressor, b"more")
