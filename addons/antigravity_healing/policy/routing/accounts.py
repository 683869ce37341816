"""Choosing an account, cooling it down, and letting it recover."""

import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.account_health import Bench, Health, bench
from antigravity_healing.policy.routing.routes import any_matches
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.trouble import Trouble

logger = logging.getLogger(__name__)

STRIKES = 3
"""Consecutive failures after which an account is benched."""
FIRST_BENCH_S = 30.0
LONGEST_BENCH_S = 600.0
MOST_KNOWN = 1024
"""Models that upstreams have served, and credentials of clients' own: the latest of each."""

# How long a failure that names no time of its own keeps an account, or one model on it, from being preferred.
_BENCH_S = {
    FailureClass.BILLING: 3600.0,
    FailureClass.AUTH: 600.0,
    FailureClass.FORBIDDEN: 600.0,
    FailureClass.NO_MODEL: 300.0,
    FailureClass.QUOTA: 600.0,
}
_ONE_MODEL = (FailureClass.NO_MODEL, FailureClass.QUOTA)
_STRIKES = "strikes"
_NO_STRIKE = (FailureClass.OVERLOADED, FailureClass.RATE_LIMITED, FailureClass.CALLER, FailureClass.SIGNATURE)


@dataclass(frozen=True, slots=True)
class Account:
    """A credential for an upstream, as policy sees it: without the credential.

    name, label: what the configuration calls it, and what a client is shown.
    source: the configured account; None stands for the client's own credential.
    owner: what tells the client's own credential from others': a digest of it and of where it goes.
    """

    name: str
    label: str
    upstream_name: str
    upstream: schema.Upstream
    priority: int = 0
    weight: float = 1.0
    models: tuple[str, ...] = ("*",)
    source: schema.AccountSettings | None = None
    owner: str = ""

    @property
    def credential(self) -> tuple[object, ...]:
        """What it is to its upstream; all else of it is ours, and may change."""
        source = self.source
        if source is None:
            return (self.upstream,)
        return (self.upstream, source.api_key, source.bearer, tuple(sorted(source.headers.items(), key=itemgetter(0))))

    @property
    def renewable(self) -> bool:
        """Whether asking for the credential again may give another one."""
        if self.source is None:
            return False
        sources = (self.source.api_key, self.source.bearer, *self.source.headers.values())
        return any(source is not None and source.get_secret_value().startswith(("cmd:", "adc:")) for source in sources)

    @property
    def key_from(self) -> str:
        """Where its key comes from, as `AttemptFacts` tells it."""
        return self.source.key_from if self.source is not None else ""

    def serves(self, model: str) -> bool:
        """Whether it may be asked for this model."""
        return not model or any_matches(self.models, model)


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """An attempt on an account, from its beginning to its end.

    known: what kept the account away when it began: only about that does it find anything out.
    probed: that among it which nobody else is to find out about meanwhile.
    """

    account: Account
    model: str
    health: Health
    known: tuple[Bench, ...] = ()
    probed: tuple[Bench, ...] = ()


class Accounts:
    """All accounts and how they are. Time is monotonic seconds and always handed in."""

    def __init__(
        self,
        accounts: Sequence[Account] = (),
        strategy: str = "affinity",
        before: "Accounts | None" = None,
        *,
        probe_s: float = schema.Limits().probe_seconds,
        named: Collection[str] = (),
    ) -> None:
        """Take the accounts in the order of the configuration; those with the same credential keep their state.

        probe_s: seconds after which a long bench is probed. named: the models that the configuration names.
        """
        self.all = tuple(accounts)
        self.strategy = strategy
        self._probe_s = probe_s
        self._named = frozenset(named)
        self._served: OrderedDict[tuple[str, str], None] = before._served if before else OrderedDict()
        names = {account.name for account in accounts} | {schema.RESERVED_ACCOUNT}
        met = before._local if before else {}
        self._local: dict[str, Trouble] = {name: trouble for name, trouble in met.items() if name in names}
        self._own: OrderedDict[str, Health] = before._own if before else OrderedDict()
        self._health: dict[str, Health] = before._kept_for(self.all) if before else {}
        levels: dict[str, float] = {}
        for account in accounts:
            if (health := self._health.get(account.name)) is not None:
                levels[account.upstream_name] = min(health.level, levels.get(account.upstream_name, math.inf))
        for account in accounts:
            # A new one gets its share from now on, and not what the others have had before.
            self._health.setdefault(account.name, Health(level=levels.get(account.upstream_name, 0.0)))

    def _kept_for(self, accounts: Sequence[Account]) -> dict[str, Health]:
        """The state of those that are the same credential for the same place, whatever else of them has changed."""
        known = {account.name: account.credential for account in self.all}
        kept = {
            account.name: self._health[account.name]
            for account in accounts
            if known.get(account.name) == account.credential
        }
        renamed = {credential: name for name, credential in known.items() if name not in kept}
        for account in accounts:
            if account.name not in kept and account.source and (name := renamed.pop(account.credential, None)):
                kept[account.name] = self._health[name]
        return kept

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
        free = [account for account in left if self._of(account).free(model, now)]
        # Where nothing but our own caution is in the way, the client is owed upstream's answer and not our guess.
        usable = free or [account for account in left if not self._of(account).cooling_until(model, now)]
        preferred = [account for account in usable if account.name not in avoid] or usable
        if not preferred:
            return min((self._of(account).cooling_until(model, now) - now for account in left), default=None)
        best = min(account.priority for account in preferred)
        chosen = self._pick([account for account in preferred if account.priority == best], session)
        for account in left:
            # What could not be used has nothing to catch up with.
            if account not in free:
                health = self._of(account)
                health.level = max(health.level, self._of(chosen).level)
        return chosen

    def free(self, account: Account, model: str, now: float) -> bool:
        """Whether nothing keeps this model away from the account."""
        return self._of(account).free(model, now)

    def is_healthy(self, account: Account, now: float) -> bool:
        """Whether it can be asked for any model that it is known to have; as long as none is known, for all."""
        benched = {model for model, _ in self._of(account).benches(now)}
        exact = {model for model in account.models if "*" not in model}
        served = {model for place, model in self._served if place == account.upstream_name and account.serves(model)}
        return not benched or ("" not in benched and not exact | served <= benched)

    def free_in_s(self, eligible: Iterable[Account], model: str, now: float) -> float | None:
        """Seconds until the first of these may be asked for this model; None if one may be, for all upstream says."""
        healths = [self._of(account) for account in eligible]
        if any(health.free(model, now) or not health.cooling_until(model, now) for health in healths):
            return None
        return min((health.cooling_until(model, now) - now for health in healths), default=None)

    def begin_use(self, account: Account, model: str, now: float) -> Use:
        """An attempt on this account begins; `end_use` must follow, with what this gives."""
        health = self._of(account)
        if account.owner and account.name not in self._health:
            self._own[account.owner] = health
            self._own.move_to_end(account.owner)
            if len(self._own) > MOST_KNOWN:
                self._own.popitem(last=False)
        health.used += 1
        health.level += 1 / account.weight
        health.active += 1
        known = health.known(model, now)
        return Use(account, model, health, known, health.begin_probe(known, now, self._probe_s))

    def end_use(self, use: Use, failure: Failure | None, now: float, *, judged: bool = True) -> None:
        """An attempt on an account ended: with success (no failure), a failure, or unjudged (the client left)."""
        health = use.health
        health.active -= 1
        local = failure is not None and failure.kind is FailureClass.LOCAL
        health.end_probe(use.probed, now, judged=judged and not local)
        if not judged:
            return
        self._tell_local(use.account, failure)
        if local:
            return
        if failure is None:
            self._succeed(use)
        elif failure.kind in _BENCH_S:
            self._refuse(use, failure, now)
        elif failure.kind not in _NO_STRIKE and not failure.blameless:
            self._strike(use, failure, now)

    def _succeed(self, use: Use) -> None:
        """It has proved what it was asked for, when it was asked: what is known since then still holds."""
        self._has_served(use.account, use.model)
        use.health.release(use.model, use.known)
        if use.health.bench_for(_STRIKES) is None:
            use.health.strikes = use.health.benched = 0

    def _refuse(self, use: Use, failure: Failure, now: float) -> None:
        if failure.kind is FailureClass.NO_MODEL and not self._knows(use.account, use.model):
            return
        hard = failure.kind is FailureClass.QUOTA and failure.wait_s is not None
        seconds = failure.wait_s if failure.wait_s is not None and hard else _BENCH_S[failure.kind]
        model = use.model if failure.kind in _ONE_MODEL and not failure.whole_account else ""
        reason = f"{failure.kind}: {failure.detail}"
        use.health.put(
            model, self._bench(now, seconds, failure.kind, reason, hard=hard, detail=failure.detail), use.known
        )

    def _strike(self, use: Use, failure: Failure, now: float) -> None:
        health = use.health
        health.strikes += 1
        before = health.bench_for(_STRIKES)
        # What was under way when the account was benched says nothing new: only a probe's failure doubles the time.
        if health.strikes >= STRIKES and (before is None or (before in use.known and before.until <= now)):
            seconds = min(LONGEST_BENCH_S, FIRST_BENCH_S * 2 ** min(health.benched, 10))
            health.benched += 1
            reason = f"{health.strikes} failures in a row, the last: {failure.detail}"
            health.put("", self._bench(now, seconds, _STRIKES, reason), use.known)

    def _bench(
        self, now: float, seconds: float, cause: str, reason: str, *, hard: bool = False, detail: str = ""
    ) -> Bench:
        return bench(now, seconds, cause, reason, hard=hard, probe_s=self._probe_s, detail=detail)

    def _tell_local(self, account: Account, failure: Failure | None) -> None:
        """Say when this machine's own trouble with an account begins and is over."""
        trouble = self._local.get(account.name)
        if failure is not None and failure.kind is FailureClass.LOCAL:
            if trouble is None:
                again = "tried again shortly, " if failure.again else ""
                begins = f"%s; {again}account {account.name} is not to blame"
                ends = f"account {account.name}: what kept it from being asked is over"
                trouble = Trouble(logger, begins, ends, about=account.name)
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

    def benches(self, now: float) -> Iterator[tuple[Account, str, Bench]]:
        """What keeps accounts away, or is yet to be found over: the account, the model ("" for all), and why."""
        return ((account, model, each) for account in self.all for model, each in self._of(account).not_over(now))

    def reset(self, name: str) -> bool:
        """Forget all that keeps an account away, as a person who knows better asks for. False if there is no such."""
        health = self._health.get(name)
        if health is None:
            return False
        health.reset()
        return True

    def report(self, now: float) -> list[dict[str, object]]:
        """How each account is, for people: JSON-serialisable, without secrets."""
        return [
            {
                "name": account.name,
                "email": account.source.email if account.source else None,
                "upstream": account.upstream_name,
                "priority": account.priority,
                "attempts": health.used,
                "active": health.active,
                "healthy": self.is_healthy(account, now),
                "benches": [
                    {"model": model or None, "seconds_left": round(each.until - now, 3), "reason": each.reason}
                    for model, each in health.benches(now)
                ],
            }
            for account in self.all
            for health in [self._of(account)]
        ]

    def healths(self) -> Iterator[tuple[Account, Health]]:
        """How each configured account is."""
        return ((account, self._of(account)) for account in self.all)

    def _of(self, account: Account) -> Health:
        # What one client's key does says nothing about another's.
        return self._health.get(account.name) or self._own.get(account.owner) or Health()

    def _pick(self, accounts: Sequence[Account], session: str) -> Account:
        match self.strategy:
            case "round_robin":
                return self._next_in_turn(accounts)
            case "least_used":
                return min(accounts, key=lambda account: self._of(account).level)
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


def runtime_accounts(settings: schema.Config) -> tuple[Account, ...]:
    """The configured accounts as policy uses them."""
    return tuple(
        Account(
            name=source.name,
            label=source.label,
            upstream_name=source.upstream,
            upstream=settings.upstream_of(source),
            priority=source.priority,
            weight=source.weight,
            models=source.models,
            source=source,
        )
        for source in settings.accounts
    )


def named_models(settings: schema.Config) -> frozenset[str]:
    """The models that the configuration names, as upstreams know them."""
    targets = (target.to or name for name, target in settings.models.items())
    return frozenset(
        model for target in targets if "*" not in (model := schema.split_target(target, settings.upstreams)[1])
    )
