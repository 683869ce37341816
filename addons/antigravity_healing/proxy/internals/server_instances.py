"""The servers that mitmproxy listens with, one instance for each of its modes, and their sockets."""

import asyncio
from collections.abc import Iterator
from typing import Any

from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_servers import AsyncioServerInstance, ServerInstance


def servers_of(instance: ServerInstance[Any]) -> Iterator[asyncio.Server]:
    """The asyncio servers of an instance; one of UDP has none."""
    servers = instance._servers if isinstance(instance, AsyncioServerInstance) else []
    yield from (server for server in servers if isinstance(server, asyncio.Server))


async def listen_at(instance: AsyncioServerInstance[Any], host: str, port: int) -> None:
    """Have an instance that has been stopped listen there and nowhere else."""
    instance._servers = await instance.listen(host, port)


def forget_all(proxyserver: Proxyserver) -> None:
    """Have mitmproxy make all its instances anew: those that never began would be taken for such as have."""
    proxyserver.servers._instances = {}
