"""Where the proxy listens: on this machine only, unless somebody says otherwise."""

import asyncio
import logging
from collections.abc import Awaitable, Iterator

from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.options import Options
from mitmproxy.proxy.mode_servers import AsyncioServerInstance, ServerInstance
from mitmproxy.proxy.mode_specs import ProxyMode, TransparentMode, WireGuardMode
from mitmproxy.utils import asyncio_utils

from antigravity_healing.proxy.guarding.addresses import is_loopback
from antigravity_healing.proxy.internals.server_instances import forget_all, listen_at

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

# What these are for comes from other machines, or to whatever address it was meant for.
_WIDE = (TransparentMode, WireGuardMode)


class Listening:
    """Makes loopback the default listen address. `listen_host`, and a mode's own host, stay as they are set.

    mitmproxy loads scripts when it already begins to listen. So that is stopped before it has taken a connection, and
    begun again when all is up: nobody is served by a proxy that does not know its configuration. What listens already,
    as the addon is loaded later, is moved.
    """

    def __init__(self, proxyserver: Proxyserver) -> None:
        self._proxyserver = proxyserver
        self._is_default = self._stopped = False

    def begin(self, options: Options) -> None:
        """When the addon is loaded: set the default."""
        try:
            modes = [ProxyMode.parse(spec) for spec in options.mode]
        except ValueError:
            return  # mitmproxy tells what is wrong with it, and ends
        if not options.has_changed("listen_host"):
            self._is_default = True
            kept = [_kept_wide(mode, options.listen_port) for mode in modes]
            options.update(listen_host=LOOPBACK, **({"mode": kept} if kept != list(options.mode) else {}))
        self._stop()

    def _stop(self) -> None:
        """Stop what is just beginning to listen."""
        for task in asyncio.all_tasks():
            coroutine = task.get_coro()
            code = getattr(coroutine, "cr_code", None)
            if code is ServerInstance.start.__code__:
                for server in _being_made(coroutine):
                    server.close()
            elif code is Proxyserver.setup_servers.__code__:
                task.cancel()
                self._stopped = True
        if self._stopped:
            forget_all(self._proxyserver)

    @property
    def is_held_back(self) -> bool:
        """Whether nothing listens before `finish`."""
        return self._stopped

    def finish(self) -> Awaitable[object] | None:
        """When all is up: listen. What is given has to be awaited."""
        if self._stopped:
            self._stopped = self._is_default = False
            listening: Awaitable[object] = self._proxyserver.setup_servers()
            return listening
        if self._is_default:
            self._is_default = False
            asyncio_utils.create_task(self._move(), name="antigravity listening", keep_ref=True)
        return None

    async def _move(self) -> None:
        """Move to loopback whatever listens at all addresses without having been told to."""
        for server in list(self._proxyserver.servers):
            if not isinstance(server, AsyncioServerInstance) or server.mode.custom_listen_host is not None:
                continue
            addresses = server.listen_addrs
            if not addresses or all(is_loopback(address[0]) for address in addresses):
                continue
            await server.stop()
            await listen_at(server, LOOPBACK, addresses[0][1])
            logger.info("%s keeps to this machine: %s:%d", server.mode.description, LOOPBACK, addresses[0][1])
            await self._proxyserver.servers.changed.send()


def _being_made(coroutine: object) -> Iterator[asyncio.Server]:
    """The server that a coroutine is making: asyncio opens its socket a moment before it gives the server out."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        server = frame.f_locals.get("server") if frame is not None else None
        if isinstance(server, asyncio.Server):
            yield server
        coroutine = getattr(coroutine, "cr_await", None)


def _kept_wide(mode: ProxyMode, default_port: int | None) -> str:
    """A mode's spec; one that needs all addresses says so, as the default does not any more."""
    if not isinstance(mode, _WIDE) or mode.custom_listen_host is not None:
        return mode.full_spec
    what = mode.full_spec if mode.custom_listen_port is None else mode.full_spec.rpartition("@")[0]
    return f"{what}@:{mode.listen_port(default_port)}"
