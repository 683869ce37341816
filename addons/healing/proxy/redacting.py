"""A credential on the wire, and out of what upstream repeats of it."""

from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._events import RequestHeaders, ResponseData, ResponseHeaders

from healing.proxy.hooks import InPlaceHooks
from healing.proxy.seal import Seal


def sealed(event: RequestHeaders, seal: Seal) -> RequestHeaders:
    """The event with the credentials on a copy of its request: the one in the flow has none."""
    return RequestHeaders(event.stream_id, seal.on(event.request), event.end_stream)


class Redacting:
    """Takes the credentials out of a body that streams by: what mitmproxy calls with each piece, and b"" at its end.

    They are masked, so that the body stays as long as its headers say.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._kept_back = b""

    def __call__(self, piece: bytes) -> bytes:
        """What may be passed on now."""
        data = self._seal.mask(self._kept_back + piece)
        safe = len(data) - (self._seal.unfinished(data) if piece else 0)
        self._kept_back = data[safe:]
        return data[:safe]


class RedactingStream(InPlaceHooks):
    """A stream whose response is passed on, but for the credentials that its request carried."""

    passing: Seal | None = None
    """The credentials; None where there is nothing to take out."""

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        """No hook and no client sees a credential that an upstream repeats in its headers."""
        if self.passing is not None:
            event.response.headers = self.passing.redact_headers(event.response.headers)
        yield from super().state_wait_for_response_headers(event)

    def stream_if_long(self, limit: int) -> CommandGenerator[bool]:
        """Stream a response that is longer than `limit` bytes; a generator that gives False, as `check_body_size`."""
        response = self.flow.response
        if self.passing is None or response is None or response.stream:
            return False
        try:
            size = len(self.response_body_buf) or expected_http_body_size(self.flow.request, response) or 0
        except ValueError:
            return False
        if size > limit:
            response.stream = Redacting(self.passing)
            if come := bytes(self.response_body_buf):
                self.response_body_buf.clear()
                yield from self.start_response_stream()
                yield from self.handle_event(ResponseData(self.stream_id, come))
        return False

    def state_stream_response_body(self, event: events.Event) -> CommandGenerator[None]:
        """A piece without anything in it would be taken for the end."""
        if not (isinstance(event, ResponseData) and not event.data):
            yield from super().state_stream_response_body(event)

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """The same for the body."""
        response = self.flow.response
        if self.passing is not None and response is not None and not already_streamed:
            content = self.passing.redact(response.raw_content or b"")
            if content != response.raw_content:
                response.raw_content = content
                response.headers["Content-Length"] = str(len(content))
        yield from super().send_response(already_streamed)
