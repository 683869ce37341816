"""Looking for rows, the newest first, for as long as somebody waits: what few have in common, no index leads to."""

import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.queries import queries

FIRST_ROWS = 10_000
"""So many rows are looked through at least, however long that takes; each step takes twice as many as the last."""
# A look at the clock after so many of SQLite's instructions, which take less than a millisecond.
_INSTRUCTIONS = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that a filter lets through. rows: their times and numbers, the newest first; no more than its limit.

    searched_to: all that began since then (seconds since 1970) has been looked at, and nothing before; None where
    nothing is left that could be among them.
    """

    rows: tuple[tuple[float, int], ...]
    searched_to: float | None = None


def search(db: sqlite3.Connection, wanted: Filter, running: frozenset[int], within_s: float) -> Found:
    """What a filter lets through, as far as that is found within so many seconds. Raises sqlite3.Error."""
    end = time.monotonic() + within_s
    rows: set[tuple[float, int]] = set()
    searched_to: float | None = None
    try:
        for part in _parts(db, wanted):
            rows |= _asked(db, part, running)
            searched_to = part.since if part.since != wanted.since else None
            if searched_to is None or len(rows) >= wanted.limit:
                break
            db.set_progress_handler(lambda: time.monotonic() > end, _INSTRUCTIONS)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        db.set_progress_handler(None, 0)
    newest = tuple(sorted(rows, reverse=True)[: wanted.limit])
    return Found(newest, searched_to if len(newest) < wanted.limit else None)


def _asked(db: sqlite3.Connection, wanted: Filter, running: frozenset[int]) -> set[tuple[float, int]]:
    return {
        (row["at"], row["id"])
        for query in queries(wanted, running)
        for row in db.execute(query.statement, query.values)
    }


def _parts(db: sqlite3.Connection, wanted: Filter) -> Iterator[Filter]:
    """The filter for one piece of time after the other, the newest first; the last has the filter's own beginning."""
    ends = [at for at in (wanted.until, wanted.after.at if wanted.after else None) if at is not None]
    first, rows = _newest(db, ends), FIRST_ROWS
    until, searched_to = wanted.until, min(ends, default=math.inf)
    while (since := _begun(db, first - rows)) is not None and (wanted.since is None or since > wanted.since):
        # Where the clock was set back, what was written before may be of later.
        if since < searched_to:
            yield replace(wanted, since=since, until=until)
            until = searched_to = since
        rows *= 2
    yield replace(wanted, until=until)


def _newest(db: sqlite3.Connection, ends: Sequence[float]) -> int:
    """The number of the newest row that began before all of these times, about; 0 where there is none."""
    where, values = ("WHERE at <= ?", (min(ends),)) if ends else ("", ())
    row = db.execute(f"SELECT id FROM exchanges {where} ORDER BY at DESC, id DESC LIMIT 1", values).fetchone()
    return row["id"] if row else 0


def _begun(db: sqlite3.Connection, number: int) -> float | None:
    """When the row with this number began, or the one before it; None where there is none."""
    row = db.execute("SELECT at FROM exchanges WHERE id <= ? ORDER BY id DESC LIMIT 1", (number,)).fetchone()
    return row["at"] if row else None
