"""A few bytes that stand for gigabytes cost neither memory nor anybody else's time, wherever they come from."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import brotli
import orjson
import pytest
import zstandard

from tests.attack.measure import MB, Peak
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import saved_flows
from tests.support import raw
from tests.support.protocol import (
    check_anthropic_error,
    check_anthropic_json,
    check_anthropic_stream,
)
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_error,
    anthropic_json,
    anthropic_stream,
    gemini_stream,
)
from tests.upstream.coding import Encoding

PATHS = {"anthropic": "/v1/messages", "gemini": "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"}
both = pytest.mark.parametrize("dialect", PATHS)


@dataclass(frozen=True)
class Place:
    """A proxy that takes bodies of 16 MB and answers of 4 MB."""

    proxy: Proxy
    upstream: Upstream

    def ask(
        self, body: bytes, *replies: Reply, coding: str = "", dialect: str = "anthropic", timeout: float = 15
    ) -> raw.RawResponse:
        """Send a body, and play these replies to what comes of it."""
        self.upstream.reset()
        self.upstream.play(*replies)
        headers = {"content-type": "application/json", **({"content-encoding": coding} if coding else {})}
        return raw.request("POST", self.proxy.url + PATHS[dialect], body, headers, timeout=timeout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as up:
        config = f"[clients]\nmax_body = {16 * MB}\n[limits]\nanswer_bytes = {4 * MB}\nevent_bytes = {4 * MB}\n"
        config += "[retry]\nspare_retries = 1000\n"
        config += account("a", "anthropic") + account("g", "gemini")
        config += "".join(upstream(dialect, dialect, up.url) for dialect in PATHS)
        with Proxy(tmp_path_factory.mktemp("bombs"), config) as proxy:
            yield Place(proxy, up)


def ask(**more: object) -> bytes:
    """A request's body."""
    messages = [{"role": "user", "content": "hi"}]
    return orjson.dumps({"model": "m", "max_tokens": 9, "messages": messages, **more})


def zeros(packer: Callable[[bytes], bytes], finish: Callable[[], bytes], size: int) -> bytes:
    """So many zeros, a megabyte at a time."""
    piece = bytes(MB)
    return b"".join([*(packer(piece) for _ in range(size // MB)), finish()])


def gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return zeros(packer.compress, packer.flush, size)


def zstd_bomb(size: int) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return zeros(packer.compress, packer.flush, size)


def brotli_bomb(size: int) -> bytes:
    packer = brotli.Compressor(quality=5)
    return zeros(packer.process, packer.finish, size)


SIZE = 128 * MB
BOMBS = ("gzip", "gzip, gzip", "br", "zstd", "zstd, gzip", "deflate")


@cache
def bomb_in(coding: str) -> bytes:
    """One of BOMBS, made when a test first wants it."""
    match coding.partition(", "):
        case ["gzip", "", _]:
            return gzip_bomb(SIZE)
        case ["br", "", _]:
            return brotli_bomb(SIZE)
        case ["zstd", "", _]:
            return zstd_bomb(SIZE)
        case ["deflate", "", _]:
            return zlib.compress(bytes(SIZE), 1)
        case [first, _, _]:
            return gzip.compress(bomb_in(first))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
}


@pytest.mark.covering(1)
@both
@pytest.mark.parametrize("coding", BOMBS)
def test_bomb_of_a_client_is_put_out(place: Place, coding: str, dialect: str) -> None:
    peak = Peak(place.proxy.pid)
    response = place.ask(bomb_in(coding), coding=coding, dialect=dialect)
    assert response.status == 413
    if dialect == "anthropic":
        check_anthropic_error(413, response.body)
    assert f"{16 * MB:,}" in response.json()["error"]["message"]
    assert not place.upstream.calls
    assert peak.grown_mb < 100


@pytest.mark.parametrize("coding", PACKERS)
def test_compressed_request_is_understood(place: Place, coding: str) -> None:
    body = ask(system="s" * 2 * MB)
    response = place.ask(PACKERS[coding](body), anthropic_json("fine"), coding=coding)
    assert check_anthropic_json(response.body).text == "fine"
    [call] = place.upstream.calls
    assert call.json["system"] == "s" * 2 * MB
    assert "content-encoding" not in call.headers


@pytest.mark.parametrize("coding", PACKERS)
def test_request_that_is_cut_in_its_coding_is_refused(place: Place, coding: str) -> None:
    response = place.ask(PACKERS[coding](ask())[:-3], coding=coding)
    message = check_anthropic_error(response.status, response.body)["message"]
    assert (response.status, not place.upstream.calls) == (400, True)
    assert "content-encoding" in message


def test_request_with_more_than_two_codings_is_refused(place: Place) -> None:
    packed = gzip.compress(gzip.compress(gzip.compress(ask())))
    response = place.ask(packed, coding="gzip, gzip, gzip")
    assert response.status == 400
    assert "3 codings" in check_anthropic_error(400, response.body)["message"]
    assert not place.upstream.calls


def coded(reply: Reply, coding: str, body: bytes) -> Reply:
    """The reply with another body, that is said to be coded so."""
    kept = {name: value for name, value in reply.headers.items() if name.lower() != "content-length"}
    return Reply(reply.status, {**kept, "content-encoding": coding}, body)


@pytest.mark.covering(1)
@both
@pytest.mark.parametrize("coding", BOMBS)
def test_bomb_in_an_error_of_upstream_is_put_out(place: Place, coding: str, dialect: str) -> None:
    bomb = coded(anthropic_error(500, "api_error", ""), coding, bomb_in(coding))
    peak = Peak(place.proxy.pid)
    response = place.ask(ask(stream=True), bomb, bomb, bomb, dialect=dialect)
    assert response.status in (500, 502)
    assert len(response.body) <= MB
    assert peak.grown_mb < 100


@pytest.mark.parametrize("coding", BOMBS)
def test_bomb_in_an_answer_of_upstream_is_put_out_and_not_asked_for_again(place: Place, coding: str) -> None:
    bomb = coded(anthropic_json(""), coding, bomb_in(coding))
    peak = Peak(place.proxy.pid)
    response = place.ask(ask(), bomb)
    assert response.status in (500, 502)
    assert "limits.answer_bytes" in check_anthropic_error(response.status, response.body, any_status=True)["message"]
    assert len(place.upstream.calls) == 1
    assert peak.grown_mb < 100


def comments(size: int) -> bytes:
    """An event stream of nothing but comments."""
    packer = zlib.compressobj(1, wbits=31)
    piece = (b": " + b"c" * 124 + b"\n\n") * (MB // 128)
    return zeros(lambda _: packer.compress(piece), packer.flush, size)


@pytest.mark.parametrize("coding", ["zeros", "comments", "empty members"])
def test_bomb_in_a_stream_is_put_out(place: Place, coding: str) -> None:
    bodies = {"zeros": bomb_in("gzip, gzip"), "comments": gzip.compress(comments(64 * MB)),
              "empty members": gzip.compress(gzip.compress(b"") * 250_000)}  # fmt: skip
    bomb = coded(Reply(200, {"content-type": "text/event-stream"}), "gzip, gzip", bodies[coding])
    peak = Peak(place.proxy.pid)
    response = place.ask(ask(stream=True), bomb, anthropic_stream("fine"), timeout=60)
    match coding:
        case "zeros":  # an event without an end, which is not asked for again
            assert "limits.event_bytes" in response.json()["error"]["message"]
        case "comments":  # held for a megabyte, then the client gets them, and no end
            assert (response.status, response.ended) == (200, "cut")
        case _:
            assert check_anthropic_stream(response.body).text == "fine"
    assert peak.grown_mb < 150


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_compressed_stream_is_delivered_as_it_comes(place: Place, encoding: Encoding) -> None:
    for text, pieces in (("a story", 5), ("y" * MB, 70)):
        reply = anthropic_stream(text, pieces=pieces).but(encoding=encoding)
        response = place.ask(ask(stream=True), reply, timeout=60)
        assert response.status == 200
        assert check_anthropic_stream(response.body).text == text
        assert len(place.upstream.calls) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_compressed_answer_is_delivered(place: Place, encoding: Encoding) -> None:
    response = place.ask(ask(), anthropic_json("z" * 3 * MB).but(encoding=encoding))
    assert len(check_anthropic_json(response.body).text) == 3 * MB
    response = place.ask(ask(), anthropic_error(400, "invalid_request_error", "No.").but(encoding=encoding))
    assert check_anthropic_error(400, response.body)["message"] == "No."


def test_answer_that_is_cut_in_its_coding_is_asked_for_again(place: Place) -> None:
    whole = gzip.compress(anthropic_json("half").whole)
    cut = coded(anthropic_json(""), "gzip", whole[:-6])
    response = place.ask(ask(), cut, anthropic_json("fine"))
    assert check_anthropic_json(response.body).text == "fine"
    assert len(place.upstream.calls) == 2


def test_stream_that_is_cut_in_its_coding_before_its_content_is_asked_for_again(place: Place) -> None:
    start = gzip.compress(anthropic_stream("half").first(2).whole)
    cut = coded(Reply(200, {"content-type": "text/event-stream"}), "gzip", start[:-6])
    response = place.ask(ask(stream=True), cut, anthropic_stream("fine"))
    assert check_anthropic_stream(response.body).text == "fine"
    assert len(place.upstream.calls) == 2


def test_stream_that_has_said_all_is_whole_although_its_coding_is_not(place: Place) -> None:
    packed = zlib.compressobj(wbits=31)
    data = packed.compress(anthropic_stream("fine").whole) + packed.flush(zlib.Z_SYNC_FLUSH)
    for dialect, reply in (("anthropic", anthropic_stream("fine")), ("gemini", gemini_stream("fine"))):
        packed = zlib.compressobj(wbits=31)
        data = packed.compress(reply.whole) + packed.flush(zlib.Z_SYNC_FLUSH)
        cut = coded(Reply(200, {"content-type": "text/event-stream"}), "gzip", data)
        response = place.ask(ask(stream=True), cut, dialect=dialect)
        assert (response.status, response.body) == (200, reply.whole)
        assert len(place.upstream.calls) == 1


@pytest.mark.parametrize("path", ["/v1/messages", "/any"], ids=["claimed", "plain traffic"])
def test_a_filter_on_bodies_takes_a_bomb_as_it_came(tmp_path: Path, path: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    with Upstream() as server:
        config = f"[clients]\nmax_body = {16 * MB}\n" + account("one", "anthropic")
        config += upstream("anthropic", "anthropic", server.url)
        saved = tmp_path / "flows"
        options = {"save_stream_file": str(saved), "save_stream_filter": "~bq looked-for"}
        with Proxy(tmp_path / "proxy", config, options=options) as proxy:
            peak = Peak(proxy.pid)
            through, url = (None, proxy.url) if path == "/v1/messages" else (proxy.url, server.url)
            raw.request("POST", url + path, bomb_in("gzip"), headers, proxy=through)
            assert peak.grown_mb < 100
            raw.request("POST", url + path, gzip.compress(b'{"said": "looked-for"}'), headers, proxy=through)
        assert [flow.request.path for flow in saved_flows(saved) if flow.request.path == path]
