"""A client's request on its way in: claimed, bounded, and freed of secrets, before any addon sees it."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import DropStream, SendHttp

from antigravity_healing.policy.routing.request import LONG_BODY_BYTES, takes_time
from antigravity_healing.proxy.claiming.claims import Asked, Claim
from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.connections.lingering import LastWords, LastWordsInside, TunnelInside
from antigravity_healing.proxy.connections.own_events import RestUnwanted
from antigravity_healing.proxy.guarding.proxy_auth import refusal_by_proxyauth, take_for_proxyauth
from antigravity_healing.proxy.guarding.reach import AntigravityReachHook
from antigravity_healing.proxy.guarding.refusals import (
    RefusalResponse,
    asked_by,
    no_room,
    refusal,
    too_long,
)
from antigravity_healing.proxy.guarding.web_pages import show_to
from antigravity_healing.proxy.internals.http_layer import (
    HttpResponseHeadersHook,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from antigravity_healing.proxy.secrets.masks import Masking, Masks, is_masked
from antigravity_healing.proxy.secrets.seal import Seal, is_credential, take_off
from antigravity_healing.proxy.streams.flow_story import METADATA, tell_refusal
from antigravity_healing.proxy.streams.own_hooks import AntigravityAwaitHook
from antigravity_healing.proxy.streams.redacting_stream import RedactingStream
from antigravity_healing.proxy.streams.websockets import (
    CarefulWebsocket,
    is_asked_for,
    without_extensions,
    without_other_protocols,
)
from antigravity_healing.wire.dialect import Dialect

logger = logging.getLogger(__name__)

FAILED = "The proxy failed on this request; its log says why."
"""What a client is told of a bug."""


class IncomingStream(RedactingStream):
    """A request as a client sends it. One that is not claimed is treated as in plain mitmproxy.

    claim: what it is, once its headers have come. masks: what stands in its body for secrets.
    answered_early: whether it has its answer before its body. replayed: whether a person sends it again.
    """

    hooks_in_place = False
    claim: Claim | None = None
    answered_early = False
    replayed = False
    masks: Masks = ()

    def __init__(self, context: Context, stream_id: int, governor: Governor) -> None:
        super().__init__(context, stream_id)
        self.governor = governor

    def state_wait_for_request_headers(self, event: RequestHeaders) -> CommandGenerator[None]:
        """Claim the request before any addon sees it, so that none sees the client's credentials."""
        recorded = None
        if event.replay_flow is not None:
            recorded = event.replay_flow.metadata.get(METADATA, {})
        self.claim = self.claim_on(event, recorded)
        if self.claim is None and event.replay_flow is None:
            yield from self.see_where_to(event.request)
        if self.context.options.websocket and is_asked_for(event.request):
            without_extensions(event.request.headers)
        elif self.claim is not None and "upgrade" in event.request.headers:
            without_other_protocols(event.request.headers)
        healed = self.claim is not None and self.claim.asked is not None and self.claim.asked.operation.kind != "other"
        # A replayed flow is a copy, whose hooks the replay keeps to itself.
        self.replayed = event.replay_flow is not None
        self.hooks_in_place = healed and not self.replayed
        early = self.answer_at_headers(event)
        if early is None:
            self.prepare(event)
        else:
            self.answered_early = True
            event.request.headers.pop("expect", None)  # no 100 for a body that is not wanted
        yield from super().state_wait_for_request_headers(event)
        if healed:
            self.flow.metadata.setdefault(METADATA, {"role": "exchange"})
        if self.client_state == self.state_errored:
            return
        if self.claim is not None and self.claim.local is None and event.replay_flow is None:
            self.governor.under_way.begun(self, self.context.client)
        if self.claim is not None and (refused := self.refused_by_proxyauth()) is not None:
            self.flow.response = refused
            if not event.end_stream:
                yield from self.answer_early(refused)
        elif early is not None:
            yield from self.answer_early(early)
        elif self.claim is not None and self.claim.local is not None:
            self.flow.response = self.claim.local

    def prepare(self, event: RequestHeaders) -> None:
        """Do what has to be done with a claimed request before it is seen."""

    @property
    def under_way(self) -> bool:
        """Whether the answer is still to come, wholly or in part. A websocket has none that ends."""
        over = (self.state_done, self.state_errored)
        return self.server_state not in over and self.flow.websocket is None

    def see_where_to(self, request: http.Request) -> CommandGenerator[None]:
        """Refuse to pass on what a client from elsewhere sends to a place that it may not reach."""
        if (reach := self.governor.door.reach(request, self.context, self.mode)) is None:
            return
        yield AntigravityReachHook(reach)
        if reach.refusal is not None:
            self.claim = Claim(None, "", Seal(), self.refused(request, 403, f"{reach.refusal}."))

    def passthrough(self, event: events.Event) -> CommandGenerator[None]:
        """Pass what is sent through a tunnel. A client of HTTP/1 can be left to read the last of it, as without one."""
        if not isinstance(self.child_layer, TunnelInside) and not self.flow.request.is_http2:
            self.child_layer = TunnelInside(self.child_layer)  # type: ignore[assignment, arg-type]
        for command in super().passthrough(event):
            yield LastWords(command.connection) if isinstance(command, LastWordsInside) else command

    def handle_connect(self) -> CommandGenerator[None]:
        """Open a tunnel, if its client is let in."""
        refused = self.claim.local if self.claim is not None else None
        self.flow.response = refused
        yield from super().handle_connect()
        if refused is not None:
            yield DropStream(self.stream_id)

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        """Let a page of this machine read the answer."""
        if self.claim is not None and self.claim.page:
            show_to(event.response, self.claim.page)
        if event.response.status_code == 101:
            without_extensions(event.response.headers)
        yield from super().state_wait_for_response_headers(event)

    def flow_done(self) -> CommandGenerator[None]:
        """Begin with the WebSocket, where it has become one."""
        if self.flow.websocket is None or self.flow.response is None or self.flow.response.status_code != 101:
            yield from super().flow_done()
            return
        seal, most = self.passing, self.governor.config.limits.message_bytes
        clean = partial(seal.redact, same_length=True) if seal is not None else None
        self.child_layer = CarefulWebsocket(self.context, self.flow, most, clean)
        self._handle_event = self.passthrough  # type: ignore[method-assign]
        yield from self.child_layer.handle_event(events.Start())
        # As in mitmproxy: with this the client may begin.
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def claim_on(self, event: RequestHeaders, recorded: Mapping[str, Any] | None) -> Claim | None:
        """The claim on a request. One that can't be looked at is refused: what it is and who sends it is not known."""
        for_proxyauth = None
        try:
            if recorded is None:
                for_proxyauth = take_for_proxyauth(event.request, self.context.client)
            with asked_by(self.client_digest, event.request):
                return self.governor.claiming.claim(event.request, self.context, self.mode, recorded)
        except ValueError as error:
            logger.warning("a request was refused, as its head can't be read (%s)", type(error).__name__)
            answer = self.refused(event.request, 400, "This request is not taken: its head can't be read for certain.")
        except Exception:
            logger.exception("a request could not be looked at; this is a bug")
            answer = self.refused(event.request, 500, FAILED)
        finally:
            if for_proxyauth is not None:
                event.request.headers[for_proxyauth[0]] = for_proxyauth[1]
        return Claim(None, "", take_off(event.request), answer)

    def flaw_of(self, request: bool) -> str:
        """What is wrong with a message; a request that is answered here gets that answer and no other."""
        answered = request and self.claim is not None and self.claim.local is not None
        return "" if answered else super().flaw_of(request)

    def answer_at_headers(self, event: RequestHeaders) -> http.Response | None:
        """The answer for which the body need not be read, None if there is none, or no body."""
        if self.claim is None or event.end_stream or event.replay_flow is not None:
            return None
        if self.claim.local is not None:
            return self.claim.local
        try:
            size = expected_http_body_size(event.request)
        except ValueError:
            return None
        size = max(size or 0, 0)
        if size > self.longest_body:
            return self.too_long(event.request)
        return None if self.streams_by(event.request) else self.without_room(event.request, size)

    def streams_by(self, request: http.Request) -> bool:
        """Whether the request's body is passed on as it comes."""
        return False

    def without_room(self, request: http.Request, size: int) -> http.Response | None:
        """The answer to a request for whose body, which will have so many bytes, there is no room; None if there is."""
        bodies = self.governor.held_bodies
        if bodies.have_room(self, size):
            return None
        with asked_by(self.client_digest, request):
            return no_room(self.dialect, bodies.most)

    @property
    def longest_body(self) -> int:
        """How many bytes the body of a claimed request may have."""
        limits = (self.governor.config.clients.max_body, self.governor.body_size_limit)
        return min(limit for limit in limits if limit is not None)

    def too_long(self, request: http.Request) -> http.Response:
        """The answer to a longer one."""
        with asked_by(self.client_digest, request):
            return too_long(self.dialect, self.longest_body)

    @property
    def dialect(self) -> Dialect | None:
        """The client's, None where that is not known."""
        return self.claim.asked.dialect if self.claim is not None and self.claim.asked is not None else None

    @property
    def client_digest(self) -> str:
        """Who asks, as far as it is known."""
        known = self.claim.client if self.claim is not None else ""
        return known or self.governor.client_at(self.governor.visits.of(self.context.client))

    def refused(self, request: http.Request, status: int, message: str) -> http.Response:
        """The answer to a request that can't be served, as `refusal` makes it."""
        with asked_by(self.client_digest, request):
            return refusal(self.dialect, status, message)

    def refused_by_proxyauth(self) -> http.Response | None:
        """The answer to a request that mitmproxy has turned away, None if it has not."""
        with asked_by(self.client_digest, self.flow.request):
            return refusal_by_proxyauth(self.flow, self.dialect)

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """A flow that is refused says so, and why."""
        response = self.flow.response
        if isinstance(response, RefusalResponse):
            tell_refusal(self.flow, response.told, self.governor.clock.wall())
        yield from super().send_response(already_streamed)

    def answer_early(self, response: http.Response) -> CommandGenerator[None]:
        """Answer while the body is still coming; what is left of it is not wanted."""
        self.request_body_buf.clear()
        # Whatever of it comes while a hook is waited for is dropped.
        self.client_state = self.state_errored
        if not (self.flow.request.is_http2 or self.flow.request.is_http3):
            response.headers["Connection"] = "close"
        self.flow.response = response
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        yield from self.send_response()
        if self.server_state != self.state_done:
            return  # killed
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        if not self.flow.request.is_http3:
            yield SendHttp(RestUnwanted(self.stream_id), self.context.client)
        self.flow.live = False
        yield DropStream(self.stream_id)

    def state_consume_request_body(self, event: events.Event) -> CommandGenerator[None]:
        """Mask the secrets in the body before any addon sees it."""
        if isinstance(event, RequestEndOfMessage) and self.claim is not None and self.claim.asked is not None:
            yield from self.mask(self.claim.asked, self.flow.request)
            self.transform(self.flow.request)
        yield from super().state_consume_request_body(self.without_credentials(event))

    def without_credentials(self, event: events.Event) -> events.Event:
        """The event as it is, trailers without credentials."""
        if not isinstance(event, RequestTrailers):
            return event
        kept = tuple(pair for pair in event.trailers.fields if not is_credential(pair[0]))
        return RequestTrailers(event.stream_id, http.Headers(kept))

    def transform(self, request: http.Request) -> None:
        """Do at once to the whole body what another addon wants done to it while it streams."""
        if not callable(request.stream):
            return
        made: list[bytes] = []
        for data in (bytes(self.request_body_buf), b""):
            chunks = request.stream(data)
            made += [chunks] if isinstance(chunks, bytes) else chunks
        self.request_body_buf.clear()
        self.request_body_buf += b"".join(made)
        if "content-length" in request.headers:
            request.headers["content-length"] = str(len(self.request_body_buf))

    def mask(self, asked: Asked, request: http.Request) -> CommandGenerator[None]:
        """Put masks in the place of the secrets in the body that has come; the wire gets them back."""
        if not self.request_body_buf or "json" not in request.headers.get("content-type", "json").lower():
            return
        come, store = self.request_body_buf, self.governor.signatures
        coding, key = request.headers.get("content-encoding", ""), store.secret if store is not None else b""
        masking = Masking(come, coding, asked.dialect, key, self.longest_body)
        # To put the pieces of a long one together takes time, too.
        if coding or len(come) >= LONG_BODY_BYTES or takes_time(bytes(come)):
            yield AntigravityAwaitHook(asyncio.to_thread(masking.run))
        else:
            masking.run()
        body = masking.body
        if masking.masked is not None:
            body, self.masks = masking.masked, masking.masks
            if coding:
                del request.headers["content-encoding"]
                request.headers["content-length"] = str(len(body))
        elif self.flow.is_replay and is_masked(body):
            logger.warning("the body that is replayed had secrets, which are kept nowhere: upstream gets masks instead")
        # In one piece, so that nobody has to join it again.
        come += body

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:
        """A request that may have to be sent again is never streamed, whatever `stream_large_bodies` says."""
        if self.claim is None:
            is_over = yield from super().check_body_size(request)
            # Who sets one of these wants it as mitmproxy does it.
            if not is_over and not self.context.options.stream_large_bodies and not self.context.options.modify_body:
                yield from self.stream_plain(request, self.governor.config.flows.max_body_bytes)
            return is_over
        if not request:
            return (yield from self.stream_if_long(self.governor.config.limits.answer_bytes))
        size = len(self.request_body_buf)
        too_long = self.too_long(self.flow.request) if size > self.longest_body else None
        if (refused := too_long or self.without_room(self.flow.request, size)) is not None:
            yield from self.answer_early(refused)
            return True
        self.governor.held_bodies.hold(self, size)
        return False

    def stream_plain(self, request: bool, limit: int) -> CommandGenerator[None]:
        """Stream a body of traffic that is not ours, and keep nothing of it, if it is longer than `limit` bytes."""
        message = self.flow.request if request else self.flow.response
        buffer = self.request_body_buf if request else self.response_body_buf
        if message is None or message.stream:
            return
        try:
            response = None if request else self.flow.response
            size = len(buffer) or expected_http_body_size(self.flow.request, response) or 0
        except ValueError:
            return  # mitmproxy judges it
        if size <= limit:
            return
        message.stream = True
        if come := bytes(buffer):
            buffer.clear()
            yield from self.start_request_stream() if request else self.start_response_stream()
            data = RequestData if request else ResponseData
            yield from self.handle_event(data(self.stream_id, come))
