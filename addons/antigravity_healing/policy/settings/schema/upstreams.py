"""Upstreams: base URLs that speak a dialect."""

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from antigravity_healing.policy.settings.schema.table import Table
from antigravity_healing.policy.settings.values import VERTEX_NAME, VertexName
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.vertex import GLOBAL, location_of, split_url, url_of

_VERSIONED = re.compile(r"/v\d\w*$")
_VERSION = re.compile(r"^/v\d\w*(?=/)")
_ENDPOINT = re.compile(r"/messages/*$|/v\d\w*/models(?:/|$)|:\w+$")


class Upstream(Table):
    """A base URL that speaks a dialect."""

    dialect: str
    """The name of a registered one."""
    url: str
    """Without a slash at its end, and without what names a project: that is `project`."""
    project: VertexName | None = None
    """On Vertex AI: the project that is asked, None where an account or the client says it."""
    location: VertexName | None = None
    """On Vertex AI: the location that is asked; None anywhere else."""
    connections: int = Field(default=100, ge=1)
    """How many each client's connection may use at once. What more is asked for waits for its turn."""

    @model_validator(mode="before")
    @classmethod
    def _on_vertex(cls, table: object) -> object:
        """Project and location from where they are written, and the URL that belongs to them."""
        if not isinstance(table, dict) or not isinstance(url := table.get("url", ""), str):
            return table
        url, place = split_url(url)
        found = {"url": url}
        if place is not None:
            found = {"url": url, "project": place.project, "location": place.location}
            twice = [name for name in ("project", "location") if table.get(name, found[name]) != found[name]]
            if twice:
                raise ValueError(f"{twice[0]} is another one than the url says; keep one of them")
        elif "location" not in table and (location := location_of(url)):
            found["location"] = location
        elif "location" not in table and "project" in table:
            found["location"] = GLOBAL
        location = table.get("location", found.get("location"))
        if not url and isinstance(location, str):
            # What is no location is told by itself, and not as a missing url, too.
            found["url"] = url_of(location if re.fullmatch(VERTEX_NAME, location) else GLOBAL)
        return {**table, **{name: value for name, value in found.items() if value or name in table}}

    @field_validator("dialect", mode="before")
    @classmethod
    def _dialect(cls, name: object) -> object:
        if not (isinstance(name, str) and name in DIALECTS):
            raise ValueError(f"expected {' or '.join(map(repr, DIALECTS))}")
        return name

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        # Never quoted in a message: people put keys into URLs.
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("is not a URL; write it like https://host:8080/prefix") from None
        if parts.scheme not in ("http", "https"):
            raise ValueError("must begin with http:// or https://")
        if not host or port == 0:
            raise ValueError("names no host, or port 0; write it like https://host:8080/prefix")
        if "@" in parts.netloc:
            raise ValueError("must not have a user or password; give the account a credential instead")
        if "?" in url or "#" in url:
            raise ValueError('must not have a query ("?") or a fragment ("#")')
        if not re.fullmatch(r"[!-~]+", url) or not re.fullmatch(r"[A-Za-z0-9._~:%-]+", host):
            raise ValueError("has characters that a URL cannot have; write it like https://host:8080/prefix")
        if _ENDPOINT.search(parts.path):
            raise ValueError("goes too far: leave out what names an endpoint, /v1/messages or /v1beta/models/…")
        return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """In lower case; an IPv6 address without its brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The URL's, else that of its scheme."""
        return urlsplit(self.url).port or (443 if self.scheme == "https" else 80)

    @property
    def path(self) -> str:
        """What goes before every path: `/prefix`, or nothing."""
        return urlsplit(self.url).path

    def whole(self, target: str) -> str:
        """The path of a request at this upstream, prefix and all. Where the URL ends with the API's version, that one.

        target: the path as the API has it, with its version, and with a query or without.
        """
        prefix = self.path
        if (own := _VERSIONED.search(prefix)) is None:
            return prefix + target
        asked = _VERSION.match(target)
        # What does not begin with a version has it later, as uploads do.
        return prefix + target[asked.end() :] if asked else prefix[: own.start()] + target

    @property
    def is_public(self) -> bool:
        """Whether the URL is the API's own."""
        return self.url == (DIALECTS[self.dialect].public_url if self.location is None else url_of(self.location))

    @property
    def on_vertex(self) -> bool:
        """Whether this is Vertex AI."""
        return self.location is not None

    def at(self, project: str | None, location: str | None) -> "Upstream":
        """The same upstream for another project or at another location of Vertex AI, where one is named."""
        if self.location is None or (project or self.project, location or self.location) == (
            self.project,
            self.location,
        ):
            return self
        own = self.url == url_of(self.location)
        url = url_of(location) if own and location else self.url
        changed = {"project": project or self.project, "location": location or self.location, "url": url}
        return self.model_copy(update=changed)
