"""HTTP/2: floods of frames, resets, windows that do not open, heads that do not end."""

import contextlib
import socket
import ssl
import time
from urllib.parse import urlsplit

import hpack
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from tests.attack.arena import MB, Arena, Setup
from tests.attack.table import Attack
from tests.support.patience import wait_until
from tests.support.raw import RawConnection
from tests.upstream import Reply, anthropic_stream

_TLS = Setup(tls=True)
_BODY = b'{"model":"claude-x","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}'


class Frames:
    """An HTTP/2 connection on which any frame can be sent, to the TLS upstream through the proxy."""

    def __init__(self, place: Arena) -> None:
        assert place.tls is not None
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self.authority = urlsplit(place.tls.url).netloc
        self._connection = RawConnection(place.tls.url, proxy=place.url, context=context, timeout=20)
        self.socket: socket.socket = self._connection.socket
        self.encoder = hpack.Encoder()
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        with contextlib.suppress(OSError):
            self._connection.close("rst")

    def fields(self, method: str = "POST", path: str = "/v1/messages") -> list[tuple[str, str]]:
        """The pseudo headers of a request."""
        return [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path)]

    def head(self, stream_id: int, fields: list[tuple[str, str]], *, end: bool = False, whole: bool = True) -> bytes:
        """A HEADERS frame."""
        frame = HeadersFrame(stream_id, self.encoder.encode(fields))
        frame.flags |= {name for name, given in (("END_STREAM", end), ("END_HEADERS", whole)) if given}
        return bytes(frame.serialize())

    def post(self, stream_id: int, *, window: int | None = None) -> bytes:
        """A whole request."""
        data = DataFrame(stream_id, _BODY)
        data.flags.add("END_STREAM")
        return self.head(stream_id, [*self.fields(), ("content-type", "application/json")]) + bytes(data.serialize())

    def send(self, data: bytes) -> bool:
        """Send; whether the proxy still takes it."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def drain(self, seconds: float = 0.5) -> bytes:
        """Read what comes for so long."""
        data, until = b"", time.monotonic() + seconds
        self.socket.settimeout(0.05)
        while time.monotonic() < until:
            try:
                if not (more := self.socket.recv(65536)):
                    break
                data += more
            except TimeoutError:
                continue
            except OSError:
                break
        self.socket.settimeout(20)
        return data


def rapid_reset(place: Arena) -> None:
    """Two hundred requests, each of them taken back in the same write."""
    with Frames(place) as frames:
        for number in range(200):
            stream_id = 2 * number + 1
            if not frames.send(frames.post(stream_id) + RstStreamFrame(stream_id, 8).serialize()):
                break
        frames.drain()
    wait_until(lambda: place.health()["running"] <= 1, "that only the steady stream runs", 10)
    place.good.wait_for(lambda up: up.active == 0)


def leaving(place: Arena) -> None:
    """A connection with ninety running requests is simply gone."""
    place.good.default = anthropic_stream("word " * 1000, pieces=1000).but(gap=0.05)
    with Frames(place) as frames:
        for number in range(90):
            frames.send(frames.post(2 * number + 1))
        # So many connections to one address does a client's connection get.
        place.good.wait_for(lambda up: up.active >= 5)
    wait_until(lambda: place.health()["running"] <= 1, "that only the steady stream runs", 10)
    place.good.wait_for(lambda up: up.active == 0)


def zero_window(place: Arena) -> None:
    """A client that asks for 300 MB and grants no window."""
    place.good.default = _long_answer()
    with Frames(place) as frames:
        frames.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize())
        frames.send(frames.post(1))
        place.good.wait_for(lambda up: up.active)
        time.sleep(6)
        sent = place.good.calls[-1].sent
        assert sent < 32 * MB, f"{sent // MB} MB were taken in for it"


def _long_answer() -> Reply:
    made = anthropic_stream("x" * 100_000 + "y", pieces=2)
    delta = max(made.chunks, key=len)
    at = made.chunks.index(delta)
    return made.but(content_length=False).inserted(at, *[delta * 20] * 300)


def unread(place: Arena) -> None:
    """The same over HTTP/1.1: a client that asks for 300 MB and does not read."""
    place.good.default = _long_answer()
    connection = RawConnection(place.url)
    connection.send("POST", f"{place.url}/v1/messages", _BODY, {"content-type": "application/json"})
    place.good.wait_for(lambda up: up.active)
    time.sleep(6)
    sent = place.good.calls[-1].sent
    connection.close("rst")
    place.good.default = anthropic_stream("Well.")
    assert sent < 32 * MB, f"{sent // MB} MB were taken in for it"


def continuation_flood(place: Arena) -> None:
    """A head that goes on in ever more CONTINUATION frames."""
    with Frames(place) as frames:
        frames.send(frames.head(1, frames.fields(), whole=False))
        piece = bytes(ContinuationFrame(1, b"\0\x01a\x01b" * 3000).serialize())
        for _ in range(4000):
            if not frames.send(piece):
                return
        assert _is_gone(frames), "60 MB of CONTINUATION were taken"


def _is_gone(frames: Frames) -> bool:
    answer = frames.drain(2.0)
    try:
        frames.socket.sendall(bytes(PingFrame(0, b"12345678").serialize()) * 100)
        time.sleep(0.2)
        frames.socket.sendall(bytes(PingFrame(0, b"12345678").serialize()) * 100)
    except OSError:
        return True
    # A GOAWAY (type 7) says so too.
    return any(answer[at + 3] == 7 for at in _frame_starts(answer))


def _frame_starts(data: bytes) -> list[int]:
    starts, at = [], 0
    while at + 9 <= len(data):
        starts.append(at)
        at += 9 + int.from_bytes(data[at : at + 3])
    return starts


def table_bomb(place: Arena) -> None:
    """A small head that stands for a large one: one long field again and again."""
    with Frames(place) as frames:
        frames.send(frames.head(1, [*frames.fields(), ("x-long", "v" * 4000)], end=True))
        indexed = frames.encoder.encode([("x-long", "v" * 4000)])
        block = frames.encoder.encode(frames.fields()) + indexed * 15_000
        frame = HeadersFrame(3, block)
        frame.flags |= {"END_HEADERS", "END_STREAM"}
        frames.send(bytes(frame.serialize()))
        frames.drain(3.0)
    assert place.tls is not None
    assert all(len(call.header_pairs) < 1000 for call in place.tls.calls), "it was sent on"


def _flood(place: Arena, frame: Frame, count: int) -> None:
    """The same frame very many times, by one that does not read what comes back."""
    data = bytes(frame.serialize())
    with Frames(place) as frames:
        frames.socket.settimeout(5)
        for _ in range(count // 1000):
            if not frames.send(data * 1000):
                return


def settings_flood(place: Arena) -> None:
    """A million SETTINGS, each of which wants an answer."""
    _flood(place, SettingsFrame(0, settings={SettingsFrame.MAX_FRAME_SIZE: 16384}), 1_000_000)


def ping_flood(place: Arena) -> None:
    """A million PINGs, likewise."""
    _flood(place, PingFrame(0, b"12345678"), 1_000_000)


def empty_frames(place: Arena) -> None:
    """A request whose body is a million empty frames."""
    with Frames(place) as frames:
        frames.send(frames.head(1, [*frames.fields(), ("content-type", "application/json")]))
        data = bytes(DataFrame(1, b"").serialize()) * 1000
        for _ in range(1000):
            if not frames.send(data):
                return


def reset_flood(place: Arena) -> None:
    """Twenty thousand streams that are opened and reset at once."""
    with Frames(place) as frames:
        for number in range(20_000):
            stream_id = 2 * number + 1
            head = frames.head(stream_id, frames.fields("GET", "/v1/models"), end=True)
            if not frames.send(head + RstStreamFrame(stream_id, 8).serialize()):
                break
    wait_until(lambda: place.health()["running"] <= 1, "that only the steady stream runs", 10)


_PATHS = ("/v1/mes sages", "/v1/messages\r\nx: y", "/v1/messages\0", "", "v1/messages", "*", "/v1/messages HTTP/1.1")


def odd_pseudo(place: Arena) -> None:
    """Paths, methods and fields that would be something else over HTTP/1.1."""
    assert place.tls is not None
    before = len(place.tls.calls)
    for path in _PATHS:
        with Frames(place) as frames:
            frames.send(frames.head(1, [*frames.fields("GET", path), ("anthropic-version", "1")], end=True))
            frames.drain(0.3)
    for field in (("x", "a\r\nb: c"), ("x", "a\0b"), ("x y", "z"), ("X", "y"), ("connection", "close"),
                  ("transfer-encoding", "chunked"), (":path", "/other"), ("x", "a\rb")):  # fmt: skip
        with Frames(place) as frames:
            frames.send(frames.head(1, [*frames.fields("GET", "/v1/models"), field], end=True))
            frames.drain(0.3)
    reached = [call for call in place.tls.calls[before:] if call.headers.get("x") or call.path != "/v1/models"]
    assert not reached, f"{reached[0].path!r} {reached[0].header_pairs} reached upstream"


def h2_honest(place: Arena) -> None:
    """A client that speaks HTTP/2 as it should is served."""
    place.good.default = anthropic_stream("Well.")
    with Frames(place) as frames:
        frames.send(frames.post(1))
        answer = frames.drain(3.0)
    assert b"message_stop" in answer, f"{len(answer)} bytes"
    place.is_well()


HTTP2 = [
    Attack(13, "rapid-reset", "200 requests, each reset in the same write", "nothing runs on", rapid_reset, h2_honest,
           _TLS),
    Attack(13, "reset-flood", "20,000 streams, each reset at once", "nothing runs on, others unhurt", reset_flood,
           h2_honest, _TLS),
    Attack(13, "h2-leaving", "90 running requests, then RST", "nothing runs on", leaving, h2_honest, _TLS),
    Attack(13, "zero-window", "300 MB for a client that grants no window", "back-pressure", zero_window, h2_honest,
           _TLS, 100 * MB),
    Attack(13, "unread-answer", "300 MB for an HTTP/1.1 client that does not read", "back-pressure", unread,
           memory=100 * MB),
    Attack(13, "continuation-flood", "60 MB of CONTINUATION", "closed", continuation_flood, h2_honest, _TLS),
    Attack(13, "hpack-bomb", "a head of 15 kB that says 60 MB", "refused", table_bomb, h2_honest, _TLS),
    Attack(13, "settings-flood", "1,000,000 SETTINGS", "others unhurt", settings_flood, h2_honest, _TLS),
    Attack(13, "ping-flood", "1,000,000 PINGs, answers unread", "others unhurt", ping_flood, h2_honest, _TLS),
    Attack(13, "empty-frames", "1,000,000 empty DATA frames", "others unhurt", empty_frames, h2_honest, _TLS),
    Attack(14, "odd-pseudo-headers", "7 paths and 8 fields that HTTP/2 forbids", "none sent on", odd_pseudo, h2_honest,
           _TLS),
]  # fmt: skip
