"""Where a request's body has secrets: what lets a model's provider in at an MCP server or another service."""

from collections.abc import Iterator, Mapping
from typing import Any

from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.json.skip import contains, skip_space
from antigravity_healing.wire.json.span import elements_of, members_of, whole_end

# Names without their underscores and in lower case: Google's APIs take both spellings. A secret is a string at "".
_SECRET: Mapping[str, Any] = {"": {}}
_EACH = "*"
_NAMED = {_EACH: _SECRET}
_AUTH = {
    "apikeyconfig": {"apikeystring": _SECRET},
    "oauthconfig": {"accesstoken": _SECRET},
    "httpbasicauthconfig": {"credentialsecret": _SECRET},
}
_SERVICE = {"authconfig": _AUTH}
_SERVER = {"authorizationtoken": _SECRET, "headers": _NAMED, "streamablehttptransport": {"headers": _NAMED}}
_TOOL = {
    "headers": _NAMED,
    "authorization": _SECRET,
    "authorizationtoken": _SECRET,
    "mcpservers": {_EACH: _SERVER},
    "googlemaps": _SERVICE,
    "retrieval": {"externalapi": _SERVICE},
}
_REQUEST = {"mcpservers": {_EACH: _SERVER}, "tools": {_EACH: _TOOL}}
_BATCHED = {"requests": {_EACH: {"params": _REQUEST, "request": _REQUEST}}}
_BODY = {
    **_REQUEST,
    **_BATCHED,
    "batch": {"inputconfig": {"requests": _BATCHED}},
    "generatecontentrequest": _REQUEST,
}


def may_have_secrets(text: bytes, dialect: Dialect) -> bool:
    """Whether it is worth to look for secrets in a body of this dialect: most have none."""
    return any(contains(text, sign) for sign in dialect.secret_signs)


def secret_spans(text: bytes) -> list[tuple[int, int]]:
    """Where the secrets of a JSON body begin and end, without their quotes, in their order; none if it is no JSON."""
    try:
        return list(_spans(text, skip_space(text, 0), whole_end(text), _BODY))
    except (ValueError, RecursionError):
        return []


def _spans(text: bytes, start: int, end: int, wanted: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    match text[start : start + 1]:
        case b"{":
            for member in members_of(text, start, end):
                below = wanted.get(_plain(member.name)) or wanted.get(_EACH)
                if below is not None:
                    yield from _spans(text, member.value, member.end, below)
        case b"[" if _EACH in wanted:
            for first, last in elements_of(text, start, end):
                yield from _spans(text, first, last, wanted[_EACH])
        case b'"' if "" in wanted:
            yield start + 1, end - 1


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
