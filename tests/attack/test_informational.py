"""Informational answers are skipped, and a connection on which anything is owed is never used again."""

from collections.abc import Sequence

import pytest

from tests.attack.scripted import KEY, PATH, PAUSE, Say, Scripted, answer_bytes, ask, chunked_bytes, message, text_of
from tests.e2e.harness import Proxy
from tests.support.raw import RawConnection, request

type Place = tuple[Proxy, Scripted]

HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
INFORMATIONAL: dict[str, Sequence[bytes]] = {
    "103": (HINTS,),
    "100 that nobody asked for": (b"HTTP/1.1 100 Continue\r\n\r\n",),
    "102": (b"HTTP/1.1 102 Processing\r\n\r\n",),
    "several": (HINTS + b"HTTP/1.1 102 Processing\r\n\r\n" + HINTS,),
    "byte by byte": tuple(HINTS[at : at + 1] for at in range(len(HINTS))),
    "with a length that counts nothing": (b"HTTP/1.1 103 Early Hints\r\ncontent-length: 20\r\n\r\n",),
}


@pytest.mark.parametrize("said", INFORMATIONAL.values(), ids=INFORMATIONAL.keys())
def test_an_informational_answer_is_not_the_answer(scripted: Place, said: Sequence[bytes]) -> None:
    proxy, server = scripted
    server.play(Say([*said, answer_bytes("the first")]), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    for expected in ("the first", "the second"):
        connection.send("POST", proxy.url + PATH, message("claude-x", expected), KEY)
        response = connection.read("POST")
        assert (response.status, text_of(response.body)) == (200, expected)
        assert response.header("x-healing-outcome") == "clean"
    connection.close()
    # The honest neighbour: the connection owes nothing, and is used again.
    assert len({heard.connection for heard in server.heard}) == 1


def test_a_late_answer_reaches_nobody_else(scripted: Place) -> None:
    """What was owed when an attempt was given up comes on a connection that is used no more."""
    proxy, server = scripted
    server.play(Say([HINTS, b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", answer_bytes("for the first")]))
    server.play(Say([answer_bytes("healed")]), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    for expected in ("healed", "the second"):
        connection.send("POST", proxy.url + PATH, message("claude-x", expected), KEY)
        assert text_of(connection.read("POST").body) == expected
    connection.close()
    assert server.heard[0].connection != server.heard[1].connection


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("framed", ["length", "chunked"])
def test_an_answer_too_many_reaches_nobody(scripted: Place, when: str, framed: str) -> None:
    proxy, server = scripted
    answer = answer_bytes("the first") if framed == "length" else chunked_bytes("the first")
    surplus = answer_bytes("poison")
    pieces = [answer + surplus] if when == "at once" else [answer, PAUSE, surplus]
    server.play(Say(pieces), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    connection.send("POST", proxy.url + PATH, message("claude-x"), KEY)
    assert text_of(connection.read("POST").body) == "the first"
    server.go.set()
    server.wait_for(lambda server: server.heard[0].connection in server.closed)
    connection.send("POST", proxy.url + PATH, message("claude-x"), KEY)
    assert text_of(connection.read("POST").body) == "the second"
    connection.close()


def test_101_that_nobody_asked_for_is_a_failure(scripted: Place) -> None:
    proxy, server = scripted
    switching = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    server.play(Say([switching, b"anything"]), Say([answer_bytes("healed")]))
    response = ask(proxy.url)
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("healed", "healed")


def test_101_that_was_asked_for_passes(scripted: Place) -> None:
    """Plain traffic may change its protocol."""
    proxy, server = scripted
    server.play(Say([b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", b"raw bytes"]))
    connection = RawConnection(server.url, proxy=proxy.url)
    connection.send("GET", server.url + "/switch", None, {"connection": "upgrade", "upgrade": "x"})
    got = b""
    while b"raw bytes" not in got and (data := connection.socket.recv(65536)):
        got += data
    assert got.startswith(b"HTTP/1.1 101 ")
    assert got.endswith(b"\r\n\r\nraw bytes")
    connection.close()


@pytest.mark.parametrize("path", [PATH, "/v1/files", "/v1beta/files"])
@pytest.mark.parametrize("asked", ["x", "H2C", "h2c, x", "TLS/1.0", "websocket"])
def test_with_a_credential_no_protocol_is_asked_for_in_which_nobody_sees_it(
    scripted: Place, asked: str, path: str
) -> None:
    proxy, server = scripted
    switched = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: %s\r\nconnection: upgrade\r\n\r\n" % asked.encode()
    switched += b"you are " + KEY["x-api-key"].encode()
    server.play(Say([switched]), *[Say([answer_bytes("healed")])] * (path == PATH))
    connection = RawConnection(proxy.url)
    more = {"connection": "keep-alive, Upgrade, HTTP2-Settings", "upgrade": asked, "http2-settings": "AAMAAABk"}
    connection.send("POST", proxy.url + path, message("claude-x"), {**KEY, "x-goog-api-client": "any", **more})
    answer = connection.read("POST")
    assert answer.status == (200 if path == PATH else 502)
    assert KEY["x-api-key"].encode() not in answer.body
    head = server.heard[0].head.lower()
    assert KEY["x-api-key"].encode() in head
    assert b"upgrade" not in head
    assert b"http2-settings" not in head
    assert b"\r\nconnection: keep-alive\r\n" in head or path == PATH
    connection.close()


def test_informational_answers_without_end_are_a_failure(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([HINTS * 2000]), Say([answer_bytes("healed")]))
    response = ask(proxy.url)
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("healed", "healed")


def test_plain_traffic_gets_the_answer_and_not_the_hint(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([HINTS, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]))
    response = request("GET", server.url + "/page", proxy=proxy.url)
    assert (response.status, response.body) == (200, b"ok")
