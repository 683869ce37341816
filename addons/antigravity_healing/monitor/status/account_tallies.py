"""What each account has done since the proxy began: requests, failures, tokens, and the quotas it last told of."""

from dataclasses import dataclass, field

from antigravity_healing.policy.journal.records import Journal, Record
from antigravity_healing.wire.rate_limits import Window
from antigravity_healing.wire.usage import Usage


@dataclass(slots=True)
class AccountTally:
    """Of one account.

    attempts: those that are over; delivered: those whose answer a client got. failures: by their class.
    usage: of all its answers. windows: the quotas that its last answer told of, at `windows_at` (seconds since 1970).
    """

    attempts: int = 0
    delivered: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    windows: tuple[Window, ...] = ()
    windows_at: float = 0.0


class AccountTallies:
    """Counts by the names of accounts, which are as many as the configuration has."""

    def __init__(self, journal: Journal) -> None:
        self.by_name: dict[str, AccountTally] = {}
        journal.listen(self._hear)

    def _hear(self, record: Record) -> None:
        attempt = record.attempt
        if record.step != "attempt_over" or attempt is None:
            return
        tally = self.by_name.setdefault(attempt.account, AccountTally())
        tally.attempts += 1
        # An answer that is delivered may still end badly, which is a failure of its own.
        tally.delivered += attempt.failure is None and attempt.first_content_s is not None
        if attempt.failure is not None:
            kind = str(attempt.failure)
            tally.failures[kind] = tally.failures.get(kind, 0) + 1
        if attempt.usage is not None:
            tally.usage += attempt.usage
        if attempt.windows:
            tally.windows, tally.windows_at = attempt.windows, record.at
