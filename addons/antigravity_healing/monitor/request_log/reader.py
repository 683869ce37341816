"""Reading the request log: pages of exchanges, and what happened in a while. Takes time: to be called in a thread."""

import contextlib
import os
import socket
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import quantiles

from antigravity_healing.monitor.request_log.filters import Cursor, Filter
from antigravity_healing.monitor.request_log.rows import LoggedExchange, exchange_of
from antigravity_healing.monitor.request_log.schema import USAGE, OtherVersionError, open_to_read
from antigravity_healing.monitor.request_log.searching import search
from antigravity_healing.policy.judging.failures import one_line
from antigravity_healing.wire.usage import Usage

SEARCH_S = 0.5
"""For so long a page is looked for, where nobody says how long it may take."""
_ASKED_AT_ONCE = 500


class UnreadableError(Exception):
    """The log can't be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some exchanges, the newest first.

    after: where the next page begins, None where this is the last.
    searched_to: what began before (seconds since 1970) has not been looked at, as that would have taken too long; None
    where that is not why there are no more.
    """

    exchanges: tuple[LoggedExchange, ...]
    after: Cursor | None
    searched_to: float | None = None

    @property
    def searched_back(self) -> str:
        """How far back it was searched, in words; "" where that is not why there are no more."""
        if self.searched_to is None:
            return ""
        return f"searched back until {datetime.fromtimestamp(self.searched_to):%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """What began in a piece of time. at: its beginning, in seconds since 1970.

    outcomes: how many ended so; "" are those without an outcome. first_content_s: seconds to the first content at the
    client, the median and the 95th percentile; None where none came.
    """

    at: float
    outcomes: dict[str, int]
    first_content_s: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class AccountUse:
    """What an account did. attempts: those that are over; failed: how many of them, by failure class."""

    attempts: int
    failed: dict[str, int]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened from one time to another. buckets: all of that time, in order. total: all of it as one.

    accounts: by name. failures: attempts by failure class. usage: of all attempts.
    """

    buckets: tuple[Bucket, ...]
    total: Bucket
    accounts: dict[str, AccountUse]
    failures: dict[str, int]
    usage: Usage


class Reader:
    """Reads a log. Each call opens it anew, to read only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def page(self, wanted: Filter, within_s: float = SEARCH_S) -> Page:
        """Exchanges that a filter lets through, as far as they are found in so many seconds. Raises UnreadableError."""
        with self._open() as db:
            running = _running(db)
            found = search(db, wanted, running, within_s)
            exchanges = _exchanges(db, [number for _, number in found.rows], running)
        if found.searched_to is not None:
            return Page(exchanges, Cursor(found.searched_to, 0), found.searched_to)
        return Page(exchanges, Cursor(*found.rows[-1]) if len(found.rows) == wanted.limit else None)

    def summary(self, since: float, until: float, buckets: int = 60) -> Summary:
        """What happened between two times (seconds since 1970), also in so many pieces. Raises UnreadableError."""
        width_s = (until - since) / buckets
        with self._open() as db:
            rows = db.execute(
                "SELECT at, outcome, first_content_s, times FROM exchanges WHERE at >= ? AND at < ?", (since, until)
            ).fetchall()
            used = db.execute(
                "SELECT a.account, a.failure, COUNT(*) AS attempts, "
                + ", ".join(f"SUM(a.{name}) AS {name}" for name in USAGE)
                + " FROM exchanges e CROSS JOIN attempts a ON a.row = e.id WHERE e.at >= ? AND e.at < ?"
                " GROUP BY a.account, a.failure",
                (since, until),
            ).fetchall()
        pieces: list[list[sqlite3.Row]] = [[] for _ in range(buckets)]
        for row in rows:
            pieces[min(int((row["at"] - since) / width_s), buckets - 1)].append(row)
        accounts, failures = _use(used)
        return Summary(
            tuple(_bucket(since + index * width_s, piece) for index, piece in enumerate(pieces)),
            _bucket(since, rows),
            accounts,
            failures,
            sum((account.usage for account in accounts.values()), Usage()),
        )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if not self.path.exists():
                raise UnreadableError(f"there is no request log at {self.path}")
            with contextlib.closing(open_to_read(self.path)) as db:
                # All that is read of it is from one moment.
                db.execute("BEGIN")
                yield db
        except (sqlite3.Error, OSError, OtherVersionError) as error:
            raise UnreadableError(f"{self.path} can't be read: {one_line(str(error))}") from None


def _running(db: sqlite3.Connection) -> frozenset[int]:
    """The runs whose process is there."""
    host = socket.gethostname()
    rows = db.execute("SELECT id, host, pid FROM runs WHERE over_at IS NULL").fetchall()
    return frozenset(row["id"] for row in rows if row["host"] == host and _is_there(row["pid"]))


def _is_there(pid: int) -> bool:
    if pid == os.getpid():
        return True
    if os.name != "posix":
        return False  # there the same call would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _exchanges(db: sqlite3.Connection, numbers: Sequence[int], running: frozenset[int]) -> tuple[LoggedExchange, ...]:
    rows: dict[int, sqlite3.Row] = {}
    attempts: defaultdict[int, list[sqlite3.Row]] = defaultdict(list)
    for start in range(0, len(numbers), _ASKED_AT_ONCE):
        asked = numbers[start : start + _ASKED_AT_ONCE]
        marks = ",".join("?" * len(asked))
        rows |= {row["id"]: row for row in db.execute(f"SELECT * FROM exchanges WHERE id IN ({marks})", asked)}
        for row in db.execute(f"SELECT * FROM attempts WHERE row IN ({marks}) ORDER BY row, attempt", asked):
            attempts[row["row"]].append(row)
    return tuple(exchange_of(rows[number], attempts[number], running) for number in numbers)


def _bucket(at: float, rows: Iterable[sqlite3.Row]) -> Bucket:
    outcomes: defaultdict[str, int] = defaultdict(int)
    times: list[float] = []
    for row in rows:
        outcomes[row["outcome"] or ""] += row["times"]
        if row["first_content_s"] is not None:
            times.append(row["first_content_s"])
    return Bucket(at, dict(outcomes), _percentiles(times))


def _percentiles(times: list[float]) -> tuple[float, float] | None:
    if len(times) < 2:
        return (times[0], times[0]) if times else None
    cuts = quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18]


def _use(rows: Iterable[sqlite3.Row]) -> tuple[dict[str, AccountUse], dict[str, int]]:
    accounts: dict[str, AccountUse] = {}
    failures: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        before = accounts.get(row["account"], AccountUse(0, {}, Usage()))
        failed = before.failed
        if row["failure"] is not None:
            failed = {**failed, row["failure"]: row["attempts"]}
            failures[row["failure"]] += row["attempts"]
        usage = before.usage + Usage(*(row[name] or 0 for name in USAGE))
        accounts[row["account"]] = AccountUse(before.attempts + row["attempts"], failed, usage)
    return accounts, dict(failures)
