"""The healing layer: mitmproxy's HTTP layer, in which exchanges take the place of plain streams."""

from collections import deque

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpClient, HttpLayer, HttpStream

from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.connections.client_http1 import ClientHttp1
from antigravity_healing.proxy.connections.client_http2 import ClientHttp2
from antigravity_healing.proxy.connections.own_events import PauseResponse, ResumeResponse
from antigravity_healing.proxy.connections.pool import ConnectingLayer
from antigravity_healing.proxy.connections.readers import LOOK_EVERY_S, Readers
from antigravity_healing.proxy.connections.upstream_connection import UpstreamClient, upstream_connection
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    HttpConnection,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
)
from antigravity_healing.proxy.secrets.at_the_wire import at_the_wire, with_cookies, without_secrets
from antigravity_healing.proxy.secrets.seal import Seal
from antigravity_healing.proxy.streams.attempt_stream import (
    AbortAttempt,
    AttemptStream,
    LaunchAttempt,
    Sink,
    attempt_context,
    attempt_flow,
)
from antigravity_healing.proxy.streams.departures import Departures
from antigravity_healing.proxy.streams.healing_stream import ExchangeReady, HealingStream
from antigravity_healing.proxy.streams.passing_stream import SealRequest
from antigravity_healing.proxy.streams.recorder import Recorder


class HealingLayer(ConnectingLayer):
    """mitmproxy's HTTP layer, in which a claimed request becomes an exchange."""

    governor: Governor
    deferred: deque[LaunchAttempt | AbortAttempt]
    exchanges: dict[int, HealingStream]
    attempts: dict[Attempt, AttemptStream]
    seals: dict[int, Seal]
    readers: Readers
    departures: Departures
    look_again: commands.RequestWakeup | None
    leaving: dict[commands.RequestWakeup, AbortAttempt]
    ending: dict[int, HttpStream]
    held: set[Attempt]
    next_attempt_id: int

    @classmethod
    def adopt(cls, plain: HttpLayer, governor: Governor) -> "HealingLayer":
        """Make a plain layer that has not begun yet a healing one."""
        plain.__class__ = cls
        assert isinstance(plain, HealingLayer)
        plain.governor = governor
        plain.deferred = deque()
        plain.exchanges = {}
        plain.attempts = {}
        plain.seals = {}
        plain.readers = Readers()
        plain.departures = Departures()
        plain.look_again = None
        plain.leaving = {}
        plain.ending = {}
        plain.held = set()
        # Negative and never used again: HTTP/2's client layer keeps its map of ids for ever.
        plain.next_attempt_id = -1
        plain.begin_connecting()
        return plain

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """A healing stream for each request."""
        stream = HealingStream(self.context.fork(), stream_id, self.governor)
        self.streams[stream_id] = stream
        self.exchanges[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup):
            # A clock must not blame upstream for a client that has stopped reading meanwhile.
            yield from self.tend()
        if isinstance(event, events.Wakeup) and event.command is self.look_again:
            self.look_again = None
            yield from self.tend()
        elif isinstance(event, events.Wakeup) and event.command in self.leaving:
            self.deferred.append(self.leaving.pop(event.command))
        elif not isinstance(event, events.Wakeup) or event.command in self.command_sources:
            yield from self.connect_ends(event)
            yield from super()._handle_event(event)
        yield from self.settle()
        if (yield from self.tend()) or self.deferred:
            yield from self.settle()

    def connect_ends(self, event: events.Event) -> CommandGenerator[None]:
        """Have our own protocols on connections that mitmproxy would give its own to with this event."""
        client, server = self.context.client, self.context.server
        if isinstance(event, events.Start) and client not in self.connections:
            if (ours := client_connection(self.context.fork(), self.governor)) is not None:
                self.connections[client] = ours
        elif isinstance(event, events.DataReceived) and event.connection == server and server not in self.connections:
            child = upstream_connection(self.context.fork(), self.governor)
            if child is not None:
                self.connections[server] = child
                yield from self.event_to_child(child, events.Start())

    def settle(self) -> CommandGenerator[None]:
        """Everything that one event has set off is done here, at its end.

        So what many small reads brought is looked at once, and no stream is entered while it is running.
        """
        busy = True
        while busy:
            busy = False
            while self.deferred:
                busy = True
                command = self.deferred.popleft()
                yield from self.launch(command) if isinstance(command, LaunchAttempt) else self.abort(command)
            for stream in tuple(self.exchanges.values()):
                if stream.exchange is not None:
                    stream.exchange.read_data()
                    if stream.needs_poke:
                        busy = stream.poked = True
                        yield from self.event_to_child(stream, ExchangeReady())
        self.sweep()
        yield from self.move_line()

    def event_to_child(self, child: layer.Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        """Put credentials on at the wire, and set aside what must not be done while the child is running."""
        if isinstance(event, events.Start):
            for inner in child.context.layers:
                if type(inner) is HttpClient:
                    UpstreamClient.adopt(inner, self.governor)
        event = at_the_wire(event, child, self.seals)
        if isinstance(event, ResponseHeaders) and not isinstance(child, HttpStream):
            owner = self.exchanges.get(event.stream_id)
            event = with_cookies(event, owner.cookies) if owner is not None and owner.cookies else event
        for command in super().event_to_child(child, event):
            if isinstance(command, AbortAttempt) and command.after_s:
                timer = commands.RequestWakeup(command.after_s)
                self.leaving[timer] = command
                yield timer
            elif isinstance(command, LaunchAttempt | AbortAttempt):
                self.deferred.append(command)
            elif isinstance(command, SealRequest):
                self.seals[command.stream_id] = command.seal
            elif isinstance(command, commands.Log):
                yield without_secrets(command, self.seals)
            else:
                yield command
        if isinstance(event, RequestProtocolError) and isinstance(child, HttpStream):
            yield from self.release(child, event.message)

    # The client.

    def tend(self) -> CommandGenerator[bool]:
        """See to what has not left yet, to what the client has left, and to what it does not take.

        Gives whether a clock has begun to run, of which nobody has been told yet.
        """
        begun = bool(self.departures) and self.departures.look(self.governor.clock, self.connections, self.made_for)
        yield from self.tend_client()
        if (self.readers.behind or self.departures) and self.look_again is None:
            unread_s = self.governor.config.limits.unread_seconds
            self.look_again = commands.RequestWakeup(min(LOOK_EVERY_S, unread_s))
            yield self.look_again
        return begun

    def tend_client(self) -> CommandGenerator[None]:
        """See to what the client has left, and to what it does not take."""
        client = self.connections.get(self.context.client)
        if not isinstance(client, HttpConnection):
            return
        for stream in self.readers.left(client, self.streams):
            yield from self.leave(stream)
        limits, now = self.governor.config.limits, self.governor.clock.now()
        streams = {stream_id: stream for stream_id, stream in self.streams.items() if stream_id > 0}
        for stream, behind in self.readers.look(client, streams, limits, now):
            assert isinstance(stream, HealingStream)
            if stream.exchange is not None:
                stream.exchange.client_behind(behind is not None)
            if stream.running and behind is not None and now - behind.since >= limits.unread_seconds:
                yield from self.leave(stream)
                gone = ResponseProtocolError(stream.stream_id, "the client takes no answer", ErrorCode.CANCEL)
                yield from self.event_to_child(client, gone)
            elif stream.exchange is None and (behind is None or behind.held):
                yield from self.hold(stream, behind is not None)
        yield from self.slow_down()

    def leave(self, stream: HttpStream) -> CommandGenerator[None]:
        """Tell a stream that its client is gone."""
        gone = RequestProtocolError(stream.stream_id, "the client has left", ErrorCode.CLIENT_DISCONNECTED)
        yield from self.event_to_child(stream, gone)

    def slow_down(self) -> CommandGenerator[None]:
        """Have upstream wait where the client does not take what has come, or it is still being understood."""
        for attempt, source in tuple(self.attempts.items()):
            behind = self.readers.behind.get(source.client_stream_id)
            on = attempt.incoming.intake.crowded or (behind is not None and behind.held)
            if on != (attempt in self.held) and source.context.server in self.connections:
                self.held ^= {attempt}
                yield from self.hold(source, on)
        self.held &= self.attempts.keys()

    def hold(self, source: HttpStream, on: bool) -> CommandGenerator[None]:
        """Take no more of what upstream sends for a stream, or take it again."""
        if (upstream := self.connections.get(source.context.server)) is not None:
            event = PauseResponse(source.stream_id) if on else ResumeResponse(source.stream_id)
            yield from self.event_to_child(upstream, event)

    # Attempts.

    def launch(self, command: LaunchAttempt) -> CommandGenerator[None]:
        """Start an attempt as a stream of its own."""
        owner = self.exchanges.get(command.stream_id)
        if owner is None or owner.exchange is None or owner.exchange.outcome:
            return
        attempt, stream_id = command.attempt, self.next_attempt_id
        self.next_attempt_id -= 1
        context = attempt_context(self.context, attempt)
        self.forget_failed(context.server)
        flow = attempt_flow(context, owner.flow, attempt)
        recorder = Recorder(self.governor.config.flows.max_body_bytes)
        stream = AttemptStream(context, stream_id, owner.exchange, attempt, command.seal, recorder)
        stream.client_stream_id = command.stream_id
        self.streams[stream_id] = stream
        self.attempts[attempt] = stream
        self.departures.begun(stream)
        self.seals[stream_id] = command.seal
        self.connections[context.client] = Sink(context.fork(), context.client, stream)
        body = attempt.body
        yield from self.event_to_child(stream, events.Start())
        headers = RequestHeaders(stream_id, flow.request, end_stream=not body, replay_flow=flow)
        yield from self.event_to_child(stream, headers)
        if body:
            yield from self.event_to_child(stream, RequestData(stream_id, body))
        yield from self.event_to_child(stream, RequestEndOfMessage(stream_id))

    def abort(self, command: AbortAttempt) -> CommandGenerator[None]:
        """End an attempt: HTTP/1 closes its connection, HTTP/2 resets its stream."""
        stream = self.attempts.get(command.attempt)
        if stream is None or self.streams.get(stream.stream_id) is not stream:
            return
        connection, failure = self.connection_of(stream), command.attempt.failure
        yield from self.event_to_child(stream, RequestProtocolError(stream.stream_id, command.why, ErrorCode.CANCEL))
        if failure is not None and failure.kind is FailureClass.STALLED:
            yield from self.doubt(connection, stream.stream_id)

    def sweep(self) -> None:
        """Forget what is over."""
        for stream_id, asked in (*self.exchanges.items(), *self.ending.items()):
            # One that is killed stays among the streams of its connection.
            if self.streams.get(stream_id) is not asked or asked.server_state == asked.state_errored:
                self.governor.held_bodies.let_go(asked)
        for stream_id, owner in list(self.exchanges.items()):
            gone = self.streams.get(stream_id) is not owner
            if owner.exchange is None:
                if gone:
                    del self.exchanges[stream_id]
                    self.seals.pop(stream_id, None)
            elif owner.exchange.outcome and not owner.exchange.actions and not owner.breaking:
                del self.exchanges[stream_id]
                self.forget_timers(owner)
                self.governor.live.pop(owner.exchange.request.id, None)
                self.ending[stream_id] = owner
        for attempt, stream in list(self.attempts.items()):
            if attempt.ended and not stream.paused:
                del self.attempts[attempt]
                self.streams.pop(stream.stream_id, None)
                self.seals.pop(stream.stream_id, None)
                stream.tell_story()
                self.connections.forget(stream.context.client)
                self.line_moves = True
                let_go(stream)
        for stream_id, over in list(self.ending.items()):
            if self.streams.get(stream_id) is not over:
                del self.ending[stream_id]
                let_go(over)
        self.forget_ended()

    def forget_timers(self, stream: HealingStream) -> None:
        """Let a stream that is over go at once, and not when the last of its clocks would have run out."""
        for command, source in list(self.command_sources.items()):
            if source is stream and isinstance(command, commands.RequestWakeup):
                del self.command_sources[command]


def let_go(stream: HttpStream) -> None:
    """Part a stream that is over from its flow: it stands in circles of references, and so would all that was said."""
    stream.__dict__.pop("flow", None)


def client_connection(context: Context, governor: Governor) -> HttpConnection | None:
    """The HTTP that is spoken with the context's client; None where mitmproxy's own is used, for HTTP/3."""
    alpn = context.client.alpn
    if alpn is not None and alpn.startswith(b"h3"):
        return None
    return ClientHttp2(context, governor) if alpn == b"h2" else ClientHttp1(context, governor)
