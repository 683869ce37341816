"""SQLite databases that only their owner may read."""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from antigravity_healing import private

BROKEN = ".broken"
"""What the name of a file ends in that was no database."""
_BESIDE = ("-wal", "-shm", "-journal")


def connect(path: Path, *, busy_s: float, first: Sequence[str] = ()) -> sqlite3.Connection:
    """Open a database, made with its folder where it is missing, for use by any thread, one at a time.

    busy_s: for so many seconds whoever else is writing is waited for. first: statements for a file that is empty.
    Raises sqlite3.Error and OSError.
    """
    private.make_folder(path.parent)
    # SQLite makes what it writes beside a file as readable as the file is.
    os.close(private.opener(str(path), os.O_CREAT | os.O_RDWR))
    private.tighten(path.with_name(path.name + end) for end in (*_BESIDE, BROKEN))
    db = sqlite3.connect(path, isolation_level=None, timeout=busy_s, check_same_thread=False)
    try:
        for statement in first if not path.stat().st_size else ():
            db.execute(statement)
        db.execute("PRAGMA journal_mode = WAL")
        # Safe against a crash of the process at every moment; only a power cut may cost the newest entries.
        db.execute("PRAGMA synchronous = NORMAL")
    except (sqlite3.Error, OSError):
        db.close()
        raise
    return db


def set_aside(path: Path, ending: str = BROKEN) -> Path:
    """Put a file that can't be used out of the way, and tell where it is now."""
    aside = path.with_name(path.name + ending)
    with contextlib.suppress(OSError):
        os.replace(path, aside)
    for leftover in _BESIDE:
        with contextlib.suppress(OSError):
            os.unlink(f"{path}{leftover}")
    return aside
