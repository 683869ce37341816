"""The log file: a new one each day and whenever it has grown, kept for some days and bounded in all."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from itertools import count
from pathlib import Path

from antigravity_healing import private
from antigravity_healing.policy.trouble import Trouble

logger = logging.getLogger(__name__)

DAYS_KEPT = 7
NAME = "app.log"
PARTS = 8
"""Each file may have so large a part of what all may have: the oldest goes, and the rest is still history."""


class LogFile(logging.Handler):
    """Writes `app.log` in a folder; older ones lie beside it as `app.log.YYYY-MM-DD`, `app.log.YYYY-MM-DD.2`, …

    A full disk is said once when it begins and once when it is over; what can't be written meanwhile is lost.
    """

    def __init__(self, folder: Path, most_bytes: Callable[[], int]) -> None:
        """most_bytes: gives how much all files together may have now. Raises OSError."""
        super().__init__(logging.INFO)
        self._path = folder / NAME
        self._most_bytes = most_bytes
        self._trouble = Trouble(logger, f"{self._path} can't be written: %s", f"{self._path} is written again")
        self._torn = False
        self._descriptor: int | None = None
        self._open()
        self._day = date.fromtimestamp(os.fstat(self._opened).st_mtime) if self._size else date.today()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        try:
            if self._is_over(len(line)):
                self._begin_another()
            self._write(line)
        except OSError as error:
            self._trouble.met(error.strerror)
        else:
            self._trouble.over()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().close()

    @property
    def _opened(self) -> int:
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        return self._descriptor

    @property
    def _size(self) -> int:
        return os.fstat(self._opened).st_size

    def _open(self) -> None:
        self._descriptor = private.opener(str(self._path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def _is_over(self, more: int) -> bool:
        """Whether the file has had its day, or no room for so many bytes more."""
        size = self._size
        return bool(size) and (self._day != date.today() or size + more > self._most_bytes() // PARTS)

    def _begin_another(self) -> None:
        name = f"{NAME}.{self._day:%Y-%m-%d}"
        names = (name if number == 1 else f"{name}.{number}" for number in count(1))
        older = next(path for each in names if not (path := self._path.with_name(each)).exists())
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(older)
        self._day = date.today()
        self._prune()
        self._open()

    def _prune(self) -> None:
        """Delete what is too old, and the oldest of what is too much for another file to come."""
        oldest_at = time.mktime((date.today() - timedelta(days=DAYS_KEPT)).timetuple())
        most = self._most_bytes()
        room = most - most // PARTS
        found = [(path.stat(), path) for path in self._path.parent.glob(f"{NAME}.*")]
        for stat, path in sorted(found, key=lambda each: each[0].st_mtime_ns, reverse=True):
            room -= stat.st_size
            if room < 0 or stat.st_mtime < oldest_at:
                path.unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        rest = b"\n" + line if self._torn else line
        while rest:
            written = os.write(self._opened, rest)
            # Where the disk gets full in the middle of a line, the next one must not be taken for its end.
            self._torn = written < len(rest)
            rest = rest[written:]
