"""One client request and everything done to answer it.

Sans-io: what happens is told by method calls, what is to be done is left in `actions`. Whoever carries the actions out
(`healing.proxy.layer`) holds no policy of its own.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import wraps
from random import Random
from typing import Any, Concatenate

from healing.policy import retry
from healing.policy.accounts import Account, Accounts
from healing.policy.actions import Abort, Action, ClientRequest, Clock, Rules, Start
from healing.policy.answer import Answer
from healing.policy.attempt import Attempt
from healing.policy.blind import Blind
from healing.policy.failures import Failure, FailureClass
from healing.policy.journal import Journal
from healing.policy.judge import judge_whole
from healing.policy.peek import EMPTY_CLASS, Gate
from healing.policy.planner import Next, Planner
from healing.policy.repair.mender import Mender
from healing.policy.signatures import SignatureStore
from healing.policy.story import Story
from healing.policy.timing import Timing
from healing.wire import headers as http
from healing.wire.collect import LONGEST
from healing.wire.encoding import DecodingError, Decompressor
from healing.wire.headers import Headers

logger = logging.getLogger(__name__)


def _guarded[**P](method: Callable[Concatenate["Exchange", P], None]) -> Callable[Concatenate["Exchange", P], None]:
    """A bug of ours must not cost the client its answer: from then on upstream's passes as it comes."""

    @wraps(method)
    def call(self: "Exchange", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.blind is None:
            try:
                method(self, *args, **kwargs)
            except Exception:
                logger.exception("an exchange failed inside the proxy, its answer passes unseen; this is a bug")
                self._go_blind()
        elif passes := getattr(self.blind, method.__name__, None):
            passes(*args, **kwargs)
        self._end_if_passed()

    return call


class Exchange:
    """Decides what becomes of one client request.

    actions: what is to be done, in order; whoever does it takes it from the left.
    blind: what passes upstream's answer through after a bug; crashed: whether not even that is possible.
    outcome: "" while it runs, then `clean`, `healed` or `failed`.
    meta: what is kept of it in the client's flow: JSON-serialisable, without secrets.
    """

    def __init__(
        self,
        request: ClientRequest,
        eligible: Sequence[Account],
        accounts: Accounts,
        budget: retry.RetryBudget,
        rules: Rules,
        journal: Journal,
        clock: Clock,
        random: Random,
        signatures: SignatureStore | None = None,
    ) -> None:
        self.request = request
        self.actions: deque[Action] = deque()
        self.outcome = ""
        self.blind: Blind | None = None
        self.crashed = False
        self._eligible = tuple(eligible)
        self.attempts: list[Attempt] = []
        self.meta: dict[str, Any] = {}
        self._accounts = accounts
        self._budget = budget
        self._rules = rules
        self._clock = clock
        self._planner = Planner(eligible, accounts, budget, rules.retry, random, request.route.model, request.session)
        self._answer = Answer(request, rules, self.actions)
        self._mender = Mender(request, signatures, rules.repair, clock)
        self._current: Attempt | None = None
        self._next = Next(None)
        self._timing = Timing(request, rules.peek)
        self._story = Story(request, journal, clock)

    # What happens.

    @_guarded
    def start(self) -> None:
        """The client's request is complete."""
        now, request = self._clock.now(), self.request
        self._budget.request(now)
        self._story.tell("received", f"{request.method} {request.path} {request.model}".strip())
        self._choose_and_begin(now)

    @_guarded
    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        """The response headers of an attempt have come."""
        if attempt is not self._current:
            return
        now, request = self._clock.now(), self.request
        attempt.status, attempt.headers, attempt.head_at, attempt.last_byte_at = status, headers, now, now
        attempt.note(request.id)
        try:
            attempt.decompressor = Decompressor(http.get(headers, "content-encoding") or "")
        except ValueError as error:
            self._fail(attempt, Failure(FailureClass.MALFORMED, str(error)))
            return
        if not (200 <= status < 300 and request.operation.kind == "generate" and request.streams):
            return
        if not request.operation.sse:
            attempt.raw = True
            self._deliver_stream(attempt)
        elif not (http.get(headers, "content-type") or "").lower().startswith("application/json"):
            self._open_gate(attempt, now)

    def _open_gate(self, attempt: Attempt, now: float) -> None:
        rules = self._rules
        attempt.gate = Gate(
            self.request.dialect,
            rules.peek.commit,
            hold=self._planner.may_retry(attempt.tries, now) or self._mender.may_end_unsigned,
            grace_s=rules.retry.grace,
            wall_s=self._clock.wall(),
        )
        self._timing.hold(attempt, now)
        if attempt.gate.committed:
            self._deliver_stream(attempt)

    @_guarded
    def data(self, attempt: Attempt, data: bytes) -> None:
        """More of an attempt's body has come. It is looked at in `settle`, many pieces at once."""
        attempt.pending.append(data)
        attempt.received += len(data)

    @_guarded
    def settle(self) -> None:
        """Look at the data that has come."""
        attempt = self._current
        if attempt is None or not attempt.pending:
            return
        data = b"".join(attempt.pending)
        attempt.pending.clear()
        attempt.last_byte_at = self._clock.now()
        try:
            data = attempt.decompressor.decode(data) if attempt.decompressor else data
        except DecodingError as error:
            wrong = f"the body is not what its content-encoding says: {error}"
            self._stop_short(attempt, Failure(FailureClass.MALFORMED, wrong))
            return
        if attempt.gate is not None:
            attempt.incoming = data
            out = attempt.gate.feed(data)
            attempt.incoming, attempt.outgoing = b"", out
            self._through_gate(attempt, out)
        elif attempt.raw:
            self._pass_raw(attempt, data)
            if len(attempt.whole) <= LONGEST:
                attempt.whole += data
        else:
            attempt.whole += data

    def _pass_raw(self, attempt: Attempt, data: bytes, *, last: bool = False) -> None:
        """Pass on a piece of a body that is not looked into, but for the secrets in it."""
        data = attempt.redactor.redact(attempt.kept_back + data)
        safe = len(data) if last else len(data) - attempt.redactor.unfinished(data)
        attempt.kept_back = data[safe:]
        self._answer.send(data[:safe], self._clock.now())

    @_guarded
    def end(self, attempt: Attempt, broken: str = "") -> None:
        """An attempt's body has ended in the regular way, or its connection failed: `broken` says how."""
        self.settle()
        attempt.ended = True
        if self.blind is not None:
            self.blind.end(attempt, broken)
        if attempt is not self._current or self.blind is not None:
            return
        if attempt.gate is not None:
            self._through_gate(attempt, attempt.gate.end(broken))
            self._succeed_if_current(attempt)
        elif attempt.raw:
            self._pass_raw(attempt, b"", last=True)
            if broken:
                cut = f"Stream ended in the middle of the answer: {broken}"
                self._break_off(attempt, Failure(FailureClass.CUT, cut))
            self._succeed_if_current(attempt)
        elif not broken:
            self._judge_whole(attempt)
        elif attempt.status is not None:
            self._fail(attempt, Failure(FailureClass.CUT, f"the answer was cut: {broken}"))
        else:
            self._fail(attempt, Failure(FailureClass.TRANSPORT, broken))

    @_guarded
    def killed(self, attempt: Attempt) -> None:
        """A person, or another addon, ended this attempt: that is no failure to heal."""
        attempt.ended = True
        if attempt is self._current:
            self._settle_account(attempt, None, judged=False)
            self._give_up(attempt, Failure(FailureClass.TRANSPORT, "the attempt was killed in mitmproxy"))

    @_guarded
    def no_credential(self, attempt: Attempt, why: str) -> None:
        """The credential of an attempt's account could not be had; nothing was sent."""
        attempt.ended = True
        self._fail(attempt, Failure(FailureClass.AUTH, f"no credential for account {attempt.account.name}: {why}", 401))

    def client_left(self) -> None:
        """The client is gone: whatever runs for it is ended."""
        if self.outcome:
            return
        attempt = self._current
        if self.blind is not None or self.crashed:
            self.outcome = "failed"
            self.actions.extend(Abort(begun, "the client left") for begun in self.attempts if not begun.ended)
            return
        if attempt is not None:
            self._settle_account(attempt, None, judged=False)
            if attempt.delivering:
                self._mender.over(attempt)
            attempt.note(self.request.id, "the client left", self._clock.now())
            self._abort(attempt, "the client left")
        self._timing.resume_at = None
        self._story.tell("client_left", "", attempt=attempt)
        self._close("failed")

    def _go_blind(self) -> None:
        self.blind = Blind(self.request, self.actions, begun=self._answer.begun, done=self._answer.finished)
        try:
            if self._current is not None:
                self.blind.adopt(self._current)
            elif not self.attempts:
                self.blind.start(self._eligible[0], self._clock.now())
        except Exception:
            logger.exception("what had come could not be passed on")
            self.blind = None
            self.crashed = True

    def _end_if_passed(self) -> None:
        if self.blind is not None and self.blind.done and not self.outcome:
            self._current = None
            self.outcome = "failed"
            self.meta.update(outcome=self.outcome)

    # Time.

    @property
    def deadline(self) -> float | None:
        """When `wakeup` is due, None if nothing waits for time."""
        if self.blind is not None or self.outcome:
            return None
        return self._timing.deadline(self._current, self._answer)

    @_guarded
    def wakeup(self) -> None:
        """Time has passed: do what is due by now."""
        now, timing = self._clock.now(), self._timing
        if timing.resumes(now):
            self._go_on(now)
        stall = timing.stall(self._current)
        if stall and now >= stall[0]:
            assert self._current is not None
            self._stop_short(self._current, Failure(FailureClass.STALLED, stall[1], 504))
        hold_until = None if self.outcome else timing.sign_of_life(self._current, self._answer)
        if hold_until is not None and now >= hold_until:
            self._keep_waiting(now)

    def _keep_waiting(self, now: float) -> None:
        stream, since = self._timing.held, self._timing.held_since
        assert stream is not None
        assert since is not None
        if not self._answer.begun:
            self._story.tell("hold", f"{now - since:.0f} s without content", attempt=stream)
            self._answer.begin_stream(stream)
        self._answer.send(self.request.dialect.keep_alive, now)

    # Attempts.

    def _choose_and_begin(self, now: float) -> None:
        plan = self._planner.first(now)
        if not isinstance(plan, Next):
            last = self.attempts[-1] if self.attempts else None
            if last is not None and last.failure is not None:
                self._give_up(last, last.failure)
            else:
                self._refuse(plan, now)
            return
        if plan.wait_s:
            self._story.tell("wait", "every account is cooling", wait_s=plan.wait_s)
        self._follow(plan, now)

    def _begin(self, account: Account, now: float, *, renew: bool = False) -> None:
        request, model = self.request, self.request.route.model
        target = request.path_at(account.upstream.path)
        prepared = self._mender.prepare(account)
        attempt = Attempt(len(self.attempts) + 1, account, model, target, prepared.body, now, renew)
        attempt.betas, attempt.repaired = prepared.betas, prepared.repaired
        attempt.tries = attempt.number - self._mender.count
        attempt.note(request.id)
        self.attempts.append(attempt)
        self._current = attempt
        attempt.probe = self._accounts.take(account, now)
        repaired = f", repaired ({', '.join(prepared.repaired)})" if prepared.repaired else ""
        self._story.tell("attempt", account.upstream_name + repaired, attempt=attempt)
        self.actions.append(Start(attempt))
        attempt.sent = True

    def _follow(self, plan: Next, now: float) -> None:
        """Make the planned attempt, now or when its wait is over."""
        self._next = plan
        if plan.wait_s:
            self._timing.resume_at = now + plan.wait_s
        else:
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._next.account is not None:
            self._begin(self._next.account, now, renew=self._next.renew)
        else:
            self._choose_and_begin(now)

    # Judging.

    def _through_gate(self, attempt: Attempt, out: bytes) -> None:
        gate, now = attempt.gate, self._clock.now()
        assert gate is not None
        if gate.content and attempt.first_content_at is None:
            attempt.first_content_at = now
        if gate.committed:
            self._deliver_stream(attempt)
            # Only whole events come out of the gate, so no secret can hide in two halves.
            self._answer.send(attempt.redactor.redact(out), now)
        attempt.outgoing = b""
        if gate.failure is not None:
            self._break_off(attempt, gate.failure) if gate.committed else self._fail(attempt, gate.failure)

    def _stop_short(self, attempt: Attempt, failure: Failure) -> None:
        """The attempt can't go on; a stream that has said all there is to say is merely ended."""
        if attempt.gate is not None:
            self._through_gate(attempt, attempt.gate.stop_short(failure))
            self._succeed_if_current(attempt)
        elif attempt.raw:
            self._break_off(attempt, failure)
        else:
            self._fail(attempt, failure)

    def _deliver_stream(self, attempt: Attempt) -> None:
        """From now on the client gets this attempt's answer, and no other."""
        if not attempt.delivering:
            attempt.delivering = True
            self._answer.begin_stream(attempt)
            self._story.tell("commit", "", attempt=attempt)

    def _judge_whole(self, attempt: Attempt) -> None:
        """A response that is not a stream of events is complete."""
        status = attempt.status or 502
        attempt.whole_complete = True
        if status >= 400:
            attempt.whole = bytearray(attempt.redactor.redact(bytes(attempt.whole)))
        failure = judge_whole(
            self.request.dialect,
            self.request.operation.kind,
            status,
            attempt.headers,
            bytes(attempt.whole),
            grace_s=self._rules.retry.grace,
            wall_s=self._clock.wall(),
        )
        if failure is None and self._answer.begun:
            failure = Failure(FailureClass.MALFORMED, "the answer is not an event stream")
        if failure is not None:
            self._fail(attempt, failure)
        else:
            self._succeed_if_current(attempt)

    # Verdicts.

    def _fail(self, attempt: Attempt, failure: Failure) -> None:
        """An attempt did not serve and nothing of it has reached the client: try again, or give up."""
        now = self._clock.now()
        failure = attempt.blame(failure)
        self._settle_account(attempt, failure)
        if rule := self._mender.after(attempt, failure):
            plan = self._planner.repaired(attempt)
            attempt.note(self.request.id, f"repair ({rule.name}) after {plan.wait_s:.2f} s", now)
            self._story.tell("repair", rule.says, attempt=attempt, failure=failure, wait_s=plan.wait_s)
            self._leave(attempt, failure, plan, now)
            return
        next_plan = self._planner.after(attempt, failure, now)
        if next_plan is None:
            self._give_up(attempt, failure)
            return
        plan, account = next_plan, next_plan.account
        if account is None:
            where = "when an account is free"
        else:
            where = "on the same account" if account is attempt.account else f"on {account.name}"
        attempt.note(self.request.id, f"retry {where} after {plan.wait_s:.2f} s", now)
        self._story.tell("retry", where, attempt=attempt, failure=failure, wait_s=plan.wait_s)
        self._leave(attempt, failure, plan, now)

    def _leave(self, attempt: Attempt, failure: Failure, plan: Next, now: float) -> None:
        """End an attempt, and follow the plan."""
        self._abort(attempt, failure.detail)
        self._current = None
        self._follow(plan, now)

    def _give_up(self, attempt: Attempt, failure: Failure) -> None:
        """No other try: the client gets the real cause."""
        now = self._clock.now()
        failure = attempt.blame(failure)
        self._settle_account(attempt, failure)
        told = self._mender.to_tell(attempt, failure)
        if told is not attempt:
            self._abort(attempt, failure.detail)
            attempt.note(self.request.id, "repaired in vain", now)
            attempt, failure, self._current = told, told.failure or failure, told
            self._answer.attempts = len(self.attempts)
        attempt.note(self.request.id, "deliver", now if attempt.ended else None)
        attempt.told = True
        self._story.tell("gave_up", "", attempt=attempt, failure=failure)
        gate = attempt.gate
        whole = not attempt.aborted or attempt is self._mender.refused
        if gate is not None and gate.relayed_error is None and gate.empty and whole:
            out = gate.deliver_empty()
            self._deliver_stream(attempt)
            self._answer.send(attempt.redactor.redact(out), now)
            self._succeed_if_current(attempt, only_if=attempt.ended)
            return
        self._abort(attempt, failure.detail)
        attempt.note(self.request.id, "deliver", now)
        if attempt.whole_complete and not self._answer.begun:
            # An error that came with status 200 is told with the status that it means.
            answered = (attempt.status or 0) >= 300 or failure.kind in EMPTY_CLASS.values()
            self._answer.deliver(attempt, "failed", now, None if answered else failure.status)
        else:
            self._answer.fail(attempt, failure, self._tried(), now)
        self._finish(attempt, "failed")

    def _tried(self) -> str:
        names = ", ".join(dict.fromkeys(attempt.account.name for attempt in self.attempts))
        count = len(self.attempts)
        return f"Tried {count} time{'' if count == 1 else 's'}, on {names}."

    def _refuse(self, cooling_s: float, now: float) -> None:
        """No attempt can be made: every account is cooling for longer than may be waited."""
        wait_s = max(1, math.ceil(cooling_s))
        message = f"Every account that may serve {self.request.model} is cooling down; the first is free in {wait_s} s."
        self._story.tell("gave_up", message)
        self._answer.refuse(message, wait_s, now)
        self._finish(None, "failed")

    def _break_off(self, attempt: Attempt, failure: Failure) -> None:
        """The answer failed after commit; the gate has told the client so in its dialect already."""
        failure = attempt.blame(failure)
        self._settle_account(attempt, failure)
        attempt.note(self.request.id, "told the client", self._clock.now())
        self._abort(attempt, failure.detail)
        self._story.tell("broke", "", attempt=attempt, failure=failure)
        # A JSON array has no place for an error: a broken connection is the only truth left.
        self._finish(attempt, "failed", broken=failure.detail if attempt.raw else "")

    def _succeed_if_current(self, attempt: Attempt, *, only_if: bool = True) -> None:
        """The attempt has served, unless what came last was a failure and has been dealt with."""
        if attempt is not self._current or not only_if:
            return
        now = self._clock.now()
        if attempt.gate is not None and attempt.failure is None and (empty := attempt.gate.empty):
            attempt.blame(empty)
        self._settle_account(attempt, attempt.failure)
        outcome = "failed" if attempt.failure else "clean" if len(self.attempts) == 1 else "healed"
        if attempt.failure and not attempt.told:
            self._story.tell("gave_up", "", attempt=attempt, failure=attempt.failure)
        attempt.note(self.request.id, "deliver", now)
        self._abort(attempt, "upstream has said all and does not close")
        if not attempt.delivering:
            self._answer.deliver(attempt, outcome, now)
            attempt.delivering = True
        self._finish(attempt, outcome)

    def _finish(self, attempt: Attempt | None, outcome: str, *, broken: str = "") -> None:
        self._answer.finish(broken)
        if attempt is not None and attempt.delivering:
            self._mender.over(attempt)
        if outcome != "failed":
            self._story.tell("delivered", outcome, attempt=attempt)
        self._close(outcome)

    def _close(self, outcome: str) -> None:
        self._current = None
        self.outcome = outcome
        self._story.end(self.meta, outcome, self.attempts, self._planner.waited_s)

    def _abort(self, attempt: Attempt, why: str) -> None:
        if not attempt.ended:
            attempt.ended = attempt.aborted = True
            self.actions.append(Abort(attempt, why))

    def _settle_account(self, attempt: Attempt, failure: Failure | None, *, judged: bool = True) -> None:
        if not attempt.settled:
            attempt.settled = True
            now = self._clock.now()
            self._accounts.settle(attempt.account, attempt.model, failure, now, probe=attempt.probe, judged=judged)

    @property
    def comment(self) -> str:
        """One line for the flow list; "" for an exchange that went as any other."""
        return self._story.comment(self.outcome, self.attempts)
