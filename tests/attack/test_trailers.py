"""Trailers are read, within bounds, and end a message as cleanly as their absence does."""

import pytest

from tests.attack.scripted import KEY, PATH, Say, Scripted, answer_bytes, ask, chunked_bytes, message, text_of
from tests.e2e.harness import Proxy
from tests.support.raw import RawConnection, encode_request

type Place = tuple[Proxy, Scripted]

TRAILERS = b"0\r\nx-checksum: 4711\r\nserver-timing: total;dur=1\r\n\r\n"
BROKEN = {
    "no header": b"0\r\nthis is no header\r\n\r\n",
    "a bare CR": b"0\r\nx-sum: a\rb\r\n\r\n",
    "without end": b"0\r\n" + b"x-sum: 4711\r\n" * 20_000,
    "a chunk's line without end": b"5;" + b"x" * 200_000,
}


@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
def test_a_stream_with_trailers_ends_at_once_and_clean(scripted: Place, split: bool) -> None:
    proxy, server = scripted
    answer = chunked_bytes("the first", last=TRAILERS, headers=b"trailer: x-checksum\r\n")
    end = len(answer) - len(TRAILERS)
    pieces = [answer[:end], *(answer[at : at + 1] for at in range(end, len(answer)))] if split else [answer]
    server.play(Say(pieces), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    for expected in ("the first", "the second"):
        connection.send("POST", proxy.url + PATH, message("claude-x"), KEY)
        response = connection.read("POST")
        assert (response.header("x-healing-outcome"), text_of(response.body)) == ("clean", expected)
    connection.close()
    assert server.heard[0].connection == server.heard[1].connection


@pytest.mark.parametrize("last", BROKEN.values(), ids=BROKEN.keys())
def test_broken_trailers_end_the_attempt_at_once(scripted: Place, last: bytes) -> None:
    """What went before them is complete by the API's own words, so the client has it; the connection is closed."""
    proxy, server = scripted
    server.play(Say([chunked_bytes("the first", last=last)]))
    assert text_of(ask(proxy.url).body) == "the first"
    server.wait_for(lambda server: server.heard[0].connection in server.closed)


def test_a_whole_answer_with_broken_trailers_is_tried_again(scripted: Place) -> None:
    proxy, server = scripted
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    server.play(Say([head + b"2\r\n{}\r\n" + BROKEN["a bare CR"]]), Say([answer_bytes("healed")]))
    response = ask(proxy.url)
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("healed", "healed")


def test_plain_traffic_keeps_its_trailers(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 4711\r\n\r\n"]))
    connection = RawConnection(server.url, proxy=proxy.url)
    connection.send("GET", server.url + "/page")
    got = b""
    while not got.endswith(b"\r\n\r\n") or b"ok" not in got:
        got += connection.socket.recv(65536)
    assert got.endswith(b"2\r\nok\r\n0\r\nx-sum: 4711\r\n\r\n")
    connection.close()


def chunked_request(url: str, text: str, trailers: bytes, *, absolute: bool = False) -> bytes:
    """A request whose body is chunked, with trailers."""
    whole = encode_request("POST", url + PATH, message("claude-x", text), KEY, absolute=absolute)
    head, _, body = whole.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    head = b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", b""])
    return head + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)


def test_a_request_with_trailers_is_served(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([answer_bytes("the first")]), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    for expected in ("the first", "the second"):
        connection.send_bytes(chunked_request(proxy.url, expected, b"x-sum: 4711\r\n"))
        assert text_of(connection.read("POST").body) == expected
    connection.close()
    assert [b"the first" in heard.body for heard in server.heard] == [True, False]


@pytest.mark.parametrize("trailers", [b"no header\r\n", b"x-sum: a\rb\r\n", b"x: y\r\n" * 30_000])
def test_a_request_with_broken_trailers_is_refused(scripted: Place, trailers: bytes) -> None:
    proxy, server = scripted
    connection = RawConnection(proxy.url)
    connection.send_bytes(chunked_request(proxy.url, "hi", trailers))
    response = connection.read("POST")
    assert response.status == 400
    assert response.json()["error"]["message"]
    connection.close()
    assert not server.heard


def test_trailers_of_a_plain_request_reach_upstream(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]))
    connection = RawConnection(server.url, proxy=proxy.url)
    data = chunked_request(server.url, "hi", b"x-sum: 4711\r\n", absolute=True).replace(b"/v1/messages", b"/page")
    connection.send_bytes(data)
    assert connection.read("POST").body == b"ok"
    connection.close()
    assert server.heard[0].head.endswith(b"\r\n\r\nx-sum: 4711")
