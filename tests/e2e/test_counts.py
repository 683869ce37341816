"""What page, metrics and request log tell of a long series with faults is what its upstream and its client counted."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.reader import Reader
from antigravity_healing.monitor.request_log.rows import LoggedExchange
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, empty, error
from tests.support import raw
from tests.upstream import Reply, Upstream, anthropic_stream, gemini_stream

COUNT = 200
TOKENS = {
    "anthropic": (rb'"input_tokens": ?(\d+)', rb'"output_tokens": ?(\d+)'),
    "gemini": (rb'"promptTokenCount": ?(\d+)', rb'"candidatesTokenCount": ?(\d+)'),
}
GOOD = {"anthropic": anthropic_stream("Hello there"), "gemini": gemini_stream("Hello there")}
CONFIG = """
[retry]
max_attempts = 2
spare_retries = 100000
[models]
"over" = "gemini/g"
"""


@dataclass
class Counted:
    """What the client and the upstream have counted."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, Counter[str]] = field(default_factory=dict)
    streams: int = 0


def plans(dialect: str) -> dict[str, tuple[tuple[Reply, ...], str]]:
    """What upstream plays, and what becomes of it."""
    good = GOOD[dialect]
    cut_late = good.first(len(good.chunks) - 2) if dialect == "anthropic" else good.first(1)
    return {
        "good": ((good,), "clean"),
        "empty, then good": ((empty(dialect), good), "healed"),
        "cut early, then good": ((good.first(1) if dialect == "anthropic" else good.first(0), good), "healed"),
        "empty to the end": ((empty(dialect), empty(dialect)), "failed"),
        "cut late": ((cut_late,), "failed"),
        "the caller's mistake": ((error(dialect, 400, "odd"),), "failed"),
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counted, Proxy, dict[str, Any], bytes]]:
    folder, chance, counted = tmp_path_factory.mktemp("counts"), random.Random(14), Counted()
    with Upstream() as server:
        config = "".join(account(f"{dialect}-{number}", dialect) for dialect in GOOD for number in (1, 2)) + "".join(
            upstream(dialect, dialect, server.url) for dialect in GOOD
        )
        with Proxy(folder, config + CONFIG) as proxy:
            for _ in range(COUNT):
                client, upstreams, model = chance.choice(
                    [("anthropic", "anthropic", "c"), ("gemini", "gemini", "g"), ("anthropic", "gemini", "over")]
                )
                plan, outcome = chance.choice(list(plans(upstreams).values()))
                server.play(*plan)
                ask(proxy.url, client, model)
                counted.outcomes[client, outcome] += 1
            count(counted, server)
            now = orjson.loads(raw.request("GET", f"{proxy.url}/antigravity/now").body)
            metrics = raw.request("GET", f"{proxy.url}/metrics").body
        yield counted, proxy, now, metrics


def count(counted: Counted, server: Upstream) -> None:
    """Count what upstream was asked, by account, and what it said of its tokens, by account and kind."""
    for call in server.calls:
        shown = call.headers.get("x-api-key") or call.headers.get("x-goog-api-key") or ""
        name = shown.removeprefix("key-of-").removesuffix("-0123456789")
        dialect = name.partition("-")[0]
        counted.attempts[name] += 1
        said = call.reply.whole if call.reply is not None else b""
        spent = counted.tokens.setdefault(name, Counter())
        for kind, pattern in zip(("input", "output"), TOKENS[dialect], strict=True):
            if found := re.findall(pattern, said):
                spent[kind] += int(found[-1])


def rows(proxy: Proxy) -> list[LoggedExchange]:
    return list(Reader(Path(proxy.folder / "home" / "requests.sqlite3")).page(Filter(limit=1000)).exchanges)


type Told = tuple[Counted, Proxy, dict[str, Any], bytes]


def samples(metrics: bytes, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.decode())
        for sample in family.samples
        if sample.name == f"antigravity_{name}" and sample.value
    }


def test_outcomes_are_the_ones_that_clients_met(told: Told) -> None:
    counted, proxy, _, metrics = told
    assert samples(metrics, "exchanges_total") == dict(counted.outcomes)
    logged = Counter((row.facts.dialect, row.end.outcome if row.end else "") for row in rows(proxy))
    assert logged == counted.outcomes
    lines = Counter(
        word for line in proxy.lines if (word := line.split("] ", 1)[-1].split(" ")[0]) in ("ok", "HEALED", "FAILED")
    )
    by_outcome = Counter[str]()
    for (_, outcome), times in counted.outcomes.items():
        by_outcome[{"clean": "ok", "healed": "HEALED", "failed": "FAILED"}[outcome]] += times
    assert lines == by_outcome


def test_attempts_are_the_ones_that_upstream_met(told: Told) -> None:
    counted, proxy, now, metrics = told
    by_account = Counter[str]()
    for (name, *_), value in samples(metrics, "attempts_total").items():
        by_account[name] += int(value)
    assert by_account == counted.attempts
    assert {each["name"]: each["over"] for each in now["accounts"]} == dict(counted.attempts)
    logged = Counter(attempt.account for row in rows(proxy) for attempt in row.attempts)
    assert logged == counted.attempts


def test_tokens_are_the_ones_that_upstream_told_of(told: Told) -> None:
    counted, proxy, now, metrics = told
    of_account = {each["name"]: each["tokens"] for each in now["accounts"]}
    for name, spent in counted.tokens.items():
        assert (of_account[name]["input"], of_account[name]["output"]) == (spent["input"], spent["output"]), name
    for kind in ("input", "output"):
        every = sum(spent[kind] for spent in counted.tokens.values())
        assert sum(samples(metrics, f"{kind}_tokens_total").values()) == every
        logged = [attempt.usage for row in rows(proxy) for attempt in row.attempts if attempt.usage]
        assert sum(getattr(usage, kind) for usage in logged) == every


def test_nothing_runs_any_more(told: Told) -> None:
    _, _, now, metrics = told
    assert now["exchanges"] == []
    assert now["running"] == 0
    assert not samples(metrics, "exchanges_in_progress")
