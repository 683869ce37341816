"""What the client gets: an attempt's answer, or why there is none. With its end the exchange is over."""

import math
from collections import deque
from typing import Any

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.actions import LONG_BYTES, Action, Work
from antigravity_healing.policy.exchange.attempt import Attempt, AttemptState
from antigravity_healing.policy.exchange.attempt_ends import AttemptEnds
from antigravity_healing.policy.exchange.client_answer import ClientAnswer
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.exchange.holder_search import HolderSearch
from antigravity_healing.policy.exchange.named_things import NamedThings
from antigravity_healing.policy.exchange.next_attempt import Planner
from antigravity_healing.policy.exchange.progress import Progress
from antigravity_healing.policy.exchange.request_repairs import RequestRepairs
from antigravity_healing.policy.exchange.story import Story
from antigravity_healing.policy.exchange.upstream_requests import UpstreamRequests
from antigravity_healing.policy.journal import findings
from antigravity_healing.policy.journal.records import Finding, Outcome
from antigravity_healing.policy.judging.failures import Failure, FailureClass, counted
from antigravity_healing.policy.judging.gate import EMPTY_CLASS, Gate
from antigravity_healing.policy.judging.upstream_hints import header_wait_s
from antigravity_healing.policy.routing.request import ClientRequest, takes_time
from antigravity_healing.wire.dialect import LateEnd
from antigravity_healing.wire.errors.parsing import UpstreamError, find_error, read_error

COME_AGAIN_S = 5
"""After so many seconds a proxy that was shut down may be there again."""


class Delivery:
    """Delivers to the client of one exchange.

    attempts: all that were begun. answer: what the client gets. meta: what is kept of it in its flow.
    """

    def __init__(
        self,
        request: ClientRequest,
        rules: Rules,
        clock: Clock,
        actions: deque[Action],
        *,
        upstream_requests: UpstreamRequests,
        repairs: RequestRepairs,
        planner: Planner | HolderSearch,
        ends: AttemptEnds,
        things: NamedThings,
        story: Story,
        progress: Progress,
    ) -> None:
        self.attempts: list[Attempt] = []
        self.answer = ClientAnswer(request, rules, actions)
        self.meta: dict[str, Any] = {}
        self._request = request
        self._clock = clock
        self._actions = actions
        self._upstream_requests = upstream_requests
        self._repairs = repairs
        self._planner = planner
        self._ends = ends
        self._things = things
        self._story = story
        self._progress = progress
        self._special: Finding | None = None
        self._is_long = takes_time(upstream_requests.asked.body)

    @property
    def comment(self) -> str:
        """One line for the flow list; "" for an exchange that went as any other."""
        return self._story.comment

    def attempt_changed(self, attempt: Attempt) -> None:
        """More is known of an attempt that runs."""
        self._story.attempt_changed(attempt)

    # An answer as it comes.

    def deliver_stream(self, attempt: Attempt) -> None:
        """From now on the client gets this attempt's answer, and no other."""
        if not attempt.delivering:
            attempt.state, attempt.times.commit_at = AttemptState.DELIVERING, self._clock.now()
            gate = attempt.gate
            known = gate is not None and (gate.content or gate.complete)
            self.answer.begin_stream(attempt, self._served() if known else "pending")
            early = gate is not None and gate.overflowed and not gate.complete
            self._story.tell("commit", "more came than is held" if early else "", attempt=attempt)
        if attempt.gate is None or attempt.gate.content:
            self._story.answer_begun()

    def send_events(self, events: bytes, now: float) -> None:
        """Send the client more of it, which are events."""
        self.send(events, now)
        self._things.see(events)

    def send(self, data: bytes, now: float) -> None:
        """Send the client more of the answer that is delivered."""
        self.answer.send(data, now)

    def keep_alive(self, stream: Attempt, waited_s: float) -> None:
        """Give a client that has waited for so long for this stream a sign of life, and a status before it."""
        if not self.answer.begun:
            self._story.tell("hold", f"{waited_s:.0f} s without content", attempt=stream)
            self.answer.begin_stream(stream, "pending")
        self.answer.keep_alive(self._clock.now())

    # No answer.

    def killed(self, attempt: Attempt) -> None:
        """A person, or another addon, ended this attempt."""
        self._ends.settle_account(attempt, None, judged=False)
        self._special = findings.KILLED
        self.give_up(attempt, Failure(FailureClass.TRANSPORT, "the attempt was killed in mitmproxy"))

    def give_up(self, attempt: Attempt, failure: Failure) -> None:
        """No other try: the client gets the real cause."""
        now = self._clock.now()
        failure = attempt.blame(failure)
        self._ends.settle_account(attempt, failure)
        cause = self._repairs.attempt_to_tell(attempt, failure)
        if cause is not attempt:
            self._ends.abort(attempt, failure.detail)
            self._story.attempt_over(attempt, "repaired in vain")
            attempt, failure = cause, cause.failure or failure
            self._progress.turn_to(cause)
            self.answer.attempts = len(self.attempts)
        attempt.failure_told = True
        self._story.attempt_over(attempt, "deliver")
        self._story.tell("gave_up", self._planner.spending.ended_by, attempt=attempt)
        gate = attempt.gate
        whole = not attempt.aborted or attempt is self._repairs.refused
        if gate is not None and gate.relayed_error is None and gate.no_answer and whole and not gate.writer.broken:
            self._deliver_anyway(attempt, gate, now)
            return
        self._ends.abort(attempt, failure.detail)
        self._tell_failure(attempt, failure, now)
        self._finish(attempt, "failed")

    def _tell_failure(self, attempt: Attempt, failure: Failure, now: float) -> None:
        """The client gets what upstream said of it, if that came whole and can still be sent, or words of our own."""
        is_empty, came = failure.kind in EMPTY_CLASS.values(), attempt.incoming
        if attempt.asked.translated and is_empty:
            self._translate_empty(attempt)
        clients = came.rewritten or not (attempt.asked.translated or self._is_googles(attempt))
        again_s = self._come_again_s(attempt, failure, now)
        if came.whole_complete and clients and not self.answer.begun:
            # An error that came with status 200 is told with the status that it means.
            answered = (attempt.status or 0) >= 300 or is_empty
            self.answer.deliver(attempt, "failed", now, None if answered else failure.status, again_s)
        else:
            self.answer.fail(attempt, failure, self._tried(), self._upstream_requests.framing(), now, again_s)

    def _is_googles(self, attempt: Attempt) -> bool:
        """Whether an error is Vertex AI's own, in words that the client's API does not have."""
        said = attempt.incoming.error.value if attempt.incoming.error is not None else None
        if said is None or not attempt.account.upstream.on_vertex or self._request.vertex is not None:
            return False
        return bool(said != self._request.dialect.shaped(find_error(said)))

    def _come_again_s(self, attempt: Attempt, failure: Failure, now: float) -> int | None:
        """After how many seconds the client may come again, where upstream's own words for that are known to be wrong.

        They are where they are of one limit among several, and where another account is free sooner.
        """
        free_in_s = self._planner.free_in_s(now) if failure.kind is FailureClass.QUOTA else None
        if free_in_s is None or failure.wait_s is None:
            return None
        said_s = header_wait_s(attempt.headers, self._clock.wall())
        if said_s is None and (said := _said(attempt)) is not None:
            said_s = said.delay_s
        is_right = said_s is not None and said_s > free_in_s - 1 and failure.wait_s < free_in_s + 1
        return None if is_right else math.ceil(free_in_s)

    def _translate_empty(self, attempt: Attempt) -> None:
        """A whole answer without content is the client's if it can be told at all."""
        # None that is so long is without content for any good reason.
        if (
            not attempt.incoming.whole_complete
            or attempt.incoming.rewritten
            or len(attempt.incoming.whole) >= LONG_BYTES
        ):
            return
        try:
            writer = self._upstream_requests.rewrite(attempt)
        except ValueError:
            return
        if writer is not None and not writer.broken and not writer.continuation:
            attempt.collect()

    def _deliver_anyway(self, attempt: Attempt, gate: Gate, now: float) -> None:
        """The client gets the stream that is no answer: it is what upstream said."""
        out = gate.deliver_anyway()
        if gate.writer.whole:
            attempt.collect()
        else:
            attempt.state = AttemptState.DELIVERING
            self.answer.begin_stream(attempt, "failed")
            self.answer.send(attempt.redactor.redact(out), now)
        self.succeed_if_current(attempt)

    def break_off(self, attempt: Attempt, failure: Failure) -> None:
        """The answer failed after commit; the gate has told the client so where its dialect has words for it."""
        failure = self._ends.blame(attempt, failure)
        self._ends.settle_account(attempt, failure)
        self._story.attempt_over(attempt, "told the client")
        self._ends.abort(attempt, failure.detail)
        self._story.tell("broke", attempt=attempt)
        upstream_said = attempt.gate is not None and attempt.gate.relayed_error is not None
        # In what is not read there is no place for an error: a broken connection is the only truth left.
        end = LateEnd(broken=True) if attempt.passes_unread else self._request.dialect.late_end(said=upstream_said)
        self._finish(attempt, "failed", broken=failure.detail if end.broken else "", end=end)

    def refuse(self, cooling_s: float, now: float) -> None:
        """No attempt can be made: every account is cooling for longer than may be waited."""
        wait_s = max(1, math.ceil(cooling_s))
        message = self._planner.says_cooling(self._request.model, wait_s)
        self._special = findings.cooling(self._request.route.model, self._clock.wall(), wait_s)
        self._story.tell("gave_up", message)
        self.answer.refuse(429, message, wait_s, now)
        self._finish(None, "failed")

    def shut_down(self, failure: Failure) -> None:
        """The proxy ends before anything of an answer has reached the client, which is told so."""
        now, attempt = self._clock.now(), self._progress.current
        self._special = findings.SHUT_DOWN
        if attempt is not None:
            self._ends.settle_account(attempt, None, judged=False)
            attempt.blame(failure)
            self._story.attempt_over(attempt, "shut down")
            self._ends.abort(attempt, failure.detail)
        self._story.tell("gave_up", attempt=attempt)
        if self.answer.begun:
            self.answer.fail(self.attempts[-1], failure, self._tried(), self._upstream_requests.framing(), now)
        else:
            self.answer.refuse(failure.status, f"{failure.detail}.", COME_AGAIN_S, now)
        self._finish(attempt, "failed")

    def _tried(self) -> str:
        names = ", ".join(dict.fromkeys(attempt.account.name for attempt in self.attempts))
        return f"Tried {counted(len(self.attempts), 'time')}, on {names}."

    def client_left(self) -> None:
        """The client is gone: what runs for it is ended."""
        attempt = self._progress.current
        if attempt is not None:
            self._ends.settle_account(attempt, None, judged=False)
            self._story.attempt_over(attempt, "the client left")
            self._ends.abort(attempt, "the client left")
            if attempt.delivering and not attempt.work_running:
                self._keep_turn(attempt)
        self._story.tell("client_left", attempt=attempt)
        self._close("client_left")

    # The end.

    def succeed_if_current(self, attempt: Attempt) -> None:
        """The attempt has served, unless what came last was a failure and has been dealt with."""
        if attempt is not self._progress.current:
            return
        now = self._clock.now()
        if attempt.gate is not None and attempt.failure is None and (failure := attempt.gate.no_answer):
            attempt.blame(failure)
        self._ends.settle_account(attempt, attempt.failure)
        outcome: Outcome = "failed" if attempt.failure else self._served()
        self._ends.leave(attempt)
        if not attempt.delivering:
            self.answer.deliver(attempt, outcome, now)
            attempt.state = AttemptState.DELIVERING
            self._story.answer_begun()
        self._story.attempt_over(attempt, "deliver")
        if attempt.failure and not attempt.failure_told:
            self._story.tell("gave_up", attempt=attempt)
        self._finish(attempt, outcome)

    def _served(self) -> Outcome:
        """The outcome of an answer that serves."""
        return "healed" if any(attempt.failure for attempt in self.attempts) else "clean"

    def _finish(
        self, attempt: Attempt | None, outcome: Outcome, *, broken: str = "", end: LateEnd | None = None
    ) -> None:
        # Before its end, as the client may say it again at once.
        if attempt is not None and attempt.delivering:
            self._keep_turn(attempt)
            self._things.learn(attempt)
        self.answer.finish(broken, end)
        if outcome != "failed":
            self._story.tell("delivered", outcome, attempt=attempt)
        self._close(outcome)

    def _keep_turn(self, attempt: Attempt) -> None:
        """The answer of this attempt has reached the client, wholly or in part."""
        if attempt.incoming.received < LONG_BYTES and not self._is_long:
            self._keep_turn_now(attempt)
        else:
            self._actions.append(Work(attempt, lambda: self._keep_turn_now(attempt), lambda _: None))

    def _keep_turn_now(self, attempt: Attempt) -> None:
        self._repairs.keep_signed(attempt)
        self._upstream_requests.keep_turn(attempt, self._repairs.sent)

    def passed_unseen(self, *, left: bool) -> None:
        """After a bug of ours upstream's answer went to the client as it came. left: the client left meanwhile."""
        self._special = None if left else findings.BUG
        self._close("client_left" if left else "failed")

    def _close(self, outcome: Outcome) -> None:
        self._progress.close(outcome)
        self._story.status = self.answer.status
        if in_words := self._upstream_requests.in_words:
            self.meta["asked"] = list(in_words)
        self._story.over(self.meta, outcome, self.attempts, self._planner.spending, self._special)


def _said(attempt: Attempt) -> UpstreamError | None:
    """What upstream said of why it did not serve, None if it said nothing."""
    if attempt.gate is not None and attempt.gate.relayed_error is not None:
        return read_error(attempt.gate.relayed_error)
    return attempt.incoming.error
