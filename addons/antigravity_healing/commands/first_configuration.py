"""A first configuration, made of what the environment has: the names of its variables, never their values."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError

from antigravity_healing.policy.settings.schema import Upstream
from antigravity_healing.policy.settings.values import VERTEX_NAME
from antigravity_healing.proxy.guarding.addresses import is_loopback
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.vertex import GLOBAL

_HEAD = """\
# The healing proxy's configuration. A change is taken up while it runs.
# `antigravity check` says whether each account can be used.
"""
_WITHOUT = """
# No key was found in the environment ({names}).
# Without accounts each client's own key is used. Take away the # from what you have:
"""
_EXAMPLE = """
# [[accounts]]
# name = "{name}"
# upstream = "{name}"
# api_key = "env:{variable}"   # or file:PATH, cmd:COMMAND, or the key itself
"""
_ACCOUNT = """
[[accounts]]
name = "{name}"
upstream = "{upstream}"
{kind} = "env:{variable}"   # read from the proxy's environment; file:PATH and cmd:COMMAND can be had, too
"""
_VERTEX_ACCOUNT = """
[[accounts]]
name = "{name}"
upstream = "{name}"
bearer = "adc:"   # Google's Application Default Credentials: they need the extra [vertex]
"""
_VERTEX_UPSTREAM = """
[upstreams.{name}]   # Vertex AI, as {flag} and those beside it say
project = {project}
location = {location}
"""
_UPSTREAM = """
[upstreams.{name}]   # as {variable} says
url = {url}
"""
_CLIENTS = """
# [clients]
# keys = ["env:GATEWAY_KEY"]   # lets in clients from other machines that present it
"""
_YES = ("1", "true", "yes", "on")


class _Found(NamedTuple):
    """A variable with a credential. kind: what the configuration calls it."""

    dialect: Dialect
    kind: str
    variable: str


class _VertexPlace(NamedTuple):
    """A place at Vertex AI. flag: the variable that has it asked."""

    flag: str
    project: str
    location: str


def variables_looked_at() -> list[str]:
    """The variables in which a credential is looked for; each also with _2, _3, … behind it."""
    return [name for dialect in DIALECTS.values() for name in (*dialect.variables.keys, *dialect.variables.tokens)]


def vertex_flags() -> list[str]:
    """The variables that say that an API is to be asked at Vertex AI."""
    return [dialect.variables.vertex.flag for dialect in DIALECTS.values() if dialect.variables.vertex is not None]


def first_configuration(environment: Mapping[str, str]) -> str:
    """The text of a configuration with an account for each credential in the environment, which has no secret in it.

    A base URL that the environment names becomes its upstream's: the credentials beside it are meant for it. Where it
    says that an API is to be asked at Vertex AI, that is all there is for that: the keys beside it are not for there.
    """
    places = {name: place for name, dialect in DIALECTS.items() if (place := _vertex_place(dialect, environment))}
    credentials = (each for each in _credentials(environment) if each.dialect.name not in places)
    found = list(_without_repetition(credentials, environment))
    counts = dict.fromkeys(DIALECTS, 0)
    text = _HEAD
    for each in found:
        name = each.dialect.name
        counts[name] += 1
        number = counts[name]
        own = name if number == 1 else f"{name}-{number}"
        text += _ACCOUNT.format(name=own, upstream=name, kind=each.kind, variable=each.variable)
    for name, place in places.items():
        text += _VERTEX_ACCOUNT.format(name=name)
        project, location = json.dumps(place.project), json.dumps(place.location)
        text += _VERTEX_UPSTREAM.format(name=name, flag=place.flag, project=project, location=location)
    for dialect in dict.fromkeys(each.dialect for each in found):
        if url := _base_url(dialect, environment):
            text += _UPSTREAM.format(name=dialect.name, variable=dialect.variables.base_url, url=json.dumps(url))
    if not found and not places:
        text += _WITHOUT.format(names=", ".join(variables_looked_at()))
        for dialect in DIALECTS.values():
            if dialect.variables.keys:
                text += _EXAMPLE.format(name=dialect.name, variable=dialect.variables.keys[0])
    return text + _CLIENTS


def _credentials(environment: Mapping[str, str]) -> Iterator[_Found]:
    for dialect in DIALECTS.values():
        kinds = ("api_key", dialect.variables.keys), ("bearer", dialect.variables.tokens)
        for kind, names in kinds:
            for name in names:
                yield from (_Found(dialect, kind, each) for each in _numbered(name, environment))


def _numbered(name: str, environment: Mapping[str, str]) -> list[str]:
    """The variable and those with a number behind it, as far as there is something in them, in order."""
    numbers = {
        int(match[1] or 0): each
        for each, value in environment.items()
        if (match := re.fullmatch(rf"{re.escape(name)}(?:_([1-9][0-9]{{0,3}}))?", each)) and value.strip()
    }
    return [numbers[number] for number in sorted(numbers)]


def _without_repetition(found: Iterable[_Found], environment: Mapping[str, str]) -> Iterator[_Found]:
    """Of variables with the same credential the first: it is one account."""
    seen = set[tuple[str, str]]()
    for each in found:
        key = each.dialect.name, environment[each.variable].strip()
        if key not in seen:
            seen.add(key)
            yield each


def _vertex_place(dialect: Dialect, environment: Mapping[str, str]) -> _VertexPlace | None:
    """Where the environment has an API asked at Vertex AI, None where it does not."""
    variables = dialect.variables.vertex
    if variables is None or environment.get(variables.flag, "").strip().lower() not in _YES:
        return None
    project = environment.get(variables.project, "").strip()
    location = environment.get(variables.location, "").strip() or GLOBAL
    both = re.fullmatch(VERTEX_NAME, project) and re.fullmatch(VERTEX_NAME, location)
    return _VertexPlace(variables.flag, project, location) if both else None


def _base_url(dialect: Dialect, environment: Mapping[str, str]) -> str:
    """The base URL that the environment names, "" if none; one on this machine is most likely this proxy's own."""
    url = environment.get(dialect.variables.base_url, "").strip().rstrip("/").removesuffix(dialect.base_path)
    try:
        host = urlsplit(url).hostname or ""
        if not url or host == "localhost" or is_loopback(host):
            return ""
        return Upstream(dialect=dialect.name, url=url).url
    except (ValidationError, ValueError):
        return ""
