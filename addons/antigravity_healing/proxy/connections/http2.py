"""HTTP/2 as mitmproxy speaks it, but for what one bad stream, a GOAWAY or a full window does to all the others."""

from collections import defaultdict, deque
from collections.abc import Sequence
from logging import WARNING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, WindowUpdateFrame
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.frames import FrameBudget, FrameFeed
from antigravity_healing.proxy.connections.heads import in_header_list
from antigravity_healing.proxy.connections.http1 import failure_in_words
from antigravity_healing.proxy.connections.transports import connections_under
from antigravity_healing.proxy.connections.turns import NextTurn, read_on, stop_reading
from antigravity_healing.proxy.internals.http_layer import (
    BufferedH2Connection,
    ErrorCode,
    Http2Connection,
    ReceiveHttp,
    SendH2Data,
)
from antigravity_healing.wire.http.fields import Part, wrong_http2_head
from antigravity_healing.wire.http.http2_frames import PREFACE_BYTES

type Fields = Sequence[tuple[bytes, bytes]]


class GoingAway(h2.events.Event):
    """The peer begins no more streams, but ends those that run, up to `last_stream_id`."""

    def __init__(self, last_stream_id: int) -> None:
        self.last_stream_id = last_stream_id


class FloodError(h2.exceptions.ProtocolError):
    """The peer sends too many frames that carry nothing."""


class WaitingData(deque[SendH2Data]):
    """Data that a stream's window has no room for, which knows how many bytes it is."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def append(self, item: SendH2Data) -> None:
        self.size += len(item.data)
        super().append(item)

    def appendleft(self, item: SendH2Data) -> None:
        self.size += len(item.data)
        super().appendleft(item)

    def popleft(self) -> SendH2Data:
        item = super().popleft()
        self.size -= len(item.data)
        return item


class SteadyH2Connection(BufferedH2Connection):
    """The state of a connection: it outlives a graceful GOAWAY, and can keep a single stream's window closed."""

    def __init__(self, config: h2.config.H2Configuration, bounds: Bounds, stream_window: int | None = None) -> None:
        """stream_window: how many bytes a peer may send on a stream before they are acknowledged; else any number."""
        super().__init__(config)
        self._bounds = bounds
        limits = bounds.config.limits
        self._budget = FrameBudget(bounds.clock)
        self.feed = FrameFeed(0 if config.client_side else PREFACE_BYTES)
        if stream_window is not None:
            self.local_settings.initial_window_size = stream_window
        self.local_settings.max_header_list_size = in_header_list(limits)
        self.local_settings.max_concurrent_streams = limits.streams
        if config.client_side:
            self.local_settings.enable_push = 0
        # Else the old settings are sent.
        self.local_settings.acknowledge()
        self.decoder.max_header_list_size = in_header_list(limits)
        self.stream_buffers = defaultdict(WaitingData)
        self._withheld: dict[int, int] = {}

    def local_flow_control_window(self, stream_id: int) -> int:
        """How much may be sent. A peer that makes its windows smaller can make them negative, mitmproxy can't."""
        return max(0, super().local_flow_control_window(stream_id))

    def waiting(self, stream_id: int) -> int:
        """How many bytes the stream's window has no room for."""
        buffer = self.stream_buffers.get(stream_id)
        return buffer.size if isinstance(buffer, WaitingData) else 0

    def withhold(self, stream_id: int) -> None:
        """Give the peer no more window for this stream."""
        self._withheld.setdefault(stream_id, 0)

    def grant(self, stream_id: int) -> None:
        """Give it what it would have got meanwhile."""
        size = self._withheld.pop(stream_id, 0)
        stream = self.streams.get(stream_id)
        if size and stream is not None and stream.open:
            self._prepare_for_sending(stream.acknowledge_received_data(size))

    def acknowledge_received_data(self, acknowledged_size: int, stream_id: int) -> None:
        """Give window for what has come: to the connection always, for other streams have to go on."""
        if stream_id not in self._withheld:
            super().acknowledge_received_data(acknowledged_size, stream_id)
            return
        self._withheld[stream_id] += acknowledged_size
        if increment := self._inbound_flow_control_window_manager.process_bytes(acknowledged_size):
            frame = WindowUpdateFrame(0)
            frame.window_increment = increment
            self._prepare_for_sending([frame])

    def reset_stream(self, stream_id: int, error_code: int = 0) -> None:
        """Reset a stream, and forget what was kept for it."""
        self._withheld.pop(stream_id, None)
        super().reset_stream(stream_id, error_code)

    def receive_data(self, data: bytes) -> list[h2.events.Event]:
        """Understand as much of what has come as one turn has room for; `feed` holds the rest. Raises ProtocolError."""
        self.feed.add(data)
        most = self._bounds.config.limits.idle_frames
        taken, frames = self.feed.take_frames()
        if not all(self._budget.allows(frame, most) for frame in frames):
            raise FloodError(f"more than {most:,} frames that carry nothing within a minute")
        events: list[h2.events.Event] = super().receive_data(taken)
        return events

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        for frame in frames:
            if isinstance(frame, DataFrame):
                self._budget.told_data(len(frame.data))
            elif isinstance(frame, HeadersFrame):
                self._budget.told_head()
        super()._prepare_for_sending(frames)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        # h2 ends the connection with any GOAWAY: no frame of a stream that runs could be read or written any more.
        if frame.error_code != h2.errors.ErrorCodes.NO_ERROR:
            return super()._receive_goaway_frame(frame)
        return [], [GoingAway(frame.last_stream_id)]


class SteadyHttp2(Http2Connection):
    """One side's HTTP/2."""

    bounds: Bounds
    h2_conn: SteadyH2Connection
    draining = False
    """Whether the peer said that it is going away."""
    next_turn: NextTurn | None = None
    """What wakes this when more of what has come may be understood."""
    held_end: events.ConnectionClosed | None = None
    """The end of the connection, behind what waits."""

    def steady(self, bounds: Bounds, stream_window: int | None = None) -> None:
        """Take a connection state that knows the above. To be called before anything has happened."""
        self.bounds = bounds
        # Heads are judged stream by stream, below. h2's own judgement ends the connection with all its streams.
        self.h2_conf.validate_inbound_headers = False
        self.h2_conn = SteadyH2Connection(self.h2_conf, bounds, stream_window)

    # What comes.

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and event.command is self.next_turn:
            self.next_turn = None
            yield from self._understand(b"")
        elif isinstance(event, events.DataReceived) and self.next_turn is None:
            yield from self._understand(event.data)
        elif isinstance(event, events.DataReceived):
            self.h2_conn.feed.add(event.data)
        elif isinstance(event, events.ConnectionClosed) and self.h2_conn.feed and not self._is_gone:
            self.held_end = event
        else:
            yield from super()._handle_event(event)

    def _understand(self, data: bytes) -> CommandGenerator[None]:
        """Do what one turn has room for. Nothing more is read before the rest is done."""
        yield from super()._handle_event(events.DataReceived(self.conn, data))
        if self.h2_conn.feed:
            for connection in self._sockets():
                stop_reading(connection)
            self.next_turn = NextTurn()
            yield self.next_turn
            return
        self._read_on()
        if self.held_end is not None:
            end, self.held_end = self.held_end, None
            yield from self._handle_event(end)

    @property
    def _is_gone(self) -> bool:
        """Whether nothing is left of the connection, so that nobody is woken for it, either."""
        return self.conn.state is ConnectionState.CLOSED

    def _sockets(self) -> list[Connection]:
        """What this side is read from."""
        client = self.context.client
        return [each for each in connections_under(self) if (each is client) == (self.conn is client)]

    def _read_on(self) -> None:
        for connection in self._sockets():
            read_on(connection)

    def close_connection(self, msg: str) -> CommandGenerator[None]:
        """End the connection, with all that runs on it. What has come and waits is not wanted any more."""
        self.h2_conn.feed.clear()
        self._read_on()
        yield from super().close_connection(msg)

    def wrong(self, part: Part, fields: Fields | None, *, strict: bool = True) -> str:
        """What is wrong with a block of headers, "" for nothing."""
        if not strict and not self.context.options.validate_inbound_headers:
            return ""
        return wrong_http2_head(part, fields or (), self.bounds.config.limits.headers)

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        """Handle an event; gives whether the connection is over."""
        if isinstance(event, FloodError):
            yield from self.protocol_error(f"HTTP/2 protocol error: {event}", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            return True
        if isinstance(event, GoingAway):
            self.draining = True
            yield from self.going_away(event.last_stream_id)
            return False
        if isinstance(event, h2.events.TrailersReceived) and (wrong := self.wrong("trailers", event.headers)):
            yield from self.fail_stream(event.stream_id, f"HTTP/2 protocol error: trailers with {wrong}")
            return False
        return (yield from super().handle_h2_event(event))

    def going_away(self, last_stream_id: int) -> CommandGenerator[None]:
        """The peer begins no streams beyond this one."""
        yield from ()

    def fail_stream(self, stream_id: int, why: str, code: ErrorCode | None = None) -> CommandGenerator[None]:
        """End one stream; the others go on. code: what its request is told, by default that of this side."""
        if not self.is_closed(stream_id):
            self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        if self.streams.pop(stream_id, None) is not None:
            yield ReceiveHttp(self.ReceiveProtocolError(stream_id, why, code or self.ReceiveProtocolError.code))

    def crashed(self, error: Exception) -> CommandGenerator[None]:
        """A failure in here is the end of this connection, which its streams are told, and of nothing else."""
        why = f"the connection failed inside the proxy: {failure_in_words(error)}"
        yield commands.Log(why, WARNING)
        yield from self.close_connection(why)

    def close_if_drained(self) -> CommandGenerator[None]:
        """A connection whose peer is going away ends with its last stream."""
        if self.draining and all(self.is_closed(stream_id) for stream_id in self.streams):
            self.draining = False
            self.streams.clear()
            self.h2_conn.feed.clear()
            self._read_on()
            yield commands.CloseConnection(self.conn)
            self._handle_event = self.done  # type: ignore[method-assign]
