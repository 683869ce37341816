"""What mitmproxy's options do to a request by where it goes, for one that goes elsewhere than its client said."""

from typing import Any

from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import UpstreamMode


def goes_elsewhere(flow: http.HTTPFlow) -> None:
    """The request has got another destination: `map_remote` and `upstream_auth` are for that one.

    The credential for an upstream proxy is to be where that reads it, and not behind a tunnel through it.
    """
    if isinstance(flow.client_conn.proxy_mode, UpstreamMode):
        flow.request.headers.pop("proxy-authorization", None)
        upstream_auth: Any = ctx.master.addons.get("upstreamauth")
        upstream_auth.requestheaders(flow)
    map_remote: Any = ctx.master.addons.get("mapremote")
    if ctx.options.map_remote:
        map_remote.request(flow)
