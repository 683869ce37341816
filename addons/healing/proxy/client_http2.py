"""HTTP/2 with a client: what it opens it pays for, and what it resets is over."""

import h2.config
import h2.errors
import h2.events
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestProtocolError, ResponseHeaders, ResponseProtocolError
from mitmproxy.proxy.layers.http._http2 import Http2Connection, Http2Server, parse_h2_request_headers

from healing.proxy.governor import Governor
from healing.proxy.http2 import Fields, SteadyHttp2

A_MINUTE_S = 60.0


class ClientHttp2(SteadyHttp2, Http2Server):
    """The streams of a client."""

    h2_conf = h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=False)

    def __init__(self, context: Context, governor: Governor) -> None:
        super().__init__(context)
        self.steady(governor)
        self._unanswered: set[int] = set()
        # A bucket that runs dry in a minute.
        self._resets = 0.0
        self._resets_at = governor.clock.now()

    def waiting(self, stream_id: int) -> int:
        """How many bytes of an answer wait for the client to give them room."""
        return self.h2_conn.waiting(stream_id)

    def has_left(self, stream_id: int) -> bool:
        """Whether the client has closed a stream, or all of them."""
        return self.is_closed(stream_id)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        try:
            if isinstance(event, ResponseHeaders | ResponseProtocolError):
                self._unanswered.discard(event.stream_id)
            yield from super()._handle_event(event)
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
        most, now = self.governor.config.limits.resets, self.governor.clock.now()
        self._resets = max(0.0, self._resets - (now - self._resets_at) * most / A_MINUTE_S) + 1
        self._resets_at = now
        if self._resets <= most:
            return False
        why = f"more than {most} streams reset within a minute"
        yield from self.protocol_error(why, h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        return True
