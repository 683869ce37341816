"""The log: each step of an exchange as one line, in mitmproxy's log and in `logs/app.log` of the data folder."""

import asyncio
import logging
import time
from logging.handlers import MemoryHandler
from pathlib import Path

from mitmproxy import ctx

from healing import data_folder, private
from healing.monitor.log_file import NAME, LogFile
from healing.policy.exchange.journal import Journal, Record
from healing.policy.judging.failures import FailureClass, one_line
from healing.policy.settings.schema import Limits
from healing.proxy.addon import Antigravity
from healing.wire.dialects import DIALECTS

logger = logging.getLogger("healing.exchange")

DELAY_S = 0.02
LONGEST_LINE = 2000
"""Characters. Clients and upstreams have their words in it."""
_MOST_EARLY = 100
_WARN = ("retry", "repair", "gave_up", "broke")


def line_of(record: Record) -> str:
    """One line for a record. It has the words that users of older proxies search for, where the thing happened.

    A client names its model as it likes: nothing in it can break the line.
    """
    line = one_line(_text_of(record))
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def _text_of(record: Record) -> str:
    head = f"[{record.exchange}]"
    on = f"attempt {record.attempt} on {record.account}" if record.attempt else ""
    detail = record.failure.detail if record.failure else record.text
    match record.step:
        case "received":
            return f"{head} {record.dialect}: {record.text}"
        case "attempt":
            return f"{head} {on}: {record.model or 'no model'} at {record.text}"
        case "retry":
            after = f" in {record.wait_s:.1f} s" if record.wait_s else ""
            return f"{head} {on}: {_why_retried(record)} {record.text}{after}"
        case "repair":
            return f"{head} {on}: Unexpected thinking signature error: {detail}. {record.text} ({record.wait_s:.1f} s)"
        case "wait":
            return f"{head} {record.text}; waiting {record.wait_s:.1f} s"
        case "hold":
            return f"{head} {on}: {record.text}; keeping the client waiting with keep-alives"
        case "commit":
            return f"{head} {on}: the answer begins{f' ({record.text})' if record.text else ''}"
        case "continued":
            return f"{head} {on}: upstream has more to say; going on with its token"
        case "delivered":
            return f"{head} {on}: delivered, {record.text}"
        case "gave_up":
            kind = f" ({record.failure.kind})" if record.failure else ""
            return f"{head} {on + ': ' if on else ''}{detail}{kind}; no other try, the client gets this"
        case "broke":
            return f"{head} {on}: {detail}; the client has been told"
        case _:
            return f"{head} {on + ': ' if on else ''}the client left"


def _why_retried(record: Record) -> str:
    failure = record.failure
    assert failure is not None
    if failure.kind is FailureClass.EMPTY and not failure.detail.startswith("Stream"):
        logged = next((each.logged_empty for each in DIALECTS.values() if each.label == record.dialect), "")
        if logged:
            return f"[{record.dialect}] {logged}, retrying... {failure.detail};"
    return f"{failure.detail} ({failure.kind}), retrying..."


class Log:
    """Writes the journal's records, and keeps the log file."""

    def __init__(self, journal: Journal, antigravity: Antigravity) -> None:
        journal.listen(self.write)
        self._antigravity = antigravity
        self._waiting: list[tuple[float, Record]] = []
        self._handler: logging.Handler | None = None
        self._folder: Path | None = None
        # What is said before it is known where the file is.
        self._early: MemoryHandler | None = MemoryHandler(_MOST_EARLY, flushLevel=logging.CRITICAL + 1)
        self._early.setLevel(logging.INFO)
        logging.getLogger("healing").addHandler(self._early)

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
        self._waiting.append((time.time(), record))
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(DELAY_S, self._flush)
            except RuntimeError:  # no loop is running
                self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for at, record in waiting:
            level = logging.WARNING if record.step in _WARN else logging.INFO
            line = logger.makeRecord(logger.name, level, "", 0, line_of(record), (), None)
            line.created, line.msecs = at, at % 1 * 1000
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
        logging.getLogger("healing").addHandler(handler)

    def _keep_early(self, handler: logging.Handler | None) -> None:
        """Write down what has been said so far, if there is something to write it with."""
        if self._early is not None:
            logging.getLogger("healing").removeHandler(self._early)
            self._early.setTarget(handler)
            self._early.close()
            self._early = None

    def _most_bytes(self) -> int:
        governor = self._antigravity.governor
        return (governor.config.limits if governor else Limits()).log_bytes

    def _close(self) -> None:
        if self._handler is not None:
            logging.getLogger("healing").removeHandler(self._handler)
            self._handler.close()
        self._handler = self._folder = None
