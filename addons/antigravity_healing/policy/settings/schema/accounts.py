"""Accounts, upstreams and models.

Secrets are `SecretStr` here and sources until someone resolves them; no message made here contains a value from a place
where a secret may stand.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, PrivateAttr, SecretStr, Strict, field_validator, model_validator

from antigravity_healing.policy.settings.messages import kind_of, quote
from antigravity_healing.policy.settings.schema.retrying import (
    PeekOverrides,
)
from antigravity_healing.policy.settings.schema.table import Table
from antigravity_healing.policy.settings.source_notation import parse_source
from antigravity_healing.policy.settings.values import (
    ProblemsError,
    Seconds,
    Secret,
    Text,
    VertexName,
    Weight,
    text,
)
from antigravity_healing.wire.dialects import DIALECTS

RESERVED_ACCOUNT = "client"
"""The name that stands for the client's own credential; no account may have it."""


# How the names of models begin that have slashes in them: never taken for a misspelt upstream.
MODEL_FOLDERS = frozenset({"accounts", "endpoints", "models", "projects", "publishers", "tunedModels"})


def split_target(target: str, upstreams: Iterable[str]) -> tuple[str | None, str]:
    """`upstream/model` → (upstream, model); (None, target) when the part before the first `/` is no known upstream."""
    upstream, slash, model = target.partition("/")
    return (upstream, model) if slash and upstream in upstreams else (None, target)


class AccountSettings(Table):
    """A credential for an upstream."""

    name: Text
    email: Text | None = None
    upstream: Text = next(iter(DIALECTS))
    """Where none is named: the public API of the first dialect."""
    api_key: Secret | None = None
    """A source: what `parse_source` reads. Paths are absolute already."""
    bearer: Secret | None = None
    """A source, as `api_key`; goes upstream as `Authorization: Bearer`."""
    project: VertexName | None = None
    """The project that pays, on an upstream at Vertex AI; without one that of the upstream."""
    location: VertexName | None = None
    """Where it is asked, on an upstream at Vertex AI; without one where the upstream says."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """More headers; the values are sources too."""
    priority: int = 0
    """Lower is used first."""
    weight: Weight = 1.0
    models: Annotated[tuple[Text, ...], Strict(False), Field(min_length=1)] = ("*",)
    """Patterns of the models it may serve, after mapping."""
    ttl: Seconds = 300.0
    """How many seconds what a `cmd:` source printed is kept."""

    _place: str = PrivateAttr("")

    @property
    def place(self) -> str:
        """Where it stands, in words; "" before `stands_in` has been called."""
        return self._place

    @property
    def key_from(self) -> str:
        """Where its key comes from: `env:NAME`, `file:PATH`, `cmd:`, `adc:`; "" where it stands in the configuration.

        A command line may carry a password, and is not told.
        """
        secret = self.api_key or self.bearer
        source = parse_source(secret.get_secret_value()) if secret is not None else None
        if source is None or source.kind == "literal":
            return ""
        return f"{source.kind}:{source.value if source.kind in ('env', 'file') else ''}"

    def stands_in(self, place: str) -> None:
        """Remember where it stands."""
        self._place = place

    @property
    def label(self) -> str:
        """What people see: the e-mail, else the name."""
        return self.email or self.name

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == RESERVED_ACCOUNT:
            raise ValueError(f'"{RESERVED_ACCOUNT}" is reserved for the client\'s own credential; choose another name')
        return name

    @field_validator("headers")
    @classmethod
    def _header_names(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        problems = []
        for name in headers:
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                problems.append(((), f"{quote(name)} cannot be the name of a header"))
            elif sum(name.lower() == other.lower() for other in headers) > 1:
                problems.append(((), f"{quote(name)} is given twice; upper and lower case are the same here"))
        if problems:
            raise ProblemsError(problems)
        return headers

    @model_validator(mode="after")
    def _credential(self) -> Self:
        if self.api_key and self.bearer:
            raise ValueError("has both api_key and bearer; keep one of them")
        for name, secret in (("api_key", self.api_key), *self.headers.items()):
            if secret is not None and parse_source(secret.get_secret_value()).kind == "adc":
                raise ValueError(f'{name} can\'t come from adc:, which gives a bearer: write bearer = "adc:"')
        for name, secret in (("api_key", self.api_key), ("bearer", self.bearer)):
            if secret is not None and secret.get_secret_value().lower().startswith("bearer "):
                raise ValueError(f'{name} must not begin with "Bearer ", which bearer = "…" puts before it by itself')
        if not (self.api_key or self.bearer or self.headers):
            raise ValueError("has no credential; give it an api_key, a bearer or headers")
        return self


class RouteSettings(Table):
    """What `[models]` makes of a client's model name. `split_target` reads `to`."""

    to: str | None = None
    """`model` or `upstream/model`; None: the name stays the same."""
    peek: PeekOverrides = PeekOverrides()

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if isinstance(value, str):
            return {"to": value}
        if not isinstance(value, dict | RouteSettings):
            raise ValueError(f'expected "model", "upstream/model" or a table with to and peek, got {kind_of(value)}')
        return value

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        # For the whole and not for `to`: the short form has no such key.
        if self.to is None:
            return self
        text(self.to)
        if "*" in self.to:
            raise ValueError('a "*" in the target is not supported; write out the name of one model')
        if self.to.startswith("/") or self.to.endswith("/"):
            raise ValueError('names no model; write "model" or "upstream/model"')
        return self
