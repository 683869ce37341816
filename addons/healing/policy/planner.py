"""Which attempt comes next in an exchange: the budgets, the accounts that have failed, and the waits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from healing.policy import config, retry
from healing.policy.accounts import Account, Accounts
from healing.policy.attempt import Attempt
from healing.policy.failures import Failure, FailureClass


@dataclass(frozen=True, slots=True)
class Next:
    """The attempt that is to follow: on which account (None: on whichever is free then), after how many seconds."""

    account: Account | None
    wait_s: float = 0.0
    renew: bool = False


class Planner:
    """Plans the attempts of one exchange.

    waited_s: seconds of waiting that have been planned so far.
    unsent: how many attempts this machine's own trouble has kept from being sent: they count against no budget.
    """

    def __init__(
        self,
        eligible: Sequence[Account],
        accounts: Accounts,
        budget: retry.RetryBudget,
        settings: config.Retry,
        random: Random,
        model: str,
        session: str,
    ) -> None:
        self.waited_s = 0.0
        self.unsent = 0
        self._local_waits = 0
        self._eligible = tuple(eligible)
        self._accounts = accounts
        self._budget = budget
        self._settings = settings
        self._random = random
        self._model = model
        self._session = session
        self._failures: Counter[FailureClass] = Counter()
        self._avoid: set[str] = set()
        self._left: set[str] = set()
        self._renewed: set[str] = set()

    def widen(self, eligible: Sequence[Account]) -> None:
        """From now on these accounts may be asked."""
        self._eligible = tuple(eligible)

    def may_retry(self, tries: int, now: float) -> bool:
        """Whether another attempt is allowed after this many (repairs do not count), whatever the failure."""
        return tries < self._settings.max_attempts and self._budget.left(now) > 0

    def first(self, now: float) -> Next | float:
        """The attempt to make now, or after a wait that fits; the seconds until an account is free if none fits."""
        chosen = self._choose(now)
        if isinstance(chosen, Account):
            return Next(chosen)
        if chosen is None:
            return 0.0
        return self._affordable(Next(None, retry.at_least(chosen, self._random))) or chosen

    def after(self, attempt: Attempt, failure: Failure, now: float) -> Next | None:
        """The attempt that follows a failed one, if the failure, the budgets and the accounts allow one."""
        self._failures[failure.kind] += 1
        if failure.kind is FailureClass.LOCAL:
            self.unsent += 1
            plan = self._plan_unsent(attempt.account, failure, now)
            return self._affordable(plan) if plan is not None else None
        rule = retry.RULES.get(failure.kind)
        if rule is None or not failure.again or not self.may_retry(attempt.tries, now):
            return None
        plan = self._plan(attempt.account, failure, rule, now)
        if plan is not None and (plan := self._affordable(plan)):
            self._budget.retry(now)
        return plan

    def repaired(self, attempt: Attempt) -> Next:
        """The attempt with a repaired body: on the same account, and at the cost of no budget."""
        wait_s = retry.jittered(retry.REPAIR_WAIT_S, self._random)
        self.waited_s += wait_s
        return Next(attempt.account, wait_s)

    def _plan(self, account: Account, failure: Failure, rule: retry.Rule, now: float) -> Next | None:
        nth = self._failures[failure.kind]
        wait_s = retry.wait_before_retry_s(failure, nth, self._random)
        if failure.kind is FailureClass.AUTH and account.renewable and account.name not in self._renewed:
            self._renewed.add(account.name)
            return Next(account, wait_s, renew=True)
        if retry.stays(failure, nth):
            return Next(account, wait_s)
        # A quota without an end in sight is as final for this exchange as a refused key.
        endless = failure.kind is FailureClass.QUOTA and failure.wait_s is None
        (self._left if rule.leave or endless else self._avoid).add(account.name)
        chosen = self._choose(now + wait_s)
        if chosen is None:
            return None
        if isinstance(chosen, Account):
            return Next(chosen, wait_s)
        return Next(None, wait_s + retry.at_least(chosen, self._random))

    def _plan_unsent(self, account: Account, failure: Failure, now: float) -> Next | None:
        """What follows an attempt that was not sent: each other account once, and then all of them a little later."""
        self._avoid.add(account.name)
        chosen = self._choose(now)
        if isinstance(chosen, Account) and chosen.name not in self._avoid:
            return Next(chosen)
        if chosen is None or self._local_waits == len(retry.LOCAL_WAITS_S):
            return None
        self._local_waits += 1
        wait_s = retry.wait_before_retry_s(failure, self._local_waits, self._random)
        if isinstance(chosen, Account):
            return Next(chosen, wait_s)
        return Next(None, max(wait_s, retry.at_least(chosen, self._random)))

    def _choose(self, at: float) -> Account | float | None:
        return self._accounts.choose(
            self._eligible, self._model, self._session, at, avoid=self._avoid, exclude=self._left
        )

    def _affordable(self, plan: Next) -> Next | None:
        """The plan, if its wait fits what may be waited in all; its wait then counts."""
        if self.waited_s + plan.wait_s > self._settings.max_wait:
            return None
        self.waited_s += plan.wait_s
        return plan
