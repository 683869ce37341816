"""Eligibility: which accounts may be asked for what a request wants."""

import logging
from collections.abc import Sequence

from pydantic import ValidationError

from antigravity_healing.policy.exchange.placing import client_place, meant_by
from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.named_models import Named
from antigravity_healing.policy.routing.routes import Route
from antigravity_healing.policy.settings.schema import RESERVED_ACCOUNT, Upstream
from antigravity_healing.proxy.claiming.claims import Claim
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.guarding.destinations import Destination
from antigravity_healing.proxy.guarding.refusals import RefusedError

logger = logging.getLogger(__name__)


class Eligibility:
    """Finds the accounts for a request."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._unpaid: set[str] = set()

    def has_accounts(self, target: Destination) -> bool:
        """Whether any account serves there; else the client's own credential is what counts."""
        return bool(self._state.groups.at(target.upstream_name).accounts)

    def accounts_for(self, claim: Claim, route: Route, named: Named) -> tuple[Account, ...]:
        """The accounts that may be asked, at least one. Raises RefusedError where there are, and none may."""
        assert claim.asked is not None
        target, _, dialect, _ = claim.asked
        upstreams = self._state.config.upstreams
        spoken = upstreams[route.upstream].dialect if route.upstream else dialect.name
        name = route.upstream or target.upstream_name
        if target.kind == "reverse" and not route.upstream:
            assert target.upstream is not None
            return (self._own_account(claim, "reverse", target.upstream),)
        there = self._state.groups.at(name) if name else self._state.groups.speaking(spoken)
        if not there.accounts:
            name = name or spoken
            if spoken != dialect.name and name not in self._unpaid:
                self._unpaid.add(name)
                logger.warning("%s has no account: what is translated for it goes there without a credential", name)
            return (self._own_account(claim, name, self._own_upstream(claim, upstreams[name])),)
        if named.doubt:
            raise RefusedError(refusals.refusal(dialect, 400, uncertain(named.doubt)))
        if spoken != dialect.name:
            named = Named(named.models[:1])  # a translated request names nothing else
        eligible = there.fitting(named)
        if not eligible:
            status = 404 if all(named.models) else 400
            raise RefusedError(refusals.refusal(dialect, status, unserved(named, there.accounts)))
        return eligible

    def _own_upstream(self, claim: Claim, upstream: Upstream) -> Upstream:
        """Where the client's own credential is for, where nobody else's is used. Raises RefusedError."""
        assert claim.asked is not None
        try:
            return meant_by(client_place(claim.asked.dialect, claim.asked.path), upstream)
        except ValidationError:
            message = "The path names a project or a location that Vertex AI can't have."
            raise RefusedError(refusals.refusal(claim.asked.dialect, 400, message)) from None

    def _own_account(self, claim: Claim, name: str, upstream: Upstream) -> Account:
        """The client's own credential as an account: what upstream says of it holds for it and for nobody else's."""
        assert claim.asked is not None
        secrets: Sequence[str] = ()
        if upstream.dialect == claim.asked.dialect.name:
            secrets = claim.seal.secrets or [value for _, value in claim.seal.more]
        owner = self._state.digest("\0".join((upstream.url, *(secrets or ("", claim.client)))))
        return Account(RESERVED_ACCOUNT, RESERVED_ACCOUNT, name, upstream, owner=owner)


def uncertain(doubt: str) -> str:
    """What a client is told whose request can't be read for certain."""
    return f"This request is not sent with an account's credential: {doubt}."


def unserved(named: Named, accounts: Sequence[Account]) -> str:
    """Why none of these accounts may serve this."""
    see = "see `models` of the accounts " + ", ".join(account.name for account in accounts)
    if not all(named.models):
        return f"The request names no model, and no account may serve every model: {see}."
    if len(named.models) == 1:
        return f"No account may serve model {shortened(named.models[0])!r}: {see}."
    return f"No account may serve all of the models that this request names: {see}."
