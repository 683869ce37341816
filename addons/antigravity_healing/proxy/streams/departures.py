"""Attempts that have not left yet: what holds them up is here, and no upstream is to blame for it."""

from collections.abc import Callable, Mapping

from mitmproxy.connection import Connection
from mitmproxy.proxy import layer, tunnel
from mitmproxy.proxy.layers.http import GetHttpConnection

from antigravity_healing.policy.clock import Clock
from antigravity_healing.proxy.connections.upstream_connection import protocol_of
from antigravity_healing.proxy.connections.upstream_http2 import UpstreamHttp2
from antigravity_healing.proxy.streams.attempt_stream import AttemptStream


class Departures:
    """The attempts of one client's connection whose requests may still be held up.

    An attempt waits here while its flow is intercepted, while an addon's hook is awaited, for one of the
    connections that its upstream may have at once, and for a free stream of one. It is on its way when its
    connection begins to be made, or takes its request.
    """

    def __init__(self) -> None:
        self._waiting: list[AttemptStream] = []

    def __bool__(self) -> bool:
        """Whether any may still be held up."""
        return bool(self._waiting)

    def begun(self, stream: AttemptStream) -> None:
        """An attempt has been begun."""
        self._waiting.append(stream)

    def look(
        self,
        clock: Clock,
        connections: Mapping[Connection, layer.Layer],
        made_for: Callable[[object], Connection | None],
    ) -> bool:
        """Tell the exchanges which attempts are on their way, and since when; gives whether any is that was not.

        connections: what runs on each. made_for: gives the one that is being made for who waits with a command.
        """
        begun = False
        for stream in list(self._waiting):
            attempt, waits_for = stream.attempt, stream.waits_for
            waited = attempt.times.left_at is None
            if attempt.ended:
                self._waiting.remove(stream)
            elif attempt.times.head_at is not None:
                self._waiting.remove(stream)
                stream.exchange.on_its_way(attempt, attempt.times.head_at)
            elif isinstance(waits_for, GetHttpConnection):
                made = made_for(waits_for)
                began = _began_at(connections[made]) if made is not None else None
                if began is None:
                    stream.exchange.held_up(attempt)
                else:
                    stream.exchange.on_its_way(attempt, clock.now() - max(0.0, clock.wall() - began))
            elif stream.paused or _is_queued(connections.get(stream.context.server), stream.stream_id):
                stream.exchange.held_up(attempt)
            else:
                self._waiting.remove(stream)
                stream.exchange.on_its_way(attempt, clock.now())
            begun |= waited and attempt.times.left_at is not None
        return begun


def _began_at(stack: layer.Layer) -> float | None:
    """When a connection began to be made, in seconds since 1970; None while it waits for its turn."""
    layers = stack.context.layers  # those before it lead to the client
    own = layers[layers.index(stack) :]
    below = (each.tunnel_connection for each in own if isinstance(each, tunnel.TunnelLayer))
    times = (each.timestamp_start for each in (stack.context.server, *below))
    return min((at for at in times if at is not None), default=None)


def _is_queued(stack: layer.Layer | None, stream_id: int) -> bool:
    """Whether a request waits until one of those before it on its HTTP/2 connection is over."""
    protocol = protocol_of(stack) if stack is not None else None
    return isinstance(protocol, UpstreamHttp2) and stream_id in protocol.stream_queue
