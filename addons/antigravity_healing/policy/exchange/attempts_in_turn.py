"""The attempts of one exchange one after the other, and what each one's end leads to."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from antigravity_healing.policy.exchange.actions import Action, Start, Work
from antigravity_healing.policy.exchange.attempt import Attempt, AttemptState
from antigravity_healing.policy.exchange.attempt_ends import AttemptEnds
from antigravity_healing.policy.exchange.delivery import Delivery
from antigravity_healing.policy.exchange.given import Rules, Shared
from antigravity_healing.policy.exchange.holder_search import HolderSearch
from antigravity_healing.policy.exchange.named_things import NamedThings
from antigravity_healing.policy.exchange.next_attempt import Next, Planner
from antigravity_healing.policy.exchange.progress import Progress, State
from antigravity_healing.policy.exchange.request_repairs import RequestRepairs
from antigravity_healing.policy.exchange.spending import Spending
from antigravity_healing.policy.exchange.story import Story
from antigravity_healing.policy.exchange.timing import Timing
from antigravity_healing.policy.exchange.upstream_requests import UpstreamRequests
from antigravity_healing.policy.journal.records import GOES_ON, Step
from antigravity_healing.policy.judging.failures import Failure, FailureClass, shortened
from antigravity_healing.policy.judging.written import Rewriting
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest, takes_time
from antigravity_healing.policy.signing.repairs import Prepared
from antigravity_healing.policy.signing.rules import RepairRule


class AttemptsInTurn:
    """Begins attempts, and decides what follows when one has failed or has not said all.

    actions: what is to be done, in order. progress: how far the exchange has come.
    timing: what is waited for. delivery: what the client gets.
    """

    def __init__(
        self,
        request: ClientRequest,
        eligible: Sequence[Account],
        rules: Rules,
        shared: Shared,
        upstream_requests: UpstreamRequests,
    ) -> None:
        self.actions: deque[Action] = deque()
        self.progress = Progress()
        self.timing = Timing(rules.peek)
        self._request = request
        self._accounts, self._budget, self._clock = shared.accounts, shared.budget, shared.clock
        self._eligible = tuple(eligible)
        self._upstream_requests = upstream_requests
        self._planned = Next(None)
        self._things = NamedThings(request, eligible, shared.signatures, shared.clock)
        self._planner = self._planner_for(self._things.holders, rules, shared)
        self._repairs = RequestRepairs(request, upstream_requests.asked, shared.signatures, rules.repair, shared.clock)
        # Of a long request this is the longest work; here it is done beside the event loop.
        self._repairs.make_ready(eligible[0], upstream_requests.asked)
        self._is_long = takes_time(upstream_requests.asked.body)
        self._story = Story(request, shared.journal, shared.clock)
        self._ends = AttemptEnds(request, rules.limits, shared.accounts, self._planner, shared.clock, self.actions)
        self.delivery = Delivery(
            request,
            rules,
            shared.clock,
            self.actions,
            upstream_requests=upstream_requests,
            repairs=self._repairs,
            planner=self._planner,
            ends=self._ends,
            things=self._things,
            story=self._story,
            progress=self.progress,
        )

    def _planner_for(self, holders: Sequence[Account], rules: Rules, shared: Shared) -> Planner | HolderSearch:
        """What plans the attempts. holders: the accounts to ask first."""
        request = self._request
        if request.operation.kind == "other":
            # As long as nobody knows better, the one that all else of this kind goes to.
            return HolderSearch(holders[:1], self._eligible, Spending(rules.retry, shared.budget))
        return Planner(
            holders, shared.accounts, shared.budget, rules.retry, shared.random, request.route.model, request.session
        )

    def start(self) -> None:
        """The client's request is complete."""
        now, request = self._clock.now(), self._request
        self._budget.request(now)
        self._story.tell("received", f"{request.method} {shortened(request.path, 200)} {request.model}".strip())
        self._choose_and_begin(now)

    # An attempt.

    def _choose_and_begin(self, now: float) -> None:
        """Make an attempt on whichever account is free, or tell the client that none is."""
        plan = self._planner.first(now)
        if not isinstance(plan, Next):
            last = self.delivery.attempts[-1] if self.delivery.attempts else None
            if last is not None and last.failure is not None:
                # It may have ended by itself, and be what the client gets.
                self.progress.turn_to(last)
                self.delivery.give_up(last, last.failure)
            else:
                self.delivery.refuse(plan, now)
            return
        if plan.wait_s:
            self._story.tell("wait", "every account is cooling", wait_s=plan.wait_s)
        self._make_when_due(plan, now)

    def _make_when_due(self, plan: Next, now: float) -> None:
        """Make the planned attempt, now or when its wait is over."""
        self._planned = plan
        if plan.wait_s:
            self.timing.resume_at = now + plan.wait_s
        else:
            self._make_planned(now)

    def _make_planned(self, now: float) -> None:
        if self._planned.account is not None:
            self._begin(self._planned.account, now, renew=self._planned.renew)
        else:
            self._choose_and_begin(now)

    def _begin(self, account: Account, now: float, *, renew: bool = False) -> None:
        model, upstream_requests = self._request.route.model, self._upstream_requests
        attempt = Attempt(len(self.delivery.attempts) + 1, account, model, upstream_requests.asked, now, renew)
        attempt.tries = (
            attempt.number - self._repairs.count - upstream_requests.extra - self._planner.spending.uncounted
        )
        self._story.attempt_changed(attempt)
        self.delivery.attempts.append(attempt)
        self.progress.turn_to(attempt)
        self._things.begin()
        attempt.use = self._accounts.begin_use(account, model, now)
        beside = upstream_requests.continues or (
            self._is_long and not self._repairs.is_ready(account, upstream_requests.asked)
        )
        self.work(attempt, partial(self._prepare, attempt), partial(self._send, attempt), beside=beside)

    def _prepare(self, attempt: Attempt) -> Prepared:
        attempt.writer = self._upstream_requests.writer(attempt.seed(self._request.id))
        return self._repairs.prepare(attempt.account, attempt.asked)

    def _send(self, attempt: Attempt, prepared: Prepared) -> None:
        attempt.prepared = prepared
        self._story.attempt_changed(attempt)
        how = ", ".join((attempt.account.upstream_name, *self._upstream_requests.in_words, *_repaired(prepared)))
        self._story.tell("attempt", how, attempt=attempt)
        self.actions.append(Start(attempt))
        attempt.state = AttemptState.SENT

    # What follows it.

    def fail(self, attempt: Attempt, failure: Failure) -> None:
        """An attempt did not serve and nothing of it has reached the client: try again, or give up."""
        failure = self._ends.blame(attempt, failure)
        self._ends.settle_account(attempt, failure)
        if failure.kind is FailureClass.NOT_THEIRS:
            self._planner.widen(self._eligible)
        beside = self._is_long and failure.kind in (FailureClass.SIGNATURE, FailureClass.CALLER)
        remedy, then = partial(self._remedy, attempt, failure), partial(self._retry_or_give_up, attempt, failure)
        self.work(attempt, remedy, then, beside=beside)

    def _remedy(self, attempt: Attempt, failure: Failure) -> tuple[RepairRule | None, str]:
        """The repair that helps against this failure, and what is conceded in words, if anything is."""
        rule = self._repairs.after(attempt, failure)
        return rule, "" if rule else self._upstream_requests.concede(attempt, failure)

    def _retry_or_give_up(self, attempt: Attempt, failure: Failure, remedy: tuple[RepairRule | None, str]) -> None:
        now, (rule, conceded) = self._clock.now(), remedy
        same = rule is not None or bool(conceded)
        plan = self._planner.repaired(attempt) if same else self._planner.after(attempt, failure, now)
        if plan is None:
            self.delivery.give_up(attempt, failure)
            return
        step: Step = "repair" if rule else "retry"
        text = rule.says if rule else conceded or _where(plan, attempt)
        verdict = f"repair ({rule.name})" if rule else f"retry {text}"
        self._story.attempt_over(attempt, f"{verdict} after {plan.wait_s:.2f} s")
        self._story.tell(step, text, attempt=attempt, wait_s=plan.wait_s, repair=rule.name if rule else "")
        self._ends.abort(attempt, failure.detail)
        self.progress.wait()
        self._make_when_due(plan, now)

    def continue_after(self, attempt: Attempt, writer: Rewriting) -> None:
        """Upstream has more to say: it is asked to go on, and the client gets that in the same answer."""

        def ask_again() -> bool:
            if goes_on := self._upstream_requests.continue_after(writer):
                self._repairs.keep_signed(attempt)
            return goes_on

        self.work(attempt, ask_again, partial(self._continue_or_give_up, attempt), beside=self._is_long)

    def _continue_or_give_up(self, attempt: Attempt, goes_on: bool) -> None:
        now = self._clock.now()
        if not goes_on:
            self.delivery.give_up(attempt, Failure(FailureClass.MALFORMED, "the answer does not come to an end"))
            return
        self._ends.settle_account(attempt, None)
        self._story.attempt_over(attempt, GOES_ON)
        self._story.tell("continued", attempt=attempt)
        self._ends.leave(attempt)
        self.progress.wait()
        self._make_when_due(Next(attempt.account), now)

    def work[T](self, attempt: Attempt, work: Callable[[], T], then: Callable[[T], None], *, beside: bool) -> None:
        """Do work and go on with what it gives: at once, or, if it may take time, `beside` everything else.

        The work touches what belongs to this attempt, or is between attempts, and nothing else.
        """
        if not beside:
            then(work())
            return
        attempt.work_running = True
        self.actions.append(Work(attempt, work, then))

    # Time.

    @property
    def deadline(self) -> float | None:
        """When something is due, None if nothing waits for time."""
        return self.timing.deadline(self.progress.current, self.delivery.answer)

    def make_planned_if_due(self, now: float) -> None:
        """Make the attempt that was planned, if the wait before it is over."""
        if self.timing.resumes(now):
            self._make_planned(now)

    def keep_waiting_if_due(self, now: float) -> None:
        """Give a client that has waited for so long a sign of life."""
        over = self.progress.state is State.OVER
        due = None if over else self.timing.sign_of_life(self.progress.current, self.delivery.answer)
        if due is not None and now >= due:
            stream, since = self.timing.held, self.timing.held_since
            assert stream is not None
            assert since is not None
            self.delivery.keep_alive(stream, now - since)

    # The end from outside.

    def client_left(self) -> None:
        """The client is gone: what runs for it is ended."""
        self.timing.resume_at = None
        self.delivery.client_left()

    def shut_down(self, failure: Failure) -> None:
        """The proxy ends before anything of an answer has reached the client, which is told so."""
        self.timing.resume_at = None
        self.delivery.shut_down(failure)


def _repaired(prepared: Prepared) -> tuple[str, ...]:
    return (f"repaired ({', '.join(prepared.repaired)})",) if prepared.repaired else ()


def _where(plan: Next, attempt: Attempt) -> str:
    """Where the attempt after this one goes, in words."""
    if plan.account is None:
        return "when an account is free"
    return "on the same account" if plan.account is attempt.account else f"on {plan.account.name}"
