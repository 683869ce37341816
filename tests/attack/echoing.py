"""An HTTP/1 upstream that repeats every secret it was shown, in a place that each request names."""

import gzip
import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import quote

import brotli
import zstandard

from tests.support.listening import Listening

PLACE = "x-place"
"""The header in which a request names the place."""


def answer(
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    status: str = "200 OK",
    kind: str = "application/json",
) -> bytes:
    """A whole answer with a content-length."""
    lines = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def chunked(*chunks: bytes, extension: str = "", trailer: str = "", kind: str = "application/json") -> bytes:
    """An answer in chunks."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    said = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension.encode(), chunk) for chunk in chunks)
    return head + said + f"0\r\n{trailer}\r\n".encode()


def told(secret: str) -> bytes:
    """A JSON value that says a secret and is acceptable to most readers."""
    text = f"you are <{secret}>"
    content = [{"type": "text", "text": text}]
    return json.dumps(
        {
            "id": "msg_1", "type": "message", "role": "assistant", "model": text, "content": content,
            "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
            "data": [{"id": text, "type": "model"}], "models": [{"name": text}], "input_tokens": 1, "totalTokens": 1,
        }
    ).encode()  # fmt: skip


def spelled(secret: str, spell: Callable[[str], str]) -> bytes:
    """The same with every secret character by character in another spelling."""
    mark = "SPELLED-HERE"
    return told(mark).replace(mark.encode(), "".join(map(spell, secret)).encode())


def sse(secret: str) -> bytes:
    """Events of both dialects."""
    event = told(secret).decode()
    error = json.dumps({"type": "error", "error": {"type": "api_error", "message": secret}})
    return f"event: error\r\ndata: {error}\r\n\r\ndata: {event}\r\n\r\n".encode()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def halves(secret: str) -> bytes:
    """Chunks that cut every secret in two, and one in its first character's escape."""
    data = told(secret)
    middle = data.find(secret[:12].encode()) + 6
    return chunked(data[:middle], data[middle:])


PLACES: dict[str, Callable[[str], bytes]] = {
    "body": lambda secret: answer(told(secret)),
    "body with slashes escaped": lambda secret: answer(told(secret).replace(b"/", b"\\/")),
    "body in unicode escapes": lambda secret: answer(spelled(secret, lambda char: f"\\u{ord(char):04x}")),
    "body in a URL": lambda secret: answer(told(quote(secret, safe=""))),
    "body in JSON in JSON": lambda secret: answer(told(json.dumps({"was": secret}).replace("/", "\\/"))),
    "body in halves": halves,
    "body in gzip": lambda secret: answer(gzip.compress(told(secret)), {"content-encoding": "gzip"}),
    "body in br": lambda secret: answer(brotli.compress(told(secret)), {"content-encoding": "br"}),
    "body in zstd": lambda secret: answer(zstd(told(secret)), {"content-encoding": "zstd"}),
    "body in gzip in gzip": lambda secret: answer(
        gzip.compress(gzip.compress(told(secret))), {"content-encoding": "gzip, gzip"}
    ),
    "body in an unknown coding": lambda secret: answer(told(secret), {"content-encoding": "x-unknown"}),
    "body that is no gzip": lambda secret: answer(told(secret), {"content-encoding": "gzip"}),
    "text": lambda secret: answer(f"hello {secret}".encode(), kind="text/plain"),
    "events": lambda secret: chunked(sse(secret), kind="text/event-stream"),
    "error": lambda secret: answer(told(secret), status="400 Bad Request"),
    "error in gzip": lambda secret: answer(
        gzip.compress(told(secret)), {"content-encoding": "gzip"}, status="400 Bad Request"
    ),
    "server error": lambda secret: answer(secret.encode(), status="500 No", kind="text/plain"),
    "header": lambda secret: answer(told(""), {"x-echo": f"for {secret}"}),
    "header's name": lambda secret: answer(told(""), {f"x-{re.sub('[^A-Za-z0-9+.-]', '', secret)}": "1"}),
    "cookie": lambda secret: answer(told(""), {"set-cookie": f"session={secret}; Path=/"}),
    "reason": lambda secret: answer(told(""), status=f"200 {secret}"),
    "error's reason": lambda secret: answer(told(""), status=f"404 {secret}"),
    "chunk extension": lambda secret: chunked(told(""), extension=f';was="{secret}"'),
    "header without a colon": lambda secret: b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % secret.encode(),
    "header with a bad name": lambda secret: answer(told(""), {f"x ({secret})": "1"}),
    "header with a bad length": lambda secret: answer(told(""), {"content-length": secret}),
    "header with a bad coding": lambda secret: answer(told(""), {"transfer-encoding": secret}),
    "bad status": lambda secret: f"HTTP/1.1 {secret}\r\n\r\n".encode(),
    "bad version": lambda secret: f"{secret} 200 OK\r\n\r\n".encode(),
    "no HTTP": lambda secret: f"I know {secret}".encode(),
    "bad chunk": lambda secret: chunked(b"{}").replace(b"2\r\n", f"{secret}\r\n".encode(), 1),
    "after the answer": lambda secret: answer(told("")) + f"and {secret}\r\n\r\n".encode(),
    "early hints": lambda secret: f"HTTP/1.1 103 {secret}\r\nlink: {secret}\r\n\r\n".encode() + answer(told("")),
}


@dataclass
class Echoing(Listening):
    """The server; to be used with `with`. Without a place it says what `healthy` makes of the request's path.

    secrets: what it repeats where it was shown it. shown: what each place has been shown. heads, bodies: all requests.
    """

    secrets: tuple[str, ...]
    healthy: Callable[[str], bytes] = lambda path: answer(b"{}")
    shown: dict[str, set[str]] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        """Answer until a request asks for what ends the connection."""
        with connection, connection.makefile("rb") as stream:
            while said := self._said(stream):
                connection.sendall(said)
                if not said.startswith(b"HTTP/1.1 200 OK\r\ncontent"):
                    return

    def _said(self, stream: BinaryIO) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return b""
            head += line
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        body = stream.read(int(length[1])) if length else b""
        self.heads.append(head)
        self.bodies.append(body)
        shown = [secret for secret in self.secrets if secret.encode() in head + body]
        shown += [secret for secret in self.secrets if quote(secret, safe="").encode() in head and secret not in shown]
        place = re.search(rf"(?im)^{PLACE}: *([^\r\n]+)".encode(), head)
        if place is None:
            return self.healthy(head.split()[1].decode())
        self.shown.setdefault(place[1].decode(), set()).update(shown)
        said = PLACES[place[1].decode()](" and ".join(shown))
        return b"" if head.startswith(b"HEAD") else said


def exchange(port: int, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Send a request on a connection of its own, and give everything that comes back."""
    lines = {"host": f"127.0.0.1:{port}", "connection": "close", **headers}
    if body or method == "POST":
        lines |= {"content-length": str(len(body)), "content-type": "application/json"}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        got = b""
        try:
            while data := connection.recv(65536):
                got += data
        except ConnectionResetError:
            pass
    return got
