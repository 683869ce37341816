"""The story of one exchange, as it is told: to the journal step by step, and to its flows' metadata."""

from collections.abc import Sequence
from typing import Any

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.spending import Spending
from antigravity_healing.policy.journal.findings import finding, short
from antigravity_healing.policy.journal.records import (
    SHORT_ID,
    AttemptFacts,
    ExchangeEnd,
    ExchangeFacts,
    Finding,
    Journal,
    Outcome,
    Record,
    Step,
)
from antigravity_healing.policy.journal.written import attempt_story, exchange_story
from antigravity_healing.policy.judging.failures import one_line, shortened
from antigravity_healing.policy.routing.request import ClientRequest
from antigravity_healing.wire.usage import Usage


class Story:
    """Tells of one exchange.

    sent_at: since when the client has something of its answer, in monotonic seconds, None before.
    status: what the client was told.
    """

    def __init__(self, request: ClientRequest, journal: Journal, clock: Clock) -> None:
        self.sent_at: float | None = None
        self.status: int | None = None
        self._journal = journal
        self._clock = clock
        self._started_at = clock.now()
        # Of one exchange, so that whoever sets the clock meanwhile does not change what has been told.
        self._ahead_s = clock.wall() - self._started_at
        self._over: set[int] = set()
        self._comment = ""
        self._facts = ExchangeFacts(
            request.id,
            request.dialect.name,
            clock.wall(),
            request.method,
            shortened(request.path, 200),
            request.owner.client[:SHORT_ID],
            request.conversation[:SHORT_ID],
            one_line(request.model),
            one_line(request.route.model),
            request.streams,
            request.operation.kind,
            request.trace_parent,
        )

    @property
    def comment(self) -> str:
        """One line for the flow list, its first word or two saying the most; "" for one that went as any other."""
        return self._comment

    def tell(
        self, step: Step, text: str = "", *, attempt: Attempt | None = None, wait_s: float = 0.0, repair: str = ""
    ) -> None:
        """Tell the journal of a step. repair: the name of the repair that it is."""
        facts = self._facts_of(attempt) if attempt is not None else None
        self._tell(step, text, facts, wait_s, repair=repair)

    def answer_begun(self) -> None:
        """The client has the first of an answer."""
        if self.sent_at is None:
            self.sent_at = self._clock.now()

    def attempt_changed(self, attempt: Attempt) -> None:
        """Bring what is kept in an attempt's flow up to date."""
        self._write(attempt, self._facts_of(attempt))

    def attempt_over(self, attempt: Attempt, verdict: str = "") -> AttemptFacts:
        """An attempt is over, which is told once. verdict: what follows. Gives what is known of it."""
        attempt.verdict = verdict or attempt.verdict
        if attempt.over_at is None:
            attempt.over_at = self._clock.now()
        facts = self._facts_of(attempt)
        self._write(attempt, facts)
        if attempt.number not in self._over:
            self._over.add(attempt.number)
            self._tell("attempt_over", attempt.verdict, facts)
        return facts

    def over(
        self,
        meta: dict[str, Any],
        outcome: Outcome,
        attempts: Sequence[Attempt],
        spending: Spending,
        special: Finding | None,
    ) -> None:
        """It is over: tell the journal, and put the whole story into what is kept in the client's flow.

        spending: what it has cost, and which budget has ended it.
        special: what it means, where the attempts do not tell.
        """
        facts, now = tuple(map(self.attempt_over, attempts)), self._clock.now()
        end = ExchangeEnd(
            outcome,
            special or finding(outcome, facts, spending.ended_by),
            self.status,
            now - self._started_at,
            None if self.sent_at is None else self.sent_at - self._started_at,
            spending.waited_s,
            sum_of(facts),
            facts,
        )
        self._comment = comment_of(outcome, end.finding.what, facts)
        meta.update(exchange_story(self._facts, end), attempts=[dict(attempt.meta) for attempt in attempts])
        self._tell("over", outcome, None, end=end)

    def _tell(
        self,
        step: Step,
        text: str,
        attempt: AttemptFacts | None,
        wait_s: float = 0.0,
        end: ExchangeEnd | None = None,
        repair: str = "",
    ) -> None:
        clock = self._clock
        self._journal.tell(Record(step, clock.wall(), clock.now(), self._facts, text, attempt, wait_s, end, repair))

    def _facts_of(self, attempt: Attempt) -> AttemptFacts:
        return attempt.facts(self._clock.now(), self._ahead_s)

    def _write(self, attempt: Attempt, facts: AttemptFacts) -> None:
        attempt.meta.update(attempt_story(self._facts, facts))


def sum_of(attempts: Sequence[AttemptFacts]) -> Usage | None:
    """The tokens of all of them, None where none told any."""
    told = [attempt.usage for attempt in attempts if attempt.usage is not None]
    return sum(told, Usage()) if told else None


def comment_of(outcome: Outcome, what: str, attempts: Sequence[AttemptFacts]) -> str:
    """One line for a column of about 16 characters: `2nd: empty`, `failed: quota`, then the whole."""
    failed = [attempt for attempt in attempts if attempt.failure is not None]
    match outcome:
        case "healed":
            kinds = ", ".join(dict.fromkeys(map(short, failed)))
            return f"healed: {kinds} · {what}"
        case "failed":
            return f"failed: {short(failed[-1]) if failed else 'no answer'} · {what}"
        case "client_left":
            return f"client left · {what}"
    return ""
