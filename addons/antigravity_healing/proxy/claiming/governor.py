"""The governor: what all connections share, and what looks after each part of it."""

from pathlib import Path

from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.proxy.claiming.attempt_credentials import AttemptCredentials
from antigravity_healing.proxy.claiming.claiming import Claiming
from antigravity_healing.proxy.claiming.eligibility import Eligibility
from antigravity_healing.proxy.claiming.exchange_maker import ExchangeMaker
from antigravity_healing.proxy.claiming.local_answers import Health, LocalAnswers
from antigravity_healing.proxy.claiming.state import State


class Governor(State):
    """The state between requests, with those that work on it.

    claiming: says which requests are the proxy's. eligibility: which accounts may serve them. maker: makes exchanges of
    them. attempt_credentials: what their attempts carry.
    """

    def __init__(self, config: Config, journal: Journal, health: Health, home: Path | None = None) -> None:
        """health: what tells how the proxy is. home: the data folder; None keeps everything in memory."""
        super().__init__(config, journal, home)
        self.eligibility = Eligibility(self)
        self.claiming = Claiming(self, self.eligibility, LocalAnswers(self, health))
        self.maker = ExchangeMaker(self, self.eligibility)
        self.attempt_credentials = AttemptCredentials(self)
