"""A strict forward proxy: it wants the absolute form in what it forwards and the origin form in its tunnels."""

import base64
import re
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class ForwardProxy:
    """Forwards requests to `http:` URLs one to a connection, and makes tunnels; as a context manager.

    user: USER:PASSWORD that each of both has to show, "" for none. Answers 400 to any other form, 407 to who
    does not show it.
    """

    def __init__(self, user: str = "") -> None:
        self._credential = b"basic " + base64.b64encode(user.encode()).lower() if user else None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heads: list[bytes] = []
        """The head of each request that it got itself."""
        self.inside: list[bytes] = []
        """The beginning of each tunnel."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                head, rest = _read_head(client)
                self.heads.append(head)
                method, _, target = head.split(b"\r\n")[0].rpartition(b" ")[0].partition(b" ")
                shown = re.search(rb"(?i)\r\nproxy-authorization: *([^\r]*)", head)
                if self._credential is not None and (shown is None or shown[1].lower() != self._credential):
                    _refuse(client, b"407 Proxy Authentication Required")
                elif method == b"CONNECT":
                    self._tunnel(client, target.decode())
                elif target.startswith(b"http://"):
                    _forward(client, head, rest, target.decode())
                else:
                    _refuse(client, b"400 Not The Absolute Form")
            except OSError:
                return

    def _tunnel(self, client: socket.socket, target: str) -> None:
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Go On\r\n\r\n")
            first = client.recv(65536)
            self.inside.append(first)
            if re.match(rb"[A-Z]+ http:", first):
                _refuse(client, b"400 Not The Origin Form")
                return
            server.sendall(first)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    got = b""
    while b"\r\n\r\n" not in got:
        if not (data := client.recv(65536)):
            raise OSError("closed within a head")
        got += data
    head, end, rest = got.partition(b"\r\n\r\n")
    return head + end, rest


def _forward(client: socket.socket, head: bytes, rest: bytes, target: str) -> None:
    url = urlsplit(target)
    while not _is_whole(head, rest) and (data := client.recv(65536)):
        rest += data
    lines = head.replace(target.encode(), target.removeprefix(f"{url.scheme}://{url.netloc}").encode(), 1).split(
        b"\r\n"
    )
    kept = [line for line in lines if not line.lower().startswith((b"proxy-authorization", b"connection"))]
    with socket.create_connection((url.hostname or "", url.port or 80)) as server:
        server.sendall(b"\r\n".join([kept[0], b"Connection: close", *kept[1:]]) + rest)
        _pump(server, client)


def _is_whole(head: bytes, rest: bytes) -> bool:
    if b"chunked" in head.lower():
        return rest.endswith(b"0\r\n\r\n")
    length = _LENGTH.search(head)
    return len(rest) >= (int(length[1]) if length else 0)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _refuse(client: socket.socket, status: bytes) -> None:
    client.sendall(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
