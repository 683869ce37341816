"""What a person is told once the proxy listens: how to point a client at it, and where to see what happens."""

import logging
from collections.abc import Callable, Iterator

from mitmproxy import ctx
from mitmproxy.proxy.mode_servers import ServerInstance
from mitmproxy.proxy.mode_specs import ProxyMode, RegularMode, ReverseMode, UpstreamMode

from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.own_pages.pages import ROOT
from antigravity_healing.wire.dialects import DIALECTS

logger = logging.getLogger(__name__)

_EVERYWHERE = ("0.0.0.0", "::")
_HERE = "127.0.0.1"


def url_at(host: str, port: int) -> str:
    """The base URL for a client on this machine. host: where the proxy listens."""
    host = _HERE if host in _EVERYWHERE else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class FirstWords:
    """Says it of each address, as soon as there is one; also of modes that are added later."""

    def __init__(self, state: Callable[[], State | None]) -> None:
        """state: gives the proxy's state of now, None where there is none."""
        self._state = state
        self._told = set[str]()

    def running(self) -> None:
        """The proxy listens, or is about to."""
        if (proxyserver := ctx.master.addons.get("proxyserver")) is not None:
            proxyserver.servers.changed.connect(self._say)
            self._say()

    def done(self) -> None:
        """mitmproxy ends, or the addon is unloaded."""
        if (proxyserver := ctx.master.addons.get("proxyserver")) is not None:
            proxyserver.servers.changed.disconnect(self._say)

    def _say(self) -> None:
        # Of what listens no more, it is said again when it comes back.
        there = dict.fromkeys(self._words(ctx.master.addons.get("proxyserver").servers))
        for words in there:
            if words not in self._told:
                logger.info("%s", words)
        self._told = set(there)

    def _words(self, servers: Iterator[ServerInstance[ProxyMode]]) -> Iterator[str]:
        for server in servers:
            dialects = self._spoken(server.mode)
            for address in server.listen_addrs[:1] if dialects else ():
                url = url_at(*address[:2])
                keyless = self._with_accounts()
                told = "; ".join(DIALECTS[each].pointed_at(url, keyless=each in keyless) for each in dialects)
                yield f"Point a client at it: {told}. What happens: {url}{ROOT}/"

    def _with_accounts(self) -> set[str]:
        """The dialects for which the proxy brings the keys."""
        if (state := self._state()) is None:
            return set()
        upstreams = state.config.upstreams
        return {upstreams[account.upstream].dialect for account in state.config.accounts}

    def _spoken(self, mode: ProxyMode) -> list[str]:
        """The dialects whose clients a listener of this mode is for."""
        if isinstance(mode, RegularMode | UpstreamMode):
            return list(DIALECTS)
        state = self._state()
        if not isinstance(mode, ReverseMode) or state is None:
            return []
        target = mode.scheme, *mode.address
        upstreams = state.config.upstreams.values()
        spoken = {each.dialect for each in upstreams if (each.scheme, each.host, each.port) == target}
        return [dialect for dialect in DIALECTS if dialect in spoken]
