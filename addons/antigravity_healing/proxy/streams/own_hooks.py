"""What a stream waits for while others go on: mitmproxy awaits the addon's method of the same name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mitmproxy import flow
from mitmproxy.proxy import commands

from antigravity_healing.policy.settings import schema
from antigravity_healing.proxy.secrets.seal import Seal


@dataclass
class CredentialRequest:
    """What `AntigravityCredentialHook` asks for; the hook fills in `seal`, or `error`, and whether it is `lasting`.

    refused: what upstream did not take for this account, None if nothing was asked yet.
    patient: whether to ask again a little later where it can't be had, as nobody else will.
    """

    account: schema.AccountSettings
    dialect: str
    refused: Seal | None
    patient: bool = False
    seal: Seal | None = None
    error: str = "it could not be read"
    lasting: bool = False


@dataclass
class AntigravityCredentialHook(commands.StartHook):
    """A credential has to be fetched, which takes time."""

    request: CredentialRequest


@dataclass
class UnderstandRequest[T]:
    """Work on a request or an answer that may take time; `run` fills in `found` or `failure`."""

    work: Callable[[], T]
    found: T | None = None
    failure: Exception | None = None

    def run(self) -> None:
        """Do the work."""
        try:
            self.found = self.work()
        except Exception as failure:
            self.failure = failure


@dataclass
class AntigravityUnderstandHook(commands.StartHook):
    """A request or an answer is so long that to understand it takes time, in which others must not wait."""

    request: UnderstandRequest[Any]


@dataclass
class AntigravityAwaitHook(commands.StartHook):
    """An addon's hook has to be awaited: `Antigravity.antigravity_await` does."""

    awaitable: Awaitable[Any]


@dataclass
class AntigravityResumeHook(commands.StartHook):
    """A flow is intercepted: mitmproxy waits with each hook until its flow is resumed."""

    flow: flow.Flow
