"""Spans say what the journal says, and never what was said in an exchange."""

from dataclasses import replace

import pytest
from antigravity_healing.monitor.tracing.spans import attempt_span, exchange_span
from antigravity_healing.policy.journal.records import AttemptFacts, ExchangeEnd, ExchangeFacts, Finding
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.wire.usage import Usage

EXCHANGE = ExchangeFacts(
    "e1", "gemini", 1000.0, "POST", "/v1beta/models/m-2:generateContent", mapped_model="m-2", operation="generate"
)
ATTEMPT = AttemptFacts(
    2, "work", "vertex", "m-2", 1001.0, url="https://europe-west4-aiplatform.googleapis.com/x", dialect="gemini",
    over_s=1.5, delivered=True, max_tokens=64, response_id="r-1", finish_reasons=("STOP",),
    usage=Usage(1, 20, 300, 4000, 50), detail="words of upstream", repaired=("strip",),
)  # fmt: skip


def test_an_attempt_is_told_by_the_conventions_for_generative_ai() -> None:
    span = attempt_span(EXCHANGE, ATTEMPT)
    assert (span.name, span.started_at, span.ended_at, span.failed) == ("generate_content m-2", 1001.0, 1002.5, False)
    assert span.attributes == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.vertex_ai",
        "gen_ai.request.model": "m-2",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.stream": False,
        "gen_ai.response.id": "r-1",
        "gen_ai.response.finish_reasons": ("STOP",),
        # Input is all of it, what caches had to do with included.
        "gen_ai.usage.input_tokens": 321,
        "gen_ai.usage.output_tokens": 4000,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 300,
        "gen_ai.usage.reasoning.output_tokens": 50,
        "http.request.resend_count": 1,
        "server.address": "europe-west4-aiplatform.googleapis.com",
        "server.port": 443,
        "antigravity.exchange.id": "e1",
        "antigravity.account": "work",
        "antigravity.repair": ("strip",),
    }


def test_a_failed_attempt_is_told_by_its_class_alone() -> None:
    span = attempt_span(EXCHANGE, replace(ATTEMPT, failure=FailureClass.QUOTA, status=429))
    assert span.failed
    assert span.attributes["error.type"] == "quota"
    assert span.attributes["http.response.status_code"] == 429
    assert "words of upstream" not in str(span)


@pytest.mark.parametrize(
    ("dialect", "operation", "name"),
    [
        ("anthropic", "generate", "chat m-2"),
        ("anthropic", "count_tokens", "count_tokens m-2"),
        ("gemini", "other", "POST m-2"),
    ],
)
def test_an_attempt_is_called_by_what_it_asks_of_its_upstream(dialect: str, operation: str, name: str) -> None:
    assert attempt_span(replace(EXCHANGE, operation=operation), replace(ATTEMPT, dialect=dialect)).name == name


def test_an_exchange_is_called_by_a_route_without_its_model() -> None:
    end = ExchangeEnd("clean", Finding("words"), 200, duration_s=2.0)
    span = exchange_span(EXCHANGE, end)
    assert (span.name, span.started_at, span.ended_at) == ("POST /v1beta/models/{model}:generateContent", 1000, 1002)
    assert span.attributes["url.path"] == EXCHANGE.path
    assert span.attributes["antigravity.outcome"] == "clean"
    assert not span.failed
    assert "words" not in str(span)


def test_a_failed_exchange_has_the_class_of_its_last_failure_or_else_its_status() -> None:
    failed = replace(ATTEMPT, failure=FailureClass.CUT)
    end = ExchangeEnd("failed", Finding("words"), 429, attempts=(failed, replace(ATTEMPT, attempt=3)))
    assert exchange_span(EXCHANGE, end).failed
    assert exchange_span(EXCHANGE, end).attributes["error.type"] == "cut"
    assert exchange_span(EXCHANGE, replace(end, attempts=())).attributes["error.type"] == "429"
