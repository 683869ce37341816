"""What an HTTP/2 client can do to the proxy: resets in heaps, windows that stay shut, requests that are none."""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest
from hyperframe.frame import (
    DataFrame,
    ExtensionFrame,
    Frame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.attack.http2_server import Asked, Http2Server, Pairs
from tests.attack.scripted import KEY, PATH, message, until
from tests.attack.test_informational import text_of
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.probed import ProbedProxy
from tests.support.raw import RawConnection
from tests.upstream import anthropic_stream

MIB = 1024 * 1024
SENT_AWAY = "more than 100 streams reset within a minute"
IDLE = "more than 1,000 frames that carry nothing within a minute"


class RudeClient:
    """An HTTP/2 client behind CONNECT that keeps to no rule. `window`: the initial window of its streams."""

    def __init__(self, url: str, proxy: Proxy, *, window: int = 65535) -> None:
        context = ssl.create_default_context(cafile=proxy.confdir / "mitmproxy-ca-cert.pem")
        context.set_alpn_protocols(["h2"])
        self.connection = RawConnection(url, proxy=proxy.url, context=context)
        self.authority = urlsplit(url).netloc
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings.initial_window_size = window
        # Else the old ones are sent.
        self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.heads: dict[int, dict[str, str]] = {}
        self.body: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.goaway: int | None = None
        self.takes = True
        self.updates = False
        """Whether both windows are given back for each frame of data."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.connection.socket.sendall(data)

    def open(self, text: str, *, model: str = "claude-x", path: str = PATH, more: Pairs = ()) -> int:
        """Put a whole request into the buffer, not yet on the wire; gives the stream's id."""
        stream_id = self.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", self.authority), (":path", path)]
        self.h2.send_headers(stream_id, [*fields, *KEY.items(), ("content-type", "application/json"), *more])
        self.h2.send_data(stream_id, json.dumps(message(model, text)).encode(), end_stream=True)
        self.body[stream_id] = bytearray()
        return stream_id

    def begin(self) -> None:
        """Begin a request on stream 1 whose body does not come."""
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", self.authority), (":path", PATH)]
        self.h2.send_headers(1, [*fields, *KEY.items(), ("content-type", "application/json")])
        self.flush()

    def read_until(self, condition: Callable[[], object]) -> None:
        """Read until a condition holds; whether windows are given back is up to `takes`."""
        while not condition():
            data = self.connection.socket.recv(65536)
            if not data:
                raise EOFError("the proxy closed the connection")
            for event in self.h2.receive_data(data):
                match event:
                    case h2.events.ResponseReceived(stream_id=int(stream_id)):
                        self.heads[stream_id] = {str(name): str(value) for name, value in event.headers}
                    case h2.events.DataReceived(stream_id=int(stream_id)):
                        self.body[stream_id] += event.data
                        if self.updates and event.data:
                            self.h2.increment_flow_control_window(event.flow_controlled_length)
                            self.h2.increment_flow_control_window(event.flow_controlled_length, stream_id)
                        elif self.takes:
                            self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
                    case h2.events.StreamEnded(stream_id=int(stream_id)):
                        self.ended.add(stream_id)
                    case h2.events.StreamReset(stream_id=int(stream_id)):
                        self.reset.add(stream_id)
                    case h2.events.ConnectionTerminated():
                        self.goaway = int(event.error_code or 0)
            self.flush()

    def ask(self, text: str, **how: str) -> str:
        """Ask and read the whole answer; gives its text."""
        stream_id = self.open(text, **how)  # type: ignore[arg-type]
        self.flush()
        self.read_until(lambda: stream_id in self.ended | self.reset)
        return text_of(bytes(self.body[stream_id]))

    def reset_at_once(self, count: int) -> None:
        """Open streams with whole requests and reset each, all within one write."""
        for number in range(count):
            self.h2.reset_stream(self.open(f"gone {number}"), h2.errors.ErrorCodes.CANCEL)
        self.flush()


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ProbedProxy, Http2Server]]:
    folder: Path = tmp_path_factory.mktemp("abuse")
    with Http2Server(folder) as server:
        config = "[retry]\nspare_retries = 100000\nmax_attempts = 2\n"
        config += account("one", "anthropic") + upstream("anthropic", "anthropic", server.url)
        # Else mitmproxy collects what is no API's.
        options = {"ssl_verify_upstream_trusted_ca": str(server.ca_file), "stream_large_bodies": "50k"}
        with ProbedProxy(folder / "proxy", config, options=options) as proxy:
            yield proxy, server


type Place = tuple[ProbedProxy, Http2Server]


@pytest.fixture
def place(building: Place) -> Iterator[Place]:
    """A proxy in front of an HTTP/2 server, and in the end the proof that nothing of the test is left in it."""
    proxy, server = building
    server.peers.clear()
    server.asked.clear()
    server.play = lambda asked: asked.answer("fine")
    yield proxy, server
    proxy.wait_until_clean()


def silent(asked: Asked) -> None:
    """Begin no answer."""


# Resets.


def test_streams_that_are_reset_as_they_are_opened_cost_nothing(place: Place) -> None:
    proxy, server = place
    server.play = silent
    with RudeClient(server.url, proxy) as client:
        client.reset_at_once(50)
        server.play = lambda asked: asked.answer("fine")
        # The honest neighbour: a client that changed its mind goes on.
        assert client.ask("stays") == "fine"
        until(lambda: proxy.health()["running"] == 0)
    assert [b"stays" in asked.body for asked in server.asked] == [True]


def test_streams_that_are_reset_while_they_run_end_at_once(place: Place) -> None:
    proxy, server = place
    server.play = silent
    with RudeClient(server.url, proxy) as client:
        opened = [client.open(f"gone {number}") for number in range(9)]
        client.flush()
        server.wait_for(lambda: len(server.asked) == 9)
        for stream_id in opened:
            client.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        until(lambda: proxy.health()["running"] == 0)
        server.wait_for(lambda: all(asked.stream_id in asked.peer.reset for asked in server.asked))


@pytest.mark.parametrize("way", ["one write", "many writes"])
def test_a_client_that_does_nothing_but_reset_is_sent_away(place: Place, way: str) -> None:
    proxy, server = place
    server.play = silent
    before = proxy.log.count(SENT_AWAY)
    with RudeClient(server.url, proxy) as client:
        if way == "one write":
            client.reset_at_once(200)
            client.read_until(lambda: client.goaway is not None)
            assert client.goaway == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        else:
            # A proxy that reads slowly gives no more window: enough is on its way to it then.
            with contextlib.suppress(OSError, h2.exceptions.FlowControlError):
                while proxy.log.count(SENT_AWAY) == before:
                    client.reset_at_once(1)
        proxy.wait_for_log(SENT_AWAY, before + 1)
        until(lambda: proxy.health()["running"] == 0)
    server.play = lambda asked: asked.answer("fine")
    with RudeClient(server.url, proxy) as other:
        assert other.ask("stays") == "fine"


def test_resets_of_answered_streams_are_nobodys_concern(place: Place) -> None:
    """Clients that stop an answer in its middle, again and again, are the most usual ones."""
    proxy, server = place

    def begin(asked: Asked) -> None:
        asked.head()
        asked.data(b"".join(anthropic_stream("a story").chunks[:4]))

    server.play = begin
    with RudeClient(server.url, proxy) as client:
        for number in range(120):
            stream_id = client.open(f"stopped {number}")
            client.flush()
            client.read_until(lambda stream_id=stream_id: client.body[stream_id])  # type: ignore[misc]
            client.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            client.flush()
        server.play = lambda asked: asked.answer("fine")
        assert client.ask("stays") == "fine"


def test_a_connection_that_is_gone_leaves_no_exchange_behind(place: Place) -> None:
    """Resets, whole requests and the end of the connection, all within one write."""
    proxy, server = place
    server.play = silent
    client = RudeClient(server.url, proxy)
    for number in range(5):
        client.open(f"left {number}")
    client.reset_at_once(40)
    client.connection.close("rst")
    until(lambda: proxy.health()["running"] == 0)


def test_more_streams_than_may_be_open_end_the_connection_only(place: Place) -> None:
    proxy, server = place
    server.play = silent
    with RudeClient(server.url, proxy) as client:
        client.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 10_000
        client.h2.remote_settings.acknowledge()
        for number in range(150):
            client.open(f"open {number}")
        client.flush()
        with pytest.raises((EOFError, ConnectionError)):
            client.read_until(lambda: False)
    until(lambda: proxy.health()["running"] == 0)
    server.play = lambda asked: asked.answer("fine")
    with RudeClient(server.url, proxy) as other:
        assert other.ask("stays") == "fine"


# Frames that carry nothing.

IDLE_FRAMES: dict[str, Frame] = {
    "SETTINGS": SettingsFrame(0, settings={SettingsFrame.MAX_FRAME_SIZE: 16384}),
    "PING": PingFrame(0, b"12345678"),
    "PRIORITY": PriorityFrame(1, depends_on=0, stream_weight=9),
    "WINDOW_UPDATE": WindowUpdateFrame(0, window_increment=1),
    "DATA": DataFrame(1),
    "an unknown type": ExtensionFrame(0xBE, 0),
}


@pytest.mark.parametrize("frame", IDLE_FRAMES.values(), ids=IDLE_FRAMES.keys())
def test_a_client_that_floods_is_sent_away_and_others_are_served(place: Place, frame: Frame) -> None:
    proxy, server = place
    before = proxy.log.count(IDLE)
    with RudeClient(server.url, proxy) as other:
        assert other.ask("before") == "fine"
        with RudeClient(server.url, proxy) as client:
            client.begin()
            client.connection.socket.sendall(frame.serialize() * 3000)
            client.read_until(lambda: client.goaway is not None)
            assert client.goaway == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        proxy.wait_for_log(IDLE, before + 1)
        assert other.ask("stays") == "fine"


def test_a_client_may_say_a_lot_that_carries_nothing(place: Place) -> None:
    """As much as fits the budget, all in one write, and with it a request."""
    proxy, server = place
    with RudeClient(server.url, proxy) as client:
        client.connection.socket.sendall(PingFrame(0, b"12345678").serialize() * 900)
        assert client.ask("stays") == "fine"


def chatty(count: int, each: int) -> Callable[[Asked], None]:
    """Plays an answer in small pieces of which each is followed by so many PINGs."""
    ping = PingFrame(0, b"12345678")

    def play(asked: Asked) -> None:
        asked.head()
        chunks = anthropic_stream("y" * count, pieces=count).chunks
        for chunk in chunks[:-1]:
            asked.data(chunk)
            for _ in range(each):
                asked.peer.frame(ping)
        asked.data(chunks[-1], end=True)

    return play


def test_many_small_events_with_a_ping_each_pass(place: Place) -> None:
    """The client gives back two windows for each, as clients do that reckon in no larger units."""
    proxy, server = place
    server.play = chatty(1500, 1)
    with RudeClient(server.url, proxy) as client:
        client.updates = True
        assert client.ask("a story") == "y" * 1500
        assert client.heads[1]["x-healing-outcome"] == "clean"


def test_an_upstream_that_floods_costs_the_attempt_only(place: Place) -> None:
    proxy, server = place

    def rude(asked: Asked) -> None:
        server.play = lambda asked: asked.answer("healed")
        with contextlib.suppress(OSError):
            asked.peer.socket.sendall(PingFrame(0, b"12345678").serialize() * 3000)

    server.play = rude
    with RudeClient(server.url, proxy) as client:
        assert client.ask("flooded") == "healed"
    assert len({asked.peer.number for asked in server.asked}) == 2


# Windows.


def flood(size: int, gone: threading.Event) -> Callable[[Asked], None]:
    """Plays a long answer, and tells when there is no room for more of it."""
    event = anthropic_stream("x" * 50_000, pieces=1).chunks[2]

    def play(asked: Asked) -> None:
        asked.head()
        chunks = anthropic_stream("begin").chunks
        asked.data(b"".join(chunks[:3]) + event * (size // len(event)))
        gone.set()

    return play


def bytes_sent(server: Http2Server) -> int:
    return sum(sum(peer.sent.values()) for peer in server.peers)


def settled(value: Callable[[], int]) -> int:
    """Wait until a number has stopped changing, and give it."""
    last, same = -1, 0

    def still() -> bool:
        nonlocal last, same
        now = value()
        same, last = (same + 1 if now == last and now else 0), now
        return same > 15

    until(still, timeout=60)
    return last


@pytest.mark.parametrize("kind", ["healed", "plain"])
def test_a_client_without_a_window_stops_its_upstream_and_nobody_elses(place: Place, kind: str) -> None:
    proxy, server = place
    over = threading.Event()
    server.play = flood(200 * MIB, over)
    path = PATH if kind == "healed" else "/plain"
    if kind == "plain":
        server.play = plain_flood(over)
    with RudeClient(server.url, proxy, window=100_000) as client:
        client.takes = False
        client.h2.increment_flow_control_window(64 * MIB)
        slow = client.open("slow", path=path)
        client.flush()
        client.read_until(lambda: len(client.body[slow]) >= 60_000)
        held = settled(lambda: bytes_sent(server))
        assert held < 6 * MIB
        assert not over.is_set()
        # Others on the same connections go on.
        server.play = lambda asked: asked.answer("fine")
        client.takes = True
        assert client.ask("beside") == "fine"
        # And the slow one does, when it takes what there is.
        client.h2.increment_flow_control_window(16 * MIB, slow)
        client.flush()
        client.read_until(lambda: len(client.body[slow]) > 8 * MIB)
        client.h2.reset_stream(slow, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        server.wait_for(lambda: any(asked.stream_id in asked.peer.reset for asked in server.asked))


def plain_flood(over: threading.Event) -> Callable[[Asked], None]:
    """Plays a long answer that is no API's."""

    def play(asked: Asked) -> None:
        asked.head(headers=[("content-type", "text/event-stream")])
        asked.data(b"x" * (200 * MIB))
        over.set()

    return play


def test_a_window_that_shrinks_below_nothing_is_waited_for(place: Place) -> None:
    """RFC 9113, section 6.9.2: a smaller initial window may leave a stream with less than none."""
    proxy, server = place
    go = threading.Event()

    def play(asked: Asked) -> None:
        chunks = anthropic_stream("y" * 9000, pieces=3).chunks
        asked.head()
        asked.data(b"".join(chunks[:4]))
        go.wait(10)
        asked.data(b"".join(chunks[4:]), end=True)

    server.play = play
    with RudeClient(server.url, proxy) as client:
        client.takes = False
        stream_id = client.open("shrinks")
        client.flush()
        client.read_until(lambda: client.body[stream_id].count(b"yyy"))
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
        client.flush()
        client.read_until(lambda: client.h2.local_settings.initial_window_size == 10)
        go.set()
        settled(lambda: bytes_sent(server))
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65535})
        client.flush()
        client.read_until(lambda: stream_id in client.ended)
        assert text_of(bytes(client.body[stream_id])) == "y" * 9000


# Requests.

WRONG: dict[str, tuple[str, Pairs]] = {
    "a space in the path": ("/v1/messages HTTP/1.1\r\n", ()),
    "only a space in the path": ("/v1/ messages", ()),
    "a bare CR in a value": (PATH, (("x-a", "b\rc"),)),
    "NUL in a value": (PATH, (("x-a", "b\x00c"),)),
    "VT in a value": (PATH, (("x-a", "b\x0bc"),)),
    "LF in a value": (PATH, (("x-a", "b\nc: d"),)),
    "upper case": (PATH, (("X-A", "b"),)),
    "transfer-encoding": (PATH, (("transfer-encoding", "chunked"),)),
    "two hosts": (PATH, (("host", "other.example"),)),
    "two lengths": (PATH, (("content-length", "5"), ("content-length", "6"))),
    "a pseudo-header behind": (PATH, ((":path", "/v1/other"),)),
    "a colon in a name": (PATH, (("x:a", "b"),)),
    "an empty path": ("", ()),
}


@pytest.mark.parametrize(("path", "more"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_request_costs_its_own_stream_only(place: Place, path: str, more: Pairs) -> None:
    proxy, server = place
    go = threading.Event()

    def begin(asked: Asked) -> None:
        chunks = anthropic_stream("a story").chunks
        asked.head()
        asked.data(b"".join(chunks[:4]))
        go.wait(10)
        asked.data(b"".join(chunks[4:]), end=True)

    server.play = begin
    with RudeClient(server.url, proxy) as client:
        beside = client.open("beside")
        client.flush()
        client.read_until(lambda: client.body[beside])
        if more and more[0][0] == "content-length":
            wrong = client.h2.get_next_available_stream_id()
            fields = [(":method", "POST"), (":scheme", "https"), (":authority", client.authority), (":path", path)]
            client.h2.send_headers(wrong, [*fields, *more])
        else:
            wrong = client.open("wrong", path=path, more=more)
        client.flush()
        client.read_until(lambda: wrong in client.reset)
        go.set()
        client.read_until(lambda: beside in client.ended)
        assert text_of(bytes(client.body[beside])) == "a story"
    assert len(server.asked) == 1


WRONG_ANSWERS: dict[str, tuple[str, Pairs]] = {
    "status 999": ("999", ()),
    "status 099": ("099", ()),
    "status 1": ("1", ()),
    "status 1000": ("1000", ()),
    "status +200": ("+200", ()),
    "101": ("101", ()),
    "NUL in a value": ("200", (("x-a", "b\x00c"),)),
    "a bare CR in a value": ("200", (("x-a", "b\rc"),)),
    "upper case": ("200", (("X-A", "b"),)),
    "transfer-encoding": ("200", (("transfer-encoding", "chunked"),)),
    "two statuses": ("200", ((":status", "200"),)),
    "too many headers": ("200", [(f"x-{number}", "b") for number in range(300)]),
}


@pytest.mark.parametrize(("status", "more"), WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
def test_a_wrong_answer_costs_its_own_stream_only(place: Place, status: str, more: Pairs) -> None:
    """It is tried again, and the answers beside it on the same connection go on."""
    proxy, server = place

    def begin(asked: Asked) -> None:
        asked.head()
        asked.data(b"".join(anthropic_stream("a story").chunks[:4]))

    def wrong(asked: Asked) -> None:
        server.play = lambda asked: asked.answer("healed")
        asked.head(status, (("content-type", "text/event-stream"), *more))

    server.play = begin
    with RudeClient(server.url, proxy) as client:
        beside = client.open("beside")
        client.flush()
        client.read_until(lambda: client.body[beside])
        server.play = wrong
        assert client.ask("wrong") == "healed"
        server.asked[0].data(b"".join(anthropic_stream("a story").chunks[4:]), end=True)
        client.read_until(lambda: beside in client.ended)
        assert text_of(bytes(client.body[beside])) == "a story"
        assert client.heads[beside]["x-healing-outcome"] == "clean"
    assert len({asked.peer.number for asked in server.asked}) == 1


def test_informational_answers_over_http2_are_skipped(place: Place) -> None:
    proxy, server = place

    def play(asked: Asked) -> None:
        for status in ("103", "102", "103"):
            asked.head(status, [("link", "</style.css>")])
        asked.answer("fine")

    server.play = play
    with RudeClient(server.url, proxy) as client:
        assert client.ask("hints") == "fine"
        assert client.heads[1]["x-healing-outcome"] == "clean"


def test_informational_answers_over_http2_without_end_are_a_failure(place: Place) -> None:
    proxy, server = place

    def endless(asked: Asked) -> None:
        server.play = lambda asked: asked.answer("healed")
        try:
            while asked.stream_id not in asked.peer.reset:
                asked.head("103", [("link", "</style.css>")])
        except h2.exceptions.ProtocolError:
            pass  # reset in between

    server.play = endless
    with RudeClient(server.url, proxy) as client:
        assert client.ask("hints") == "healed"
