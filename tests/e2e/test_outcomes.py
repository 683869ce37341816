"""For every way to end: what status, header, marker, comment, log line and capture say of it. They all say the same."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.reader import Reader
from antigravity_healing.monitor.request_log.rows import LoggedExchange
from mitmproxy import http
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.harness import Proxy, upstream
from tests.e2e.streaming import BROKEN
from tests.e2e.test_capture import captured
from tests.e2e.test_modes_helpers import (
    DIALECTS,
    ask,
    empty,
    error,
    pairs_of_accounts,
    saved_flows,
    split_roles,
    story,
)
from tests.support import raw
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_error_event,
    anthropic_events,
    anthropic_reply,
    anthropic_start,
    anthropic_stream,
    gemini_stream,
)

GOOD = anthropic_stream("Hello")
WORDS = {"clean": "ok", "healed": "HEALED", "failed": "FAILED"}
SOFT = "soft"


@dataclass(frozen=True)
class Way:
    """One way to end.

    told: X-Healing-Outcome. outcome: what it came to in the end. log: the last line that tells of it.
    """

    plan: tuple[Reply, ...]
    status: int
    told: str
    outcome: str
    log: str
    dialect: str = "anthropic"
    streams: bool = True
    ended: str = "complete"
    route: str = "x"


THOUGHTS = anthropic_reply(anthropic_events("", thinking="Hm", stop_reason="end_turn"))
LATE = anthropic_reply([*GOOD.chunks[:4], anthropic_error_event()])
HELD_ERROR = anthropic_reply([anthropic_start(), anthropic_error_event("api_error", "Oops")])
ZERO = "0 tokens (stop reason end_turn) (empty)"
MISTAKE = error("anthropic", 400, "messages: odd")
REFUSED = error("anthropic", 401, "invalid x-api-key")
WAYS = {
    "at once": Way((GOOD,), 200, "clean", "clean", "delivered, clean"),
    "whole": Way((GOOD,), 200, "clean", "clean", "delivered, clean", streams=False),
    "the second time": Way((empty("anthropic"), GOOD), 200, "healed", "healed", "delivered, healed"),
    "the second time, Gemini": Way(
        (empty("gemini"), gemini_stream("Hello")), 200, "healed", "healed", "delivered, healed", "gemini"
    ),
    "0 tokens in the end": Way((empty("anthropic"),) * 2, 200, "failed", "failed", ZERO),
    "0 tokens, whole": Way(
        (empty("anthropic"),) * 2, 200, "failed", "failed", ZERO, streams=False
    ),
    "thoughts in the end": Way((THOUGHTS,) * 2, 200, "failed", "failed", "nothing but thoughts", streams=False),
    "thoughts that were begun": Way((THOUGHTS,), 200, "clean", "failed", "nothing but thoughts"),
    "the caller's mistake": Way((MISTAKE,), 400, "failed", "failed", "(caller); no other try"),
    "refused in the end": Way((REFUSED,) * 2, 401, "failed", "failed", "(auth); no other try"),
    "an error held in the end": Way((HELD_ERROR,) * 2, 500, "failed", "failed", "(transient); no other try"),
    "an error late": Way((LATE,), 200, "clean", "failed", "the client has been told"),
    "cut late": Way((GOOD.first(4),), 200, "clean", "failed", "the client has been told", ended="cut"),
    "cut late, Gemini": Way(
        (gemini_stream("Hello").first(1),), 200, "clean", "failed", "the client has been told", "gemini", ended="cut"
    ),
    "late after a failure": Way(
        (empty("anthropic"), GOOD.first(4)), 200, "healed", "failed", "the client has been told", ended="cut"
    ),
    "slowly": Way((GOOD.but(head_gap=0.5),), 200, "pending", "clean", "delivered, clean", route=SOFT),
    "slowly, and failed": Way(
        (HELD_ERROR.but(head_gap=0.5), HELD_ERROR), 200, "pending", "failed", "(transient); no other try", route=SOFT
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """All that is told of one way to end. line: the terminal's. counted: of what the metrics
    have one more."""

    response: raw.RawResponse
    flow: http.HTTPFlow
    log: list[str]
    line: str
    row: LoggedExchange
    counted: list[tuple[str, str]]
    captured: bool


def outcomes(proxy: Proxy) -> dict[tuple[str, str], float]:
    text = raw.request("GET", f"{proxy.url}/metrics").body.decode()
    return {
        (sample.labels["dialect"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "antigravity_exchanges_total" and sample.value
    }


def read_rows(proxy: Proxy) -> dict[str, LoggedExchange]:
    reader = Reader(proxy.folder / "home" / "requests.sqlite3")
    return {row.facts.exchange: row for row in reader.page(Filter()).exchanges}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    folder: Path = tmp_path_factory.mktemp("outcomes")
    config = "".join(pairs_of_accounts(dialect, len(WAYS)) for dialect in DIALECTS)
    config += (
        f'[retry]\nmax_attempts = 2\nmax_wait = 0.7\n[models]\n"*-{SOFT}" = {{ peek = {{ soft_commit = 0.2 }} }}\n'
    )
    answers: dict[str, raw.RawResponse] = {}
    counted: dict[str, list[tuple[str, str]]] = {}
    with Upstream() as server:
        config += "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)
        with Proxy(folder, config, args=["-w", str(folder / "flows")]) as proxy:
            for number, (name, way) in enumerate(WAYS.items()):
                server.reset()
                server.play(*way.plan)
                before = outcomes(proxy)
                answers[name] = ask(proxy.url, way.dialect, f"lane{number}-{way.route}", stream=way.streams)
                after = outcomes(proxy)
                counted[name] = [key for key, value in after.items() if value != before.get(key)]
        rows = read_rows(proxy)
        lines, kept = list(proxy.lines), {story(flow)["exchange"] for flow, _ in captured(proxy)}
        flows = {story(flow)["exchange"]: flow for flow, _ in split_roles(saved_flows(folder / "flows"))}
    ids = {name: answer.header("x-healing-id") or "" for name, answer in answers.items()}
    return {
        name: Told(
            answers[name],
            flows[found],
            [line for line in lines if f"[{found}]" in line and "captured in" not in line],
            next(line for line in lines if f" {found} " in line),
            rows[found],
            counted[name],
            found in kept,
        )
        for name, found in ids.items()
    }


@pytest.mark.parametrize("name", WAYS)
def test_all_that_is_told_of_an_end_agrees(told: dict[str, Told], name: str) -> None:
    way, got = WAYS[name], told[name]
    assert got.response.status == way.status
    assert got.response.ended in (BROKEN if way.ended == "cut" else (way.ended,))
    assert got.response.header("x-healing-outcome") == way.told
    assert story(got.flow)["outcome"] == way.outcome
    assert way.log in got.log[-1]
    failures = [attempt for attempt in story(got.flow)["attempts"] if attempt["failure"]]
    assert got.flow.marked == {"clean": "", "healed": ":adhesive_bandage:", "failed": ":x:"}[way.outcome]
    assert got.flow.comment.startswith(way.outcome) if failures else not got.flow.comment
    assert f"outcome={way.outcome}" in got.flow.metadata["antigravity.tags"]
    assert got.counted == [(way.dialect, way.outcome)]
    assert got.row.end is not None
    assert (got.row.end.outcome, got.row.end.status) == (way.outcome, way.status)
    noted = story(got.flow)["finding"]
    finding = got.row.end.finding
    assert (finding.what, finding.done, finding.do) == (noted["what"], noted["done"], noted["do"])
    assert f"] {WORDS[way.outcome]} " in got.line
    if way.outcome != "clean":
        assert noted["what"] in got.line
        assert noted["what"] in got.flow.comment
    assert ("TO DO: " + noted["do"] in got.line) == finding.needs_a_hand
    assert got.captured == (way.outcome == "failed")
    # No header says more than the end has come to.
    assert way.told in ("pending", way.outcome) or way.outcome == "failed"
    assert (way.told == "failed") <= (way.outcome == "failed")
