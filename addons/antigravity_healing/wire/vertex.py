"""Vertex AI: where it is, and how requests and answers of an API look there.

Google serves its own models there, and Anthropic's: the same protocols under other paths, with a few differences in the
body (https://cloud.google.com/vertex-ai/generative-ai/docs).
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.http.paths import plain
from antigravity_healing.wire.operation import Operation

PAYING_PROJECT = "x-goog-user-project"
"""The header that names the project whose quota counts. Whoever has the credential says it."""
GLOBAL = "global"
"""The location that stands for no place of its own."""
_PASSING = re.compile(r"preview|-exp|experimental")
_MULTI_REGIONS = ("us", "eu")
_HOST = re.compile(r"(?:(?P<region>[a-z0-9-]+)-)?aiplatform(?:\.(?P<multi>us|eu)\.rep)?\.googleapis\.com")
_PLACE = re.compile(r"/(?P<version>v1|v1beta1)/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)(?P<rest>/.+)")
_MOVED = re.compile(r"(?P<version>(?:/upload)?/(?:v1|v1beta1))/projects/[^/]+/locations/[^/]+(?P<rest>(?:/.*)?)")
_IN_BASE_URL = re.compile(
    r"/(?:v1|v1beta1)/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)(?:/publishers/[a-z]+(?:/models)?)?/*$"
)
_MEANT = re.compile(
    r"/*+(?:(?P<version>v1|v1beta1)/++)*+(?P<rest>projects/[^/]+/locations/[^/]+/publishers/(?P<publisher>[a-z]+)/models/.+)"
)


class VertexPlace(NamedTuple):
    """Where on Vertex AI something is asked. project: "" in express mode, where an API key says whose project it is."""

    project: str
    location: str = GLOBAL

    @property
    def folder(self) -> str:
        """What goes between the version and `/publishers/…` in a path."""
        return f"/projects/{self.project}/locations/{self.location}" if self.project else ""


class VertexRequest(NamedTuple):
    """A request as it is sent to an upstream: its path, its query and its body."""

    path: str
    query: str
    body: bytes


class PlainRequest(NamedTuple):
    """A request as an API has it anywhere but on Vertex AI. value: what its body says, None if that is no JSON."""

    path: str
    body: bytes
    value: Any


class VertexForm(Protocol):
    """How requests and answers of one API look on Vertex AI. Stateless."""

    @property
    def express(self) -> bool:
        """Whether it can be asked with an API key and without a project."""

    @property
    def version_header(self) -> str:
        """The header in which a client names the version of the API, "" where the path does."""

    def place_in(self, path: str) -> VertexPlace | None:
        """Where on Vertex AI a path of this API says to go; None for a path that it has elsewhere."""

    def plain(self, request: PlainRequest, operation: Operation) -> PlainRequest:
        """A request in Vertex AI's form as it is elsewhere, as far as nothing gets lost by it.

        Raises ValueError for a body that is no JSON object.
        """

    def elsewhere(self, body: bytes, value: Any) -> tuple[bytes, Headers]:
        """A body that `plain` gave without what only Vertex AI takes, and the headers that say it instead.

        Raises ValueError for a body that is no JSON object.
        """

    def on_vertex(
        self,
        request: PlainRequest,
        query: str,
        operation: Operation,
        place: VertexPlace,
        *,
        model: str,
        version: str = "",
        without: frozenset[str] = frozenset(),
    ) -> VertexRequest:
        """A plain request in Vertex AI's form.

        operation: with how the answer is to come. version: what the client names in `version_header`.
        without: what `refused` has named. Raises ValueError for a body that is no JSON object.
        """

    def refused(self, text: str) -> tuple[str, ...]:
        """What of a request a refusal is about that can do without it: fields, and flags of the dialect's header.

        text: what an error of Vertex AI says.
        """

    def described(self, operation: Operation, answer: Any) -> Any:
        """Vertex AI's list of models, or its description of one, as the API has it elsewhere."""

    def countable(self, answer: dict[str, Any]) -> list[str]:
        """Of a list of models those whose tokens can be counted, the likeliest to be had everywhere first."""

    def counting(self, model: str, place: VertexPlace) -> VertexRequest:
        """What counts the tokens of a word: for nothing, and refused where an answer of this model would be."""


def listed(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The models in a page of a publisher's."""
    models = answer.get("publisherModels")
    return [each for each in models if isinstance(each, dict)] if isinstance(models, list) else []


def name_of(described: dict[str, Any]) -> str:
    """The name by which a publisher's model is asked for, without its folders."""
    return str(described.get("name", "")).rpartition("/")[2]


def newest_first(names: Iterable[str]) -> list[str]:
    """Names of models without those that are not yet, or no longer, everywhere at the front."""
    return sorted(sorted(names, reverse=True), key=lambda name: bool(_PASSING.search(name)))


def url_of(location: str) -> str:
    """The base URL of Vertex AI at a location."""
    if location == GLOBAL:
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def location_of(url: str) -> str | None:
    """The location whose Vertex AI a URL leads to, None if it leads elsewhere."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return None
    match = _HOST.fullmatch(host)
    if match is None or (match["region"] and match["multi"]):
        return None
    return match["region"] or match["multi"] or GLOBAL


def split_url(url: str) -> tuple[str, VertexPlace | None]:
    """A base URL without what names a project and a location at its end, and these."""
    match = _IN_BASE_URL.search(url)
    return (url[: match.start()], VertexPlace(match["project"], match["location"])) if match else (url, None)


def place_in(path: str) -> VertexPlace | None:
    """The project and the location that a path begins with."""
    match = _PLACE.fullmatch(path)
    return VertexPlace(match["project"], match["location"]) if match else None


def moved(path: str, place: VertexPlace) -> str:
    """A path that begins with a project and a location, at this place; any other as it is.

    Raises ValueError for one that names a project in another way, which would be asked in place of this one.
    """
    if not place.project:
        return path
    match = _MOVED.fullmatch(path)
    beyond = match["rest"] if match else path
    if "projects" in plain(beyond).split("/"):
        raise ValueError("its path names a project otherwise than as /v1/projects/PROJECT/locations/LOCATION/…")
    return f"{match['version']}{place.folder}{match['rest']}" if match else path


def meant(path: str, publisher: str) -> str:
    """The path of a publisher's model that a client means whose base URL lacks the version or has it twice; else ""."""
    match = _MEANT.fullmatch(path)
    return f"/{match['version'] or 'v1'}/{match['rest']}" if match and match["publisher"] == publisher else ""
