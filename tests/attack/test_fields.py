"""Heads that may be read in two ways, or that have no end, are refused, whoever sends them."""

import pytest

from tests.attack.scripted import KEY, PATH, Say, Scripted, answer_bytes, ask, message, text_of
from tests.e2e.harness import Proxy
from tests.support.raw import RawConnection, encode_request, request

type Place = tuple[Proxy, Scripted]


def broken_head(line: bytes, *, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """An answer whose head has one more line."""
    return answer_bytes("poison", extra_headers=line + b"\r\n" if line else b"", status=status)


WRONG_ANSWERS = {
    "a bare CR in a value": broken_head(b"x-a: b\rset-cookie: c=d"),
    "NUL in a value": broken_head(b"x-a: b\x00c"),
    "VT in a value": broken_head(b"x-a: b\x0bc"),
    "DEL in a value": broken_head(b"x-a: b\x7fc"),
    "a folded header": broken_head(b"x-a: b\r\n c"),
    "a folded first header": broken_head(b"").replace(b"OK\r\n", b"OK\r\n x-a: b\r\n"),
    "a space before the colon": broken_head(b"content-length : 5"),
    "a space in a name": broken_head(b"x a: b"),
    "no colon": broken_head(b"x-a"),
    "no name": broken_head(b": b"),
    "status 999": broken_head(b"", status=b"HTTP/1.1 999 Denied"),
    "status 600": broken_head(b"", status=b"HTTP/1.1 600 More"),
    "status 0": broken_head(b"", status=b"HTTP/1.1 0 Zero"),
    "status 099": broken_head(b"", status=b"HTTP/1.1 099 Low"),
    "status +200": broken_head(b"", status=b"HTTP/1.1 +200 OK"),
    "status 2_0_0": broken_head(b"", status=b"HTTP/1.1 2_0_0 OK"),
    "no status": broken_head(b"", status=b"HTTP/1.1"),
    "a control character in the reason": broken_head(b"", status=b"HTTP/1.1 200 O\x00K"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "two lengths": broken_head(b"content-length: 5"),
    "a list of lengths": broken_head(b"").replace(b"content-length: ", b"content-length: 5, "),
    "length and chunked": broken_head(b"transfer-encoding: chunked"),
    "an unknown coding": broken_head(b"transfer-encoding: xchunked"),
    "a negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "64 kB and more in one header": broken_head(b"x-a: " + b"b" * 70_000),
    "64 kB and more in many": broken_head(b"\r\n".join(b"x-%d: %s" % (n, b"b" * 700) for n in range(100))),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 100_000,
    "too many headers": broken_head(b"\r\n".join(b"x-%d: b" % n for n in range(300))),
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
def test_an_answer_with_a_wrong_head_is_tried_again(scripted: Place, answer: bytes) -> None:
    proxy, server = scripted
    server.play(Say([answer]), Say([answer_bytes("healed")]))
    response = ask(proxy.url)
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("healed", "healed")
    # What came with it is read by nobody: the connection is closed.
    server.wait_for(lambda server: server.heard[0].connection in server.closed)
    assert server.heard[1].connection != server.heard[0].connection


def test_what_a_head_says_is_in_no_error(scripted: Place) -> None:
    """The client is told what is wrong, without the text that is: an upstream may repeat a key there."""
    proxy, server = scripted
    server.play(*[Say([broken_head(b"x-a: secret-4711\x00")])] * 2)
    response = ask(proxy.url)
    assert response.status == 500
    assert "control characters" in response.json()["error"]["message"]
    assert b"secret-4711" not in response.body
    assert "secret-4711" not in proxy.log


RIGHT_ANSWERS = {
    "an empty value": b"x-a:",
    "a tab and text that is not ASCII": b"x-a: b\tc\xc3\xa9",
    "spaces around": b"x-a:   b  ",
    "the same header twice": b"x-a: b\r\nx-a: c",
    "48 kB of headers": b"\r\n".join(b"x-%d: %s" % (n, b"b" * 1000) for n in range(48)),
    "200 headers": b"\r\n".join(b"x-%d: b" % n for n in range(200)),
}


@pytest.mark.parametrize("lines", RIGHT_ANSWERS.values(), ids=RIGHT_ANSWERS.keys())
def test_an_answer_with_an_unusual_head_passes(scripted: Place, lines: bytes) -> None:
    proxy, server = scripted
    server.play(Say([answer_bytes("fine", extra_headers=lines + b"\r\n")]))
    response = ask(proxy.url)
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("clean", "fine")
    given = [line.partition(b":")[0].decode() for line in lines.split(b"\r\n")]
    assert [
        name for name, _ in response.headers if name.startswith("x-") and "-h" not in name and name in given
    ] == given


@pytest.mark.parametrize("status", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 Fine by me"])
def test_a_status_line_may_be_short(scripted: Place, status: bytes) -> None:
    proxy, server = scripted
    server.play(Say([answer_bytes("fine", status=status)]))
    assert text_of(ask(proxy.url).body) == "fine"


@pytest.mark.parametrize("answer", [WRONG_ANSWERS["NUL in a value"], WRONG_ANSWERS["status 999"]])
def test_plain_traffic_gets_no_wrong_head_either(scripted: Place, answer: bytes) -> None:
    proxy, server = scripted
    server.play(Say([answer]))
    assert request("GET", server.url + "/page", proxy=proxy.url).status == 502


def wrong_request(proxy: Proxy, **changes: bytes) -> bytes:
    """A request with one thing wrong. `line`: one more header; `target`: in place of the path; `method`."""
    whole = encode_request("POST", proxy.url + PATH, message("claude-x"), KEY)
    line = changes.get("line")
    if line is not None:
        whole = whole.replace(b"x-api-key:", line + b"\r\nx-api-key:", 1)
    whole = whole.replace(b"POST", changes.get("method", b"POST"), 1)
    return whole.replace(PATH.encode(), changes.get("target", PATH.encode()), 1)


WRONG_REQUESTS: dict[str, dict[str, bytes]] = {
    "a bare CR in a value": {"line": b"x-a: b\rx-api-key: c"},
    "NUL in a value": {"line": b"x-a: b\x00c"},
    "VT in a value": {"line": b"x-a: b\x0bc"},
    "a folded header": {"line": b"x-a: b\r\n c"},
    "a space before the colon": {"line": b"content-length : 5"},
    "a folded coding": {"line": b"transfer-encoding:\r\n chunked"},
    "two lengths": {"line": b"content-length: 5"},
    "length and chunked": {"line": b"transfer-encoding: chunked"},
    "two hosts": {"line": b"host: other.example"},
    "an unknown coding": {"line": b"transfer-encoding: xchunked"},
    "NUL in the path": {"target": b"/v1/messages\x00"},
    "DEL in the path": {"target": b"/v1/messages\x7f"},
    "a method that is none": {"method": b"PO(ST"},
}


@pytest.mark.parametrize("changes", WRONG_REQUESTS.values(), ids=WRONG_REQUESTS.keys())
def test_a_request_with_a_wrong_head_is_refused(scripted: Place, changes: dict[str, bytes]) -> None:
    proxy, server = scripted
    connection = RawConnection(proxy.url)
    connection.send_bytes(wrong_request(proxy, **changes))
    assert connection.read("POST").status == 400
    assert connection.socket.recv(1) == b""
    connection.close()
    assert not server.heard


def test_a_request_with_an_unusual_head_is_served(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([answer_bytes("fine")]))
    connection = RawConnection(proxy.url)
    connection.send_bytes(wrong_request(proxy, line=b"x-a:\r\nx-b: b\tc\xc3\xa9\r\nx-b: again"))
    assert text_of(connection.read("POST").body) == "fine"
    connection.close()
