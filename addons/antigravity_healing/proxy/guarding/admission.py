"""Who may use the proxy: it adds credentials to what it forwards, and its machine reaches what others do not."""

import base64
import binascii
import hmac
from urllib.parse import unquote_plus

from mitmproxy import http

from antigravity_healing.policy.settings.schema import Clients
from antigravity_healing.proxy.guarding import refusals, web_pages
from antigravity_healing.proxy.guarding.visits import Visitor
from antigravity_healing.proxy.secrets.credentials import CredentialError, Credentials
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS, credential_places

_PROXY_AUTHORIZATION = "proxy-authorization"


class Admission:
    """Lets in whoever presents a client key, and this machine's clients unless `loopback_only` is off.

    guarded: whether there is anything to guard from web pages: client keys, or accounts whose credentials are added.
    """

    def __init__(self, clients: Clients, credentials: Credentials, *, guarded: bool) -> None:
        self._clients = clients
        self._credentials = credentials
        self._guarded = guarded

    def refusal(
        self, request: http.Request, visitor: Visitor, key: str | None, dialect: Dialect | None, *, proxying: bool
    ) -> http.Response | None:
        """Why a request that the proxy does something for itself is not let in, None if it is.

        key: the client key that came with it or with its connection. proxying: whether the client takes the proxy for
        one, and not for the API itself.
        """
        if key is None and self._guarded and web_pages.is_foreign(request):
            message = "This proxy serves no web pages of other hosts: they could spend its accounts' money."
            return refusals.refusal(dialect, 403, message)
        return self.stranger_refusal(visitor, key, dialect, proxying=proxying)

    def stranger_refusal(
        self, visitor: Visitor, key: str | None, dialect: Dialect | None = None, *, proxying: bool
    ) -> http.Response | None:
        """The same, whatever the request is for: who is from elsewhere has to show a key."""
        if key is not None or self.is_at_home(visitor):
            return None
        if not self._clients.keys:
            here = "" if self._clients.loopback_only else " that present a key"
            message = f"This proxy serves only clients on its own machine{here}; its configuration's clients.keys lets "
            return refusals.refusal(dialect, 403, message + "others in.")
        if not proxying:
            return refusals.refusal(dialect, 401, f"This proxy asks for a client key, as {_ways_to_show_a_key()}.")
        message = "This proxy asks for a client key, as Proxy-Authorization: Bearer, or Basic with the key as password."
        answer = refusals.refusal(dialect, 407, message)
        answer.headers.set_all("proxy-authenticate", ['Basic realm="client key"', 'Bearer realm="client key"'])
        return answer

    def is_at_home(self, visitor: Visitor) -> bool:
        """Whether a visitor needs no key."""
        return visitor.local and self._clients.loopback_only

    def take_keys(self, request: http.Request) -> str | None:
        """Take the client keys off a request, wherever they are, and give one; None if it presents none.

        They are meant for the proxy. All else, the client's credentials for others among it, stays as it is.
        """
        keys = self._keys()
        if not keys:
            return None
        found = _take_from_headers(request, keys) + _take_from_query(request, keys)
        return found[0] if found else None

    def is_key(self, key: str | None) -> bool:
        """Whether this is a client key now."""
        return key is not None and _match((key,), self._keys()) is not None

    def warnings(self) -> list[str]:
        """Which client keys can't be read now."""
        problems = []
        if not self._clients.loopback_only and not self._clients.keys:
            problems.append("clients.loopback_only is false and there are no clients.keys: nobody is let in")
        for number, secret in enumerate(self._clients.keys):
            try:
                self._credentials.resolve(secret)
            except CredentialError as error:
                problems.append(f"clients.keys[{number}] lets nobody in: {error}")
        return problems

    def _keys(self) -> list[str]:
        keys = []
        for secret in self._clients.keys:
            try:
                keys.append(self._credentials.resolve(secret))
            except CredentialError:
                continue  # a key that can't be read lets nobody in; `warnings` tells
        return keys


def _ways_to_show_a_key() -> str:
    places = [dialect.credentials for dialect in DIALECTS.values()]
    params = [f"?{each.params[0]}=" for each in places if each.params]
    *ways, last = dict.fromkeys((*(each.headers[0] for each in places), "Authorization: Bearer", *params))
    return f"{', '.join(ways)} or {last}"


def _match(presented: tuple[str, ...], keys: list[str]) -> str | None:
    secrets = [secret.encode("utf-8", "surrogateescape") for secret in presented]
    for key in keys:
        if any(hmac.compare_digest(key.encode(), secret) for secret in secrets):
            return key
    return None


def _possible_keys(credential: str) -> tuple[str, ...]:
    """What may be a key in the value of a header: all of it, a token, a Basic user or password."""
    scheme, _, value = credential.strip().rpartition(" ")
    if scheme.lower().strip() != "basic":
        return (value,)
    try:
        user, _, password = base64.b64decode(value, validate=True).decode("utf-8", "surrogateescape").partition(":")
    except (binascii.Error, ValueError):
        return ()
    return password, user


def _take_from_headers(request: http.Request, keys: list[str]) -> list[str]:
    found = []
    for name in (_PROXY_AUTHORIZATION, *credential_places().headers):
        values = request.headers.get_all(name)
        held = [_match(_possible_keys(value), keys) for value in values]
        if any(held):
            request.headers.set_all(name, [value for value, key in zip(values, held, strict=True) if key is None])
            found += [key for key in held if key is not None]
    return found


def _take_from_query(request: http.Request, keys: list[str]) -> list[str]:
    path, _, query = request.path.partition("?")
    params = [(param, *param.partition("=")[::2]) for param in query.split("&")]
    held = [
        _match((unquote_plus(value),), keys) if unquote_plus(name) in credential_places().params else None
        for _, name, value in params
    ]
    if any(held):
        kept = [param for (param, *_), key in zip(params, held, strict=True) if key is None]
        request.path = path + ("?" + "&".join(kept) if kept else "")
    return [key for key in held if key is not None]
