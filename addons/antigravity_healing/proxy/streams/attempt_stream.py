"""An attempt inside mitmproxy: a stock `HttpStream` whose client is the exchange.

So each attempt runs through all of mitmproxy (TLS, HTTP/2, upstream proxies, `map_remote`, `-S`, saving; see
`mitmproxy_hooks.meets_attempts`) and is a flow of its own, while what comes back is judged before anyone else gets it.
"""

import copy
import logging
import uuid
from dataclasses import dataclass
from functools import partial

from mitmproxy import http
from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.mode_specs import ReverseMode

from antigravity_healing import DISTRIBUTION
from antigravity_healing.policy.exchange.actions import LONG_BYTES
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.journal.written import attempt_comment
from antigravity_healing.policy.settings.schema import Upstream
from antigravity_healing.proxy.connections.heads import answer_head_flaw
from antigravity_healing.proxy.connections.pool import LimitedStream
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    HttpCommand,
    HttpConnection,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from antigravity_healing.proxy.internals.paused import paused_by
from antigravity_healing.proxy.secrets.seal import Seal, take_cookies
from antigravity_healing.proxy.streams.flow_story import METADATA, story_of, tell
from antigravity_healing.proxy.streams.mitmproxy_hooks import InPlaceHooks
from antigravity_healing.proxy.streams.own_hooks import AntigravityUnderstandHook, UnderstandRequest
from antigravity_healing.proxy.streams.recorder import Recorder
from antigravity_healing.proxy.streams.redacting_stream import keep_redacted, redact_head
from antigravity_healing.wire.http import headers as pairs
from antigravity_healing.wire.http import trace_context
from antigravity_healing.wire.vertex import PAYING_PROJECT

logger = logging.getLogger(__name__)


# The body is sent as what it says, whatever coding the client chose for it.
_NOT_SENT = (
    pairs.HOP_BY_HOP
    | {b"host", b"content-length", b"content-encoding", b"accept-encoding", b"expect"}
    | trace_context.FIELDS
)


# What a client of another dialect than upstream's says in other headers is said to an API that this one is not.
_OF_NO_DIALECT = {b"accept", b"content-type"}
# Which product a client is, is its own provider's business; some gateways want a name.
_USER_AGENT = (b"User-Agent", DISTRIBUTION.encode())


@dataclass
class LaunchAttempt(HttpCommand):
    """Ask the layer to send an attempt upstream."""

    stream_id: int
    attempt: Attempt
    seal: Seal


@dataclass
class AbortAttempt(HttpCommand):
    """Ask the layer to end an attempt's upstream call, unless it has ended by itself after so many seconds."""

    attempt: Attempt
    why: str
    after_s: float = 0.0


class AttemptStream(InPlaceHooks, LimitedStream):
    """Tells the exchange what comes back. The stock stream does all the rest.

    client_stream_id: the stream of the client's request.
    """

    client_stream_id = 0
    is_attempt = True

    def __init__(
        self,
        context: Context,
        stream_id: int,
        exchange: Exchange,
        attempt: Attempt,
        seal: Seal,
        recorder: Recorder,
    ) -> None:
        super().__init__(context, stream_id)
        self.exchange = exchange
        self.attempt = attempt
        self.seal = seal
        self.recorder = recorder
        self._cookies: pairs.Headers = ()
        self._came: http.Response | None = None
        self._head: tuple[int, pairs.Headers] = 0, ()
        self._connected = False
        self._answered = False

    def handle(self, event: events.Event) -> CommandGenerator[None]:
        """Handle an event; a bug in here ends this attempt and nothing else."""
        try:
            yield from super().handle(event)
        except Exception:
            logger.exception("an attempt failed inside the proxy; this is a bug")
            self.client_state = self.server_state = self.state_errored
            self.exchange.body_ended(self.attempt, "internal error of the proxy")

    def in_hook(self, on: bool) -> None:
        """No clock runs meanwhile."""
        self.exchange.held_by_hook(self.attempt, on)

    @property
    def paused(self) -> bool:
        """Whether a hook or a connection is being waited for."""
        return paused_by(self) is not None

    @property
    def most_connections(self) -> int:
        """How many connections to its upstream there may be."""
        return self.attempt.account.upstream.connections

    @property
    def waits_for(self) -> object:
        """The command whose completion is being waited for."""
        return paused_by(self)

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        """Stream every response: the exchange collects what it wants whole. No hook sees a secret in its headers."""
        event.response.stream = True
        redact_head(event.response, self.seal)
        event.response.headers, cookies = take_cookies(event.response.headers)
        # With an account's credential they are the account's, and nobody's business.
        self._cookies = cookies if self.attempt.account.source is None else ()
        # What a hook changes of this, it changes in the client's answer as well: it is judged as it came.
        self._came, self._head = event.response, (event.response.status_code, event.response.headers.fields)
        yield from super().state_wait_for_response_headers(event)

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:
        """The exchange knows how much of an answer it takes."""
        yield from ()
        return False

    def flaw_of(self, request: bool) -> str:
        """What is wrong with a head, its size included; "" if nothing is."""
        if not request and self.flow.response is not None:
            return answer_head_flaw(self.flow.response.headers.fields, self.exchange.limits) or super().flaw_of(request)
        return super().flaw_of(request)

    def start_response_stream(self) -> CommandGenerator[None]:
        """The response's headers have passed all hooks."""
        assert self.flow.response
        self._tell_head(self.flow.response)
        self.server_state = self.state_stream_response_body
        yield from ()

    def state_stream_response_body(self, event: events.Event) -> CommandGenerator[None]:
        """Hand the body to the exchange; the recorder keeps it for the flow."""
        assert self.flow.response
        if isinstance(event, ResponseData):
            self.recorder.keep(event.data)
            self.exchange.data(self.attempt, event.data)
        elif isinstance(event, ResponseTrailers):
            self.flow.response.trailers = self.seal.redact_headers(event.trailers)
        elif isinstance(event, ResponseEndOfMessage):
            yield from self._keep_body()
            # Before the response hook, so that whoever saves the flow there saves the verdict too.
            self.exchange.body_ended(self.attempt)
            yield from self.send_response(already_streamed=True)

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """A response that did not stream (one without a body, or one that `-S` gave) is told as a whole."""
        self._answered = True
        if not already_streamed:
            assert self.flow.response
            self._tell_head(self.flow.response)
            self.exchange.data(self.attempt, self.flow.response.raw_content or b"")
            self.exchange.body_ended(self.attempt)
        yield from super().send_response(already_streamed=True)

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        """The connection failed, or the exchange aborted the attempt."""
        if isinstance(event, ResponseProtocolError):
            if event.code is ErrorCode.RESPONSE_VALIDATION_FAILED:
                self.exchange.malformed(self.attempt, event.message)
            else:
                self.exchange.body_ended(self.attempt, event.message)
        yield from self._keep_body()
        yield from super().handle_protocol_error(event)

    def check_killed(self, emit_error_hook: bool) -> CommandGenerator[bool]:
        """Killed or aborted while a hook was waited for: mitmproxy leaves the upstream call running then."""
        killed = yield from super().check_killed(emit_error_hook)
        if killed and self._connected and not self._answered:
            gone = RequestProtocolError(self.stream_id, "killed", ErrorCode.CANCEL)
            yield SendHttp(gone, self.context.server)
        return killed

    def tell_story(self) -> None:
        """Set it off from the exchanges in a flow list, with the word or two that say the most."""
        tell(self.flow, attempt_comment(story_of(self.flow)))

    def make_server_connection(self) -> CommandGenerator[bool]:
        """Connect as any stream does, and know of it."""
        self._connected = yield from super().make_server_connection()
        return self._connected

    def _tell_head(self, response: http.Response) -> None:
        status, fields = self._head if response is self._came else (response.status_code, response.headers.fields)
        self.exchange.head(self.attempt, status, fields + self._cookies)

    def _keep_body(self) -> CommandGenerator[None]:
        """What the flow has of the body is without secrets; what is long is searched for them beside all else."""
        response = self.flow.response
        if response is None or response.data.content is not None:
            return
        keeping = UnderstandRequest(partial(keep_redacted, response, self.recorder, self.seal))
        if len(self.recorder) >= LONG_BYTES or (self.recorder and "content-encoding" in response.headers):
            yield AntigravityUnderstandHook(keeping)
        else:
            keeping.run()
        if keeping.failure is not None:
            raise keeping.failure
        if self.recorder.truncated:
            self.attempt.meta["body_truncated"] = True


class Sink(HttpConnection):
    """The client that an attempt's stream believes to talk to. It tells the exchange of what no method above sees."""

    def __init__(self, context: Context, client: Client, stream: AttemptStream) -> None:
        super().__init__(context, client)
        self.stream = stream

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, ResponseProtocolError):
            if event.code is ErrorCode.KILL:
                self.stream.exchange.killed(self.stream.attempt)
            elif event.code is ErrorCode.RESPONSE_VALIDATION_FAILED:
                self.stream.exchange.malformed(self.stream.attempt, event.message)
            else:
                self.stream.exchange.body_ended(self.stream.attempt, event.message)
        yield from ()


def attempt_context(context: Context, attempt: Attempt) -> Context:
    """A context of the attempt's own: a copy of the client, and the account's upstream as server."""
    upstream = attempt.account.upstream
    own = context.fork()
    # The layer tells connections apart by their ids. (Connection.copy() goes through a serialised form, and is slow.)
    own.client = copy.copy(context.client)
    own.client.id = str(uuid.uuid4())
    own.client.state = ConnectionState.OPEN
    own.server = Server(address=(upstream.host, upstream.port))
    own.server.tls = upstream.scheme == "https"
    own.server.via = context.server.via
    return own


def host_header(context: Context, client_flow: http.HTTPFlow, upstream: Upstream) -> str:
    """What a request for the client says of whom it is for; the option `keep_host_header` is about reverse mode."""
    kept = context.options.keep_host_header and isinstance(context.client.proxy_mode, ReverseMode)
    if kept and client_flow.request.host_header and client_flow.server_conn.address == (upstream.host, upstream.port):
        return client_flow.request.host_header
    default_port = 443 if upstream.scheme == "https" else 80
    host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
    return host if upstream.port == default_port else f"{host}:{upstream.port}"


def attempt_flow(context: Context, client_flow: http.HTTPFlow, attempt: Attempt) -> http.HTTPFlow:
    """The attempt's flow: the client's request, as it goes to this upstream, without credentials."""
    upstream, request = attempt.account.upstream, client_flow.request
    authority = host_header(context, client_flow, upstream)
    headers = pairs.without(request.headers.fields, _NOT_SENT)
    if attempt.asked.translated:
        headers = tuple(pair for pair in headers if pair[0].lower() in _OF_NO_DIALECT)
        headers += (*attempt.asked.dialect.required_headers, _USER_AGENT)
    headers += ((b"Accept-Encoding", b"identity"),)
    if attempt.account.source is not None:
        headers = pairs.without(headers, (PAYING_PROJECT.encode(),))
    added = {name.lower() for name, _ in headers}
    headers += tuple(pair for pair in attempt.prepared.headers if pair[0].lower() not in added)
    if attempt.prepared.unflagged:
        flag_header = attempt.asked.dialect.flag_header.encode()
        headers = pairs.without_flags(headers, flag_header, attempt.prepared.unflagged)
    if attempt.prepared.betas:
        headers = pairs.with_flags(headers, attempt.asked.dialect.flag_header.encode(), attempt.prepared.betas)
    if attempt.body or request.method not in ("GET", "HEAD"):
        headers += ((b"Content-Length", str(len(attempt.body)).encode()),)
    if request.is_http2 or request.is_http3:
        headers = pairs.lowered(headers)
    else:
        headers = ((b"Host", authority.encode()), *headers)
    # Who looks at it finds the client, whose copy `context.client` is, and what is known of it.
    flow = http.HTTPFlow(client_flow.client_conn, context.server)
    flow.request = http.Request(
        host=upstream.host,
        port=upstream.port,
        method=request.data.method,
        scheme=upstream.scheme.encode(),
        authority=authority.encode() if request.is_http2 or request.is_http3 else b"",
        path=attempt.path.encode("utf-8", "surrogateescape"),
        http_version=request.data.http_version,
        headers=http.Headers(headers),
        content=attempt.body,
        trailers=None,
        timestamp_start=client_flow.request.timestamp_start,
        timestamp_end=client_flow.request.timestamp_end,
    )
    flow.metadata = {**client_flow.metadata, METADATA: attempt.meta}
    return flow
