"""JSON as a strict client reads it, and the assertions that the checkers are made of.

What is asked of each event words its complaint only when there is one.
"""

import json
from typing import Any, Literal, NoReturn

Ended = Literal["complete", "error", "cut"]


def require(condition: object, why: str) -> None:
    """`assert` that also works under `python -O` and that pytest need not rewrite."""
    if not condition:
        raise AssertionError(why)


def shown(data: object) -> str:
    """A value for a message, short enough to read."""
    text = repr(data)
    return text if len(text) <= 160 else f"{text[:120]}… ({len(text)} characters)"


def utf8(data: bytes, where: str) -> str:
    """`data` as text; half a character is an error."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise AssertionError(f"{where}: not UTF-8 at byte {e.start}: {shown(data)}") from None


def parsed(text: str, where: str) -> Any:
    """`text` as JSON. `NaN` and `Infinity` are refused: only Python would read them."""
    try:
        return _STRICT.decode(text)
    except ValueError as e:
        raise AssertionError(f"{where}: not JSON ({e}): {shown(text)}") from None


def as_object(value: Any, where: str) -> dict[str, Any]:
    """`value`, which must be a JSON object."""
    if not isinstance(value, dict):
        raise AssertionError(f"{where}: expected an object, got {shown(value)}")
    result: dict[str, Any] = value
    return result


def as_list(value: Any, where: str) -> list[Any]:
    """`value`, which must be a JSON array."""
    if not isinstance(value, list):
        raise AssertionError(f"{where}: expected an array, got {shown(value)}")
    result: list[Any] = value
    return result


def as_text(value: Any, where: str, *, empty: bool = True) -> str:
    """`value`, which must be a string."""
    if not isinstance(value, str):
        raise AssertionError(f"{where}: expected a string, got {shown(value)}")
    require(empty or value, f"{where}: is empty")
    result: str = value
    return result


def as_int(value: Any, where: str) -> int:
    """`value`, which must be an integer (JSON's `true` is none, though Python's is)."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise AssertionError(f"{where}: expected an integer, got {shown(value)}")
    result: int = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_no_constant)
