"""Credentials, kept away from flows: taken off the client's request, put on a copy of the request at the wire."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote_plus

from mitmproxy import http

from healing.wire.headers import without

CREDENTIAL_HEADERS = ("x-api-key", "authorization", "x-goog-api-key")
CREDENTIAL_PARAMS = ("key", "access_token")
_CREDENTIAL_NAMES = frozenset(name.encode() for name in CREDENTIAL_HEADERS)
_SHORTEST_SECRET = 8
_REDACTED = b"[redacted]"


@dataclass(frozen=True, repr=False)
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

    def mask(self, data: bytes) -> bytes:
        """The same, but as long as it was."""
        for secret in self._redactable:
            data = data.replace(secret, _REDACTED.ljust(len(secret), b"*")[: len(secret)])
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
        values = b"\n".join(value for _, value in headers.fields)
        if self.redact(values) == values:
            return headers
        return http.Headers(tuple((name, self.redact(value)) for name, value in headers.fields))

    @cached_property
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
    taken = [(key.lower(), value) for key, value in request.headers.fields if key.lower() in _CREDENTIAL_NAMES]
    if taken:
        request.headers = http.Headers(without(request.headers.fields, _CREDENTIAL_NAMES))
    headers = tuple((key.decode(), value.decode("utf-8", "surrogateescape")) for key, value in taken if value)
    path, mark, query = request.path.partition("?")
    params = query.split("&") if mark else []
    kept = [param for param in params if unquote_plus(param.partition("=")[0]) not in CREDENTIAL_PARAMS]
    if len(kept) < len(params):
        request.path = path + ("?" + "&".join(kept) if kept else "")
    return Seal(headers, tuple(param for param in params if param not in kept))
