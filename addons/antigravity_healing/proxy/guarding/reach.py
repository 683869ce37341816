"""Where connections may go: not to the proxy itself, and for clients from elsewhere to nothing on its machine."""

import asyncio
import socket
from collections.abc import Container
from dataclasses import dataclass

from mitmproxy.connection import Address, Client, Server
from mitmproxy.proxy import commands
from mitmproxy.proxy.mode_specs import ReverseMode, UpstreamMode

from antigravity_healing.policy.settings.schema import Upstream
from antigravity_healing.proxy.guarding.addresses import IP, is_here, is_own, literal, why_out_of_reach
from antigravity_healing.proxy.guarding.visits import Visitor
from antigravity_healing.wire.vertex import location_of

ITSELF = "this is the proxy itself, which makes no connection to itself: its API is at its own base URL"


@dataclass
class ReachRequest:
    """What `AntigravityReachHook` asks: may a client from elsewhere reach this place? The hook fills in `refusal`."""

    host: str
    refusal: str | None = None


@dataclass
class AntigravityReachHook(commands.StartHook):
    """A name has to be looked up, which takes time."""

    request: ReachRequest


async def addresses_of(host: str) -> list[IP]:
    """All that a host resolves to; empty where it does not."""
    if (ip := literal(host)) is not None:
        return [ip]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ip for *_, address in found if (ip := literal(str(address[0]))) is not None]


async def out_of_reach(host: str) -> str | None:
    """Why a client from elsewhere may not reach a host through this machine; None if it may."""
    for ip in await addresses_of(host):
        if what := why_out_of_reach(ip):
            return f"{host} is {what}, which is not reached through this proxy from other machines"
    return None


def is_configured(client: Client, server: Server, upstreams: dict[str, Upstream]) -> bool:
    """Whether a connection goes where the person who runs the proxy sends it: an upstream, the mode's own address."""
    address = server.address
    if address is None:
        return False
    mode = client.proxy_mode
    if isinstance(mode, ReverseMode | UpstreamMode) and tuple(address[:2]) == tuple(mode.address):
        return True
    return _is_of(address, upstreams)


def is_upstreams(address: Address, upstreams: dict[str, Upstream]) -> bool:
    """Whether an upstream is asked there, or may be: an account, or a client, may name a location of its own."""
    return _is_of(address, upstreams) or location_of(f"https://{address[0]}") is not None


def _is_of(address: Address, upstreams: dict[str, Upstream]) -> bool:
    return any(tuple(address[:2]) == (upstream.host, upstream.port) for upstream in upstreams.values())


async def refuse_connecting(visitor: Visitor, server: Server, own_ports: Container[int]) -> str | None:
    """Why the proxy must not make a connection, by what its destination resolves to; None if it may."""
    assert server.address
    host, port = server.address[:2]
    if not visitor.local and (why := await out_of_reach(host)):
        return why
    if port in own_ports and any(is_here(ip) or is_own(ip) for ip in await addresses_of(host)):
        return ITSELF
    return None


def refuse_connected(visitor: Visitor, server: Server, own_ports: Container[int]) -> str | None:
    """The same by what a connection really leads to, as a name may resolve to something else each time."""
    peer, own = server.peername, server.sockname
    ip = literal(peer[0]) if peer else None
    if peer is None or ip is None:
        return None
    if not visitor.local and (what := why_out_of_reach(ip)):
        return f"{peer[0]} is {what}, which is not reached through this proxy from other machines"
    if peer[1] in own_ports and (is_here(ip) or (own is not None and literal(own[0]) == ip)):
        return ITSELF
    return None
