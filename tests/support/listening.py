"""Servers for tests that speak for themselves."""

import contextlib
import re
import socket
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Listening(ABC):
    """A server on a free port of 127.0.0.1, with a thread for each connection, as a context manager."""

    scheme = "http"
    port = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """Serve a connection, in its thread. OSError is its end."""

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(connection)


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of a request, with its blank line, and what has come behind it. Raises OSError where it has no end."""
    got = b""
    while b"\r\n\r\n" not in got:
        if not (data := connection.recv(65536)):
            raise OSError("closed within a head")
        got += data
    head, end, rest = got.partition(b"\r\n\r\n")
    return head + end, rest


def read_body(connection: socket.socket, head: bytes, rest: bytes) -> bytes:
    """The body of the request with this head, of which `rest` has come; as much as comes."""
    length = _LENGTH.search(head)
    chunked, size = b"chunked" in head.lower(), int(length[1]) if length else 0
    while not (rest.endswith(b"0\r\n\r\n") if chunked else len(rest) >= size) and (data := connection.recv(65536)):
        rest += data
    return rest


def read_request(connection: socket.socket) -> bytes:
    """The very bytes of a request."""
    head, rest = read_head(connection)
    return head + read_body(connection, head, rest)
