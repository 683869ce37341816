"""What a source gives, and why it gives nothing."""

from typing import NamedTuple


class SourceError(Exception):
    """A source gives nothing that can be used; the text says why and holds nothing of what it gave."""


class SlowSourceError(SourceError):
    """It took too long."""


class Given(NamedTuple):
    """What a source gave.

    lasts_s: seconds for which it is good, None where the source does not say. headers: what has to go with it.
    """

    value: str
    lasts_s: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
