"""The values that stand in `antigravity.toml`: how each is read, and what is said of one that can't be."""

import math
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import BeforeValidator, PlainValidator, SecretStr, ValidationInfo

from antigravity_healing.policy.settings.messages import kind_of
from antigravity_healing.policy.settings.source_notation import parse_source


class ProblemsError(ValueError):
    """Several problems found by one validator, each with the path of the key it is about."""

    def __init__(self, problems: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(text for _, text in self.problems))


def _source(value: object, info: ValidationInfo) -> object:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {kind_of(value)}")
    source = parse_source(value, (info.context or {}).get("folder"))
    return SecretStr(source.value if source.kind == "literal" else f"{source.kind}:{source.value}")


def _number(value: object, expected: str, *, zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {expected}, got {kind_of(value)}")
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


def text(value: object) -> object:
    """The value, unless it is a string that is not one line of something. Raises ValueError."""
    # Names end up in headers, logs and on the page: one line each.
    if isinstance(value, str) and (not value or value != value.strip() or not value.isprintable()):
        raise ValueError("must not be empty, nor have line breaks, control characters or spaces around it")
    return value


def _vertex_name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(VERTEX_NAME, value):
        raise ValueError("may only have letters, digits, dashes, dots and colons")
    return value


VERTEX_NAME = r"[A-Za-z0-9][A-Za-z0-9.:-]*"
"""What the name of a project, or of a location, looks like: it stands in paths and names hosts."""
VertexName = Annotated[str, BeforeValidator(_vertex_name)]
Secret = Annotated[SecretStr, BeforeValidator(_source)]
Text = Annotated[str, BeforeValidator(text)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Wait = Annotated[float, BeforeValidator(_wait)]
SecondsOrOff = Annotated[float | None, BeforeValidator(_seconds_or_off)]
Override = Annotated[float | None, PlainValidator(_override)]
Weight = Annotated[float, BeforeValidator(_weight)]
