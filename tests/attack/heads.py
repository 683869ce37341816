"""Requests with any head at all, by each way to an upstream."""

import socket
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tests.support.raw import RawConnection, RawResponse

type Way = Literal["base URL", "proxy", "tunnel"]
WAYS: tuple[Way, ...] = ("base URL", "proxy", "tunnel")


def head(method: str, target: str | bytes, headers: Mapping[str, str | bytes], body: bytes | None = None) -> bytes:
    """The bytes of a request, exactly with this target and these headers, and with `content-length` for a body."""
    fields = dict(headers) | ({"content-length": str(len(body))} if body is not None else {})
    lines = [b"%b %b HTTP/1.1" % (method.encode(), _bytes(target))]
    lines += [name.encode() + b": " + _bytes(value) for name, value in fields.items()]
    return b"\r\n".join([*lines, b"", b""]) + (body or b"")


def send(
    proxy: str,
    upstream: str,
    prefix: str,
    method: str,
    path: str | bytes,
    *,
    way: Way = "base URL",
    headers: Mapping[str, str | bytes] | None = None,
    body: bytes | None = None,
) -> RawResponse:
    """Ask for a path of an upstream (whose own paths begin with `prefix`) through a proxy; both are base URLs."""
    there, host = upstream.removeprefix("http://"), proxy.removeprefix("http://")
    connection = RawConnection(proxy)
    try:
        target = _bytes(path)
        if way != "base URL":
            host, target = there, prefix.encode() + target
        if way == "proxy":
            target = upstream.encode() + target
        if way == "tunnel":
            connection.send_bytes(head("CONNECT", there, {"host": there}))
            tunnel = connection.read("HEAD")
            assert tunnel.status == 200
        connection.send_bytes(head(method, target, {"host": host, **(headers or {})}, body))
        return connection.read(method)
    finally:
        connection.close()


def ends(port: int, request: bytes) -> bytes:
    """Send bytes and nothing more, and give all that comes back until the proxy closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while data := client.recv(65536):
                got += data
        except ConnectionResetError:
            pass
        return got


def error_of(response: RawResponse) -> dict[str, Any]:
    """The error in an answer of the proxy's own."""
    error: dict[str, Any] = response.json()["error"]
    assert error["message"]
    return error


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def carries(key: str) -> Callable[[Any], bool]:
    """Whether a call carries a key anywhere in its head."""
    return lambda call: any(key in value for _, value in call.header_pairs) or key in f"{call.path}?{call.query}"
