"""What is refused is refused at the headers; what is taken is bounded; and its client can read what it is told."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame

from tests.attack.h2_raw import RawH2
from tests.attack.measure import MB, Peak
from tests.attack.sending import Told, connect, filler, head, send_and_read
from tests.e2e.harness import Proxy, account, upstream
from tests.support import raw
from tests.support.protocol import check_anthropic_error, check_anthropic_json
from tests.support.raw import RawConnection
from tests.upstream import Reply, Upstream, anthropic_json

MOST = 4 * MB
KEY = "gateway-key-0123456789"
PATH = "/v1/messages"


@dataclass(frozen=True)
class Place:
    """A proxy that asks for a key and takes bodies of 4 MB."""

    proxy: Proxy
    plain: Upstream
    secure: Upstream

    def h2(self) -> RawH2:
        """An HTTP/2 client that believes to talk to the secure upstream."""
        ca = self.proxy.ca_file
        return RawH2(self.secure.url, self.as_proxy, ca, {})

    @property
    def as_proxy(self) -> str:
        """Its URL for a client that takes it for a proxy, with a key."""
        return self.proxy.url.replace("//", f"//client:{KEY}@")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as plain, Upstream(tls=True) as secure:
        config = f'[clients]\nkeys = ["{KEY}"]\nloopback_only = false\nmax_body = {MOST}\n'
        config += account("a", "plain") + upstream("plain", "anthropic", plain.url)
        config += account("s", "secure", priority=1) + upstream("secure", "anthropic", secure.url)
        options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
        with Proxy(tmp_path_factory.mktemp("bodies"), config, options=options) as proxy:
            yield Place(proxy, plain, secure)


@pytest.fixture(autouse=True)
def nothing_played(place: Place) -> None:
    place.plain.reset()
    place.secure.reset()


def ask(size: int = 0) -> bytes:
    """A request's body of about so many bytes."""
    messages = [{"role": "user", "content": "x" * size}]
    return orjson.dumps({"model": "m", "max_tokens": 9, "messages": messages})


def assert_refused(told: Told, status: int) -> None:
    assert told.status == status, told
    assert told.headers["connection"] == "close"
    assert orjson.loads(told.body)["error"]["message"]
    assert len(told.body) == int(told.headers["content-length"])


HEADS = {
    "no key": (401, {}, PATH),
    "another page's": (403, {"origin": "http://evil.example"}, PATH),
    "nothing that is served": (404, {"x_api_key": KEY}, "/v2/nothing"),
    "too long": (413, {"x_api_key": KEY}, PATH),
    "too long for a file": (413, {"x_api_key": KEY, "anthropic_version": "2023-06-01"}, "/v1/files"),
}


@pytest.mark.parametrize("why", HEADS)
def test_refusal_comes_before_any_of_the_body_is_sent(place: Place, why: str) -> None:
    status, fields, path = HEADS[why]
    told = send_and_read(
        place.proxy.url, [head("POST", path, host="localhost", content_length=str(400 * MB), **fields)]
    )
    assert_refused(told, status)
    assert told.closed
    assert not place.plain.calls


@pytest.mark.parametrize("why", HEADS)
def test_client_that_sends_400_mb_all_the_same_is_told_and_costs_no_memory(place: Place, why: str) -> None:
    status, fields, path = HEADS[why]
    peak = Peak(place.proxy.pid)
    begun = head("POST", path, host="localhost", content_length=str(400 * MB), **fields)
    told = send_and_read(place.proxy.url, [begun, *filler(400 * MB)])
    assert_refused(told, status)
    # Not all of it was taken.
    assert told.sent < 100 * MB
    assert peak.grown_mb < 60


@pytest.mark.parametrize("why", HEADS)
def test_client_that_waits_for_a_100_gets_the_refusal_instead(place: Place, why: str) -> None:
    status, fields, path = HEADS[why]
    more = {"expect": "100-continue", "content_length": str(400 * MB)}
    assert_refused(send_and_read(place.proxy.url, [head("POST", path, host="localhost", **more, **fields)]), status)


@pytest.mark.parametrize("why", ["no key", "nothing that is served"])
def test_client_that_sends_its_whole_body_before_it_reads_can_read_the_refusal(place: Place, why: str) -> None:
    status, fields, path = HEADS[why]
    body = ask(20 * MB)
    with connect(place.proxy.url) as sock:
        sock.sendall(head("POST", path, host="localhost", content_length=str(len(body)), **fields) + body)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_client_in_a_tunnel_that_sends_its_whole_body_before_it_reads_can_read_the_refusal(place: Place) -> None:
    context = ssl.create_default_context(cafile=place.proxy.ca_file)
    connection = RawConnection(place.secure.url, proxy=place.as_proxy, context=context)
    try:
        connection.send("POST", place.secure.url + PATH, ask(20 * MB))
        assert connection.read("POST").status == 413
    finally:
        connection.close()


def test_client_that_waits_for_a_100_and_may_go_on_is_served(place: Place) -> None:
    place.plain.play(anthropic_json("fine"))
    body = ask(MB)
    begun = head("POST", PATH, host="localhost", x_api_key=KEY, expect="100-continue", content_length=str(len(body)))
    with connect(place.proxy.url) as sock:
        sock.sendall(begun)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert b"200 OK" in sock.recv(65536)
    assert len(place.plain.calls[0].json["messages"][0]["content"]) == MB


def chunked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """These pieces as chunks."""
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def test_chunked_body_is_refused_as_soon_as_it_is_too_long(place: Place) -> None:
    peak = Peak(place.proxy.pid)
    begun = head("POST", PATH, host="localhost", x_api_key=KEY, transfer_encoding="chunked")
    told = send_and_read(place.proxy.url, [begun, *chunked(filler(400 * MB))])
    assert_refused(told, 413)
    check_anthropic_error(told.status, told.body)
    assert told.sent < 100 * MB
    assert peak.grown_mb < 60
    assert not place.plain.calls


def test_body_that_is_as_long_as_it_may_be_is_served(place: Place) -> None:
    body = ask(MOST - len(ask()))
    assert len(body) == MOST
    place.plain.default = lambda call: anthropic_json("fine")
    for framing in ({"content_length": str(MOST)}, {"transfer_encoding": "chunked"}):
        begun = head("POST", PATH, host="localhost", x_api_key=KEY, **framing)
        pieces = iter([body]) if "content_length" in framing else chunked(iter([body]))
        told = send_and_read(place.proxy.url, [begun, *pieces], until=b"fine")
        assert told.status == 200
    assert [len(call.json["messages"][0]["content"]) for call in place.plain.calls] == [MOST - len(ask())] * 2


def test_small_refused_requests_are_told_one_after_the_other(place: Place) -> None:
    for _ in range(20):
        response = raw.request("POST", place.proxy.url + PATH, ask())
        assert (response.status, response.ended) == (401, "complete")


def test_what_is_for_somebody_else_is_not_bounded_here(place: Place) -> None:
    with Upstream() as other:
        other.play(Reply(200, {}, b"stored"))
        response = raw.request("PUT", other.url + "/big", bytes(3 * MOST), proxy=place.as_proxy)
        assert (response.status, response.body) == (200, b"stored")
        assert [len(call.body) for call in other.calls] == [3 * MOST]


# HTTP/2


def post(client: RawH2, stream_id: int, **fields: str) -> None:
    more = [("content-type", "application/json"), *((name.replace("_", "-"), value) for name, value in fields.items())]
    client.send(client.headers(stream_id, "POST", PATH, more, end_stream=False))


def test_http2_refusal_comes_at_the_headers_and_the_other_stream_goes_on(place: Place) -> None:
    place.secure.default = lambda call: anthropic_json("fine")
    body = ask(100_000)
    with place.h2() as client:
        post(client, 1, x_api_key=KEY)
        client.send(DataFrame(1, body[:5000]))
        post(client, 3, content_length=str(400 * MB))
        post(client, 5, x_api_key=KEY, content_length=str(400 * MB))
        client.read_until(lambda: client.reset_code(3) is not None and client.reset_code(5) is not None)
        assert [client.status(3), client.status(5)] == [413, 413]
        assert all(client.ended(stream_id) for stream_id in (3, 5))
        assert [client.reset_code(3), client.reset_code(5)] == [ErrorCodes.NO_ERROR] * 2
        for at in range(5000, len(body), 16_000):
            client.send(DataFrame(1, body[at : at + 16_000]))
        client.send(DataFrame(1, flags=["END_STREAM"]))
        client.read_until(lambda: client.ended(1))
        assert client.status(1) == 200
        assert check_anthropic_json(client.body(1)).text == "fine"


def test_http2_data_that_is_not_wanted_costs_no_memory_and_no_other_stream_its_answer(place: Place) -> None:
    place.secure.default = lambda call: anthropic_json("fine")
    peak = Peak(place.proxy.pid)
    with place.h2() as client:
        post(client, 1, content_length=str(400 * MB))
        for _ in range(250):
            client.send(*(DataFrame(1, bytes(16_000)) for _ in range(10)))
        post(client, 3, x_api_key=KEY)
        client.send(DataFrame(3, ask(), flags=["END_STREAM"]))
        client.read_until(lambda: client.ended(3))
        assert [client.status(1), client.status(3)] == [413, 200]
    assert peak.grown_mb < 40


def test_http2_body_without_a_length_is_refused_as_soon_as_it_is_too_long(place: Place) -> None:
    place.secure.default = lambda call: anthropic_json("fine")
    peak = Peak(place.proxy.pid)
    with place.h2() as client:
        post(client, 1, x_api_key=KEY)
        for _ in range(2 * MOST // 16_000):
            client.send(DataFrame(1, bytes(16_000)))
        client.read_until(lambda: client.reset_code(1) is not None)
        assert (client.status(1), client.reset_code(1)) == (413, ErrorCodes.NO_ERROR)
        check_anthropic_error(413, client.body(1))
        post(client, 3, x_api_key=KEY)
        client.send(DataFrame(3, ask(), flags=["END_STREAM"]))
        client.read_until(lambda: client.ended(3))
        assert client.status(3) == 200
    assert peak.grown_mb < 60


def test_client_that_leaves_while_it_is_refused_leaves_nothing_behind(place: Place) -> None:
    for _ in range(20):
        sock = connect(place.proxy.url)
        sock.sendall(head("POST", PATH, host="localhost", content_length=str(400 * MB)) + bytes(65536))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        sock.close()
    place.plain.play(anthropic_json("fine"))
    response = raw.request("POST", place.proxy.url + PATH, ask(), {"x-api-key": KEY})
    assert check_anthropic_json(response.body).text == "fine"
