"""How clients are accepted: a few in one turn of the loop, and without many words where there is no room for them.

asyncio would accept a hundred at once, and say of each for which no file can be opened that it can't, with a traceback.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from mitmproxy import connection, ctx
from mitmproxy.addons.proxyserver import Proxyserver

from antigravity_healing.policy.trouble import Trouble
from antigravity_healing.proxy.internals.server_instances import servers_of

logger = logging.getLogger(__name__)

_OUT_OF_RESOURCES = "socket.accept() out of system resource"

AT_ONCE = 8
"""Each client that is accepted takes some 0.3 to 0.5 ms of a turn before it can be made to wait."""

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class Accepting:
    """Accepts clients a few at a time; says once that none can be accepted, and once that it is over."""

    def __init__(self) -> None:
        self._trouble = Trouble(logger, "clients wait: none can be accepted: %s", "clients are accepted again")
        self._stock: Handler | None = None

    def running(self) -> None:
        """Listen to what asyncio reports, and hand on all the rest."""
        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() != self._handle:
            self._stock = loop.get_exception_handler()
            loop.set_exception_handler(self._handle)
            servers = ctx.master.addons.get("proxyserver").servers
            servers.changed.connect(self._slow_down)
            self._slow_down()

    def done(self) -> None:
        """Give the place back."""
        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() == self._handle:
            loop.set_exception_handler(self._stock)

    def client_connected(self, client: connection.Client) -> None:
        """A client has been accepted."""
        self._trouble.over()

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") == _OUT_OF_RESOURCES:
            self._trouble.met(getattr(context.get("exception"), "strerror", "too little of something"))
        elif self._stock is not None:
            self._stock(loop, context)
        else:
            loop.default_exception_handler(context)

    def _slow_down(self) -> None:
        """Have each socket that is listened on accept fewer clients at once. How many may wait stays as it is."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, asyncio.SelectorEventLoop):
            return  # it accepts one by one
        proxyserver: Proxyserver = ctx.master.addons.get("proxyserver")
        for instance in proxyserver.servers:
            for server in servers_of(instance):
                if server.is_serving():
                    _accept(loop, server, AT_ONCE)


def _accept(loop: Any, server: Any, at_once: int) -> None:
    """What asyncio does when it begins to listen, which can be done again, with another number."""
    times = server._ssl_handshake_timeout, server._ssl_shutdown_timeout
    for listener in server._sockets or ():
        loop._start_serving(server._protocol_factory, listener, server._ssl_context, server, at_once, *times)
