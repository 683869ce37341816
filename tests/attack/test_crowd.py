"""A crowd of clients that come, ask and leave at once is served, each of it and whoever is beside it."""

import contextlib
import socket

from tests.attack.scripted import KEY, PATH, PAUSE, Say, Scripted, chunked_bytes, message, text_of
from tests.e2e.harness import Proxy
from tests.support.patience import wait_until
from tests.support.raw import RawConnection

type Place = tuple[Proxy, Scripted]

ASKING = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def test_a_crowd_that_comes_at_once_is_served_beside_a_stream(scripted: Place) -> None:
    proxy, server = scripted
    whole = chunked_bytes("the first")
    server.play(Say([whole[:400], PAUSE, whole[400:]]))
    stream = RawConnection(proxy.url)
    stream.send("POST", proxy.url + PATH, message("claude-x"), KEY)
    server.wait_for(lambda server: server.heard)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 20)) for _ in range(150)]
        for each in crowd:
            each.sendall(ASKING)
        assert all(each.recv(12) == b"HTTP/1.1 200" for each in crowd)
    server.go.set()
    assert text_of(stream.read("POST").body) == "the first"
    stream.close()
    wait_until(lambda: proxy.health()["running"] == 0)


def test_a_crowd_that_leaves_at_once_is_forgotten(scripted: Place) -> None:
    proxy, server = scripted
    server.play(*(Say([PAUSE], then="close") for _ in range(40)))
    crowd = [RawConnection(proxy.url) for _ in range(40)]
    for each in crowd:
        each.send("POST", proxy.url + PATH, message("claude-x"), KEY)
    server.wait_for(lambda server: len(server.heard) == 40)
    for each in crowd:
        each.close("rst")
    wait_until(lambda: proxy.health()["running"] == 0)
    server.go.set()
    server.wait_for(lambda server: len(server.closed) == server.connections)
