"""One client request and everything done to answer it.

Sans-io: what happens is told by method calls, what is to be done is left in `actions`. Whoever carries the actions out
(`antigravity_healing.proxy.streams.layer`) holds no policy of its own.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, override

from antigravity_healing.policy.exchange.actions import Abort, Action, Work
from antigravity_healing.policy.exchange.answer_reader import AnswerReader
from antigravity_healing.policy.exchange.attempt import Attempt, UpstreamEnd
from antigravity_healing.policy.exchange.attempts_in_turn import AttemptsInTurn
from antigravity_healing.policy.exchange.events import Events
from antigravity_healing.policy.exchange.given import Rules, Shared
from antigravity_healing.policy.exchange.healing import Healing
from antigravity_healing.policy.exchange.pass_through import PassThrough
from antigravity_healing.policy.exchange.phase import Phase, phase_of
from antigravity_healing.policy.exchange.progress import State
from antigravity_healing.policy.exchange.upstream_requests import UpstreamRequests
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest
from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.policy.translating.translation import translation_between
from antigravity_healing.wire.http.headers import Headers

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
        self._started_at = shared.clock.now()
        upstream = eligible[0].upstream
        translation = None
        if upstream.dialect != request.dialect.name:
            translation = translation_between(request.dialect.name, upstream.dialect)(
                request, upstream, rules.translate, shared.signatures, shared.clock
            )  # fmt: skip
        self._upstream_requests = UpstreamRequests(
            request,
            translation,
            upstream.url,
            shared.unsupported,
            upgrade=rules.retry.upgrade,
            longest=rules.limits.answer_bytes,
        )
        self._in_turn = AttemptsInTurn(request, eligible, rules, shared, self._upstream_requests)
        self._progress = self._in_turn.progress
        reader = AnswerReader(request, rules, shared.clock, self._upstream_requests, self._in_turn)
        self._healing = Healing(self._in_turn, reader, shared.clock)
        self._handler: Events = self._healing

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

    def age_s(self, now: float) -> float:
        """For how many seconds it has been there by now (monotonic seconds)."""
        return max(0.0, now - self._started_at)

    def phase(self, now: float) -> Phase:
        """What it is at now (monotonic seconds)."""
        return phase_of(self._in_turn, now)

    @property
    def deadline(self) -> float | None:
        """When `wakeup` is due, None if nothing waits for time."""
        going_on = self._progress.state in (State.WAITING, State.UNDER_WAY)
        return self._healing.deadline if going_on else None

    # What happens. `Events` says what each is; it is told to whatever handles it now.

    @override
    def start(self) -> None:
        self._tell(self._handler.start)

    @override
    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        self._tell(self._handler.head, attempt, status, headers)

    @override
    def data(self, attempt: Attempt, data: bytes) -> None:
        self._tell(self._handler.data, attempt, data)

    @override
    def read_data(self) -> None:
        self._tell(self._handler.read_data)

    @override
    def body_ended(self, attempt: Attempt, broken: str = "") -> None:
        self._tell(self._handler.body_ended, attempt, broken)

    @override
    def killed(self, attempt: Attempt) -> None:
        self._tell(self._handler.killed, attempt)

    @override
    def malformed(self, attempt: Attempt, flaw: str) -> None:
        self._tell(self._handler.malformed, attempt, flaw)

    @override
    def no_credential(self, attempt: Attempt, why: str, *, lasting: bool = False) -> None:
        self._tell(self._handler.no_credential, attempt, why, lasting=lasting)

    @override
    def on_its_way(self, attempt: Attempt, since: float) -> None:
        self._tell(self._handler.on_its_way, attempt, since)

    @override
    def held_up(self, attempt: Attempt) -> None:
        self._tell(self._handler.held_up, attempt)

    @override
    def client_behind(self, behind: bool) -> None:
        self._tell(self._handler.client_behind, behind)

    @override
    def held_by_hook(self, attempt: Attempt | None, on: bool) -> None:
        self._tell(self._handler.held_by_hook, attempt, on)

    @override
    def wakeup(self) -> None:
        self._tell(self._handler.wakeup)

    @override
    def worked(self, action: Work, found: Any, failure: Exception | None = None) -> None:
        self._tell(self._handler.worked, action, found, failure)

    @override
    def shut_down(self) -> None:
        self._tell(self._handler.shut_down)

    def client_left(self) -> None:
        """The client is gone: whatever runs for it is ended."""
        if self._progress.state is State.OVER:
            return
        if self._handler is self._healing:
            self._in_turn.client_left()
            return
        self._in_turn.delivery.passed_unseen(left=not self.crashed)
        self.actions.extend(Abort(begun, "the client left") for begun in self.attempts if not begun.ended)

    def _tell[**P](self, event: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """A bug of ours must not cost the client its answer: from then on upstream's passes as it comes."""
        try:
            event(*args, **kwargs)
        except Exception:
            if self._handler is not self._healing:
                raise
            logger.exception("an exchange failed inside the proxy, its answer passes unseen; this is a bug")
            self._fall_back()
        if self.pass_through is not None and self.pass_through.done and self._progress.state is State.PASSING:
            self._in_turn.delivery.passed_unseen(left=False)

    # After a bug.

    def _fall_back(self) -> None:
        answer, current = self._in_turn.delivery.answer, self._progress.current
        if answer.opened or (current is not None and current.work_running):
            self._crash()  # nobody can tell what has been made of what has come
            return
        if self._rewrites(current) and not self._gives_as_it_is(current):
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

    def _rewrites(self, current: Attempt | None) -> bool:
        """Whether the client is to get something else than what comes."""
        gate = current.gate if current is not None else None
        return self._upstream_requests.rewrites or (gate is not None and gate.rewrites)

    def _gives_as_it_is(self, current: Attempt | None) -> bool:
        """Whether what has come is what the client can take: a whole answer, although a stream was asked for."""
        came_whole = current is not None and current.status is not None and current.gate is None
        return came_whole and self._upstream_requests.translation is None

    def _start_over(self, current: Attempt | None) -> None:
        """What has come is not what the client can take: ask for what it asked for, if upstream speaks as it does."""
        if self._upstream_requests.translation is not None or self._in_turn.delivery.answer.begun:
            self._crash()
            return
        if current is not None and not current.ended:
            current.has_ended(UpstreamEnd.ABORTED)
            self.actions.append(Abort(current, "internal error of the proxy"))
        passing = PassThrough(self.request, self.actions, begun=False, done=False)
        account = current.account if current is not None else self._eligible[0]
        self.attempts.append(passing.ask(account, self._clock.now(), len(self.attempts) + 1))
        self._pass(passing)

    def _pass(self, passing: PassThrough) -> None:
        self._progress.pass_on()
        self._handler = self.pass_through = passing

    def _crash(self) -> None:
        self._progress.crash()
        self._handler = Events()  # nothing that happens matters any more
