"""Whose credential an attempt carries, and what is wrong with those that are configured."""

import asyncio

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

    async def warnings(self) -> list[str]:
        """What is wrong with the credentials as they are now; requests may still find them mended."""
        state, config = self._state, self._state.config
        names = {account.name for account in config.accounts}
        for gone in state.credential_troubles.keys() - names:
            del state.credential_troubles[gone]
        found = await asyncio.gather(
            *(self._trouble_with(account, config.upstreams[account.upstream].dialect) for account in config.accounts)
        )
        await state.credentials.learn(state.config.clients.keys)
        return [problem for problem in found if problem] + state.admission.warnings()

    async def _trouble_with(self, account: AccountSettings, dialect: str) -> str:
        try:
            await self._state.credentials.check(account, dialect)
        except CredentialError as error:
            self.learn(account.name, str(error))
            return f"account {account.name}: no credential: {error}"
        self.learn(account.name, "")
        return ""
