"""What a person can do by hand, from a command or from the page. Each says in words what came of it."""

import logging

from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.claiming.governor import Governor

logger = logging.getLogger(__name__)


class NotDoneError(ValueError):
    """What is asked for is not done; the message says why, and what could be. status: what that is called in HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Hand:
    """Does it."""

    def __init__(self, antigravity: Antigravity) -> None:
        self._antigravity = antigravity

    def reset(self, name: str) -> str:
        """Forget all that keeps an account away. Raises NotDoneError where there is none of that name."""
        accounts = self._governor().accounts
        if not accounts.reset(name):
            names = ", ".join(account.name for account in accounts.all) or "none"
            raise NotDoneError(f"there is no account {shortened(name)!r}; there are: {names}", 404)
        return self._said(f"account {name} was reset by hand: it is asked again as if nothing had been")

    def reload(self) -> str:
        """Read the configuration anew. Raises NotDoneError where there is none, or it can't be used."""
        if problem := self._antigravity.configuration.reload():
            raise NotDoneError(problem, 422)
        return self._said("the configuration was read anew by hand")

    def _governor(self) -> Governor:
        if self._antigravity.governor is None:
            raise NotDoneError("there is no configuration that can be used", 422)
        return self._antigravity.governor

    @staticmethod
    def _said(line: str) -> str:
        logger.info("%s", line)
        return line
