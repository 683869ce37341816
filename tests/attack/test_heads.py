"""A request's head is bounded in length and in time, whoever sends it and whatever it is for."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import orjson
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame

from tests.attack.h2_raw import PREFACE, RawH2
from tests.attack.measure import Peak
from tests.attack.sending import Told, connect, filler, head, send_and_read
from tests.e2e.harness import Proxy, account, upstream
from tests.support import raw
from tests.support.protocol import check_anthropic_json
from tests.upstream import Reply, Upstream, anthropic_json

KB = 1024
LIMITS = "[limits]\nhead_bytes = 65536\nline_bytes = 16384\nheaders = 200\nhead_seconds = 1.5\n"
ASK = orjson.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})


@dataclass(frozen=True)
class Place:
    """A proxy that gives a head one and a half seconds."""

    proxy: Proxy
    upstream: Upstream
    secure: Upstream

    def h2(self, settings: dict[int, int] | None = {}) -> RawH2:  # noqa: B006
        """An HTTP/2 client that believes to talk to the secure upstream, which serves anything."""
        self.secure.default = lambda call: Reply(200, {"content-type": "text/plain"}, b"fine")
        ca = self.proxy.ca_file
        return RawH2(self.secure.url, self.proxy.url, ca, settings)

    def asks(self, **fields: str) -> raw.RawResponse:
        """An honest request with more headers."""
        self.upstream.play(anthropic_json("fine"))
        return raw.request("POST", self.proxy.url + "/v1/messages", ASK, fields)

    def passes(self, path: str) -> raw.RawResponse:
        """The same of one that is for somebody else."""
        self.upstream.play(anthropic_json("fine"))
        return raw.request("POST", self.upstream.url + path, ASK, proxy=self.proxy.url)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as plain, Upstream(tls=True) as secure:
        config = account("a", "anthropic") + upstream("anthropic", "anthropic", plain.url) + LIMITS
        options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
        with Proxy(tmp_path_factory.mktemp("heads"), config, options=options) as proxy:
            yield Place(proxy, plain, secure)


def assert_refused(told: Told, status: int) -> None:
    assert (told.status, told.closed) == (status, True)
    assert told.headers["connection"] == "close"
    assert len(told.body) == int(told.headers["content-length"])
    assert orjson.loads(told.body)["error"]["message"]


def many_headers(count: int) -> bytes:
    return b"".join(b"x-%d: 1\r\n" % number for number in range(count))


TOO_MUCH: dict[str, tuple[int, Callable[[], tuple[bytes, ...]]]] = {
    "a request line without an end": (414, lambda: (b"GET /", *filler(1024 * KB))),
    "a request line that is too long": (414, lambda: (b"GET /" + b"a" * 17 * KB + b" HTTP/1.1\r\nhost: x\r\n\r\n",)),
    "a header without an end": (431, lambda: (b"GET / HTTP/1.1\r\nx: ", *filler(1024 * KB))),
    "headers without an end": (431, lambda: (b"GET / HTTP/1.1\r\n", *filler(1024 * KB, b"x-a: b\r\n" * 8 * KB))),
    "a head that is too long": (431, lambda: (b"GET / HTTP/1.1\r\nx: " + b"a" * 70 * KB + b"\r\n\r\n",)),
    "too many headers": (431, lambda: (b"GET / HTTP/1.1\r\n" + many_headers(201) + b"\r\n",)),
    "too many headers for somebody else": (
        431,
        lambda: (b"GET http://203.0.113.1/ HTTP/1.1\r\n" + many_headers(201) + b"\r\n",),
    ),
    "no request at all": (400, lambda: (b"hello there\r\n\r\n",)),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_head_that_is_too_much_is_refused_and_the_connection_closed(place: Place, what: str) -> None:
    status, pieces = TOO_MUCH[what]
    peak = Peak(place.proxy.pid)
    assert_refused(send_and_read(place.proxy.url, pieces()), status)
    assert peak.grown_mb < 40


def test_head_within_the_limits_is_served(place: Place) -> None:
    assert check_anthropic_json(place.asks(x_long="h" * 60 * KB).body).text == "fine"
    assert check_anthropic_json(place.asks(**{f"x-{number}": "1" for number in range(180)}).body).text == "fine"
    assert place.passes("/" + "a" * 15 * KB).status == 200


def test_limits_hold_for_each_head_of_a_connection(place: Place) -> None:
    connection = raw.RawConnection(place.proxy.url)
    try:
        for _ in range(3):
            connection.send("GET", place.proxy.url + "/health", headers={"x-long": "h" * 50 * KB})
            assert connection.read().status == 200
        connection.send("GET", place.proxy.url + "/health", headers={"x-long": "h" * 70 * KB})
        response = connection.read()
        assert (response.status, response.header("connection")) == (431, "close")
    finally:
        connection.close()


def test_slow_heads_are_given_up_and_others_served_meanwhile(place: Place) -> None:
    slow = [connect(place.proxy.url) for _ in range(200)]
    try:
        for sock in slow:
            sock.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-")
        assert check_anthropic_json(place.asks().body).text == "fine"
        for sock in slow:
            assert sock.recv(65536).startswith(b"HTTP/1.1 408 ")
    finally:
        for sock in slow:
            sock.close()


def test_head_that_trickles_is_given_up(place: Place) -> None:
    with connect(place.proxy.url) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n")
        answer = b""
        sock.settimeout(0.05)
        # For ten times as long as a head may take.
        for _ in range(200):
            sock.sendall(b"x-a: b\r\n")
            with suppress(TimeoutError):
                answer = sock.recv(65536)
                break
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_head_in_many_pieces_and_a_pause_between_two_requests_are_served(place: Place) -> None:
    request = raw.encode_request("GET", place.proxy.url + "/health")
    with connect(place.proxy.url) as sock:
        for _ in range(2):
            for at in range(len(request)):
                sock.sendall(request[at : at + 1])
            answer = b""
            while not answer.endswith(b"\n}"):
                answer += sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            # Longer than a head may take: nothing of the next one has come.
            sock.settimeout(2.0)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(15)


def test_blank_lines_before_a_request_are_passed_over(place: Place) -> None:
    request = raw.encode_request("GET", place.proxy.url + "/health")
    told = send_and_read(place.proxy.url, [b"\r\n" * 1000, b"\r\n" * 40_000 + request], until=b"uptime")
    assert told.status == 200


CHUNKED = head("POST", "/v1/messages", host="localhost", transfer_encoding="chunked")
ODD_CHUNKS = {
    "an extension without an end": (b"5;", *filler(1024 * KB)),
    "trailers without an end": (b"2\r\n{}\r\n0\r\n", *filler(1024 * KB, b"x-a: b\r\n" * 8 * KB)),
    "a trailer that is no header": (b"2\r\n{}\r\n0\r\n", b"what is this\r\n\r\n"),
    "no chunk": (b"hello\r\n",),
}


@pytest.mark.parametrize("what", ODD_CHUNKS)
def test_what_stands_around_chunks_is_bounded(place: Place, what: str) -> None:
    peak = Peak(place.proxy.pid)
    assert_refused(send_and_read(place.proxy.url, [CHUNKED, *ODD_CHUNKS[what]]), 400)
    assert peak.grown_mb < 40


def test_chunks_with_extensions_and_trailers_are_taken(place: Place) -> None:
    place.upstream.reset()
    place.upstream.play(anthropic_json("fine"))
    chunks = b"".join(b"1;a=%s\r\n%c\r\n" % (b"b" * 2 * KB, byte) for byte in ASK)
    body = chunks + b"0;last\r\nx-checksum: 1\r\nx-other: 2\r\n\r\n"
    told = send_and_read(place.proxy.url, [CHUNKED, body], until=b"fine")
    assert told.status == 200
    [call] = place.upstream.calls
    assert call.json["messages"] == orjson.loads(ASK)["messages"]


def test_requests_sent_ahead_of_the_answer_are_bounded(place: Place) -> None:
    place.upstream.play(anthropic_json("fine").but(delay=30.0))
    peak = Peak(place.proxy.pid)
    told = send_and_read(place.proxy.url, [raw.encode_request("POST", place.proxy.url + "/v1/messages", ASK),
                                           *filler(100 * 1024 * KB)])  # fmt: skip
    assert (told.status, told.closed) == (400, True)
    assert peak.grown_mb < 40
    place.upstream.reset()


# HTTP/2


def test_http2_head_that_is_too_much_is_refused_and_other_streams_go_on(place: Place) -> None:
    line, many = "/" + "a" * 17 * KB, [(f"x-{number}", "1") for number in range(201)]
    with place.h2() as client:
        client.send(
            client.headers(1, "GET", line),
            client.headers(3, "GET", "/v1/models", many),
            client.headers(5, "POST", "/v1/messages", many, end_stream=False),
            client.headers(7, "GET", "/v1/files/x"),
        )
        client.read_until(lambda: all(map(client.ended, (1, 3, 5, 7))) and client.reset_code(5) is not None)
        assert [client.status(stream_id) for stream_id in (1, 3, 5, 7)] == [414, 431, 431, 200]
        assert orjson.loads(client.body(5))["error"]["message"] == "The request has more than 200 headers."
        assert client.reset_code(5) == ErrorCodes.NO_ERROR
        assert not client.closed


def test_http2_header_list_that_is_too_long_ends_the_connection(place: Place) -> None:
    with place.h2() as client:
        client.read_until(lambda: client.frames)
        announced = next(frame.settings for frame in client.frames if isinstance(frame, SettingsFrame))
        assert 64 * KB <= announced[SettingsFrame.MAX_HEADER_LIST_SIZE] <= 128 * KB
        # A few bytes on the wire: the same header again and again.
        client.send(client.headers(1, "GET", "/", [("x-long", "a" * 2000)] * 100))
        client.read_until(lambda: client.closed)
        assert client.went_away_with == ErrorCodes.ENHANCE_YOUR_CALM


def test_http2_client_that_goes_on_writing_reads_why_its_connection_ends(place: Place) -> None:
    with place.h2() as client:
        client.send(HeadersFrame(1, client.packed("GET", "/")))
        for _ in range(512):
            client.send(ContinuationFrame(1, b"\x00" * 16_000))
            assert not client.closed
        client.read_until(lambda: client.closed)
        assert client.went_away_with == ErrorCodes.ENHANCE_YOUR_CALM


def test_http2_continuations_without_an_end_end_the_connection(place: Place) -> None:
    peak = Peak(place.proxy.pid)
    with place.h2() as client:
        client.send(HeadersFrame(1, client.packed("GET", "/")))
        for _ in range(64):
            client.send(ContinuationFrame(1, b"\x00" * 16_000))
        client.read_until(lambda: client.closed)
        assert client.went_away_with == ErrorCodes.ENHANCE_YOUR_CALM
    assert peak.grown_mb < 40


@pytest.mark.parametrize("begun", ["preface", "block", "frame"])
def test_http2_head_that_does_not_come_to_its_end_is_given_up(place: Place, begun: str) -> None:
    with place.h2(None if begun == "preface" else {}) as client:
        if begun == "preface":
            client.socket.sendall(PREFACE[:10])
        elif begun == "block":
            client.read_until(lambda: client.frames)
            client.send(HeadersFrame(1, client.packed("GET", "/")))
        else:
            client.socket.sendall(client.headers(1, "GET", "/", [("x", "y" * 500)]).serialize()[:-100])
        client.read_until(lambda: client.closed)
        assert client.went_away_with == ErrorCodes.ENHANCE_YOUR_CALM


def test_http2_head_in_several_frames_is_served_and_a_quiet_connection_stays(place: Place) -> None:
    with place.h2() as client:
        for stream_id in (1, 3):
            block = client.packed("GET", "/v1/files/x", [("x-long", "a" * 5000)])
            first, last = HeadersFrame(stream_id, block[:100]), ContinuationFrame(stream_id, block[100:])
            first.flags.add("END_STREAM")
            last.flags.add("END_HEADERS")
            client.send(first)
            client.send(last)
            client.read_until(partial(client.ended, stream_id))
            assert client.status(stream_id) == 200
            client.socket.settimeout(2.0)
            with pytest.raises(TimeoutError):
                client.read()
            client.socket.settimeout(15)
