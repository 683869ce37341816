import gzip
import random
import zlib

import brotli
import pytest
import zstandard
from antigravity_healing.proxy.internals import content_decoding
from antigravity_healing.proxy.internals.content_decoding import bound_decoding
from mitmproxy import http
from mitmproxy.net import encoding

ALWAYS_BYTES = 64 * 1024
PACKED = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflateraw": lambda plain: zlib.compress(plain)[2:-4],
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
WITHOUT_BOUND = ["bz2", "BZ2-codec", "zlib", "zip", "zlib_codec", "hex"]


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_decoding, "ALWAYS_BYTES", ALWAYS_BYTES)
    monkeypatch.setattr(encoding, "custom_decode", dict(encoding.custom_decode))
    bound_decoding()


def response(content: bytes, coding: str) -> http.Response:
    made = http.Response.make(200, b"", {"content-encoding": coding})
    made.raw_content = content
    return made


@pytest.mark.parametrize("coding", PACKED)
def test_a_body_that_becomes_too_long_is_left_as_it_came(coding: str) -> None:
    bomb = PACKED[coding](bytes(100 * ALWAYS_BYTES))
    assert 64 * len(bomb) < 100 * ALWAYS_BYTES
    assert response(bomb, coding).get_content(strict=False) == bomb
    with pytest.raises(ValueError, match="decodes to more than"):
        response(bomb, coding).get_content()


@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize(
    "plain", [b"", b"said", bytes(ALWAYS_BYTES), random.Random(1).randbytes(100_000).hex().encode()]
)
def test_a_body_that_does_not_reads_as_ever(coding: str, plain: bytes) -> None:
    assert response(PACKED[coding](plain), coding).get_content() == plain


def test_one_that_is_cut_reads_as_in_mitmproxy() -> None:
    cut = gzip.compress(b"said" * 1000)[:-9]
    assert (response(cut, "gzip").get_content() or b"").startswith(b"said")


@pytest.mark.parametrize("codec", WITHOUT_BOUND)
def test_pythons_own_compressions_are_no_codings(codec: str) -> None:
    assert response(b"00" * 9, codec).get_content(strict=False) == b"00" * 9
    with pytest.raises(ValueError, match="is no coding"):
        response(b"00" * 9, codec).get_content()


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "cp1252"])
def test_texts_read_as_ever(charset: str) -> None:
    made = http.Response.make(200, "sägt".encode(charset), {"content-type": f"text/plain; charset={charset}"})
    assert made.text == "sägt"
