"""The configuration file: how its text becomes a checked `Config` or a readable `ConfigError`.

No message made here contains a value from a place where a secret may stand.
"""

import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from antigravity_healing.policy.settings.messages import hint, kind_of, quote
from antigravity_healing.policy.settings.schema import (
    FILE_NAME,
    AccountSettings,
    Config,
    PeekOverrides,
    RouteSettings,
    Upstream,
)
from antigravity_healing.policy.settings.source_notation import Source, parse_source
from antigravity_healing.policy.settings.values import ProblemsError
from antigravity_healing.private import is_open_to_others

_SHORTEST_KEY = 8


OPTION = "the option antigravity_config"
"""What names a configuration file to mitmproxy."""


class ConfigError(Exception):
    """The configuration cannot be used. Its text names every problem found, one a line, and shows no secret."""


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


def load(path: Path, before: Config | None = None) -> Config:
    """Reads and checks a configuration file. Raises `ConfigError`.

    before: the configuration that it is to take the place of. A file in which nothing is said is none then: most likely
    somebody is about to write it, and without accounts and client keys nothing would be guarded.
    """
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; name the file in it") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path is not valid"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    config = parse(data, str(path), path.absolute().parent)
    if before is not None and before != config == Config():
        raise ConfigError(f"{path}: nothing is said in it; to go on without a configuration, start anew")
    # Several places may have one of this name.
    shown = path.name if path.absolute().parent == Path.cwd() else path
    for number, account in enumerate(config.accounts):
        account.stands_in(f"{shown}, accounts[{number}]")
    return config


def find(option: str, cwd: Path, user_folder: Path, named_by: str = OPTION) -> Path | None:
    """The configuration file to use: `option` if not empty, else the one in `cwd`, else in `user_folder`, else None.

    named_by: what `option` is the value of, in words.

    Raises `ConfigError` if `option` names no file, or it can't be seen whether there is one.
    """
    if option:
        try:
            path = cwd / Path(option).expanduser()
        except RuntimeError:
            raise ConfigError(f'{option}: the home folder ("~") cannot be found') from None
        if not os.path.exists(path):  # unlike Path.exists, it also bears a folder that may not be searched
            raise ConfigError(f"{path}: there is no such file; it is what {named_by} names")
        return path
    for path in places(cwd, user_folder):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"{path}: cannot be looked for: {error.strerror}") from None
        if not os.path.isdir(path):
            return path
    return None


def places(cwd: Path, user_folder: Path) -> tuple[Path, ...]:
    """Where a configuration file is looked for, if no option names one."""
    return tuple(folder / FILE_NAME for folder in (cwd, user_folder))


def exposed(path: Path, config: Config) -> list[str]:
    """What others on this machine can read of the credentials of a configuration, which was loaded from `path`."""
    sources = [parse_source(secret.get_secret_value()) for secret in config.clients.keys]
    sources += [source for account in config.accounts for source in _sources_of(account)]
    # A shorter value is none that anybody has to guess.
    literal = any(source.kind == "literal" and len(source.value) >= _SHORTEST_KEY for source in sources)
    files = dict.fromkeys(Path(source.value) for source in sources if source.kind == "file")
    return [
        f"others can read or change {file}, which has a key in it: chmod 600 {shlex.quote(str(file))}"
        for file in ([path] if literal else []) + list(files)
        if is_open_to_others(file)
    ]


def misread(config: Config) -> list[str]:
    """Which commands seem to be written for a shell."""
    return [
        f"account {account.name}: its command has words for a shell, and goes through none: write cmd:sh -c '…'"
        for account in config.accounts
        if any(source.wants_a_shell for source in _sources_of(account))
    ]


def _sources_of(account: AccountSettings) -> list[Source]:
    secrets = (account.api_key, account.bearer, *account.headers.values())
    return [parse_source(secret.get_secret_value()) for secret in secrets if secret]


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
        return [f"{_path(loc[:-1], data)}: {quote(loc[-1])} is missing"]
    if kind == "extra_forbidden":
        where = f"{_path(loc[:-1], data)}: " if loc[:-1] else ""
        return [f"{where}unknown key {quote(loc[-1])}{hint(loc[-1], _table(loc[:-1]).model_fields)}"]
    if isinstance(error := context.get("error"), ProblemsError):
        return [f"{_path((*loc, *more), data)}: {text}" for more, text in error.problems]
    if isinstance(error, ValueError):
        return [f"{_path(loc, data)}: {error}"]
    if loc == ("accounts",):
        return [f"accounts: expected a list of tables, each under [[accounts]], got {kind_of(details['input'])}"]
    text = _PLAIN.get(kind, "is not valid").format(got=kind_of(details["input"]), **context)
    return [f"{_path(loc, data)}: {text}"]


def _table(loc: tuple[str | int, ...]) -> type[BaseModel]:
    match loc:
        case ("accounts", int()):
            return AccountSettings
        case ("upstreams", str()):
            return Upstream
        case ("models", str()):
            return RouteSettings
        case ("models", str(), "peek"):
            return PeekOverrides
        case (str(name),) if name in Config.model_fields:
            table = Config.model_fields[name].annotation
            if isinstance(table, type) and issubclass(table, BaseModel):
                return table
    return Config


def _path(loc: tuple[str | int, ...], data: Mapping[str, Any]) -> str:
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            text += f"{'.' if text else ''}{part if bare else quote(part)}"
    match loc:
        case ("accounts", int(index), *rest):
            account = data["accounts"][index]
            name = account.get("name") if isinstance(account, dict) else None
            if isinstance(name, str) and name:
                head = f"accounts[{index}]"
                return f"{head} ({quote(name)}){text.removeprefix(head)}" if rest else f"{head} ({quote(name)})"
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
