"""Counting what the journal tells."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

from antigravity_healing.monitor.metrics.model_names import ModelNames
from antigravity_healing.policy.journal.records import (
    GOES_ON,
    OUTCOMES,
    AttemptFacts,
    ExchangeEnd,
    ExchangeFacts,
    Record,
)
from antigravity_healing.wire.dialects import DIALECTS

SECONDS = (0.05, *(0.01 * 2**n for n in range(4, 17)))
"""The bounds of all durations: up to 655.36 s, as models think for minutes."""
COOLING = "cooling"
"""For what was waited that no attempt of the exchange had failed for: all accounts were away."""
LEFT = "left"
"""The result of an attempt that was neither a failure nor delivered: its client left, say."""


class Kept[Child]:
    """The children of a metric by their labels: to find one by `labels` takes five times as long as to count."""

    def __init__(self, make: Callable[..., Child]) -> None:
        self._make = make
        self._kept: dict[tuple[str, ...], Child] = {}

    def __call__(self, *labels: str) -> Child:
        """The one with these values."""
        if (child := self._kept.get(labels)) is None:
            child = self._kept[labels] = self._make(*labels)
        return child


class ExchangeMetrics:
    """A listener of the journal. Every label is of a bounded set."""

    def __init__(self, registry: CollectorRegistry, models: ModelNames) -> None:
        self._models = models

        def counter(name: str, says: str, *labels: str) -> Kept[Counter]:
            return Kept(Counter(f"antigravity_{name}", says, labels, registry=registry).labels)

        def seconds(name: str, says: str, *labels: str) -> Kept[Histogram]:
            named = f"antigravity_{name}_seconds"
            return Kept(Histogram(named, says, labels, registry=registry, buckets=SECONDS).labels)

        self._exchanges = counter("exchanges", "Exchanges that are over, by what became of them.", "dialect", "outcome")
        self._attempts = counter(
            "attempts",
            "Attempts that are over: `delivered`, `left` (by a client that went away), or the class of the failure.",
            "upstream", "account", "result",
        )  # fmt: skip
        self._repairs = counter("repairs", "Repairs of refused requests.", "dialect", "kind")
        self._duration = seconds(
            "exchange_duration", "From the complete request to the end of its answer.", "dialect", "outcome"
        )
        self._first_content = seconds(
            "first_content", "From the complete request to the first of the answer at the client.", "dialect"
        )
        self._hold = seconds(
            "hold", "From upstream's first byte to the moment from which the client gets its stream.", "dialect"
        )
        self._waits = counter(
            "retry_wait_seconds",
            "Planned waiting before an attempt, by the failure that it follows; `cooling`: no account was free.",
            "result",
        )
        self._input = counter("input_tokens", "Tokens of input, cached ones included.", "upstream", "model")
        self._output = counter("output_tokens", "Tokens of output, thinking included.", "upstream", "model")
        self._cache_read = counter(
            "cache_read_input_tokens", "Of the input tokens, those read from a cache.", "upstream", "model"
        )
        self._cache_write = counter(
            "cache_write_input_tokens", "Of the input tokens, those put into a cache.", "upstream", "model"
        )
        self._reasoning = counter(
            "reasoning_output_tokens", "Of the output tokens, those of thinking.", "upstream", "model"
        )
        for dialect in DIALECTS:
            # The first failure is an increase only where there was a number before it.
            for outcome in OUTCOMES:
                self._exchanges(dialect, outcome)

    def take(self, record: Record) -> None:
        """Count a step."""
        attempt, exchange = record.attempt, record.exchange
        match record.step:
            case "attempt_over" if attempt is not None:
                self._take_attempt(attempt)
            case "commit" if attempt is not None:
                if attempt.commit_s is not None and attempt.first_byte_s is not None:
                    self._hold(exchange.dialect).observe(attempt.commit_s - attempt.first_byte_s)
            case "retry" | "repair" | "wait":
                if record.repair:
                    self._repairs(exchange.dialect, record.repair).inc()
                failure = attempt.failure if attempt is not None else None
                self._waits(COOLING if failure is None else str(failure)).inc(record.wait_s)
            case "over" | "refused" if record.end is not None:
                self._take_end(exchange, record.end)

    def _take_attempt(self, attempt: AttemptFacts) -> None:
        self._attempts(attempt.upstream, attempt.account, result_of(attempt)).inc()
        usage = attempt.usage
        if usage is None:
            return
        where = attempt.upstream, self._models.label(attempt.upstream, attempt.mapped_model)
        for counter, tokens in (
            (self._input, usage.input),
            (self._output, usage.output),
            (self._cache_read, usage.cache_read),
            (self._cache_write, usage.cache_write),
            (self._reasoning, usage.reasoning),
        ):
            if tokens:
                counter(*where).inc(tokens)

    def _take_end(self, exchange: ExchangeFacts, end: ExchangeEnd) -> None:
        self._exchanges(exchange.dialect, end.outcome).inc()
        if end.outcome == "refused":
            return  # nothing was done that took time
        self._duration(exchange.dialect, end.outcome).observe(end.duration_s)
        if end.first_content_s is not None:
            self._first_content(exchange.dialect).observe(end.first_content_s)


def result_of(attempt: AttemptFacts) -> str:
    """What came of an attempt that is over, in a word."""
    if attempt.failure is not None:
        return str(attempt.failure)
    return "delivered" if attempt.delivered or attempt.verdict == GOES_ON else LEFT
