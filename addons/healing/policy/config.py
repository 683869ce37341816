"""The models of `antigravity.toml`, and how its text becomes a checked `Config` or a readable `ConfigError`.

Everything but `load` and `find` is pure. Secrets are `SecretStr` here and sources until someone resolves them; no
message made here contains a value from a place where a secret may stand.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

FILE_NAME = "antigravity.toml"
RESERVED_ACCOUNT = "client"
"""The name that stands for the client's own credential; no account may have it."""

type Dialect = Literal["anthropic", "gemini"]
type Strategy = Literal["affinity", "round_robin", "least_used"]
type Commit = Literal["first_content", "first_visible", "first_event"]

# How the names of models begin that have slashes in them: never taken for a misspelt upstream.
_MODEL_FOLDERS = frozenset({"accounts", "endpoints", "models", "projects", "publishers", "tunedModels"})


class ConfigError(Exception):
    """The configuration cannot be used. Its text names every problem found, one a line, and shows no secret."""


class _ProblemsError(ValueError):
    """Several problems found by one validator, each with the path of the key it is about."""

    def __init__(self, problems: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(text for _, text in self.problems))


@dataclass(frozen=True, repr=False)
class Source:
    """Where a credential comes from."""

    kind: Literal["env", "file", "cmd", "literal"]
    value: str
    """The variable's name, the file's path, the command line, or the credential itself."""

    def __repr__(self) -> str:
        # A command line may carry a password too.
        shown = repr(self.value) if self.kind in ("env", "file") else "'**********'"
        return f"Source(kind={self.kind!r}, value={shown})"


def parse_source(text: str, folder: Path | None = None) -> Source:
    """Reads `env:NAME`, `file:PATH`, `cmd:COMMAND` or a literal credential.

    `~` in a path is expanded; a relative path is taken relative to `folder`, when given.
    Raises `ValueError`, whose text never contains `text`.
    """
    prefix, _, rest = text.partition(":")
    rest = rest.strip()
    match prefix if text != prefix else "":
        case "env":
            if not rest or "=" in rest or "\0" in rest:
                raise ValueError('names no environment variable; write "env:NAME"')
            return Source("env", rest)
        case "file":
            if not rest or "\0" in rest:
                raise ValueError('names no file; write "file:PATH"')
            try:
                path = Path(rest).expanduser()
            except RuntimeError:
                raise ValueError('names a home folder ("~") that cannot be found') from None
            return Source("file", str(folder / path if folder else path))
        case "cmd":
            if not rest or "\0" in rest:
                raise ValueError('has no command; write "cmd:COMMAND"')
            return Source("cmd", rest)
    if not text.strip():
        raise ValueError("is empty; write env:NAME, file:PATH, cmd:COMMAND or the value itself")
    # It becomes the value of a header as it is: no way to smuggle in a second header, and no silent mismatch.
    if text != text.strip() or not (text.isascii() and text.isprintable()):
        raise ValueError("may only have printable ASCII characters, and no spaces around it")
    return Source("literal", text)


def split_target(target: str, upstreams: Iterable[str]) -> tuple[str | None, str]:
    """`upstream/model` → (upstream, model); (None, target) when the part before the first `/` is no known upstream."""
    upstream, slash, model = target.partition("/")
    return (upstream, model) if slash and upstream in upstreams else (None, target)


def _source(value: object, info: ValidationInfo) -> object:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {_kind(value)}")
    source = parse_source(value, (info.context or {}).get("folder"))
    return SecretStr(source.value if source.kind == "literal" else f"{source.kind}:{source.value}")


def _number(value: object, expected: str, *, zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {expected}, got {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(f"expected {expected}")
    return number


def _seconds(value: object) -> float:
    return _number(value, "a number of seconds greater than 0")


def _wait(value: object) -> float:
    return _number(value, "a number of seconds, 0 or more", zero=True)


def _seconds_or_off(value: object) -> float | None:
    if value is None or value is False:
        return None
    return _number(value, "a number of seconds greater than 0, or false to turn it off")


def _override(value: object) -> float | None:
    return False if value is False else _seconds_or_off(value)


def _weight(value: object) -> float:
    return _number(value, "a number greater than 0")


def _text(value: object) -> object:
    # Names end up in headers, logs and on the page: one line each.
    if isinstance(value, str) and (not value or value != value.strip() or not value.isprintable()):
        raise ValueError("must not be empty, nor have line breaks, control characters or spaces around it")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_source)]
Text = Annotated[str, BeforeValidator(_text)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Wait = Annotated[float, BeforeValidator(_wait)]
SecondsOrOff = Annotated[float | None, BeforeValidator(_seconds_or_off)]
Override = Annotated[float | None, PlainValidator(_override)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Account(_Table):
    """A credential for an upstream."""

    name: Text
    email: Text | None = None
    upstream: Text = "anthropic"
    api_key: Secret | None = None
    """A source: what `parse_source` reads. Paths are absolute already."""
    bearer: Secret | None = None
    """A source, as `api_key`; goes upstream as `Authorization: Bearer`."""
    headers: dict[str, Secret] = {}
    """More headers; the values are sources too."""
    priority: int = 0
    """Lower is used first."""
    weight: Annotated[float, BeforeValidator(_weight)] = 1.0
    models: Annotated[tuple[Text, ...], Strict(False), Field(min_length=1)] = ("*",)
    """Patterns of the models it may serve, after mapping."""
    ttl: Seconds = 300.0
    """How many seconds what a `cmd:` source printed is kept."""

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
                problems.append(((), f"{_quote(name)} cannot be the name of a header"))
            elif sum(name.lower() == other.lower() for other in headers) > 1:
                problems.append(((), f"{_quote(name)} is given twice; upper and lower case are the same here"))
        if problems:
            raise _ProblemsError(problems)
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

    dialect: Dialect
    url: str
    """Without a slash at its end."""

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


BUILT_IN: Mapping[str, Upstream] = {
    "anthropic": Upstream(dialect="anthropic", url="https://api.anthropic.com"),
    "gemini": Upstream(dialect="gemini", url="https://generativelanguage.googleapis.com"),
}


class Retry(_Table):
    """What may be spent on an exchange, and how accounts take turns."""

    max_attempts: int = Field(default=3, ge=1, le=10)
    """Attempts per exchange, the first one included; repairs do not count."""
    max_wait: Wait = 30.0
    """Seconds waited between attempts, in all, per exchange."""
    grace: Wait = 2.0
    """A rate limit of at most so many seconds is waited for on the same account."""
    strategy: Strategy = "affinity"


class PeekOverrides(_Table):
    """What a route changes of `Peek`. None: not given; False: turned off."""

    first_byte: Override = None
    silence: Override = None
    first_content: Override = None
    idle: Override = None
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
        return self.model_copy(update={key: None if value is False else value for key, value in given.items()})


class Clients(_Table):
    """Who may use the proxy, and what it tells them."""

    keys: Annotated[tuple[Secret, ...], Strict(False)] = ()
    """Sources of the keys that let a client in from elsewhere."""
    loopback_only: bool = True
    account_header: bool = True
    """Whether responses carry `X-Account-Email`."""

    @field_validator("keys")
    @classmethod
    def _no_commands(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # A key is compared while a client waits, with every request: no time to run anything.
        if any(parse_source(key.get_secret_value()).kind == "cmd" for key in keys):
            raise ValueError("a client key can't come from cmd:; use env:NAME, file:PATH or the value itself")
        return keys


class Flows(_Table):
    """What is kept of an exchange for mitmproxy's flow list."""

    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=0)
    """Bytes of a streamed body kept in the flow."""


class Target(_Table):
    """What `[models]` makes of a client's model name. `split_target` reads `to`."""

    to: str | None = None
    """`model` or `upstream/model`; None: the name stays the same."""
    peek: PeekOverrides = PeekOverrides()

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if isinstance(value, str):
            return {"to": value}
        if not isinstance(value, dict | Target):
            raise ValueError(f'expected "model", "upstream/model" or a table with to and peek, got {_kind(value)}')
        return value

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        # For the whole and not for `to`: the short form has no such key.
        if self.to is None:
            return self
        _text(self.to)
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
            merged[name] = {"dialect": upstream.dialect, **table}
    return merged


class Config(_Table):
    """All of `antigravity.toml`. `Config()` is what holds without a file."""

    accounts: Annotated[tuple[Account, ...], Strict(False)] = ()
    upstreams: Annotated[dict[str, Upstream], BeforeValidator(_with_built_in)] = Field(
        default_factory=lambda: dict(BUILT_IN)
    )
    """By name, the built-in ones included."""
    models: dict[str, Target] = {}
    """By the client's name or a pattern, in the order of the file. `models.Routes` applies them."""
    retry: Retry = Retry()
    peek: Peek = Peek()
    clients: Clients = Clients()
    flows: Flows = Flows()

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
                text = f"there is no upstream {_quote(account.upstream)}{_hint(account.upstream, self.upstreams)}"
                problems.append((("accounts", index, "upstream"), text))
            first = first_use.setdefault(account.name, index)
            if first != index:
                text = f"accounts[{first}] has the same name; every account needs a name of its own"
                problems.append((("accounts", index, "name"), text))
        for pattern, target in self.models.items():
            if not pattern or not pattern.isprintable():
                problems.append((("models", pattern), "this cannot be the name or pattern of a model"))
            head, slash, _ = (target.to or "").partition("/")
            near = _nearest(head, self.upstreams, cutoff=0.82) if slash and head not in _MODEL_FOLDERS else None
            if near and head not in self.upstreams:
                text = (
                    f"there is no upstream {_quote(head)}; did you mean {_quote(near)}? "
                    f"If the model itself is called {_quote(target.to or '')}, put its upstream and a slash before it"
                )
                problems.append((("models", pattern), text))
        if problems:
            raise _ProblemsError(problems)
        return self


def parse(text: str | bytes, name: str, folder: Path) -> Config:
    """Checks the text of a configuration file.

    `name` is what messages call the file, `folder` is what relative `file:` paths start from.
    Raises `ConfigError` with everything that is wrong.
    """
    problems: list[str]
    data: dict[str, Any] = {}
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        data = tomllib.loads(text)
        return Config.model_validate(data, context={"folder": folder})
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems = [f"{name}:{line}: is not UTF-8; save the file in that encoding"]
    except tomllib.TOMLDecodeError as error:
        problems = [_syntax(str(error), str(text), name)]
    except ValidationError as error:
        problems = [f"{name}: {line}" for details in error.errors() for line in _explain(details, data)]
    except (ValueError, RecursionError):
        problems = [f"{name}: is not TOML that can be read: a number is too long or tables are nested too deeply"]
    # Outside of the handlers, so that the error does not drag along one that holds the values.
    raise ConfigError("\n".join(problems))


def load(path: Path) -> Config:
    """Reads and checks a configuration file. Raises `ConfigError`."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; name the file in it") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path is not valid"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    return parse(data, str(path), path.absolute().parent)


def find(option: str, cwd: Path, user_folder: Path) -> Path | None:
    """The configuration file to use: `option` if not empty, else the one in `cwd`, else in `user_folder`, else None.

    Raises `ConfigError` if `option` names no file.
    """
    if option:
        try:
            path = cwd / Path(option).expanduser()
        except RuntimeError:
            raise ConfigError(f'{option}: the home folder ("~") cannot be found') from None
        if not os.path.exists(path):  # unlike Path.exists, it also bears a folder that may not be searched
            raise ConfigError(f"{path}: there is no such file; it is what the option antigravity_config names")
        return path
    for folder in (cwd, user_folder):
        if os.path.isfile(folder / FILE_NAME):
            return folder / FILE_NAME
    return None


_PLAIN = {
    "bool_type": "expected true or false, got {got}",
    "dict_type": "expected a table, got {got}",
    "finite_number": "expected a finite number",
    "float_type": "expected a number, got {got}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "expected a whole number, got {got}",
    "int_type": "expected a whole number, got {got}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "expected {expected}",
    "model_attributes_type": "expected a table, got {got}",
    "model_type": "expected a table, got {got}",
    "string_type": "expected a string, got {got}",
    "too_short": "must not be empty; leave it out instead",
    "tuple_type": "expected a list, got {got}",
}
"""What pydantic's errors mean in plain words. Its own texts can quote the input."""


# What tomllib says when a key comes twice quotes the key, and a key can be anything when a quote is missing before it.
_TWICE = "this key or table is there already"
_PLAIN_SYNTAX = {
    "Cannot ": _TWICE,
    "Duplicate ": _TWICE,
    "Illegal character '\\n'": "a string without its closing quote",
    "Invalid value": "no value that TOML knows; a string needs quotes around it",
}


def _explain(details: Any, data: Mapping[str, Any]) -> list[str]:
    loc, kind, context = details["loc"], details["type"], details.get("ctx", {})
    if kind == "missing":
        return [f"{_path(loc[:-1], data)}: {_quote(loc[-1])} is missing"]
    if kind == "extra_forbidden":
        where = f"{_path(loc[:-1], data)}: " if loc[:-1] else ""
        hint = _hint(loc[-1], _table(loc[:-1]).model_fields)
        return [f"{where}unknown key {_quote(loc[-1])}{hint}"]
    if isinstance(error := context.get("error"), _ProblemsError):
        return [f"{_path((*loc, *more), data)}: {text}" for more, text in error.problems]
    if isinstance(error, ValueError):
        return [f"{_path(loc, data)}: {error}"]
    if loc == ("accounts",):
        return [f"accounts: expected a list of tables, each under [[accounts]], got {_kind(details['input'])}"]
    text = _PLAIN.get(kind, "is not valid").format(got=_kind(details["input"]), **context)
    return [f"{_path(loc, data)}: {text}"]


def _table(loc: tuple[str | int, ...]) -> type[BaseModel]:
    match loc:
        case ("accounts", int()):
            return Account
        case ("upstreams", str()):
            return Upstream
        case ("models", str()):
            return Target
        case ("models", str(), "peek"):
            return PeekOverrides
        case ("retry",):
            return Retry
        case ("peek",):
            return Peek
        case ("clients",):
            return Clients
        case ("flows",):
            return Flows
    return Config


def _path(loc: tuple[str | int, ...], data: Mapping[str, Any]) -> str:
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            text += f"{'.' if text else ''}{part if bare else _quote(part)}"
    match loc:
        case ("accounts", int(index), *rest):
            account = data["accounts"][index]
            name = account.get("name") if isinstance(account, dict) else None
            if isinstance(name, str) and name:
                head = f"accounts[{index}]"
                return f"{head} ({_quote(name)}){text.removeprefix(head)}" if rest else f"{head} ({_quote(name)})"
    return text


def _syntax(message: str, text: str, name: str) -> str:
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    what = message[: found.start()] if found else message
    if found and found[1]:
        line, column = int(found[1]), int(found[2])
    else:
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    for start, plain in _PLAIN_SYNTAX.items():
        if what.startswith(start):
            what = plain
    return f"{name}:{line}:{column}: is not TOML: {what[:1].lower()}{what[1:]}"


def _quote(text: object) -> str:
    return json.dumps(text, ensure_ascii=False)


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int():
            return "a number"
        case float():
            return "a decimal number"
        case list() | tuple():
            return "a list"
        case dict() | BaseModel():
            return "a table"
    return "a date or time"


def _nearest(word: str, known: Iterable[str], cutoff: float) -> str | None:
    by_lower = {item.lower(): item for item in known}
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[near[0]] if near else None


def _hint(word: str, known: Iterable[str]) -> str:
    near = _nearest(word, known, cutoff=0.6)
    return f"; did you mean {_quote(near)}?" if near else f"; what can be there: {', '.join(sorted(known))}"
