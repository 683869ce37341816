"""Web pages as clients: a browser lets any page send requests to this machine, and says which page it was."""

from urllib.parse import urlsplit

from mitmproxy import http

from antigravity_healing.proxy.guarding.hosts import host_of, is_loopback_name
from antigravity_healing.wire.dialects import DIALECTS

_EXPOSED = ("request-id", "retry-after")


def is_foreign(request: http.Request) -> bool:
    """Whether a browser sends this for a page that is not of this machine."""
    origin = request.headers.get("origin", "").strip().lower()
    if origin:
        # "null" is what a sandboxed frame says. Other schemes are programs': vscode-webview:, chrome-extension:, …
        return origin == "null" or (origin.startswith(("http:", "https:")) and not page_of(request))
    # Without `Origin` go simple GETs and what a person follows or types (`none`); programs say nothing.
    site = request.headers.get("sec-fetch-site", "").strip().lower()
    if site == "same-site":
        # Another port of the same host: another program of this machine, if the host is; else who knows whose.
        return not is_loopback_name(host_of(request.host_header or ""))
    return site not in ("", "none", "same-origin")


def page_of(request: http.Request) -> str:
    """The origin of the page of this machine that a browser sends this for; "" if it is none."""
    origin: str = request.headers.get("origin", "").strip()
    try:
        page = urlsplit(origin.lower())
        scheme, host, port = page.scheme, page.hostname or "", page.port
    except ValueError:
        return ""
    # Nothing but these makes an origin: what else stands there could be another one.
    whole = f"{scheme}://{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"
    return origin if scheme in ("http", "https") and origin.lower() == whole and is_loopback_name(host) else ""


def asked_method(request: http.Request) -> str:
    """The method that a browser asks leave for beforehand; "" where this is no such preflight."""
    if request.method != "OPTIONS" or "origin" not in request.headers:
        return ""
    method: str = request.headers.get("access-control-request-method", "")
    return method


def as_asked(request: http.Request) -> http.Request:
    """A preflight as the request that it asks leave for; any other request as it is."""
    if not (page_of(request) and asked_method(request)):
        return request
    later = request.copy()
    later.method = asked_method(request)
    return later


def preflight(request: http.Request) -> http.Response:
    """The leave for a page of this machine to send what it asks for."""
    leave = {
        "access-control-allow-methods": asked_method(request),
        "access-control-max-age": "600",
        "vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    if wanted := request.headers.get("access-control-request-headers"):
        leave["access-control-allow-headers"] = wanted
    if request.headers.get("access-control-request-private-network") == "true":
        leave["access-control-allow-private-network"] = "true"
    return http.Response.make(204, b"", leave)


def show_to(response: http.Response, page: str) -> None:
    """Let a page read a response, and what it says in headers of our own and of the APIs."""
    headers = response.headers
    own = ("x-", *(dialect.answer_headers for dialect in DIALECTS.values() if dialect.answer_headers))
    names = dict.fromkeys(name.lower() for name in headers if name.lower().startswith(own))
    names |= dict.fromkeys(name for name in _EXPOSED if name in headers)
    headers["access-control-allow-origin"] = page
    if names:
        headers["access-control-expose-headers"] = ", ".join(names)
    varies = headers.get("vary", "")
    if "origin" not in [name.strip().lower() for name in varies.split(",")]:
        headers["vary"] = f"{varies}, Origin" if varies else "Origin"
