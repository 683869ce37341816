"""What happened, told once: one frozen record a step, to whoever listens (log, metrics, tests), and to the flow."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from healing.policy.clock import Clock
from healing.policy.exchange.attempt import Attempt
from healing.policy.judging.failures import Failure, one_line
from healing.policy.routing.request import ClientRequest

Step = Literal[
    "received", "attempt", "retry", "repair", "wait", "hold", "commit", "continued", "delivered", "gave_up", "broke",
    "client_left",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """One step of an exchange.

    exchange: the exchange's short id.
    step: what happened.
    dialect: the client's dialect.
    text: what there is to say about it, in words; holds no secret.
    attempt: the attempt's number, 0 where there is none yet.
    account: the account's name.
    model: the model after mapping.
    failure: why the attempt did not serve, for `retry`, `repair`, `gave_up` and `broke`.
    wait_s: seconds until the next attempt, for `retry`, `repair` and `wait`.
    """

    exchange: str
    step: Step
    dialect: str
    text: str = ""
    attempt: int = 0
    account: str = ""
    model: str = ""
    failure: Failure | None = None
    wait_s: float = 0.0


Listener = Callable[[Record], None]


class Journal:
    """Hands each record to every listener; a listener that fails never stops an exchange."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Add a listener."""
        self._listeners.append(listener)

    def tell(self, record: Record) -> None:
        """Hand a record on."""
        for listener in self._listeners:
            try:
                listener(record)
            except Exception:
                logging.getLogger(__name__).exception("a listener of the journal failed")


class Story:
    """Tells of one exchange: to the journal while it runs, and to its flow in the end."""

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

    def write_into(
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
