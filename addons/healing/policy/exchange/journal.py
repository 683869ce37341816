"""What happened, told once: one frozen record a step, to whoever listens (log, metrics, tests)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from healing.policy.judging.failures import Failure

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
