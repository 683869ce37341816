"""Which requests are ours, and what they ask."""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ReverseMode

from healing.policy.config import Upstream
from healing.proxy.seal import Seal
from healing.wire.anthropic import Anthropic
from healing.wire.dialect import Dialect, Operation
from healing.wire.gemini import Gemini

DIALECTS: dict[str, Dialect] = {"anthropic": Anthropic(), "gemini": Gemini()}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request is meant to go.

    kind: `proxy` is the proxy itself, `upstream` a configured one, `reverse` the target of reverse mode.
    upstream_name, upstream: which, where it is not the proxy.
    """

    kind: Literal["proxy", "upstream", "reverse"]
    upstream_name: str = ""
    upstream: Upstream | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that is ours.

    operation: `other` passes through with an account's credential, without healing.
    path, query: without the upstream's prefix and without credentials. seal: the client's own credentials.
    local: the answer, where the proxy gives it by itself.
    """

    target: Target
    path: str
    query: str
    dialect: Dialect | None = None
    operation: Operation | None = None
    seal: Seal = Seal()  # noqa: RUF009 - frozen
    local: http.Response | None = None


def find_target(
    request: http.Request, context: Context, mode: HTTPMode, upstreams: dict[str, Upstream]
) -> Target | None:
    """Where a request is meant to go, None if that is no place of ours."""
    if request.method == "CONNECT":
        return None
    if mode is HTTPMode.transparent:
        address = context.server.address
        if address is None:
            return None
        scheme = "https" if context.server.tls else "http"
        names = {address[0], request.pretty_host, context.client.sni or address[0]}
        found = _upstream_at(upstreams, scheme, names, address[1])
        if found is None and isinstance(context.client.proxy_mode, ReverseMode):
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            url = f"{scheme}://{host}:{address[1]}"
            # The dialect is that of the path, which is not known yet: it is put in when the request is claimed.
            return Target("reverse", upstream=Upstream(dialect="anthropic", url=url))
        return found
    if not request.host or _is_proxy(request.host, request.port, context):
        return Target("proxy")
    return _upstream_at(upstreams, request.scheme, {request.host}, request.port)


def relative_path(target: Target, path: str) -> str | None:
    """The path without the upstream's prefix, None if it lies outside of it."""
    prefix = target.upstream.path if target.upstream else ""
    if not prefix:
        return path
    return path.removeprefix(prefix) if path.startswith(prefix + "/") else None


def query_of(query: str) -> dict[str, str]:
    """The parameters of a query."""
    return dict(parse_qsl(query, keep_blank_values=True))


def choose_dialect(
    request: http.Request, path: str, query: str, candidates: Iterable[Dialect]
) -> tuple[Dialect, Operation] | None:
    """The dialect that a request speaks and what it asks for, None if it is in none of the candidates' APIs."""
    params, headers = query_of(query), {name.lower(): request.headers[name] for name in request.headers}
    found = [
        (dialect, operation) for dialect in candidates if (operation := dialect.operation(request.method, path, params))
    ]
    if len(found) > 1:
        # Both have `GET /v1/models`: Google's clients are known by their headers, everyone else means Anthropic.
        google = any(name.startswith("x-goog-") for name in headers) and "anthropic-version" not in headers
        found = [pair for pair in found if (pair[0].name == "gemini") == google]
    if found:
        return found[0]
    for dialect in candidates:
        if dialect.claims(path, headers, params):
            return dialect, Operation("other")
    return None


def is_loopback(address: str) -> bool:
    """Whether a client with this address is on this machine."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def _upstream_at(upstreams: dict[str, Upstream], scheme: str, hosts: set[str], port: int) -> Target | None:
    for name, upstream in upstreams.items():
        if upstream.scheme == scheme and upstream.port == port and upstream.host in {host.lower() for host in hosts}:
            return Target("upstream", name, upstream)
    return None


def _is_proxy(host: str, port: int, context: Context) -> bool:
    own = context.client.sockname
    if port != own[1]:
        return False
    return host in ("localhost", own[0], socket.gethostname()) or is_loopback(host)
