"""mitmproxy's servers for HTTP/1 and HTTP/2, which take no more from a client than they have to."""

from dataclasses import dataclass

import h2.errors
import h2.events
import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import HttpConnection, HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Server, make_body_reader
from mitmproxy.proxy.layers.http._http2 import Http2Server

from healing.policy.config import Limits
from healing.proxy import local
from healing.proxy.governor import Governor
from healing.proxy.heads import HeadMeter, HeadRefusal, head_refusal, in_header_list, line_refusal

LINGER_S = 30.0
LINGER_BYTES = 32 * 1024 * 1024
"""Of a request that is not wanted, what is thrown away while its client reads the answer.

A connection that is closed at once takes the answer with it."""
AHEAD_BYTES = 1024 * 1024
"""Of requests that a client sends before it has its answer to the one before."""
_LONGEST_REASON = 200
_HEADERS, _CONTINUATION, _FRAME_HEAD = 1, 9, 9


@dataclass
class RestUnwanted(HttpEvent):
    """The answer is complete; what is still to come of its request is not wanted."""


def client_side(context: Context, governor: Governor) -> HttpConnection | None:
    """What talks to this client; None for HTTP/3, which is mitmproxy's own affair."""
    alpn = context.client.alpn
    if alpn == b"h2":
        return HealingHttp2Server(context, governor)
    if alpn is not None and alpn.startswith(b"h3"):
        return None
    return HealingHttp1Server(context, governor)


class _HeadClock:
    """How long a head may take. Nothing runs while none is under way."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._since: float | None = None
        self._timer: commands.RequestWakeup | None = None

    @property
    def seconds(self) -> float:
        """How long that is."""
        return self._governor.config.limits.head_seconds

    def start(self) -> CommandGenerator[None]:
        """A head has begun, now or before."""
        if self._since is None:
            self._since = self._governor.clock.now()
            yield from self._arm()

    def stop(self) -> None:
        """It is complete."""
        self._since = None

    def has_run_out(self, event: events.Wakeup) -> CommandGenerator[bool]:
        """A generator that says whether this is the end of a head's time."""
        if event.command is not self._timer:
            return False
        self._timer = None
        if self._since is None:
            return False
        if self._governor.clock.now() >= self._since + self.seconds:
            return True
        # Started for a head before this one.
        yield from self._arm()
        return False

    def _arm(self) -> CommandGenerator[None]:
        if self._timer is None and self._since is not None:
            self._timer = commands.RequestWakeup(max(0.0, self._since + self.seconds - self._governor.clock.now()))
            yield self._timer


class HealingHttp1Server(Http1Server):
    """HTTP/1 towards a client."""

    def __init__(self, context: Context, governor: Governor) -> None:
        super().__init__(context)
        self._governor = governor
        self._meter = HeadMeter(self._limits)
        self._clock = _HeadClock(governor)
        self._linger_timer: commands.RequestWakeup | None = None
        self._thrown_away = 0

    @property
    def _limits(self) -> Limits:
        return self._governor.config.limits

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup):
            yield from self._wake(event)
            return
        yield from super()._handle_event(event)
        if self.state == self.wait and len(self.buf) > AHEAD_BYTES:
            self.state = self.done
            yield commands.CloseConnection(self.conn)
            message = "the client sent too much before it had its answer"
            gone = RequestProtocolError(self.stream_id, message, ErrorCode.CLIENT_DISCONNECTED)
            yield ReceiveHttp(gone)

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Send an answer, or a piece of one."""
        if isinstance(event, RestUnwanted):
            if self.state == self.read_body:
                yield from self._linger()
            return
        reading = self.state == self.read_body
        for command in super().send(event):
            if reading and isinstance(event, ResponseProtocolError) and isinstance(command, commands.CloseConnection):
                yield from self._linger()
            else:
                yield command

    # Heads.

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Take a head, unless it is too much."""
        if isinstance(event, events.ConnectionClosed):
            if self.buf:
                yield commands.Log("Client closed connection before completing request headers.")
            yield commands.CloseConnection(self.conn)
            return
        received = self.buf._data
        blank = len(received) - len(received.lstrip(b"\r\n"))
        if blank and not self._meter.begun:
            self.buf.maybe_extract_at_most(blank)
        if not self.buf:
            return
        if refusal := self._meter.look(self.buf._data):
            yield from self._refuse(*refusal)
        elif self._meter.complete:
            self._meter = HeadMeter(self._limits)
            self._clock.stop()
            yield from self._take_head(event)
        else:
            yield from self._clock.start()

    def _take_head(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        lines = self.buf.maybe_extract_lines() or []
        try:
            self.request = http1.read_request_head([bytes(line) for line in lines])
            size = http1.expected_http_body_size(self.request)
        except ValueError as error:
            # What is wrong may be the line that holds a key: it is told to its sender, and nobody else.
            yield from self._refuse(400, f"This is no HTTP request: {str(error)[:_LONGEST_REASON]}")
            return
        self.body_reader = _Chunks(self._limits.head_bytes) if size is None else make_body_reader(size)
        self.state = self.read_body
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, size == 0))
        if self.state == self.read_body:
            yield from self.read_body(event)

    def _wake(self, event: events.Wakeup) -> CommandGenerator[None]:
        if event.command is self._linger_timer:
            yield from self._close()
        elif (yield from self._clock.has_run_out(event)) and self.state == self.read_headers:
            yield from self._refuse(408, f"The request's head took more than {self._clock.seconds:g} s.")

    # Bodies.

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Take what has come of a body, many chunks at once."""
        if not isinstance(event, events.DataReceived):
            yield from super().read_body(event)
            return
        data = bytearray()
        found: object = None
        try:
            while isinstance(found := self.body_reader(self.buf), h11.Data):
                data += found.data
        except h11.ProtocolError as error:
            message = f"HTTP/1 protocol error: {str(error)[:_LONGEST_REASON]}"
            yield ReceiveHttp(RequestProtocolError(self.stream_id, message, ErrorCode.GENERIC_CLIENT_ERROR))
            yield from self._refuse(400, f"The request's body can't be read: {str(error)[:_LONGEST_REASON]}")
            return
        if data:
            yield ReceiveHttp(RequestData(self.stream_id, bytes(data)))
        if found is not None and self.state == self.read_body:
            assert self.request
            if self.request.method.upper() != "CONNECT":
                yield ReceiveHttp(RequestEndOfMessage(self.stream_id))
            yield from self.mark_done(request=True)

    # The end of a connection.

    def _refuse(self, status: int, message: str) -> CommandGenerator[None]:
        """Answer a request that nobody else is to see, if that can still be done, and close."""
        yield commands.Log(f"A request was refused with {status}.")
        if self.response is None and self.conn.state & ConnectionState.CAN_WRITE:
            answer = _closing(local.refusal(None, status, message))
            yield commands.SendData(self.conn, http1.assemble_response(answer))
        yield from self._linger()

    def _linger(self) -> CommandGenerator[None]:
        """Say that nothing more comes, and let the client read what has been said before the connection is closed."""
        self.state = self.linger
        self.buf = ReceiveBuffer()
        self._linger_timer = commands.RequestWakeup(LINGER_S)
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield self._linger_timer

    def linger(self, event: events.Event) -> CommandGenerator[None]:
        """Throw away what comes, up to a limit."""
        self._thrown_away += len(self.buf)
        self.buf = ReceiveBuffer()
        if isinstance(event, events.ConnectionClosed) or self._thrown_away > LINGER_BYTES:
            yield from self._close()

    def _close(self) -> CommandGenerator[None]:
        self.state = self.done
        yield commands.CloseConnection(self.conn)


class HealingHttp2Server(Http2Server):
    """HTTP/2 towards a client."""

    def __init__(self, context: Context, governor: Governor) -> None:
        super().__init__(context)
        self._governor = governor
        self._clock = _HeadClock(governor)
        most = in_header_list(self._limits)
        self.h2_conn.local_settings.max_header_list_size = most
        # As in the base: acknowledged here, or the old settings are sent.
        self.h2_conn.local_settings.acknowledge()
        self.h2_conn.decoder.max_header_list_size = most

    @property
    def _limits(self) -> Limits:
        return self._governor.config.limits

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, RestUnwanted):
            yield from self._leave(event.stream_id)
        elif isinstance(event, events.Wakeup):
            yield from self._wake(event)
        else:
            yield from super()._handle_event(event)
            if isinstance(event, events.DataReceived):
                yield from self._watch_head()

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        """Take a request, unless its head is too much."""
        if not isinstance(event, h2.events.RequestReceived):
            return (yield from super().handle_h2_event(event))
        assert event.stream_id is not None
        fields = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
        refusal = head_refusal(fields, self._limits)
        if any(name == b":path" and len(value) > self._limits.line_bytes for name, value in fields):
            refusal = line_refusal(self._limits)
        if refusal is None:
            return (yield from super().handle_h2_event(event))
        yield from self._refuse(event.stream_id, refusal)
        return False

    def _refuse(self, stream_id: int, refusal: HeadRefusal) -> CommandGenerator[None]:
        yield commands.Log(f"A request was refused with {refusal.status}.")
        answer = local.refusal(None, *refusal)
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
        if held > in_header_list(self._limits):
            code = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
            yield from self.protocol_error(f"more than {self._limits.head_bytes:,} bytes of headers", code)
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


class _Chunks(ChunkedReader):
    """Reads a chunked body; what stands around its chunks is bounded, and trailers are not taken."""

    def __init__(self, longest: int) -> None:
        """longest: how many bytes a chunk's head, or all trailers, may have."""
        super().__init__()
        self._longest = longest

    def __call__(self, buf: ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        """The next piece, None if more has to come. Raises h11.ProtocolError."""
        found = super().__call__(buf)
        if found is None and len(buf) > self._longest:
            raise h11.RemoteProtocolError(f"more than {self._longest:,} bytes between two chunks")
        return h11.EndOfMessage() if isinstance(found, h11.EndOfMessage) else found


def _closing(answer: http.Response) -> http.Response:
    answer.headers["Connection"] = "close"
    return answer
