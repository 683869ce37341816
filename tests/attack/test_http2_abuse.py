"""What HTTP/2 peers can do to the proxy in heaps: resets, streams, empty frames; and windows that stay shut."""

import contextlib
import threading
from collections.abc import Callable

import h2.errors
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

from tests.attack.http2_server import Asked
from tests.attack.rude_client import MIB, Probed, RudeClient, bytes_sent, settled
from tests.attack.scripted import PATH, text_of
from tests.support.patience import wait_until
from tests.upstream import anthropic_stream

# Little, so that few streams and frames are too many.
LIMITS = "[limits]\nresets = 30\nstreams = 40\nidle_frames = 300\n"
SENT_AWAY = "more than 30 streams reset within a minute"
IDLE = "more than 300 frames that carry nothing within a minute"


def silent(asked: Asked) -> None:
    """Begin no answer."""


# Resets.


def test_streams_that_are_reset_as_they_are_opened_cost_nothing(probed: Probed) -> None:
    proxy, server = probed
    server.play = silent
    with RudeClient(server.url, proxy) as client:
        client.reset_at_once(20)
        server.play = lambda asked: asked.answer("fine")
        # The honest neighbour: a client that changed its mind goes on.
        assert client.ask("stays") == "fine"
        wait_until(lambda: proxy.health()["running"] == 0)
    assert [b"stays" in asked.body for asked in server.asked] == [True]


def test_streams_that_are_reset_while_they_run_end_at_once(probed: Probed) -> None:
    proxy, server = probed
    server.play = silent
    with RudeClient(server.url, proxy) as client:
        opened = [client.open(f"gone {number}") for number in range(9)]
        client.flush()
        server.wait_for(lambda: len(server.asked) == 9)
        for stream_id in opened:
            client.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        wait_until(lambda: proxy.health()["running"] == 0)
        server.wait_for(lambda: all(asked.stream_id in asked.peer.reset for asked in server.asked))


@pytest.mark.parametrize("way", ["one write", "many writes"])
def test_a_client_that_does_nothing_but_reset_is_sent_away(probed: Probed, way: str) -> None:
    proxy, server = probed
    server.play = silent
    before = proxy.log.count(SENT_AWAY)
    with RudeClient(server.url, proxy) as client:
        if way == "one write":
            client.reset_at_once(35)
            client.read_until(lambda: client.goaway is not None)
            assert client.goaway == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        else:
            # A proxy that reads slowly gives no more window: enough is on its way to it then.
            with contextlib.suppress(OSError, h2.exceptions.FlowControlError):
                while proxy.log.count(SENT_AWAY) == before:
                    client.reset_at_once(1)
        proxy.wait_for_log(SENT_AWAY, before + 1)
        wait_until(lambda: proxy.health()["running"] == 0)
    server.play = lambda asked: asked.answer("fine")
    with RudeClient(server.url, proxy) as other:
        assert other.ask("stays") == "fine"


def test_resets_of_answered_streams_are_nobodys_concern(probed: Probed) -> None:
    """Clients that stop an answer in its middle, again and again, are the most usual ones."""
    proxy, server = probed

    def begin(asked: Asked) -> None:
        asked.head()
        asked.data(b"".join(anthropic_stream("a story").chunks[:4]))

    server.play = begin
    with RudeClient(server.url, proxy) as client:
        for number in range(40):
            stream_id = client.open(f"stopped {number}")
            client.flush()
            client.read_until(lambda stream_id=stream_id: client.body[stream_id])  # type: ignore[misc]
            client.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            client.flush()
        server.play = lambda asked: asked.answer("fine")
        assert client.ask("stays") == "fine"


def test_a_connection_that_is_gone_leaves_no_exchange_behind(probed: Probed) -> None:
    """Resets, whole requests and the end of the connection, all within one write."""
    proxy, server = probed
    server.play = silent
    client = RudeClient(server.url, proxy)
    for number in range(5):
        client.open(f"left {number}")
    client.reset_at_once(40)
    client.connection.close("rst")
    wait_until(lambda: proxy.health()["running"] == 0)


def test_more_streams_than_may_be_open_end_the_connection_only(probed: Probed) -> None:
    proxy, server = probed
    server.play = silent
    with RudeClient(server.url, proxy) as client:
        client.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 10_000
        client.h2.remote_settings.acknowledge()
        for number in range(60):
            client.open(f"open {number}")
        client.flush()
        with pytest.raises((EOFError, ConnectionError)):
            client.read_until(lambda: False)
    wait_until(lambda: proxy.health()["running"] == 0)
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
def test_a_client_that_floods_is_sent_away_and_others_are_served(probed: Probed, frame: Frame) -> None:
    proxy, server = probed
    before = proxy.log.count(IDLE)
    with RudeClient(server.url, proxy) as other:
        assert other.ask("before") == "fine"
        with RudeClient(server.url, proxy) as client:
            client.begin()
            client.connection.socket.sendall(frame.serialize() * 900)
            client.read_until(lambda: client.goaway is not None)
            assert client.goaway == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        proxy.wait_for_log(IDLE, before + 1)
        assert other.ask("stays") == "fine"


def test_a_client_may_say_a_lot_that_carries_nothing(probed: Probed) -> None:
    """As much as fits the budget, all in one write, and with it a request."""
    proxy, server = probed
    with RudeClient(server.url, proxy) as client:
        client.connection.socket.sendall(PingFrame(0, b"12345678").serialize() * 270)
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


def test_many_small_events_with_a_ping_each_pass(probed: Probed) -> None:
    """The client gives back two windows for each, as clients do that reckon in no larger units."""
    proxy, server = probed
    server.play = chatty(500, 1)
    with RudeClient(server.url, proxy) as client:
        client.updates = True
        assert client.ask("a story") == "y" * 500
        assert client.heads[1]["x-healing-outcome"] == "clean"


def test_an_upstream_that_floods_costs_the_attempt_only(probed: Probed) -> None:
    proxy, server = probed

    def rude(asked: Asked) -> None:
        server.play = lambda asked: asked.answer("healed")
        with contextlib.suppress(OSError):
            asked.peer.socket.sendall(PingFrame(0, b"12345678").serialize() * 900)

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


@pytest.mark.parametrize("kind", ["healed", "plain"])
def test_a_client_without_a_window_stops_its_upstream_and_nobody_elses(probed: Probed, kind: str) -> None:
    proxy, server = probed
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


def test_a_window_that_shrinks_below_nothing_is_waited_for(probed: Probed) -> None:
    """RFC 9113, section 6.9.2: a smaller initial window may leave a stream with less than none."""
    proxy, server = probed
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
