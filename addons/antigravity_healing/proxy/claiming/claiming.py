"""Claiming: which requests are for the proxy to heal or to answer, and who sends them."""

from collections.abc import Mapping
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ReverseMode

from antigravity_healing.proxy.claiming.claims import Asked, Claim, understand
from antigravity_healing.proxy.claiming.eligibility import Eligibility
from antigravity_healing.proxy.claiming.local_answers import LocalAnswers
from antigravity_healing.proxy.claiming.own_paths import is_own, own_paths
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.guarding.destinations import Destination, find_targets
from antigravity_healing.proxy.guarding.web_pages import as_asked, show_to
from antigravity_healing.proxy.secrets.seal import take_off
from antigravity_healing.wire.http.fields import wrong_fields, wrong_target
from antigravity_healing.wire.http.paths import PathError


class Claiming:
    """Claims requests."""

    def __init__(self, state: State, eligibility: Eligibility, local_answers: LocalAnswers) -> None:
        self._state = state
        self._eligibility = eligibility
        self._local_answers = local_answers

    def serves(self, request: http.Request) -> bool:
        """Whether a request, by its own words, is for a healed endpoint of a configured upstream."""
        address = (request.scheme, request.host, request.port)
        targets = [
            Destination("upstream", name, upstream)
            for name, upstream in self._state.config.upstreams.items()
            if (upstream.scheme, upstream.host, upstream.port) == address
        ]
        try:
            asked = understand(request, targets)
        except PathError:
            return False
        return asked is not None and asked.operation.kind != "other"

    def claim(
        self, request: http.Request, context: Context, mode: HTTPMode, recorded: Mapping[str, Any] | None
    ) -> Claim | None:
        """Claim a request whose headers have come, None if it passes. Takes the credentials for us and others off it.

        recorded: for a replay, the story of the flow that was recorded.
        """
        targets = self._recorded_targets(recorded)
        if targets is None:
            targets = find_targets(
                request, context, mode, self._state.config.upstreams, self._state.config.clients.hosts
            )
        at_proxy = bool(targets) and targets[0].kind == "proxy"
        reverse = isinstance(context.client.proxy_mode, ReverseMode)
        flaw = wrong_target(request.data.path, ascii_only=True) or wrong_fields(request.headers.fields)
        asked = None
        try:
            asked = understand(as_asked(request) if at_proxy or reverse else request, targets)
        except PathError as error:
            if at_proxy or any(self._eligibility.has_accounts(target) for target in targets):
                flaw = flaw or str(error)
        dialect = asked.dialect if asked else None
        flawed = refusals.refusal(dialect, 400, f"This request is not taken: {flaw}.") if flaw else None
        replayed = recorded is not None
        for_api = any(target.kind == "upstream" for target in targets)
        own = (at_proxy or reverse) and is_own(request.data.path, own_paths(at_proxy=at_proxy, for_api=for_api))
        if not own and (not targets or not (at_proxy or flaw or asked is not None)):
            refusal = self._state.door.pass_through(request, context, mode, replayed=replayed) or flawed
            refusal = refusal or (None if replayed else self._state.under_way.refusal(dialect))
            return Claim(None, "", take_off(request), refusal) if refusal else None
        entry = self._state.door.enter(request, context, mode, targets, dialect, replayed=replayed)
        seal = take_off(request)
        known = (recorded or {}).get("client")
        client = str(known or self._state.client_at(entry.visitor, entry.key or next(iter(seal.secrets), "")))
        path, _, query = request.path.partition("?")
        with refusals.asked_by(client, request):
            if not flawed and seal.flaw:
                flawed = refusals.refusal(dialect, 431, f"This request is not taken: {seal.flaw}.")
            answer = entry.refusal or flawed or (None if replayed else self._state.under_way.refusal(dialect))
            if answer is None and (at_proxy or own):
                answer = self._own_answer(request, path, asked)
                if answer is not None and entry.page:
                    show_to(answer, entry.page)
        return Claim(asked, query, seal, answer, client, entry.page)

    def _own_answer(self, request: http.Request, path: str, asked: Asked | None) -> http.Response | None:
        """What the proxy says to a request that is for itself; None where an upstream is to be asked."""
        answer = self._local_answers.answer(request.method, path, asked)
        if answer is None and asked is None:
            answer = refusals.not_found(request, path)
        if answer is not None and answer.status_code == 421 and not request.is_http2:
            answer.headers["connection"] = "close"
        return answer

    def _recorded_targets(self, recorded: Mapping[str, Any] | None) -> list[Destination] | None:
        """Where a replayed request goes: to the upstream that it was recorded for, "" being the proxy itself."""
        if recorded is None or (name := recorded.get("upstream")) is None:
            return None
        upstream = self._state.config.upstreams.get(name)
        return [Destination("upstream" if upstream else "proxy", name if upstream else "", upstream, by_base_url=True)]
