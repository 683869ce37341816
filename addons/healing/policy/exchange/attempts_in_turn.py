"""The course of one exchange: its attempts one after the other, and what each one's end leads to."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from healing.policy.clock import Clock
from healing.policy.exchange import retry_table
from healing.policy.exchange.actions import LONG_BYTES, Abort, Action, Leave, Rules, Start, Work
from healing.policy.exchange.attempt import Attempt
from healing.policy.exchange.client_answer import Answer
from healing.policy.exchange.clocks import Timing
from healing.policy.exchange.journal import Journal, Step
from healing.policy.exchange.next_attempt import Next, Planner
from healing.policy.exchange.one_holder import OneHolder
from healing.policy.exchange.repairs_of_request import RequestRepairs
from healing.policy.exchange.story import Story
from healing.policy.exchange.upstream_request import UpstreamRequests
from healing.policy.judging.failures import Failure, FailureClass, about_things, bounded, outgrown, shortened
from healing.policy.judging.gate import EMPTY_CLASS, Gate
from healing.policy.judging.written import Rewriting
from healing.policy.routing.accounts import Account, Accounts
from healing.policy.routing.request import ClientRequest, takes_time
from healing.policy.signing.repairs import Prepared
from healing.policy.signing.rules import RepairRule
from healing.policy.signing.store import SignatureStore
from healing.policy.signing.things import Things
from healing.policy.translating.refused_features import Unsupported
from healing.wire.dialect import LateEnd
from healing.wire.json.value import parse
from healing.wire.requests.sizes import tokens_of
from healing.wire.requests.things import may_be_named, named_in_answer, named_in_events

COME_AGAIN_S = 5
"""After so many seconds a proxy that was shut down may be there again."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all exchanges share. signatures: None keeps none."""

    accounts: Accounts
    budget: retry_table.RetryBudget
    journal: Journal
    clock: Clock
    random: Random
    signatures: SignatureStore | None = None
    unsupported: Unsupported = field(default_factory=Unsupported)


class AttemptsInTurn:
    """Begins attempts, and decides what follows when one has failed, served, or been left.

    actions: what is to be done, in order. attempts: all that were begun; current: the one that is under way.
    outcome: "" while it runs, then `clean`, `healed` or `failed`.
    meta: what is kept of it in the client's flow. answer: what the client gets. timing: what is waited for.
    """

    def __init__(
        self,
        request: ClientRequest,
        eligible: Sequence[Account],
        rules: Rules,
        shared: Shared,
        asking: UpstreamRequests,
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
        self._eligible = tuple(eligible)
        self._things = Things(request.things, request.owner, shared.signatures, shared.clock.wall)
        self._seen: set[str] = set()
        self._planner = self._plan_for(self._things.holders(eligible), rules, shared)
        self._asking = asking
        self._limits = rules.limits
        self._repairs = RequestRepairs(request, asking.asked, shared.signatures, rules.repair, shared.clock)
        # Of a long request this is the longest work; here it is done beside the event loop.
        self._repairs.make_ready(eligible[0], asking.asked)
        self._is_long = takes_time(asking.asked.body)
        self._next = Next(None)
        self._story = Story(request, shared.journal, shared.clock)

    def _plan_for(self, holders: Sequence[Account], rules: Rules, shared: Shared) -> Planner | OneHolder:
        """What plans the attempts. holders: the accounts to ask first."""
        request = self.request
        if request.operation.kind == "other":
            # As long as nobody knows better, the one that all else of this kind goes to.
            return OneHolder(holders[:1], self._eligible)
        return Planner(
            holders, shared.accounts, shared.budget, rules.retry, shared.random, request.route.model, request.session
        )

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

    def leave(self) -> None:
        """The client is gone: what runs for it is ended."""
        attempt = self.current
        if attempt is not None:
            self._settle_account(attempt, None, judged=False)
            attempt.note(self.request.id, "the client left", self._clock.now())
            self._abort(attempt, "the client left")
            if attempt.delivering and not attempt.busy:
                self._keep_signed(attempt)
        self.timing.resume_at = None
        self._story.tell("client_left", "", attempt=attempt)
        self._close("failed")

    def abandon(self) -> None:
        """The answer is no matter of the attempts' any more."""
        self.current = None
        self.outcome = "failed"

    @property
    def deadline(self) -> float | None:
        """When something is due, None if nothing waits for time."""
        return self.timing.deadline(self.current, self.answer)

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
        model, asking = self.request.route.model, self._asking
        attempt = Attempt(len(self.attempts) + 1, account, model, asking.asked, asking.asked.body, now, renew)
        attempt.tries = attempt.number - self._repairs.count - asking.extra - self._planner.uncounted
        attempt.note(self.request.id)
        self.attempts.append(attempt)
        self.current = attempt
        self._seen.clear()
        attempt.use = self._accounts.take(account, model, now)
        beside = asking.continues or (self._is_long and not self._repairs.is_ready(account, asking.asked))
        self.work(attempt, partial(self._prepare, attempt), partial(self._start, attempt), beside=beside)

    def _prepare(self, attempt: Attempt) -> Prepared:
        attempt.writer = self._asking.writer(attempt.seed(self.request.id))
        return self._repairs.prepare(attempt.account, attempt.asked)

    def _start(self, attempt: Attempt, prepared: Prepared) -> None:
        attempt.body, attempt.betas, attempt.repaired = prepared
        attempt.note(self.request.id)
        how = ", ".join((attempt.account.upstream_name, *self._asking.says, *_repaired(prepared)))
        self._story.tell("attempt", how, attempt=attempt)
        self.actions.append(Start(attempt))
        attempt.sent = True

    def work[T](self, attempt: Attempt, work: Callable[[], T], then: Callable[[T], None], *, beside: bool) -> None:
        """Do work and go on with what it gives: at once, or, if it may take time, `beside` everything else.

        The work touches what belongs to this attempt, or is between attempts, and nothing else.
        """
        if not beside:
            then(work())
            return
        attempt.busy = True
        self.actions.append(Work(attempt, work, then))

    def _follow(self, plan: Next, now: float) -> None:
        """Make the planned attempt, now or when its wait is over."""
        self._next = plan
        if plan.wait_s:
            self.timing.resume_at = now + plan.wait_s
        else:
            self._go_on(now)

    def go_on_if_due(self, now: float) -> None:
        """Make the attempt that was planned, if the wait before it is over."""
        if self.timing.resumes(now):
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._next.account is not None:
            self._begin(self._next.account, now, renew=self._next.renew)
        else:
            self._choose_and_begin(now)

    def keep_waiting_if_due(self, now: float) -> None:
        """Give a client that has waited for so long a sign of life, and a status before it."""
        due = None if self.outcome else self.timing.sign_of_life(self.current, self.answer)
        if due is None or now < due:
            return
        stream, since = self.timing.held, self.timing.held_since
        assert stream is not None
        assert since is not None
        if not self.answer.begun:
            self._story.tell("hold", f"{now - since:.0f} s without content", attempt=stream)
            self.answer.begin_stream(stream, "pending")
        self.answer.send(self.request.dialect.keep_alive, now)

    def deliver_stream(self, attempt: Attempt) -> None:
        """From now on the client gets this attempt's answer, and no other."""
        if not attempt.delivering:
            attempt.delivering = True
            gate = attempt.gate
            known = gate is not None and (gate.content or gate.complete)
            self.answer.begin_stream(attempt, self._served() if known else "pending")
            early = gate is not None and gate.overflowed and not gate.complete
            self._story.tell("commit", "more came than is held" if early else "", attempt=attempt)

    def _served(self) -> str:
        """The outcome of an answer that serves."""
        return "healed" if any(attempt.failure for attempt in self.attempts) else "clean"

    # Verdicts.

    def fail(self, attempt: Attempt, failure: Failure) -> None:
        """An attempt did not serve and nothing of it has reached the client: try again, or give up."""
        failure = self._blame(attempt, failure)
        self._settle_account(attempt, failure)
        if failure.kind is FailureClass.NOT_THEIRS:
            self._planner.widen(self._eligible)
        beside = self._is_long and failure.kind in (FailureClass.SIGNATURE, FailureClass.CALLER)
        remedy, then = partial(self._remedy, attempt, failure), partial(self._after, attempt, failure)
        self.work(attempt, remedy, then, beside=beside)

    def _remedy(self, attempt: Attempt, failure: Failure) -> tuple[RepairRule | None, str]:
        """The repair that helps against this failure, and what is conceded in words, if anything is."""
        rule = self._repairs.after(attempt, failure)
        return rule, "" if rule else self._asking.concede(attempt, failure)

    def _after(self, attempt: Attempt, failure: Failure, remedy: tuple[RepairRule | None, str]) -> None:
        now, (rule, conceded) = self._clock.now(), remedy
        same = rule is not None or bool(conceded)
        plan = self._planner.repaired(attempt) if same else self._planner.after(attempt, failure, now)
        if plan is None:
            self._give_up(attempt, failure)
            return
        step: Step = "repair" if rule else "retry"
        text = rule.says if rule else conceded or _where(plan, attempt)
        verdict = f"repair ({rule.name})" if rule else f"retry {text}"
        attempt.note(self.request.id, f"{verdict} after {plan.wait_s:.2f} s", now)
        self._story.tell(step, text, attempt=attempt, failure=failure, wait_s=plan.wait_s)
        self._abort(attempt, failure.detail)
        self.current = None
        self._follow(plan, now)

    def _blame(self, attempt: Attempt, failure: Failure) -> Failure:
        """Remember why an attempt failed, and whose fault that is as far as this request tells."""
        failure = outgrown(bounded(failure, self._limits), lambda: tokens_of(attempt.body, attempt.asked.value))
        return attempt.blame(about_things(failure) if self._things.named else failure)

    def killed(self, attempt: Attempt) -> None:
        """A person, or another addon, ended this attempt."""
        self._settle_account(attempt, None, judged=False)
        self._give_up(attempt, Failure(FailureClass.TRANSPORT, "the attempt was killed in mitmproxy"))

    def _give_up(self, attempt: Attempt, failure: Failure) -> None:
        """No other try: the client gets the real cause."""
        now = self._clock.now()
        failure = attempt.blame(failure)
        self._settle_account(attempt, failure)
        told = self._repairs.to_tell(attempt, failure)
        if told is not attempt:
            self._abort(attempt, failure.detail)
            attempt.note(self.request.id, "repaired in vain", now)
            attempt, failure, self.current = told, told.failure or failure, told
            self.answer.attempts = len(self.attempts)
        attempt.note(self.request.id, "deliver", now if attempt.ended else None)
        attempt.told = True
        self._story.tell("gave_up", "", attempt=attempt, failure=failure)
        gate = attempt.gate
        whole = not attempt.aborted or attempt is self._repairs.refused
        if gate is not None and gate.relayed_error is None and gate.no_answer and whole and not gate.writer.broken:
            self._deliver_anyway(attempt, gate, now)
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

    def _deliver_anyway(self, attempt: Attempt, gate: Gate, now: float) -> None:
        """The client gets the stream that is no answer: it is what upstream said."""
        out = gate.deliver_anyway()
        if gate.writer.whole:
            attempt.collect()
        else:
            attempt.delivering = True
            self.answer.begin_stream(attempt, "failed")
            self.answer.send(attempt.redactor.redact(out), now)
        self.succeed_if_current(attempt)

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

        def ask_again() -> bool:
            if goes_on := self._asking.go_on(writer):
                self._repairs.over(attempt)
            return goes_on

        self.work(attempt, ask_again, partial(self._continue, attempt), beside=self._is_long)

    def _continue(self, attempt: Attempt, goes_on: bool) -> None:
        now = self._clock.now()
        if not goes_on:
            self._give_up(attempt, Failure(FailureClass.MALFORMED, "the answer does not come to an end"))
            return
        self._settle_account(attempt, None)
        attempt.note(self.request.id, "go on", now)
        self._story.tell("continued", "", attempt=attempt)
        self._leave(attempt)
        self.current = None
        self._follow(Next(attempt.account), now)

    def _keep_signed(self, attempt: Attempt) -> None:
        """The answer of this attempt has reached the client, wholly or in part."""
        if attempt.received < LONG_BYTES and not self._is_long:
            self._keep(attempt)
        else:
            self.actions.append(Work(attempt, lambda: self._keep(attempt), lambda _: None))

    def _keep(self, attempt: Attempt) -> None:
        self._repairs.over(attempt)
        self._asking.keep(attempt, self._repairs.sent)

    def _tried(self) -> str:
        names = ", ".join(dict.fromkeys(attempt.account.name for attempt in self.attempts))
        count = len(self.attempts)
        return f"Tried {count} time{'' if count == 1 else 's'}, on {names}."

    def _refuse(self, cooling_s: float, now: float) -> None:
        """No attempt can be made: every account is cooling for longer than may be waited."""
        wait_s = max(1, math.ceil(cooling_s))
        message = self._planner.says_cooling(self.request.model, wait_s)
        self._story.tell("gave_up", message)
        self.answer.refuse(429, message, wait_s, now)
        self._finish(None, "failed")

    def shut_down(self, failure: Failure) -> None:
        """The proxy ends before anything of an answer has reached the client, which is told so."""
        now, attempt = self._clock.now(), self.current
        self.timing.resume_at = None
        if attempt is not None:
            self._settle_account(attempt, None, judged=False)
            attempt.blame(failure)
            attempt.note(self.request.id, "shut down", now)
            self._abort(attempt, failure.detail)
        self._story.tell("gave_up", "", attempt=attempt, failure=failure)
        if self.answer.begun:
            self.answer.fail(self.attempts[-1], failure, self._tried(), self._asking.framing(), now)
        else:
            self.answer.refuse(failure.status, f"{failure.detail}.", COME_AGAIN_S, now)
        self._finish(attempt, "failed")

    def break_off(self, attempt: Attempt, failure: Failure) -> None:
        """The answer failed after commit; the gate has told the client so where its dialect has words for it."""
        failure = self._blame(attempt, failure)
        self._settle_account(attempt, failure)
        attempt.note(self.request.id, "told the client", self._clock.now())
        self._abort(attempt, failure.detail)
        self._story.tell("broke", "", attempt=attempt, failure=failure)
        said = attempt.gate is not None and attempt.gate.relayed_error is not None
        # A JSON array has no place for an error: a broken connection is the only truth left.
        end = LateEnd(broken=True) if attempt.raw else self.request.dialect.late_end(said=said)
        self._finish(attempt, "failed", broken=failure.detail if end.broken else "", end=end)

    def succeed_if_current(self, attempt: Attempt) -> None:
        """The attempt has served, unless what came last was a failure and has been dealt with."""
        if attempt is not self.current:
            return
        now = self._clock.now()
        if attempt.gate is not None and attempt.failure is None and (failure := attempt.gate.no_answer):
            attempt.blame(failure)
        self._settle_account(attempt, attempt.failure)
        outcome = "failed" if attempt.failure else self._served()
        if attempt.failure and not attempt.told:
            self._story.tell("gave_up", "", attempt=attempt, failure=attempt.failure)
        attempt.note(self.request.id, "deliver", now)
        self._leave(attempt)
        if not attempt.delivering:
            self.answer.deliver(attempt, outcome, now)
            attempt.delivering = True
        self._finish(attempt, outcome)

    def _finish(self, attempt: Attempt | None, outcome: str, *, broken: str = "", end: LateEnd | None = None) -> None:
        # Before its end, as the client may say it again at once.
        if attempt is not None and attempt.delivering:
            self._keep_signed(attempt)
            self._learn(attempt)
        self.answer.finish(broken, end)
        if outcome != "failed":
            self._story.tell("delivered", outcome, attempt=attempt)
        self._close(outcome)

    def send(self, data: bytes, now: float) -> None:
        """Send the client more of the answer that is delivered."""
        self.answer.send(data, now)

    def send_events(self, events: bytes, now: float) -> None:
        """Send the client more of it, which are events."""
        self.send(events, now)
        if len(self._eligible) > 1 and self.request.dialect.name == "anthropic":
            self._seen |= named_in_events(events)

    def _learn(self, attempt: Attempt) -> None:
        """The answer has reached the client: its account has what was named."""
        if len(self._eligible) < 2 or not 200 <= (attempt.status or 0) < 300 or attempt.asked.translated:
            return
        if attempt.failure is None or attempt.committed:
            self._things.lie_with(attempt.account, (*self._seen, *self._named_whole(attempt)))

    def _named_whole(self, attempt: Attempt) -> frozenset[str]:
        """What an answer that did not stream names."""
        whole, request = attempt.whole, self.request
        seen = len(whole) < LONG_BYTES and (request.operation.kind == "other" or named_in_events(bytes(whole)))
        if not seen or not may_be_named(request.dialect, request.path, whole):
            return frozenset()
        try:
            return named_in_answer(request.dialect, request.path, parse(whole))
        except ValueError:
            return frozenset()  # the content of a file, say

    def _close(self, outcome: str) -> None:
        self.current = None
        self.outcome = outcome
        self._story.end(self.meta, outcome, self.attempts, self._planner.waited_s, self._asking.says)

    def _leave(self, attempt: Attempt) -> None:
        """The client has all. Upstream is about to end its side, if its own end has come just now."""
        why = "upstream has said all and does not close"
        if attempt.gate is not None and attempt.gate.closed and not attempt.ended:
            self.actions.append(Leave(attempt, why))
        else:
            self._abort(attempt, why)

    def _abort(self, attempt: Attempt, why: str) -> None:
        if not attempt.ended:
            attempt.ended = attempt.aborted = True
            if attempt.sent:
                self.actions.append(Abort(attempt, why))

    def _settle_account(self, attempt: Attempt, failure: Failure | None, *, judged: bool = True) -> None:
        """Tell the account, once, how this attempt ended; `judged` is False where that says nothing of the account."""
        if not attempt.settled and attempt.use is not None:
            attempt.settled = True
            judged = judged and self.request.operation.kind != "other"
            judged = judged and not self._planner.renews(attempt.account, failure)
            self._accounts.settle(attempt.use, failure, self._clock.now(), judged=judged)


def _repaired(prepared: Prepared) -> tuple[str, ...]:
    return (f"repaired ({', '.join(prepared.repaired)})",) if prepared.repaired else ()


def _where(plan: Next, attempt: Attempt) -> str:
    """Where the attempt after this one goes, in words."""
    if plan.account is None:
        return "when an account is free"
    return "on the same account" if plan.account is attempt.account else f"on {plan.account.name}"
