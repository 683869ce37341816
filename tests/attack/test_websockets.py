"""WebSockets: nobody learns a key by one, takes more than its share by one, or crashes by one what others use."""

import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.support import raw
from tests.support.listening import Listening
from tests.support.websockets import BINARY, CLOSE, LIVE, PING, PONG, TEXT, Frame, accept, made, read_frame, read_raw

MOST = 64 * 1024
DEFLATE = b"permessage-deflate"


@dataclass
class Peer(Listening):
    """A WebSocket server that does on each connection what it is told, and then repeats what it is sent.

    granted: the extensions that it says it will use.
    """

    heads: list[bytes] = field(default_factory=list)
    granted: bytes = b""
    begin: Callable[[socket.socket], None] = lambda _: None

    def serve(self, client: socket.socket) -> None:
        """Talk with one client."""
        with client:
            extensions = (b"sec-websocket-extensions: " + self.granted,) if self.granted else ()
            self.heads.append(accept(client, *extensions))
            self.begin(client)
            while (frame := read_raw(client)) is not None:
                first, data = frame
                client.sendall(made(first & 0x0F, data, masked=False, last=first >= 0x80))
                if first & 0x0F == CLOSE:
                    return


class Client:
    """A client's end of a WebSocket through the proxy."""

    def __init__(self, proxy: Proxy, url: str = "", offers: str = "") -> None:
        """url: of a server that is no API's; without one it is the Live API at the proxy's own address."""
        self._connection = raw.RawConnection(url or proxy.url, proxy=proxy.url if url else None)
        self.socket = self._connection.socket
        base = url or proxy.url
        head = f"GET {f'{url}/any' if url else LIVE} HTTP/1.1\r\nhost: {base.removeprefix('http://')}\r\n"
        head += "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        head += f"sec-websocket-extensions: {offers}\r\n" if offers else ""
        self._connection.send_bytes(f"{head}sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            self.head += self.socket.recv(1)
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close("rst")

    def send(self, *frames: bytes) -> None:
        self._connection.send_bytes(b"".join(frames))

    def read(self) -> Frame | None:
        """The next frame, None at the end."""
        return read_frame(self.socket)

    def repeats(self, text: bytes) -> bool:
        """Whether the server gets what this says, and this what the server says."""
        self.send(made(TEXT, text))
        return self.read() == (TEXT, text)


@dataclass(frozen=True)
class Served:
    """A proxy, and a server behind it: that of the Live API, or one that is no API's."""

    proxy: Proxy
    server: Peer
    plain: bool = False

    def client(self, offers: str = "") -> Client:
        """A client of this server."""
        return Client(self.proxy, f"http://127.0.0.1:{self.server.port}" if self.plain else "", offers)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    folder: Path = tmp_path_factory.mktemp("websockets")
    with Peer() as live, Peer() as other:
        config = f"[limits]\nmessage_bytes = {MOST}\n" + account("live", "gemini")
        config += upstream("gemini", "gemini", f"http://127.0.0.1:{live.port}")
        with Proxy(folder, config) as proxy:
            yield Served(proxy, live), Served(proxy, other, plain=True)


@pytest.fixture(params=["Live", "plain traffic"])
def served(shared: tuple[Served, Served], request: pytest.FixtureRequest) -> Served:
    found = shared[request.param != "Live"]
    found.server.heads.clear()
    found.server.granted, found.server.begin = b"", lambda _: None
    return found


live = pytest.mark.parametrize("served", ["Live"], indirect=True)


@live
@pytest.mark.parametrize("kind", [PING, PONG, CLOSE])
def test_a_key_that_upstream_repeats_beside_its_messages_reaches_nobody(served: Served, kind: int) -> None:
    server = served.server
    code = struct.pack(">H", 1008) if kind == CLOSE else b""
    said = b"refused: %s, sorry" % key_of("live").encode()
    server.begin = lambda sock: sock.sendall(made(kind, code + said, masked=False))
    with served.client() as client:
        found = client.read()
    assert key_of("live").encode() in server.heads[0]
    hidden = b"[redacted]".ljust(len(key_of("live")), b"*")
    assert found == (kind, code + b"refused: %s, sorry" % hidden)
    assert key_of("live") not in served.proxy.log


@pytest.mark.parametrize("kind", [PING, PONG, CLOSE])
def test_what_is_said_beside_messages_arrives_as_it_was(served: Served, kind: int) -> None:
    server = served.server
    data = (struct.pack(">H", 4001) if kind == CLOSE else b"") + b"by and by"
    server.begin = lambda sock: sock.sendall(made(kind, data, masked=False))
    with served.client() as client:
        assert client.read() == (kind, data)


def test_compressed_frames_are_not_agreed_on_and_end_the_connection(served: Served) -> None:
    server = served.server
    server.granted = DEFLATE
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    for from_client in (True, False):
        server.begin = lambda _: None
        if not from_client:
            server.begin = lambda sock: sock.sendall(made(TEXT, bomb, masked=False, packed=True))
        with served.client("permessage-deflate; client_max_window_bits") as client:
            if from_client:
                client.send(made(TEXT, bomb, packed=True))
            found = client.read()
            assert found is not None
            assert (found[0], found[1][:2]) == (CLOSE, struct.pack(">H", 1002))
        assert b"permessage-deflate" not in server.heads[-1] + client.head


@pytest.mark.parametrize(
    "more", [b"; client_max_window_bits", b"; server_max_window_bits=99", b"; client_max_window_bits=x"]
)
def test_whatever_extensions_a_server_grants_the_others_words_arrive(served: Served, more: bytes) -> None:
    server = served.server
    server.granted = DEFLATE + more
    with served.client("permessage-deflate") as client:
        assert client.repeats(b"hello")
        assert client.repeats(b"again")


@pytest.mark.parametrize("pieces", [1, 40])
def test_a_message_that_is_too_long_ends_the_connection_and_one_that_is_not_arrives(
    served: Served, pieces: int
) -> None:
    with served.client() as client:
        fits = b"x" * (MOST * 2 // 3 // pieces)
        client.send(*_message(fits, pieces))
        got = b""
        while len(got) < len(fits) * pieces:
            kind, data = client.read() or (CLOSE, b"")
            assert kind in (BINARY, 0)
            got += data
        assert got == fits * pieces
        client.send(*_message(b"x" * (MOST * 3 // 2 // pieces), pieces))
        found = client.read()
        assert found is not None
        assert (found[0], found[1][:2]) == (CLOSE, struct.pack(">H", 1009))


def _message(piece: bytes, pieces: int) -> Iterator[bytes]:
    for number in range(pieces):
        yield made(0 if number else BINARY, piece, last=number == pieces - 1)


def test_of_thousands_of_frames_at_once_each_arrives_in_its_order(served: Served) -> None:
    with served.client() as client:
        client.send(*(made(PING, b"%d" % number) for number in range(2000)), made(TEXT, b"last"))
        for number in range(2000):
            assert client.read() == (PING, b"%d" % number)
        assert client.read() == (TEXT, b"last")


def test_what_a_server_said_before_it_left_arrives(served: Served) -> None:
    server = served.server

    def say_and_leave(sock: socket.socket) -> None:
        sock.sendall(b"".join(made(TEXT, b"%d" % number, masked=False) for number in range(300)))
        sock.shutdown(socket.SHUT_WR)

    server.begin = say_and_leave
    with served.client() as client:
        for number in range(300):
            assert client.read() == (TEXT, b"%d" % number)
        found = client.read()
        assert found is None or found[0] == CLOSE
