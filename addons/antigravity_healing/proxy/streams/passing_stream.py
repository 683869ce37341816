"""The stream of a client's request that passes, with an account's credential and without healing."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.net.http import url
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpStream, SendHttp
from mitmproxy.proxy.mode_specs import UpstreamMode
from mitmproxy.utils import human

from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.exchange.placing import path_at
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import takes_time
from antigravity_healing.proxy.claiming.claims import Asked, Claim
from antigravity_healing.proxy.claiming.passing_requests import is_upload, learn, passing_of
from antigravity_healing.proxy.guarding.refusals import RefusedError
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from antigravity_healing.proxy.secrets.credentials import CredentialError
from antigravity_healing.proxy.secrets.seal import Seal
from antigravity_healing.proxy.streams.attempt_stream import host_header
from antigravity_healing.proxy.streams.incoming_stream import FAILED, IncomingStream
from antigravity_healing.proxy.streams.own_hooks import (
    AntigravityCredentialHook,
    AntigravityUnderstandHook,
    CredentialRequest,
    UnderstandRequest,
)
from antigravity_healing.proxy.streams.recorder import Recorder
from antigravity_healing.wire.vertex import PAYING_PROJECT

logger = logging.getLogger(__name__)


@dataclass
class SealRequest(commands.Command):
    """Put these credentials on this stream's request at the wire."""

    stream_id: int
    seal: Seal


class PassingStream(IncomingStream):
    """A client's request. One that is claimed and not healed passes with the credential of one account."""

    passed_to: Account | None = None
    """The account with whose credential a request passes that is not healed."""
    recorder: Recorder | None = None
    """Keeps what streams to the client."""
    _sent_bytes = 0

    @property
    def passes(self) -> bool:
        """Whether this is a request of the APIs that is not healed."""
        return self.claim is not None and self.claim.asked is not None and self.claim.asked.operation.kind == "other"

    @property
    def wants_whole(self) -> bool:
        """Whether an option is set that acts on whole messages: then they are taken whole, as in mitmproxy."""
        options = self.context.options
        # Not all of mitmproxy's tools can intercept.
        found = (options.modify_body, options.server_replay, options.map_remote, getattr(options, "intercept", None))
        return any(found)

    # The request.

    def prepare(self, event: RequestHeaders) -> None:
        """Have a file streamed to where it is kept, as it comes."""
        if self.streams_by(event.request):
            event.request.stream = not event.end_stream

    def streams_by(self, request: http.Request) -> bool:
        """Whether it is a file that is passed on as it comes."""
        return self.is_upload(request) and not self.replayed and not self.wants_whole

    def is_upload(self, request: http.Request) -> bool:
        """Whether it is a file that is passed on."""
        if self.claim is None or self.claim.local is not None or self.answered_early:
            return False
        return self.passes and is_upload(self.claim, request)

    def start_request_stream(self) -> CommandGenerator[None]:
        """Only a file streams. All else may have to be sent again, or read to know where to, whoever streams it."""
        if self.claim is None:
            yield from super().start_request_stream()
            return
        found = None
        if self.flow.response is None and self.is_upload(self.flow.request):
            found = yield from self.find_passing(self.claim)
        if isinstance(found, Account):
            if callable(self.flow.request.stream) and "content-length" in self.flow.request.headers:
                del self.flow.request.headers["content-length"]
                self.flow.request.headers["Transfer-Encoding"] = "chunked"
            yield from super().start_request_stream()
        elif self.server_state != self.state_done:
            self.client_state = self.state_consume_request_body

    def state_stream_request_body(self, event: events.Event) -> CommandGenerator[None]:
        """Pass a file on, up to the length that is taken."""
        if self.claim is not None and isinstance(event, RequestData):
            self._sent_bytes += len(event.data)
            if self._sent_bytes > self.longest_body:
                yield from self.stop_upload()
                return
        yield from super().state_stream_request_body(self.without_credentials(event))

    def stop_upload(self) -> CommandGenerator[None]:
        """The file is too long: neither upstream nor the client is to wait for the rest."""
        gone = RequestProtocolError(self.stream_id, "the request body is too long", ErrorCode.CANCEL)
        if self.server_state != self.state_wait_for_response_headers:
            yield from self.handle_protocol_error(gone)
            return
        yield SendHttp(gone, self.context.server)
        yield from self.answer_early(self.too_long(self.flow.request))

    def understand(self, asked: UnderstandRequest[Any], *, at_once: bool = True) -> CommandGenerator[bool]:
        """Understand the request, beside the event loop where that may take time; gives whether it was refused.

        at_once: whether it takes none if it is short.
        """
        if at_once and not takes_time(self.flow.request.raw_content or b""):
            asked.run()
        else:
            yield AntigravityUnderstandHook(asked)
        if not isinstance(asked.failure, RefusedError):
            return False
        yield from self.answer_with(asked.failure.response)
        return True

    def pass_unseen(self, claim: Claim, asked: Asked) -> CommandGenerator[bool]:
        """Let a request through as plain mitmproxy does, if it has a destination and there is no account for it."""
        if asked.target.kind == "proxy" or self.governor.eligibility.has_accounts(asked.target):
            yield from self.answer_with(self.refused(self.flow.request, 500, FAILED))
            return False
        self.own = True
        yield from self.pass_with(claim.seal)
        return (yield from super().make_server_connection())

    def find_passing(self, claim: Claim) -> CommandGenerator[Account | Exchange | None]:
        """A generator that gives what `passing_of` does, or None where the request has been refused."""
        request = self.flow.request
        passing = UnderstandRequest(lambda: passing_of(self.governor, claim, request))
        if (yield from self.understand(passing)):
            return None
        if passing.found is None:
            logger.error("a request could not be understood; this is a bug", exc_info=passing.failure)
            yield from self.answer_with(self.refused(self.flow.request, 500, FAILED))
        return passing.found

    def pass_on(self, account: Account, claim: Claim, asked: Asked) -> CommandGenerator[bool]:
        """Connect to the upstream of this account, with its credential; a generator that gives whether that worked."""
        request, upstream = self.flow.request, account.upstream
        seal = yield from self.seal_for(account, claim)
        if isinstance(seal, str):
            message = f"No credential for account {account.name}: {seal}"
            yield from self.answer_with(self.refused(request, 401, message))
            return False
        host = host_header(self.context, self.flow, upstream)
        request.host, request.port, request.scheme = upstream.host, upstream.port, upstream.scheme
        request.host_header = host
        path = upstream.whole(path_at(account, asked.dialect, asked.path))
        request.path = path + (f"?{claim.query}" if claim.query else "")
        if account.source is not None:
            request.headers.pop(PAYING_PROJECT, None)
        _goes_elsewhere(self.flow)
        self.own = account.source is None
        self.passed_to = account
        yield from self.pass_with(seal)
        return (yield from super().make_server_connection())

    def pass_with(self, seal: Seal) -> CommandGenerator[None]:
        """Let the request pass with these credentials, asking for a plain answer, which can be searched for them."""
        request = self.flow.request
        request.headers["accept-encoding" if request.is_http2 or request.is_http3 else "Accept-Encoding"] = "identity"
        self.passing = replace(seal, body=self.masks)
        yield SealRequest(self.stream_id, self.passing)

    def answer_with(self, response: http.Response) -> CommandGenerator[None]:
        """Answer the request by ourselves."""
        if self.client_state != self.state_done:
            yield from self.answer_early(response)
            return
        content = response.raw_content or b""
        yield from self.state_wait_for_response_headers(ResponseHeaders(self.stream_id, response, not content))
        if content:
            yield from self.server_state(ResponseData(self.stream_id, content))
        yield from self.server_state(ResponseEndOfMessage(self.stream_id))

    def seal_for(self, account: Account, claim: Claim) -> CommandGenerator[Seal | str]:
        """A generator that gives the account's seal, or says why there is none; not at once, as nobody else has one."""
        try:
            seal = self.governor.attempt_credentials.seal_of(account, claim)
        except CredentialError:
            seal = None
        if seal is not None:
            return seal
        assert account.source is not None
        request = CredentialRequest(account.source, account.upstream.dialect, None, patient=True)
        yield AntigravityCredentialHook(request)
        return request.seal or request.error

    # The answer.

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        """A client that has got nothing of an answer which fails is told so as its API would tell it."""
        if isinstance(event, RequestProtocolError) or not self.can_be_told:
            yield from super().handle_protocol_error(event)
            return
        yield from self.answer_with(self.failed(event.message, event.code))

    def check_invalid(self, request: bool) -> CommandGenerator[bool]:
        """So is one whose answer has a head that is none."""
        response = self.flow.response
        if request or response is None or not self.can_be_told:
            return (yield from super().check_invalid(request))
        flaw = self.flaw_of(False)
        if not flaw and self.context.options.validate_inbound_headers:
            try:
                validate_headers(response)
            except ValueError as error:
                flaw = str(error)
        if flaw:
            yield commands.CloseConnection(self.flow.server_conn)
            yield from self.answer_with(self.failed(flaw, ErrorCode.RESPONSE_VALIDATION_FAILED))
        return bool(flaw)

    @property
    def can_be_told(self) -> bool:
        """Whether the client of a request that passes can still get another answer than upstream's."""
        waits = (self.state_uninitialized, self.state_wait_for_response_headers, self.state_consume_response_body)
        is_over = self.client_state == self.state_errored or self.flow.error is not None
        return self.passing is not None and not is_over and self.server_state in waits

    def failed(self, why: str, code: ErrorCode) -> http.Response:
        """The answer to a request whose own has failed, of which nothing is kept. why: in mitmproxy's words."""
        request, begun = self.flow.request, self.flow.response is not None
        where = url.hostport(request.scheme, request.host, request.port)
        if code is ErrorCode.CONNECT_FAILED:
            told = f"Could not connect to {where}"
        elif code is ErrorCode.RESPONSE_VALIDATION_FAILED:
            told = f"{where} sent what can't be passed on"
        else:
            told = f"{where} broke off {'in the middle of its answer' if begun else 'before it answered'}"
        self.response_body_buf.clear()
        self.flow.response = None
        self.server_state = self.state_wait_for_response_headers
        assert self.passing is not None
        return self.refused(request, 502, f"{told}: {self.passing.redact_text(why)}")

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:
        """What passes streams, but for JSON whose length is told: hooks and people get that whole."""
        if request or self.passing is None or self.flow.response is None:
            return (yield from super().check_body_size(request))
        options, response = self.context.options, self.flow.response
        size = self.size_of_answer(response)
        if (most := self.governor.body_size_limit) is not None and (size or 0) > most:
            return (yield from HttpStream.check_body_size(self, request))
        limits = [self.governor.config.limits.answer_bytes, human.parse_size(options.stream_large_bodies)]
        if not self.wants_whole:
            limits.append(self.governor.config.flows.max_body_bytes)
            is_json = response.headers.get("content-type", "").lower().startswith("application/json")
            response.stream = response.stream or size is None or not is_json
        return (yield from self.stream_if_long(min(limit for limit in limits if limit is not None)))

    def size_of_answer(self, response: http.Response) -> int | None:
        """How many bytes its body has, or has at least; None where that is not told."""
        if come := len(self.response_body_buf):
            return come
        try:
            size = expected_http_body_size(self.flow.request, response)
        except ValueError:
            return None
        return size if size is not None and size >= 0 else None

    def start_response_stream(self) -> CommandGenerator[None]:
        """Whoever has an answer of ours streamed: it is kept as it goes, and its end is told."""
        if self.claim is not None and self.flow.response is not None:
            if self.recorder is None:
                self.recorder = Recorder(self.governor.config.flows.max_body_bytes)
            tell_end(self.flow.request, self.flow.response)
        yield from super().start_response_stream()

    def state_stream_response_body(self, event: events.Event) -> CommandGenerator[None]:
        """Keep what streams by."""
        if self.recorder is not None and isinstance(event, ResponseData):
            self.recorder.keep(event.data)
        elif isinstance(event, ResponseEndOfMessage):
            self.keep_body()
        yield from super().state_stream_response_body(event)

    def keep_body(self) -> None:
        """Put what has streamed by into the client's flow; of what passes, all or nothing."""
        if self.recorder is not None and self.flow.response is not None and not self.recorder.truncated:
            self.flow.response.data.content = self.recorder.take_body()

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """What passes may tell what lies with its account from now on."""
        if self.passed_to is not None and self.claim is not None and self.flow.response is not None:
            learn(self.governor, self.claim, self.passed_to, self.flow.response)
        yield from super().send_response(already_streamed)


def tell_end(request: http.Request, response: http.Response) -> None:
    """Have an answer that streams say where it ends: in chunks, where it does not know its length before."""
    headers = response.headers
    if callable(response.stream):
        headers.pop("content-length", None)
    told = "content-length" in headers or "transfer-encoding" in headers
    bodiless = response.status_code in (204, 304) or response.status_code < 200
    if not (told or bodiless) and request.http_version == "HTTP/1.1" and response.http_version != "HTTP/1.0":
        headers["Transfer-Encoding"] = "chunked"


def _goes_elsewhere(flow: http.HTTPFlow) -> None:
    """The request has got another destination: `map_remote` and `upstream_auth` are for that one.

    The credential for an upstream proxy is to be where that reads it, and not behind a tunnel through it.
    """
    if isinstance(flow.client_conn.proxy_mode, UpstreamMode):
        flow.request.headers.pop("proxy-authorization", None)
        upstream_auth: Any = ctx.master.addons.get("upstreamauth")
        upstream_auth.requestheaders(flow)
    map_remote: Any = ctx.master.addons.get("mapremote")
    if ctx.options.map_remote:
        map_remote.request(flow)
