"""What is counted of exchanges is what upstream and the client have seen."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from antigravity_healing.monitor.metrics.exchange_metrics import COOLING, ExchangeMetrics
from antigravity_healing.monitor.metrics.model_names import MOST_NAMED, OTHER, ModelNames
from antigravity_healing.policy.journal.records import AttemptFacts, ExchangeEnd, ExchangeFacts, Finding, Record
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.wire.usage import Usage
from prometheus_client import CollectorRegistry

from tests.policy.exchange.stage import MODEL, Script, Stage, play
from tests.upstream import (
    Reply,
    anthropic_empty,
    anthropic_error,
    anthropic_stream,
    gemini_empty,
    gemini_error,
    gemini_stream,
)

ROUNDS = 13


def script(reply: Reply, *, head: float = 0.0, gap: float = 0.0, keep: int | None = None) -> Script:
    """An attempt that answers so. head: seconds before it, gap: before each piece. keep: the pieces before a cut."""
    body: list[bytes | float] = []
    for chunk in reply.chunks[:keep] or (reply.body or b"",):
        body += [gap, chunk] if gap else [chunk]
    headers = tuple((name.encode(), value.encode()) for name, value in reply.headers.items())
    return Script(reply.status, headers, tuple(body), "end" if keep is None else "cut", head)


@dataclass(frozen=True)
class Way:
    """A way for an exchange to go: what its attempts do, and come to; and the tokens that they tell."""

    outcome: str
    scripts: tuple[Script, ...]
    results: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    leave_at: float | None = None


def ways(dialect: str) -> list[Way]:
    is_claude = dialect == "anthropic"
    empty = anthropic_empty() if is_claude else gemini_empty()

    def good(tokens: int) -> Reply:
        if is_claude:
            return anthropic_stream("Hello", input_tokens=tokens, output_tokens=tokens + 1)
        return gemini_stream("Hello", prompt_tokens=tokens, output_tokens=tokens + 1)

    def error(status: int) -> Reply:
        if is_claude:
            kinds = {400: "invalid_request_error", 401: "authentication_error", 500: "api_error"}
            return anthropic_error(status, kinds[status], "no")
        return gemini_error(status, None, "no")

    told = play((script(empty), script(good(0))), dialect=dialect).exchange.attempts[0].tally.usage
    assert told is not None
    # Both tell of the input at the beginning of a stream, and of the output so far.
    cut = (100, 1) if is_claude else (100, 50)
    return [
        Way("clean", (script(good(100)),), ("delivered",), 100, 101),
        Way("healed", (script(empty), script(good(7))), ("empty", "delivered"), told.input + 7, told.output + 8),
        Way("healed", (script(error(500)), script(good(3))), ("transient", "delivered"), 3, 4),
        Way("healed", (script(error(401)), script(good(5))), ("auth", "delivered"), 5, 6),
        Way("failed", (script(error(400)),), ("caller",), 0, 0),
        Way("failed", (*[script(error(500))] * 2, script(error(400))), (*["transient"] * 2, "caller"), 0, 0),
        Way("failed", (script(good(100), keep=4 if is_claude else 1),), ("cut",), *cut),
        Way("client_left", (Script(body=(5.0,), end="hang"),), ("left",), 0, 0, leave_at=2.0),
    ]


def metrics(configured: Callable[[], tuple[str, ...]] = lambda: (MODEL,)) -> tuple[ExchangeMetrics, CollectorRegistry]:
    registry = CollectorRegistry()
    return ExchangeMetrics(registry, ModelNames(configured)), registry


def series(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The samples of this name that are not 0, by the values of their labels."""
    found = (sample for metric in registry.collect() for sample in metric.samples if sample.name == name)
    return {tuple(sample.labels.values()): sample.value for sample in found if sample.value}


def test_of_two_hundred_exchanges_every_number_is_what_upstream_and_the_clock_saw() -> None:
    counting, registry = metrics()
    outcomes: Counter[tuple[str, str]] = Counter()
    results: Counter[tuple[str, str, str]] = Counter()
    tokens_in: Counter[tuple[str, str]] = Counter()
    tokens_out: Counter[tuple[str, str]] = Counter()
    seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
    waited_s = 0.0
    for dialect in ("anthropic", "gemini"):
        for number, way in enumerate(ways(dialect) * ROUNDS):
            stage = Stage(
                lambda at, way=way: way.scripts[min(at, len(way.scripts)) - 1],  # type: ignore[misc]
                dialect=dialect,
                seed=number,
                leave_at=way.leave_at,
            )
            began_at = stage.clock.at
            stage.play()
            for record in stage.records:
                counting.take(record)
            outcomes[dialect, way.outcome] += 1
            results.update((dialect, name, result) for name, result in zip(stage.names, way.results, strict=True))
            tokens_in[dialect, MODEL] += way.input_tokens
            tokens_out[dialect, MODEL] += way.output_tokens
            seconds[dialect, way.outcome] += stage.clock.at - began_at
            waited_s += stage.waited_s
    assert series(registry, "antigravity_exchanges_total") == outcomes
    assert sum(outcomes.values()) == 2 * 8 * ROUNDS
    assert series(registry, "antigravity_attempts_total") == results
    assert series(registry, "antigravity_input_tokens_total") == tokens_in
    assert series(registry, "antigravity_output_tokens_total") == tokens_out
    assert series(registry, "antigravity_exchange_duration_seconds_count") == outcomes
    told_s = series(registry, "antigravity_exchange_duration_seconds_sum")
    assert told_s == pytest.approx({key: value for key, value in seconds.items() if value})
    assert sum(series(registry, "antigravity_retry_wait_seconds_total").values()) == pytest.approx(waited_s)


def test_what_is_held_is_measured_from_upstreams_first_byte_to_the_commit() -> None:
    counting, registry = metrics()
    stage = play([script(anthropic_stream("Hello"), head=3.0, gap=0.5)])
    for record in stage.records:
        counting.take(record)
    # Its start, the start of a block, and then the first content.
    held_s = 3 * 0.5
    assert series(registry, "antigravity_hold_seconds_sum") == {("anthropic",): held_s}
    assert series(registry, "antigravity_first_content_seconds_sum") == {("anthropic",): 3.0 + held_s}


def end(outcome: str = "refused") -> ExchangeEnd:
    return ExchangeEnd(outcome, Finding("x"))  # type: ignore[arg-type]


FACTS = ExchangeFacts("e1", "gemini", 0.0)


def test_a_refused_request_is_counted_and_takes_no_time() -> None:
    counting, registry = metrics()
    counting.take(Record("refused", 0.0, 0.0, FACTS, end=end()))
    assert series(registry, "antigravity_exchanges_total") == {("gemini", "refused"): 1}
    assert series(registry, "antigravity_exchange_duration_seconds_count") == {}


def test_repairs_and_waits_are_counted_by_what_they_are_for() -> None:
    counting, registry = metrics()
    refused = AttemptFacts(1, "a", "u", "m", 0.0, failure=FailureClass.SIGNATURE)
    counting.take(Record("repair", 0.0, 0.0, FACTS, attempt=refused, wait_s=0.25, repair="drop_block"))
    counting.take(Record("wait", 0.0, 0.0, FACTS, wait_s=2.0))
    assert series(registry, "antigravity_repairs_total") == {("gemini", "drop_block"): 1}
    assert series(registry, "antigravity_retry_wait_seconds_total") == {("signature",): 0.25, (COOLING,): 2.0}


def test_all_kinds_of_tokens_have_metrics_of_their_own() -> None:
    counting, registry = metrics()
    told = AttemptFacts(1, "a", "u", MODEL, 0.0, usage=Usage(1, 20, 300, 4000, 50), delivered=True)
    counting.take(Record("attempt_over", 0.0, 0.0, FACTS, attempt=told))
    kinds = ("input", "output", "cache_read_input", "cache_write_input", "reasoning_output")
    found = [series(registry, f"antigravity_{kind}_tokens_total") for kind in kinds]
    assert found == [{("u", MODEL): count} for count in (321, 4000, 20, 300, 50)]


def test_a_part_of_an_answer_that_goes_on_is_no_attempt_that_was_left() -> None:
    counting, registry = metrics()
    part = AttemptFacts(1, "a", "u", "m", 0.0, verdict="go on")
    counting.take(Record("attempt_over", 0.0, 0.0, FACTS, attempt=part))
    assert series(registry, "antigravity_attempts_total") == {("u", "a", "delivered"): 1}


def test_names_that_clients_make_up_do_not_grow_the_metrics_without_end() -> None:
    configured = ["known"]
    names = ModelNames(lambda: configured)
    labels = [names.label("u", f"made-up-{number}") for number in range(10 * MOST_NAMED)]
    assert labels[:2] == ["made-up-0", "made-up-1"]
    assert len(set(labels)) == MOST_NAMED + 1
    assert OTHER in labels
    assert names.label("u", "made-up-0") == "made-up-0"
    assert names.label("u", "known") == "known"
    assert names.label("u", "late") == OTHER
    configured.append("late")
    assert names.label("u", "late") == "late"


def test_a_model_without_a_name_is_not_called_by_none() -> None:
    assert ModelNames(tuple).label("u", "") == OTHER
