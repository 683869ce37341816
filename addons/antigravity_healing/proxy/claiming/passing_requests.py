"""Requests outside of the healed endpoints: on which account they pass, and what their answers tell of it."""

import re

from mitmproxy import http

from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.exchange.placing import client_place, strays
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.named_models import Named, takes_all
from antigravity_healing.policy.routing.request import ClientRequest, Owner
from antigravity_healing.policy.routing.routes import Route
from antigravity_healing.policy.signing.things import Things
from antigravity_healing.proxy.claiming.claims import Claim, query_of
from antigravity_healing.proxy.claiming.eligibility import uncertain, unserved
from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.guarding.refusals import RefusedError
from antigravity_healing.wire.json.value import parse
from antigravity_healing.wire.requests.naming import DoubtError, models_of
from antigravity_healing.wire.requests.things import may_be_named, may_name, named_in_answer, named_in_request

_UPLOADS = re.compile(r"/upload/|/v1/(?:files|skills)(?:/|$)")
_LIVE = re.compile(r"//?ws/")
_NO_ROUTE = Route(None, "", None)
_LONGEST_READ = 1024 * 1024


def passing_of(governor: Governor, claim: Claim, request: http.Request) -> Account | Exchange:
    """The one account that all such requests use, as what they make lies there; for one that names what may lie with
    another account, an exchange, which asks them in turn.

    Raises RefusedError where no account may serve a model that the request names.
    """
    with refusals.asked_by(claim.client, request):
        return _passing_of(governor, claim, request)


def _passing_of(governor: Governor, claim: Claim, request: http.Request) -> Account | Exchange:
    assert claim.asked is not None
    _, path, dialect, operation = claim.asked
    there = _placed(claim, governor.eligibility.accounts_for(claim, _NO_ROUTE, Named()))
    body = governor.maker.plain_body(request, dialect) if len(there) > 1 or not takes_all(there[0].models) else b""
    value, things = None, frozenset[str]()
    if len(there) > 1 and request.method != "HEAD":
        value = _json_of(body) if may_name(dialect, operation, body) else None
        things = named_in_request(dialect, operation, path, query_of(claim.query), body, value)
    if _LIVE.match(path):
        there = _serving_all(claim, there)
    eligible = _fitting(claim, body, there if things else there[:1])
    if len(eligible) < 2:
        return eligible[0]
    exchange_id = governor.maker.new_id()
    asked = ClientRequest(
        exchange_id, dialect, operation, request.method, path, claim.query, body, "", False, _NO_ROUTE,
        exchange_id, value, Owner(claim.client), vertex=client_place(dialect, path),
    )  # fmt: skip
    return governor.maker.begin(asked, eligible, claim)


def is_upload(claim: Claim, request: http.Request) -> bool:
    """Whether a request's body is a file: it names no model and nothing that lies with an account, and has no masks."""
    assert claim.asked is not None
    kind = request.headers.get("content-type", "json").lower()
    return request.method in ("POST", "PUT", "PATCH") and "json" not in kind and bool(_UPLOADS.match(claim.asked.path))


def learn(governor: Governor, claim: Claim, account: Account, response: http.Response) -> None:
    """What the answer to such a request names lies with the account that gave it."""
    content = response.raw_content or b""
    if claim.asked is None or len(governor.accounts.all) < 2:
        return
    dialect, path = claim.asked.dialect, claim.asked.path
    if (
        not 200 <= response.status_code < 300
        or len(content) > _LONGEST_READ
        or not may_be_named(dialect, path, content)
    ):
        return
    named = named_in_answer(dialect, path, _json_of(content))
    if named:
        Things(named, Owner(claim.client), governor.signatures, governor.clock.wall).lie_with(account)


def _placed(claim: Claim, accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    """Those on which the request stays in their own project. Raises RefusedError where it does on none."""
    assert claim.asked is not None
    _, path, dialect, _ = claim.asked
    if not (found := tuple(account for account in accounts if not strays(account, dialect, path))):
        message = f"This request is not sent with an account's credential: {strays(accounts[0], dialect, path)}."
        raise RefusedError(refusals.refusal(dialect, 400, message))
    return found


def _serving_all(claim: Claim, accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    """Those that may serve whatever model is named later. Raises RefusedError where none may."""
    assert claim.asked is not None
    if not (found := tuple(account for account in accounts if takes_all(account.models))):
        message = "A WebSocket names its model after it is open: it needs an account that serves any, without models."
        raise RefusedError(refusals.refusal(claim.asked.dialect, 404, message))
    return found


def _fitting(claim: Claim, body: bytes, accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    """Those that may serve all models that the request names. Raises RefusedError where none may."""
    assert claim.asked is not None
    if all(takes_all(account.models) for account in accounts):
        return accounts
    try:
        named = Named(models_of(claim.asked.path, query_of(claim.query), body))
    except DoubtError as error:
        raise RefusedError(refusals.refusal(claim.asked.dialect, 400, uncertain(str(error)))) from None
    if fitting := tuple(account for account in accounts if named.fits(account.models)):
        return fitting
    raise RefusedError(refusals.refusal(claim.asked.dialect, 404, unserved(named, accounts)))


def _json_of(body: bytes) -> object:
    """What a body says, None where that is no JSON."""
    try:
        return parse(body) if body[:1] in (b"{", b"[") or body.lstrip()[:1] in (b"{", b"[") else None
    except ValueError:
        return None
