"""A strict forward proxy: it wants the absolute form in what it forwards and the origin form in its tunnels."""

import base64
import re
import socket
import threading
from urllib.parse import urlsplit

from tests.support.listening import Listening, read_body, read_head


class ForwardProxy(Listening):
    """Forwards requests to `http:` URLs one to a connection, and makes tunnels; as a context manager.

    user: USER:PASSWORD that each of both has to show, "" for none. Answers 400 to any other form, 407 to who
    does not show it.
    """

    def __init__(self, user: str = "") -> None:
        self._credential = b"basic " + base64.b64encode(user.encode()).lower() if user else None
        self.heads: list[bytes] = []
        """The head of each request that it got itself."""
        self.inside: list[bytes] = []
        """The beginning of each tunnel."""

    def serve(self, client: socket.socket) -> None:
        """Forward one request, or make a tunnel."""
        with client:
            head, rest = read_head(client)
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


def _forward(client: socket.socket, head: bytes, rest: bytes, target: str) -> None:
    url = urlsplit(target)
    rest = read_body(client, head, rest)
    lines = head.replace(target.encode(), target.removeprefix(f"{url.scheme}://{url.netloc}").encode(), 1).split(
        b"\r\n"
    )
    kept = [line for line in lines if not line.lower().startswith((b"proxy-authorization", b"connection"))]
    with socket.create_connection((url.hostname or "", url.port or 80)) as server:
        server.sendall(b"\r\n".join([kept[0], b"Connection: close", *kept[1:]]) + rest)
        _pump(server, client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _refuse(client: socket.socket, status: bytes) -> None:
    client.sendall(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
