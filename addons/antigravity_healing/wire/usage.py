"""What an answer tells of itself beside its content, in any dialect: above all how many tokens it has cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

LONGEST_TEXT = 200
"""Far more than any id or reason has."""
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


class AnswerTally(Protocol):
    """What an answer tells of itself. Much is told more than once; the last value of each field counts."""

    @property
    def usage(self) -> Usage | None:
        """As far as it has been told; None where nothing has."""

    @property
    def response_id(self) -> str:
        """What upstream calls the answer, "" where it has not been told."""

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """Why it stopped, in upstream's words: one for each of its choices that has."""

    def take(self, body: Any) -> None:
        """Take what an event of a stream, or a whole answer, tells; never raises."""


def count_in(fields: Any, *names: str) -> int | None:
    """The first of the fields with these names that is a count; None where none is."""
    counts = Counts()
    counts.take(fields, frozenset(names))
    return next((counts[name] for name in names if name in counts), None)


def short_text(value: Any) -> str:
    """A text that is no longer than what it is taken for; "" for anything else."""
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT else ""


class Counts(dict[str, int]):
    """Counts by the names of their fields; a field that has not been told is 0."""

    def __missing__(self, name: str) -> int:
        return 0

    def take(self, fields: Any, names: frozenset[str]) -> None:
        """Take those with these names that are counts."""
        for name, value in fields.items() if isinstance(fields, Mapping) else ():
            if name in names and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
                self[name] = value
