"""A hook that takes its time: no clock runs meanwhile, whether it is an attempt's or the client's, and it may kill."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, body, read_error, read_json, read_stream, stream, target
from tests.support import raw
from tests.support.listening import Listening
from tests.support.patience import wait_until
from tests.upstream import Reply, Upstream, anthropic_json, anthropic_stream, gemini_json

WATCHING = Path(__file__).with_name("watching.py")
CLOCK_S = 0.8
PEEK = (
    f"first_byte = {CLOCK_S}\nfirst_content = {CLOCK_S}\nidle = {CLOCK_S}\nsilence = {CLOCK_S}\nprogress = {CLOCK_S}\n"
)


@dataclass
class Staged(Listening):
    """A server that says the first half of a stream, and the other one when it is told to."""

    go_on: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def __exit__(self, *how: Any) -> None:
        self.go_on.set()
        super().__exit__(*how)

    def serve(self, connection: socket.socket) -> None:
        """Answer one request."""
        chunks = list(anthropic_stream("In two halves", pieces=4).chunks)
        middle = next(number for number, chunk in enumerate(chunks) if b"text_delta" in chunk) + 1
        with connection:
            connection.settimeout(15)
            while b'"messages"' not in connection.recv(65536):
                pass
            self.calls += 1
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            connection.sendall(b"".join(chunks[:middle]))
            self.go_on.wait(30)
            connection.sendall(b"".join(chunks[middle:]))


@dataclass(frozen=True)
class Held:
    """A proxy whose clocks are short, beside an addon that holds flows."""

    proxy: Proxy
    server: Upstream
    staged: Staged
    held: Path
    go_on: Path

    def wait_until_held(self) -> None:
        wait_until(self.held.exists)

    def let_time_pass(self) -> None:
        """Have a request meet a server that says nothing for so long that it is given up."""
        self.server.play(Reply(before="stall"), key="clock")
        response = ask(self.proxy.url, "anthropic", "m", "[plan:clock]")
        assert response.status == 504
        assert "no response headers" in read_error("anthropic", response)["message"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder = tmp_path_factory.mktemp("held")
    with Upstream() as server, Staged() as staged:
        config = f"[retry]\nmax_attempts = 1\nspare_retries = 1000000\n[peek]\n{PEEK}"
        for dialect in ("anthropic", "gemini"):
            config += account(dialect, dialect, models=["m"]) + upstream(dialect, dialect, server.url)
        config += account("staged", "staged", models=["staged"])
        config += upstream("staged", "anthropic", f"http://127.0.0.1:{staged.port}")
        config += '[models]\n"staged" = "staged/staged"\n'
        seen = folder / "seen"
        with Proxy(folder / "proxy", config, args=["-s", str(WATCHING)], env={"SEEN": str(seen)}) as proxy:
            yield Held(proxy, server, staged, Path(f"{seen}-held"), Path(f"{seen}-go-on"))


@pytest.fixture
def held(shared: Held) -> Held:
    shared.server.reset()
    for file in (shared.held, shared.go_on):
        file.unlink(missing_ok=True)
    return shared


HOOKS = [
    "attempt responseheaders",
    "attempt response",
    "exchange request",
    "exchange responseheaders",
    "exchange response",
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("dialect", "streams"), [("anthropic", True), ("gemini", False)])
def test_a_hook_may_take_as_long_as_it_likes(held: Held, hook: str, dialect: str, streams: bool) -> None:
    healthy = stream(dialect, "Held") if streams else gemini_json("Held")
    held.server.play(healthy, key="held")
    connection = raw.RawConnection(held.proxy.url)
    path, asked = target(dialect, "m", stream=streams), body(dialect, "m", "[plan:held]", stream=streams)
    connection.send("POST", held.proxy.url + path, asked, {"x-do": f"hold {hook}"})
    held.wait_until_held()
    held.let_time_pass()
    held.go_on.touch()
    response = connection.read("POST")
    connection.close()
    assert (read_stream if streams else read_json)(dialect, response.body) == "Held"
    assert response.header("x-healing-attempts") == "1"
    assert len([call for call in held.server.calls if b"plan:held" in call.body]) == 1


def test_upstream_is_not_late_while_the_clients_flow_is_held(held: Held) -> None:
    connection = raw.RawConnection(held.proxy.url)
    headers = {"x-do": "hold exchange responseheaders"}
    connection.send("POST", f"{held.proxy.url}/v1/messages", body("anthropic", "staged"), headers)
    held.wait_until_held()
    held.let_time_pass()
    held.go_on.touch()

    def go_on_when_some_has_come(_: bytes) -> bool:
        held.staged.go_on.set()
        return False

    response = connection.read("POST", read=go_on_when_some_has_come)
    connection.close()
    assert read_stream("anthropic", response.body) == "In two halves"
    assert held.staged.calls == 1


def test_an_attempt_that_is_killed_where_it_was_held_leaves_no_call_behind(held: Held) -> None:
    begun = anthropic_stream()
    held.server.play(begun.first(len(begun.chunks) - 1, "stall"), anthropic_json(), key="held")
    connection = raw.RawConnection(held.proxy.url)
    headers = {"x-do": "hold attempt responseheaders", "x-then": "kill"}
    connection.send("POST", f"{held.proxy.url}/v1/messages", body("anthropic", "m", "[plan:held]"), headers)
    held.wait_until_held()
    held.let_time_pass()
    held.go_on.touch()
    response = connection.read("POST")
    connection.close()
    assert response.status >= 500
    assert read_error("anthropic", response)
    held.server.wait_for(lambda server: not server.active)
    assert len([call for call in held.server.calls if b"plan:held" in call.body]) == 1


def test_a_clients_flow_that_is_killed_where_it_was_held_leaves_no_call_behind(held: Held) -> None:
    begun = anthropic_stream()
    held.server.play(begun.first(len(begun.chunks) - 1, "stall"), key="held")
    connection = raw.RawConnection(held.proxy.url)
    headers = {"x-do": "hold exchange responseheaders", "x-then": "kill"}
    connection.send("POST", f"{held.proxy.url}/v1/messages", body("anthropic", "m", "[plan:held]"), headers)
    held.wait_until_held()
    held.go_on.touch()
    with pytest.raises(ConnectionError):
        connection.read("POST")
    connection.close()
    held.server.wait_for(lambda server: not server.active)
    assert len([call for call in held.server.calls if b"plan:held" in call.body]) == 1
