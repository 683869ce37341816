"""How an attempt ends: what is remembered of it, what its account and its upstream are told."""

from collections import deque

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.actions import Abort, Action, Leave
from antigravity_healing.policy.exchange.attempt import Attempt, UpstreamEnd
from antigravity_healing.policy.exchange.holder_search import HolderSearch
from antigravity_healing.policy.exchange.next_attempt import Planner
from antigravity_healing.policy.judging.failures import Failure, about_things, bounded, outgrown
from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.policy.routing.request import ClientRequest
from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.wire.requests.sizes import tokens_of


class AttemptEnds:
    """Ends the attempts of one exchange."""

    def __init__(
        self,
        request: ClientRequest,
        limits: Limits,
        accounts: Accounts,
        planner: Planner | HolderSearch,
        clock: Clock,
        actions: deque[Action],
    ) -> None:
        self._request = request
        self._limits = limits
        self._accounts = accounts
        self._planner = planner
        self._clock = clock
        self._actions = actions

    def blame(self, attempt: Attempt, failure: Failure) -> Failure:
        """Remember why an attempt failed, and whose fault that is as far as this request tells."""
        failure = outgrown(bounded(failure, self._limits), lambda: tokens_of(attempt.body, attempt.asked.value))
        return attempt.blame(about_things(failure) if self._request.things else failure)

    def settle_account(self, attempt: Attempt, failure: Failure | None, *, judged: bool = True) -> None:
        """Tell the account, once, how this attempt ended; `judged` is False where that says nothing of the account."""
        if not attempt.account_settled and attempt.use is not None:
            attempt.account_settled = True
            judged = judged and self._request.operation.kind != "other"
            judged = judged and not self._planner.renews(attempt.account, failure)
            self._accounts.end_use(attempt.use, failure, self._clock.now(), judged=judged)

    def leave(self, attempt: Attempt) -> None:
        """The client has all. Upstream is about to end its side, if its own end has come just now."""
        why = "upstream has said all and does not close"
        if attempt.gate is not None and attempt.gate.closed and not attempt.ended:
            self._actions.append(Leave(attempt, why))
        else:
            self.abort(attempt, why)

    def abort(self, attempt: Attempt, why: str) -> None:
        """End its upstream call, if that runs."""
        if not attempt.ended:
            attempt.has_ended(UpstreamEnd.ABORTED)
            if attempt.sent:
                self._actions.append(Abort(attempt, why))
