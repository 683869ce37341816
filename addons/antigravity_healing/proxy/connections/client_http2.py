"""HTTP/2 with a client: what it opens it pays for, and what it resets is over."""

import h2.config
import h2.errors
import h2.events
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.heads import (
    HeadClock,
    HeadRefusal,
    head_refusal,
    in_header_list,
    line_refusal,
)
from antigravity_healing.proxy.connections.http2 import Fields, SteadyHttp2
from antigravity_healing.proxy.connections.lingering import Lingering
from antigravity_healing.proxy.connections.own_events import RestUnwanted
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    Http2Connection,
    Http2Server,
    ReceiveHttp,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
    parse_h2_request_headers,
)

A_MINUTE_S = 60.0
_HEADERS, _CONTINUATION, _FRAME_HEAD = 1, 9, 9


class ClientHttp2(SteadyHttp2, Http2Server):
    """The streams of a client."""

    h2_conf = h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=False)

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)
        self.steady(bounds)
        self._clock = HeadClock(bounds)
        self._unanswered: set[int] = set()
        # A bucket that runs dry in a minute.
        self._resets = 0.0
        self._resets_at = bounds.clock.now()

    def waiting(self, stream_id: int) -> int:
        """How many bytes of an answer wait for the client to give them room."""
        return self.h2_conn.waiting(stream_id)

    def has_left(self, stream_id: int) -> bool:
        """Whether the client has closed a stream, or all of them."""
        return self.is_closed(stream_id)

    def close_connection(self, msg: str) -> CommandGenerator[None]:
        """End the connection. What it says last, a GOAWAY, is to be read: it is closed when that can have been done."""
        lingering: Lingering | None = None
        for command in super().close_connection(msg):
            closing = isinstance(command, commands.CloseConnection) and command.connection is self.conn
            if closing and self.conn.state is ConnectionState.OPEN:
                lingering = Lingering(self.conn)
                yield from lingering.begin()
            else:
                yield command
        if lingering is not None:
            self._handle_event = lingering.take_event  # type: ignore[method-assign]

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        try:
            if isinstance(event, ResponseHeaders | ResponseProtocolError):
                self._unanswered.discard(event.stream_id)
            if isinstance(event, RestUnwanted):
                yield from self._leave(event.stream_id)
            elif isinstance(event, events.Wakeup) and event.command is not self.next_turn:
                yield from self._wake(event)
            else:
                yield from super()._handle_event(event)
            if isinstance(event, events.DataReceived | events.Wakeup):
                yield from self._watch_head()
            yield from self.close_if_drained()
        except Exception as error:
            yield from self.crashed(error)

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        """Handle an event; gives whether the connection is over."""
        match event:
            case h2.events.RequestReceived(stream_id=int(stream_id)):
                self._unanswered.add(stream_id)
                if self.is_closed(stream_id):
                    return False  # reset within the same read: there is nobody to answer
                if refusal := self._too_much(event.headers):
                    self._unanswered.discard(stream_id)
                    yield from self._refuse(stream_id, refusal)
                    return False
                if self._wrong_request(event.headers):
                    yield from self.fail_stream(stream_id, "a request that is not HTTP/2")
                    return (yield from self._count_reset(stream_id))
            case h2.events.StreamReset(stream_id=int(stream_id)):
                # mitmproxy tells this only of streams that it still knows, and forgets those with a complete request.
                self.streams.pop(stream_id, None)
                code = ErrorCode.CLIENT_DISCONNECTED
                yield ReceiveHttp(RequestProtocolError(stream_id, "stream reset by client", code))
                return (yield from self._count_reset(stream_id))
        return (yield from super().handle_h2_event(event))

    def _wrong_request(self, fields: Fields) -> str:
        if wrong := self.wrong("request", fields, strict=False):
            return wrong
        try:
            parse_h2_request_headers(fields)
        except ValueError:
            return "a target that can't be read"
        return ""

    def _count_reset(self, stream_id: int) -> CommandGenerator[bool]:
        """Count a stream that ended without an answer; gives whether it was one too many, which ends the connection."""
        if stream_id not in self._unanswered:
            return False
        self._unanswered.discard(stream_id)
        most, now = self.bounds.config.limits.resets, self.bounds.clock.now()
        self._resets = max(0.0, self._resets - (now - self._resets_at) * most / A_MINUTE_S) + 1
        self._resets_at = now
        if self._resets <= most:
            return False
        why = f"more than {most} streams reset within a minute"
        yield from self.protocol_error(why, h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        return True

    def _too_much(self, fields: Fields | None) -> HeadRefusal | None:
        limits = self.bounds.config.limits
        if any(name == b":path" and len(value) > limits.line_bytes for name, value in fields or ()):
            return line_refusal(limits)
        return head_refusal(fields or (), limits)

    def _refuse(self, stream_id: int, refusal: HeadRefusal) -> CommandGenerator[None]:
        answer = refusals.refusal(None, *refusal)
        headers = [(b":status", b"%d" % refusal.status), *((k.lower(), v) for k, v in answer.headers.fields)]
        self.h2_conn.send_headers(stream_id, headers)
        self.h2_conn.send_data(stream_id, answer.raw_content or b"", end_stream=True)
        yield from self._leave(stream_id)

    def _leave(self, stream_id: int) -> CommandGenerator[None]:
        """Reset a stream whose answer is complete, as RFC 9113 8.1 has it. Its data is still counted for the window."""
        self.streams.pop(stream_id, None)
        if not self.is_closed(stream_id):
            self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
        if data := self.h2_conn.data_to_send():
            yield commands.SendData(self.conn, data)

    # Heads that do not come to their end.

    def _watch_head(self) -> CommandGenerator[None]:
        if self.conn.state is ConnectionState.CLOSED:
            return
        held = sum(len(frame.data) for frame in self.h2_conn.incoming_buffer._headers_buffer)
        if held > in_header_list(self.bounds.config.limits):
            code = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
            yield from self.protocol_error(f"more than {self.bounds.config.limits.head_bytes:,} bytes of headers", code)
        elif self._in_head:
            yield from self._clock.start()
        else:
            self._clock.stop()

    @property
    def _in_head(self) -> bool:
        """Whether something has been begun that has to be a request's head."""
        incoming = self.h2_conn.incoming_buffer
        frame = incoming._data
        partial = bool(frame) and (len(frame) < _FRAME_HEAD or frame[3] in (_HEADERS, _CONTINUATION))
        return bool(incoming._headers_buffer) or incoming._preamble_len > 0 or partial

    def _wake(self, event: events.Wakeup) -> CommandGenerator[None]:
        if (yield from self._clock.has_run_out(event)):
            code = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
            yield from self.protocol_error(f"a head took more than {self._clock.seconds:g} s", code)
