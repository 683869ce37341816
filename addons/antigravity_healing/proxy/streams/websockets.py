"""WebSockets: relayed as mitmproxy does it, within bounds, in turns, and without secrets in what is no message."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import wsproto
from mitmproxy import http
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketLayer, WebSocketMessageInjected
from wsproto.events import CloseConnection, Event, Message, Ping, Pong
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import WEBSOCKET_VERSION

from antigravity_healing.proxy.connections.turns import NextTurn, read_on, stop_reading

FRAMES_A_TURN = 8
"""As many are relayed in one turn of the event loop: a read may hold 10,000 of nothing, of 0.2 ms each."""
MOST_FRAGMENTS = 256
"""Of a message, which arrive as they came; what is behind them arrives in one."""
_FRAME_BYTES = 256
"""What a piece of a message takes beside its content."""
_OF_UPGRADES = ("upgrade", "http2-settings")

type Clean = Callable[[bytes], bytes]


def without_extensions(headers: http.Headers) -> None:
    """Take off what has frames compressed, asked for or granted: it would have to be undone and done again here."""
    headers.pop("sec-websocket-extensions", None)


def is_asked_for(request: http.Request) -> bool:
    """Whether a request is one for a WebSocket that is understood here."""
    upgrade, version = (request.headers.get(name, "") for name in ("upgrade", "sec-websocket-version"))
    return bool(upgrade.lower() == "websocket" and version.encode() == WEBSOCKET_VERSION)


def without_other_protocols(headers: http.Headers) -> None:
    """Ask for no protocol in which nobody here sees what is said, secrets among it."""
    for name in _OF_UPGRADES:
        headers.pop(name, None)
    said = [word.strip() for word in headers.pop("connection", "").split(",")]
    if kept := [word for word in said if word and word.lower() not in _OF_UPGRADES]:
        headers["connection"] = ", ".join(kept)


class OneSide(WebsocketConnection):
    """A WebSocket's frames from one side.

    most: how many bytes a message may have. clean: takes the secrets out of what this side says beside its messages.
    more: whether something has come that was left for a later turn. ended: the end of the connection, behind that.
    """

    def __init__(self, kind: wsproto.ConnectionType, conn: Connection, most: int, clean: Clean) -> None:
        super().__init__(kind, [], conn=conn)
        self._most, self._clean = most, clean
        self._size = self._fragments = 0
        self.more = False
        self.next_turn: NextTurn | None = None
        self.ended: events.ConnectionClosed | None = None

    def events(self) -> Iterator[Event]:
        """What has come, as far as one turn has room for it."""
        self.more = False
        for number, event in enumerate(super().events(), 1):
            passed = self._passed(event)
            yield passed
            if isinstance(passed, CloseConnection):
                return
            if number == FRAMES_A_TURN:
                self.more = True
                return

    def _passed(self, event: Event) -> Event:
        """What is passed on of an event."""
        match event:
            case Message():
                return self._bounded(event)
            case Ping() | Pong():
                return replace(event, payload=self._clean(bytes(event.payload)))
            case CloseConnection(reason=str(reason)):
                return replace(event, reason=self._clean(reason.encode()).decode("utf-8", "replace"))
        return event

    def _bounded(self, event: Message[Any]) -> Event:
        self._size += len(event.data) + _FRAME_BYTES
        if self._size > self._most:
            return CloseConnection(CloseReason.MESSAGE_TOO_BIG, f"a message of more than {self._most:,} bytes")
        if not self.frame_buf[-1]:
            # Each read adds to it: bytes would be copied each time.
            self.frame_buf[-1] = bytearray()  # type: ignore[call-overload]
        if event.message_finished:
            self._size = self._fragments = 0
        elif event.frame_finished:
            self._fragments += 1
            if self._fragments > MOST_FRAGMENTS:
                return replace(event, frame_finished=False)
        return event


class CarefulWebsocket(WebsocketLayer):
    """Relays the frames of a WebSocket.

    most: how many bytes a message may have. clean: takes out the secrets that the server may repeat.
    """

    client_ws: OneSide
    server_ws: OneSide

    def __init__(self, context: Context, flow: http.HTTPFlow, most: int, clean: Clean | None) -> None:
        super().__init__(context, flow)
        self._most, self._clean = most, clean

    def start(self, event: events.Event) -> CommandGenerator[None]:
        """Begin, without extensions."""
        yield from super().start(event)
        client, server = wsproto.ConnectionType.SERVER, wsproto.ConnectionType.CLIENT
        self.client_ws = OneSide(client, self.context.client, self._most, bytes)
        self.server_ws = OneSide(server, self.context.server, self._most, self._clean or bytes)

    _handle_event = start

    def relay_messages(self, event: events.Event) -> CommandGenerator[None]:
        """Relay what has come, as far as one turn has room for it; nothing more is read before the rest is relayed."""
        if isinstance(event, events.Wakeup):
            for side in (self.client_ws, self.server_ws):
                if side.next_turn is event.command:
                    side.next_turn = None
                    yield from self._relay(side, events.DataReceived(side.conn, b""))
            return
        side = self._side_of(event)
        if side.next_turn is None or self.context.client.state is ConnectionState.CLOSED:
            yield from self._relay(side, event)
        elif isinstance(event, events.DataReceived):
            side.receive_data(event.data)
        elif isinstance(event, events.ConnectionClosed):
            side.ended = event
        else:
            yield from self._relay(side, event)

    def done(self, _: events.Event) -> CommandGenerator[None]:
        """Nothing that still comes is wanted."""
        yield from ()

    def _side_of(self, event: events.Event) -> OneSide:
        if isinstance(event, WebSocketMessageInjected):
            return self.client_ws if event.message.from_client else self.server_ws
        assert isinstance(event, events.ConnectionEvent)
        return self.client_ws if event.connection == self.context.client else self.server_ws

    def _relay(self, side: OneSide, event: events.Event) -> CommandGenerator[None]:
        for command in super().relay_messages(event):
            # There is a line for each ping.
            if not isinstance(command, commands.Log):
                yield command
        if self._handle_event == self.done:
            read_on(self.context.client)
            read_on(self.context.server)
        elif side.more:
            stop_reading(side.conn)
            if side.next_turn is None:
                side.next_turn = NextTurn()
                yield side.next_turn
        else:
            read_on(side.conn)
            if side.ended is not None:
                ended, side.ended = side.ended, None
                yield from self._relay(side, ended)
