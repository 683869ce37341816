"""Who may use the proxy: it adds credentials to what it forwards."""

import hmac
from urllib.parse import urlsplit

from mitmproxy import http

from healing.policy.config import Clients
from healing.proxy import local
from healing.proxy.claims import is_loopback
from healing.proxy.credentials import CredentialError, Credentials
from healing.proxy.seal import Seal
from healing.wire.dialect import Dialect


class Admission:
    """Lets in whoever presents a client key, and this machine's clients unless `loopback_only` is off.

    guarded: whether there is anything to guard: client keys, or accounts whose credentials are added.
    """

    def __init__(self, clients: Clients, credentials: Credentials, *, guarded: bool) -> None:
        self._clients = clients
        self._credentials = credentials
        self._guarded = guarded

    def refusal(
        self, request: http.Request, client_address: str, seal: Seal, dialect: Dialect | None
    ) -> http.Response | None:
        """Why this client is not let in, None if it is."""
        if not self._guarded:
            return None
        if self.key_in(seal) is not None:
            return None
        if _from_a_foreign_page(request):
            message = "This proxy serves no web pages of other hosts: they could spend its accounts' money."
            return local.refusal(dialect, 403, message)
        if self._clients.loopback_only and is_loopback(client_address):
            return None
        if self._clients.keys:
            message = "This proxy asks for a client key, as x-api-key, x-goog-api-key, Authorization: Bearer or ?key=."
            return local.refusal(dialect, 401, message)
        if not self._clients.loopback_only:
            return None
        message = "This proxy serves only clients on its own machine; its configuration's clients.keys lets others in."
        return local.refusal(dialect, 403, message)

    def key_in(self, seal: Seal) -> str | None:
        """The client key that is presented, None if none is."""
        presented = [secret.encode("utf-8", "surrogateescape") for secret in seal.secrets]
        for key in self._keys():
            if any(hmac.compare_digest(key.encode(), secret) for secret in presented):
                return key
        return None

    def without_keys(self, seal: Seal) -> Seal:
        """A client's credentials but for the keys that are meant for the proxy: those never go upstream."""
        return seal.without(self._keys()) if self._clients.keys else seal

    def warnings(self) -> list[str]:
        """Which client keys can't be read now."""
        problems = []
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


def _from_a_foreign_page(request: http.Request) -> bool:
    """Whether a browser sends this for a page that is not of this machine: any page can reach 127.0.0.1."""
    origin = request.headers.get("origin", "").strip().lower()
    page = urlsplit(origin)
    here = page.hostname == "localhost" or is_loopback(page.hostname or "")
    # "null" is what a sandboxed frame says. Other schemes are those of programs: vscode-webview:, chrome-extension:, …
    return origin == "null" or (page.scheme in ("http", "https") and not here)
