"""Choosing an account, cooling it down, and letting it recover."""

import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from healing.policy import config
from healing.policy.failures import Failure, FailureClass
from healing.policy.health import Bench, Health, bench
from healing.policy.models import matches
from healing.policy.trouble import Trouble

logger = logging.getLogger(__name__)

STRIKES = 3
"""Consecutive failures after which an account is benched."""
FIRST_BENCH_S = 30.0
LONGEST_BENCH_S = 600.0
MOST_KNOWN = 1024
"""Models that upstreams have served, the latest."""

# How long a failure that names no time of its own keeps an account, or one model on it, from being preferred.
_BENCH_S = {
    FailureClass.BILLING: 3600.0,
    FailureClass.AUTH: 600.0,
    FailureClass.FORBIDDEN: 600.0,
    FailureClass.NO_MODEL: 300.0,
    FailureClass.QUOTA: 600.0,
}
_ONE_MODEL = (FailureClass.NO_MODEL, FailureClass.QUOTA)
_NO_STRIKE = (FailureClass.OVERLOADED, FailureClass.RATE_LIMITED, FailureClass.CALLER, FailureClass.SIGNATURE)


@dataclass(frozen=True, slots=True)
class Account:
    """A credential for an upstream, as policy sees it: without the credential.

    name, label: what the configuration calls it, and what a client is shown.
    source: the configured account; None stands for the client's own credential.
    """

    name: str
    label: str
    upstream_name: str
    upstream: config.Upstream
    priority: int = 0
    weight: float = 1.0
    models: tuple[str, ...] = ("*",)
    source: config.Account | None = None

    @property
    def renewable(self) -> bool:
        """Whether asking for the credential again may give another one."""
        if self.source is None:
            return False
        sources = (self.source.api_key, self.source.bearer, *self.source.headers.values())
        return any(source is not None and source.get_secret_value().startswith("cmd:") for source in sources)

    def serves(self, model: str) -> bool:
        """Whether it may be asked for this model."""
        return not model or any(matches(pattern, model) for pattern in self.models)


class Accounts:
    """All accounts and how they are. Time is monotonic seconds and always handed in."""

    def __init__(
        self,
        accounts: Sequence[Account] = (),
        strategy: str = "affinity",
        before: "Accounts | None" = None,
        *,
        probe_s: float = config.Limits().probe_seconds,
        named: Collection[str] = (),
    ) -> None:
        """Take the accounts in the order of the configuration; unchanged ones keep their state from `before`.

        probe_s: seconds after which a long bench is probed. named: the models that the configuration names.
        """
        self.all = tuple(accounts)
        self.strategy = strategy
        self._probe_s = probe_s
        self._named = frozenset(named)
        self._served: OrderedDict[tuple[str, str], None] = before._served if before else OrderedDict()
        names = {account.name for account in accounts} | {config.RESERVED_ACCOUNT}
        met = before._local if before else {}
        self._local: dict[str, Trouble] = {name: trouble for name, trouble in met.items() if name in names}
        self._health: dict[str, Health] = {}
        known = {account.name: account for account in before.all} if before else {}
        for account in accounts:
            same = before is not None and known.get(account.name) == account
            self._health[account.name] = before._health[account.name] if before and same else Health()

    def choose(
        self,
        eligible: Sequence[Account],
        model: str,
        session: str,
        now: float,
        *,
        avoid: Collection[str] = (),
        exclude: Collection[str] = (),
    ) -> "Account | float | None":
        """The account for the next attempt.

        eligible: those that may serve the request.
        avoid: names to use only if no other is healthy; exclude: names not to use at all.
        Gives seconds to wait when all that are left are cooling as upstream demanded, None when none is left.
        """
        left = [account for account in eligible if account.name not in exclude]
        healthy = [account for account in left if self._of(account).free(model, now)]
        preferred = [account for account in healthy if account.name not in avoid] or healthy
        if preferred:
            best = min(account.priority for account in preferred)
            return self._pick([account for account in preferred if account.priority == best], session)
        # Where nothing but our own caution is in the way, the client is owed upstream's answer and not our guess.
        cautious = [account for account in left if not self._of(account).cooling_until(model, now)]
        if cautious:
            return min(cautious, key=lambda account: self._of(account).benched_until(model))
        return min((self._of(account).cooling_until(model, now) - now for account in left), default=None)

    def take(self, account: Account, model: str, now: float) -> tuple[str, ...]:
        """An attempt on this account begins; `settle` must follow, with what this gives: the benches that it probes."""
        health = self._of(account)
        health.used += 1
        health.active += 1
        return health.begin_probe(model, now, self._probe_s)

    def settle(
        self,
        account: Account,
        model: str,
        failure: Failure | None,
        now: float,
        *,
        probe: Collection[str] = (),
        judged: bool = True,
    ) -> None:
        """An attempt on this account ended: with success (no failure), a failure, or unjudged (the client left)."""
        health = self._of(account)
        health.active -= 1
        local = failure is not None and failure.kind is FailureClass.LOCAL
        health.end_probe(probe, now, judged=judged and not local)
        if not judged:
            return
        self._tell_local(account, failure)
        if local:
            return
        if failure is None:
            self._has_served(account, model)
            health.strikes = health.benched = 0
            for key in ("", model):
                health.benches.pop(key, None)
            return
        seconds = _BENCH_S.get(failure.kind)
        if seconds is not None:
            hard = failure.kind is FailureClass.QUOTA and failure.wait_s is not None
            seconds = failure.wait_s if failure.wait_s is not None and hard else seconds
            if failure.kind is FailureClass.NO_MODEL and not self._knows(account, model):
                return
            key = model if failure.kind in _ONE_MODEL and not failure.whole_account else ""
            health.put(key, self._bench(now, seconds, f"{failure.kind}: {failure.detail}", hard=hard))
        elif failure.kind not in _NO_STRIKE and not failure.blameless:
            self._strike(health, failure, now)

    def _strike(self, health: Health, failure: Failure, now: float) -> None:
        health.strikes += 1
        before = health.benches.get("")
        # What was under way when the account was benched says nothing new: only a probe's failure doubles the time.
        if health.strikes >= STRIKES and (before is None or before.until <= now):
            seconds = min(LONGEST_BENCH_S, FIRST_BENCH_S * 2 ** min(health.benched, 10))
            health.benched += 1
            reason = f"{health.strikes} failures in a row, the last: {failure.detail}"
            health.put("", self._bench(now, seconds, reason))

    def _bench(self, now: float, seconds: float, reason: str, *, hard: bool = False) -> Bench:
        return bench(now, seconds, reason, hard=hard, probe_s=self._probe_s)

    def _tell_local(self, account: Account, failure: Failure | None) -> None:
        """Say when this machine's own trouble with an account begins and is over."""
        trouble = self._local.get(account.name)
        if failure is not None and failure.kind is FailureClass.LOCAL:
            if trouble is None:
                begins = f"%s; tried again shortly, account {account.name} is not to blame"
                trouble = Trouble(logger, begins, f"account {account.name}: what kept it from being asked is over")
                self._local[account.name] = trouble
            trouble.met(failure.detail)
        elif trouble is not None:
            trouble.over()

    def _has_served(self, account: Account, model: str) -> None:
        self._served[account.upstream_name, model] = None
        self._served.move_to_end((account.upstream_name, model))
        if len(self._served) > MOST_KNOWN:
            self._served.popitem(last=False)

    def _knows(self, account: Account, model: str) -> bool:
        """Whether this is a model that there is, and not merely what some request names."""
        if not model:
            return False
        return model in self._named or model in account.models or (account.upstream_name, model) in self._served

    def report(self, now: float) -> list[dict[str, object]]:
        """How each account is, for people: JSON-serialisable, without secrets."""
        return [
            {
                "name": account.name,
                "email": account.source.email if account.source else None,
                "upstream": account.upstream_name,
                "priority": account.priority,
                "attempts": int(health.used),
                "active": health.active,
                "healthy": health.free("", now),
                "benches": [
                    {"model": model or None, "seconds_left": round(each.until - now, 1), "reason": each.reason}
                    for model, each in health.benches.items()
                    if each.until > now
                ],
            }
            for account in self.all
            for health in [self._of(account)]
        ]

    def _of(self, account: Account) -> Health:
        # The client's own credential has no state: what one client's key does says nothing about another's.
        return self._health.get(account.name) or Health()

    def _pick(self, accounts: Sequence[Account], session: str) -> Account:
        match self.strategy:
            case "round_robin":
                return self._next_in_turn(accounts)
            case "least_used":
                return min(accounts, key=lambda account: self._of(account).used / account.weight)
        return max(accounts, key=lambda account: _rendezvous(session, account))

    def _next_in_turn(self, accounts: Sequence[Account]) -> Account:
        """Smooth weighted round robin, as nginx does it."""
        for account in accounts:
            self._of(account).turn += account.weight
        chosen = max(accounts, key=lambda account: self._of(account).turn)
        self._of(chosen).turn -= sum(account.weight for account in accounts)
        return chosen


def _rendezvous(session: str, account: Account) -> float:
    """The weight of an account for a session: each session ranks the accounts in an order of its own that stays."""
    digest = hashlib.blake2b(f"{session}\0{account.name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    fraction = (int.from_bytes(digest) + 1) / (2**64 + 1)
    return account.weight / -math.log(fraction)


def runtime_accounts(settings: config.Config) -> tuple[Account, ...]:
    """The configured accounts as policy uses them."""
    return tuple(
        Account(
            name=source.name,
            label=source.label,
            upstream_name=source.upstream,
            upstream=settings.upstreams[source.upstream],
            priority=source.priority,
            weight=source.weight,
            models=source.models,
            source=source,
        )
        for source in settings.accounts
    )


def named_models(settings: config.Config) -> frozenset[str]:
    """The models that the configuration names, as upstreams know them."""
    targets = (target.to or name for name, target in settings.models.items())
    return frozenset(
        model for target in targets if "*" not in (model := config.split_target(target, settings.upstreams)[1])
    )


def eligible_accounts(
    accounts: Iterable[Account], dialect: str, upstream: str | None, model: str
) -> tuple[tuple[Account, ...], tuple[Account, ...]]:
    """Those of the upstream (without one: of every upstream of the dialect), and among them those for the model."""
    there = tuple(
        account
        for account in accounts
        if (account.upstream_name == upstream if upstream else account.upstream.dialect == dialect)
    )
    return there, tuple(account for account in there if account.serves(model))
