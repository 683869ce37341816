"""How the proxy is, as metrics; and how both kinds of metrics are written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from antigravity_healing import monitor
from antigravity_healing.monitor.captures.capture import Capture
from antigravity_healing.monitor.metrics.exchange_metrics import ExchangeMetrics
from antigravity_healing.monitor.metrics.model_names import ModelNames
from antigravity_healing.monitor.metrics.page import Metrics, encoder_for
from antigravity_healing.monitor.metrics.state_metrics import PHASES, Reading, StateCollector, accounts_of, size_of
from antigravity_healing.policy.exchange.actions import Start
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.own_pages.pages import Pages
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.monitor.metrics.test_exchange_metrics import script, series
from tests.policy.exchange.stage import SSE, Stage
from tests.upstream import anthropic_error, anthropic_stream

DASHBOARD = Path(monitor.__file__).with_name("grafana.json")


def registry_of(reading: Reading) -> CollectorRegistry:
    registry = CollectorRegistry()
    collector = StateCollector()
    collector.reading = reading
    registry.register(collector)
    return registry


def state_with(*accounts: dict[str, Any]) -> State:
    made = [{"upstream": "anthropic", "api_key": "k-0123456789", **account} for account in accounts]
    return State(Config.model_validate({"accounts": made}), Journal())


def test_an_account_is_told_by_its_name_with_until_when_upstream_forbids_it() -> None:
    state = state_with({"name": "a", "email": "a@accounts.example"}, {"name": "b"}, {"name": "c"})
    _, b, c = state.accounts.all
    for account, failure in (
        (b, Failure(FailureClass.QUOTA, "used up", wait_s=1000.0)),
        (c, Failure(FailureClass.AUTH, "refused")),
    ):
        use = state.accounts.begin_use(account, "m", state.clock.now())
        state.accounts.end_use(use, failure, state.clock.now())
    registry = registry_of(Reading(accounts=accounts_of(state)))
    # A quota is that of a model: the account itself may be asked for others.
    assert series(registry, "antigravity_account_available") == {("anthropic", "a"): 1, ("anthropic", "b"): 1}
    until = series(registry, "antigravity_account_cooling_until_timestamp_seconds")
    assert until == {("anthropic", "b"): pytest.approx(state.clock.wall() + 1000, abs=5)}


def test_all_else_of_a_reading_is_told(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01.flow").write_bytes(b"x" * 30)
    (tmp_path / "2026-01-02.flow").write_bytes(b"x" * 12)
    (tmp_path / "other").write_bytes(b"x")
    reading = Reading(
        "1.2",
        "12.2",
        phases={("gemini", "hold"): 2},
        retries_left=7,
        conditions={"auth": 1},
        captures=3,
        taken_up_at=1000.5,
        captured=(tmp_path, "*.flow"),
        request_log=(tmp_path / "nowhere", "*"),
        held_bytes=5,
    )
    registry = registry_of(reading)
    assert series(registry, "antigravity_build_info") == {("1.2", "12.2"): 1}
    assert series(registry, "antigravity_exchanges_in_progress") == {("gemini", "hold"): 2}
    assert series(registry, "antigravity_conditions") == {("auth",): 1}
    told = ("retry_budget_remaining", "captures_total", "capture_bytes", "request_log_bytes", "held_bytes")
    assert [registry.get_sample_value(f"antigravity_{name}") for name in told] == [7, 3, 42, 0, 5]
    taken_up = ("successful", "success_timestamp_seconds")
    assert [registry.get_sample_value(f"antigravity_config_last_reload_{name}") for name in taken_up] == [1, 1000.5]
    broken = registry_of(Reading(reload_failed=True))
    assert broken.get_sample_value("antigravity_config_last_reload_successful") == 0
    assert size_of(None) == 0


def test_an_exchange_that_runs_is_at_what_it_is_at() -> None:
    replies = [script(anthropic_error(500, "api_error", "no")), script(anthropic_stream("Hello"))]
    stage = Stage(lambda number: replies[number - 1])
    exchange, seen = stage.exchange, []

    def attempt() -> Any:
        [started] = [action for action in exchange.actions if isinstance(action, Start)]
        exchange.actions.clear()
        return started.attempt

    def see() -> None:
        seen.append(PHASES[exchange.phase(stage.clock.now()).name])

    exchange.start()
    see()
    first = attempt()
    exchange.on_its_way(first, stage.clock.now())
    see()
    exchange.head(first, 500, replies[0].headers)
    see()
    exchange.data(first, replies[0].whole)
    exchange.body_ended(first)
    see()
    exchange.actions.clear()
    assert exchange.deadline is not None
    stage.clock.at = exchange.deadline
    exchange.wakeup()
    see()
    second = attempt()
    exchange.on_its_way(second, stage.clock.now())
    exchange.head(second, 200, SSE)
    see()
    exchange.data(second, replies[1].whole[:-60])
    exchange.read_data()
    see()
    assert seen == ["connecting", "waiting", "hold", "backoff", "connecting", "hold", "streaming"]
    assert set(seen) == set(PHASES.values())


@pytest.fixture(scope="module")
def metrics() -> Iterator[Metrics]:
    journal = Journal()
    antigravity = Antigravity(journal, lambda _: {}, Pages())
    capture = Capture(antigravity)
    yield Metrics(journal, antigravity, capture)
    capture.done()


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(metrics: Metrics, accept: str, content_type: str) -> None:
    told, body = metrics.render(accept)
    assert told.startswith(content_type)
    assert (b"# EOF" in body) == ("openmetrics" in content_type)
    assert b'antigravity_exchanges_total{dialect="gemini",outcome="healed"} 0.0\n' in body
    assert b"_created" not in body


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"(text/plain|application/openmetrics-text)(;\s?(version|escaping)=[^\s]{0,8}){0,3}"),
    )
)
def test_no_accept_header_breaks_the_answer_or_its_head(accept: str) -> None:
    registry = registry_of(Reading())
    encode, content_type = encoder_for(accept)
    assert b"antigravity_build_info" in encode(registry)
    assert re.fullmatch(r"[\x20-\x7e]+", content_type)


def all_names() -> set[str]:
    """Of all samples that there can be."""
    registry = registry_of(Reading(accounts=(("u", "a", True, 0.0),), conditions={"auth": 1}))
    counting = ExchangeMetrics(registry, ModelNames(lambda: ()))
    replies = [script(anthropic_error(500, "api_error", "no")), script(anthropic_stream("Hello"))]
    stage = Stage(lambda number: replies[number - 1]).play()
    for record in stage.records:
        counting.take(record)
    names = {sample.name for metric in registry.collect() for sample in metric.samples}
    # Of metrics whose labels have had no value yet.
    return names | {f"{metric.name}_total" for metric in registry.collect() if metric.type == "counter"}


def test_the_dashboard_asks_for_metrics_that_there_are_and_for_all_of_them() -> None:
    dashboard = orjson.loads(DASHBOARD.read_bytes())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = dashboard["templating"]["list"]
    asked += [variable["definition"] for variable in variables if variable["type"] == "query"]
    used = {name for query in asked for name in re.findall(r"antigravity_\w+", query)}
    there = all_names()
    assert used <= there
    whole = {re.sub("_(bucket|sum|count)$", "", name) for name in there}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in used}
    assert whole - shown <= {"antigravity_config_last_reload_success_timestamp_seconds"}


def test_the_dashboard_fits_any_prometheus() -> None:
    dashboard = orjson.loads(DASHBOARD.read_bytes())
    assert dashboard["uid"] == "antigravity-healing-proxy"
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "job", "instance"]
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job=~"$job",instance=~"$instance"' in target["expr"]
            assert ("rate(" in target["expr"] or "increase(" in target["expr"]) == ("[" in target["expr"])
            assert set(re.findall(r"\[(.*?)\]", target["expr"])) <= {"$__rate_interval"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_what_is_written_can_be_read(metrics: Metrics) -> None:
    _, body = metrics.render("")
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert {"antigravity_exchanges", "antigravity_attempts", "antigravity_hold_seconds"} <= names
