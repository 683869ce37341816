"""Of traffic that is for no API the proxy keeps what is short, whole, and not much of what is long."""

import socket
from pathlib import Path

from mitmproxy import http, tcp
from mitmproxy.io import FlowReader

from tests.attack.scripted import PAUSE, Say, Scripted
from tests.e2e.harness import Proxy
from tests.support.raw import RawConnection

MOST = 200_000
LONG, SHORT = b"x" * 2 * MOST, b"y" * (MOST // 2)
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"


def _long_answer_is_passed_on_as_it_comes(proxy: Proxy, server: Scripted) -> None:
    server.play(Say([ENDLESS + LONG, PAUSE, b"end"], then="close"))
    connection = RawConnection(server.url, proxy=proxy.url)
    connection.send("GET", server.url + "/long")
    got = b""
    while len(got) < len(LONG):
        got += connection.socket.recv(65536)
    server.go.set()
    while not got.endswith(b"end"):
        got += connection.socket.recv(65536)
    connection.close()


def _both_bodies_arrive(proxy: Proxy, server: Scripted, body: bytes) -> None:
    server.play(Say([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body]))
    connection = RawConnection(server.url, proxy=proxy.url)
    connection.send("POST", f"{server.url}/{len(body)}", body)
    assert connection.read("POST").body == body
    connection.close()
    assert server.heard[-1].body == body


def _tunnel(proxy: Proxy, pieces: list[bytes]) -> None:
    """Say these in a tunnel to a server that repeats them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = b"127.0.0.1:%d" % listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
            client.sendall(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (target, target))
            assert b" 200 " in client.recv(65536)
            client.sendall(pieces[0])
            server, _ = listener.accept()
            with server:
                for number, piece in enumerate(pieces):
                    if number:
                        client.sendall(piece)
                    _pass(server, len(piece), piece)
                    server.sendall(piece)
                    _pass(client, len(piece), piece)


def _pass(connection: socket.socket, size: int, expected: bytes) -> None:
    got = b""
    while len(got) < size:
        got += connection.recv(65536)
    assert got == expected


def test_what_is_long_is_passed_on_and_not_kept_and_what_is_short_is_kept_whole(tmp_path: Path) -> None:
    saved = tmp_path / "saved.flow"
    config = f"[flows]\nmax_body_bytes = {MOST}\n"
    first, last = b"\x01first", b"\x02last"
    with Scripted() as server, Proxy(tmp_path / "proxy", config, args=["-w", str(saved)]) as proxy:
        _long_answer_is_passed_on_as_it_comes(proxy, server)
        _both_bodies_arrive(proxy, server, LONG)
        _both_bodies_arrive(proxy, server, SHORT)
        _tunnel(proxy, [first, *[b"\x00" * 5000] * 100, last])
        _tunnel(proxy, [first, b"\x00" * 1000, last])
        proxy.wait_for(lambda: proxy.log.count("client disconnect") == 5, "the end of all")
    with saved.open("rb") as file:
        flows = list(FlowReader(file).stream())
    pages = {flow.request.path: flow for flow in flows if isinstance(flow, http.HTTPFlow)}
    for path in ("/long", f"/{len(LONG)}"):
        response = pages[path].response
        assert response is not None
        assert not response.raw_content
    short = pages[f"/{len(SHORT)}"]
    assert short.response is not None
    assert (short.request.raw_content, short.response.raw_content) == (SHORT, SHORT)
    assert not pages[f"/{len(LONG)}"].request.raw_content
    tunnels = [flow for flow in flows if isinstance(flow, tcp.TCPFlow)]
    brief, long = sorted(tunnels, key=lambda flow: len(flow.messages))
    contents = [message.content for message in long.messages]
    assert contents[:2] == [first, first]
    assert contents[-2:] == [last, last]
    assert MOST // 8 < sum(map(len, contents)) <= MOST
    assert "missing" in long.comment
    assert [message.content for message in brief.messages] == [first, first, *[b"\x00" * 1000] * 2, last, last]
    assert not brief.comment
