"""Which exchanges of the log are wanted, and how that is written: `since=1h outcome=failed account=a`."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from antigravity_healing.policy.journal.records import OUTCOMES
from antigravity_healing.policy.judging.failures import FailureClass

STATES = (*OUTCOMES, "running", "unfinished")
MOST = 10_000
"""How many rows may be asked for at once."""
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_CURSOR = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3})?):([0-9]{1,18})")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")


class FilterError(ValueError):
    """What is asked for can't be understood; the text says what would be right."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page of rows ended: the next one begins behind it. Written `AT:NUMBER`; no row has the number 0."""

    at: float
    number: int

    def __str__(self) -> str:
        return f"{self.at!r}:{self.number}"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges are wanted; all that is said has to hold. The newest come first.

    since, until: when they began, in seconds since 1970. outcome: or `running`, `unfinished`. exchange: its id.
    account, failure: of an attempt, both of the same one. model: as the client or as upstream calls it; `*` stands for
    anything. attempts: at least so many. text: somewhere in what is told of it, whatever the case.
    limit: how many. after: where the page before this one ended.
    """

    since: float | None = None
    until: float | None = None
    outcome: str = ""
    exchange: str = ""
    account: str = ""
    failure: str = ""
    model: str = ""
    conversation: str = ""
    client: str = ""
    attempts: int = 0
    text: str = ""
    limit: int = 100
    after: Cursor | None = None


def filter_from(words: Mapping[str, str], now: float) -> Filter:
    """The filter that is meant by these values by their names; empty ones say nothing. now: seconds since 1970.

    Raises FilterError.
    """
    values: dict[str, Any] = {}
    for name, value in words.items():
        if name not in _READ:
            raise FilterError(f"there is nothing called {name} to filter by{_near(name, _READ)}")
        if value := value.strip():
            values[name] = _READ[name](value, now)
    return replace(Filter(), **values)


def filter_in(line: str, now: float) -> Filter:
    """The filter that is meant by a line: `NAME=VALUE …`; words without a name are text. Raises FilterError."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise FilterError(f"{line}: {str(error).lower()}") from None
    named: dict[str, str] = {}
    text: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            text.append(word)
        elif name in named:
            raise FilterError(f"{name} is there twice")
        else:
            named[name] = value
    if text:
        named["text"] = " ".join(filter(None, (named.get("text", ""), *text)))
    return filter_from(named, now)


def time_of(value: str, now: float) -> float:
    """The time that is meant, in seconds since 1970: `90s`, `15m`, `1h`, `2d` ago, `14:05`, or a date with or without
    a time. What names no zone is by this machine's clock. Raises FilterError.
    """
    if match := _SPAN.fullmatch(value):
        return now - float(match[1]) * _UNITS_S[match[2]]
    try:
        if _CLOCK.fullmatch(value):
            value = f"{datetime.fromtimestamp(now):%Y-%m-%d}T{value:0>5}"
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        raise FilterError(
            f"{value} is no time: write 90s, 15m, 1h, 2d or 1w ago, 14:05, 2026-01-31 or 2026-01-31T14:05"
        ) from None


def _one_of(name: str, known: Iterable[str]) -> Callable[[str, float], str]:
    choices = tuple(known)

    def read(value: str, now: float) -> str:
        if value not in choices:
            raise FilterError(f"there is no {name} {value}{_near(value, choices)}")
        return value

    return read


def _number(name: str, most: int) -> Callable[[str, float], int]:
    def read(value: str, now: float) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= most:
            raise FilterError(f"{name} has to be a whole number from 1 to {most}, not {value}")
        return int(value)

    return read


def _as_it_is(value: str, now: float) -> str:
    return value


def _cursor(value: str, now: float) -> Cursor:
    if (match := _CURSOR.fullmatch(value)) is None:
        raise FilterError("after has to be what the page before this one says")
    return Cursor(float(match[1]), int(match[2]))


def _near(value: str, known: Iterable[str]) -> str:
    known = tuple(known)
    near = get_close_matches(value, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known)}"


_READ: Mapping[str, Callable[[str, float], Any]] = {
    "since": time_of,
    "until": time_of,
    "outcome": _one_of("outcome", STATES),
    "exchange": _as_it_is,
    "account": _as_it_is,
    "failure": _one_of("failure class", map(str, FailureClass)),
    "model": _as_it_is,
    "conversation": _as_it_is,
    "client": _as_it_is,
    "attempts": _number("attempts", 1000),
    "text": _as_it_is,
    "limit": _number("limit", MOST),
    "after": _cursor,
}
NAMES = tuple(_READ)
"""What can be filtered by."""
