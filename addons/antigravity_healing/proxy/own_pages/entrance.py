"""Who may see the proxy's own pages, and act by them: judged as requests for the API are, and more strictly."""

import hmac
from collections.abc import Collection

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode

from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.guarding import refusals, web_pages
from antigravity_healing.proxy.guarding.destinations import Destination
from antigravity_healing.proxy.guarding.hosts import is_proxy
from antigravity_healing.proxy.guarding.proxy_auth import refusal_without_flow
from antigravity_healing.proxy.own_pages.opening import split_authority
from antigravity_healing.proxy.own_pages.pages import TOKEN_HEADER, PageAnswer
from antigravity_healing.wire.dialects import credential_places

_KEY_CHALLENGE = 'Basic realm="client key"'
_SITES_OF_ITS_OWN = ("", "none", "same-origin")
_NEVER_HANDED_ON = ("cookie", "proxy-authorization", TOKEN_HEADER)


def refusal(request: http.Request, context: Context, state: State, *, shared: bool) -> http.Response | None:
    """The answer to who is not let in, None for who is. Takes the client keys off the request.

    shared: whether other pages of this machine may read what is asked for.
    """
    if not request.headers.get("host", "").strip():
        return refusals.refusal(None, 400, "This request does not say by which name it calls the proxy (Host).")
    if turned_away := refusal_without_flow(request, context.client, as_server=not shared):
        return turned_away
    if not shared and (why := _foreign(request, context)):
        return refusals.refusal(None, 403, why)
    # Whatever the mode, it is the proxy that is asked and not what it stands for.
    entry = state.door.enter(request, context, HTTPMode.regular, [Destination("proxy")], None, replayed=False)
    found = entry.refusal
    if found is not None and found.status_code == 401:
        # All that a browser can do for a person who has a key.
        found.headers["www-authenticate"] = _KEY_CHALLENGE
    return found


def refused_action(request: http.Request, context: Context, token: str) -> http.Response | None:
    """The answer to a POST that does not come from the proxy's own page, None to one that does.

    token: what that page has got.
    """
    why = _unproven(request, context, token)
    return refusals.refusal(None, 403, why) if why else None


def show_to_page(request: http.Request, answer: PageAnswer) -> PageAnswer:
    """Let the page of this machine that asks, if one does, read an answer that it may have."""
    if not (page := web_pages.page_of(request)):
        return answer
    shown = http.Response.make(answer.status, b"", {})
    web_pages.show_to(shown, page)
    shown.headers.pop("content-length", None)
    return PageAnswer(
        answer.status, answer.content_type, answer.body, {**dict(shown.headers.items()), **answer.headers}
    )


def without_credentials(request: http.Request) -> dict[str, str]:
    """The headers that handlers see."""
    kept_back = {*credential_places().headers, *_NEVER_HANDED_ON}
    return {name.lower(): value for name, value in request.headers.items() if name.lower() not in kept_back}


def names_proxy(authority: bytes, context: Context, hosts: Collection[str]) -> bool:
    """Whether a target's `host:port` is the address at which the proxy was reached. hosts: more names of it."""
    host, port = split_authority(authority)
    return bool(host) and is_proxy(host, port, context, hosts)


def _origin(request: http.Request, context: Context) -> str:
    """The origin of the page by which the proxy is called by this name."""
    return f"{'https' if context.client.tls else 'http'}://{request.headers.get('host', '').strip().lower()}"


def _foreign(request: http.Request, context: Context) -> str:
    """Why a request is none of the proxy's own page, "" where it is, or a program's or a person's."""
    origin = request.headers.get("origin", "").strip().lower()
    site = request.headers.get("sec-fetch-site", "").strip().lower()
    if (origin and origin != _origin(request, context)) or site not in _SITES_OF_ITS_OWN:
        return "This is for the proxy's own page only: another page asks for it, or leads to it. Type its address."
    return ""


def _unproven(request: http.Request, context: Context, token: str) -> str:
    """Why an action is not taken, "" if it may be."""
    if request.headers.get("origin", "").strip().lower() != _origin(request, context):
        return "An action needs the Origin of the proxy's own page."
    if request.headers.get("sec-fetch-site", "same-origin").strip().lower() != "same-origin":
        return "An action is taken for the proxy's own page only."
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return "An action needs Content-Type: application/json."
    shown = request.headers.get(TOKEN_HEADER, "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(shown, token.encode()):
        return "An action needs the header X-Antigravity-Token, as GET /antigravity/token gives it."
    return ""
