"""What a person is told once the proxy listens: how to point a client at it, and where to see what happens."""

import asyncio
import logging

from mitmproxy import ctx
from mitmproxy.proxy.mode_servers import ServerInstance
from mitmproxy.proxy.mode_specs import RegularMode, UpstreamMode
from mitmproxy.utils import asyncio_utils

from antigravity_healing.proxy.guarding.addresses import is_loopback
from antigravity_healing.proxy.own_pages.pages import ROOT
from antigravity_healing.wire.dialects import DIALECTS

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.05
_GIVE_UP_S = 10.0
_EVERYWHERE = ("0.0.0.0", "::")
_HERE = "127.0.0.1"


def url_at(host: str, port: int) -> str:
    """The base URL for a client on this machine. host: where the proxy listens."""
    host = _HERE if host in _EVERYWHERE or is_loopback(host) else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class FirstWords:
    """Says it, once there is an address."""

    def running(self) -> None:
        """The proxy is about to listen."""
        if (proxyserver := ctx.master.addons.get("proxyserver")) is not None:
            asyncio_utils.create_task(self._say(proxyserver.servers), name="antigravity first words", keep_ref=True)

    async def _say(self, servers: list[ServerInstance]) -> None:  # type: ignore[type-arg]
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                while not (urls := self._urls(servers)):
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            return  # nothing here is for clients to be pointed at
        for url in urls:
            told = "; ".join(dialect.pointed_at(url) for dialect in DIALECTS.values())
            logger.info("Point a client at it: %s. What happens: %s%s/", told, url, ROOT)

    @staticmethod
    def _urls(servers: list[ServerInstance]) -> list[str]:  # type: ignore[type-arg]
        found = (
            url_at(*address[:2])
            for server in servers
            if isinstance(server.mode, RegularMode | UpstreamMode)
            for address in server.listen_addrs[:1]
        )
        return list(dict.fromkeys(found))
