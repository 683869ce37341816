"""The accounts by where they ask, so that a request need not look at each of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.named_models import Named, takes_all


class Group(NamedTuple):
    """Accounts that ask at one place, in the order of the configuration, and each list of models that one has."""

    accounts: tuple[Account, ...] = ()
    lists: frozenset[tuple[str, ...]] = frozenset()

    def fitting(self, named: Named) -> tuple[Account, ...]:
        """Those that may serve all that a request names."""
        # Many accounts share few lists.
        fit = {models for models in self.lists if named.fits(models)}
        if len(fit) == len(self.lists):
            return self.accounts
        return tuple(account for account in self.accounts if account.models in fit)


class AccountGroups:
    """All accounts by their upstream, and by its dialect."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        """Take them in the order of the configuration."""
        self.choosy = not all(takes_all(account.models) for account in accounts)
        """Whether any of them may not serve every model."""
        self._by_upstream = _grouped((account.upstream_name, account) for account in accounts)
        self._by_dialect = _grouped((account.upstream.dialect, account) for account in accounts)

    def at(self, upstream: str) -> Group:
        """Those of this upstream."""
        return self._by_upstream.get(upstream, Group())

    def speaking(self, dialect: str) -> Group:
        """Those of every upstream of this dialect."""
        return self._by_dialect.get(dialect, Group())


def _grouped(named: Iterable[tuple[str, Account]]) -> dict[str, Group]:
    accounts: dict[str, list[Account]] = {}
    for name, account in named:
        accounts.setdefault(name, []).append(account)
    return {
        name: Group(tuple(there), frozenset(account.models for account in there)) for name, there in accounts.items()
    }
