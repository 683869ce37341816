"""Closing a client's connection so that the last that was said on it can be read.

A connection that is closed while its client still sends takes what was said with it.
"""

from dataclasses import dataclass

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator, Layer

LINGER_S = 30.0
LINGER_BYTES = 32 * 1024 * 1024
"""Of what is not wanted, what is thrown away while its client reads."""


class LastWords(commands.CloseTcpConnection):
    """Nothing more is said on a connection; what still comes is taken."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, half_close=True)


class Lingering:
    """The last of a connection: nothing more is said, and what still comes is thrown away, up to a limit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._timer = commands.RequestWakeup(LINGER_S)
        self._thrown_away = 0

    def begin(self) -> CommandGenerator[None]:
        """Say that nothing more comes."""
        yield LastWords(self._connection)
        yield self._timer

    def take_event(self, event: events.Event) -> CommandGenerator[None]:
        """Take what happens to the connection from then on; it is closed with the client's side, or at a limit."""
        if isinstance(event, events.DataReceived):
            self._thrown_away += len(event.data)
        ended = isinstance(event, events.ConnectionClosed)
        late = isinstance(event, events.Wakeup) and event.command is self._timer
        if ended or late or self._thrown_away > LINGER_BYTES:
            yield commands.CloseConnection(self._connection)


@dataclass
class LastWordsInside(commands.Command):
    """The same from within a tunnel. mitmproxy makes of any close that it sees there that of the tunnel."""

    connection: Connection


class TunnelInside:
    """What is inside of a tunnel; for its last words it says what passes the tunnel."""

    def __init__(self, inside: Layer) -> None:
        self._inside = inside

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Let the inside handle an event."""
        for command in self._inside.handle_event(event):
            yield LastWordsInside(command.connection) if isinstance(command, LastWords) else command
