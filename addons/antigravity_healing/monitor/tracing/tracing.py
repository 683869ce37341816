"""Tracing: exchanges that are over are told to an OpenTelemetry collector, where one is set."""

import logging
import os
from collections import deque
from collections.abc import Sequence
from threading import Condition, Thread
from typing import Protocol

from antigravity_healing.policy.journal.records import Journal, Record
from antigravity_healing.policy.trouble import Trouble

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The environment variables that set a collector."""
MOST_WAITING = 2048
"""Exchanges that wait to be sent; what is more is lost."""
FLUSH_S = 2.0
"""For so long at most the end of the proxy waits for what is still to be sent."""
_BATCH = 256
_EVERY_S = 1.0


class Sender(Protocol):
    """What sends."""

    def send(self, records: Sequence[Record]) -> str:
        """Send what has become of exchanges. Gives why that was not possible, "" if it was."""

    def close(self) -> None:
        """Send no more; ends what another thread is sending."""


class Tracing:
    """Listens to the journal where a collector is set; else nothing of OpenTelemetry is even imported."""

    def __init__(self, journal: Journal) -> None:
        self._batches: Batches | None = None
        self._missing = ""
        if not any(map(os.environ.get, ENDPOINTS)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return
        try:
            # Now, before there are streams that it could hold up.
            from antigravity_healing.monitor.tracing.sending import SpanSender
        except ImportError as error:
            self._missing = str(error)
            return
        self._batches = Batches(SpanSender())
        journal.listen(self._batches.take)

    def running(self) -> None:
        """Say what is missing."""
        if self._missing:
            logger.warning(
                "A collector for OpenTelemetry is set, but nothing is sent (%s): "
                "install the extra: pip install 'antigravity-healing-proxy[otel]'",
                self._missing,
            )

    def done(self) -> None:
        """Send what is left."""
        if self._batches is not None:
            self._batches.close()


class Batches:
    """Hands records of what is over to a sender, many at a time, in a thread of its own."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._waiting: deque[Record] = deque()
        self._changed = Condition()
        self._closed = False
        self._trouble = Trouble(logger, "exchanges are not traced: %s", "exchanges are traced again")
        self._thread = Thread(target=self._run, name="antigravity tracing", daemon=True)
        self._thread.start()

    def take(self, record: Record) -> None:
        """Take what tells of the end of an exchange; never waits."""
        if record.end is None:
            return
        with self._changed:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(record)
                if len(self._waiting) in (1, _BATCH):
                    self._changed.notify()

    def close(self) -> None:
        """Send what is left, for `FLUSH_S` at most."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(FLUSH_S)
        self._sender.close()

    def _run(self) -> None:
        while batch := self._next():
            try:
                trouble = self._sender.send(batch)
            except Exception:
                logger.exception("exchanges could not be traced; this is a bug")
                continue
            if trouble:
                self._trouble.met(trouble)
            else:
                self._trouble.over()

    def _next(self) -> list[Record]:
        """What is to be sent next, once there is enough of it or it has waited for long enough; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(lambda: len(self._waiting) >= _BATCH or self._closed, _EVERY_S)
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
