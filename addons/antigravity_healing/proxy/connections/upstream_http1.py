"""HTTP/1 with an upstream, which trusts nothing that comes.

A connection that owes anything, an answer or the rest of one, or on which more came than was asked for, is closed and
never used again: else the answer to one request would go to another.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1, url
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.http1 import SteadyHttp1, reader_of_body
from antigravity_healing.proxy.connections.own_events import PauseResponse, ResumeResponse
from antigravity_healing.proxy.connections.transports import connections_under, has_unread
from antigravity_healing.proxy.connections.turns import read_on, stop_reading
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    Http1Client,
    HttpEvent,
    HttpUpstreamProxy,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    should_make_pipe,
)
from antigravity_healing.wire.http.fields import wrong_response_head


class UpstreamHttp1(SteadyHttp1, Http1Client):
    """HTTP/1 with an upstream."""

    receive_trailers = ResponseTrailers
    head_bytes = 0
    """Of the heads that have come for the request that is under way."""
    paused = False
    """Whether nothing is read, as the client does not take what there is."""

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)
        self.bounds = bounds

    @property
    def usable(self) -> bool:
        """Whether nothing is owed here, so that a request may be sent."""
        owes = self.stream_id is not None or self.buf or self.state == self.done
        return not owes and not has_unread(self)

    def fail(self, why: str, code: ErrorCode = ErrorCode.GENERIC_SERVER_ERROR) -> CommandGenerator[None]:
        """End the connection, and the request that is under way on it."""
        self.state = self.done
        yield commands.CloseConnection(self.conn)
        if self.stream_id is not None:
            yield ReceiveHttp(ResponseProtocolError(self.stream_id, why, code))

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Send a part of a request, as far as the connection still serves it."""
        if isinstance(event, PauseResponse | ResumeResponse):
            if event.stream_id == self.stream_id:
                self.read_on(isinstance(event, ResumeResponse))
            return
        if isinstance(event, RequestHeaders):
            if self.stream_id is not None or self.state == self.done:
                why = "the connection can't be used any more"
                yield ReceiveHttp(ResponseProtocolError(event.stream_id, why, ErrorCode.GENERIC_SERVER_ERROR))
                return
            self.head_bytes, self.trailers = 0, None
            event = _framed(event)
            if self._is_to_proxy:
                event = _absolute(event)
        elif event.stream_id != self.stream_id or self.state == self.done:
            return
        if isinstance(event, RequestProtocolError):
            self.state = self.done
        elif (yield from self.send_end(event, self.request)):
            return
        yield from super().send(event)

    @property
    def _is_to_proxy(self) -> bool:
        """Whether an upstream proxy reads the requests itself, as it was not asked for a tunnel."""
        layers = self.context.layers
        return any(isinstance(below, HttpUpstreamProxy) and not below.send_connect for below in layers)

    def read_on(self, on: bool) -> None:
        """Read from the connection, or do not."""
        for connection in connections_under(self):
            if connection is not self.context.client:
                read_on(connection) if on else stop_reading(connection)
        self.paused = not on

    def mark_done(self, *, request: bool = False, response: bool = False) -> CommandGenerator[None]:
        """An answer that was complete before its request says nothing of what is left of that: the connection ends."""
        answered_early = request and self.response_done
        if answered_early and not (self.request and self.response and should_make_pipe(self.request, self.response)):
            self.state = self.done
            yield commands.CloseConnection(self.conn)
            return
        if response and self.paused:
            self.read_on(True)
        yield from super().mark_done(request=request, response=response)
        if self.response_done and not self.request_done:
            self.state = self.wait_for_request

    def wait_for_request(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """The answer is complete and the request is not: whatever comes now ends the connection."""
        self.state = self.done
        yield commands.CloseConnection(self.conn)

    # Heads.

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Read heads until the one that is the answer's; those before it (1xx) are skipped."""
        if isinstance(event, events.ConnectionClosed):
            yield from self.closed_without_head()
            return
        if self.request is None:
            yield commands.Log("An upstream sent data that nobody asked for; its connection is closed.")
            yield from self.fail("")
            return
        while self.state == self.read_headers:
            before = len(self.buf)
            lines = self.buf.maybe_extract_lines()
            self.head_bytes += before - len(self.buf)
            if self.head_bytes + (len(self.buf) if lines is None else 0) > self.longest_head:
                yield from self.fail(f"Cannot parse HTTP response: a head of over {self.longest_head} bytes")
            elif lines is None:
                return
            elif lines:
                yield from self.take_head([bytes(line) for line in lines])

    def closed_without_head(self) -> CommandGenerator[None]:
        """The connection has ended, between two requests or instead of an answer."""
        if self.stream_id is not None:
            yield from self.fail("server closed connection" + (" within the head of its answer" if self.buf else ""))
        elif self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.CloseConnection(self.conn)

    def take_head(self, lines: Sequence[bytes]) -> CommandGenerator[None]:
        """A head is complete."""
        assert self.request is not None
        assert self.stream_id is not None
        strict = self.stream_id < 0 or self.context.options.validate_inbound_headers
        try:
            wrong = wrong_response_head(lines, self.bounds.config.limits.headers) if strict else ""
            if wrong:
                raise ValueError(wrong)
            response = http1.read_response_head(list(lines))
            if strict:
                validate_headers(response)
            expected = http1.expected_http_body_size(self.request, response)
        except ValueError as error:
            yield from self.fail(f"Cannot parse HTTP response: {error}", ErrorCode.RESPONSE_VALIDATION_FAILED)
            return
        if response.status_code == 101 and not _asks_to_upgrade(self.request):
            yield from self.fail("Cannot use HTTP response: 101 although no other protocol was asked for")
        elif 100 <= response.status_code < 200 and response.status_code != 101:
            yield commands.Log(f"Skipped an informational response: {response.status_code}", 10)
        else:
            self.response = response
            yield ReceiveHttp(ResponseHeaders(self.stream_id, response, expected == 0))
            if self.state == self.read_headers:
                self.body_reader = reader_of_body(expected)
                self.state = self.read_body
                yield from self.state(events.DataReceived(self.conn, b""))


def _asks_to_upgrade(request: http.Request) -> bool:
    tokens = request.headers.get("connection", "").lower().split(",")
    return "upgrade" in request.headers and "upgrade" in (token.strip() for token in tokens)


def _framed(event: RequestHeaders) -> RequestHeaders:
    """The event of a request that says how long it is. HTTP/2 does not need to, HTTP/1 would take it for two."""
    headers = event.request.headers
    if event.end_stream or "content-length" in headers or "transfer-encoding" in headers:
        return event
    if not (event.request.is_http2 or event.request.is_http3):
        return event
    request = event.request.copy()
    request.headers["transfer-encoding"] = "chunked"
    return RequestHeaders(event.stream_id, request, event.end_stream, event.replay_flow)


def _absolute(event: RequestHeaders) -> RequestHeaders:
    """The event of a request that tells a proxy where to."""
    asked = event.request
    if asked.authority and not (asked.is_http2 or asked.is_http3):
        return event
    request = copy.copy(asked)
    request.data = copy.copy(asked.data)
    request.data.headers = asked.headers.copy()
    request.authority = url.hostport(asked.scheme, asked.host, asked.port)
    if asked.is_http2 or asked.is_http3:
        # mitmproxy would take the authority away with the version.
        request.http_version = "HTTP/1.1"
        if "Host" not in request.headers:
            request.headers.insert(0, "Host", asked.authority or request.authority)
        if len(cookies := request.headers.get_all("Cookie")) > 1:
            request.headers["Cookie"] = "; ".join(cookies)
    return replace(event, request=request)
