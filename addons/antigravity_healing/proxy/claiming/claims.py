"""Which requests are ours, and what they ask."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl

from mitmproxy import http

from antigravity_healing.proxy.guarding.destinations import Destination, relative_path
from antigravity_healing.proxy.secrets.seal import Seal
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.headers import by_name
from antigravity_healing.wire.http.paths import PathError, plain, resolved
from antigravity_healing.wire.operation import Operation

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
"""Those that the APIs have. No other carries an account's credential."""

_API_PATH = re.compile(r"/(?:upload/|download/)?v1(?:alpha|beta)?\d*/.")


class Asked(NamedTuple):
    """What a request asks for, and where.

    path: without the upstream's prefix, without dot segments and without the query; as it is rightly written, where
    the client's base URL lacks a part of it or has too much.
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
        meant = dialect.meant(method, path, headers) if target.by_base_url else ""
        if meant and (operation := dialect.operation(method, meant, params)):
            return Asked(target, meant, dialect, operation)
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
