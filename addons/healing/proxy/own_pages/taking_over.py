"""Where the proxy's own pages begin: on a connection whose first bytes ask for one."""

import asyncio
from weakref import WeakSet

from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_specs import ReverseMode

from healing.proxy.claiming.own_paths import own_paths
from healing.proxy.connections.transports import close_transport, handler_of
from healing.proxy.own_pages.entrance import names_proxy
from healing.proxy.own_pages.layer import OwnPagesLayer, Served
from healing.proxy.own_pages.opening import Opening, look

_HTTP = ("http", "https")
_MODES = (modes.HttpProxy, modes.HttpUpstreamProxy, modes.ReverseProxy)


class TakingOver:
    """Decides which connections are for the proxy's own pages."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._undecided: WeakSet[NextLayer] = WeakSet()

    def decide(self, data: NextLayer) -> bool:
        """Put the layer for own pages in, or nothing while that is open. Gives whether nobody else is to decide."""
        context = data.context
        if len(context.layers) != 1 or not isinstance(context.layers[0], _MODES):
            return False
        if context.client.transport_protocol != "tcp" or not (came := data.data_client()):
            return False
        mode = context.client.proxy_mode
        if isinstance(mode, ReverseMode) and mode.scheme not in _HTTP:
            return False
        config = self._served.state.config
        paths = own_paths(at_proxy=not isinstance(mode, ReverseMode), for_api=self._stands_for_api(mode))
        match look(came, paths, lambda authority: names_proxy(authority, context, config.clients.hosts)):
            case Opening.OTHER:
                return False
            case Opening.OWN:
                data.layer = OwnPagesLayer(context, self._served, paths)
            case Opening.UNDECIDED if data not in self._undecided:
                self._undecided.add(data)
                seconds = config.limits.head_seconds
                asyncio.get_running_loop().call_later(seconds, _give_up, data, context)
        return True

    def _stands_for_api(self, mode: object) -> bool:
        """Whether it is reverse mode for a configured upstream."""
        if not isinstance(mode, ReverseMode):
            return False
        place = (mode.scheme, *mode.address[:2])
        upstreams = self._served.state.config.upstreams.values()
        return any((each.scheme, each.host, each.port) == place for each in upstreams)


def _give_up(data: NextLayer, context: Context) -> None:
    """No head may take longer, however little has come of it."""
    if data.layer is None and (handler := handler_of(context.client)) is not None:
        close_transport(handler, context.client)
