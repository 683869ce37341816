"""The pool of connections: which one a request gets, and what becomes of connections that are given up, left, or over.

mitmproxy keeps whatever it once connected to, or began to, for as long as the client stays, and has everything wait
for that. Here nobody waits behind a request that is over, nothing is sent where an answer failed to come, and what is
closed is forgotten.
"""

from abc import abstractmethod
from collections.abc import Iterator
from weakref import WeakSet

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import GetHttpConnection, GetHttpConnectionCompleted, HttpLayer, HttpStream

from antigravity_healing.proxy.connections.liveness import DoubtConnection
from antigravity_healing.proxy.connections.upstream_connection import FitConnection, protocol_of
from antigravity_healing.proxy.connections.upstream_http2 import UpstreamHttp2
from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    HttpConnection,
    ReceiveHttp,
    RequestHeaders,
    ResponseProtocolError,
)
from antigravity_healing.proxy.internals.paused import paused_by


class Gone(HttpConnection):
    """Stands for a connection that is over: what still comes from it or for it is of no use, a request is told so."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, RequestHeaders):
            why = "the connection has been closed"
            yield ReceiveHttp(ResponseProtocolError(event.stream_id, why, ErrorCode.GENERIC_SERVER_ERROR))


class Connections(dict[Connection, layer.Layer]):
    """What runs on each connection. One that has been forgotten is known to be gone, as long as anybody has it."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._over: WeakSet[Connection] = WeakSet()

    def __missing__(self, connection: Connection) -> layer.Layer:
        if connection not in self._over:
            raise KeyError(connection)
        return Gone(self._context.fork(), connection)

    def is_over(self, connection: Connection) -> bool:
        """Whether a connection has been forgotten."""
        return connection in self._over

    def forget(self, connection: Connection) -> None:
        """A connection is over."""
        if self.pop(connection, None) is not None:
            self._over.add(connection)

    def of(self, stack: layer.Layer) -> list[Connection]:
        """The connections on which this runs: that of a tunnel, too, which another leads through."""
        return [connection for connection, each in self.items() if each is stack]


class LimitedStream(HttpStream):
    """A stream to an upstream that may have only so many connections at once."""

    @property
    @abstractmethod
    def most_connections(self) -> int:
        """How many connections to its upstream there may be."""


class ConnectingLayer(HttpLayer):
    """mitmproxy's HTTP layer, which gives its streams no connection that is of no use to them.

    in_line: the streams that wait until their upstream may have one more connection, first come, first served.
    left: the connections on which an answer failed to come: what is under way there goes on, nothing new is begun.
    ended: those whose end has come; they are forgotten when we have closed our side, too.
    line_moves: whether there may be room for one that waits.
    """

    connections: Connections
    in_line: dict[FitConnection, LimitedStream]
    left: WeakSet[Server]
    ended: set[Connection]
    line_moves: bool

    def begin_connecting(self) -> None:
        """Take one's own attributes. To be called before anything has happened."""
        known, self.connections = self.connections, Connections(self.context)
        self.connections.update(known)
        self.in_line = {}
        self.left = WeakSet()
        self.ended = set()
        self.line_moves = False

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.CommandCompleted) and event.command not in self.command_sources:
            return  # of what has been given up meanwhile
        if isinstance(event, events.MessageInjected) and self.connections.is_over(event.flow.server_conn):
            return
        yield from super()._handle_event(event)
        if isinstance(event, events.ConnectionClosed):
            self.ended.add(event.connection)

    # Getting one.

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> CommandGenerator[None]:
        """Find or make a connection, never one on which anything is owed; a place in the line where there are enough.

        Nobody may wait any more: then nothing is done.
        """
        stream = self.command_sources.get(event)
        if stream is None:
            return
        event = FitConnection.adopt(event, self._unfit())
        if isinstance(stream, LimitedStream):
            others_wait = any(each.leads_where(event) for each in self.in_line)
            if others_wait or self._is_full(event, stream, reuse=reuse):
                self.in_line[event] = stream
                return
        yield from super().get_connection(event, reuse=reuse)

    def move_line(self) -> CommandGenerator[None]:
        """Let those go on who wait for a connection, as far as there is room."""
        while self.line_moves:
            self.line_moves = False
            full: list[FitConnection] = []
            for event, stream in tuple(self.in_line.items()):
                if event not in self.in_line or any(each.leads_where(event) for each in full):
                    continue
                event.unfit = self._unfit()
                if self._is_full(event, stream, reuse=True):
                    full.append(event)
                    continue
                del self.in_line[event]
                yield from super().get_connection(event)

    def _unfit(self) -> frozenset[Server]:
        """The connections on which nothing new may be sent."""
        return frozenset(
            connection
            for connection, stack in self.connections.items()
            if isinstance(connection, Server)
            and (connection in self.left or ((found := protocol_of(stack)) is not None and not found.usable))
        )

    def _is_full(self, event: FitConnection, stream: LimitedStream, *, reuse: bool) -> bool:
        """Whether one more connection would have to be made, and its upstream has as many as it may have."""
        if reuse and any(self._shares(event, connection) for connection in self.connections):
            return False
        return sum(self._counts(event, connection) for connection in self.connections) >= stream.most_connections

    def _shares(self, event: FitConnection, connection: Connection) -> bool:
        """Whether mitmproxy gives this connection to one more stream, or has it wait for it."""
        if not event.connection_spec_matches(connection):
            return False
        if connection in self.waiting_for_establishment or connection.error:
            return True
        return connection.connected and (self.context.client.alpn != b"h2" or connection.alpn == b"h2")

    def _counts(self, event: FitConnection, connection: Connection) -> bool:
        """Whether a connection leads where this one is to, and is not about to end as soon as it can."""
        if not event.leads_where(connection) or connection in self.left or connection.error:
            return False
        found = protocol_of(self.connections[connection])
        return not isinstance(found, UpstreamHttp2) or found.usable

    # Leaving one.

    def release(self, stream: HttpStream, why: str) -> CommandGenerator[None]:
        """A stream is over that waits for a connection: it waits no longer, and what nobody waits for is given up."""
        waited = paused_by(stream)
        if not isinstance(waited, GetHttpConnection) or self.command_sources.pop(waited, None) is None:
            return
        if isinstance(waited, FitConnection):
            self.in_line.pop(waited, None)
        connection = self.made_for(waited)
        if connection is not None:
            others = [each for each in self.waiting_for_establishment[connection] if each is not waited]
            if others:
                self.waiting_for_establishment[connection][:] = others
            else:
                yield from self._give_up(connection)
        yield from self.event_to_child(stream, GetHttpConnectionCompleted(waited, (None, why)))

    def made_for(self, waited: object) -> Connection | None:
        """The connection that is being made for whoever waits with this command; None while it waits for its turn."""
        # They are equal where they only ask for the same.
        found: Iterator[Connection] = (
            connection
            for connection, waiting in self.waiting_for_establishment.items()
            if any(each is waited for each in waiting)
        )
        return next(found, None)

    def _give_up(self, connection: Connection) -> CommandGenerator[None]:
        """Nobody waits any more for a connection that is being made."""
        del self.waiting_for_establishment[connection]
        for each in self._forget(connection):
            yield commands.CloseConnection(each)

    def connection_of(self, stream: HttpStream) -> Connection:
        """The connection that a stream to an upstream runs on, or waits for."""
        return self.made_for(paused_by(stream)) or stream.context.server

    def doubt(self, connection: Connection, stream_id: int) -> CommandGenerator[None]:
        """An answer did not come on a connection: find out whether it is dead, and begin nothing more on it."""
        if connection not in self.connections or not isinstance(connection, Server):
            return
        self.left.add(connection)
        self.line_moves = True
        stack = self.connections[connection]
        if isinstance(protocol_of(stack), UpstreamHttp2):
            yield from self.event_to_child(stack, DoubtConnection(stream_id))

    # Forgetting one.

    def forget_ended(self) -> None:
        """Forget the connections that are over."""
        for connection in tuple(self.ended):
            if connection.state is not ConnectionState.CLOSED:
                continue
            if connection in self.connections and connection not in (self.context.client, self.context.server):
                stack = self.connections[connection]
                if any(each in self.waiting_for_establishment for each in self.connections.of(stack)):
                    continue  # a hook of its handshake runs; those who wait are told when that is done
                self._forget(connection)
            self.ended.discard(connection)

    def forget_failed(self, server: Server) -> None:
        """mitmproxy never tries an address again that refused once on this client connection: a retry must."""
        for connection in list(self.connections):
            if isinstance(connection, Server) and connection.error and connection.address == server.address:
                self._forget(connection)
        if self.context.server.address == server.address:
            self.context.server.error = None

    def _forget(self, connection: Connection) -> list[Connection]:
        """What runs on a connection is of no interest any more; gives all that it ran on."""
        stack = self.connections.get(connection)
        # Behind CONNECT, all that a client's layers there connect to is one stream's here.
        gone = [connection] if stack is None or isinstance(stack, HttpStream) else self.connections.of(stack)
        for each in gone:
            self.connections.forget(each)
        if stack is not None and not isinstance(stack, HttpStream):
            for command in [command for command, source in self.command_sources.items() if source is stack]:
                del self.command_sources[command]
        self.line_moves = True
        return gone
