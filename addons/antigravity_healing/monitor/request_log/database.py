"""The request log's database as its one writer has it: records in, and what is too old or too much out."""

import os
import socket
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from antigravity_healing import private_database
from antigravity_healing.monitor.request_log.rows import Values, attempt_values, end_values, exchange_values
from antigravity_healing.monitor.request_log.schema import (
    NOT_CLEAN,
    OTHER_VERSION,
    PAGE_BYTES,
    WAL_PAGES,
    open_to_write,
)
from antigravity_healing.policy.journal.records import AttemptFacts, ExchangeEnd, ExchangeFacts, Finding, Record
from antigravity_healing.policy.settings.schema import RequestLogSettings

SAME_WITHIN_S = 60.0
"""What a client is refused for a model in the same words within so many seconds is one row."""
_MOST_REFUSED = 1000
_MOST_RUNNING = 10_000
_DELETED_AT_ONCE = 100
_VACUUMED_AT_ONCE = 100
# What the file may have, and what is kept free of it for what SQLite keeps beside it.
_BESIDE_BYTES = 3 * WAL_PAGES * PAGE_BYTES
_ROOM = 0.99
_DAY_S = 24 * 3600.0


class _Running(NamedTuple):
    """An exchange that runs: its row, and which of its attempts have theirs."""

    row: int
    attempts: frozenset[int] = frozenset()


class _Refused(NamedTuple):
    row: int
    since: float


class Database:
    """The log, open. All times are seconds since 1970. Every method raises sqlite3.Error and OSError."""

    def __init__(self, path: Path, now: float) -> None:
        """Open it, for a process that begins. Raises OtherVersionError, too."""
        self.path = path
        self._db = open_to_write(path)
        try:
            self._file = _identity(path)
            self._run = self._begin_run(now)
            self._count = self._counted()
        except (sqlite3.Error, OSError):
            self._db.close()
            raise
        # By its id; what is not here is looked for in the table.
        self._running: OrderedDict[str, _Running] = OrderedDict()
        self._refused: OrderedDict[tuple[str, ...], _Refused] = OrderedDict()

    def is_there(self) -> bool:
        """Whether the file is still where it was opened: a person, or another proxy, may have taken it away."""
        with suppress(OSError):
            return self._file == _identity(self.path)
        return False

    def write(self, records: Sequence[Record]) -> None:
        """Write down all of these records, or none."""
        before = self._running.copy(), self._refused.copy(), self._count
        try:
            with self._writing():
                for record in records:
                    self._write(record)
        except BaseException:
            self._running, self._refused, self._count = before
            raise

    def prune(self, settings: RequestLogSettings, now: float, interrupted: Callable[[], bool]) -> None:
        """Delete what is too old or too much, and give its room back.

        interrupted: whether to leave the rest for later.
        """
        oldest_at = now - settings.days * _DAY_S
        self._put_aside_files_away(oldest_at)
        self._count = self._counted()
        pruned = self._delete(f"WHERE at < {oldest_at!r}", self._count, interrupted)
        if self._count > settings.rows:
            pruned |= self._delete("", self._count - int(settings.rows * _ROOM), interrupted)
        if self._used_bytes() > settings.bytes - _BESIDE_BYTES:
            least = int((settings.bytes - _BESIDE_BYTES) * _ROOM)
            while self._used_bytes() > least and self._delete("", _DELETED_AT_ONCE, interrupted):
                pruned = True
        if pruned:
            self._shrink(interrupted)

    def is_too_much(self, settings: RequestLogSettings) -> bool:
        """Whether there is more than may be."""
        return self._count > settings.rows or self._used_bytes() > settings.bytes - _BESIDE_BYTES

    def close(self, now: float | None = None) -> None:
        """Close it. now: where the process ends as it should."""
        try:
            if now is not None:
                with self._writing():
                    self._db.execute("UPDATE runs SET over_at = ? WHERE id = ?", (now, self._run))
        finally:
            self._db.close()

    # Runs.

    def _begin_run(self, now: float) -> int:
        host, pid = socket.gethostname(), os.getpid()
        with self._writing():
            # A process with this number is this one: in a container each start has the same.
            gone = "UPDATE runs SET over_at = ? WHERE over_at IS NULL AND host = ? AND pid = ?"
            self._db.execute(gone, (now, host, pid))
            added = self._db.execute("INSERT INTO runs (host, pid, started_at) VALUES (?, ?, ?)", (host, pid, now))
            assert added.lastrowid is not None
            return added.lastrowid

    # Records.

    def _write(self, record: Record) -> None:
        facts = record.exchange
        match record.step:
            case "received":
                self._add(facts)
            case "attempt_over" if record.attempt is not None:
                row = self._add_attempts(facts, [record.attempt])
                self._db.execute("UPDATE exchanges SET attempts = ? WHERE id = ?", (record.attempt.attempt, row))
            case "over" if record.end is not None:
                row = self._add_attempts(facts, record.end.attempts)
                self._update(row, end_values(record.end))
                self._running.pop(facts.exchange, None)
            case "refused":
                self._refuse(record)

    def _found(self, facts: ExchangeFacts) -> _Running:
        """An exchange that runs, with a row from now on where its beginning was not written down."""
        if (known := self._running.get(facts.exchange)) is not None:
            return known
        asked = "SELECT id FROM exchanges WHERE exchange = ? AND run = ? AND outcome IS NULL"
        row = self._db.execute(asked, (facts.exchange, self._run)).fetchone()
        return _Running(row["id"] if row else self._add(facts))

    def _add(self, facts: ExchangeFacts) -> int:
        added = self._db.execute(*_insert("exchanges", {"run": self._run, **exchange_values(facts)}))
        assert added.lastrowid is not None
        self._count += 1
        self._remember(facts, _Running(added.lastrowid))
        return added.lastrowid

    def _add_attempts(self, facts: ExchangeFacts, attempts: Sequence[AttemptFacts]) -> int:
        """Write down those that are not there yet, and give the exchange's row."""
        found = self._found(facts)
        new = [attempt for attempt in attempts if attempt.attempt not in found.attempts]
        for attempt in new:
            values = {"row": found.row, "row_at": facts.at, **attempt_values(attempt)}
            self._db.execute(*_insert("attempts", values, "OR IGNORE"))
        written = found.attempts.union(attempt.attempt for attempt in new)
        self._remember(facts, _Running(found.row, written))
        return found.row

    def _remember(self, facts: ExchangeFacts, running: _Running) -> None:
        self._running[facts.exchange] = running
        if len(self._running) > _MOST_RUNNING:
            self._running.popitem(last=False)

    def _update(self, row: int, values: Values) -> None:
        marks = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"UPDATE exchanges SET {marks} WHERE id = ?", (*values.values(), row))

    def _refuse(self, record: Record) -> None:
        facts = record.exchange
        same = facts.client, facts.dialect, facts.model, record.text
        known = self._refused.get(same)
        if known is not None and 0 <= record.at - known.since < SAME_WITHIN_S:
            counted = "UPDATE exchanges SET times = times + 1, last_at = ? WHERE id = ?"
            self._db.execute(counted, (record.at, known.row))
            return
        row = self._add(facts)
        self._update(row, end_values(record.end or ExchangeEnd("refused", Finding(record.text))))
        self._running.pop(facts.exchange, None)
        self._refused.pop(same, None)
        self._refused[same] = _Refused(row, record.at)
        if len(self._refused) > _MOST_REFUSED:
            self._refused.popitem(last=False)

    # Room.

    def _delete(self, which: str, most: int, interrupted: Callable[[], bool]) -> bool:
        """Delete the oldest of some rows, a few at a time, so that others come in between."""
        deleted = False
        while most > 0 and not interrupted():
            oldest = f"SELECT id FROM exchanges {which} ORDER BY at LIMIT {min(most, _DELETED_AT_ONCE)}"
            with self._writing():
                rows = [tuple(row) for row in self._db.execute(oldest)]
                self._db.executemany("DELETE FROM attempts WHERE row = ?", rows)
                self._db.executemany("DELETE FROM exchanges WHERE id = ?", rows)
            if not rows:
                break
            deleted, most = True, most - len(rows)
            self._count -= len(rows)
        return deleted

    def _shrink(self, interrupted: Callable[[], bool]) -> None:
        while self._pragma("freelist_count") and not interrupted():
            # A page a step: the statement has to be run to its end.
            self._db.execute(f"PRAGMA incremental_vacuum({_VACUUMED_AT_ONCE})").fetchall()
        with self._writing():
            needed = f"SELECT run FROM exchanges WHERE {NOT_CLEAN} AND outcome IS NULL"
            self._db.execute(f"DELETE FROM runs WHERE over_at IS NOT NULL AND id NOT IN ({needed})")
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _put_aside_files_away(self, oldest_at: float) -> None:
        """Delete what was once put aside and is too old now."""
        for ending in (private_database.BROKEN, f"{OTHER_VERSION}*"):
            for path in self.path.parent.glob(self.path.name + ending):
                if path.stat().st_mtime < oldest_at:
                    path.unlink(missing_ok=True)

    def _used_bytes(self) -> int:
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def _counted(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM exchanges").fetchone()[0])

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise


def _insert(table: str, values: Values, conflict: str = "") -> tuple[str, tuple[object, ...]]:
    marks = ", ".join("?" * len(values))
    return f"INSERT {conflict} INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
