"""A connection to an upstream: asking for one, making it, and the protocol that is spoken on it."""

from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import GetHttpConnection, HttpClient, RegisterHttpConnection

from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.upstream_http1 import UpstreamHttp1
from antigravity_healing.proxy.connections.upstream_http2 import UpstreamHttp2
from antigravity_healing.proxy.internals.http_layer import HttpConnection


def upstream_connection(context: Context, bounds: Bounds) -> HttpConnection | None:
    """The HTTP that is spoken with the context's server; None where mitmproxy's own is used, for HTTP/3."""
    alpn = context.server.alpn
    if alpn is not None and alpn.startswith(b"h3"):
        return None
    return UpstreamHttp2(context, bounds) if alpn == b"h2" else UpstreamHttp1(context, bounds)


class UpstreamClient(HttpClient):
    """Connects to an upstream, and then speaks HTTP/1 or HTTP/2 with it."""

    bounds: Bounds

    @classmethod
    def adopt(cls, plain: HttpClient, bounds: Bounds) -> None:
        """Make a client that has not begun yet one of these."""
        plain.__class__ = cls
        assert isinstance(plain, UpstreamClient)
        plain.bounds = bounds

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        error: str | None = None
        server = self.context.server
        if not server.connected:
            error = yield commands.OpenConnection(server)
        if not error:
            child = upstream_connection(self.context, self.bounds)
            if child is None:
                yield from super()._handle_event(event)
                return
            self.child_layer = child
            self._handle_event = child.handle_event  # type: ignore[method-assign]
            yield from self._handle_event(event)
        yield RegisterHttpConnection(server, error)


class FitConnection(GetHttpConnection):
    """Asks for a connection, but for those that are not fit to be used any more."""

    unfit: frozenset[Server] = frozenset()

    @classmethod
    def adopt(cls, plain: GetHttpConnection, unfit: frozenset[Server]) -> "FitConnection":
        """Narrow a command; gives it."""
        plain.__class__ = cls
        assert isinstance(plain, FitConnection)
        plain.unfit = unfit
        return plain

    def connection_spec_matches(self, connection: object) -> bool:
        """Whether a connection leads where it should, and may be used."""
        return connection not in self.unfit and super().connection_spec_matches(connection)  # type: ignore[arg-type]

    def leads_where(self, other: object) -> bool:
        """Whether a connection, or what asks for one, leads where this one is to."""
        if isinstance(other, GetHttpConnection):
            same = (other.address, other.tls, other.via, other.transport_protocol)
            return same == (self.address, self.tls, self.via, self.transport_protocol)
        return super().connection_spec_matches(other)  # type: ignore[arg-type]


def protocol_of(stack: layer.Layer) -> UpstreamHttp1 | UpstreamHttp2 | None:
    """The HTTP at the end of what a connection runs through, None before it is established."""
    last = stack.context.layers[-1]
    return last if isinstance(last, UpstreamHttp1 | UpstreamHttp2) else None
