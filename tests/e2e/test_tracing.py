"""What a collector for OpenTelemetry gets of a real proxy, and what nobody else gets."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.e2e.harness import Proxy, key_of, upstream
from tests.e2e.test_modes_helpers import ask, empty, error, pairs_of_accounts, stream
from tests.support import raw
from tests.support.collector import Collector, attributes
from tests.upstream import Upstream, gemini_stream
from tests.upstream.anthropic import MESSAGE_ID
from tests.upstream.gemini import RESPONSE_ID

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "tracestate": "vendor=secret-of-the-vendor",
    "baggage": "user=alice",
}
ROUTE = '[models]\n"over-*" = "gemini/lane5-translated"\n'
SERVER, CLIENT = 2, 3


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def config(server: Upstream) -> str:
    dialects = ("anthropic", "gemini")
    return ROUTE + "".join(pairs_of_accounts(name, 6) + upstream(name, name, server.url) for name in dialects)


@pytest.fixture(scope="module")
def proxy(server: Upstream, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder: Path = tmp_path_factory.mktemp("tracing")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=k4711"}
    with Proxy(folder, config(server), env=env) as proxy:
        yield proxy


def test_a_healed_exchange_is_a_span_of_its_clients_trace_with_a_span_for_each_attempt(
    proxy: Proxy, server: Upstream, collector: Collector
) -> None:
    server.reset()
    server.play(empty("anthropic"), stream("anthropic"))
    text = "words that nobody else is to read"
    exchange = ask(proxy.url, "anthropic", "lane0-x", text, headers=TRACED).header("x-healing-id")

    def spans() -> list[object]:
        return [span for span in collector.spans if attributes(span)["antigravity.exchange.id"] == exchange]

    collector.wait_for(spans, "its spans")
    first, second, whole = (span for span in collector.spans if attributes(span)["antigravity.exchange.id"] == exchange)
    assert whole.name == "POST /v1/messages"
    assert (whole.kind, first.kind, second.kind) == (SERVER, CLIENT, CLIENT)
    assert {span.trace_id.hex() for span in (whole, first, second)} == {TRACE}
    assert whole.parent_span_id.hex() == PARENT
    assert {first.parent_span_id, second.parent_span_id} == {whole.span_id}
    assert whole.start_time_unix_nano <= first.start_time_unix_nano < second.start_time_unix_nano
    assert first.end_time_unix_nano < second.end_time_unix_nano <= whole.end_time_unix_nano
    assert (first.name, second.name) == ("chat lane0-x", "chat lane0-x")
    assert (first.status.code, second.status.code, whole.status.code) == (2, 0, 0)
    told, failed, served = attributes(whole), attributes(first), attributes(second)
    assert told["antigravity.outcome"] == "healed"
    assert told["http.response.status_code"] == 200
    assert failed["error.type"] == "empty"
    assert "http.request.resend_count" not in failed
    assert served["http.request.resend_count"] == 1
    assert served["antigravity.account"] == "anthropic-0-second"
    assert served["gen_ai.provider.name"] == "anthropic"
    assert served["gen_ai.request.stream"] is True
    assert (served["gen_ai.usage.input_tokens"], served["gen_ai.usage.output_tokens"]) == (12, 9)
    assert (served["server.address"], served["server.port"]) == ("127.0.0.1", server.port)
    [scope] = {scope.schema_url for export in collector.exports for kept in export.resource_spans
               for scope in kept.scope_spans}  # fmt: skip
    assert scope.endswith("/1.41.0")
    sent = b"".join(export.SerializeToString() for export in collector.exports)
    for secret in (text.encode(), b"Hello", b"key-of-", b"the-clients-own-key", b"accounts.example", b"alice"):
        assert secret not in sent
    assert b"x-collector-key: k4711" in collector.heads[0]


@pytest.mark.parametrize(
    ("dialect", "model", "streams"),
    [
        ("anthropic", "lane0-marks", True),
        ("anthropic", "lane0-marks", False),
        ("gemini", "lane0-marks", True),
        ("gemini", "lane0-marks", False),
        ("anthropic", "over-marks", True),
    ],
)
def test_an_attempt_tells_what_upstream_called_its_answer_and_why_that_stopped(
    proxy: Proxy, server: Upstream, collector: Collector, dialect: str, model: str, streams: bool
) -> None:
    server.reset()
    spoken = "gemini" if model.startswith("over") else dialect
    server.play(stream(spoken))
    more = {"generationConfig": {"maxOutputTokens": 16}} if dialect == "gemini" else {}
    exchange = ask(proxy.url, dialect, model, stream=streams, more=more).header("x-healing-id")
    collector.wait_for(lambda: _attempts(collector, exchange), "its spans")
    [told] = _attempts(collector, exchange)
    assert told["gen_ai.request.max_tokens"] == 16
    if spoken == "anthropic":
        assert (told["gen_ai.response.id"], told["gen_ai.response.finish_reasons"]) == (MESSAGE_ID, ["end_turn"])
    else:
        assert (told["gen_ai.response.id"], told["gen_ai.response.finish_reasons"]) == (RESPONSE_ID, ["STOP"])


def test_a_reason_that_repeats_a_key_is_told_without_it(proxy: Proxy, server: Upstream, collector: Collector) -> None:
    server.reset()
    server.play(gemini_stream(finish_reason=f"STOP {key_of('gemini-0-first')}"))
    exchange = ask(proxy.url, "gemini", "lane0-echo").header("x-healing-id")
    collector.wait_for(lambda: _attempts(collector, exchange), "its spans")
    [told] = _attempts(collector, exchange)
    [reason] = told["gen_ai.response.finish_reasons"]
    assert reason.startswith("STOP ")
    assert key_of("gemini-0-first") not in reason


def _attempts(collector: Collector, exchange: str | None) -> list[dict[str, Any]]:
    told = [attributes(span) for span in collector.spans if span.kind == CLIENT]
    return [each for each in told if each["antigravity.exchange.id"] == exchange]


@pytest.mark.parametrize(
    ("dialect", "model", "streams"),
    [
        ("anthropic", "lane1-x", True),
        ("gemini", "lane1-x", True),
        ("gemini", "lane2-x", False),
        ("anthropic", "over-x", True),
    ],
)
def test_upstream_gets_nothing_of_the_clients_trace(
    proxy: Proxy, server: Upstream, dialect: str, model: str, streams: bool
) -> None:
    server.reset()
    spoken = "gemini" if model.startswith("over") else dialect
    server.play(stream(spoken))
    answer = ask(proxy.url, dialect, model, stream=streams, headers={**TRACED, "x-of-the-client": "1"})
    assert answer.header("x-healing-outcome") == "clean"
    [call] = server.calls
    assert not call.headers.keys() & TRACED.keys()
    # What else the client says to an API of its own reaches it.
    assert ("x-of-the-client" in call.headers) == (spoken == dialect)


def test_a_request_that_is_only_passed_on_tells_upstream_nothing_of_the_trace(proxy: Proxy, server: Upstream) -> None:
    server.reset()
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "x-of-the-client": "1", **TRACED}
    raw.request("GET", f"{proxy.url}/v1/files", None, headers)
    [call] = server.calls
    assert not call.headers.keys() & TRACED.keys()
    assert "x-of-the-client" in call.headers


def test_a_failed_exchange_is_an_error_with_its_class_and_begins_a_trace_where_the_client_has_none(
    proxy: Proxy, server: Upstream, collector: Collector
) -> None:
    server.reset()
    server.play(error("gemini", 400, "odd words of upstream"))
    exchange = ask(proxy.url, "gemini", "lane3-x", headers={"traceparent": "00-odd"}).header("x-healing-id")
    collector.wait_for(
        lambda: any(attributes(span)["antigravity.exchange.id"] == exchange for span in collector.spans), "its spans"
    )
    attempt, whole = (span for span in collector.spans if attributes(span)["antigravity.exchange.id"] == exchange)
    assert not whole.parent_span_id
    assert attempt.parent_span_id == whole.span_id
    assert attempt.name == "generate_content lane3-x"
    assert whole.name == "POST /v1beta/models/{model}:streamGenerateContent"
    assert (attempt.status.code, whole.status.code) == (2, 2)
    assert attributes(whole)["error.type"] == attributes(attempt)["error.type"] == "caller"
    assert attributes(attempt)["gen_ai.provider.name"] == "gcp.gemini"
    assert not any(b"odd words" in export.SerializeToString() for export in collector.exports)


def test_what_is_not_sent_yet_is_sent_at_the_end(server: Upstream, tmp_path: Path) -> None:
    server.reset()
    server.play(stream("anthropic"))
    with Collector() as collector:
        with Proxy(tmp_path, config(server), env={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url}) as proxy:
            exchange = ask(proxy.url, "anthropic", "lane4-x").header("x-healing-id")
        assert exchange in {attributes(span)["antigravity.exchange.id"] for span in collector.spans}


def test_a_collector_that_takes_nothing_is_told_of_once_and_so_is_its_return(
    proxy: Proxy, server: Upstream, collector: Collector
) -> None:
    def asked() -> None:
        server.reset()
        server.play(stream("anthropic"))
        count = len(collector.exports)
        assert ask(proxy.url, "anthropic", "lane4-x").header("x-healing-outcome") == "clean"
        collector.wait_for(lambda: len(collector.exports) > count, "an export")

    collector.status = 403
    asked()
    proxy.wait_for_log("exchanges are not traced: ")
    asked()
    collector.status = 200
    asked()
    proxy.wait_for_log("exchanges are traced again")
    [line] = [line for line in proxy.lines if "not traced" in line]
    assert "403" in line
    assert "k4711" not in proxy.log


def test_a_collector_that_never_answers_holds_up_neither_streams_nor_the_end(server: Upstream, tmp_path: Path) -> None:
    with Collector(None) as collector:
        server.reset()
        server.play(stream("anthropic"))
        with Proxy(tmp_path, config(server), env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}) as proxy:
            assert ask(proxy.url, "anthropic", "lane4-x").header("x-healing-outcome") == "clean"
            collector.wait_for(lambda: collector.exports, "what it does not answer")


PROBE = """
    import sys

    def running():
        print("imported:", sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""
NOT_INSTALLED = """
    import sys

    for name in ("opentelemetry.sdk", "opentelemetry.exporter"):
        sys.modules[name] = None
"""


def test_without_a_collector_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(dedent(PROBE))
    with Proxy(tmp_path / "proxy", "", args=["-s", str(script)]) as proxy:
        proxy.wait_for_log("imported: []")


def test_where_the_extra_is_not_installed_it_is_told_once_what_to_install(tmp_path: Path) -> None:
    script = tmp_path / "not_installed.py"
    script.write_text(dedent(NOT_INSTALLED))
    proxy = Proxy(tmp_path / "proxy", "", env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    # Before the addon.
    proxy.command[1:1] = ["-s", str(script)]
    with proxy:
        proxy.wait_for_log("pip install 'antigravity-healing-proxy[otel]'")
        proxy.wait_for_log("The healing proxy is at work")
    assert proxy.log.count("[otel]") == 1
