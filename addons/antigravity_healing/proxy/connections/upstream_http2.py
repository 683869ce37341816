"""HTTP/2 with an upstream: what goes wrong with one stream is that stream's failure."""

from collections import Counter

import h2.config
import h2.errors
import h2.events
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.liveness import DoubtConnection, Doubtful
from antigravity_healing.proxy.connections.own_events import PauseResponse, ResumeResponse
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    Http2Client,
    Http2Connection,
    HttpEvent,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
)
from antigravity_healing.wire.http.fields import size_of

STREAM_WINDOW_BYTES = 2 * 1024 * 1024
"""What an upstream may send on a stream before it has to wait for us: enough for a long line, little to keep."""
_GOING_AWAY = "upstream is going away and did not begin this request (GOAWAY)"
_DOUBTED = "this request was not begun: upstream fell silent on the connection"


class UpstreamHttp2(Doubtful, Http2Client):
    """The streams of the requests to an upstream."""

    h2_conf = h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=True)

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)
        self.steady(bounds, STREAM_WINDOW_BYTES)
        self._interim: Counter[int] = Counter()
        self._over = False

    @property
    def usable(self) -> bool:
        """Whether a new request may be sent here."""
        return not self.draining and not self._over

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        # The id is another one behind mitmproxy's handling.
        told = [event.stream_id] if isinstance(event, RequestHeaders) else []
        try:
            yield from self._serve(event)
        except Exception as error:
            told += [self.their_stream_id[stream_id] for stream_id in self.streams]
            told += self.stream_queue
            self.streams.clear()
            self.stream_queue.clear()
            yield from self.crashed(error)
            why = "the connection failed inside the proxy"
            for stream_id in dict.fromkeys(told):
                yield ReceiveHttp(ResponseProtocolError(stream_id, why, ErrorCode.GENERIC_SERVER_ERROR))

    def _serve(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, DoubtConnection):
            yield from self.doubt()
            yield from self._refuse(*self.stream_queue)
            return
        if isinstance(event, HttpEvent) and event.stream_id not in self.our_stream_id:
            if self.draining and isinstance(event, RequestHeaders):
                yield from self._refuse(event.stream_id)
                return
            if not isinstance(event, RequestHeaders) and event.stream_id not in self.stream_queue:
                return  # of a stream that was refused
            if isinstance(event, RequestProtocolError):
                self.stream_queue.pop(event.stream_id, None)  # it has not been sent, and never will be
                return
            if isinstance(event, PauseResponse | ResumeResponse):
                return
        yield from super()._handle_event(event)
        if self.draining:
            yield from self._refuse(*self.stream_queue)
            yield from self.close_if_drained()

    def _handle_event2(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, PauseResponse):
            self.h2_conn.withhold(event.stream_id)
        elif isinstance(event, ResumeResponse):
            self.h2_conn.grant(event.stream_id)
            if data := self.h2_conn.data_to_send():
                yield commands.SendData(self.conn, data)
        elif not (yield from self.hear(event)):
            yield from super()._handle_event2(event)

    def done(self, event: events.Event) -> CommandGenerator[None]:
        """The connection is over; a request that comes too late is told so."""
        if isinstance(event, RequestHeaders):
            yield from self._refuse(event.stream_id)

    def close_connection(self, msg: str) -> CommandGenerator[None]:
        """End the connection. What still waited for its turn is told by `_handle_event`."""
        self._over = self.draining = True
        yield from super().close_connection(msg)

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        """Handle an event; gives whether the connection is over."""
        match event:
            case h2.events.InformationalResponseReceived(stream_id=int(stream_id)):
                fields = event.headers
                wrong = self.wrong("response", fields)
                self._interim[stream_id] += size_of(fields)
                if self._interim[stream_id] > self.bounds.config.limits.head_bytes:
                    wrong = "informational responses without end"
                elif (b":status", b"101") in fields:
                    wrong = "101, which HTTP/2 does not have"
                if wrong:
                    why = f"HTTP/2 protocol error: a response with {wrong}"
                    yield from self.fail_stream(stream_id, why, ErrorCode.RESPONSE_VALIDATION_FAILED)
                return False
            case h2.events.ResponseReceived(stream_id=int(stream_id)):
                self._interim.pop(stream_id, None)
                strict = self.their_stream_id.get(stream_id, 0) < 0
                if wrong := self.wrong("response", event.headers, strict=strict):
                    why = f"HTTP/2 protocol error: a response with {wrong}"
                    yield from self.fail_stream(stream_id, why, ErrorCode.RESPONSE_VALIDATION_FAILED)
                    return False
            case h2.events.StreamReset(stream_id=int(stream_id)):
                self._interim.pop(stream_id, None)
                return (yield from self._reset_by_upstream(event))
        return (yield from super().handle_h2_event(event))

    def _reset_by_upstream(self, event: h2.events.StreamReset) -> CommandGenerator[bool]:
        """A reset is told as upstream's: mitmproxy calls whoever resets a stream a client."""
        for command in super().handle_h2_event(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseProtocolError):
                command.event.message = command.event.message.replace("by client", "by upstream", 1)
            yield command
        return False

    def going_away(self, last_stream_id: int) -> CommandGenerator[None]:
        """Streams beyond the last one were never begun: they are told so at once, and may be sent again elsewhere."""
        for stream_id in [stream_id for stream_id in self.streams if stream_id > last_stream_id]:
            del self.streams[stream_id]
            if not self.is_closed(stream_id):
                self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            yield ReceiveHttp(ResponseProtocolError(stream_id, _GOING_AWAY, ErrorCode.GENERIC_SERVER_ERROR))

    def _refuse(self, *stream_ids: int) -> CommandGenerator[None]:
        why = _DOUBTED if self.doubted else _GOING_AWAY
        for stream_id in stream_ids:
            self.stream_queue.pop(stream_id, None)
            yield ReceiveHttp(ResponseProtocolError(stream_id, why, ErrorCode.GENERIC_SERVER_ERROR))
