"""How many tokens an answer has cost, in any dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

MOST_TOKENS = 10**12
"""Far more than any request has: what says more is no count."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one answer, or of several.

    uncached: of the input, those that no cache had anything to do with. cache_read, cache_write: those that came from
    a cache, and those that were put into one. output: all that was generated, of which `reasoning` was thinking.
    """

    uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def input(self) -> int:
        """All that was put before the model, from caches or not."""
        return self.uncached + self.cache_read + self.cache_write

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.uncached + other.uncached,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )


class UsageTally(Protocol):
    """What an answer tells of its usage. It is told more than once; the last value of each field counts."""

    @property
    def usage(self) -> Usage | None:
        """As far as it has been told; None where nothing has."""

    def take(self, body: Any) -> None:
        """Take what an event of a stream, or a whole answer, tells; never raises."""


class Counts(dict[str, int]):
    """Counts by the names of their fields; a field that has not been told is 0."""

    def __missing__(self, name: str) -> int:
        return 0

    def take(self, fields: Any, names: frozenset[str]) -> None:
        """Take those with these names that are counts."""
        for name, value in fields.items() if isinstance(fields, Mapping) else ():
            if name in names and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
                self[name] = value
