"""When the client leaves, upstream is left at once, whatever the exchange is waiting for."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.h2_client import H2Client
from tests.e2e.harness import account, upstream
from tests.e2e.probed import ProbedProxy
from tests.support.protocol import check_anthropic_stream
from tests.support.raw import RawConnection, encode_request
from tests.support.shell import shell
from tests.upstream import (
    PING,
    Call,
    Reply,
    Upstream,
    anthropic_error,
    anthropic_heartbeats,
    anthropic_stream,
    gemini_heartbeats,
    gemini_stream,
)

PATH = "/v1/messages"
WAYS = ("fin", "rst", "h2")

every_way = pytest.mark.parametrize("way", WAYS)


@dataclass(frozen=True)
class Place:
    """A proxy in front of two upstreams, and of two that never let a connection come about."""

    proxy: ProbedProxy
    plain: Upstream
    secure: Upstream
    mute: socket.socket
    folder: Path

    def asks(self, model: str) -> dict[str, Any]:
        """The body of a request that streams; the plan of its calls has the model's name."""
        messages = [{"role": "user", "content": f"[plan:{model}]"}]
        return {"model": model, "max_tokens": 9, "stream": True, "messages": messages}

    def h2_client(self) -> H2Client:
        """An HTTP/2 client that believes to talk to the secure upstream."""
        ca = self.proxy.ca_file
        return H2Client(self.secure.url, proxy=self.proxy.url, ca=ca)

    def enter(self, way: str, model: str) -> "Visit":
        """A client that has sent a request for a model and will leave in a way."""
        return H2Visit(self, model) if way == "h2" else Visit(self, model, way)


class Visit:
    """An HTTP/1 client that leaves with a FIN or a RST."""

    def __init__(self, place: Place, model: str, way: str) -> None:
        self._way = way
        self._connection = RawConnection(place.proxy.url)
        self._connection.send("POST", place.proxy.url + PATH, place.asks(model))

    def read(self, enough: Callable[[bytes], bool]) -> bytes:
        """Read until there is enough."""
        return self._connection.read("POST", enough).body

    def leave(self) -> None:
        """Go."""
        self._connection.close("rst" if self._way == "rst" else "fin")

    def finish(self) -> None:
        """What is to be seen to after leaving."""


class H2Visit(Visit):
    """An HTTP/2 client that resets its stream while another stream of the connection goes on."""

    def __init__(self, place: Place, model: str) -> None:
        self._place = place
        self._client = place.h2_client()
        begun = anthropic_stream("undisturbed").first(4, "stall").but(heartbeat=PING)
        place.secure.play(begun, key="secure-beside")
        self._beside = self._client.post(PATH, place.asks("secure-beside"))
        self._client.read_until(lambda: self._pings > 0)
        self._stream = self._client.post(PATH, place.asks(model))

    @property
    def _pings(self) -> int:
        return self._client.body[self._beside].count(b"event: ping")

    def read(self, enough: Callable[[bytes], bool]) -> bytes:
        self._client.read_until(lambda: enough(self._client.body[self._stream]))
        return self._client.body[self._stream]

    def leave(self) -> None:
        self._client.leave(self._stream)

    def finish(self) -> None:
        """The other stream goes on, and the connection takes new requests."""
        pings = self._pings
        self._client.read_until(lambda: self._pings > pings + 1)
        report = check_anthropic_stream(self._client.body[self._beside], allow_cut=True)
        assert "undisturbed".startswith(report.text)
        assert report.text
        later = self._client.post(PATH, self._place.asks("secure-later"))
        assert check_anthropic_stream(self._client.whole(later)).ended == "complete"
        self._client.close()


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("leaving")
    secured = Upstream(tls=True, http2=True)
    with Upstream() as plain, secured as secure, socket.socket() as mute, socket.socket() as full:
        for silent in (mute, full):
            silent.bind(("127.0.0.1", 0))
            silent.settimeout(10)
        mute.listen()
        with _filled(full):
            config = account("plain", "plain", models=["plain-*"]) + account("secure", "secure", models=["secure-*"])
            config += account("mute", "mute", models=["mute-*"]) + account("full", "full", models=["full-*"])
            for way in WAYS:
                # It says that it runs, and ends when the test says so.
                begun, go = folder / f"{way}-begun", folder / f"{way}-go"
                command = shell(f"touch {begun}; while ! test -e {go}; do sleep 0.02; done; echo some-key")
                config += account(f"waiting-{way}", "plain", api_key=command, models=[f"waiting-{way}-*"])
            config += upstream("plain", "anthropic", plain.url) + upstream("secure", "anthropic", secure.url)
            for name, silent, scheme in (("mute", mute, "https"), ("full", full, "http")):
                config += upstream(name, "anthropic", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
            # A client behind CONNECT to the secure upstream reaches the others by routes.
            names = ("plain-x", "full-x", "mute-x", *(f"waiting-{way}-x" for way in WAYS))
            routes = {name: f"{name.split('-')[0].replace('waiting', 'plain')}/{name}" for name in names}
            config += "[models]\n" + "".join(f'"{name}" = "{target}"\n' for name, target in routes.items())
            options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
            with ProbedProxy(folder, config, options=options) as proxy:
                yield Place(proxy, plain, secure, mute, folder)


class _filled:  # noqa: N801 - a context manager
    """Listens and fills the backlog, so that the kernel answers no further connection."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._waiting: list[socket.socket] = []

    def __enter__(self) -> None:
        self._listener.listen(0)
        while True:
            self._waiting.append(socket.socket())
            self._waiting[-1].settimeout(0.2)
            try:
                self._waiting[-1].connect(self._listener.getsockname())
            except TimeoutError:
                return

    def __exit__(self, *_: object) -> None:
        for waiting in self._waiting:
            waiting.close()


@pytest.fixture
def place(building: Place) -> Iterator[Place]:
    """The place, and at the end the proof that nothing of the test's exchanges is left in the proxy."""
    building.plain.reset()
    building.secure.reset()
    yield building
    building.proxy.wait_until_clean()
    building.plain.wait_for(lambda up: not up.active and not up.open_connections)
    building.secure.wait_for(lambda up: not up.active and not up.open_connections)
    assert all(not report["active"] for report in building.proxy.health()["accounts"])


PHASES: dict[str, Reply] = {
    "before the response": anthropic_stream().but(before="stall"),
    "in hold, silent": anthropic_stream().first(2, "stall"),
    "in hold, with heartbeats": anthropic_heartbeats(),
    "in mid-stream": anthropic_stream("a long story").first(4, "stall"),
    "in the body of an error": anthropic_error(500, "api_error", "wait").but(end="stall"),
}


def calls_for(up: Upstream, model: str) -> list[Call]:
    """The calls for a model."""
    return [call for call in up.calls if model.encode() in call.body]


@pytest.mark.covering(1)
@every_way
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("target", ["plain", "secure"])
def test_upstream_call_is_ended_at_once(place: Place, target: str, phase: str, way: str) -> None:
    up, model = place.plain if target == "plain" else place.secure, f"{target}-x"
    up.play(PHASES[phase], key=model)
    visit = place.enter(way, model)
    up.wait_for(lambda up: calls_for(up, model))
    (call,) = calls_for(up, model)
    if phase == "in mid-stream":
        visit.read(lambda body: b"text_delta" in body)
    elif phase != "before the response":
        up.wait_for(lambda up: call.sent)
    visit.leave()
    up.wait_for(lambda up: call.ended)
    assert call.ended == "client left"
    if way == "h2" and target == "secure":
        # Only the stream was reset: the one connection still carries the other request.
        assert up.open_connections == 1
        assert up.active == 1
    visit.finish()
    assert calls_for(up, model) == [call]


@every_way
def test_no_further_call_is_made_after_leaving_in_back_off(place: Place, way: str) -> None:
    place.plain.play(anthropic_error(429, "rate_limit_error", "wait", headers={"retry-after": "2"}), key="plain-x")
    visit = place.enter(way, "plain-x")
    place.plain.wait_for(lambda up: up.calls and up.calls[0].finished)
    visit.leave()
    # Where the connection stays open, the back-off's timer still holds the exchange until it has run out.
    beside = 1 if way == "h2" else 0
    place.proxy.wait_until(lambda alive: alive.objects.get("Exchange", 0) == beside, "nothing can come of it")
    assert len(place.plain.calls) == 1
    visit.finish()


@every_way
def test_no_call_is_made_after_leaving_while_a_credential_is_fetched(place: Place, way: str) -> None:
    visit = place.enter(way, f"waiting-{way}-x")
    begun, go = place.folder / f"{way}-begun", place.folder / f"{way}-go"
    wait_for_file(begun)
    visit.leave()
    beside = 1 if way == "h2" else 0
    place.proxy.wait_until(lambda alive: alive.clients == beside, "the proxy has seen it leave")
    go.touch()
    place.proxy.wait_until(lambda alive: "handle_hook" not in alive.tasks, "the credential has been fetched")
    assert place.plain.calls == []
    visit.finish()


@every_way
def test_a_tls_handshake_that_takes_its_time_is_given_up(place: Place, way: str) -> None:
    visit = place.enter(way, "mute-x")
    connection, _ = place.mute.accept()
    with connection:
        connection.settimeout(10)
        assert connection.recv(65536)
        visit.leave()
        assert left(connection)
    visit.finish()


@every_way
def test_a_connection_that_does_not_come_about_is_given_up(place: Place, way: str) -> None:
    def connecting(count: int) -> Callable[[Any], object]:
        return lambda alive: alive.tasks.get("server connection handler", 0) == count

    beside = 1 if way == "h2" else 0
    visit = place.enter(way, "full-x")
    place.proxy.wait_until(connecting(beside + 1), "the proxy is connecting")
    visit.leave()
    place.proxy.wait_until(connecting(beside), "it has given up connecting")
    visit.finish()


def test_all_upstream_calls_end_when_an_http2_connection_closes(place: Place) -> None:
    for name in ("secure-a", "secure-b", "plain-x"):
        (place.plain if name == "plain-x" else place.secure).play(anthropic_heartbeats(), key=name)
    client = place.h2_client()
    for name in ("secure-a", "secure-b", "plain-x"):
        client.post(PATH, place.asks(name))
    place.secure.wait_for(lambda up: len([call for call in up.calls if call.sent]) == 2)
    place.plain.wait_for(lambda up: len([call for call in up.calls if call.sent]) == 1)
    client.close()
    for up in (place.secure, place.plain):
        up.wait_for(lambda up: all(call.ended == "client left" for call in up.calls))


@pytest.mark.parametrize("way", ["fin", "rst"])
def test_half_a_request_makes_no_call(place: Place, way: str) -> None:
    connection = RawConnection(place.proxy.url)
    whole = encode_request("POST", place.proxy.url + PATH, place.asks("plain-x"))
    connection.send_bytes(whole[:-10])
    place.proxy.wait_until(lambda alive: alive.objects.get("HealingStream"), "the proxy has the first half")
    connection.close("rst" if way == "rst" else "fin")
    place.proxy.wait_until_clean()
    assert place.plain.calls == []


def test_half_a_request_on_http2_makes_no_call_and_disturbs_nobody(place: Place) -> None:
    with place.h2_client() as client:
        half = client.post(PATH, place.asks("secure-x"), whole=False)
        client.leave(half)
        later = client.post(PATH, place.asks("secure-later"))
        assert check_anthropic_stream(client.whole(later)).text == "Hello"
    assert len(place.secure.calls) == 1


@pytest.mark.parametrize("way", ["fin", "rst"])
@pytest.mark.parametrize("phase", ["hold", "stream", "json"])
@both_dialects
def test_upstream_is_left_in_both_dialects(lane: Lane, phase: str, way: str) -> None:
    gemini = lane.dialect == "gemini"
    story = gemini_stream("a long story") if gemini else anthropic_stream("a long story")
    held = gemini_heartbeats() if gemini else anthropic_heartbeats()
    reply = {"hold": held, "stream": story.first(1 if gemini else 4, "stall"), "json": story.but(before="stall")}
    lane.upstream.play(reply[phase])
    if gemini:
        method = "generateContent" if phase == "json" else "streamGenerateContent?alt=sse"
        url = f"{lane.proxy.url}/v1beta/models/{lane.model}:{method}"
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    else:
        url = lane.proxy.url + PATH
        messages = [{"role": "user", "content": "hi"}]
        body = {"model": lane.model, "max_tokens": 9, "stream": phase != "json", "messages": messages}
    connection = RawConnection(url)
    connection.send("POST", url, body)
    lane.upstream.wait_for(lambda up: up.calls and (phase == "json" or up.calls[0].sent))
    if phase == "stream":
        assert b"a long" in connection.read("POST", 1).body
    connection.close("rst" if way == "rst" else "fin")
    lane.upstream.wait_for(lambda up: up.calls[0].ended)
    assert [call.ended for call in lane.calls] == ["client left"]
    lane.proxy.wait_for(lambda: any("the client left" in line for line in lane.log), "its leaving in the log")
    names = {report["name"]: report["active"] for report in lane.proxy.health()["accounts"]}
    assert [names[name] for name in lane.accounts] == [0, 0]


def wait_for_file(file: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + 15
    while not file.exists():
        assert time.monotonic() < end, file
        time.sleep(0.01)


def left(connection: socket.socket) -> bool:
    """Read until the peer closes or resets."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True
