"""What happened, told once: one frozen record a step, complete in itself, to whoever listens."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.wire.rate_limits import Window
from antigravity_healing.wire.usage import Usage

Step = Literal[
    "received",
    "refused",
    "attempt",
    "wait",
    "hold",
    "commit",
    "attempt_over",
    "retry",
    "repair",
    "continued",
    "gave_up",
    "broke",
    "delivered",
    "client_left",
    "over",
]
Outcome = Literal["clean", "healed", "failed", "client_left", "refused"]
SHORT_ID = 8
"""So many characters of a digest tell a client or a conversation from others."""
NOTHING = "nothing"
"""How what is to be done begins where it is nothing."""
GOES_ON = "go on"
"""The verdict on an attempt whose answer is a part of what the client gets: upstream has more to say."""
OUTCOMES: tuple[Outcome, ...] = ("clean", "healed", "failed", "client_left", "refused")


def needs_a_hand(do: str) -> bool:
    """Whether what is to be done is more than nothing."""
    return not do.startswith(NOTHING)


@dataclass(frozen=True, slots=True)
class Finding:
    """What happened, what was done about it, and what a person has to do; `NOTHING` where that is nothing."""

    what: str
    done: str = ""
    do: str = ""

    @property
    def needs_a_hand(self) -> bool:
        """Whether anything is left to do."""
        return needs_a_hand(self.do)


@dataclass(frozen=True, slots=True)
class ExchangeFacts:
    """What is known of an exchange from its beginning. Nothing in it is a secret, nothing breaks a line.

    exchange: its short id. dialect: the client's, by its name. at: when it began, in seconds since 1970.
    client: who asks, as the configuration or the network calls it; conversation: what stands for the conversation, ""
    where none is known. model: as the client called it; mapped_model: as upstream is asked for it.
    streams: whether the client asked for a stream. operation: what kind it is (`Operation.kind`).
    trace_parent: the span of the client that it is part of, as `traceparent` names it, "" where it told none.
    """

    exchange: str
    dialect: str
    at: float
    method: str = ""
    path: str = ""
    client: str = ""
    conversation: str = ""
    model: str = ""
    mapped_model: str = ""
    streams: bool = False
    operation: str = ""
    trace_parent: str = ""


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What is known of an attempt at the time of a record. Durations are seconds since its beginning.

    at: when it began, in seconds since 1970. place: where the configuration has its account, "" for a client's own
    credential. key_from: where its key comes from, `env:NAME`, `file:PATH`, `cmd:` or `adc:`, "" for the configuration.
    url: its upstream's. status: of upstream's answer. failure, detail: why it did not serve.
    verdict: what followed. free_at: until when upstream has forbidden to ask this account again.
    first_byte_s: upstream's response headers; first_content_s: the first of an answer; last_byte_s: anything.
    commit_s: since when the client gets its stream.
    over_s: its end, None as long as it runs. bytes: of its body, as received. usage: as far as it was told.
    windows: how much of which quota is used, as its answer's headers told.
    repaired: what was repaired in its request. delivered: whether the client got (some of) its answer.
    dialect: upstream's, by its name. streams: whether upstream was asked for a stream.
    max_tokens: how long its answer was allowed to be, None where its request did not say.
    response_id, finish_reasons: what upstream called its answer, and why that stopped, in upstream's words.
    """

    attempt: int
    account: str
    upstream: str
    mapped_model: str
    at: float
    place: str = ""
    url: str = ""
    status: int | None = None
    failure: FailureClass | None = None
    detail: str = ""
    verdict: str = ""
    free_at: float | None = None
    first_byte_s: float | None = None
    first_content_s: float | None = None
    last_byte_s: float | None = None
    over_s: float | None = None
    bytes: int = 0
    usage: Usage | None = None
    windows: tuple[Window, ...] = ()
    repaired: tuple[str, ...] = ()
    delivered: bool = False
    commit_s: float | None = None
    dialect: str = ""
    streams: bool = False
    max_tokens: int | None = None
    response_id: str = ""
    finish_reasons: tuple[str, ...] = ()
    key_from: str = ""


@dataclass(frozen=True, slots=True)
class ExchangeEnd:
    """What became of an exchange.

    status: what the client was told, None where it was told nothing. duration_s: from the request's last byte on;
    first_content_s: until the client was sent the first of its answer, None where it was sent none.
    waited_s: between attempts. usage: of all attempts, None where none told any. finding: what it means.
    """

    outcome: Outcome
    finding: Finding
    status: int | None = None
    duration_s: float = 0.0
    first_content_s: float | None = None
    waited_s: float = 0.0
    usage: Usage | None = None
    attempts: tuple[AttemptFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One step of an exchange.

    step: what happened. at: when, in seconds since 1970; monotonic_s: the same for differences.
    text: what there is to say about it, in words; holds no secret.
    attempt: the attempt that it is about, None where it is about none.
    wait_s: seconds until the next attempt, for `retry`, `repair` and `wait`.
    end: for `over` and `refused` alone. repair: its name, for `repair` alone.
    """

    step: Step
    at: float
    monotonic_s: float
    exchange: ExchangeFacts
    text: str = ""
    attempt: AttemptFacts | None = None
    wait_s: float = 0.0
    end: ExchangeEnd | None = None
    repair: str = ""


type Listener = Callable[[Record], Any]


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
