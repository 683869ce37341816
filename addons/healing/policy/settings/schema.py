"""The models of `antigravity.toml`.

Secrets are `SecretStr` here and sources until someone resolves them; no message made here contains a value from a place
where a secret may stand.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    Strict,
    field_validator,
    model_validator,
)

from healing.policy.settings.messages import hint, kind_of, nearest, quote
from healing.policy.settings.secret_sources import parse_source
from healing.policy.settings.values import (
    Override,
    ProblemsError,
    Seconds,
    SecondsOrOff,
    Secret,
    Text,
    Wait,
    Weight,
    text,
)
from healing.wire.dialects import DIALECTS

FILE_NAME = "antigravity.toml"
RESERVED_ACCOUNT = "client"
"""The name that stands for the client's own credential; no account may have it."""

type Strategy = Literal["affinity", "round_robin", "least_used"]
type RepairStyle = Literal["auto", "strip", "text"]
type Commit = Literal["first_content", "first_visible", "first_event", "end"]

# How the names of models begin that have slashes in them: never taken for a misspelt upstream.
_MODEL_FOLDERS = frozenset({"accounts", "endpoints", "models", "projects", "publishers", "tunedModels"})


def split_target(target: str, upstreams: Iterable[str]) -> tuple[str | None, str]:
    """`upstream/model` → (upstream, model); (None, target) when the part before the first `/` is no known upstream."""
    upstream, slash, model = target.partition("/")
    return (upstream, model) if slash and upstream in upstreams else (None, target)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class AccountSettings(_Table):
    """A credential for an upstream."""

    name: Text
    email: Text | None = None
    upstream: Text = next(iter(DIALECTS))
    """Where none is named: the public API of the first dialect."""
    api_key: Secret | None = None
    """A source: what `parse_source` reads. Paths are absolute already."""
    bearer: Secret | None = None
    """A source, as `api_key`; goes upstream as `Authorization: Bearer`."""
    headers: dict[str, Secret] = {}
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
        if not (self.api_key or self.bearer or self.headers):
            raise ValueError("has no credential; give it an api_key, a bearer or headers")
        return self


class Upstream(_Table):
    """A base URL that speaks a dialect."""

    dialect: str
    """The name of a registered one."""
    url: str
    """Without a slash at its end."""
    connections: int = Field(default=100, ge=1)
    """How many each client's connection may use at once. What more is asked for waits for its turn."""

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


class Retry(_Table):
    """What may be spent on an exchange, and how accounts take turns."""

    max_attempts: int = Field(default=3, ge=1, le=10)
    """Attempts per exchange, the first one included; repairs do not count."""
    max_wait: Wait = 30.0
    """Seconds waited between attempts, in all, per exchange."""
    grace: Wait = 2.0
    """A rate limit of at most so many seconds is waited for on the same account."""
    strategy: Strategy = "affinity"
    upgrade: bool = True
    """Whether a request for a whole answer is sent as one for a stream, so that a cut anywhere in it can be healed."""
    spare_retries: int = Field(default=20, ge=0)
    """Retries that the whole process may make a minute beside one for every two requests."""


class PeekOverrides(_Table):
    """What a route changes of `Peek`. None: not given; False: turned off."""

    first_byte: Override = None
    silence: Override = None
    first_content: Override = None
    idle: Override = None
    progress: Override = None
    soft_commit: Override = None
    first_byte_json: Seconds | None = None
    keep_alive: Seconds | None = None
    commit: Commit | None = None


class Peek(_Table):
    """The clocks of an attempt, in seconds (None: off), and when to commit."""

    first_byte: SecondsOrOff = 300.0
    """To the response headers of a stream."""
    silence: SecondsOrOff = 120.0
    """Without any byte before commit, for a dialect that pings."""
    first_content: SecondsOrOff = 600.0
    """To the first content; reset by nothing."""
    idle: SecondsOrOff = 300.0
    """Without any byte after commit."""
    progress: SecondsOrOff = 600.0
    """Without anything but signs of life after commit."""
    soft_commit: SecondsOrOff = 15.0
    """Of holding before the client gets the headers and keep-alives."""
    first_byte_json: Seconds = 600.0
    """To the response headers of a request that does not stream."""
    keep_alive: Seconds = 10.0
    """Between two keep-alives."""
    commit: Commit = "first_content"

    def merged(self, overrides: PeekOverrides) -> "Peek":
        """These settings with what `overrides` gives put in their place."""
        given = {key: value for key, value in overrides if value is not None}
        if not given:
            return self
        return self.model_copy(update={key: None if value is False else value for key, value in given.items()})


class Clients(_Table):
    """Who may use the proxy, and what it tells them."""

    keys: Annotated[tuple[Secret, ...], Strict(False)] = ()
    """Sources of the keys that let a client in from elsewhere."""
    loopback_only: bool = True
    account_header: bool = True
    """Whether responses carry `X-Account-Email`."""
    hosts: Annotated[tuple[Text, ...], Strict(False)] = ()
    """Names by which clients may call the proxy, beside this machine's own and the listen address."""
    max_body: int = Field(default=128 * 1024 * 1024, ge=1024)
    """Bytes of a request's body at most, as it comes and decoded."""

    @field_validator("keys")
    @classmethod
    def _no_commands(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # A key is compared while a client waits, with every request: no time to run anything.
        if any(parse_source(key.get_secret_value()).kind == "cmd" for key in keys):
            raise ValueError("a client key can't come from cmd:; use env:NAME, file:PATH or the value itself")
        return keys


class Limits(_Table):
    """What anybody, a client, an upstream or a source, may ask of the proxy at most."""

    head_bytes: int = Field(default=64 * 1024, ge=4096)
    """Of the head of a request or an answer: its first line and its headers."""
    line_bytes: int = Field(default=16 * 1024, ge=1024)
    """Of a request's first line."""
    headers: int = Field(default=256, ge=32)
    """How many headers a head may have."""
    head_seconds: Seconds = 60.0
    """From a head's first byte to its last."""
    model_bytes: int = Field(default=256, ge=64)
    """Of a model's name."""
    answer_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Of an answer that is held until it is whole, decoded."""
    event_bytes: int = Field(default=32 * 1024 * 1024, ge=1024 * 1024)
    """Of one event of a stream, decoded."""
    error_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    """Of an error's body: what is behind is neither looked at nor passed on."""
    hint_seconds: Seconds = 24 * 3600.0
    """Of a wait that an upstream names, where it names no quota."""
    quota_hint_seconds: Seconds = 7 * 24 * 3600.0
    """The same, where it names the quota that it is about."""
    probe_seconds: Seconds = 15 * 60.0
    """After so long a time one request finds out whether a longer wait is still meant."""
    source_seconds: Seconds = 30.0
    """Of a `cmd:`, with all that it starts, and of reading a `file:`."""
    source_bytes: int = Field(default=64 * 1024, ge=1024)
    """Of what a `cmd:` prints, and of a `file:`."""
    streams: int = Field(default=100, ge=1)
    """How many HTTP/2 streams a connection may have open."""
    resets: int = Field(default=100, ge=1)
    """How many unanswered HTTP/2 streams a client may reset in a minute, on one connection."""
    idle_frames: int = Field(default=1000, ge=100)
    """How many HTTP/2 frames that carry nothing a peer may send in a minute, beside those that answers call for."""
    unread_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    """Of an answer that its client does not take; then no more of it is taken from upstream."""
    unread_seconds: Seconds = 300.0
    """After so long a time without taking any of it, the client is taken for gone."""
    log_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Of all log files together."""


class Flows(_Table):
    """What is kept of an exchange for mitmproxy's flow list."""

    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=0)
    """Bytes of a streamed body kept in the flow."""


class CaptureSettings(_Table):
    """What is kept of exchanges that failed, in files of the data folder. The newest stay."""

    enabled: bool = True
    max_exchanges: int = Field(default=200, ge=1)
    """In all files together."""
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=64 * 1024)
    """Of all files together."""
    days: int = Field(default=7, ge=1, le=3650)
    """After so many days a file is deleted."""


class Signatures(_Table):
    """What is kept of the signatures that answers bring."""

    persist: bool = True
    """Whether a restart keeps them, in a file of the data folder."""
    ttl: Seconds = 7200.0
    """What is not used for so many seconds is forgotten."""
    max_entries: int = Field(default=100_000, ge=100)
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=64 * 1024)


class Repair(_Table):
    """How a conversation is repaired that upstream refuses for its signatures."""

    style: RepairStyle = "auto"
    """What becomes of thinking that has to go: `strip` takes it out, `text` makes it text; `auto` is `text` for models
    that are known not to check what comes before a block, else `strip`."""
    note: str = "(Note: thinking of earlier turns is shown above as plain text. Please go on from there.)"
    """What is added to the last user turn where thinking became text; may be empty."""


class Translate(_Table):
    """How a request is translated for an upstream of the other dialect."""

    max_tokens: int | None = Field(default=None, ge=1)
    """What an Anthropic upstream is asked for where a Gemini client sets no limit; None: as much as the model can."""


class ShutdownSettings(_Table):
    """What becomes of answers that are under way when the proxy is to end."""

    grace: Wait = 30.0
    """They may finish within so many seconds."""


class RouteSettings(_Table):
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


def _with_built_in(value: object) -> object:
    if not isinstance(value, dict):
        return value
    merged: dict[str, Any] = {**BUILT_IN, **value}
    for name, upstream in BUILT_IN.items():
        table = merged[name]
        if isinstance(table, dict):
            same = table.get("dialect", upstream.dialect) == upstream.dialect
            merged[name] = {"dialect": upstream.dialect, **({"url": upstream.url} if same else {}), **table}
    return merged


class Config(_Table):
    """All of `antigravity.toml`. `Config()` is what holds without a file."""

    accounts: Annotated[tuple[AccountSettings, ...], Strict(False)] = ()
    upstreams: Annotated[dict[str, Upstream], BeforeValidator(_with_built_in)] = Field(
        default_factory=lambda: dict(BUILT_IN)
    )
    """By name, the built-in ones included."""
    models: dict[str, RouteSettings] = {}
    """By the client's name or a pattern, in the order of the file. `models.Routes` applies them."""
    retry: Retry = Retry()
    peek: Peek = Peek()
    clients: Clients = Clients()
    limits: Limits = Limits()
    flows: Flows = Flows()
    capture: CaptureSettings = CaptureSettings()
    signatures: Signatures = Signatures()
    repair: Repair = Repair()
    translate: Translate = Translate()
    shutdown: ShutdownSettings = ShutdownSettings()

    @model_validator(mode="after")
    def _cross_checks(self) -> Self:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        for name in self.upstreams:
            if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
                text = "the name of an upstream may only have letters, digits, dots, dashes and underscores"
                problems.append((("upstreams", name), text))
        first_use: dict[str, int] = {}
        for index, account in enumerate(self.accounts):
            if account.upstream not in self.upstreams:
                text = f"there is no upstream {quote(account.upstream)}{hint(account.upstream, self.upstreams)}"
                problems.append((("accounts", index, "upstream"), text))
            first = first_use.setdefault(account.name, index)
            if first != index:
                text = f"accounts[{first}] has the same name; every account needs a name of its own"
                problems.append((("accounts", index, "name"), text))
        for pattern, target in self.models.items():
            if not pattern or not pattern.isprintable():
                problems.append((("models", pattern), "this cannot be the name or pattern of a model"))
            head, slash, _ = (target.to or "").partition("/")
            near = nearest(head, self.upstreams, cutoff=0.82) if slash and head not in _MODEL_FOLDERS else None
            if near and head not in self.upstreams:
                text = (
                    f"there is no upstream {quote(head)}; did you mean {quote(near)}? "
                    f"If the model itself is called {quote(target.to or '')}, put its upstream and a slash before it"
                )
                problems.append((("models", pattern), text))
        if problems:
            raise ProblemsError(problems)
        return self
