"""Clients that send more than anybody wants, and still read what they are told."""

import select
import socket
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

WAIT_S = 20.0


class Told(NamedTuple):
    """What a client was told. sent: how many bytes it got rid of. closed: whether the connection was ended."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: int
    closed: bool


def connect(url: str) -> socket.socket:
    """A bare connection to the proxy."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), WAIT_S)


def send_and_read(url: str, pieces: Iterable[bytes], *, until: bytes = b"") -> Told:
    """Send these pieces as long as they are taken, reading meanwhile, until the connection ends.

    until: with this in the answer the client is content, and leaves.
    """
    with connect(url) as sock:
        sock.setblocking(False)
        return _exchange(sock, iter(pieces), until)


def _exchange(sock: socket.socket, pieces: Iterator[bytes], until: bytes) -> Told:
    waiting, answer, sent, closed = next(pieces, b""), b"", 0, False
    end = time.monotonic() + WAIT_S
    while not closed and not (until and until in answer):
        assert time.monotonic() < end, f"no end after {sent:,} bytes: {answer[:500]!r}"
        readable, writable, _ = select.select([sock], [sock] if waiting else [], [], 1.0)
        try:
            if writable:
                count = sock.send(waiting)
                sent += count
                waiting = waiting[count:] or next(pieces, b"")
            if readable:
                data = sock.recv(65536)
                answer += data
                closed = not data
        except (BrokenPipeError, ConnectionResetError):
            # What came before can still be read.
            waiting = b""
            closed = not readable
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return Told(0, {}, b"", sent, closed)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Told(int(first.split()[1]), headers, body, sent, closed)


def head(method: str, path: str, **fields: str) -> bytes:
    """A request's head; an underscore in a name stands for a dash."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def filler(size: int, piece: bytes = b"x" * 65536) -> Iterator[bytes]:
    """So many bytes, piece by piece."""
    while size > 0:
        yield piece[:size]
        size -= len(piece)
