"""What the proxy refuses by itself, told to the journal: it is no exchange, and people look for it all the same."""

import logging

from mitmproxy.addonmanager import Loader

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.journal.records import Journal, Record
from antigravity_healing.proxy.guarding import refusals


class Refused:
    """Hears what `refusals` logs, as each refusal is made there, wherever it is sent."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def load(self, loader: Loader) -> None:
        """Begin to listen."""
        refusals.logger.addFilter(self._hear)

    def done(self) -> None:
        """Stop."""
        refusals.logger.removeFilter(self._hear)

    def _hear(self, logged: logging.LogRecord) -> bool:
        refusal = getattr(logged, refusals.REFUSAL, None)
        if isinstance(refusal, refusals.Refusal):
            facts, end = refusals.facts_of(refusal, self._clock.wall())
            self._journal.tell(Record("refused", facts.at, self._clock.now(), facts, refusal.why, end=end))
        return True
