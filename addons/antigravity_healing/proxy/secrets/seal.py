"""Credentials, kept away from flows: taken off the client's request, put on a copy of the request at the wire."""

import base64
import binascii
import contextlib
import copy
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from urllib.parse import unquote_plus

from mitmproxy import http

from antigravity_healing.proxy.secrets.redaction import Piecewise, Redaction
from antigravity_healing.wire.dialects import credential_places
from antigravity_healing.wire.http import trace_context
from antigravity_healing.wire.http.headers import Headers, flags_in, lowered, with_flags, without

LONGEST_CREDENTIAL = 16 * 1024
"""In characters. Every answer is searched for it, in each of its spellings."""
COOKIES_FOR_CLIENTS = frozenset((b"set-cookie", b"set-cookie2"))
# What else gateways and clouds let people in by. Not what only ends like it: `idempotency-key`, a session's id.
_MORE_NAMES = re.compile(
    rb"cookie2?|(?:.*[-_])?(?:authorization|auth|(?:api|access|subscription|functions|encryption)[-_]?key"
    rb"|token|secret|password|passphrase|credentials?|jwt|assertion)"
)
_TO_THE_PROXY = b"proxy-authorization"
# As in `Authorization: Scheme name="value", …`.
_WORDS = re.compile(r"[,\s]+")
# What is shorter is rather a preference, in a word that answers have too.
_SHORTEST_COOKIE = 16
_LONGEST_NAME = 64


@dataclass(frozen=True, repr=False)
class Seal:
    """What a request gets at the wire and nowhere else.

    headers: names and values to set. params: query parameters to add, as they are written in a URL.
    more: what else lets a client in somewhere (cookies, a gateway's token): set too, and no proof of who it is.
    body: what stands in the flow's body in place of secrets, and what it stands for, of the same length.
    flags: names in lower case and lists of flags, which join those that the request has; they are no secrets.
    """

    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    more: tuple[tuple[str, str], ...] = ()
    body: tuple[tuple[bytes, bytes], ...] = ()
    flags: tuple[tuple[str, str], ...] = ()

    @property
    def flaw(self) -> str:
        """What is wrong with the credentials, in words; "" if nothing is."""
        name = next((name for name, value in (*self.headers, *self.more) if len(value) > LONGEST_CREDENTIAL), "")
        return f"its header {name} is longer than {LONGEST_CREDENTIAL:,} bytes" if name else ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The credentials themselves, without the word before a token."""
        values = [value.rpartition(" ")[2] for _, value in self.headers]
        return (*values, *(unquote_plus(param.partition("=")[2]) for param in self.params))

    def carries(self, secret: str) -> bool:
        """Whether a header of an account's has this in it."""
        return any(secret in value for _, value in self.headers)

    def on(self, request: http.Request) -> http.Request:
        """A copy of the request with the credentials on it, and without what is no business of upstream's.

        Its body is not looked at, see `unmasked`.
        """
        sealed = copy.copy(request)
        sealed.data = copy.copy(request.data)
        pairs = [_as_bytes(pair) for pair in (*self.headers, *self.more)]
        if request.is_http2 or request.is_http3:
            pairs = list(lowered(pairs))
        names = trace_context.FIELDS | {name.lower() for name, _ in pairs}
        fields = (*without(request.headers.fields, names), *pairs)
        for name, flags in self.flags:
            fields = with_flags(fields, name.encode(), flags_in(flags))
        sealed.headers = http.Headers(fields)
        if self.params:
            joint = "&" if "?" in sealed.path else "?"
            sealed.path += joint + "&".join(self.params)
        return sealed

    def unmasked(self, data: bytes) -> bytes:
        """A request's body with the secrets that it has in no flow."""
        for mask, secret in self.body:
            data = data.replace(mask, secret)
        return data

    def redact(self, data: bytes, *, same_length: bool = False) -> bytes:
        """The data without any of the secrets, in any of their spellings. same_length: also as long as it was."""
        return self._redaction.redact(data, same_length=same_length)

    def redact_text(self, text: str) -> str:
        """The text without any of the secrets."""
        return self.redact(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    def unfinished(self, data: bytes) -> int:
        """How many bytes at the end of the data may be the beginning of a secret."""
        return self._redaction.unfinished(data)

    def piecewise(self, *, same_length: bool = False) -> Piecewise:
        """What redacts a body that comes in pieces."""
        return self._redaction.piecewise(same_length=same_length)

    def redact_headers(self, headers: http.Headers) -> http.Headers:
        """The headers without any of the secrets, in their names and in their values."""
        fields = tuple((self._redaction.redact_name(name), self.redact(value)) for name, value in headers.fields)
        return headers if fields == headers.fields else http.Headers(fields)

    @cached_property
    def _redaction(self) -> Redaction:
        as_in_urls = [param.partition("=")[2] for param in self.params]
        in_params = map(unquote_plus, as_in_urls)
        in_headers = (secret for pair in (*self.headers, *self.more) for secret in _secrets_in(*pair))
        in_body = (secret for _, text in self.body for secret in _secrets_in("authorization", _unescaped(text)))
        return Redaction((*in_params, *as_in_urls, *in_headers, *in_body))

    def without(self, secrets: Iterable[str]) -> "Seal":
        """The same but for these credentials."""
        gone = frozenset(secrets)
        headers = tuple(pair for pair, secret in zip(self.headers, self.secrets, strict=False) if secret not in gone)
        params = tuple(param for param in self.params if unquote_plus(param.partition("=")[2]) not in gone)
        more = tuple(pair for pair in self.more if gone.isdisjoint(_secrets_in(*pair)))
        return replace(self, headers=headers, params=params, more=more)


def take_off(request: http.Request) -> Seal:
    """Remove every credential that the client presents from its request, and give them.

    `Proxy-Authorization` is for the proxy and no upstream: it is removed and not given.
    """
    fields = request.headers.fields
    taken = [(name.lower(), value) for name, value in fields if is_credential(name)]
    if taken:
        request.headers = http.Headers(tuple(pair for pair in fields if not is_credential(pair[0])))
    given = [_as_text(pair) for pair in taken if pair[1] and pair[0] != _TO_THE_PROXY]
    of_apis = credential_places().headers
    headers = tuple(pair for pair in given if pair[0] in of_apis)
    more = tuple(pair for pair in given if pair[0] not in of_apis)
    path, mark, query = request.path.partition("?")
    params = query.split("&") if mark else []
    secret = [param for param in params if _is_credential_param(param)]
    if secret:
        kept = [param for param in params if not _is_credential_param(param)]
        request.path = path + ("?" + "&".join(kept) if kept else "")
    return Seal(headers, tuple(secret), more)


def _is_credential_param(param: str) -> bool:
    return unquote_plus(param.partition("=")[0]) in credential_places().params


def take_cookies(headers: http.Headers) -> tuple[http.Headers, Headers]:
    """An answer's headers without the cookies that it sets, and those: who has them is let in where they are from."""
    kept = without(headers.fields, COOKIES_FOR_CLIENTS)
    if len(kept) == len(headers.fields):
        return headers, ()
    return http.Headers(kept), tuple(pair for pair in headers.fields if pair[0].lower() in COOKIES_FOR_CLIENTS)


def is_credential(name: bytes) -> bool:
    """Whether a header of this name, in a request, lets its sender in somewhere."""
    name = name.lower() if len(name) <= _LONGEST_NAME else name[-_LONGEST_NAME:].lower()
    return _is_credential(name, credential_places().headers)


@lru_cache(256)
def _is_credential(name: bytes, of_apis: tuple[str, ...]) -> bool:
    return name.decode("latin-1") in of_apis or _MORE_NAMES.fullmatch(name) is not None


def _secrets_in(name: str, value: str) -> Iterator[str]:
    """What in a header's value is secret: an upstream may repeat a part of it."""
    if name in ("cookie", "cookie2"):
        values = (part.partition("=")[2].strip(' "') for part in value.split(";"))
        yield from (secret for secret in values if len(secret) >= _SHORTEST_COOKIE)
        return
    yield value
    scheme, _, token = value.strip().partition(" ")
    if not token or not is_credential(name.encode("utf-8", "surrogateescape")):
        return
    words = _WORDS.split(token.strip())
    yield from words
    yield from (word.partition("=")[2].strip('"') for word in words)
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, ValueError):
            user_and_password = base64.b64decode(token.strip(), validate=True).decode("utf-8")
            yield from (user_and_password, user_and_password.partition(":")[2])


def _unescaped(text: bytes) -> str:
    """What the inside of a JSON string says."""
    try:
        plain = json.loads(b'"%b"' % text)
    except ValueError:
        plain = None
    return plain if isinstance(plain, str) else text.decode("utf-8", "surrogateescape")


def _as_bytes(pair: tuple[str, str]) -> tuple[bytes, bytes]:
    name, value = pair
    return name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")


def _as_text(pair: tuple[bytes, bytes]) -> tuple[str, str]:
    name, value = pair
    return name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
