"""What a fuzz target is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True)
class Target:
    """A property of any bytes.

    run: raises, whatever it may be, where the property does not hold.
    seeds: inputs to begin with. json: whether inputs are JSON texts, and are changed as such.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    json: bool = False


def value_in(data: bytes) -> Any:
    """The JSON value of an input; None for one that is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def objects_in(data: bytes) -> list[dict[str, Any]]:
    """The objects of an input that is a JSON array."""
    value = value_in(data)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def cut(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of this many bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]
