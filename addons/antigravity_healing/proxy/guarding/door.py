"""Judges each request before anything is done for it: who asks, by which name it calls the proxy, for which page."""

from collections.abc import Sequence
from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ReverseMode

from antigravity_healing.policy.settings.schema import Clients
from antigravity_healing.proxy.guarding import refusals, web_pages
from antigravity_healing.proxy.guarding.admission import Admission
from antigravity_healing.proxy.guarding.destinations import Destination
from antigravity_healing.proxy.guarding.hosts import hosts_named, is_own_name, is_proxy
from antigravity_healing.proxy.guarding.reach import ITSELF, ReachRequest
from antigravity_healing.proxy.guarding.visits import MOST_HOPS, Visitor, Visits
from antigravity_healing.wire.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Entry:
    """What came of a request at the door.

    key: the client key by which it was let in. page: the origin of this machine's page that asks, or "".
    refusal: the answer to who is not let in.
    """

    visitor: Visitor
    key: str | None
    page: str = ""
    refusal: http.Response | None = None


class Door:
    """Lets requests in, or says why not. A replay is done by the person who runs the proxy, and always let in."""

    def __init__(self, clients: Clients, admission: Admission, visits: Visits) -> None:
        self._clients = clients
        self._admission = admission
        self._visits = visits

    def enter(
        self,
        request: http.Request,
        context: Context,
        mode: HTTPMode,
        targets: Sequence[Destination],
        dialect: Dialect | None,
        *,
        replayed: bool,
    ) -> Entry:
        """Judge a request for the proxy or an upstream. Takes the client keys off it."""
        visitor, key = self._who(request, context)
        if replayed:
            return Entry(visitor, key)
        page = web_pages.page_of(request)
        proxying = mode is not HTTPMode.transparent and targets[0].kind != "proxy"
        asks_leave = bool(page and web_pages.asked_method(request) and visitor.local)
        refusal = _circular(visitor, dialect)
        if refusal is None and not asks_leave:
            refusal = self._admission.refusal(request, visitor, key, dialect, proxying=proxying)
        if refusal is None:
            refusal = self._misnamed(request, context, mode, targets, dialect)
        if refusal is None and asks_leave:
            refusal = web_pages.preflight(request)
        elif refusal is None:
            self._visits.let_in(visitor, key, for_all=False)
        if refusal is not None and page:
            web_pages.show_to(refusal, page)
        return Entry(visitor, key, page, refusal)

    def pass_through(
        self, request: http.Request, context: Context, mode: HTTPMode, *, replayed: bool
    ) -> http.Response | None:
        """Why a request that is for somebody else is not passed on. Takes the client keys off it."""
        visitor, key = self._who(request, context)
        if replayed:
            return None
        refusal = _circular(visitor, None)
        if refusal is None and not visitor.has_shown_a_key:
            refusal = self._admission.stranger_refusal(visitor, key, proxying=mode is not HTTPMode.transparent)
        tunnel = request.method == "CONNECT"
        if refusal is None and tunnel and is_proxy(request.host, request.port, context, self._clients.hosts):
            refusal = refusals.refusal(None, 508, f"{request.host}: {ITSELF}.")
        if refusal is None:
            self._visits.let_in(visitor, key, for_all=tunnel)
        return refusal

    def reach(self, request: http.Request, context: Context, mode: HTTPMode) -> ReachRequest | None:
        """What has to be found out of a request's destination before it is passed on; None if nothing."""
        if self._visits.of(context.client).local or isinstance(context.client.proxy_mode, ReverseMode):
            return None
        if mode is not HTTPMode.transparent:
            return ReachRequest(request.host)
        return ReachRequest(context.server.address[0]) if context.server.address else None

    def is_open_to(self, visitor: Visitor) -> bool:
        """Whether a connection may be made for a visitor at all."""
        known = self._visits.was_let_in(visitor) or visitor.has_shown_a_key
        return known or self._admission.is_at_home(visitor)

    def _who(self, request: http.Request, context: Context) -> tuple[Visitor, str | None]:
        visitor = self._visits.of(context.client)
        key = self._admission.take_keys(request)
        if key is None:
            came_with = self._visits.key_of(visitor)
            key = came_with if self._admission.is_key(came_with) else None
        return visitor, key

    def _misnamed(
        self,
        request: http.Request,
        context: Context,
        mode: HTTPMode,
        targets: Sequence[Destination],
        dialect: Dialect | None,
    ) -> http.Response | None:
        """Refuse a request that calls the proxy, or what it stands for, by a name that is not theirs."""
        theirs = {target.upstream.host for target in targets if target.upstream}
        if mode is HTTPMode.transparent and context.server.address:
            theirs.add(context.server.address[0].rstrip(".").lower())
        for host in sorted(hosts_named(request)):
            if host not in theirs and not is_own_name(host, context, self._clients.hosts):
                message = (
                    f"This proxy is not known as {host[:100]!r}, and a web page could have made that name lead here. "
                    "If it is right, add it to hosts under [clients] in the configuration."
                )
                return refusals.refusal(dialect, 403, message)
        return None


def _circular(visitor: Visitor, dialect: Dialect | None) -> http.Response | None:
    if visitor.hops <= MOST_HOPS:
        return None
    return refusals.refusal(dialect, 508, "This request has come through the proxy twice: it goes in circles.")
