"""What a stream waits for while others go on: mitmproxy awaits the addon's method of the same name."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.proxy import commands

from healing.policy import config
from healing.policy.accounts import Account
from healing.policy.exchange import Exchange
from healing.proxy.claims import Claim
from healing.proxy.governor import Governor
from healing.proxy.seal import Seal


@dataclass
class CredentialRequest:
    """What `AntigravityCredentialHook` asks for; the hook fills in `seal` or `error`.

    patient: whether to ask again a little later where it can't be had, as nobody else will.
    """

    account: config.Account
    dialect: str
    renew: bool
    patient: bool = False
    seal: Seal | None = None
    error: str = "it could not be read"


@dataclass
class AntigravityCredentialHook(commands.StartHook):
    """A credential has to be fetched, which takes time."""

    request: CredentialRequest


@dataclass
class UnderstandRequest:
    """What `AntigravityUnderstandHook` asks for; the hook fills in `exchange` or `failure`."""

    governor: Governor
    claim: Claim
    request: http.Request
    exchange: Exchange | None = None
    failure: Exception | None = None

    def run(self) -> None:
        """Make the exchange."""
        try:
            self.exchange = self.governor.exchange(self.claim, self.request)
        except Exception as failure:
            self.failure = failure


@dataclass
class PassingRequest:
    """The same for a request that is passed on unhealed: fills in `account` or `failure`."""

    governor: Governor
    claim: Claim
    request: http.Request
    account: Account | None = None
    failure: Exception | None = None

    def run(self) -> None:
        """Choose the account."""
        try:
            self.account = self.governor.passing_account(self.claim, self.request)
        except Exception as failure:
            self.failure = failure


@dataclass
class AntigravityUnderstandHook(commands.StartHook):
    """A request is so long that to understand it takes time, in which others must not wait."""

    request: UnderstandRequest | PassingRequest
