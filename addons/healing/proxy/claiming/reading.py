"""What a request says that goes to an account, and what is told where that is not certain."""

import logging
from collections.abc import Sequence
from typing import Any

from mitmproxy import http

from healing.policy.judging.failures import shortened
from healing.policy.routing.accounts import Account
from healing.policy.routing.named_models import Named
from healing.wire.dialect import Dialect
from healing.wire.json.value import digest, parse
from healing.wire.requests.naming import DoubtError, read_certainly

logger = logging.getLogger(__name__)

_LONGEST_SESSION = 256


def read_body(body: bytes) -> tuple[Any, str]:
    """What a request's body says, None where that is no JSON; and why it is not certain, "" if it is."""
    if not body:
        return None, ""
    try:
        return read_certainly(body), ""
    except DoubtError as error:
        doubt = str(error)
    try:
        return parse(body), doubt
    except ValueError:
        return None, doubt  # who asks with a credential of its own is told by upstream


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


def sessions_of(request: http.Request, dialect: Dialect, body: object) -> tuple[str, str]:
    """What the client calls its conversation, and what keeps it on its account; "" where there is nothing."""
    stated = _bounded(request.headers.get(dialect.session_header, ""))
    try:
        stated = stated or _bounded(dialect.stated_session(body))
        return stated, stated or _bounded(dialect.session_of(body) or "")
    except Exception:
        logger.exception("a conversation could not be recognised; this is a bug")
        return stated, stated


def _bounded(session: str) -> str:
    """What a client calls its conversation, or a digest of it where that is long."""
    return session if len(session) <= _LONGEST_SESSION else digest("session", session)
