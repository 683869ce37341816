"""What mitmproxy listens with."""

import asyncio
from typing import Any

from antigravity_healing.proxy.internals.server_instances import forget_all, listen_at, servers_of
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_servers import AsyncioServerInstance
from mitmproxy.test import taddons

HERE = "127.0.0.1"


def test_an_instance_is_moved_and_forgotten() -> None:
    async def listen() -> None:
        proxyserver = Proxyserver()
        with taddons.context(proxyserver) as mitmproxy:
            mitmproxy.configure(proxyserver, listen_host=HERE, listen_port=0, mode=["regular"])
            assert await proxyserver.setup_servers()
            [instance] = proxyserver.servers
            assert isinstance(instance, AsyncioServerInstance)
            assert _addresses(instance) == list(instance.listen_addrs) != []

            await instance.stop()
            assert _addresses(instance) == []
            await listen_at(instance, HERE, 0)
            assert _addresses(instance) == list(instance.listen_addrs) != []

            await instance.stop()
            forget_all(proxyserver)
            assert list(proxyserver.servers) == []
            await proxyserver.setup_servers()
            [anew] = proxyserver.servers
            assert anew is not instance
            await anew.stop()

    asyncio.run(listen())


def _addresses(instance: AsyncioServerInstance[Any]) -> list[tuple[str, int]]:
    """Where an instance accepts connections."""
    return [each.getsockname() for server in servers_of(instance) for each in server.sockets]
