"""What can happen to an exchange."""

from typing import Any

from antigravity_healing.policy.exchange.actions import Work
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.wire.http.headers import Headers


class Events:
    """Takes what happens to an exchange, one method each: `Exchange` hands it on to what handles it now.

    That is `Healing`, or after a bug `PassThrough`, or this, which takes no notice of anything.
    """

    def start(self) -> None:
        """The client's request is complete."""

    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        """The response headers of an attempt have come."""

    def data(self, attempt: Attempt, data: bytes) -> None:
        """More of an attempt's body has come. It is looked at in `read_data`, many pieces at once."""

    def read_data(self) -> None:
        """Look at the data that has come, or at a share of it where that takes long; `wakeup` is due for the next."""

    def body_ended(self, attempt: Attempt, broken: str = "") -> None:
        """An attempt's body has ended in the regular way, or its connection failed: `broken` says how."""

    def killed(self, attempt: Attempt) -> None:
        """A person, or another addon, ended this attempt: that is no failure to heal."""

    def malformed(self, attempt: Attempt, flaw: str) -> None:
        """An attempt's answer has a head that is none; `flaw` says why. The attempt is over."""

    def no_credential(self, attempt: Attempt, why: str, *, lasting: bool = False) -> None:
        """The credential of an attempt's account could not be had; nothing was sent. lasting: nor will it be later."""

    def on_its_way(self, attempt: Attempt, since: float) -> None:
        """Nothing here holds an attempt up any more, since then (monotonic seconds): upstream's clocks run."""

    def held_up(self, attempt: Attempt) -> None:
        """An attempt waits here for something that is no matter of its upstream's."""

    def client_behind(self, behind: bool) -> None:
        """Whether the client does not take its answer. No more of it is read then, which is no fault of upstream's."""

    def held_by_hook(self, attempt: Attempt | None, on: bool) -> None:
        """A hook of this attempt's flow, or of the client's (None), begins or is over: nothing is late meanwhile."""

    def wakeup(self) -> None:
        """Time has passed: do what is due by now."""

    def worked(self, action: Work, found: Any, failure: Exception | None = None) -> None:
        """What was asked for by this action is done; `found` is what it gave, `failure` what it raised."""

    def shut_down(self) -> None:
        """The proxy ends, and so does this: the client is told why. Not while what came is being looked at."""
