"""Which requests are ours, and what they ask."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ReverseMode

from healing.policy.settings.schema import Upstream
from healing.proxy.guarding.hosts import is_proxy
from healing.proxy.secrets.seal import Seal
from healing.wire.dialect import Dialect, Operation
from healing.wire.dialects import DIALECTS
from healing.wire.http.headers import by_name
from healing.wire.http.paths import PathError, plain, resolved

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
"""Those that the APIs have. No other carries an account's credential."""

_API_PATH = re.compile(r"/(?:upload/|download/)?v1(?:alpha|beta)?\d*/.")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request is meant to go.

    kind: `proxy` is the proxy itself, `upstream` a configured one, `reverse` the target of reverse mode.
    upstream_name, upstream: which, where it is not the proxy.
    """

    kind: Literal["proxy", "upstream", "reverse"]
    upstream_name: str = ""
    upstream: Upstream | None = None


class Asked(NamedTuple):
    """What a request asks for, and where.

    path: without the upstream's prefix, without dot segments and without the query.
    operation: `other` passes through with an account's credential, without healing.
    """

    target: Destination
    path: str
    dialect: Dialect
    operation: Operation


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that is ours.

    asked: what it asks for; None where `local`, the answer that the proxy gives by itself, is all there is to it.
    query: without credentials. seal: the client's own credentials. client: a digest of who asks.
    page: the origin of this machine's web page that asks, "" for any other client.
    """

    asked: Asked | None
    query: str
    seal: Seal
    local: http.Response | None = None
    client: str = ""
    page: str = ""


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
        found = _upstreams_at(upstreams, scheme, names, address[1])
        if not found and reverse:
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            url = f"{scheme}://{host}:{address[1]}"
            return [
                Destination("reverse", upstream=Upstream(dialect=dialect.name, url=url))
                for dialect in DIALECTS.values()
            ]
        return found
    if not request.host or is_proxy(request.host, request.port, context, hosts):
        return [Destination("proxy")]
    return _upstreams_at(upstreams, request.scheme, {request.host}, request.port)


def relative_path(target: Destination, path: str) -> str | None:
    """The path without the upstream's prefix, None if it lies outside of it."""
    prefix = target.upstream.path if target.upstream else ""
    if not prefix:
        return path
    return path.removeprefix(prefix) if path.startswith(prefix + "/") else None


def query_of(query: str) -> dict[str, str]:
    """The parameters of a query."""
    return dict(parse_qsl(query, keep_blank_values=True))


def understand(request: http.Request, targets: Iterable[Destination]) -> Asked | None:
    """What a request asks for, at the first of these targets whose API it fits; None if it fits none.

    Raises PathError for a path that may be another one to a server than to us, or is an endpoint with another method.
    """
    method = request.data.method.decode("ascii", "replace")
    if method not in METHODS:
        return None  # a browser's preflight is about the host, not about the API
    full_path, _, query = request.path.partition("?")
    full_path = resolved(full_path)
    params = query_of(query)
    headers = by_name(request.headers.fields)
    # Several have `GET /v1/models`: theirs it is by whose headers its client is known, else the first one's.
    places = [
        (target, path, dialect)
        for target in targets
        if (path := relative_path(target, full_path)) is not None
        for dialect in sorted(_dialects_of(target), key=lambda dialect: not dialect.is_native(headers))
    ]
    for target, path, dialect in places:
        if operation := dialect.operation(method, path, params):
            return Asked(target, path, dialect, operation)
    for target, path, dialect in places:
        if endpoint := dialect.endpoint_like(plain(path)):
            if dialect.operation("POST", path, params):
                if target.kind == "proxy":
                    return None
                raise PathError("the method of this endpoint is POST")
            raise PathError(f"this is written as no client writes it; the endpoint is {endpoint}")
        if dialect.claims(path, headers, params) or (target.kind == "upstream" and _API_PATH.match(path)):
            return Asked(target, path, dialect, Operation("other"))
    return None


def _dialects_of(target: Destination) -> list[Dialect]:
    return [DIALECTS[target.upstream.dialect]] if target.upstream else list(DIALECTS.values())


def _upstreams_at(upstreams: dict[str, Upstream], scheme: str, hosts: set[str], port: int) -> list[Destination]:
    names = {host.lower() for host in hosts}
    return [
        Destination("upstream", name, upstream)
        for name, upstream in upstreams.items()
        if upstream.scheme == scheme and upstream.port == port and upstream.host in names
    ]
