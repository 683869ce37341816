"""Whose credential an attempt carries, and what is wrong with those that are configured."""

import asyncio
from collections.abc import Iterable

from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.settings.schema import AccountSettings
from antigravity_healing.proxy.claiming.claims import Claim
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.secrets.credentials import CredentialError
from antigravity_healing.proxy.secrets.seal import Seal


class AttemptCredentials:
    """Gives attempts their credentials."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._awaited: set[str] = set()

    def seal_of(self, account: Account, claim: Claim, *, refused: Seal | None = None) -> Seal | None:
        """What an attempt on this account carries, None if that takes time to find out. Raises CredentialError."""
        if account.source is None:
            assert claim.asked is not None
            # A client's credential is for the API that it believes to talk to, and for nobody else.
            return claim.seal if account.upstream.dialect == claim.asked.dialect.name else Seal()
        try:
            seal = self._state.credentials.at_once(account.source, account.upstream.dialect, refused=refused)
        except CredentialError as error:
            self.learn(account.name, str(error))
            raise
        if seal is not None:
            self.learn(account.name, "")
        return seal

    def learn(self, account: str, trouble: str) -> None:
        """Remember why an account has no credential; "": it has one."""
        if trouble:
            self._state.credential_troubles[account] = trouble
        else:
            self._state.credential_troubles.pop(account, None)

    async def look(self) -> bool:
        """Find out which credentials can be had as things are now; requests may still find them mended.

        Returns whether that is known of all; of those that take their time `look_again` finds it out.
        """
        state = self._state
        names = {account.name for account in state.config.accounts}
        for gone in state.credential_troubles.keys() - names:
            del state.credential_troubles[gone]
        self._awaited &= names
        await self._look_at(state.config.accounts)
        await state.credentials.learn(state.config.clients.keys)
        return not self._awaited

    async def look_again(self) -> None:
        """Wait for the credentials that were not there yet."""
        slow = [account for account in self._state.config.accounts if account.name in self._awaited]
        await self._look_at(slow, patient=True)

    def usable(self) -> str:
        """How many accounts of each upstream have a credential, as far as is known, and why others have none.

        In words, "" where there are no accounts.
        """
        accounts, told = self._state.config.accounts, []
        troubles = dict.fromkeys(self._awaited, "its credential is still being fetched")
        troubles |= self._state.credential_troubles
        for upstream in dict.fromkeys(account.upstream for account in accounts):
            names = [account.name for account in accounts if account.upstream == upstream]
            lacking = [f"{name}: {troubles[name]}" for name in names if name in troubles]
            many = f"{len(names) - len(lacking)} of {len(names)}" if lacking else len(names)
            told.append(f"{upstream}: {many} usable{f' ({"; ".join(lacking)})' if lacking else ''}")
        return "; ".join(told)

    async def _look_at(self, accounts: Iterable[AccountSettings], *, patient: bool = False) -> None:
        await asyncio.gather(*(self._look_at_one(account, patient=patient) for account in accounts))

    async def _look_at_one(self, account: AccountSettings, *, patient: bool) -> None:
        dialect = self._state.config.upstreams[account.upstream].dialect
        try:
            known = await self._state.credentials.check(account, dialect, patient=patient)
        except CredentialError as error:
            self.learn(account.name, str(error))
        else:
            if not known:
                self._awaited.add(account.name)
                return
            self.learn(account.name, "")
        self._awaited.discard(account.name)
