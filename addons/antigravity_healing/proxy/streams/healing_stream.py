"""The stream of a client's request, which runs its exchange.

It holds no policy: it tells the exchange what happens and does what the exchange asks.
"""

import logging
import math
from dataclasses import replace

from mitmproxy import flow as flows
from mitmproxy import http
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import DropStream

from antigravity_healing.policy.exchange.actions import Abort, Finish, Leave, Respond, Send, Start, Work
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.exchange.timing import LINGER_S
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.proxy.connections.own_events import ResetResponse
from antigravity_healing.proxy.guarding.refusals import asked_for
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    HttpErrorHook,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from antigravity_healing.proxy.internals.paused import queued_in
from antigravity_healing.proxy.secrets.credentials import CredentialError
from antigravity_healing.proxy.secrets.seal import Seal, take_cookies
from antigravity_healing.proxy.streams.attempt_stream import AbortAttempt, LaunchAttempt
from antigravity_healing.proxy.streams.flow_story import METADATA, tell
from antigravity_healing.proxy.streams.incoming_stream import FAILED
from antigravity_healing.proxy.streams.own_hooks import (
    AntigravityCredentialHook,
    AntigravityUnderstandHook,
    CredentialRequest,
    UnderstandRequest,
)
from antigravity_healing.proxy.streams.passing_stream import PassingStream
from antigravity_healing.proxy.streams.recorder import Recorder
from antigravity_healing.wire.http.headers import Headers, lowered

logger = logging.getLogger(__name__)

# mitmproxy can't take a wakeup back: a longer wait is made of short ones, so that none outlives its exchange for long.
LONGEST_WAKEUP_S = 5.0
_MARKS = {"healed": ":adhesive_bandage:", "failed": ":x:"}


class ExchangeReady(events.Event):
    """The exchange has something to do, or its next deadline has changed."""


class HealingStream(PassingStream):
    """A client's request. One that is not claimed is treated as in plain mitmproxy."""

    exchange: Exchange | None = None
    poked = False
    timer: commands.RequestWakeup | None = None
    timer_at = 0.0
    broken: Finish | None = None
    fetching: tuple[AntigravityCredentialHook, Attempt] | None = None
    """The attempt that waits for its credential, and what fetches it."""

    @property
    def running(self) -> bool:
        """Whether an exchange is under way here."""
        return self.exchange is not None and not self.exchange.outcome

    @property
    def breaking(self) -> bool:
        """Whether the answer has been told to have failed, and its connection is about to be broken."""
        return self.broken is not None and self.server_state not in (self.state_done, self.state_errored)

    def in_hook(self, on: bool) -> None:
        """No clock of the exchange runs meanwhile."""
        if self.exchange is not None:
            self.exchange.held_by_hook(None, on)

    @property
    def needs_poke(self) -> bool:
        """Whether the exchange has something to do that nobody has told this stream of yet."""
        if self.exchange is None or self.poked:
            return False
        if self.exchange.actions or (self.exchange.crashed and not self.exchange.outcome):
            return True
        deadline = self.exchange.deadline
        return deadline is not None and (self.timer is None or deadline < self.timer_at)

    @property
    def client_has_left(self) -> bool:
        """Whether the client left while something was being waited for, and nobody has been told yet."""
        return any(isinstance(event, RequestProtocolError) for event in queued_in(self))

    def handle(self, event: events.Event) -> CommandGenerator[None]:
        """Handle an event; a bug in what handles an exchange ends that exchange and nothing else."""
        try:
            if isinstance(event, ExchangeReady):
                self.poked = False
                yield from self.perform()
            elif isinstance(event, events.Wakeup):
                yield from self.wake(event)
            elif isinstance(event, events.HookCompleted) and isinstance(event.command, AntigravityCredentialHook):
                yield from self.fetched(event.command)
            else:
                yield from super().handle(event)
        except Exception:
            if self.exchange is None:
                raise
            logger.exception("an exchange failed inside the proxy; this is a bug")
            yield from self.abandon()

    def leave_upstream(self) -> CommandGenerator[None]:
        """End the exchange without an answer: all that is still done is to abort what runs."""
        assert self.exchange is not None
        self.exchange.client_left()
        while self.exchange.actions:
            action = self.exchange.actions.popleft()
            if isinstance(action, Abort | Leave):
                yield AbortAttempt(action.attempt, action.why)
            elif isinstance(action, Work):
                yield from self.work(action)

    def abandon(self) -> CommandGenerator[None]:
        """The last resort: end the exchange and break the client's connection rather than leave it hanging."""
        assert self.exchange is not None
        yield from self.leave_upstream()
        if self.server_state == self.state_wait_for_response_headers:
            asked = self.exchange.request
            with asked_for(asked.model, asked.route.model):
                answer = self.refused(self.flow.request, 500, FAILED)
            yield from self.answer_with(answer)
            return
        failed = ResponseProtocolError(self.stream_id, "internal error of the proxy", ErrorCode.GENERIC_SERVER_ERROR)
        yield from super().handle_protocol_error(failed)

    def make_server_connection(self) -> CommandGenerator[bool]:
        """Begin the exchange in place of the one connection that a plain stream makes."""
        if self.claim is None or self.claim.asked is None:
            return (yield from super().make_server_connection())
        if self.claim.asked.operation.kind == "other":
            found = yield from self.find_passing(self.claim)
            if isinstance(found, Exchange):
                yield from self.begin(found)
            return isinstance(found, Account) and (yield from self.pass_on(found, self.claim, self.claim.asked))
        claim, request = self.claim, self.flow.request
        understood = UnderstandRequest(lambda: self.governor.maker.exchange(claim, request))
        if (yield from self.understand(understood, at_once="content-encoding" not in request.headers)):
            return False
        if understood.found is None:
            logger.error("a request could not be understood; this is a bug", exc_info=understood.failure)
            return (yield from self.pass_unseen(self.claim, self.claim.asked))
        yield from self.begin(understood.found)
        return False

    def begin(self, exchange: Exchange) -> CommandGenerator[None]:
        """Begin the exchange that this request has become, if there is room for its body as it reads."""
        request = self.flow.request
        size = max(len(request.raw_content or b""), len(exchange.request.body))
        if (refused := self.without_room(request, size)) is not None:
            yield from self.answer_with(refused)
            return
        self.governor.held_bodies.hold(self, size)
        self.exchange = exchange
        # Where one account after the other is asked it is not known before that this is one.
        self.hooks_in_place = not self.replayed
        self.flow.metadata[METADATA] = exchange.meta
        self.governor.live[exchange.request.id] = exchange
        exchange.start()
        yield from self.perform()

    # What the exchange asks for.

    def perform(self) -> CommandGenerator[None]:
        """Do all that the exchange asks for, then see to its next deadline."""
        exchange = self.exchange
        assert exchange is not None
        if exchange.crashed and not exchange.outcome:
            yield from self.abandon()
            return
        while exchange.actions:
            action = exchange.actions.popleft()
            match action:
                case Abort():
                    yield AbortAttempt(action.attempt, action.why)
                case Leave():
                    yield AbortAttempt(action.attempt, action.why, LINGER_S)
                case _ if self.client_state == self.state_errored or self.server_state == self.state_errored:
                    pass  # killed by a person or another addon: nothing more goes to this client
                case Work():
                    yield from self.work(action)
                case Start():
                    yield from self.launch(action.attempt)
                case Respond():
                    yield from self.begin_answer(action.status, action.headers, streams=action.streams)
                case Send():
                    yield from self.server_state(ResponseData(self.stream_id, action.data))
                case Finish():
                    yield from self.finish(action)
            if self.server_state == self.state_errored:
                exchange.client_left()
        if exchange.outcome:
            for attempt in exchange.attempts:
                attempt.forget()
        yield from self.arm()

    def work(self, action: Work) -> CommandGenerator[None]:
        """Do what takes time beside the event loop, and tell the exchange what came of it."""
        assert self.exchange is not None
        request = UnderstandRequest(action.work)
        yield AntigravityUnderstandHook(request)
        self.exchange.worked(action, request.found, request.failure)

    def launch(self, attempt: Attempt) -> CommandGenerator[None]:
        """Send an attempt upstream, as soon as its credential is there."""
        assert self.exchange is not None
        assert self.claim is not None
        refused = self.refused_before(attempt)
        try:
            seal = self.governor.attempt_credentials.seal_of(attempt.account, self.claim, refused=refused)
        except CredentialError as error:
            self.exchange.no_credential(attempt, str(error), lasting=error.lasting)
            return
        if seal is not None:
            yield from self.send_with(attempt, seal)
            return
        assert attempt.account.source is not None
        hook = AntigravityCredentialHook(
            CredentialRequest(attempt.account.source, attempt.account.upstream.dialect, refused)
        )
        # Its completion comes here, and all else goes on meanwhile: signs of life, a client that leaves.
        hook.blocking = self  # type: ignore[assignment]
        self.fetching = hook, attempt
        yield hook

    def fetched(self, hook: AntigravityCredentialHook) -> CommandGenerator[None]:
        """A credential has been fetched, or could not be."""
        assert self.exchange is not None
        if self.fetching is None or self.fetching[0] is not hook:
            return
        _, attempt = self.fetching
        self.fetching = None
        if attempt.ended or not self.running:
            return
        if hook.request.seal is None:
            self.exchange.no_credential(attempt, hook.request.error, lasting=hook.request.lasting)
        else:
            yield from self.send_with(attempt, hook.request.seal)
        yield from self.perform()

    def send_with(self, attempt: Attempt, seal: Seal) -> CommandGenerator[None]:
        """Send an attempt upstream with its credential."""
        attempt.redactor = seal = replace(seal, body=self.masks)
        yield LaunchAttempt(self.stream_id, attempt, seal)

    def refused_before(self, attempt: Attempt) -> Seal | None:
        """What an attempt that is to have a new credential must not carry again."""
        assert self.exchange is not None
        before = (each for each in reversed(self.exchange.attempts) if each is not attempt)
        refused = next((each.redactor for each in before if attempt.renew and each.account is attempt.account), None)
        return refused if isinstance(refused, Seal) else None

    def begin_answer(self, status: int, headers: Headers, *, streams: bool) -> CommandGenerator[None]:
        """Send the answer's headers; what streams is kept for the flow up to a limit."""
        version = self.flow.request.data.http_version
        if self.flow.request.is_http2 or self.flow.request.is_http3:
            headers = lowered(headers)
        kept, self.cookies = take_cookies(http.Headers(headers))
        response = http.Response(
            http_version=version,
            status_code=status,
            reason=status_codes.RESPONSES.get(status, "").encode(),
            headers=kept,
            content=None,
            trailers=None,
            timestamp_start=self.governor.clock.wall(),
            timestamp_end=None,
        )
        if streams:
            response.stream = True
            self.recorder = Recorder(self.governor.config.flows.max_body_bytes)
            if version == b"HTTP/1.1":
                response.headers["Transfer-Encoding"] = "chunked"
        yield from self.state_wait_for_response_headers(ResponseHeaders(self.stream_id, response, False))

    def finish(self, action: Finish) -> CommandGenerator[None]:
        """Complete the answer, and let the flow tell its story."""
        assert self.exchange is not None
        assert self.flow.response
        self.tell_story()
        self.keep_body()
        if self.server_state == self.state_consume_response_body:
            self.flow.response.headers.pop("Transfer-Encoding", None)
            name = "Content-Length" if self.flow.request.http_version.startswith("HTTP/1") else "content-length"
            self.flow.response.headers[name] = str(len(self.response_body_buf))
        if action.broken and action.pause_s:
            self.broken, self.timer = action, commands.RequestWakeup(action.pause_s)
            yield self.timer
        elif action.broken:
            yield from self.break_off(action)
        else:
            yield from self.server_state(ResponseEndOfMessage(self.stream_id))

    def break_off(self, action: Finish) -> CommandGenerator[None]:
        """Break the client's connection, or reset its stream."""
        kind = ResetResponse if action.reset else ResponseProtocolError
        failed = kind(self.stream_id, action.broken, ErrorCode.GENERIC_SERVER_ERROR)
        yield from super().handle_protocol_error(failed)

    def keep_body(self) -> None:
        """Put what has streamed by into the client's flow, as far as it has been kept."""
        if self.exchange is None:
            super().keep_body()
        elif self.recorder is not None and self.flow.response is not None:
            self.flow.response.data.content = self.recorder.take_body()
            if self.recorder.truncated:
                self.exchange.meta["body_truncated"] = True
            self.recorder = None

    def tell_story(self) -> None:
        """Put the exchange's story on the client's flow."""
        if self.exchange is not None and self.exchange.outcome:
            tell(self.flow, self.exchange.comment, _MARKS.get(self.exchange.outcome, ""))

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        """The client left: upstream is left too, at once."""
        if self.exchange is None:
            yield from super().handle_protocol_error(event)
            return
        yield from self.leave_upstream()
        if self.server_state not in (self.state_done, self.state_errored):
            self.tell_story()
            self.keep_body()
            self.flow.error = flows.Error(event.message)
            yield HttpErrorHook(self.flow)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored
        yield DropStream(self.stream_id)

    # Time.

    def arm(self) -> CommandGenerator[None]:
        """Ask to be woken at the exchange's next deadline."""
        assert self.exchange is not None
        if not self.running or self.client_has_left:
            return
        # Always: it is also how the end of the proxy is heard of.
        deadline = self.exchange.deadline or math.inf
        if self.timer is not None and self.timer_at <= deadline:
            return
        now = self.governor.clock.now()
        self.timer_at = min(deadline, now + LONGEST_WAKEUP_S)
        self.timer = commands.RequestWakeup(max(0.0, self.timer_at - now))
        yield self.timer

    def wake(self, event: events.Wakeup) -> CommandGenerator[None]:
        """A timer ran out; one that is no longer waited for says nothing."""
        if event.command is not self.timer:
            return
        self.timer = None
        if self.running:
            assert self.exchange is not None
            self.exchange.shut_down() if self.governor.under_way.ending_now else self.exchange.wakeup()
            yield from self.perform()
        elif self.breaking and self.broken is not None:
            yield from self.break_off(self.broken)
