"""Gemini Live: a WebSocket passes with the account's credential, however the client calls the proxy."""

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import CLIENT_KEY, free_port, saved_flows
from tests.support import raw
from tests.support.listening import Listening
from tests.support.websockets import LIVE, TEXT, accept, made, read_frame


@dataclass
class Repeating(Listening):
    """A WebSocket server that says what it was shown, and then repeats what it is told."""

    heads: list[bytes] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        """Talk with one client."""
        with client:
            head = accept(client)
            self.heads.append(head)
            shown = b" ".join(re.findall(rb"key-of-\S+", head))
            while (frame := read_frame(client)) is not None and frame[0] == TEXT:
                said = b"you said " + frame[1] + b" and showed " + shown
                client.sendall(made(TEXT, said, masked=False))


@dataclass(frozen=True)
class Lively:
    """A proxy in two modes, and the server behind it."""

    proxy: Proxy
    server: Repeating
    reverse: str


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lively]:
    folder = tmp_path_factory.mktemp("live")
    with Repeating() as server:
        port, reverse = free_port(), free_port()
        url = f"http://127.0.0.1:{server.port}"
        config = account("narrow", "gemini", models=["some-model"]) + account("live", "gemini", priority=1)
        config += upstream("gemini", "gemini", url)
        config += account("choosy", "choosy", models=["some-model"])
        config += upstream("choosy", "gemini", "http://127.0.0.1:1")
        args = ["--mode", f"regular@{port}", "--mode", f"reverse:{url}@{reverse}", "-w", str(folder / "flows")]
        with Proxy(folder / "proxy", config, args=args) as proxy:
            proxy.wait_for_log("listening at", 2)
            proxy.port = port
            yield Lively(proxy, server, f"http://127.0.0.1:{reverse}")
        check_saved(folder / "flows")


def check_saved(file: Path) -> None:
    flows = [flow for flow in saved_flows(file) if flow.websocket is not None]
    assert len(flows) == 5
    for flow in flows:
        assert flow.websocket is not None
        assert [message.from_client for message in flow.websocket.messages] == [True, False]
    for secret in (CLIENT_KEY.encode(), key_of("live").encode()):
        assert secret not in file.read_bytes()


WAYS = [(way, LIVE) for way in ("base URL", "absolute URL", "reverse")]
# As Google's SDK for JavaScript writes it.
WAYS += [(way, f"/{LIVE}") for way in ("base URL", "reverse")]


@pytest.mark.parametrize(("way", "path"), WAYS)
def test_a_websocket_passes_with_the_accounts_credential(shared: Lively, way: str, path: str) -> None:
    path += f"?key={CLIENT_KEY}"
    shared.server.heads.clear()
    base = {"base URL": shared.proxy.url, "reverse": shared.reverse}.get(way, f"http://127.0.0.1:{shared.server.port}")
    connection = raw.RawConnection(base, proxy=shared.proxy.url if way == "absolute URL" else None)
    target = base + path if way == "absolute URL" else path
    head = f"GET {target} HTTP/1.1\r\nhost: {base.removeprefix('http://')}\r\nconnection: Upgrade\r\n"
    head += "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    connection.send_bytes(head.encode())
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.socket.recv(1)
    assert got.startswith(b"HTTP/1.1 101 ")
    connection.send_bytes(b"\x81\x85" + bytes(4) + b"hello")
    assert read_frame(connection.socket) == (TEXT, b"you said hello and showed [redacted]")
    connection.send_bytes(b"\x88\x80" + bytes(4))
    while connection.socket.recv(1024):
        pass
    connection.close()
    [seen] = shared.server.heads
    assert key_of("live").encode() in seen
    assert CLIENT_KEY.encode() not in seen


def test_an_account_that_serves_some_models_only_is_not_used_for_what_names_its_model_later(shared: Lively) -> None:
    answer = raw.request("GET", f"http://127.0.0.1:1{LIVE}", proxy=shared.proxy.url)
    assert answer.status == 404
    assert "names its model after it is open" in answer.json()["error"]["message"]


def test_another_websocket_at_the_base_url_is_not_served(shared: Lively) -> None:
    assert raw.request("GET", f"{shared.proxy.url}/ws/somewhere.else").status == 404
