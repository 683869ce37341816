"""Which account has the things that a request names: uploaded files, cached contents, batches, containers.

What is remembered is one client's: another's request for the same thing goes where its own choice of account leads.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.wire.json.value import digest

logger = logging.getLogger(__name__)


class Things:
    """What one request and its answer name that lies with one account."""

    def __init__(
        self, named: Iterable[str], owner: Owner, store: SignatureStore | None, wall: Callable[[], float]
    ) -> None:
        """named: by the request. store: None remembers nothing. wall: gives seconds since 1970."""
        self.named = tuple(sorted(named))
        self._client = owner.client
        self._store = store
        self._wall = wall

    def holders(self, eligible: Sequence[Account]) -> tuple[Account, ...]:
        """Of these accounts the one that has what is named, as far as that is known; else all of them."""
        if self.named and self._store is not None and len(eligible) > 1:
            found = self._store.owners(self._keys(self.named), self._wall())
            has = set(found.values())
            holders = [account for account in eligible if account.name in has]
            if holders:
                return (max(holders, key=lambda account: list(found.values()).count(account.name)),)
        return tuple(eligible)

    def lie_with(self, account: Account, more: Iterable[str] = ()) -> None:
        """An account has served the request: it has what that named, and what the answer names, `more`."""
        things = dict.fromkeys((*self.named, *more))
        if things and self._store is not None and account.source is not None:
            try:
                self._store.keep_owner(self._keys(things), account.name, self._wall())
            except Exception:
                logger.exception("it could not be kept where a file or a cached content lies; this is a bug")

    def _keys(self, things: Iterable[str]) -> list[str]:
        return [digest("thing", self._client, thing) for thing in things]
