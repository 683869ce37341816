"""Ways by which another machine could get at an account's key, or at what listens on the proxy's own machine only."""

import base64
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events

from tests.e2e.test_modes_helpers import body
from tests.support import raw

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Ports:
    """Where the proxy and what must not be reached listen, at these addresses of the proxy's machine.

    here: its address on the attacker's network. The rest are ports: of its modes, of an upstream with an account, and
    of a service that is for the machine itself.
    """

    here: str
    link_local: str
    regular: int
    socks: int
    reverse: int
    reverse_tcp: int
    upstream_mode: int
    dns: int
    upstream: int
    secret: int
    link_local_secret: int


@dataclass(frozen=True)
class Outcome:
    """What an attacker got: a status, 0 for a connection that was closed without one, and all the bytes."""

    status: int
    data: bytes


Way = Callable[[Ports, Headers], Outcome]

LOOPBACKS = (
    "127.0.0.1", "127.0.0.2", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
    "localhost", "LOCALHOST", "localhost.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "１２７.0.0.1", socket.gethostname(),
)  # fmt: skip
"""Spellings of the proxy's own machine that need no help from a name server."""


def talk(address: tuple[str, int], *messages: bytes) -> Outcome:
    """Send messages on one connection, each after an answer to the one before, until one is refused."""
    connection = raw.RawConnection(f"http://{address[0]}:{address[1]}", timeout=10)
    outcome = Outcome(0, b"")
    try:
        for message in messages:
            connection.send_bytes(message)
            # What grants a tunnel has no body, and no length either.
            answer = connection.read("HEAD" if message.startswith(b"CONNECT") else "GET")
            outcome = Outcome(answer.status, answer.body)
            if not 200 <= answer.status < 300:
                break
    except (ConnectionError, TimeoutError):
        outcome = Outcome(0, outcome.data)
    finally:
        connection.close()
    return outcome


def post(target: str, headers: Headers, host: str = "proxy") -> bytes:
    """A request for an answer, which an account would pay for."""
    made = raw.encode_request("POST", "http://x/v1/messages", body("anthropic", "m", stream=False), headers)
    rest = made.partition(b"\r\n")[2]
    return f"POST {target} HTTP/1.1\r\n".encode() + rest.replace(b"host: x", f"host: {host}".encode(), 1)


def get(target: str, headers: Headers, host: str = "proxy") -> bytes:
    """A plain GET."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in {"host": host, **headers}.items())
    return f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode()


def connect(place: str, headers: Headers) -> bytes:
    """A CONNECT."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in {"host": place, **headers}.items())
    return f"CONNECT {place} HTTP/1.1\r\n{fields}\r\n".encode()


def over_http2(address: tuple[str, int], authority: str, path: str, headers: Headers) -> Outcome:
    """A request over HTTP/2 with the proxy itself, by TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    status, data = 0, b""
    with (
        socket.create_connection(address, 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        client.initiate_connection()
        fields = {":method": "GET", ":scheme": "http", ":authority": authority, ":path": path, **headers}
        client.send_headers(1, list(fields.items()), end_stream=True)
        secure.sendall(client.data_to_send())
        while received := secure.recv(65536):
            for event in client.receive_data(received):
                match event:
                    case h2.events.ResponseReceived(headers=fields_back):
                        status = int({str(name): value for name, value in fields_back or ()}[":status"])
                    case h2.events.DataReceived(data=piece):
                        data += piece or b""
                    case h2.events.StreamEnded() | h2.events.StreamReset() | h2.events.ConnectionTerminated():
                        return Outcome(status, data)
            secure.sendall(client.data_to_send())
    return Outcome(status, data)


def over_socks(address: tuple[str, int], host: str, port: int, message: bytes) -> Outcome:
    """A message through a SOCKS5 proxy."""
    name = host.encode()
    with socket.create_connection(address, 10) as connection:
        try:
            connection.sendall(b"\x05\x01\x00")
            connection.recv(2)
            connection.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack(">H", port))
            connection.recv(10)
            connection.sendall(message)
            data = b""
            while piece := connection.recv(65536):
                data += piece
                if b"\r\n\r\n" in data and len(data.partition(b"\r\n\r\n")[2]) >= 2:
                    break
        except OSError:
            return Outcome(0, b"")
    return Outcome(int(data.split(b" ")[1]) if data.startswith(b"HTTP/1.1 ") else 0, data)


def to_api() -> dict[str, Way]:
    """Ways to what an account's key is added to, and to what the proxy tells of its accounts."""
    ways: dict[str, Way] = {
        "post": lambda at, headers: talk((at.here, at.regular), post("/v1/messages", headers, at.here)),
        "post, host localhost": lambda at, headers: talk(
            (at.here, at.regular), post("/v1/messages", headers, f"localhost:{at.regular}")
        ),
        "post, forwarded": lambda at, headers: talk(
            (at.here, at.regular),
            post("/v1/messages", {**headers, "x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1"}),
        ),
        "post to the upstream": lambda at, headers: talk(
            (at.here, at.regular), post(f"http://127.0.0.1:{at.upstream}/v1/messages", headers)
        ),
        "post through a tunnel to the upstream": lambda at, headers: talk(
            (at.here, at.regular), connect(f"127.0.0.1:{at.upstream}", headers), post("/v1/messages", {})
        ),
        "post in reverse mode": lambda at, headers: talk((at.here, at.reverse), post("/v1/messages", headers)),
        "post in upstream mode": lambda at, headers: talk((at.here, at.upstream_mode), post("/v1/messages", headers)),
        "health": lambda at, headers: talk((at.here, at.regular), get("/health", headers, at.here)),
        "files": lambda at, headers: talk(
            (at.here, at.regular), get("/v1/files", {**headers, "anthropic-version": "1"}, at.here)
        ),
        "health over http2": lambda at, headers: over_http2(
            (at.here, at.regular), f"127.0.0.1:{at.regular}", "/health", headers
        ),
        "health over http2 by a number": lambda at, headers: over_http2(
            (at.here, at.regular), f"2130706433:{at.regular}", "/health", headers
        ),
        "post through socks": lambda at, headers: over_socks(
            (at.here, at.socks), "127.0.0.1", at.upstream, post("/v1/messages", headers)
        ),
        "health through socks": lambda at, headers: over_socks(
            (at.here, at.socks), "127.0.0.1", at.regular, get("/health", headers)
        ),
    }
    for spelling in (*LOOPBACKS, "HERE"):
        ways[f"post to {spelling}"] = _absolute_post(spelling)
        ways[f"tunnel to {spelling}"] = _tunnel_to_itself(spelling)
    return ways


def to_services() -> dict[str, Way]:
    """Ways to what listens on the proxy's machine and is for itself only, and to its link-local neighbourhood."""
    ways: dict[str, Way] = {
        "link-local": lambda at, headers: talk(
            (at.here, at.regular), get(f"http://{at.link_local}:{at.link_local_secret}/", headers)
        ),
        "tunnel to link-local": lambda at, headers: talk(
            (at.here, at.regular), connect(f"{at.link_local}:{at.link_local_secret}", headers), get("/", {})
        ),
        "another path of an upstream": lambda at, headers: talk(
            (at.here, at.regular), get(f"http://127.0.0.1:{at.upstream}/admin", headers)
        ),
        "raw reverse mode": lambda at, headers: talk((at.here, at.reverse_tcp), get("/", headers)),
        "raw tunnel": lambda at, headers: talk(
            (at.here, at.regular), connect(f"127.0.0.1:{at.secret}", headers), b"\x00\x01 not http"
        ),
        "through socks": lambda at, headers: over_socks((at.here, at.socks), "127.0.0.1", at.secret, get("/", headers)),
        "http2": lambda at, headers: over_http2((at.here, at.regular), f"127.0.0.1:{at.secret}", "/", headers),
        "upstream mode": lambda at, headers: talk(
            (at.here, at.upstream_mode), get(f"http://127.0.0.1:{at.secret}/", headers)
        ),
        "tunnel in upstream mode": lambda at, headers: talk(
            (at.here, at.upstream_mode), connect(f"127.0.0.1:{at.secret}", headers), get("/", {})
        ),
    }
    for spelling in (*LOOPBACKS, "HERE"):
        ways[f"get {spelling}"] = _absolute_get(spelling)
        ways[f"tunnel to {spelling}"] = _tunnel_to_service(spelling)
    return ways


def proxy_authorization(key: str, scheme: str = "Bearer") -> dict[str, str]:
    """The header by which a proxy's client shows a key."""
    if scheme == "Basic":
        key = base64.b64encode(f"client:{key}".encode()).decode()
    return {"proxy-authorization": f"{scheme} {key}"}


def _absolute_post(spelling: str) -> Way:
    return lambda at, headers: talk(
        (at.here, at.regular), post(f"http://{_at(spelling, at)}:{at.regular}/v1/messages", headers)
    )


def _absolute_get(spelling: str) -> Way:
    return lambda at, headers: talk((at.here, at.regular), get(f"http://{_at(spelling, at)}:{at.secret}/", headers))


def _tunnel_to_itself(spelling: str) -> Way:
    return lambda at, headers: talk(
        (at.here, at.regular),
        connect(f"{_at(spelling, at)}:{at.regular}", headers),
        post("/v1/messages", {}, f"127.0.0.1:{at.regular}"),
    )


def _tunnel_to_service(spelling: str) -> Way:
    return lambda at, headers: talk(
        (at.here, at.regular), connect(f"{_at(spelling, at)}:{at.secret}", headers), get("/", {})
    )


def _at(spelling: str, at: Ports) -> str:
    return at.here if spelling == "HERE" else spelling
