"""An HTTP/1 server that answers each request with bytes that a test chose, and knows which connection carried what."""

import queue
import re
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from tests.support.listening import Listening
from tests.support.patience import PATIENCE_S
from tests.support.protocol import check_anthropic_stream
from tests.support.raw import RawResponse, request
from tests.upstream import anthropic_stream

PATH = "/v1/messages"
KEY = {"x-api-key": "the-clients-own-key-4711"}

type Then = Literal["keep", "close"]


@dataclass(frozen=True)
class Say:
    """What is said to one request: pieces of bytes, then the connection is kept or closed."""

    pieces: Sequence[bytes]
    then: Then = "keep"


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    connection: int
    head: bytes
    body: bytes


@dataclass
class Scripted(Listening):
    """The server; to be used with `with`. Plays its script in the order in which requests come, over all connections.

    go: a piece of `PAUSE` is not sent but waits until `go` is set. tls: the context to serve with, None for plain HTTP.
    """

    script: "queue.Queue[Say]" = field(default_factory=queue.Queue)
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    closed: list[int] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None
    under_way: int = 0
    most: int = 0
    """How many requests waited for the end of their answers at the same time, at most."""
    _open: list[socket.socket] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.scheme = "https" if self.tls else "http"

    def play(self, *says: Say) -> None:
        """Put these at the end of the script."""
        for say in says:
            self.script.put(say)

    def reset(self) -> None:
        """Forget the script and what was heard."""
        self.script = queue.Queue()
        self.heard.clear()
        self.most = 0
        self.go.clear()

    def wait_for(self, condition: Any, timeout: float = PATIENCE_S) -> None:
        """Wait until a condition on this server holds."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), timeout), self.heard

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go.set()
        super().__exit__(kind, error, trace)
        for each in self._open:
            each.close()

    def serve(self, connection: socket.socket) -> None:
        """Play the script on a connection, until its end."""
        plain = connection
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self._open.append(plain)
            self.connections += 1
            number = self.connections
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(plain, server_side=True)
            self._answer(connection, number)
        finally:
            connection.close()
            with self._changed:
                self.closed.append(number)
                self._changed.notify_all()

    def _answer(self, connection: socket.socket, number: int) -> None:
        buffer = b""
        while True:
            while (heard := split(buffer)) is None:
                data = connection.recv(65536)
                if not data:
                    return
                buffer += data
            head, body, buffer = heard
            with self._changed:
                self.heard.append(Heard(number, head, body))
                self.under_way += 1
                self.most = max(self.most, self.under_way)
                self._changed.notify_all()
            say = self.script.get(timeout=10)
            for place, piece in enumerate(say.pieces, 1):
                if place == len(say.pieces):
                    # Before it is sent, as the next request may come at once.
                    with self._changed:
                        self.under_way -= 1
                if piece is PAUSE:
                    self.go.wait(10)
                else:
                    connection.sendall(piece)
            if say.then == "close":
                return


PAUSE = b"<pause>"


def split(buffer: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Head, body and what follows of a request with a content-length, or chunked; None where it is not whole."""
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None
    if b"chunked" in head.lower():
        body, end, rest = rest.partition(b"0\r\n")
        trailers, last, rest = rest.partition(b"\r\n") if rest.startswith(b"\r\n") else rest.partition(b"\r\n\r\n")
        return (head + b"\r\n\r\n" + trailers, body, rest) if end and last else None
    match = re.search(rb"(?i)content-length: *(\d+)", head)
    length = int(match[1]) if match else 0
    return (head, rest[:length], rest[length:]) if len(rest) >= length else None


def answer_bytes(text: str, *, extra_headers: bytes = b"", status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A healthy streamed answer on the wire, with a content-length."""
    body = anthropic_stream(text).whole
    head = b"%s\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n" % (status, len(body))
    return head + extra_headers + b"\r\n" + body


def chunked_bytes(text: str, *, last: bytes = b"0\r\n\r\n", headers: bytes = b"") -> bytes:
    """The same, chunked; `last`: what comes behind the last chunk with data."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n" + headers + b"\r\n"
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in anthropic_stream(text).chunks]
    return head + b"".join(chunks) + last


def message(model: str, text: str = "hi") -> dict[str, Any]:
    """The body of a request for a stream."""
    return {"model": model, "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": text}]}


def text_of(body: bytes) -> str:
    """The text of a stream that is whole."""
    report = check_anthropic_stream(body)
    assert report.ended == "complete"
    return report.text


def ask(base: str, text: str = "hi", *, model: str = "claude-x", **how: Any) -> RawResponse:
    """Ask for a stream with the client's own key."""
    return request("POST", base + PATH, message(model, text), KEY, **how)
