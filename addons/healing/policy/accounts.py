"""Choosing an account, cooling it down, and letting it recover."""

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from healing.policy import config
from healing.policy.failures import Failure, FailureClass
from healing.policy.models import matches

STRIKES = 3
"""Consecutive failures after which an account is benched."""
FIRST_BENCH_S = 30.0
LONGEST_BENCH_S = 600.0

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


@dataclass(slots=True)
class _Bench:
    """Why an account, or one model on it, is not preferred until `until` (monotonic seconds).

    hard: upstream itself said how long: asking earlier is pointless.
    """

    until: float
    hard: bool
    reason: str


@dataclass(slots=True)
class _Health:
    strikes: int = 0
    benched: int = 0
    probing: bool = False
    used: float = 0.0
    turn: float = 0.0
    active: int = 0
    benches: dict[str, _Bench] = field(default_factory=dict)
    """By model; "" is the whole account."""

    def _for(self, model: str) -> list[_Bench]:
        return [bench for key in {"", model} if (bench := self.benches.get(key))]

    def benched_until(self, model: str) -> float:
        """When the last bench that keeps this model away is over, 0 if there is none."""
        return max((bench.until for bench in self._for(model)), default=0.0)

    def cooling_until(self, model: str, now: float) -> float:
        """When upstream lets this model be asked again, 0 if it has not forbidden it."""
        return max((bench.until for bench in self._for(model) if bench.hard and bench.until > now), default=0.0)

    def free(self, model: str, now: float) -> bool:
        """Whether nothing keeps this model away. One request finds out whether a bench's end is the trouble's end."""
        until = self.benched_until(model)
        return not until or (until <= now and not self.probing)


class Accounts:
    """All accounts and how they are. Time is monotonic seconds and always handed in."""

    def __init__(
        self, accounts: Sequence[Account] = (), strategy: str = "affinity", before: "Accounts | None" = None
    ) -> None:
        """Take the accounts in the order of the configuration; unchanged ones keep their state from `before`."""
        self.all = tuple(accounts)
        self.strategy = strategy
        self._health: dict[str, _Health] = {}
        known = {account.name: account for account in before.all} if before else {}
        for account in accounts:
            same = before is not None and known.get(account.name) == account
            self._health[account.name] = before._health[account.name] if before and same else _Health()

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

    def take(self, account: Account, now: float) -> bool:
        """An attempt on this account begins; `settle` must follow, with what this gives: whether it is a probe."""
        health = self._of(account)
        health.used += 1
        health.active += 1
        bench = health.benches.get("")
        probes = bench is not None and bench.until <= now and not health.probing
        health.probing = health.probing or probes
        return probes

    def settle(
        self,
        account: Account,
        model: str,
        failure: Failure | None,
        now: float,
        *,
        probe: bool = False,
        judged: bool = True,
    ) -> None:
        """An attempt on this account ended: with success (no failure), a failure, or unjudged (the client left)."""
        health = self._of(account)
        health.active -= 1
        if probe:
            health.probing = False
        if not judged:
            return
        if failure is None:
            health.strikes = health.benched = 0
            for key in ("", model):
                health.benches.pop(key, None)
            return
        seconds = _BENCH_S.get(failure.kind)
        if seconds is not None:
            hard = failure.kind is FailureClass.QUOTA and failure.wait_s is not None
            until = now + (failure.wait_s if failure.wait_s is not None and hard else seconds)
            key = model if failure.kind in _ONE_MODEL and not failure.whole_account else ""
            health.benches[key] = _Bench(until, hard, f"{failure.kind}: {failure.detail}")
        elif failure.kind not in _NO_STRIKE:
            self._strike(health, failure, now)

    def _strike(self, health: _Health, failure: Failure, now: float) -> None:
        health.strikes += 1
        bench = health.benches.get("")
        # What was under way when the account was benched says nothing new: only a probe's failure doubles the time.
        if health.strikes >= STRIKES and (bench is None or bench.until <= now):
            seconds = min(LONGEST_BENCH_S, FIRST_BENCH_S * 2 ** min(health.benched, 10))
            health.benched += 1
            reason = f"{health.strikes} failures in a row, the last: {failure.detail}"
            health.benches[""] = _Bench(now + seconds, False, reason)

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
                    {"model": model or None, "seconds_left": round(bench.until - now, 1), "reason": bench.reason}
                    for model, bench in health.benches.items()
                    if bench.until > now
                ],
            }
            for account in self.all
            for health in [self._of(account)]
        ]

    def _of(self, account: Account) -> _Health:
        # The client's own credential has no state: what one client's key does says nothing about another's.
        return self._health.get(account.name) or _Health()

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
