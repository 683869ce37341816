"""A client that does not take its answer gets no more of it from upstream, and upstream gets no blame."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.attack.http2_server import Asked, Http2Server
from tests.attack.rude_client import MIB, RudeClient, bytes_sent
from tests.attack.scripted import KEY, PATH, message, split
from tests.e2e.harness import account, upstream
from tests.e2e.probed import ProbedProxy
from tests.support.listening import Listening
from tests.support.patience import wait_until
from tests.support.raw import RawConnection
from tests.upstream import anthropic_stream

IDLE_S = 3.0
SIZE = 24 * MIB
TEXT = "x" * 50_000
EVENT = anthropic_stream(TEXT, pieces=1).chunks[2]
COUNT = SIZE // len(EVENT)


def long_answer() -> list[bytes]:
    """The pieces of a whole answer of some 24 MiB."""
    chunks = anthropic_stream(TEXT, pieces=1).chunks
    return [*chunks[:2], *[EVENT] * COUNT, *chunks[3:]]


@dataclass
class Flood(Listening):
    """An HTTP/1 server that gives each request the long answer, as fast as it is taken."""

    sent: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)

    def serve(self, connection: socket.socket) -> None:
        """Answer one request."""
        with connection:
            buffer = b""
            while split(buffer) is None:
                buffer += connection.recv(65536)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            try:
                connection.sendall(head)
                for piece in long_answer():
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.sent += len(piece)
                connection.sendall(b"0\r\n\r\n")
                self.finished.set()
            except OSError:
                self.left.set()


@dataclass(frozen=True)
class Site:
    """A proxy in front of a server of each HTTP; the model's name decides which one is asked."""

    proxy: ProbedProxy
    secure: Http2Server
    plain: Flood

    def sent(self, to: str) -> int:
        """How many bytes upstream has got rid of."""
        return bytes_sent(self.secure) if to == "http2" else self.plain.sent

    def left(self, to: str) -> bool:
        """Whether the proxy has ended its call."""
        if to == "http1":
            return self.plain.left.is_set()
        return any(asked.stream_id in asked.peer.reset for asked in self.secure.asked)


def answer_long(asked: Asked) -> None:
    """Give the long answer over HTTP/2."""
    asked.head()
    asked.data(b"".join(long_answer()), end=True)


@contextmanager
def site(folder: Path, limits: str) -> Iterator[Site]:
    """The proxy with these `[limits]`, and at the end the proof that nothing is left in it."""
    with Http2Server(folder) as secure, Flood() as plain:
        secure.play = answer_long
        config = f"[peek]\nidle = {IDLE_S}\n[limits]\n{limits}\n[retry]\nmax_attempts = 2\n"
        config += '[models]\n"http1" = "plain/http1"\n'
        config += account("one", "anthropic", models=["http2"]) + upstream("anthropic", "anthropic", secure.url)
        config += account("two", "plain", models=["http1"]) + upstream("plain", "anthropic", plain.url)
        options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
        with ProbedProxy(folder / "proxy", config, options=options) as proxy:
            yield Site(proxy, secure, plain)
            proxy.wait_until_clean()


def stays_shut(held: Site, to: str) -> int:
    """Wait until nothing has come from upstream for longer than it may be idle; gives how much came before."""
    last, since = -1, time.monotonic()

    def has_stayed() -> bool:
        nonlocal last, since
        if (now := held.sent(to)) != last or not now:
            last, since = now, time.monotonic()
        return time.monotonic() > since + 1.5 * IDLE_S

    wait_until(has_stayed, timeout_s=60)
    return last


@pytest.mark.parametrize("to", ["http1", "http2"])
def test_a_shut_window_holds_upstream_and_the_answer_is_whole_in_the_end(tmp_path: Path, to: str) -> None:
    with site(tmp_path, "") as held, RudeClient(held.secure.url, held.proxy, window=100_000) as client:
        client.takes = False
        client.h2.increment_flow_control_window(64 * MIB)
        stream_id = client.open("slow", model=to)
        client.flush()
        client.read_until(lambda: len(client.body[stream_id]) >= 90_000)
        # What an HTTP/1 upstream got rid of lies in the kernel's buffers, too.
        assert stays_shut(held, to) < 14 * MIB
        client.h2.increment_flow_control_window(64 * MIB, stream_id)
        client.flush()
        client.read_until(lambda: stream_id in client.ended)
        assert client.body[stream_id] == b"".join(long_answer())
        assert client.heads[stream_id]["x-healing-outcome"] == "clean"


def test_an_http1_client_that_does_not_read_gets_its_whole_answer_later(tmp_path: Path) -> None:
    with site(tmp_path, "") as held:
        connection = RawConnection(held.proxy.url)
        connection.send("POST", held.proxy.url + PATH, message("http1"), KEY)
        assert stays_shut(held, "http1") < 16 * MIB
        response = http.client.HTTPResponse(connection.socket)
        response.begin()
        assert response.read() == b"".join(long_answer())
        connection.close()


# (mitmproxy speaks HTTP/2 with an upstream only where the client does.)
@pytest.mark.parametrize(("client", "to"), [("http1", "http1"), ("http2", "http1"), ("http2", "http2")])
def test_a_client_that_never_takes_its_answer_is_taken_for_gone(tmp_path: Path, client: str, to: str) -> None:
    with site(tmp_path, "unread_seconds = 1.5") as held:
        if client == "http2":
            visitor = RudeClient(held.secure.url, held.proxy, window=100_000)
            visitor.takes = False
            stream_id = visitor.open("slow", model=to)
            visitor.flush()
            visitor.read_until(lambda: stream_id in visitor.reset)
            connection = visitor.connection
        else:
            connection = RawConnection(held.proxy.url)
            connection.send("POST", held.proxy.url + PATH, message(to), KEY)
        wait_until(lambda: held.left(to))
        wait_until(lambda: held.proxy.health()["running"] == 0)
        connection.close("rst")
        # It was no account's fault.
        accounts = held.proxy.health()["accounts"]
        assert [each["healthy"] for each in accounts] == [True, True], accounts
