"""The dialects that there are, and what is asked of all of them together."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.dialect import CredentialPlaces, Dialect
from antigravity_healing.wire.gemini.dialect import Gemini

_DIALECTS: dict[str, Dialect] = {}
DIALECTS: Mapping[str, Dialect] = MappingProxyType(_DIALECTS)
"""By their names, in the order in which they are asked whether a request is theirs."""


def register(dialect: Dialect) -> None:
    """Add a dialect, or put it in the place of the one with its name; before a configuration is read."""
    _DIALECTS[dialect.name] = dialect
    for made in (credential_places, flag_headers):
        made.cache_clear()


@cache
def credential_places() -> CredentialPlaces:
    """Where any client puts what lets it in."""
    places = [dialect.credentials for dialect in DIALECTS.values()]
    headers = dict.fromkeys(name for each in places for name in each.headers)
    return CredentialPlaces(tuple(headers), tuple(dict.fromkeys(name for each in places for name in each.params)))


@cache
def flag_headers() -> frozenset[bytes]:
    """The headers that are lists of flags: whoever has one to add does not replace the others.

    Not those whose values belong together, or are of one sender: `accept`, `x-goog-api-client`, `baggage`.
    """
    return frozenset(dialect.flag_header.encode() for dialect in DIALECTS.values() if dialect.flag_header)


register(Anthropic())
register(Gemini())
