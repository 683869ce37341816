"""One client request and everything done to answer it.

Sans-io: what happens is told by method calls, what is to be done is left in `actions`. Whoever carries the actions out
(`healing.proxy.streams.layer`) holds no policy of its own.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from healing.policy.exchange.actions import Abort, Action, Rules, Work
from healing.policy.exchange.attempt import Attempt, End
from healing.policy.exchange.attempts_in_turn import AttemptsInTurn, Shared
from healing.policy.exchange.events import Events
from healing.policy.exchange.healing import Healing
from healing.policy.exchange.pass_through import PassThrough
from healing.policy.exchange.progress import State
from healing.policy.exchange.reading_answer import AnswerReader
from healing.policy.exchange.upstream_request import UpstreamRequests
from healing.policy.routing.accounts import Account
from healing.policy.routing.request import ClientRequest
from healing.policy.settings.behaviour import Limits
from healing.policy.translating.translation import translation_between
from healing.wire.http.headers import Headers

logger = logging.getLogger(__name__)


class Exchange(Events):
    """Decides what becomes of one client request.

    pass_through: what passes upstream's answer through after a bug.
    """

    def __init__(self, request: ClientRequest, eligible: Sequence[Account], rules: Rules, shared: Shared) -> None:
        """
        eligible: the accounts that may serve it, at least one, all of one upstream if the request is translated for it.
        Raises UntranslatableError.
        """
        self.request = request
        self.pass_through: PassThrough | None = None
        self._eligible = tuple(eligible)
        self._rules = rules
        self._clock = shared.clock
        upstream = eligible[0].upstream
        crossing = None
        if upstream.dialect != request.dialect.name:
            crossing = translation_between(request.dialect.name, upstream.dialect)(
                request, upstream, rules.translate, shared.signatures, shared.clock
            )  # fmt: skip
        self._asking = UpstreamRequests(
            request,
            crossing,
            upstream.url,
            shared.unsupported,
            upgrade=rules.retry.upgrade,
            longest=rules.limits.answer_bytes,
        )
        self._in_turn = AttemptsInTurn(request, eligible, rules, shared, self._asking)
        self._progress = self._in_turn.progress
        reader = AnswerReader(request, rules, shared.clock, self._asking, self._in_turn)
        self._healing = Healing(self._in_turn, reader, shared.clock)
        self._now: Events = self._healing

    @property
    def actions(self) -> deque[Action]:
        """What is to be done, in order; whoever does it takes it from the left."""
        return self._in_turn.actions

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts that were begun."""
        return self._in_turn.delivery.attempts

    @property
    def crashed(self) -> bool:
        """Whether a bug was met after which not even passing upstream's answer through is possible."""
        return self._progress.state is State.CRASHED

    @property
    def outcome(self) -> str:
        """Nothing while it runs, then `clean`, `healed` or `failed`."""
        return self._progress.outcome

    @property
    def meta(self) -> dict[str, Any]:
        """What is kept of it in the client's flow: JSON-serialisable, without secrets."""
        return self._in_turn.delivery.meta

    @property
    def limits(self) -> Limits:
        """What an upstream may ask of it at most."""
        return self._rules.limits

    @property
    def comment(self) -> str:
        """One line for the flow list; "" for an exchange that went as any other."""
        return self._in_turn.delivery.comment

    @property
    def deadline(self) -> float | None:
        """When `wakeup` is due, None if nothing waits for time."""
        going_on = self._progress.state in (State.WAITING, State.UNDER_WAY)
        return self._healing.deadline if going_on else None

    # What happens: it is told to whatever takes it now.

    def start(self) -> None:
        """The client's request is complete."""
        self._tell(self._now.start)

    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        """The response headers of an attempt have come."""
        self._tell(self._now.head, attempt, status, headers)

    def data(self, attempt: Attempt, data: bytes) -> None:
        """More of an attempt's body has come. It is looked at in `settle`, many pieces at once."""
        self._tell(self._now.data, attempt, data)

    def settle(self) -> None:
        """Look at the data that has come, or at a share of it where that takes long; `wakeup` is due for the next."""
        self._tell(self._now.settle)

    def end(self, attempt: Attempt, broken: str = "") -> None:
        """An attempt's body has ended in the regular way, or its connection failed: `broken` says how."""
        self._tell(self._now.end, attempt, broken)

    def killed(self, attempt: Attempt) -> None:
        """A person, or another addon, ended this attempt: that is no failure to heal."""
        self._tell(self._now.killed, attempt)

    def malformed(self, attempt: Attempt, flaw: str) -> None:
        """An attempt's answer has a head that is none; `flaw` says why. The attempt is over."""
        self._tell(self._now.malformed, attempt, flaw)

    def no_credential(self, attempt: Attempt, why: str) -> None:
        """The credential of an attempt's account could not be had; nothing was sent."""
        self._tell(self._now.no_credential, attempt, why)

    def on_its_way(self, attempt: Attempt, since: float) -> None:
        """Nothing here holds an attempt up any more, since then (monotonic seconds): upstream's clocks run."""
        self._tell(self._now.on_its_way, attempt, since)

    def held_up(self, attempt: Attempt) -> None:
        """An attempt waits here for something that is no matter of its upstream's."""
        self._tell(self._now.held_up, attempt)

    def client_behind(self, behind: bool) -> None:
        """Whether the client does not take its answer. No more of it is read then, which is no fault of upstream's."""
        self._tell(self._now.client_behind, behind)

    def held_by_hook(self, attempt: Attempt | None, on: bool) -> None:
        """A hook of this attempt's flow, or of the client's (None), begins or is over: nothing is late meanwhile."""
        self._tell(self._now.held_by_hook, attempt, on)

    def wakeup(self) -> None:
        """Time has passed: do what is due by now."""
        self._tell(self._now.wakeup)

    def worked(self, action: Work, found: Any, failure: Exception | None = None) -> None:
        """What was asked for by this action is done; `found` is what it gave, `failure` what it raised."""
        self._tell(self._now.worked, action, found, failure)

    def shut_down(self) -> None:
        """The proxy ends, and so does this: the client is told why. Not while what came is being looked at."""
        self._tell(self._now.shut_down)

    def client_left(self) -> None:
        """The client is gone: whatever runs for it is ended."""
        if self._progress.state is State.OVER:
            return
        if self._now is self._healing:
            self._in_turn.leave()
            return
        self._progress.close("failed")
        self.actions.extend(Abort(begun, "the client left") for begun in self.attempts if not begun.ended)

    def _tell[**P](self, event: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """A bug of ours must not cost the client its answer: from then on upstream's passes as it comes."""
        try:
            event(*args, **kwargs)
        except Exception:
            if self._now is not self._healing:
                raise
            logger.exception("an exchange failed inside the proxy, its answer passes unseen; this is a bug")
            self._fall_back()
        if self.pass_through is not None and self.pass_through.done and self._progress.state is State.PASSING:
            self._progress.close("failed")
            self.meta.update(outcome=self.outcome)

    # After a bug.

    def _fall_back(self) -> None:
        answer, current = self._in_turn.delivery.answer, self._progress.current
        if current is not None and current.busy:
            self._crash()  # nobody can tell what has been made of what has come
            return
        if self._asking.rewrites and not self._gives_as_it_is(current):
            self._start_over(current)
            return
        passing = PassThrough(self.request, self.actions, begun=answer.begun, done=answer.finished)
        try:
            if current is not None:
                passing.adopt(current)
            elif not self.attempts:
                self.attempts.append(passing.ask(self._eligible[0], self._clock.now()))
        except Exception:
            logger.exception("what had come could not be passed on")
            self._crash()
        else:
            self._pass(passing)

    def _gives_as_it_is(self, current: Attempt | None) -> bool:
        """Whether what has come is what the client can take: a whole answer, although a stream was asked for."""
        came_whole = current is not None and current.status is not None and current.gate is None
        return came_whole and self._asking.crossing is None

    def _start_over(self, current: Attempt | None) -> None:
        """What has come is not what the client can take: ask for what it asked for, if upstream speaks as it does."""
        if self._asking.crossing is not None or self._in_turn.delivery.answer.begun:
            self._crash()
            return
        if current is not None and not current.ended:
            current.has_ended(End.ABORTED)
            self.actions.append(Abort(current, "internal error of the proxy"))
        passing = PassThrough(self.request, self.actions, begun=False, done=False)
        account = current.account if current is not None else self._eligible[0]
        self.attempts.append(passing.ask(account, self._clock.now(), len(self.attempts) + 1))
        self._pass(passing)

    def _pass(self, passing: PassThrough) -> None:
        self._progress.pass_on()
        self._now = self.pass_through = passing

    def _crash(self) -> None:
        self._progress.crash()
        self._now = Events()
