"""However much an upstream says, the proxy takes a bounded part of it."""

import http.client
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.attack.measure import MB, Peak
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.streaming import BROKEN
from tests.support import raw
from tests.support.protocol import (
    check_anthropic_error,
    check_anthropic_json,
    check_anthropic_stream,
    check_gemini_error,
    check_gemini_stream,
)
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_error,
    anthropic_json,
    anthropic_stream,
    gemini_chunk,
    gemini_event,
    gemini_stream,
)

ANSWER, EVENT, ERROR = 4 * MB, 2 * MB, 256 * 1024
PATHS = {
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-x:generateContent",
    "gemini stream": "/v1beta/models/gemini-x:streamGenerateContent?alt=sse",
}
FILE = "/v1/files/file_1/content"
FILE_HEADERS = {"anthropic-version": "2023-06-01"}


@dataclass(frozen=True)
class Place:
    """A proxy that holds 4 MB of an answer, 2 MB of an event, and looks at 256 kB of an error."""

    proxy: Proxy
    upstream: Upstream

    def ask(
        self, *replies: Reply, dialect: str = "anthropic", stream: bool = False, read: int | None = None
    ) -> raw.RawResponse:
        """Ask, and play these replies to what comes of it."""
        self.upstream.reset()
        self.upstream.play(*replies)
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        return raw.request(
            "POST",
            self.proxy.url + PATHS[dialect],
            {**body, "stream": stream} if stream else body,
            read=read,
            timeout=10,
        )

    def fetch(self, reply: Reply) -> raw.RawResponse:
        """Fetch a file, which is not healed."""
        self.upstream.reset()
        self.upstream.play(reply)
        return raw.request("GET", self.proxy.url + FILE, headers=FILE_HEADERS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as up:
        config = f"[limits]\nanswer_bytes = {ANSWER}\nerror_bytes = {ERROR}\nevent_bytes = {EVENT}\nheaders = 100\n"
        config += "[retry]\nupgrade = false\nspare_retries = 1000\n"
        config += account("a", "anthropic") + account("g", "gemini")
        config += upstream("anthropic", "anthropic", up.url) + upstream("gemini", "gemini", up.url)
        with Proxy(tmp_path_factory.mktemp("sizes"), config) as proxy:
            yield Place(proxy, up)


def endless(status: int, kind: str, begins: bytes = b"") -> Reply:
    """An answer that never comes to its end, and never stops to come."""
    headers = {"content-type": kind}
    return Reply(status, headers, chunks=[begins], end="stall", heartbeat=b"x" * 65536, heartbeat_gap=0.0001)


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("status", [400, 500])
def test_endless_error_is_judged_by_its_beginning(place: Place, dialect: str, status: int) -> None:
    peak = Peak(place.proxy.pid)
    reply = endless(status, "application/json", b'{"type":"error","error":{"type":"api_error","message":"')
    response = place.ask(reply, reply, reply, dialect=dialect)
    assert (response.status, response.ended) == (status, "complete")
    assert len(response.body) == ERROR
    assert len(place.upstream.calls) == (1 if status == 400 else 3)
    place.upstream.wait_for(lambda up: not up.active)
    assert peak.grown_mb < 60


def test_error_that_is_not_too_long_is_passed_on_whole(place: Place) -> None:
    reply = anthropic_error(400, "invalid_request_error", "n" * (ERROR - 200))
    assert len(reply.whole) <= ERROR
    response = place.ask(reply)
    assert (response.status, response.body) == (400, reply.whole)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_endless_answer_is_a_failure_and_not_asked_for_again(place: Place, dialect: str) -> None:
    peak = Peak(place.proxy.pid)
    response = place.ask(endless(200, "application/json", b'{"content":"'), dialect=dialect)
    check = check_anthropic_error if dialect == "anthropic" else check_gemini_error
    message = check(response.status, response.body)["message"]
    assert "limits.answer_bytes" in message
    assert response.status >= 500
    assert len(place.upstream.calls) == 1
    place.upstream.wait_for(lambda up: not up.active)
    assert peak.grown_mb < 60


def test_answer_that_is_as_long_as_it_may_be_is_passed_on(place: Place) -> None:
    reply = anthropic_json("z" * (ANSWER - 1000))
    response = place.ask(reply)
    assert (response.status, response.body) == (200, reply.whole)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini stream"])
def test_endless_stream_without_an_event_is_a_failure_and_not_asked_for_again(place: Place, dialect: str) -> None:
    peak = Peak(place.proxy.pid)
    response = place.ask(endless(200, "text/event-stream", b"data: "), dialect=dialect, stream=True)
    assert response.status >= 500
    assert "limits.event_bytes" in response.json()["error"]["message"]
    assert len(place.upstream.calls) == 1
    assert peak.grown_mb < 60


@pytest.mark.parametrize("dialect", ["anthropic", "gemini stream"])
def test_event_that_does_not_end_in_the_middle_of_an_answer_breaks_it_off(place: Place, dialect: str) -> None:
    good = anthropic_stream("fine") if dialect == "anthropic" else gemini_stream("fine")
    begun = b"".join(good.chunks[: 3 if dialect == "anthropic" else 1]) + b"data: "
    response = place.ask(endless(200, "text/event-stream", begun), dialect=dialect, stream=True)
    assert response.status == 200
    assert response.ended in BROKEN
    assert response.body.startswith(begun.removesuffix(b"data: "))
    assert (b"limits.event_bytes" in response.body) == (dialect != "anthropic")
    assert len(response.body) < len(begun) + 1000


@pytest.mark.parametrize("dialect", ["anthropic", "gemini stream"])
@pytest.mark.parametrize("place_in_stream", ["first", "later"])
def test_event_that_is_as_long_as_it_may_be_is_passed_on(place: Place, dialect: str, place_in_stream: str) -> None:
    if dialect == "anthropic":
        long = anthropic_stream("y" * (EVENT - 1000), pieces=1)
        good = long if place_in_stream == "first" else long.inserted(2, anthropic_stream("a", pieces=1).chunks[2])
    else:
        image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K" * ((EVENT - 1000) // 8)}}
        good = gemini_stream("fine").inserted(
            0 if place_in_stream == "first" else 1, gemini_event(gemini_chunk([image]))
        )
    response = place.ask(good, dialect=dialect, stream=True)
    assert (response.status, response.body) == (200, good.whole)
    assert response.header("x-healing-outcome") == "clean"


@pytest.mark.parametrize("dialect", ["anthropic", "gemini stream"])
def test_stream_of_long_comments_is_not_held_for_ever(place: Place, dialect: str) -> None:
    good = anthropic_stream("fine") if dialect == "anthropic" else gemini_stream("fine")
    flooded = good.inserted(0, *[b": " + b"c" * 65536 + b"\n\n"] * 20)
    response = place.ask(flooded, dialect=dialect, stream=True)
    check = check_anthropic_stream if dialect == "anthropic" else check_gemini_stream
    assert check(response.body).text == "fine"
    # Of one that says nothing more, the client gets what there is, long before it would be kept waiting.
    response = place.ask(flooded.first(20, "stall"), dialect=dialect, stream=True, read=1)
    assert (response.status, response.ended) == (200, "left")


@pytest.mark.parametrize("stream", [False, True])
def test_answer_with_too_many_headers_is_a_failure_that_is_healed(place: Place, stream: bool) -> None:
    good = anthropic_stream("fine") if stream else anthropic_json("fine")
    flood = Reply(200, {**good.headers, **{f"x-{number}": "1" for number in range(101)}}, good.body, good.chunks)
    response = place.ask(flood, good, stream=stream)
    assert (response.status, response.body) == (200, good.whole)
    assert response.header("x-5") is None
    response = place.ask(flood, flood, flood, stream=stream)
    assert response.status >= 500
    assert "more than 100 headers" in response.json()["error"]["message"]
    assert response.header("x-5") is None
    place.upstream.wait_for(lambda up: not up.active)


def test_answer_with_many_headers_is_passed_on(place: Place) -> None:
    good = anthropic_json("fine")
    reply = Reply(200, {**good.headers, **{f"x-{number}": "h" * 500 for number in range(90)}}, good.body)
    response = place.ask(reply)
    assert check_anthropic_json(response.body).text == "fine"
    assert response.header("x-89") == "h" * 500


@pytest.mark.parametrize("pieces", [600, pytest.param(3000, marks=pytest.mark.long)])
def test_file_of_any_length_streams_by(place: Place, pieces: int) -> None:
    peak = Peak(place.proxy.pid)
    piece = bytes(range(256)) * 256
    for counted in (True, False):
        reply = Reply(
            200, {"content-type": "application/octet-stream"}, chunks=[piece] * pieces, content_length=counted
        )
        place.upstream.reset()
        place.upstream.play(reply)
        connection = http.client.HTTPConnection("127.0.0.1", place.proxy.port, timeout=30)
        connection.request("GET", FILE, headers=FILE_HEADERS)
        response = connection.getresponse()
        assert response.status == 200
        assert all(response.read(len(piece)) == piece for _ in range(pieces))
        assert response.read() == b""
        connection.close()
    assert peak.grown_mb < 25


def test_key_in_a_file_that_streams_by_reaches_nobody(place: Place) -> None:
    key = key_of("a").encode()
    filler = b"." * ANSWER
    for counted in (True, False):
        for cut in (0, 1, 7, len(key) - 1):
            chunks = [filler, b"before " + key[:cut], key[cut:] + b" behind"]
            headers = {"content-type": "application/octet-stream"}
            response = place.fetch(Reply(200, headers, chunks=chunks, content_length=counted, gap=0.01))
            assert response.ended == "complete"
            assert key not in response.body
            assert len(response.body) == sum(map(len, chunks))
            assert response.body.startswith(filler + b"before [redacted]")
            assert response.body.endswith(b" behind")


def test_nothing_runs_on_after_a_flood(place: Place) -> None:
    assert place.proxy.health()["running"] == 0
