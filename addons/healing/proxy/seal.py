"""Credentials, kept away from flows: taken off the client's request, put on a copy of the request at the wire."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_plus

from mitmproxy import http

CREDENTIAL_HEADERS = ("x-api-key", "authorization", "x-goog-api-key")
CREDENTIAL_PARAMS = ("key", "access_token")
_SHORTEST_SECRET = 8
_REDACTED = b"[redacted]"


@dataclass(frozen=True, slots=True, repr=False)
class Seal:
    """What a request gets at the wire and nowhere else.

    headers: names and values to set. params: query parameters to add, as they are written in a URL.
    """

    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The credentials themselves, without the word before a token."""
        values = [value.rpartition(" ")[2] for _, value in self.headers]
        return (*values, *(unquote_plus(param.partition("=")[2]) for param in self.params))

    def on(self, request: http.Request) -> http.Request:
        """A copy of the request with the credentials on it."""
        sealed = copy.copy(request)
        sealed.data = copy.copy(request.data)
        sealed.headers = request.headers.copy()
        for name, value in self.headers:
            sealed.headers[name] = value
        if self.params:
            joint = "&" if "?" in sealed.path else "?"
            sealed.path += joint + "&".join(self.params)
        return sealed

    def redact(self, data: bytes) -> bytes:
        """The data without any of the credentials."""
        for secret in self._redactable:
            data = data.replace(secret, _REDACTED)
        return data

    def unfinished(self, data: bytes) -> int:
        """How many bytes at the end of the data may be the beginning of a credential."""
        longest = 0
        for secret in self._redactable:
            for length in range(min(len(secret) - 1, len(data)), longest, -1):
                if data.endswith(secret[:length]):
                    longest = length
                    break
        return longest

    def redact_headers(self, headers: http.Headers) -> http.Headers:
        """The headers without any of the credentials."""
        return http.Headers(tuple((name, self.redact(value)) for name, value in headers.fields))

    @property
    def _redactable(self) -> list[bytes]:
        # What is short is no secret, and would take pieces out of ordinary words. A key may begin with another one.
        as_in_urls = (param.partition("=")[2] for param in self.params)
        secrets = {secret for secret in (*self.secrets, *as_in_urls) if len(secret) >= _SHORTEST_SECRET}
        return [secret.encode("utf-8", "surrogateescape") for secret in sorted(secrets, key=len, reverse=True)]

    def without(self, secrets: Iterable[str]) -> "Seal":
        """The same but for these credentials."""
        gone = frozenset(secrets)
        headers = tuple(pair for pair, secret in zip(self.headers, self.secrets, strict=False) if secret not in gone)
        params = tuple(param for param in self.params if unquote_plus(param.partition("=")[2]) not in gone)
        return Seal(headers, params)


def take_off(request: http.Request) -> Seal:
    """Remove every credential that the client presents from its request, and give them."""
    headers: list[tuple[str, str]] = []
    for name in CREDENTIAL_HEADERS:
        headers.extend((name, value) for value in request.headers.get_all(name) if value)
        request.headers.pop(name, None)
    path, mark, query = request.path.partition("?")
    params = query.split("&") if mark else []
    kept = [param for param in params if unquote_plus(param.partition("=")[0]) not in CREDENTIAL_PARAMS]
    if len(kept) < len(params):
        request.path = path + ("?" + "&".join(kept) if kept else "")
    return Seal(tuple(headers), tuple(param for param in params if param not in kept))
