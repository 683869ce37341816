"""HTTP/1 with a client."""

from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
)
from mitmproxy.proxy.layers.http._http1 import Http1Server

from healing.proxy.governor import Governor
from healing.proxy.http1 import SteadyHttp1
from healing.proxy.local import refusal
from healing.wire.fields import wrong_request


class ClientHttp1(SteadyHttp1, Http1Server):
    """The requests of a client, one after the other."""

    receive_trailers = RequestTrailers

    def __init__(self, context: Context, governor: Governor) -> None:
        super().__init__(context)
        self.governor = governor

    def fail(self, why: str) -> CommandGenerator[None]:
        """Refuse what came, if it can still be said, and end the connection and the request that is under way."""
        self.state = self.done
        if self.response is None and self.conn.state & ConnectionState.CAN_WRITE:
            response = refusal(None, 400, why)
            response.headers["connection"] = "close"
            yield commands.SendData(self.conn, http1.assemble_response(response))
        yield commands.Log(f"A client's HTTP/1 connection is closed: {why}")
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(RequestProtocolError(self.stream_id, why, ErrorCode.GENERIC_CLIENT_ERROR))

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Send a part of an answer, as far as the connection still serves it."""
        if event.stream_id != self.stream_id or (yield from self.send_end(event, self.response)):
            return
        yield from super().send(event)

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """Wait for the answer's end. What the client sends meanwhile is kept for then, but not without end."""
        if isinstance(event, events.DataReceived) and len(self.buf) > self.governor.config.limits.unread_bytes:
            yield from self.fail("The client sends more before it has its answer than is kept for it.")
            return
        yield from super().wait(event)

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Read a head, and refuse one that others may read in another way."""
        for command in super().read_headers(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestHeaders):
                request = command.event.request.data
                wrong = wrong_request(request.method, request.path, request.headers.fields)
                if wrong and self.context.options.validate_inbound_headers:
                    yield from self.fail(f"The request has {wrong}.")
                    return
            yield command
