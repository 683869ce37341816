"""What is told of an exchange: to the journal while it runs, and to its flow in the end."""

from collections.abc import Sequence
from typing import Any

from healing.policy.clock import Clock
from healing.policy.exchange.attempt import Attempt
from healing.policy.exchange.journal import Journal, Record, Step
from healing.policy.judging.failures import Failure, one_line
from healing.policy.routing.request import ClientRequest


class Story:
    """Tells one exchange's story."""

    def __init__(self, request: ClientRequest, journal: Journal, clock: Clock) -> None:
        self._request = request
        self._journal = journal
        self._clock = clock
        self._started_at = clock.now()

    def tell(
        self,
        step: Step,
        text: str,
        *,
        attempt: Attempt | None = None,
        failure: Failure | None = None,
        wait_s: float = 0.0,
    ) -> None:
        """Tell the journal of a step."""
        request = self._request
        record = Record(
            request.id,
            step,
            request.dialect.label,
            text,
            attempt.number if attempt else 0,
            attempt.account.name if attempt else "",
            attempt.model if attempt else request.route.model,
            failure,
            wait_s,
        )
        self._journal.tell(record)

    def end(
        self, meta: dict[str, Any], outcome: str, attempts: Sequence[Attempt], waited_s: float, asked: Sequence[str]
    ) -> None:
        """Put the whole story into what is kept in the client's flow. asked: how upstream was asked, in words."""
        request = self._request
        meta.update(
            role="exchange",
            exchange=request.id,
            dialect=request.dialect.name,
            model=one_line(request.model),
            mapped_model=one_line(request.route.model),
            outcome=outcome,
            **({"asked": list(asked)} if asked else {}),
            attempts=[dict(attempt.meta) for attempt in attempts],
            waited_s=round(waited_s, 3),
            duration_s=round(self._clock.now() - self._started_at, 4),
        )

    @staticmethod
    def comment(outcome: str, attempts: Sequence[Attempt]) -> str:
        """One line for the flow list; "" for an exchange that went as any other."""
        failures = [
            f"attempt {attempt.number} on {attempt.account.name}: {attempt.failure.detail}"
            for attempt in attempts
            if attempt.failure
        ]
        return f"{outcome} ({'; '.join(failures)})" if failures else ""
