"""What an exchange is given beside its request: the settings that hold for it, and what it shares with all others."""

from dataclasses import dataclass, field
from random import Random

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.retry_table import RetryBudget
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.policy.settings.schema import Limits, Peek, Repair, Retry, Translate
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.policy.translating.refused_features import Unsupported


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that hold for an exchange from its start to its end.

    account_header: whether the client is told the account. listed_models: names to add to a model list.
    """

    retry: Retry = field(default_factory=Retry)
    peek: Peek = field(default_factory=Peek)
    account_header: bool = True
    listed_models: tuple[str, ...] = ()
    repair: Repair = field(default_factory=Repair)
    translate: Translate = field(default_factory=Translate)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all exchanges share. signatures: None keeps none."""

    accounts: Accounts
    budget: RetryBudget
    journal: Journal
    clock: Clock
    random: Random
    signatures: SignatureStore | None = None
    unsupported: Unsupported = field(default_factory=Unsupported)
