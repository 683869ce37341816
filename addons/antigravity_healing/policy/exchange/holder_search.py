"""Which attempt comes next for a request that is not healed, but that only one of the accounts can serve."""

from collections.abc import Sequence

from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.next_attempt import Next
from antigravity_healing.policy.exchange.spending import Spending
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.accounts import Account


class HolderSearch:
    """Plans one attempt on each account, until one has what the request names. Takes a `Planner`'s place.

    How the accounts are does not matter: what keeps them from models is none of the business of files.
    """

    def __init__(self, first: Sequence[Account], eligible: Sequence[Account], spending: Spending) -> None:
        """first: those of the eligible accounts that are asked before the others. spending: nothing is spent."""
        self.spending = spending
        self._unasked = [*first, *(account for account in eligible if account not in first)]

    def widen(self, eligible: Sequence[Account]) -> None:
        """All of them may be asked anyway."""

    def first(self, now: float) -> Next | float:
        """The attempt to make now."""
        return Next(self._unasked.pop(0))

    def after(self, attempt: Attempt, failure: Failure, now: float) -> Next | None:
        """The attempt on the next account, where this one does not have what is asked for."""
        return Next(self._unasked.pop(0)) if failure.kind is FailureClass.NOT_THEIRS and self._unasked else None

    def free_in_s(self, now: float) -> float | None:
        """Not known."""
        return None

    def says_cooling(self, model: str, wait_s: int) -> str:
        """That nobody may be asked; here somebody always may."""
        return f"No account is free for another {wait_s} s."

    def renews(self, account: Account, failure: Failure | None) -> bool:
        """Never: a refused credential says nothing of where a file lies."""
        return False

    def repaired(self, attempt: Attempt) -> Next:
        """The same attempt again."""
        return Next(attempt.account)
