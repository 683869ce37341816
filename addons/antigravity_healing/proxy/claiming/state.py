"""The proxy's state between requests: its configuration, and all that is made of it or outlives a request."""

import hashlib
import time
from pathlib import Path
from random import Random, SystemRandom

from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.exchange.retry_table import RetryBudget
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.routing.account_groups import AccountGroups
from antigravity_healing.policy.routing.accounts import Accounts, named_models, runtime_accounts
from antigravity_healing.policy.routing.routes import Routes
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.policy.translating.refused_features import Unsupported
from antigravity_healing.proxy.claiming.held_bodies import HeldBodies
from antigravity_healing.proxy.claiming.under_way import UnderWay
from antigravity_healing.proxy.guarding.addresses import is_loopback
from antigravity_healing.proxy.guarding.admission import Admission
from antigravity_healing.proxy.guarding.door import Door
from antigravity_healing.proxy.guarding.visits import Visitor, Visits
from antigravity_healing.proxy.secrets.credentials import Credentials

STORE_NAME = "signatures.sqlite3"


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()


class State:
    """What there is of the proxy while no request is."""

    def __init__(self, config: Config, journal: Journal, home: Path | None = None) -> None:
        """home: the data folder, where signatures are kept; None keeps them in memory."""
        self.journal = journal
        self.home = home
        self.signatures: SignatureStore | None = None
        self.credentials = Credentials(lambda: self.config.limits)
        self.visits = Visits()
        self.budget = RetryBudget()
        self.unsupported = Unsupported()
        self.clock = SystemClock()
        self.under_way = UnderWay()
        self.held_bodies = HeldBodies(lambda: self.config.limits.held_bytes)
        self.random: Random = SystemRandom()
        self.body_size_limit: int | None = None
        """How many bytes mitmproxy is told to take of a body (its option `body_size_limit`)."""
        self.config_trouble = ""
        """Why the configuration file as it is now is not used, "" where it is."""
        self.credential_troubles: dict[str, str] = {}
        """Why accounts have no credential, by their names, as far as it is known."""
        self.live: dict[str, Exchange] = {}
        """The exchanges that are under way, by their ids."""
        self.started_at = self.clock.now()
        self.exchanges = 0
        """How many exchanges there have been."""
        self.accounts = Accounts()
        self.use(config)

    def use(self, config: Config) -> None:
        """Take up a configuration; accounts that did not change keep their state."""
        self.config = config
        self.routes = Routes(config)
        guarded = bool(config.clients.keys or config.accounts)
        self.admission = Admission(config.clients, self.credentials, guarded=guarded)
        self.door = Door(config.clients, self.admission, self.visits)
        self.budget.spare = config.retry.spare_retries
        self.accounts = Accounts(
            runtime_accounts(config),
            config.retry.strategy,
            self.accounts,
            probe_s=config.limits.probe_seconds,
            named=named_models(config),
        )
        self.groups = AccountGroups(self.accounts.all)
        if self.signatures is None or self.signatures.settings != config.signatures:
            self.close()
            self.signatures = SignatureStore(self.home / STORE_NAME if self.home else None, config.signatures)
            # Read now, and not by two long requests at once.
            self.signatures.has_repairs(self.clock.wall())

    @property
    def running(self) -> int:
        """How many exchanges are under way."""
        return len(self.live)

    def close(self) -> None:
        """Write down what is still to be written."""
        if self.signatures is not None:
            self.signatures.close()

    def client_at(self, visitor: Visitor, who: str = "") -> str:
        """Who a client is, without saying so: a digest of its key or credential (`who`), else of where it is."""
        address = visitor.address
        kind = "secret" if who else "here" if is_loopback(address) else "address"
        return self.digest(f"{kind}:{who or ('' if kind == 'here' else address)}")

    def digest(self, name: str) -> str:
        """What stands for a name that is not to be told; nobody else can make it of the name."""
        secret = self.signatures.secret if self.signatures is not None else b""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16, key=secret).hexdigest()
