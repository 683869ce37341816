"""By which names the proxy may be called: a page whose own name leads to this machine (DNS rebinding) uses another."""

import socket
from collections.abc import Collection

from mitmproxy import http
from mitmproxy.proxy.context import Context

from antigravity_healing.proxy.guarding.addresses import is_here, is_own, literal


def host_of(authority: str) -> str:
    """The host of `host`, `host:port`, `[address]:port`; in lower case, without brackets and the dot at its end."""
    host, colon, port = authority.strip().rpartition(":")
    bare_ipv6 = ":" in host and not host.startswith("[")
    if not colon or bare_ipv6 or not (port.isascii() and (port.isdigit() or not port)):
        host = authority.strip()
    return host.strip("[]").rstrip(".").lower()


def hosts_named(request: http.Request) -> set[str]:
    """The hosts that a request names in its target, its `Host` and its `:authority`."""
    authorities = [*request.headers.get_all("host"), request.authority]
    return {host_of(request.host), *(host_of(authority) for authority in authorities)} - {""}


def is_loopback_name(host: str) -> bool:
    """Whether a name or an address, in any spelling, is by its own words this machine's."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return (ip := literal(host)) is not None and is_here(ip)


def is_own_name(host: str, context: Context, configured: Collection[str]) -> bool:
    """Whether the proxy goes by this name: loopback, where it listens, the machine's name, `[clients] hosts`."""
    host = host.rstrip(".").lower()
    if is_loopback_name(host) or host in {name.rstrip(".").lower() for name in (*configured, socket.gethostname())}:
        return True
    client = context.client
    listens_at = {client.sockname[0], context.options.listen_host, client.proxy_mode.custom_listen_host or ""} - {""}
    ip = literal(host)
    return host in {name.lower() for name in listens_at} or (
        ip is not None and any(literal(address) == ip for address in listens_at)
    )


def is_proxy(host: str, port: int, context: Context, configured: Collection[str]) -> bool:
    """Whether an address that a request goes to is the one at which the proxy was reached."""
    if port != context.client.sockname[1]:
        return False
    return is_own_name(host, context, configured) or ((ip := literal(host)) is not None and is_own(ip))
