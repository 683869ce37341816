"""Bodies of requests: long, compressed again and again, of very many values."""

import contextlib
import gzip
import json
import zlib

import brotli
import zstandard

from tests.attack.arena import MB, MODEL, Arena, Setup, head, read_to_end, refused, status_of
from tests.attack.table import Attack

_JSON = {"content-type": "application/json"}
_BODY = json.dumps({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()


def _upload(place: Arena, size: int, *headers: str) -> bytes:
    """Send a body of this length for as long as the proxy takes it, and read what it says."""
    with place.connect(30) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head("POST", "/v1/messages", *headers, f"content-length: {size}"))
            piece = b" " * MB
            for _ in range(size // MB):
                connection.sendall(piece)
        return read_to_end(connection)


def before_403(place: Arena) -> None:
    """A body of 400 MB in a request that is refused whatever it says."""
    refused(_upload(place, 400 * MB, "origin: https://evil.example"), 403)


def before_404(place: Arena) -> None:
    """The same to a path that is none."""
    with place.connect(30) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head("POST", "/nothing", f"content-length: {400 * MB}"))
            for _ in range(400):
                connection.sendall(b" " * MB)
        refused(read_to_end(connection), 404, 413)


def too_long(place: Arena) -> None:
    """A body that is longer than any may be."""
    refused(_upload(place, 400 * MB), 413)


def too_long_in_chunks(place: Arena) -> None:
    """The same without a length."""
    with place.connect(30) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head("POST", "/v1/messages", "transfer-encoding: chunked"))
            piece = b"%x\r\n%s\r\n" % (MB, b" " * MB)
            for _ in range(400):
                connection.sendall(piece)
        refused(read_to_end(connection), 413)


def tiny_chunks(place: Arena) -> None:
    """Four megabytes in chunks of one byte."""
    data = head("POST", "/v1/messages", "transfer-encoding: chunked") + b"1\r\n \r\n" * (4 * MB // 6) + b"0\r\n\r\n"
    place.send(data, timeout=60)


def spaced_chunks(place: Arena) -> None:
    """Sixty thousand spaces in the line of a chunk, and in a trailer, before what must not be there."""
    spaces = b" " * 60_000
    for chunks in (b"1;" + spaces + b"\n\r\n", b"0\r\nx:" + spaces + b"\0\r\n\r\n"):
        refused(place.send(head("POST", "/v1/messages", "transfer-encoding: chunked") + chunks, timeout=60), 400)


def large_body(place: Arena) -> None:
    """A body of 20 MB, of a client that may send one, arrives."""
    content = "x" * 20 * MB
    found = place.ask(messages=[{"role": "user", "content": content}], timeout=60)
    assert found.status == 200, found.body[:200]


def _bomb(place: Arena, body: bytes, coding: str) -> None:
    found = place.post(body, {**_JSON, "content-encoding": coding}, timeout=60)
    refused(found, 400, 413, 415)


def gzip_in_gzip(place: Arena) -> None:
    """Gigabytes in two kilobytes."""
    inner = zlib.compressobj(9, wbits=31)
    packed = b"".join(inner.compress(bytes(16 * MB)) for _ in range(128)) + inner.flush()
    _bomb(place, gzip.compress(packed, 9), "gzip, gzip")


def plain_bomb(place: Arena) -> None:
    """A gigabyte in one."""
    coder = zlib.compressobj(9, wbits=31)
    _bomb(place, b"".join(coder.compress(bytes(16 * MB)) for _ in range(64)) + coder.flush(), "gzip")


def brotli_bomb(place: Arena) -> None:
    """The same in another coding."""
    coder = brotli.Compressor(quality=5)
    _bomb(place, b"".join(coder.process(bytes(16 * MB)) for _ in range(64)) + coder.finish(), "br")


def zstd_bomb(place: Arena) -> None:
    """And in another."""
    coder = zstandard.ZstdCompressor(19).compressobj()
    _bomb(place, b"".join(coder.compress(bytes(16 * MB)) for _ in range(64)) + coder.flush(), "zstd")


def many_codings(place: Arena) -> None:
    """A small body that was compressed five times, and one that is said to be so a thousand times."""
    body = _BODY
    for _ in range(5):
        body = gzip.compress(body)
    _bomb(place, body, ", ".join(["gzip"] * 5))
    _bomb(place, body, ", ".join(["gzip"] * 1000))


def cut_gzip(place: Arena) -> None:
    """A compressed body without its end is not whole."""
    before = len(place.good.calls)
    packed = gzip.compress(_BODY + b" " * 1000)
    for cut in (packed[:-1], packed[:-9], packed[:30]):
        refused(place.post(cut, {**_JSON, "content-encoding": "gzip"}), 400)
    assert len(place.good.calls) == before


def tiny_members(place: Arena) -> None:
    """Very many members of nothing."""
    _tolerated(place.post(gzip.compress(b"") * 400_000, {**_JSON, "content-encoding": "gzip"}, timeout=60).status)


def compressed_body(place: Arena) -> None:
    """A body that is honestly compressed arrives, in each coding."""
    long = json.dumps({**json.loads(_BODY), "system": "word " * MB}).encode()
    for coding, packed in (("gzip", gzip.compress(long)), ("br", brotli.compress(long, quality=1)),
                           ("zstd", zstandard.compress(long))):  # fmt: skip
        found = place.post(packed, {**_JSON, "content-encoding": coding})
        assert found.status == 200, f"{coding}: {found.body[:200]!r}"


def deep(place: Arena) -> None:
    """Nested as deep as it goes, and deeper."""
    for depth in (900, 1020, 1100, 100_000, 10_000_000):
        for opening, closing in (("[", "]"), ('{"a":', "}"), ('{"content":[', "]}")):
            if depth * len(opening) < 12 * MB:
                inside = opening * depth + ("1" if ":" in opening else "") + closing * depth
                body = f'{{"model":"{MODEL}","max_tokens":9,"messages":[{{"role":"user","content":[{inside}]}}]}}'
                _tolerated(place.post(body.encode(), _JSON, timeout=60).status)
                body = f'{{"model":"crossed","max_tokens":9,"messages":[{{"role":"user","content":[{inside}]}}]}}'
                _tolerated(place.post(body.encode(), _JSON, timeout=60).status)


def _tolerated(status: int) -> None:
    assert status == 200 or 400 <= status < 500, f"a {status}"


def tiny_values(place: Arena) -> None:
    """A hundred megabytes of the smallest values there are."""
    for item in (b"0,", b"{},", b'"",'):
        body = b'{"model":"%s","max_tokens":9,"metadata":{"x":[' % MODEL.encode() + item * (100 * MB // len(item))
        _tolerated(place.post(body + b'0]},"messages":[]}', _JSON, timeout=80).status)


def odd_numbers(place: Arena) -> None:
    """Numbers that only the slow parser takes, very many of them; and very long ones."""
    for item in ("NaN,", "1" * 4000 + ",", '"\\ud83d",'):
        body = f'{{"model":"{MODEL}","max_tokens":9,"messages":[],"x":[{item * (20 * MB // len(item))}0]}}'
        _tolerated(place.post(body.encode(), _JSON, timeout=80).status)


def slow_bodies(place: Arena) -> None:
    """Two hundred bodies that do not come to an end; a client is served beside them."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(place.connect())
            connection.sendall(head("POST", "/v1/messages", "content-length: 1000") + b"{")
        place.is_well()


def expecting(place: Arena) -> None:
    """A client that waits for leave to send a body that is too long."""
    answer = place.send(head("POST", "/v1/messages", "expect: 100-continue", f"content-length: {400 * MB}"), timeout=5)
    assert status_of(answer) in (413, 417), answer[:80]


_LITTLE = Setup(clients="max_body = 33554432")

BODIES = [
    Attack(5, "body-before-403", "400 MB with a foreign Origin", "403 at the head", before_403, large_body),
    Attack(5, "body-before-404", "400 MB to no path of ours", "404 at the head", before_404, large_body),
    Attack(5, "long-body", "400 MB with a length", "413 at the head", too_long, large_body),
    Attack(5, "long-chunked-body", "400 MB without a length", "413 at max_body (32 MB)", too_long_in_chunks, large_body,
           _LITTLE, 100 * MB),
    Attack(5, "tiny-chunks", "4 MB in chunks of a byte", "others unhurt", tiny_chunks),
    Attack(5, "spaced-chunks", "60,000 spaces in the line of a chunk, in a trailer", "400 at once", spaced_chunks),
    Attack(5, "slow-bodies", "200 bodies without an end", "others are served", slow_bodies),
    Attack(5, "expecting", "Expect: 100-continue for 400 MB", "413", expecting),
    Attack(6, "gzip-in-gzip", "2 GB of zeros in gzip in gzip", "refused, 128 MB at most", gzip_in_gzip, compressed_body,
           memory=300 * MB),
    Attack(6, "gzip-bomb", "1 GB of zeros in 1 MB of gzip", "refused", plain_bomb, compressed_body, memory=300 * MB),
    Attack(6, "brotli-bomb", "1 GB of zeros in brotli", "refused", brotli_bomb, compressed_body, memory=300 * MB),
    Attack(6, "zstd-bomb", "1 GB of zeros in zstd", "refused", zstd_bomb, compressed_body, memory=300 * MB),
    Attack(6, "many-codings", "five and a thousand codings", "refused", many_codings, compressed_body),
    Attack(6, "cut-gzip", "gzip without its end", "400, not sent on", cut_gzip, compressed_body),
    Attack(6, "tiny-members", "400,000 empty gzip members", "others unhurt", tiny_members, compressed_body),
    Attack(8, "deep-json", "JSON nested 900 to 3,000,000 deep", "200 or 4xx, no traceback", deep, memory=200 * MB),
    Attack(8, "tiny-values", "100 MB of JSON of 0, {} and empty strings", "200 or 4xx, others unhurt", tiny_values,
           memory=1500 * MB),
    Attack(8, "slow-json", "20 MB each of NaN, 4,000 digits, half pairs", "200 or 4xx, others unhurt", odd_numbers,
           memory=800 * MB),
]  # fmt: skip
