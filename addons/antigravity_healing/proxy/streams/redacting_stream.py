"""A stream of an answer that is passed on, but for the secrets that upstream repeats in it."""

from collections.abc import Iterator

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketMessageHook

from antigravity_healing.policy.judging.intake import Intake
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from antigravity_healing.proxy.secrets.redaction import Piecewise
from antigravity_healing.proxy.secrets.seal import Seal, take_cookies
from antigravity_healing.proxy.streams.mitmproxy_hooks import InPlaceHooks
from antigravity_healing.proxy.streams.recorder import Recorder
from antigravity_healing.wire.http.encoding import DecodingError, Decompressor, TooLongError
from antigravity_healing.wire.http.headers import Headers

_MOST_KEPT_BYTES = 8 * 1024 * 1024
"""Of what was recorded compressed, and is kept as it reads."""
_ABOUT_CODING = ("content-encoding", "content-length")


def redact_head(response: http.Response, seal: Seal) -> None:
    """Take the secrets out of a response's status line and headers."""
    response.headers = seal.redact_headers(response.headers)
    response.data.reason = seal.redact(response.data.reason)


def keep_redacted(response: http.Response, recorder: Recorder, seal: Seal) -> None:
    """Keep what was recorded of a response's body in its flow. Compressed text is kept as it reads."""
    content, coding = recorder.take_body(), response.headers.get("content-encoding", "")
    if coding and content:
        try:
            content = Decompressor(coding).decode(content, _MOST_KEPT_BYTES)
        except (ValueError, DecodingError, TooLongError):
            content = b""  # nobody can tell what is in it
        del response.headers["content-encoding"]
    # The end of what is kept may be the beginning of a secret.
    response.data.content = seal.piecewise().feed(content, last=not recorder.truncated)


def redact_websocket(hook: WebsocketMessageHook | WebsocketEndHook, seal: Seal) -> None:
    """Take the secrets out of what upstream has just said."""
    assert hook.flow.websocket is not None
    if isinstance(hook, WebsocketEndHook):
        hook.flow.websocket.close_reason = seal.redact_text(hook.flow.websocket.close_reason or "")
    elif not (message := hook.flow.websocket.messages[-1]).from_client:
        message.content = seal.redact(message.content)


class RedactingStream(InPlaceHooks):
    """A stream whose response is passed on, but for the secrets that its request carried."""

    passing: Seal | None = None
    """The secrets; None where there is nothing to take out."""
    own = False
    """Whether they are the client's own: then the cookies that upstream sets are for the client, else for nobody."""
    cookies: Headers = ()
    """What the client's connection gets beside the headers that its flow has."""
    _intake: Intake | None = None
    _cleaning: Piecewise | None = None

    def passthrough(self, event: events.Event) -> CommandGenerator[None]:
        """What upstream says in a WebSocket comes without a secret, too."""
        for command in super().passthrough(event):
            if self.passing is not None and isinstance(command, WebsocketMessageHook | WebsocketEndHook):
                redact_websocket(command, self.passing)
            yield command

    def handle(self, event: events.Event) -> CommandGenerator[None]:
        """No hook and no client sees a secret that an upstream repeats, wherever in its answer."""
        if self.passing is None:
            yield from super().handle(event)
        elif isinstance(event, ResponseHeaders):
            yield from self._take_head(event, self.passing)
        elif isinstance(event, ResponseData | ResponseEndOfMessage):
            yield from self._take_body(event)
        else:
            if isinstance(event, ResponseTrailers):
                event = ResponseTrailers(event.stream_id, self.passing.redact_headers(event.trailers))
            yield from super().handle(event)

    def _take_head(self, event: ResponseHeaders, seal: Seal) -> CommandGenerator[None]:
        response = event.response
        redact_head(response, seal)
        response.headers, cookies = take_cookies(response.headers)
        self.cookies = cookies if self.own else ()
        coding = response.headers.get("content-encoding", "")
        if coding and not event.end_stream and response.status_code != 304:
            try:
                self._intake = Intake(coding)
            except ValueError as error:
                yield from self._refuse(str(error))
                return
            for name in _ABOUT_CODING:
                response.headers.pop(name, None)
            if self.flow.request.http_version == "HTTP/1.1" and response.http_version != "HTTP/1.0":
                response.headers["Transfer-Encoding"] = "chunked"
        # Its length is told already, or that of a part of it: what is redacted stays as long as it was.
        self._cleaning = seal.piecewise(same_length=True)
        yield from super().handle(event)

    def _take_body(self, event: ResponseData | ResponseEndOfMessage) -> CommandGenerator[None]:
        try:
            for data in self._plain(event):
                cleaned = self._cleaning.feed(data) if self._cleaning is not None else data
                # mitmproxy takes a piece without anything in it for the end.
                if cleaned:
                    yield from super().handle(ResponseData(event.stream_id, cleaned))
        except DecodingError as error:
            yield from self._refuse(f"the body is not what its content-encoding says: {error}")
            return
        if isinstance(event, ResponseEndOfMessage):
            if self._cleaning is not None and (rest := self._cleaning.feed(b"", last=True)):
                yield from super().handle(ResponseData(event.stream_id, rest))
            yield from super().handle(event)

    def _plain(self, event: ResponseData | ResponseEndOfMessage) -> Iterator[bytes]:
        """The next pieces of the body without its coding. Raises DecodingError, also where it ends in the middle."""
        if self._intake is None:
            yield event.data if isinstance(event, ResponseData) else b""
        elif isinstance(event, ResponseData):
            self._intake.put(event.data)
            yield from self._intake.rest()
        else:
            self._intake.finish()

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
            response.stream = True
            if come := bytes(self.response_body_buf):
                self.response_body_buf.clear()
                yield from self.start_response_stream()
                yield from self.server_state(ResponseData(self.stream_id, come))
        return False

    def _refuse(self, why: str) -> CommandGenerator[None]:
        """What can't be read can't be searched for secrets: it is not passed on."""
        yield SendHttp(RequestProtocolError(self.stream_id, why, ErrorCode.CANCEL), self.context.server)
        yield from super().handle(ResponseProtocolError(self.stream_id, why, ErrorCode.RESPONSE_VALIDATION_FAILED))

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """An answer that another addon has given in upstream's place may repeat them, too."""
        response = self.flow.response
        if self.passing is not None and response is not None and not already_streamed:
            content = response.raw_content or b""
            redacted = self.passing.redact(content, same_length=True)
            if redacted != content:
                response.raw_content = redacted
        yield from super().send_response(already_streamed)
