"""Where a request is meant to go: to the proxy itself, or to which upstream."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ReverseMode

from antigravity_healing.policy.settings.schema import Upstream
from antigravity_healing.proxy.guarding.hosts import is_proxy
from antigravity_healing.wire.dialects import DIALECTS


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request is meant to go.

    kind: `proxy` is the proxy itself, `upstream` a configured one, `reverse` the target of reverse mode.
    upstream_name, upstream: which, where it is not the proxy.
    by_base_url: whether its client was told so by a base URL, which may lack a part of the path or have too much.
    """

    kind: Literal["proxy", "upstream", "reverse"]
    upstream_name: str = ""
    upstream: Upstream | None = None
    by_base_url: bool = False


def find_targets(
    request: http.Request, context: Context, mode: HTTPMode, upstreams: dict[str, Upstream], hosts: Collection[str] = ()
) -> list[Destination]:
    """Where a request may be meant to go: several upstreams can share an address. Empty if that is no place of ours.

    hosts: more names of the proxy.
    """
    if request.method == "CONNECT":
        return []
    if mode is HTTPMode.transparent:
        address = context.server.address
        if address is None:
            return []
        scheme = "https" if context.server.tls else "http"
        reverse = isinstance(context.client.proxy_mode, ReverseMode)
        # Behind CONNECT and in transparent mode the address may be an IP; in reverse mode the client names the proxy.
        names = {address[0]} if reverse else {address[0], request.pretty_host, context.client.sni or address[0]}
        found = _upstreams_at(upstreams, scheme, names, address[1], by_base_url=reverse)
        if not found and reverse:
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            url = f"{scheme}://{host}:{address[1]}"
            return [
                Destination("reverse", upstream=Upstream(dialect=dialect.name, url=url))
                for dialect in DIALECTS.values()
            ]
        return found
    if not request.host or is_proxy(request.host, request.port, context, hosts):
        return [Destination("proxy", by_base_url=True)]
    return _upstreams_at(upstreams, request.scheme, {request.host}, request.port)


def relative_path(target: Destination, path: str) -> str | None:
    """The path without the upstream's prefix, None if it lies outside of it."""
    prefix = target.upstream.path if target.upstream else ""
    if not prefix:
        return path
    return path.removeprefix(prefix) if path.startswith(prefix + "/") else None


def _upstreams_at(
    upstreams: dict[str, Upstream], scheme: str, hosts: set[str], port: int, *, by_base_url: bool = False
) -> list[Destination]:
    names = {host.lower() for host in hosts}
    return [
        Destination("upstream", name, upstream, by_base_url)
        for name, upstream in upstreams.items()
        if upstream.scheme == scheme and upstream.port == port and upstream.host in names
    ]
