"""The log: each step of an exchange as one line, in mitmproxy's log and in `logs/app.log` of the data folder."""

import asyncio
import logging
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path

from mitmproxy import ctx

from antigravity_healing import data_folder, private
from antigravity_healing.monitor.log.file import NAME, LogFile
from antigravity_healing.monitor.log.steps import line_of
from antigravity_healing.policy.journal.records import Journal, Record
from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.proxy.addon import Antigravity

logger = logging.getLogger("antigravity_healing.exchange")

CONNECTIONS = "mitmproxy.proxy.server"
"""The logger that tells of each connection."""
DELAY_S = 0.02
_MOST_EARLY = 100
_WARN = ("retry", "repair", "gave_up", "broke")


class _Later(logging.Handler):
    """Keeps what is logged, to be written a moment later."""

    def __init__(self, keep: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.INFO)
        self._keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._keep(record)


class Log:
    """Writes the journal's records, and keeps the log file."""

    def __init__(self, journal: Journal, antigravity: Antigravity) -> None:
        journal.listen(self.write)
        self._antigravity = antigravity
        self._waiting: list[Record | logging.LogRecord] = []
        self._connections = _Later(self._keep)
        self._handler: logging.Handler | None = None
        self._folder: Path | None = None
        # What is said before it is known where the file is.
        self._early: MemoryHandler | None = MemoryHandler(_MOST_EARLY, flushLevel=logging.CRITICAL + 1)
        self._early.setLevel(logging.INFO)
        logging.getLogger("antigravity_healing").addHandler(self._early)

    def configure(self, updated: set[str]) -> None:
        """Open the log file in the data folder."""
        folder = data_folder(ctx.options.antigravity_home) / "logs"
        if folder != self._folder:
            self._close()
            self._open(folder)

    def done(self) -> None:
        """Close the log file."""
        self._flush()
        self._keep_early(None)
        self._close()

    def write(self, record: Record) -> None:
        """Log a record, a moment later: a line costs a tenth of a millisecond, and no answer waits for it."""
        if record.step == "over":
            return  # what became of it is told in one line of its own
        self._keep(record)

    def _keep(self, record: Record | logging.LogRecord) -> None:
        self._waiting.append(record)
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(DELAY_S, self._flush)
            except RuntimeError:  # no loop is running
                self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            if isinstance(record, logging.LogRecord):
                if self._handler is not None:
                    self._handler.handle(record)
                continue
            level = logging.WARNING if record.step in _WARN else logging.INFO
            line = logger.makeRecord(logger.name, level, "", 0, line_of(record), (), None)
            line.created, line.msecs = record.at, record.at % 1 * 1000
            logger.handle(line)

    def _open(self, folder: Path) -> None:
        self._folder = folder
        try:
            private.make_folder(folder)
            private.tighten((folder, *folder.glob(f"{NAME}*")))
            handler = LogFile(folder, self._most_bytes)
        except OSError as error:
            logger.warning("no log file: %s can't be written: %s", folder / NAME, error.strerror)
            return
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._handler = handler
        self._keep_early(handler)
        logging.getLogger("antigravity_healing").addHandler(handler)
        logging.getLogger(CONNECTIONS).addHandler(self._connections)

    def _keep_early(self, handler: logging.Handler | None) -> None:
        """Write down what has been said so far, if there is something to write it with."""
        if self._early is not None:
            logging.getLogger("antigravity_healing").removeHandler(self._early)
            self._early.setTarget(handler)
            self._early.close()
            self._early = None

    def _most_bytes(self) -> int:
        governor = self._antigravity.governor
        return (governor.config.limits if governor else Limits()).log_bytes

    def _close(self) -> None:
        logging.getLogger(CONNECTIONS).removeHandler(self._connections)
        if self._handler is not None:
            logging.getLogger("antigravity_healing").removeHandler(self._handler)
            self._handler.close()
        self._handler = self._folder = None
