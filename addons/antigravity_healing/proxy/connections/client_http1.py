"""HTTP/1 with a client."""

from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.heads import HeadClock, HeadMeter
from antigravity_healing.proxy.connections.http1 import SteadyHttp1, reader_of_body
from antigravity_healing.proxy.connections.lingering import Lingering
from antigravity_healing.proxy.connections.own_events import ResetResponse, RestUnwanted
from antigravity_healing.proxy.connections.transports import reset_at_close
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    Http1Server,
    HttpEvent,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseProtocolError,
)
from antigravity_healing.wire.http.fields import wrong_request

_LONGEST_REASON = 200


class ClientHttp1(SteadyHttp1, Http1Server):
    """The requests of a client, one after the other."""

    receive_trailers = RequestTrailers

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)
        self.bounds = bounds
        self._meter = HeadMeter(self._limits)
        self._clock = HeadClock(bounds)
        self._lingering: Lingering | None = None

    @property
    def _limits(self) -> Limits:
        return self.bounds.config.limits

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if self._lingering is not None and isinstance(event, events.ConnectionEvent | events.Wakeup):
            yield from self._lingering.take_event(event)
        elif isinstance(event, events.Wakeup):
            yield from self._wake(event)
        else:
            yield from super()._handle_event(event)

    def fail(self, why: str) -> CommandGenerator[None]:
        """Refuse what came, if it can still be said, and end the connection and the request that is under way."""
        yield from self._refuse(400, f"This is no request that can be taken: {why}.")
        yield ReceiveHttp(RequestProtocolError(self.stream_id, why, ErrorCode.GENERIC_CLIENT_ERROR))

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Send a part of an answer, as far as the connection still serves it."""
        if event.stream_id != self.stream_id:
            return
        if isinstance(event, RestUnwanted):
            if self.state == self.read_body:
                yield from self._linger()
            return
        if (yield from self.send_end(event, self.response)):
            return
        reading = self.state == self.read_body
        if isinstance(event, ResetResponse):
            reset_at_close(self)
        for command in super().send(event):
            if reading and isinstance(event, ResponseProtocolError) and isinstance(command, commands.CloseConnection):
                yield from self._linger()
            else:
                yield command

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """Wait for the answer's end. What the client sends meanwhile is kept for then, but not without end."""
        if isinstance(event, events.DataReceived) and len(self.buf) > self._limits.unread_bytes:
            yield from self.fail("more than is kept for it came before it had its answer")
            return
        yield from super().wait(event)

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
            request = self.request.data
            wrong = wrong_request(request.method, request.path, request.headers.fields)
            if wrong and self.context.options.validate_inbound_headers:
                raise ValueError(wrong)
        except ValueError as error:
            # What is wrong may be the line that holds a key: it is told to its sender, and nobody else.
            told = str(error)[:_LONGEST_REASON]
            yield from self._refuse(400, f"This is no request that can be taken: {told}.")
            return
        self.body_reader = reader_of_body(size)
        self.state = self.read_body
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, size == 0))
        if self.state == self.read_body:
            yield from self.read_body(event)

    def _wake(self, event: events.Wakeup) -> CommandGenerator[None]:
        if (yield from self._clock.has_run_out(event)) and self.state == self.read_headers:
            yield from self._refuse(408, f"The request's head took more than {self._clock.seconds:g} s.")

    # The end of a connection.

    def _refuse(self, status: int, message: str) -> CommandGenerator[None]:
        """Answer a request that nobody else is to see, if that can still be done, and close."""
        if self.response is None and self.conn.state & ConnectionState.CAN_WRITE:
            answer = refusals.refusal(None, status, message, logged="a head that is not taken")
            yield commands.SendData(self.conn, http1.assemble_response(_closing(answer)))
        yield from self._linger()

    def _linger(self) -> CommandGenerator[None]:
        """Say that nothing more comes, and let the client read what has been said before the connection is closed."""
        self.state = self.done
        self.buf = ReceiveBuffer()
        self._lingering = Lingering(self.conn)
        yield from self._lingering.begin()


def _closing(answer: http.Response) -> http.Response:
    answer.headers["Connection"] = "close"
    return answer
