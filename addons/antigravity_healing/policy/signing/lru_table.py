"""A bounded table of small values that a restart does not lose: SQLite, in a file or in memory.

Its errors never reach an exchange: what can't be read is not there, what can't be written is lost, and the log says
when that begins and when it is over.
"""

import contextlib
import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from antigravity_healing import private_database
from antigravity_healing.policy.trouble import Trouble

logger = logging.getLogger(__name__)

_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL, used REAL NOT NULL
);
CREATE INDEX by_use ON entries (used);
CREATE TABLE repairs (id TEXT PRIMARY KEY, value BLOB NOT NULL, used REAL NOT NULL);
CREATE TABLE secrets (value BLOB NOT NULL);
"""
# Beside those of a version, as it came later.
_OWNERS = "CREATE TABLE IF NOT EXISTS owners (thing TEXT PRIMARY KEY, owner TEXT NOT NULL, used REAL NOT NULL);"
_TABLES = ("entries", "repairs", "secrets")
# What is used again within this time is not written down again for it.
_TOUCH_AFTER_S = 60.0
_EVICT_AT_ONCE = 64
_ASKED_AT_ONCE = 500
_ROOM = 0.999
_OWNERS_ROOM = 0.9
_ENTRY_OVERHEAD_BYTES = 100
_CACHE_KIB = 8192
_BUSY_S = 0.25
_SECRET_BYTES = 32


class LruTable:
    """Values by their keys, the least recently used ones making room; times are seconds since 1970.

    path: the database's file; None keeps all in memory. ttl_s: what is not used for so long is gone.
    max_entries, max_bytes: how much is kept.
    secret: random bytes that belong to this table.
    """

    def __init__(self, path: Path | None, *, ttl_s: float, max_entries: int, max_bytes: int) -> None:
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._path = path
        self._touched: dict[str, float] = {}
        self._trouble = Trouble(
            logger, f"signatures are not kept: {path or 'memory'}: %s", f"signatures are kept again: {path or 'memory'}"
        )
        # Long requests are understood beside the event loop.
        self._lock = threading.RLock()
        self._writing = self._undo = self._unreadable = False
        self._closed = False
        self._db = self._open()
        self.entries, self.bytes = 0, 0
        self.secret = self._own_secret()
        for entries, size in self._ask("SELECT COUNT(*), TOTAL(size) FROM entries"):
            self.entries, self.bytes = int(entries), int(size)

    def get(self, key: str, now: float) -> bytes | None:
        """The value, None if there is none or it has not been used for too long."""
        found = self._ask("SELECT value, used FROM entries WHERE key = ?", key)
        if not found or found[0][1] < now - self._ttl_s:
            return None
        if found[0][1] < now - _TOUCH_AFTER_S:
            self._touched[key] = now
        return bytes(found[0][0])

    def get_all(self, keys: Sequence[str], now: float) -> dict[str, bytes]:
        """The values of those of these keys that have one."""
        found = {}
        for start in range(0, len(keys), _ASKED_AT_ONCE):
            asked = keys[start : start + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(asked))
            for key, value, used in self._ask(f"SELECT key, value, used FROM entries WHERE key IN ({marks})", *asked):
                if used >= now - self._ttl_s:
                    found[key] = bytes(value)
                    if used < now - _TOUCH_AFTER_S:
                        self._touched[key] = now
        return found

    def put(self, key: str, value: bytes, now: float) -> None:
        """Keep a value. Several are written faster inside `writing`."""
        size = len(value) + len(key) + _ENTRY_OVERHEAD_BYTES
        with self.writing():
            self._count_off(self._ask("SELECT size FROM entries WHERE key = ?", key))
            self._do("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", key, value, size, now)
            self.entries, self.bytes = self.entries + 1, self.bytes + size
            self._touched.pop(key, None)
            self._make_room(now)

    def delete(self, key: str) -> None:
        """Forget a value."""
        self._touched.pop(key, None)
        with self.writing():
            self._count_off(self._ask("DELETE FROM entries WHERE key = ? RETURNING size", key))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Everything that is written inside is written at once at its end, or nothing of it."""
        with self._lock:
            if self._writing:
                yield
                return
            self._writing, self._undo = True, False
            entries, size = self.entries, self.bytes
            self._do("BEGIN")
            try:
                yield
            finally:
                self._flush_touched()
                self._do("COMMIT")
                if self._undo:
                    self._roll_back()
                    self.entries, self.bytes = entries, size
                elif not (self._closed or self._unreadable):
                    self._trouble.over()
                self._writing = False

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Write down what is still to be written."""
        if self._touched:
            with self.writing():
                pass
        self._closed = True
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    # Repairs are few, are kept longer, and are all read at the start.

    def repairs(self, oldest: float) -> list[tuple[str, bytes, float]]:
        """The repairs used since `oldest`, in the order of their use: id, value, time. Older ones are forgotten."""
        with self.writing():
            self._do("DELETE FROM repairs WHERE used < ?", oldest)
        return [(key, bytes(value), used) for key, value, used in self._ask("SELECT * FROM repairs ORDER BY used")]

    def keep_repair(self, key: str, value: bytes, now: float) -> None:
        """Keep a repair, or tell that it is still in use."""
        with self.writing():
            self._do("INSERT OR REPLACE INTO repairs VALUES (?, ?, ?)", key, value, now)

    def forget_repair(self, key: str) -> None:
        """Forget a repair."""
        with self.writing():
            self._do("DELETE FROM repairs WHERE id = ?", key)

    # Who has a thing is a word, and kept longer than what is said.

    def owners(self, things: Sequence[str], oldest: float) -> dict[str, tuple[str, float]]:
        """Who has these things, as far as that was kept since `oldest`, and when."""
        marks = ",".join("?" * len(things))
        found = self._ask(f"SELECT * FROM owners WHERE thing IN ({marks})", *things)
        return {thing: (owner, used) for thing, owner, used in found if used >= oldest}

    def keep_owners(self, things: Sequence[str], owner: str, now: float, most: int) -> None:
        """Keep who has these things; of all that is kept, the latest `most` at most."""
        with self.writing():
            for thing in things:
                self._do("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", thing, owner, now)
            count = next(iter(self._ask("SELECT COUNT(*) FROM owners")), (0,))[0]
            if count > most:
                oldest = "SELECT thing FROM owners ORDER BY used, rowid LIMIT ?"
                # More than needed, so that not every new one has to make room.
                self._do(f"DELETE FROM owners WHERE thing IN ({oldest})", count - int(_OWNERS_ROOM * most))

    def _own_secret(self) -> bytes:
        fresh = secrets.token_bytes(_SECRET_BYTES)
        with self.writing():
            self._do("INSERT INTO secrets SELECT ? WHERE NOT EXISTS (SELECT * FROM secrets)", fresh)
        return next((bytes(value) for (value,) in self._ask("SELECT value FROM secrets")), fresh)

    def _make_room(self, now: float) -> None:
        if self.entries <= self._max_entries and self.bytes <= self._max_bytes:
            return
        self._flush_touched()
        expired = "DELETE FROM entries WHERE used < ? RETURNING size"
        self._count_off(self._ask(expired, now - self._ttl_s))
        oldest = "SELECT key, size FROM entries ORDER BY used LIMIT ?"
        while self.entries > self._max_entries or self.bytes > self._max_bytes:
            entries, size, gone = self.entries, self.bytes, []
            for key, size_of_one in self._ask(oldest, _EVICT_AT_ONCE):
                # A little more than needed, so that not every new value has to make room.
                if entries <= self._max_entries * _ROOM and size <= self._max_bytes * _ROOM:
                    break
                gone.append((key,))
                entries, size = entries - 1, size - size_of_one
            if not gone:
                return
            self._do_each("DELETE FROM entries WHERE key = ?", gone)
            self.entries, self.bytes = entries, size

    def _count_off(self, sizes: list[tuple[int]]) -> None:
        """Entries of these sizes are gone."""
        self.entries -= len(sizes)
        self.bytes -= sum(size for (size,) in sizes)

    def _flush_touched(self) -> None:
        touched, self._touched = self._touched, {}
        for key, used in touched.items():
            self._do("UPDATE entries SET used = ? WHERE key = ?", used, key)

    def _ask(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        return self._guarded(self._fetched, statement, values) or []

    def _do(self, statement: str, *values: object) -> None:
        self._guarded(self._db.execute, statement, values)

    def _do_each(self, statement: str, rows: list[tuple[str]]) -> None:
        self._guarded(self._db.executemany, statement, rows)

    def _fetched(self, statement: str, values: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        return self._db.execute(statement, values).fetchall()

    def _guarded[T](self, action: Callable[..., T], *arguments: object) -> T | None:
        with self._lock:
            if self._closed or (self._writing and self._undo):
                return None  # what ends after the proxy is not kept, nor is a part of what belongs together
            try:
                return action(*arguments)
            except sqlite3.Error as error:
                self._undo = True
                self._unreadable = self._unreadable or not self._writing
                self._trouble.met(error)
                return None

    def _open(self) -> sqlite3.Connection:
        if self._path is None:
            return _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
        try:
            return self._open_file(self._path)
        except (sqlite3.DatabaseError, OSError) as error:
            if isinstance(error, sqlite3.OperationalError | OSError):
                logger.warning("signatures are kept in memory only: %s can't be used: %s", self._path, error)
                return _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
            aside = private_database.set_aside(self._path)
            logger.warning("%s is no database that can be read (%s); it is now %s", self._path, error, aside.name)
            return self._open_file(self._path)

    @staticmethod
    def _open_file(path: Path) -> sqlite3.Connection:
        # It holds pieces of conversations: nobody else on this machine may read it.
        db = private_database.connect(path, busy_s=_BUSY_S)
        try:
            return _prepared(db)
        except sqlite3.Error:
            db.close()
            raise


def _prepared(db: sqlite3.Connection) -> sqlite3.Connection:
    """The database with its tables; those of another version are made anew."""
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != _SCHEMA_VERSION:
        db.executescript("".join(f"DROP TABLE IF EXISTS {name};" for name in _TABLES) + _SCHEMA)
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    db.execute(_OWNERS)
    return db
