"""What mitmproxy knows of the connections of its clients."""

from mitmproxy import ctx
from mitmproxy.connection import Client
from mitmproxy.proxy.server import ConnectionHandler


def handler_of(client: Client) -> ConnectionHandler | None:
    """What handles a client's connection; None where there is none, as in a replay."""
    handler: ConnectionHandler | None = ctx.master.addons.get("proxyserver").connections.get(client.id)
    return handler
