"""Which attempt comes next in an exchange: the budgets, the accounts that have failed, and the waits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from antigravity_healing.policy.exchange import retry_table
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.spending import Spending
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.accounts import Account, Accounts
from antigravity_healing.policy.settings import schema
from antigravity_healing.wire.http import headers as http


@dataclass(frozen=True, slots=True)
class Next:
    """The attempt that is to follow: on which account (None: on whichever is free then), after how many seconds."""

    account: Account | None
    wait_s: float = 0.0
    renew: bool = False


class Planner:
    """Plans the attempts of one exchange.

    spending: what they have cost. Against no budget of tries count those that this machine's own trouble has kept from
    being sent, those that were refused for their account or its credential while there was another, and those whose
    failure is waited out.
    """

    def __init__(
        self,
        eligible: Sequence[Account],
        accounts: Accounts,
        budget: retry_table.RetryBudget,
        settings: schema.Retry,
        random: Random,
        model: str,
        session: str,
    ) -> None:
        self.spending = Spending(settings, budget)
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
        self._excluded: set[str] = set()
        self._renewed: set[str] = set()
        self._refused: set[str] = set()
        self._busy_upstreams: set[str] = set()

    def widen(self, eligible: Sequence[Account]) -> None:
        """From now on these accounts may be asked."""
        self._eligible = tuple(eligible)

    def first(self, now: float) -> Next | float:
        """The attempt to make now, or after a wait that fits; the seconds until an account is free if none fits."""
        chosen = self._choose(now)
        if isinstance(chosen, Account):
            return Next(chosen)
        if chosen is None:
            return 0.0
        wait_s = retry_table.at_least(chosen, self._random)
        return Next(None, wait_s) if self.spending.takes(wait_s) else chosen

    def after(self, attempt: Attempt, failure: Failure, now: float) -> Next | None:
        """The attempt that follows a failed one, if the failure, the budgets and the accounts allow one."""
        self._failures[failure.kind] += 1
        self.spending.ended_by = ""
        if failure.kind is FailureClass.LOCAL:
            self.spending.uncounted += 1
            plan = self._plan_unsent(attempt.account, failure, now)
            return plan if plan is not None and self.spending.takes(plan.wait_s) else None
        rule = retry_table.RULES.get(failure.kind)
        if rule is None or not failure.again:
            return None
        plan = self._plan(attempt.account, failure, rule, now)
        if plan is None or (_is_final(attempt) and not self._asks_otherwise(plan, attempt, failure)):
            return None
        tries = attempt.tries
        if self._is_uncounted(plan, attempt, failure):
            self.spending.uncounted += 1
            tries -= 1
        elif self._is_waited_out(plan, attempt, failure, rule, now):
            self.spending.wait_out()
            tries -= 1
        if not self.spending.allows_another(tries, now) or not self.spending.takes(plan.wait_s):
            return None
        self._budget.retry(now)
        return plan

    def free_in_s(self, now: float) -> float | None:
        """Seconds until another request may be served, None if that is not known to take any time."""
        return self._accounts.free_in_s(self._eligible, self._model, now)

    def says_cooling(self, model: str, wait_s: int) -> str:
        """That nobody may be asked for so many seconds, in words for the client."""
        if any(account.source is not None for account in self._eligible) or not self._eligible[0].owner:
            return f"Every account that may serve {model} is cooling down; the first is free in {wait_s} s."
        return f"{self._eligible[0].upstream_name} has refused {model} to this key for another {wait_s} s."

    def renews(self, account: Account, failure: Failure | None) -> bool:
        """Whether the failure only says that the credential is too old, and there may be a newer one."""
        too_old = failure is not None and failure.kind is FailureClass.AUTH
        return too_old and account.renewable and account.name not in self._renewed

    def _is_uncounted(self, plan: Next, attempt: Attempt, failure: Failure) -> bool:
        """Whether a refused attempt uses up no try. What was known to refuse does, so that each is met once."""
        self._refused.add(attempt.account.name)
        if plan.renew:
            return True
        was_news = attempt.use is None or not attempt.use.known
        moves_on = plan.account is not None and plan.account.name not in self._refused
        return was_news and moves_on and retry_table.says_not_here(failure)

    def _is_waited_out(
        self, plan: Next, attempt: Attempt, failure: Failure, rule: retry_table.RetryRule, now: float
    ) -> bool:
        """Whether a failed attempt uses up no try, as it has cost next to nothing: only time bounds those."""
        began_at = attempt.started_at if attempt.times.left_at is None else attempt.times.left_at
        has_content = attempt.gate is not None and attempt.gate.content
        is_cheap = rule.waited_out and not has_content and now - began_at <= retry_table.LONGEST_CHEAP_S
        # A refusal that may be no news is worth another try only later.
        return is_cheap and self._settings.max_wait > 0 and (plan.wait_s > 0 or not retry_table.says_not_here(failure))

    @staticmethod
    def _asks_otherwise(plan: Next, attempt: Attempt, failure: Failure) -> bool:
        """Whether the next attempt is not the one that was refused, but one with another credential."""
        limited = retry_table.says_not_here(failure) or failure.kind is FailureClass.RATE_LIMITED
        moves_on = plan.account is not None and plan.account is not attempt.account
        return plan.renew or (limited and moves_on)

    def repaired(self, attempt: Attempt) -> Next:
        """The attempt with a repaired body: on the same account, and at the cost of no budget."""
        wait_s = retry_table.jittered(retry_table.REPAIR_WAIT_S, self._random)
        self.spending.waited_s += wait_s
        return Next(attempt.account, wait_s)

    def _plan(self, account: Account, failure: Failure, rule: retry_table.RetryRule, now: float) -> Next | None:
        nth = self._failures[failure.kind]
        wait_s = self._wait_s(failure, nth)
        if self.renews(account, failure):
            self._renewed.add(account.name)
            return Next(account, wait_s, renew=True)
        if failure.kind is FailureClass.OVERLOADED:
            busy_for_long = nth > 1 or not self.spending.fits(wait_s)
            elsewhere = self._at_another_upstream(account, now) if busy_for_long else None
            return Next(elsewhere) if elsewhere is not None else Next(account, wait_s)
        if failure.most_waits is not None and nth > failure.most_waits:
            there = (each.name for each in self._eligible if each.upstream.host == account.upstream.host)
            self._excluded.update(there)
        elif retry_table.stays(failure, nth):
            return Next(account, wait_s)
        # A quota without an end in sight is as final for this exchange as a refused key.
        endless = failure.kind is FailureClass.QUOTA and failure.wait_s is None
        (self._excluded if rule.leave or endless else self._avoid).add(account.name)
        # What this account's limit asks for is not owed to another one, nor does that know of a dead connection.
        at_once = failure.stay or rule.place == "second_elsewhere"
        chosen = self._choose(now) if at_once else None
        if isinstance(chosen, Account) and chosen.name not in self._avoid:
            return Next(chosen)
        chosen = self._choose(now + wait_s)
        if chosen is None:
            return None
        if isinstance(chosen, Account):
            return Next(chosen, wait_s)
        return Next(None, wait_s + retry_table.at_least(chosen, self._random))

    def _wait_s(self, failure: Failure, nth: int) -> float:
        """Seconds before the `nth` retry for this class of failure, as far as they are left."""
        wait_s = retry_table.wait_before_retry_s(failure, nth, self._random)
        return self.spending.fitted(wait_s, retry_table.hinted_s(failure) or 0.0)

    def _at_another_upstream(self, account: Account, now: float) -> Account | None:
        """An account that nothing is wrong with, at a server that has not been met busy."""
        self._busy_upstreams.add(account.upstream.url)
        idle = [
            each
            for each in self._eligible
            if each.upstream.url not in self._busy_upstreams
            and each.name not in self._avoid | self._excluded
            and self._accounts.free(each, self._model, now)
        ]
        chosen = self._accounts.choose(idle, self._model, self._session, now)
        return chosen if isinstance(chosen, Account) else None

    def _plan_unsent(self, account: Account, failure: Failure, now: float) -> Next | None:
        """What follows an attempt that was not sent: each other account once, and then all of them a little later."""
        self._avoid.add(account.name)
        if not failure.again:
            self._excluded.add(account.name)
        chosen = self._choose(now)
        if isinstance(chosen, Account) and chosen.name not in self._avoid:
            return Next(chosen)
        if chosen is None or (failure.most_waits is not None and self._local_waits >= failure.most_waits):
            return None
        self._local_waits += 1
        wait_s = self._wait_s(failure, self._local_waits)
        if isinstance(chosen, Account):
            return Next(chosen, wait_s)
        return Next(None, max(wait_s, retry_table.at_least(chosen, self._random)))

    def _choose(self, at: float) -> Account | float | None:
        return self._accounts.choose(
            self._eligible, self._model, self._session, at, avoid=self._avoid, exclude=self._excluded
        )


def _is_final(attempt: Attempt) -> bool:
    """Whether upstream says that the same request will fail again."""
    refused = (attempt.status or 0) >= 400
    return refused and (http.get(attempt.headers, "x-should-retry") or "").strip().lower() == "false"
