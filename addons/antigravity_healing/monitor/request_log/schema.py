"""The database of the request log: its tables, and how it is opened to write and to read."""

import sqlite3
from pathlib import Path

from antigravity_healing import private_database

FILE_NAME = "requests.sqlite3"
VERSION = 1
"""Of the tables. A file with others is put aside."""
OTHER_VERSION = ".version-"
"""What the name of such a file ends in, before its version."""
BUSY_S = 5.0
WAL_PAGES = 256
PAGE_BYTES = 4096
# A statement's partial index is used where the statement has the index's own condition, word for word.
NOT_CLEAN = "outcome IS NOT 'clean'"
RETRIED = "attempts > 1"
MAPPED = "mapped_model <> model"
USAGE = ("uncached", "cache_read", "cache_write", "output", "reasoning")
_TABLES = f"""
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started_at REAL NOT NULL, over_at REAL
);
CREATE TABLE exchanges (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, exchange TEXT NOT NULL, at REAL NOT NULL,
    dialect TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, client TEXT NOT NULL, conversation TEXT NOT NULL,
    model TEXT NOT NULL, mapped_model TEXT NOT NULL, streams INTEGER NOT NULL, operation TEXT NOT NULL,
    outcome TEXT, status INTEGER, duration_s REAL, first_content_s REAL, waited_s REAL,
    uncached INTEGER, cache_read INTEGER, cache_write INTEGER, output INTEGER, reasoning INTEGER,
    what TEXT, done TEXT, do TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, times INTEGER NOT NULL DEFAULT 1, last_at REAL
);
CREATE INDEX by_time ON exchanges (at);
CREATE INDEX by_id ON exchanges (exchange);
CREATE INDEX by_outcome ON exchanges (outcome, at) WHERE {NOT_CLEAN};
CREATE INDEX by_conversation ON exchanges (conversation, at);
CREATE INDEX by_client ON exchanges (client, at);
CREATE INDEX by_model ON exchanges (model, at);
CREATE INDEX by_mapped_model ON exchanges (mapped_model, at) WHERE {MAPPED};
CREATE INDEX by_retries ON exchanges (at, attempts) WHERE {RETRIED};
CREATE TABLE attempts (
    row INTEGER NOT NULL, attempt INTEGER NOT NULL, row_at REAL NOT NULL,
    account TEXT NOT NULL, upstream TEXT NOT NULL, mapped_model TEXT NOT NULL, at REAL NOT NULL,
    place TEXT NOT NULL, url TEXT NOT NULL, status INTEGER, failure TEXT, detail TEXT NOT NULL, verdict TEXT NOT NULL,
    free_at REAL, first_byte_s REAL, first_content_s REAL, last_byte_s REAL, over_s REAL, bytes INTEGER NOT NULL,
    uncached INTEGER, cache_read INTEGER, cache_write INTEGER, output INTEGER, reasoning INTEGER,
    repaired TEXT NOT NULL, delivered INTEGER NOT NULL, commit_s REAL, dialect TEXT NOT NULL, streams INTEGER NOT NULL,
    PRIMARY KEY (row, attempt)
) WITHOUT ROWID;
CREATE INDEX by_account ON attempts (account, row_at, row);
CREATE INDEX by_failure ON attempts (failure, row_at, row) WHERE failure IS NOT NULL;
"""


class OtherVersionError(Exception):
    """The file has the tables of another version."""

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"it was written by another version (its tables have number {version}, not {VERSION})")


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open the log, made where it is missing. Raises OtherVersionError, sqlite3.Error and OSError."""
    # Only before there is anything in a file can it be made one that shrinks.
    db = private_database.connect(path, busy_s=BUSY_S, first=("PRAGMA auto_vacuum = INCREMENTAL",))
    try:
        db.row_factory = sqlite3.Row
        db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * PAGE_BYTES}")
        # Of two that come at once, one makes the tables.
        db.execute("BEGIN IMMEDIATE")
        if _is_empty(db):
            _make_tables(db)
        _check_version(db)
        db.execute("COMMIT")
    except (sqlite3.Error, OtherVersionError):
        db.close()
        raise
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the log without writing to it. Raises OtherVersionError and sqlite3.Error."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_S)
    try:
        if _is_empty(db):
            # Somebody is about to make its tables: there is nothing in it yet.
            db.close()
            db = sqlite3.connect(":memory:", isolation_level=None)
            _make_tables(db)
        db.row_factory = sqlite3.Row
        _check_version(db)
    except (sqlite3.Error, OtherVersionError):
        db.close()
        raise
    return db


def _is_empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema").fetchone() is None


def _make_tables(db: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _check_version(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise OtherVersionError(version)
