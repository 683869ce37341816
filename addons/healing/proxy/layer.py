"""The healing layer: mitmproxy's HTTP layer, in which exchanges take the place of plain streams."""

from collections import deque

from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import GetHttpConnection, HttpLayer, HttpStream
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseHeaders,
)

from healing.policy.attempt import Attempt
from healing.proxy.attempts import AbortAttempt, AttemptStream, LaunchAttempt, Sink, attempt_context, attempt_flow
from healing.proxy.governor import Governor
from healing.proxy.recorder import Recorder
from healing.proxy.redacting import at_the_wire, with_cookies, without_secrets
from healing.proxy.seal import Seal
from healing.proxy.stream import ExchangeReady, HealingStream, SealRequest


class HealingLayer(HttpLayer):
    """mitmproxy's HTTP layer, in which a claimed request becomes an exchange."""

    governor: Governor
    deferred: deque[LaunchAttempt | AbortAttempt]
    exchanges: dict[int, HealingStream]
    attempts: dict[Attempt, AttemptStream]
    seals: dict[int, Seal]
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
        # Negative and never used again: HTTP/2's client layer keeps its map of ids for ever.
        plain.next_attempt_id = -1
        return plain

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """A healing stream for each request."""
        stream = HealingStream(self.context.fork(), stream_id, self.governor)
        self.streams[stream_id] = stream
        self.exchanges[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        yield from super()._handle_event(event)
        yield from self.settle()

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
                    stream.exchange.settle()
                    if stream.needs_poke:
                        busy = stream.poked = True
                        yield from self.event_to_child(stream, ExchangeReady())
        self.sweep()

    def event_to_child(self, child: layer.Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        """Put credentials on at the wire, and set aside what must not be done while the child is running."""
        event = at_the_wire(event, child, self.seals)
        if isinstance(event, ResponseHeaders) and not isinstance(child, HttpStream):
            owner = self.exchanges.get(event.stream_id)
            event = with_cookies(event, owner.cookies) if owner is not None and owner.cookies else event
        for command in super().event_to_child(child, event):
            if isinstance(command, LaunchAttempt | AbortAttempt):
                self.deferred.append(command)
            elif isinstance(command, SealRequest):
                self.seals[command.stream_id] = command.seal
            elif isinstance(command, commands.Log):
                yield without_secrets(command, self.seals)
            else:
                yield command

    def launch(self, command: LaunchAttempt) -> CommandGenerator[None]:
        """Start an attempt as a stream of its own."""
        owner = self.exchanges.get(command.stream_id)
        if owner is None or owner.exchange is None or owner.exchange.outcome:
            return
        attempt, stream_id = command.attempt, self.next_attempt_id
        self.next_attempt_id -= 1
        context = attempt_context(self.context, attempt)
        self.forget_failed_connections(context.server)
        flow = attempt_flow(context, owner.flow, attempt)
        recorder = Recorder(self.governor.config.flows.max_body_bytes)
        stream = AttemptStream(context, stream_id, owner.exchange, attempt, command.seal, recorder)
        self.streams[stream_id] = stream
        self.attempts[attempt] = stream
        self.seals[stream_id] = command.seal
        self.connections[context.client] = Sink(context.fork(), context.client, stream)
        body = attempt.body
        yield from self.event_to_child(stream, events.Start())
        headers = RequestHeaders(stream_id, flow.request, end_stream=not body, replay_flow=flow)
        yield from self.event_to_child(stream, headers)
        if body:
            yield from self.event_to_child(stream, RequestData(stream_id, body))
        yield from self.event_to_child(stream, RequestEndOfMessage(stream_id))

    def forget_failed_connections(self, server: Server) -> None:
        """mitmproxy never tries an address again that refused once on this client connection: a retry must."""
        for connection in list(self.connections):
            if isinstance(connection, Server) and connection.error and connection.address == server.address:
                del self.connections[connection]
        if self.context.server.address == server.address:
            self.context.server.error = None

    def abort(self, command: AbortAttempt) -> CommandGenerator[None]:
        """End an attempt: HTTP/1 closes its connection, HTTP/2 resets its stream."""
        stream = self.attempts.get(command.attempt)
        if stream is None or self.streams.get(stream.stream_id) is not stream:
            return
        waited = stream.waits_for
        yield from self.event_to_child(stream, RequestProtocolError(stream.stream_id, command.why, ErrorCode.CANCEL))
        if isinstance(waited, GetHttpConnection):
            for connection, waiting in list(self.waiting_for_establishment.items()):
                if waiting == [waited]:
                    yield commands.CloseConnection(connection)

    def sweep(self) -> None:
        """Forget what is over."""
        for stream_id, owner in list(self.exchanges.items()):
            gone = self.streams.get(stream_id) is not owner
            if owner.exchange is None:
                if gone:
                    del self.exchanges[stream_id]
                    self.seals.pop(stream_id, None)
            elif owner.exchange.outcome and not owner.exchange.actions:
                del self.exchanges[stream_id]
                self.governor.running -= 1
        for attempt, stream in list(self.attempts.items()):
            if attempt.ended and not stream.paused:
                del self.attempts[attempt]
                self.streams.pop(stream.stream_id, None)
                self.seals.pop(stream.stream_id, None)
                self.connections.pop(stream.context.client, None)
