"""Upstreams and a proxy in front of them that are hard to connect to, and clients that stay on one connection."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.attack.http2_server import Http2Server
from tests.attack.scripted import PATH, Say, Scripted, answer_bytes, message, text_of
from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy
from tests.e2e.probed import ProbedProxy
from tests.support.listening import Listening
from tests.support.raw import RawConnection

_HOST = re.compile(rb"(?i)\r\nhost: *([^\r]+)")
type Told = tuple[int, str, str]
"""Status, number of attempts, and the text of an answer."""


class Reluctant(Listening):
    """A server that does not do what it should on some of its connections.

    silent: on so many to come nothing is said, until the other side leaves. rude: on so many, nonsense is said.
    came: how many have come. left: how many of the silent ones were left by the other side.
    gate: what is not silent waits for it.
    """

    silent = rude = came = left = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = threading.Event()
        self.gate.set()
        self.told_of = threading.Condition()

    def begin_anew(self, *, silent: int = 0, rude: int = 0) -> None:
        """Forget what has been, and behave like this from now on."""
        with self.told_of:
            self.silent, self.rude, self.came, self.left = silent, rude, 0, 0

    def until(self, condition: Callable[[Self], object]) -> None:
        """Wait until a condition on this server holds."""
        with self.told_of:
            assert self.told_of.wait_for(lambda: condition(self), 15), (self.came, self.left)

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection, or not."""
        with self.told_of:
            self.came += 1
            silent, rude = self.silent > 0, self.rude > 0
            self.silent, self.rude = self.silent - silent, self.rude - rude
            self.told_of.notify_all()
        if silent:
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass
            connection.close()
            with self.told_of:
                self.left += 1
                self.told_of.notify_all()
        elif rude:
            connection.recv(65536)
            connection.sendall(b"nonsense")
            connection.close()
        else:
            self.gate.wait(15)
            super().serve(connection)  # type: ignore[safe-super]


class ReluctantHttp1(Reluctant, Scripted):
    """An HTTP/1 server that may be reluctant."""


class ReluctantHttp2(Reluctant, Http2Server):
    """An HTTP/2 server that may be reluctant."""


class _Tunnels(Listening):
    """A forward proxy: for CONNECT, and for absolute URLs, one for each connection."""

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := connection.recv(65536)):
                return
            head += data
        method, target = head.split()[:2]
        named = _HOST.search(head)
        place = target if method == b"CONNECT" or named is None else named[1]
        host, _, port = place.decode().rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            if method == b"CONNECT":
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                there.sendall(head)
            back = threading.Thread(target=_pump, args=(there, connection), daemon=True)
            back.start()
            _pump(connection, there)
            back.join(15)


class ReluctantProxy(Reluctant, _Tunnels):
    """A forward proxy that may be reluctant."""


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class Http1Client:
    """A client that asks one question after the other on one HTTP/1 connection."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.connection = RawConnection(proxy.url)

    def post(self, model: str, text: str = "hi") -> None:
        """Ask, and do not wait for the answer."""
        self.connection.send("POST", self._proxy.url + PATH, message(model, text))

    def ask(self, model: str) -> Told:
        """Ask, and read the answer."""
        self.post(model)
        response = self.connection.read("POST")
        text = text_of(response.body) if response.status == 200 else ""
        return response.status, response.header("x-healing-attempts") or "", text

    def leave(self) -> None:
        """Leave what is under way."""
        self.connection.close()
        self.connection = RawConnection(self._proxy.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()


class Http2Client(H2Client):
    """The same on one HTTP/2 connection, with several at once if need be."""

    def __init__(self, proxy: Proxy, server: Listening) -> None:
        super().__init__(server.url, proxy=proxy.url, ca=proxy.ca_file)
        self._last = 0

    def begin(self, model: str, text: str = "hi") -> int:
        """Ask, and do not wait for the answer; gives the stream's id."""
        self._last = super().post(PATH, message(model, text))
        return self._last

    def told(self, stream_id: int) -> Told:
        """Read an answer."""
        body, head = self.whole(stream_id), self.heads[stream_id]
        status = int(head[":status"])
        return status, head.get("x-healing-attempts", ""), text_of(body) if status == 200 else ""

    def ask(self, model: str) -> Told:
        """Ask, and read the answer."""
        return self.told(self.begin(model))

    def leave(self, stream_id: int | None = None) -> None:
        """Reset a stream, the last one if none is given."""
        super().leave(stream_id or self._last)


@dataclass(frozen=True)
class Site:
    """A proxy, and what is behind it. Each model leads to the upstream of its name; `…-hasty` waits two seconds."""

    proxy: ProbedProxy
    http1: ReluctantHttp1
    http2: ReluctantHttp2
    plain: ReluctantHttp1
    narrow: ReluctantHttp1
    tunnels: ReluctantProxy | None = None

    def server(self, model: str) -> ReluctantHttp1 | ReluctantHttp2:
        """The upstream of a model."""
        found = getattr(self, model.removesuffix("-hasty"))
        assert isinstance(found, ReluctantHttp1 | ReluctantHttp2)
        return found

    def client(self, http: str) -> Http1Client | Http2Client:
        """A client that speaks this HTTP."""
        return Http1Client(self.proxy) if http == "http1" else Http2Client(self.proxy, self.http2)

    def answers(self, model: str, text: str = "fine", times: int = 1) -> None:
        """Have the upstream of a model give this answer so many times."""
        server = self.server(model)
        if isinstance(server, ReluctantHttp1):
            server.play(*[Say([answer_bytes(text)])] * times)
        else:
            server.play = lambda asked: asked.answer(text)
