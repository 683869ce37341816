"""The course of one exchange: its attempts one after the other, and what each one's end leads to."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from healing.policy import retry
from healing.policy.accounts import Account, Accounts
from healing.policy.actions import LONG_BYTES, Abort, Action, Clock, Rules, Start, Work
from healing.policy.answer import Answer
from healing.policy.asking import Asking
from healing.policy.attempt import Attempt
from healing.policy.failures import Failure, FailureClass, bounded, shortened
from healing.policy.journal import Journal, Step
from healing.policy.peek import EMPTY_CLASS, Gate
from healing.policy.planner import Next, Planner
from healing.policy.repair.mender import Mender
from healing.policy.repair.repairs import Prepared
from healing.policy.request import ClientRequest
from healing.policy.signatures import SignatureStore
from healing.policy.story import Story
from healing.policy.timing import Timing
from healing.policy.unsupported import Unsupported
from healing.policy.writer import Rewriting


@dataclass(frozen=True, slots=True)
class Shared:
    """What all exchanges share. signatures: None keeps none."""

    accounts: Accounts
    budget: retry.RetryBudget
    journal: Journal
    clock: Clock
    random: Random
    signatures: SignatureStore | None = None
    unsupported: Unsupported = field(default_factory=Unsupported)


class Course:
    """Begins attempts, and decides what follows when one has failed, served, or been left.

    actions: what is to be done, in order. attempts: all that were begun; current: the one that is under way.
    outcome: "" while it runs, then `clean`, `healed` or `failed`.
    meta: what is kept of it in the client's flow. answer: what the client gets. timing: what is waited for.
    """

    def __init__(
        self, request: ClientRequest, eligible: Sequence[Account], rules: Rules, shared: Shared, asking: Asking
    ) -> None:
        self.request = request
        self.actions: deque[Action] = deque()
        self.attempts: list[Attempt] = []
        self.current: Attempt | None = None
        self.outcome = ""
        self.meta: dict[str, Any] = {}
        self.answer = Answer(request, rules, self.actions)
        self.timing = Timing(rules.peek)
        self._accounts, self._budget, self._clock = shared.accounts, shared.budget, shared.clock
        self._planner = Planner(
            eligible, shared.accounts, shared.budget, rules.retry, shared.random, request.route.model, request.session
        )
        self._asking = asking
        self._limits = rules.limits
        self._mender = Mender(request, asking.asked, shared.signatures, rules.repair, shared.clock)
        # Of a long request this is the longest work; here it is done beside the event loop.
        self._mender.make_ready(eligible[0], asking.asked)
        self._next = Next(None)
        self._story = Story(request, shared.journal, shared.clock)

    @property
    def comment(self) -> str:
        """One line for the flow list; "" for an exchange that went as any other."""
        return self._story.comment(self.outcome, self.attempts)

    def start(self) -> None:
        """The client's request is complete."""
        now, request = self._clock.now(), self.request
        self._budget.request(now)
        self._story.tell("received", f"{request.method} {shortened(request.path, 200)} {request.model}".strip())
        self._choose_and_begin(now)

    def may_go_on(self, attempt: Attempt, now: float) -> bool:
        """Whether anything might follow this attempt, so that its answer is worth holding."""
        return self._planner.may_retry(attempt.tries, now) or self._mender.may_end_unsigned

    def leave(self) -> None:
        """The client is gone: what runs for it is ended."""
        attempt = self.current
        if attempt is not None:
            self.settle_account(attempt, None, judged=False)
            attempt.note(self.request.id, "the client left", self._clock.now())
            self._abort(attempt, "the client left")
            if attempt.delivering and not attempt.busy:
                self._keep_signed(attempt)
        self.timing.resume_at = None
        self._story.tell("client_left", "", attempt=attempt)
        self._close("failed")

    # Attempts.

    def _choose_and_begin(self, now: float) -> None:
        plan = self._planner.first(now)
        if not isinstance(plan, Next):
            last = self.attempts[-1] if self.attempts else None
            if last is not None and last.failure is not None:
                self.give_up(last, last.failure)
            else:
                self._refuse(plan, now)
            return
        if plan.wait_s:
            self._story.tell("wait", "every account is cooling", wait_s=plan.wait_s)
        self._follow(plan, now)

    def _begin(self, account: Account, now: float, *, renew: bool = False) -> None:
        request, model, asking = self.request, self.request.route.model, self._asking
        prepared = self._mender.prepare(account, asking.asked)
        attempt = Attempt(len(self.attempts) + 1, account, model, asking.asked, prepared.body, now, renew)
        attempt.betas, attempt.repaired = prepared.betas, prepared.repaired
        attempt.tries = attempt.number - self._mender.count - asking.extra - self._planner.uncounted
        attempt.writer = asking.writer(attempt.seed(request.id))
        attempt.note(request.id)
        self.attempts.append(attempt)
        self.current = attempt
        attempt.use = self._accounts.take(account, model, now)
        how = ", ".join((account.upstream_name, *asking.says, *_repaired(prepared)))
        self._story.tell("attempt", how, attempt=attempt)
        self.actions.append(Start(attempt))
        attempt.sent = True

    def _follow(self, plan: Next, now: float) -> None:
        """Make the planned attempt, now or when its wait is over."""
        self._next = plan
        if plan.wait_s:
            self.timing.resume_at = now + plan.wait_s
        else:
            self.go_on(now)

    def go_on(self, now: float) -> None:
        """Make the attempt that was planned."""
        if self._next.account is not None:
            self._begin(self._next.account, now, renew=self._next.renew)
        else:
            self._choose_and_begin(now)

    def keep_waiting(self, now: float) -> None:
        """Give the waiting client a sign of life, and a status before it."""
        stream, since = self.timing.held, self.timing.held_since
        assert stream is not None
        assert since is not None
        if not self.answer.begun:
            self._story.tell("hold", f"{now - since:.0f} s without content", attempt=stream)
            self.answer.begin_stream(stream)
        self.answer.send(self.request.dialect.keep_alive, now)

    def deliver_stream(self, attempt: Attempt) -> None:
        """From now on the client gets this attempt's answer, and no other."""
        if not attempt.delivering:
            attempt.delivering = True
            self.answer.begin_stream(attempt)
            self._story.tell("commit", "", attempt=attempt)

    # Verdicts.

    def fail(self, attempt: Attempt, failure: Failure) -> None:
        """An attempt did not serve and nothing of it has reached the client: try again, or give up."""
        now = self._clock.now()
        failure = attempt.blame(bounded(failure, self._limits))
        self.settle_account(attempt, failure)
        rule = self._mender.after(attempt, failure)
        conceded = "" if rule else self._asking.concede(attempt, failure)
        same = rule is not None or bool(conceded)
        plan = self._planner.repaired(attempt) if same else self._planner.after(attempt, failure, now)
        if plan is None:
            self.give_up(attempt, failure)
            return
        step: Step = "repair" if rule else "retry"
        text = rule.says if rule else conceded or _where(plan, attempt)
        verdict = f"repair ({rule.name})" if rule else f"retry {text}"
        attempt.note(self.request.id, f"{verdict} after {plan.wait_s:.2f} s", now)
        self._story.tell(step, text, attempt=attempt, failure=failure, wait_s=plan.wait_s)
        self._abort(attempt, failure.detail)
        self.current = None
        self._follow(plan, now)

    def give_up(self, attempt: Attempt, failure: Failure) -> None:
        """No other try: the client gets the real cause."""
        now = self._clock.now()
        failure = attempt.blame(failure)
        self.settle_account(attempt, failure)
        told = self._mender.to_tell(attempt, failure)
        if told is not attempt:
            self._abort(attempt, failure.detail)
            attempt.note(self.request.id, "repaired in vain", now)
            attempt, failure, self.current = told, told.failure or failure, told
            self.answer.attempts = len(self.attempts)
        attempt.note(self.request.id, "deliver", now if attempt.ended else None)
        attempt.told = True
        self._story.tell("gave_up", "", attempt=attempt, failure=failure)
        gate = attempt.gate
        whole = not attempt.aborted or attempt is self._mender.refused
        if gate is not None and gate.relayed_error is None and gate.empty and whole:
            self._deliver_empty(attempt, gate, now)
            return
        self._abort(attempt, failure.detail)
        attempt.note(self.request.id, "deliver", now)
        if attempt.asked.translated and failure.kind in EMPTY_CLASS.values():
            self._translate_empty(attempt)
        if attempt.whole_complete and not self.answer.begun and (attempt.rewritten or not attempt.asked.translated):
            # An error that came with status 200 is told with the status that it means.
            answered = (attempt.status or 0) >= 300 or failure.kind in EMPTY_CLASS.values()
            self.answer.deliver(attempt, "failed", now, None if answered else failure.status)
        else:
            self.answer.fail(attempt, failure, self._tried(), self._asking.framing(), now)
        self._finish(attempt, "failed")

    def _deliver_empty(self, attempt: Attempt, gate: Gate, now: float) -> None:
        """The client gets the stream without content, now or when it has come to its end."""
        out = gate.deliver_empty()
        if attempt.ended:
            out += gate.end()
        if not gate.writer.whole:
            self.deliver_stream(attempt)
            self.answer.send(attempt.redactor.redact(out), now)
        elif attempt.ended:
            attempt.collect()
        self.succeed_if_current(attempt, only_if=attempt.ended)

    def _translate_empty(self, attempt: Attempt) -> None:
        """A whole answer without content is the client's if it can be told at all."""
        # None that is so long is without content for any good reason.
        if not attempt.whole_complete or attempt.rewritten or len(attempt.whole) >= LONG_BYTES:
            return
        try:
            writer = self._asking.rewrite(attempt)
        except ValueError:
            return
        if writer is not None and not writer.broken and not writer.continuation:
            attempt.collect()

    def continue_after(self, attempt: Attempt, writer: Rewriting) -> None:
        """Upstream has more to say: it is asked to go on, and the client gets that in the same answer."""
        now = self._clock.now()
        if not self._asking.go_on(writer):
            self.give_up(attempt, Failure(FailureClass.MALFORMED, "the answer does not come to an end"))
            return
        self.settle_account(attempt, None)
        self._mender.over(attempt)
        attempt.note(self.request.id, "go on", now)
        self._story.tell("continued", "", attempt=attempt)
        self._abort(attempt, "upstream has said all and does not close")
        self.current = None
        self._follow(Next(attempt.account), now)

    def _keep_signed(self, attempt: Attempt) -> None:
        """The answer of this attempt has reached the client, wholly or in part."""
        if attempt.received < LONG_BYTES:
            self._keep(attempt)
        else:
            self.actions.append(Work(attempt, lambda: self._keep(attempt), lambda _: None))

    def _keep(self, attempt: Attempt) -> None:
        self._mender.over(attempt)
        self._asking.keep(attempt, self._mender.sent)

    def _tried(self) -> str:
        names = ", ".join(dict.fromkeys(attempt.account.name for attempt in self.attempts))
        count = len(self.attempts)
        return f"Tried {count} time{'' if count == 1 else 's'}, on {names}."

    def _refuse(self, cooling_s: float, now: float) -> None:
        """No attempt can be made: every account is cooling for longer than may be waited."""
        wait_s = max(1, math.ceil(cooling_s))
        message = self._planner.says_cooling(self.request.model, wait_s)
        self._story.tell("gave_up", message)
        self.answer.refuse(message, wait_s, now)
        self._finish(None, "failed")

    def break_off(self, attempt: Attempt, failure: Failure) -> None:
        """The answer failed after commit; the gate has told the client so in its dialect already."""
        failure = attempt.blame(bounded(failure, self._limits))
        self.settle_account(attempt, failure)
        attempt.note(self.request.id, "told the client", self._clock.now())
        self._abort(attempt, failure.detail)
        self._story.tell("broke", "", attempt=attempt, failure=failure)
        # A JSON array has no place for an error: a broken connection is the only truth left.
        self._finish(attempt, "failed", broken=failure.detail if attempt.raw else "")

    def succeed_if_current(self, attempt: Attempt, *, only_if: bool = True) -> None:
        """The attempt has served, unless what came last was a failure and has been dealt with."""
        if attempt is not self.current or not only_if:
            return
        now = self._clock.now()
        if attempt.gate is not None and attempt.failure is None and (empty := attempt.gate.empty):
            attempt.blame(empty)
        self.settle_account(attempt, attempt.failure)
        healed = any(each.failure for each in self.attempts)
        outcome = "failed" if attempt.failure else "healed" if healed else "clean"
        if attempt.failure and not attempt.told:
            self._story.tell("gave_up", "", attempt=attempt, failure=attempt.failure)
        attempt.note(self.request.id, "deliver", now)
        self._abort(attempt, "upstream has said all and does not close")
        if not attempt.delivering:
            self.answer.deliver(attempt, outcome, now)
            attempt.delivering = True
        self._finish(attempt, outcome)

    def _finish(self, attempt: Attempt | None, outcome: str, *, broken: str = "") -> None:
        # Before its end, as the client may say it again at once.
        if attempt is not None and attempt.delivering:
            self._keep_signed(attempt)
        self.answer.finish(broken)
        if outcome != "failed":
            self._story.tell("delivered", outcome, attempt=attempt)
        self._close(outcome)

    def _close(self, outcome: str) -> None:
        self.current = None
        self.outcome = outcome
        self._story.end(self.meta, outcome, self.attempts, self._planner.waited_s, self._asking.says)

    def _abort(self, attempt: Attempt, why: str) -> None:
        if not attempt.ended:
            attempt.ended = attempt.aborted = True
            self.actions.append(Abort(attempt, why))

    def settle_account(self, attempt: Attempt, failure: Failure | None, *, judged: bool = True) -> None:
        """Tell the account, once, how this attempt ended; `judged` is False where that says nothing of the account."""
        if not attempt.settled and attempt.use is not None:
            attempt.settled = True
            judged = judged and not self._planner.renews(attempt.account, failure)
            self._accounts.settle(attempt.use, failure, self._clock.now(), judged=judged)


def _repaired(prepared: Prepared) -> tuple[str, ...]:
    return (f"repaired ({', '.join(prepared.repaired)})",) if prepared.repaired else ()


def _where(plan: Next, attempt: Attempt) -> str:
    """Where the attempt after this one goes, in words."""
    if plan.account is None:
        return "when an account is free"
    return "on the same account" if plan.account is attempt.account else f"on {plan.account.name}"
