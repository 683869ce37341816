"""mitmproxy's own `--proxyauth`: it asks each client's request once, and finds there what it asks for."""

from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addons.proxyauth import REALM, http_auth_header, is_http_proxy, parse_http_basic_auth
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import RegularMode, UpstreamMode

from antigravity_healing.proxy.guarding.refusals import refusal
from antigravity_healing.wire.dialect import Dialect

_STATUS = {True: 407, False: 401}
_CHALLENGE = {True: "Proxy-Authenticate", False: "WWW-Authenticate"}


def take_for_proxyauth(request: http.Request, client: Client) -> tuple[str, str] | None:
    """The header with a user and a password that mitmproxy is about to ask for, None if it is there for nobody.

    It is for the proxy. Where it would be taken for the client's credential for the API, it is removed: the caller
    puts it back once the others have been taken off.
    """
    addon: Any = ctx.master.addons.get("proxyauth")
    if addon is None or addon.validator is None or client in addon.authenticated:
        return None
    name = http_auth_header(isinstance(client.proxy_mode, RegularMode | UpstreamMode))
    value = request.headers.get(name, "")
    if not value.lower().startswith("basic "):
        return None
    if name == "Authorization":
        del request.headers[name]
    return name, value


def refusal_by_proxyauth(flow: http.HTTPFlow, dialect: Dialect | None) -> http.Response | None:
    """The answer, in the client's dialect, to a request that mitmproxy has turned away; None if it has not.

    Takes off what did not let its sender in.
    """
    addon: Any = ctx.master.addons.get("proxyauth")
    if addon is None or addon.validator is None or flow.response is None or "proxyauth" in flow.metadata:
        return None
    at_proxy = is_http_proxy(flow)
    if flow.response.status_code != _STATUS[at_proxy] or _CHALLENGE[at_proxy] not in flow.response.headers:
        return None
    flow.request.headers.pop(http_auth_header(at_proxy), None)
    return _asking(dialect, at_proxy)


def refusal_without_flow(request: http.Request, client: Client, *, as_server: bool) -> http.Response | None:
    """The same for a request that mitmproxy does not see; takes off what lets its sender in.

    as_server: whether it is asked, and may show the password, as at a server. Browsers do for a page.
    """
    addon: Any = ctx.master.addons.get("proxyauth")
    if addon is None or addon.validator is None or client in addon.authenticated:
        return None
    at_proxy = isinstance(client.proxy_mode, RegularMode | UpstreamMode)
    for name in dict.fromkeys((http_auth_header(at_proxy), http_auth_header(at_proxy and not as_server))):
        try:
            _, user, password = parse_http_basic_auth(request.headers.get(name, ""))
            valid = addon.validator(user, password)
        except Exception:
            # As mitmproxy has it: nobody is let in by what can't be understood, or asked for.
            continue
        if valid:
            del request.headers[name]
            return None
    return _asking(None, at_proxy and not as_server)


def _asking(dialect: Dialect | None, at_proxy: bool) -> http.Response:
    name = http_auth_header(at_proxy)
    message = f"This proxy asks for a user and a password, as {name}: Basic (mitmproxy's option proxyauth)."
    answer = refusal(dialect, _STATUS[at_proxy], message)
    answer.headers[_CHALLENGE[at_proxy]] = f'Basic realm="{REALM}"'
    return answer
