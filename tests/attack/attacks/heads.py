"""Heads of requests: too long, too many headers, too slow, not HTTP."""

import contextlib
import socket

from tests.attack.arena import MB, Arena, Setup, head, read_to_end, refused, status_of
from tests.attack.table import Attack
from tests.support.patience import wait_until

_QUICK = Setup("[limits]\nhead_seconds = 2\n")


def _flood(place: Arena, begin: bytes, piece: bytes, pieces: int) -> bytes:
    """Begin a request and go on for as long as the proxy takes it; gives what it answers."""
    with place.connect(10) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(begin)
            for _ in range(pieces):
                connection.sendall(piece)
        return read_to_end(connection)


def long_head(place: Arena) -> None:
    """One header of 100 MB."""
    refused(_flood(place, b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ", b"x" * MB, 100))


def many_headers(place: Arena) -> None:
    """A million headers."""
    refused(_flood(place, b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n", b"a: b\r\n" * 10_000, 100))


def rather_many_headers(place: Arena) -> None:
    """Some more headers than anybody needs, in a head that is short enough."""
    refused(place.send(head("GET", "/v1/models", *["a: b"] * 5000)))


def long_line(place: Arena) -> None:
    """A request line of 50 MB."""
    refused(_flood(place, b"GET /v1/models?", b"x" * MB, 50))


def endless_blank_lines(place: Arena) -> None:
    """Blank lines before a request."""
    answer = _flood(place, b"", b"\r\n" * 50_000, 200)
    assert status_of(answer) in (0, 400, 431), answer[:100]


def slow_heads(place: Arena) -> None:
    """Two hundred connections whose heads do not come to an end."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(place.connect()) for _ in range(200)]
        for connection in connections:
            connection.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ")

        def open_ones() -> int:
            return sum(_is_open(connection) for connection in connections)

        for _ in range(20):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
        wait_until(lambda: open_ones() == 0, "the end of 200 slow heads", 12)


def silent_connections(place: Arena) -> None:
    """Two hundred connections that begin a TLS handshake behind CONNECT and say no more; a client is served beside."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(place.connect())
            connection.sendall(head("CONNECT", f"127.0.0.1:{place.good.port}", host=f"127.0.0.1:{place.good.port}"))
        place.is_well()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while data := connection.recv(4096):
            assert data
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


_FRAMINGS = (
    ("content-length: 3", "content-length: 5"),
    ("content-length: 3", "transfer-encoding: chunked"),
    ("transfer-encoding: chunked, identity",),
    ("transfer-encoding: xchunked",),
    ("transfer-encoding:\x0bchunked",),
    ("transfer-encoding : chunked",),
    ("content-length: +3",),
    ("content-length: 0x3",),
    ("content-length: -1",),
    ("content-length: 3,3,5",),
    ("content-length: 99999999999999999999999999",),
)
_CHUNKS = (
    b"-1\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"1_0\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcdef\r\n0\r\n\r\n",
    b"ffffffffffffffffffff\r\nabc",
    b"\r\n\r\n",
)
# Some readers bear these.
_BORNE = (b"3\nabc\n0\n\n", b" 3 \r\nabc\r\n0\r\n\r\n", b"3" + b";x" * 500_000 + b"\r\nabc\r\n0\r\n\r\n")


def odd_framing(place: Arena) -> None:
    """A second request hides in what is body for one reader and not for another."""
    hidden = head("GET", "/v1/models/hidden", "anthropic-version: 2023-06-01")
    for framing in _FRAMINGS:
        place.send(head("POST", "/v1/messages", *framing) + b"{}\n" + hidden, timeout=3)
    for chunks in _CHUNKS:
        place.send(head("POST", "/v1/messages", "transfer-encoding: chunked") + chunks + hidden, timeout=3)
    for chunks in _BORNE:
        place.send(head("POST", "/v1/messages", "transfer-encoding: chunked") + chunks, timeout=3)
    assert not any("hidden" in call.path for call in place.good.calls), "a hidden request was served with a key"


def pipelined(place: Arena) -> None:
    """A thousand requests in one go on one connection."""
    with place.connect(30) as connection:
        connection.sendall(head("GET", "/health") * 1000)
        answers = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while answers.count(b"HTTP/1.1 200") < 1000 and (more := connection.recv(65536)):
                answers += more
    assert b"HTTP/1.1 200" in answers


_FIELDS = ("x: a\rb", "x: a\0b", "x: a\x0bb", "x: a\rset-cookie: b", "x\0y: z", "x y: z", "x\ty: z", ": z", "x: \x7f")


def odd_fields(place: Arena) -> None:
    """Headers with characters that have no place there."""
    before = len(place.good.calls)
    for field in _FIELDS[:8]:
        refused(place.send(head("GET", "/v1/models", field, "anthropic-version: 2023-06-01"), timeout=5))
    for line in (b"GET /v1/models\0 HTTP/1.1", b"GET /v1/mo dels HTTP/1.1", b"G\x0bET /v1/models HTTP/1.1",
                 b"GET /v1/models\rX HTTP/1.1"):  # fmt: skip
        refused(place.send(line + b"\r\nhost: 127.0.0.1\r\nanthropic-version: 2023-06-01\r\n\r\n", timeout=5))
    assert len(place.good.calls) == before, "one of them reached an upstream"


def terminal_escapes(place: Arena) -> None:
    """What would steer the terminal of who reads the log."""
    odd = "\x1b]0;owned\x07\x1b[2J"
    place.send(head("GET", f"/v1/{odd}", f"x: {odd}"), timeout=5)
    place.send(odd.encode() + b"\r\n\r\n", timeout=5)
    place.send(b"GET / HTTP/1.1\r\nhost: \x1b[31m\r\n" + odd.encode() + b"\r\n\r\n", timeout=5)
    place.ask(f"claude-{odd}\n2026-01-01 INFO forged")
    place.ask("evil-escape", metadata={"user_id": odd})
    place.evil.answer = lambda connection, request: connection.sendall(
        b"HTTP/1.1 200 " + odd.encode() + b"\r\nbad\r\n\r\n"
    )
    place.ask("evil", timeout=30)
    assert "\x1b" not in place.logs(), "an escape reached the log"
    assert not any(line.startswith("2026-01-01 INFO forged") for line in place.logs().splitlines()), "a forged line"


HEADS = [
    Attack(5, "long-head", "a header of 100 MB", "4xx from 64 kB on", long_head),
    Attack(5, "many-headers", "a million headers", "4xx", many_headers),
    Attack(5, "rather-many-headers", "5,000 headers in 30 kB", "4xx", rather_many_headers),
    Attack(5, "long-line", "a request line of 50 MB", "4xx", long_line),
    Attack(5, "blank-lines", "20 MB of blank lines before a request", "closed", endless_blank_lines),
    Attack(5, "slow-heads", "200 heads, a byte at a time", "closed after head_seconds", slow_heads, setup=_QUICK),
    Attack(5, "silent-tunnels", "200 tunnels that say nothing", "others are served", silent_connections),
    Attack(5, "pipelined", "1,000 pipelined requests", "answered or closed, others unhurt", pipelined),
    Attack(14, "odd-framing", "21 ambiguous lengths and chunk sizes with a request behind", "never a second request",
           odd_framing),
    Attack(14, "odd-fields", "CR, NUL, VT, spaces in headers and request lines", "4xx, none sent on", odd_fields),
    Attack(14, "terminal-escapes", "escape sequences in paths, headers, models, reasons", "none in the log",
           terminal_escapes),
]  # fmt: skip
