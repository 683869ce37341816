"""The thread that writes the request log: what waits for it is bounded, and its troubles reach no exchange."""

import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from antigravity_healing import private_database
from antigravity_healing.monitor.request_log.database import Database
from antigravity_healing.monitor.request_log.schema import OTHER_VERSION, OtherVersionError
from antigravity_healing.policy.journal.records import Record
from antigravity_healing.policy.settings.schema import RequestLogSettings
from antigravity_healing.policy.trouble import Trouble

logger = logging.getLogger(__name__)

BATCH_S = 0.25
BATCH = 100
MOST_WAITING = 10_000
_MOST_AT_ONCE = 1000
_AGAIN_AFTER_S = 1.0
PRUNE_EVERY_S = 3600.0
_ENDS_WITHIN_S = 10.0


class Writer:
    """Writes records into the log at a path, from `start` to `stop`; what is told before waits.

    path: of the log. dropped: how many were lost, as they came faster than they could be written.
    """

    def __init__(self, path: Path, settings: Callable[[], RequestLogSettings], now: Callable[[], float]) -> None:
        """settings: those of now. now: seconds since 1970."""
        self.dropped = self._dropped_before = 0
        self.path = path
        self._settings = settings
        self._now = now
        self._waiting: deque[Record] = deque()
        self._some, self._many, self._stopping = Event(), Event(), Event()
        self._database: Database | None = None
        self._pruned_at: float | None = None
        self._trouble = Trouble(logger, f"requests are not logged: {path}: %s", f"requests are logged again: {path}")
        self._overflow = Trouble(logger, "some requests are not logged: %s", "all requests are logged again")
        # A thread that is stuck in a system call must not keep the proxy from ending.
        self._thread = Thread(target=self._run, name="antigravity request log", daemon=True)

    @property
    def in_trouble(self) -> bool:
        """Whether what comes now is not being written down."""
        return self._trouble.now or self._overflow.now

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def take(self, record: Record) -> None:
        """Have a record written down soon. Costs its caller next to nothing, and never blocks."""
        if self._stopping.is_set():
            return
        self._waiting.append(record)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        if not self._some.is_set():
            self._some.set()
        if len(self._waiting) >= BATCH and not self._many.is_set():
            self._many.set()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._stopping.set()
        self._some.set()
        self._many.set()
        if self._thread.is_alive():
            self._thread.join(_ENDS_WITHIN_S)

    def _run(self) -> None:
        self._step()
        while not self._stopping.is_set():
            if not self._waiting:
                self._some.wait(PRUNE_EVERY_S)
            self._many.wait(BATCH_S)
            self._step()
            if self._trouble.now:
                self._stopping.wait(_AGAIN_AFTER_S)
        self._step()
        if self._database is not None:
            self._guarded(lambda database: database.close(self._now()))

    def _step(self) -> None:
        """Write all that waits, and see to it that there is room for more."""
        # Before anything is taken: what comes from now on sets them again.
        self._some.clear()
        self._many.clear()
        if not self._settings().enabled:
            self._waiting.clear()
            return
        while self._waiting and self._write():
            pass
        self._guarded(self._make_room)
        if not self._trouble.now:
            self._tell_losses()

    def _write(self) -> bool:
        """Write the oldest of what waits, and tell whether that worked; if not, they wait on."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
        if self._guarded(lambda database: database.write(batch)):
            self._trouble.over()
            return True
        self._waiting.extendleft(reversed(batch))
        return False

    def _make_room(self, database: Database) -> None:
        now, settings = self._now(), self._settings()
        due = self._pruned_at is None or not 0 <= now - self._pruned_at < PRUNE_EVERY_S
        if due or database.is_too_much(settings):
            self._pruned_at = now
            database.prune(settings, now, self._stopping.is_set)

    def _guarded(self, action: Callable[[Database], None]) -> bool:
        """Do something with the database, and tell whether that worked."""
        for again in (True, False):
            try:
                action(self._opened())
            except (sqlite3.OperationalError, OSError) as error:
                self._trouble.met(getattr(error, "strerror", None) or error)
                return False
            except (sqlite3.DatabaseError, OtherVersionError) as error:
                self._set_aside(error)
                if not again:
                    self._trouble.met(error)
                    return False
            except Exception:
                logger.exception("requests could not be logged; this is a bug")
                return True  # the same would happen again with them
            else:
                return True
        return False

    def _opened(self) -> Database:
        if self._database is not None and not self._database.is_there():
            self._close()
        if self._database is None:
            self._database = Database(self.path, self._now())
        return self._database

    def _set_aside(self, error: Exception) -> None:
        self._close()
        ending = f"{OTHER_VERSION}{error.version}" if isinstance(error, OtherVersionError) else private_database.BROKEN
        aside = private_database.set_aside(self.path, ending)
        logger.warning("%s can't be used (%s); it is now %s, and a new one begins", self.path, error, aside.name)

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error:
                logger.debug("a log that can't be used could not be closed", exc_info=True)

    def _tell_losses(self) -> None:
        lost, self._dropped_before = self.dropped - self._dropped_before, self.dropped
        if lost:
            self._overflow.met(f"they come faster than they can be written ({self.dropped} records lost so far)")
        else:
            self._overflow.over()
