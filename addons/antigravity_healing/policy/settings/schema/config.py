"""The whole of `antigravity.toml`."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, Strict, model_validator

from antigravity_healing.policy.settings.messages import hint, nearest, quote
from antigravity_healing.policy.settings.schema.accounts import (
    MODEL_FOLDERS,
    AccountSettings,
    RouteSettings,
)
from antigravity_healing.policy.settings.schema.keeping import CaptureSettings, Flows, RequestLogSettings, Signatures
from antigravity_healing.policy.settings.schema.limits import Clients, Limits, ShutdownSettings
from antigravity_healing.policy.settings.schema.retrying import (
    Peek,
    Repair,
    Retry,
    Translate,
)
from antigravity_healing.policy.settings.schema.table import Table
from antigravity_healing.policy.settings.schema.upstreams import Upstream
from antigravity_healing.policy.settings.values import (
    ProblemsError,
)
from antigravity_healing.wire.dialects import DIALECTS

FILE_NAME = "antigravity.toml"


class _BuiltIn(Mapping[str, Upstream]):
    def __getitem__(self, name: str) -> Upstream:
        if not (url := DIALECTS[name].public_url):
            raise KeyError(name)
        return Upstream(dialect=name, url=url)

    def __iter__(self) -> Iterator[str]:
        return (name for name, dialect in DIALECTS.items() if dialect.public_url)

    def __len__(self) -> int:
        return sum(1 for _ in self)


BUILT_IN: Mapping[str, Upstream] = _BuiltIn()
"""The public APIs of the dialects, each as an upstream with the dialect's name."""


def _with_built_in(value: object) -> object:
    if not isinstance(value, dict):
        return value
    merged: dict[str, Any] = {**BUILT_IN, **value}
    for name, upstream in BUILT_IN.items():
        table = merged[name]
        if isinstance(table, dict):
            same = table.get("dialect", upstream.dialect) == upstream.dialect
            same = same and not table.keys() & {"project", "location"}  # then it is on Vertex AI, which has its own URL
            merged[name] = {"dialect": upstream.dialect, **({"url": upstream.url} if same else {}), **table}
    return merged


class Config(Table):
    """All of `antigravity.toml`. `Config()` is what holds without a file."""

    accounts: Annotated[tuple[AccountSettings, ...], Strict(False)] = ()
    upstreams: Annotated[dict[str, Upstream], BeforeValidator(_with_built_in)] = Field(
        default_factory=lambda: dict(BUILT_IN)
    )
    """By name, the built-in ones included."""
    models: dict[str, RouteSettings] = Field(default_factory=dict)
    """By the client's name or a pattern, in the order of the file. `Routes` applies them."""
    retry: Retry = Retry()
    peek: Peek = Peek()
    clients: Clients = Clients()
    limits: Limits = Limits()
    flows: Flows = Flows()
    capture: CaptureSettings = CaptureSettings()
    request_log: RequestLogSettings = RequestLogSettings()
    signatures: Signatures = Signatures()
    repair: Repair = Repair()
    translate: Translate = Translate()
    shutdown: ShutdownSettings = ShutdownSettings()

    @model_validator(mode="after")
    def _cross_checks(self) -> Self:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        for name, upstream in self.upstreams.items():
            if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
                text = "the name of an upstream may only have letters, digits, dots, dashes and underscores"
                problems.append((("upstreams", name), text))
            if upstream.on_vertex and DIALECTS[upstream.dialect].vertex is None:
                text = f"the {upstream.dialect} dialect is not served on Vertex AI"
                problems.append((("upstreams", name), text))
        first_use: dict[str, int] = {}
        for index, account in enumerate(self.accounts):
            if account.upstream not in self.upstreams:
                text = f"there is no upstream {quote(account.upstream)}{hint(account.upstream, self.upstreams)}"
                problems.append((("accounts", index, "upstream"), text))
            elif not self.upstreams[account.upstream].on_vertex:
                problems += [
                    (
                        ("accounts", index, name),
                        f"upstream {quote(account.upstream)} is not on Vertex AI; give it a location",
                    )
                    for name in ("project", "location")
                    if getattr(account, name) is not None
                ]
            first = first_use.setdefault(account.name, index)
            if first != index:
                text = f"accounts[{first}] has the same name; every account needs a name of its own"
                problems.append((("accounts", index, "name"), text))
        for pattern, target in self.models.items():
            if not pattern or not pattern.isprintable():
                problems.append((("models", pattern), "this cannot be the name or pattern of a model"))
            head, slash, _ = (target.to or "").partition("/")
            near = nearest(head, self.upstreams, cutoff=0.82) if slash and head not in MODEL_FOLDERS else None
            if near and head not in self.upstreams:
                text = (
                    f"there is no upstream {quote(head)}; did you mean {quote(near)}? "
                    f"If the model itself is called {quote(target.to or '')}, put its upstream and a slash before it"
                )
                problems.append((("models", pattern), text))
        if problems:
            raise ProblemsError(problems)
        return self

    def upstream_of(self, account: AccountSettings) -> Upstream:
        """The upstream as an account has it: on Vertex AI with its own project and location."""
        return self.upstreams[account.upstream].at(account.project, account.location)
