"""Finding out whether an HTTP/2 connection on which an answer failed to come is dead."""

from dataclasses import dataclass

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.proxy.connections.http2 import SteadyHttp2
from antigravity_healing.proxy.internals.http_layer import HttpEvent

PING_S = 10.0
"""How long an upstream may take to say anything when a ping has asked whether it is there."""
_PING = b"are you?"


@dataclass
class DoubtConnection(HttpEvent):
    """An answer did not come on this connection: it gets nothing new, and ends if its peer is not there."""


class Doubtful(SteadyHttp2):
    """One side's HTTP/2, which can ask whether the other is there."""

    doubted = False
    asked: commands.RequestWakeup | None = None
    """Runs while an answer to the ping is waited for."""

    def doubt(self) -> CommandGenerator[None]:
        """End with what is under way, or, if the other side says nothing in time, at once."""
        self.doubted = self.draining = True
        yield from self.close_if_drained()
        if not self.draining or self.asked is not None:
            return
        self.h2_conn.ping(_PING)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())
        self.asked = commands.RequestWakeup(PING_S)
        yield self.asked

    def hear(self, event: events.Event) -> CommandGenerator[bool]:
        """See what an event says of the other side; gives whether that is all it says."""
        if isinstance(event, events.DataReceived):
            self.asked = None  # whatever it says: it is there
        elif isinstance(event, events.Wakeup) and event.command is self.asked:
            self.asked = None
            yield from self.close_connection(f"upstream fell silent: no answer to a ping in {PING_S:g} s")
            return True
        return False
