"""A chunked body arrives however it is cut, and no line in it holds up the proxy."""

import pytest

from tests.attack.scripted import KEY, PATH, Say, Scripted, answer_bytes, ask, chunked_bytes, message, text_of
from tests.e2e.harness import Proxy
from tests.support.raw import RawConnection, encode_request
from tests.upstream import anthropic_stream

type Place = tuple[Proxy, Scripted]

SPACES = b" " * 60_000
SPACED = {
    "a chunk's line": b"1;" + SPACES + b"\n\r\n}\r\n0\r\n\r\n",
    "a trailer": b"0\r\nx:" + SPACES + b"\0\r\n\r\n",
}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def tiny_chunks(body: bytes) -> bytes:
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


def request_in_chunks(url: str, chunks: bytes | None = None, text: str = "hi") -> bytes:
    """A request whose body is these chunks, by default its own in chunks of a byte."""
    head, _, body = encode_request("POST", url + PATH, message("claude-x", text), KEY).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    return b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", tiny_chunks(body) if chunks is None else chunks])


def test_an_answer_in_chunks_of_a_byte_is_whole_and_the_connection_serves_on(scripted: Place) -> None:
    proxy, server = scripted
    text = "word " * 10_000
    server.play(Say([HEAD + tiny_chunks(anthropic_stream(text).whole)]), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    for expected in (text, "the second"):
        connection.send("POST", proxy.url + PATH, message("claude-x"), KEY)
        response = connection.read("POST")
        assert (response.header("x-healing-outcome"), text_of(response.body)) == ("clean", expected)
    connection.close()
    assert server.heard[0].connection == server.heard[1].connection


def test_a_request_in_chunks_of_a_byte_is_whole(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([answer_bytes("the first")]), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    for expected, text in (("the first", "word " * 10_000), ("the second", "hi")):
        connection.send_bytes(request_in_chunks(proxy.url, text=text))
        assert text_of(connection.read("POST").body) == expected
    connection.close()
    assert b"word " * 10_000 in server.heard[0].body


@pytest.mark.parametrize("chunks", SPACED.values(), ids=SPACED.keys())
def test_spaces_in_a_request_s_chunks_are_refused_at_once(scripted: Place, chunks: bytes) -> None:
    proxy, server = scripted
    connection = RawConnection(proxy.url)
    connection.send_bytes(request_in_chunks(proxy.url, chunks))
    response = connection.read("POST")
    assert response.status == 400
    assert "   " not in response.json()["error"]["message"]
    connection.close()
    assert not server.heard


@pytest.mark.parametrize("chunks", SPACED.values(), ids=SPACED.keys())
def test_spaces_in_an_answer_s_chunks_end_the_attempt_at_once(scripted: Place, chunks: bytes) -> None:
    proxy, server = scripted
    server.play(Say([HEAD + chunks]), Say([chunked_bytes("healed")]))
    response = ask(proxy.url)
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("healed", "healed")


def test_spaces_that_are_allowed_do_no_harm(scripted: Place) -> None:
    proxy, server = scripted
    body = anthropic_stream("well").whole
    chunk = b"%x;a=%b b%b\r\n%b\r\n" % (len(body), SPACES[:30_000], SPACES[:30_000], body)
    server.play(Say([HEAD + chunk + b"0\r\nx-sum:" + SPACES + b"4711\r\n\r\n"]))
    response = ask(proxy.url)
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("clean", "well")
