"""The request log's part in mitmproxy: it listens to the journal while the proxy runs."""

import time

from mitmproxy import ctx

from antigravity_healing import data_folder, private
from antigravity_healing.monitor.request_log.reader import Reader
from antigravity_healing.monitor.request_log.schema import FILE_NAME
from antigravity_healing.monitor.request_log.writer import Writer
from antigravity_healing.policy.journal.records import Journal, Record
from antigravity_healing.policy.settings.schema import RequestLogSettings
from antigravity_healing.proxy.addon import Antigravity

_STEPS = frozenset(("received", "attempt_over", "over", "refused"))


class RequestLog:
    """Keeps a row for each exchange and each attempt, in the data folder."""

    def __init__(self, journal: Journal, antigravity: Antigravity) -> None:
        journal.listen(self.write)
        self._antigravity = antigravity
        self._writer: Writer | None = None
        self._is_running = False

    @property
    def dropped(self) -> int:
        """How many records were lost."""
        return self._writer.dropped if self._writer else 0

    @property
    def in_trouble(self) -> bool:
        """Whether what comes now is not being written down."""
        return self._writer is not None and self._writer.in_trouble

    def settings(self) -> RequestLogSettings:
        """The settings of now."""
        governor = self._antigravity.governor
        return governor.config.request_log if governor else RequestLogSettings(enabled=False)

    def reader(self) -> Reader:
        """What reads the log. To be used in a thread."""
        return Reader(data_folder(ctx.options.antigravity_home) / FILE_NAME)

    def configure(self, updated: set[str]) -> None:
        """Find the file: what is told from now on goes there. Nobody else may read it."""
        path = data_folder(ctx.options.antigravity_home) / FILE_NAME
        if self._writer is not None and self._writer.path == path:
            return
        private.tighten(path.parent.glob(f"{FILE_NAME}*"))
        before, self._writer = self._writer, Writer(path, self.settings, time.time)
        if before is not None:
            before.stop()
        if self._is_running:
            self._writer.start()

    def running(self) -> None:
        """Begin; what is too old is deleted also where nothing more comes."""
        if self._writer is not None and not self._is_running:
            self._is_running = True
            self._writer.start()

    def done(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.stop()

    def write(self, record: Record) -> None:
        """Write a record down, a moment later."""
        if record.step in _STEPS and self._writer is not None and self.settings().enabled:
            self._writer.take(record)
