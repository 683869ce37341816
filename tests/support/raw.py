"""An HTTP/1.1 client on a bare socket: it shows what arrived and when, and it can leave in the middle."""

import base64
import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from tests.support.patience import PATIENCE_S

Ended = Literal["complete", "cut", "reset", "left"]
Read = int | Callable[[bytes], bool] | None


class Piece(NamedTuple):
    """The part of the body that one read of the socket brought."""

    at: float
    """Seconds since the request was out."""
    data: bytes


@dataclass
class RawResponse:
    """What came back."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    sent_at: float
    """When the request was out, by `time.monotonic()`; the other times count from it."""
    headers_at: float
    body: bytes = b""
    pieces: list[Piece] = field(default_factory=list)
    ended: Ended = "complete"
    """`cut`: closed before the body's end; `reset`: by a RST; `left`: this client stopped reading."""
    ended_at: float = 0.0

    def header(self, name: str) -> str | None:
        """The value of a header, all its lines joined, or None."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def request(
    method: str,
    url: str,
    body: bytes | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    read: Read = None,
    leave: Literal["fin", "rst"] = "fin",
    timeout: float = PATIENCE_S,
    proxy: str | None = None,
    context: ssl.SSLContext | None = None,
) -> RawResponse:
    """Send one request on a connection of its own and read the answer.

    `read` stops early: after at least that many bytes of body (0: after the headers), or when it says True of the body
    so far; the connection is then closed by `leave`. A mapping as body is sent as JSON. `timeout` is for each read.
    A user and password in the proxy's URL are sent to it.
    """
    connection = RawConnection(url, timeout=timeout, proxy=proxy, context=context)
    ended: Ended = "cut"
    try:
        connection.send(method, url, body, headers)
        response = connection.read(method, read)
        ended = response.ended
        return response
    finally:
        connection.close(leave if ended == "left" else "fin")


class RawConnection:
    """A connection that can carry several requests, or half of one."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = PATIENCE_S,
        proxy: str | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        target = urlsplit(url)
        self._absolute = proxy is not None and target.scheme == "http"
        self._for_proxy = _proxy_credential(proxy) if proxy else {}
        self._sent_at = time.monotonic()
        self._buffer = b""
        self.socket: socket.socket = socket.create_connection(_address(urlsplit(proxy) if proxy else target), timeout)
        try:
            # Small writes are often the point of a test: they must not wait for each other.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.scheme == "https":
                if proxy:
                    self._tunnel(target)
                host = target.hostname or ""
                self.socket = (context or ssl.create_default_context()).wrap_socket(self.socket, server_hostname=host)
        except BaseException:
            self.socket.close()
            raise

    def send(
        self,
        method: str,
        url: str,
        body: bytes | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request; `url` is what the request line is made from."""
        headers = {**self._for_proxy, **(headers or {})} if self._absolute else headers
        self.send_bytes(encode_request(method, url, body, headers, absolute=self._absolute))

    def send_bytes(self, data: bytes) -> None:
        """Send anything at all. The clock of the next response starts when it is out."""
        self.socket.sendall(data)
        self._sent_at = time.monotonic()

    def read(self, method: str = "GET", read: Read = None) -> RawResponse:
        """Read one response; see `request` for `read`."""
        response = self._head()
        while 100 <= response.status < 200:
            response = self._head()
        framing = _framing(method, response)
        body = bytearray()
        while True:
            piece = framing.feed(self._buffer)
            self._buffer = framing.excess
            if piece:
                body += piece
                response.pieces.append(Piece(self._clock(), piece))
            if framing.done:
                break
            if read is not None and (len(body) >= read if isinstance(read, int) else read(bytes(body))):
                response.ended = "left"
                break
            try:
                self._buffer = self._receive()
            except ConnectionResetError:
                response.ended = "reset"
                break
            except TimeoutError:
                raise TimeoutError(f"{response.status}, then no byte in time after {bytes(body)!r}") from None
            if not self._buffer:
                response.ended = "complete" if framing.ends_with_connection else "cut"
                break
        response.body, response.ended_at = bytes(body), self._clock()
        return response

    def close(self, how: Literal["fin", "rst"] = "fin") -> None:
        """Close with a FIN, or abruptly with a RST."""
        if how == "rst":
            # Lingering for zero seconds makes the kernel send a RST.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()
            return
        try:
            # close() alone would send a RST if there is unread data, so the FIN goes first and then what came is read.
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.setblocking(False)
            while self.socket.recv(65536):
                pass
        except (OSError, ValueError):
            pass
        self.socket.close()

    def _clock(self) -> float:
        return time.monotonic() - self._sent_at

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except ssl.SSLEOFError:
            return b""

    def _head(self) -> RawResponse:
        while b"\r\n\r\n" not in self._buffer:
            data = self._receive()
            if not data:
                raise ConnectionError(f"closed before the end of the headers: {self._buffer!r}")
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        _, status, reason = (first + " ").split(" ", 2)
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return RawResponse(int(status), reason.strip(), pairs, self._sent_at, self._clock())

    def _tunnel(self, target: SplitResult) -> None:
        host, port = _address(target)
        self.socket.sendall(encode_connect(f"{host}:{port}", self._for_proxy))
        response = self._head()
        if response.status != 200:
            raise ConnectionError(f"the proxy refused: {response.status} {response.reason}")


def encode_connect(authority: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of a request for a tunnel."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _proxy_credential(proxy: str) -> dict[str, str]:
    """What a proxy's URL says of who asks, as clients send it."""
    userinfo, at, _ = urlsplit(proxy).netloc.rpartition("@")
    return {"proxy-authorization": "Basic " + base64.b64encode(userinfo.encode()).decode()} if at else {}


def encode_request(
    method: str,
    url: str,
    body: bytes | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    absolute: bool = False,
) -> bytes:
    """The bytes of a request, with `host`, and with `content-length` and `content-type` where they are due."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {"host": parts.netloc}
    if isinstance(body, Mapping):
        body = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        fields["content-type"] = "application/json"
    if body is not None:
        fields["content-length"] = str(len(body))
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    lines = [f"{method} {f'{parts.scheme}://{parts.netloc}' if absolute else ''}{target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "127.0.0.1", url.port or (443 if url.scheme == "https" else 80)


def _framing(method: str, response: RawResponse) -> "_Length | _Chunked | _ToTheEnd":
    if method == "HEAD" or response.status in (204, 304):
        return _Length(0)
    if (response.header("transfer-encoding") or "").lower() == "chunked":
        return _Chunked()
    length = response.header("content-length")
    return _ToTheEnd() if length is None else _Length(int(length))


class _Length:
    """A body of known length."""

    ends_with_connection = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.excess = b""

    @property
    def done(self) -> bool:
        return self._left == 0

    def feed(self, data: bytes) -> bytes:
        piece, self.excess = data[: self._left], data[self._left :]
        self._left -= len(piece)
        return piece


class _ToTheEnd:
    """A body that ends with the connection."""

    ends_with_connection = True
    done = False
    excess = b""

    def feed(self, data: bytes) -> bytes:
        return data


class _Chunked:
    """A chunked body."""

    ends_with_connection = False

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state: Literal["size", "data", "crlf", "trailer"] = "size"
        self.done = False
        self.excess = b""

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        piece = b""
        while not self.done:
            if self._state == "data":
                part, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
                piece += part
                self._left -= len(part)
                if self._left:
                    break
                self._state = "crlf"
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                break
            self._buffer = rest
            if self._state == "size":
                self._left = int(line.split(b";")[0], 16)
                self._state = "data" if self._left else "trailer"
            elif self._state == "crlf":
                if line:
                    raise AssertionError(f"a chunk is longer than it says: {line!r}")
                self._state = "size"
            elif not line:
                self.done = True
                self.excess, self._buffer = self._buffer, b""
        return piece
