"""A credential on the wire, and out of what upstream repeats of it."""

from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._events import RequestHeaders, ResponseHeaders

from healing.proxy.hooks import InPlaceHooks
from healing.proxy.seal import Seal


def sealed(event: RequestHeaders, seal: Seal) -> RequestHeaders:
    """The event with the credentials on a copy of its request: the one in the flow has none."""
    return RequestHeaders(event.stream_id, seal.on(event.request), event.end_stream)


class RedactingStream(InPlaceHooks):
    """A stream whose response is passed on, but for the credentials that its request carried."""

    passing: Seal | None = None
    """The credentials; None where there is nothing to take out."""

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        """No hook and no client sees a credential that an upstream repeats in its headers."""
        if self.passing is not None:
            event.response.headers = self.passing.redact_headers(event.response.headers)
        yield from super().state_wait_for_response_headers(event)

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """The same for the body."""
        response = self.flow.response
        if self.passing is not None and response is not None and not already_streamed:
            content = self.passing.redact(response.raw_content or b"")
            if content != response.raw_content:
                response.raw_content = content
                response.headers["Content-Length"] = str(len(content))
        yield from super().send_response(already_streamed)
