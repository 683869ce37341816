"""Where the proxy's own pages begin: on a connection whose first bytes ask for one."""

import asyncio
from weakref import WeakSet, ref

from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_specs import ReverseMode

from antigravity_healing.proxy.claiming.own_paths import own_paths
from antigravity_healing.proxy.connections.transports import close_transport, handler_of
from antigravity_healing.proxy.own_pages.entrance import names_proxy
from antigravity_healing.proxy.own_pages.layer import OwnPagesLayer, Served
from antigravity_healing.proxy.own_pages.opening import Opening, look

_HTTP = ("http", "https")
_MODES = (modes.HttpProxy, modes.HttpUpstreamProxy, modes.ReverseProxy)


class TakingOver:
    """Decides which connections are for the proxy's own pages."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._undecided: WeakSet[NextLayer] = WeakSet()

    def decide(self, data: NextLayer) -> Opening:
        """What a connection is for by what has come on it. Puts in the layer for own pages where it is for them.

        Nothing may be put in while it is undecided, for so long as a head may take.
        """
        context = data.context
        client, mode = context.client, context.client.proxy_mode
        if len(context.layers) != 1 or not isinstance(context.layers[0], _MODES) or client.transport_protocol != "tcp":
            return Opening.OTHER
        if isinstance(mode, ReverseMode) and mode.scheme not in _HTTP:
            return Opening.OTHER
        config = self._served.state.config
        paths = own_paths(at_proxy=not isinstance(mode, ReverseMode), for_api=self._stands_for_api(mode))
        found = look(data.data_client(), paths, lambda authority: names_proxy(authority, context, config.clients.hosts))
        if found is Opening.OWN:
            data.layer = OwnPagesLayer(context, self._served, paths)
        elif found is Opening.UNDECIDED and data not in self._undecided:
            self._undecided.add(data)
            asyncio.get_running_loop().call_later(config.limits.head_seconds, _give_up, ref(data))
        return found

    def _stands_for_api(self, mode: object) -> bool:
        """Whether it is reverse mode for a configured upstream."""
        if not isinstance(mode, ReverseMode):
            return False
        place = (mode.scheme, *mode.address[:2])
        upstreams = self._served.state.config.upstreams.values()
        return any((each.scheme, each.host, each.port) == place for each in upstreams)


def _give_up(undecided: ref[NextLayer]) -> None:
    """End a connection on which too little has come to know what it is for."""
    data = undecided()
    if data is None or data.layer is not None:
        return
    if (handler := handler_of(data.context.client)) is not None:
        close_transport(handler, data.context.client)
