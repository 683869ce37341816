"""Many streams at once through one process: nobody gets another's bytes, and nothing is left behind."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from tests.e2e.harness import account, upstream
from tests.e2e.probed import ProbedProxy
from tests.support import raw
from tests.support.protocol import AnthropicReport, GeminiReport, check_anthropic_stream, check_gemini_stream
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_empty,
    anthropic_error,
    anthropic_error_event,
    anthropic_reply,
    anthropic_start,
    anthropic_stream,
    gemini_chunk,
    gemini_chunks,
    gemini_empty,
    gemini_error,
    gemini_error_event,
    gemini_event,
    gemini_reply,
    retry_info,
)

MB = 1024 * 1024

_keys = count()


@dataclass(frozen=True)
class Plan:
    """What upstream plays for one client, and which of it the client has to get.

    delivered: the reply that the client gets, byte for byte; broken: only its beginning, and then an error.
    """

    key: str
    dialect: str
    replies: tuple[Reply, ...]
    delivered: Reply
    text: str
    broken: bool = False

    def check(self, response: raw.RawResponse) -> None:
        """The answer is this plan's, whole, and nobody else's."""
        # What upstream said ends as it said it.
        said = self.dialect == "anthropic" and b"event: error" in response.body
        assert response.status == 200, response
        assert response.ended in (("cut", "reset") if self.broken and not said else ("complete",)), response
        assert response.header("x-healing-attempts") == str(len(self.replies))
        report: AnthropicReport | GeminiReport
        if self.dialect == "anthropic":
            report = check_anthropic_stream(response.body, allow_cut=self.broken)
        else:
            report = check_gemini_stream(response.body, allow_cut=self.broken)
        if self.broken:
            assert report.ended == ("cut" if self.dialect == "anthropic" and not said else "error")
            assert response.body.startswith(self.delivered.whole)
            assert self.text.startswith(report.text)
            assert report.text
        else:
            assert report.ended == "complete"
            assert response.body == self.delivered.whole
            assert report.text == self.text


def plan_for(dialect: str, fault: str, key: str) -> Plan:
    """A plan whose every answer bears the key."""
    text = f"the answer of {key}. " * {"big": 24000, "few bytes at a time": 1}.get(fault, 8)
    good = stream(dialect, text, key)
    held = 2 if dialect == "anthropic" else 1
    late = anthropic_error_event() if dialect == "anthropic" else gemini_error_event()
    hinted = {"retry-after": "0.1"}
    match fault:
        case "clean" | "big":
            return Plan(key, dialect, (good,), good, text)
        case "few bytes at a time":
            return Plan(key, dialect, (good.but(split=9),), good, text)
        case "empty":
            first = anthropic_empty() if dialect == "anthropic" else gemini_empty()
        case "rate limit":
            first = anthropic_error(429, "rate_limit_error", "slow down", headers=hinted)
            if dialect == "gemini":
                first = gemini_error(429, None, "slow down", details=[retry_info("0.1s")])
        case "overloaded":
            first = anthropic_error(529, "overloaded_error", "Overloaded", headers=hinted)
            if dialect == "gemini":
                first = gemini_error(503, None, "overloaded", details=[retry_info("0.1s")])
        case "cut before content":
            first = good.first(held, "cut") if dialect == "anthropic" else meta_only(key).but(end="cut")
        case "error event before content":
            anthropic = anthropic_reply([anthropic_start(), anthropic_error_event("api_error", "retry in 0s")])
            first = anthropic if dialect == "anthropic" else gemini_reply([gemini_error_event(500)])
        case "cut after content":
            cut = good.first(held + 2, "cut")
            return Plan(key, dialect, (cut,), cut, text, broken=True)
        case "cut in the middle of an event":
            begun = good.first(held + 2, "cut")
            return Plan(key, dialect, (begun.inserted(held + 2, good.chunks[held + 2][:-9]),), begun, text, broken=True)
        case "error event after content":
            begun = good.first(held + 2, "normal")
            return Plan(key, dialect, (begun.inserted(held + 2, late),), begun, text, broken=True)
        case _:
            raise ValueError(fault)
    return Plan(key, dialect, (first, good), good, text)


def stream(dialect: str, text: str, key: str) -> Reply:
    """A good answer."""
    if dialect == "anthropic":
        return anthropic_stream(text, pieces=8, message_id=f"msg_{key}")
    return gemini_reply([gemini_event(chunk) for chunk in gemini_chunks(text, pieces=8, response_id=f"id-{key}")])


def meta_only(key: str) -> Reply:
    """A Gemini stream's beginning that holds nothing yet."""
    return gemini_reply([gemini_event(gemini_chunk([{"text": ""}], response_id=f"id-{key}"))])


# A third of the requests fail once: retries are at most half of the last minute's requests plus 20.
FAULTS = ("clean", "empty", "big", "rate limit", "few bytes at a time", "cut after content", "clean",
          "cut before content", "big", "error event after content", "error event before content",
          "cut in the middle of an event", "clean", "overloaded", "clean")  # fmt: skip


@dataclass(frozen=True)
class Load:
    """A proxy with both dialects, and its upstream."""

    proxy: ProbedProxy
    upstream: Upstream

    def ask(self, plan: Plan, connection: raw.RawConnection | None = None) -> raw.RawResponse:
        """One client, on a connection of its own unless one is given."""
        if plan.dialect == "anthropic":
            url = f"{self.proxy.url}/v1/messages"
            message: dict[str, Any] = {"role": "user", "content": f"[plan:{plan.key}]"}
            body = {"model": "claude-x", "max_tokens": 9, "stream": True, "messages": [message]}
        else:
            url = f"{self.proxy.url}/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
            body = {"contents": [{"role": "user", "parts": [{"text": f"[plan:{plan.key}]"}]}]}
        if connection is None:
            return raw.request("POST", url, body, timeout=60)
        connection.send("POST", url, body)
        return connection.read("POST")

    def play(self, streams: int) -> int:
        """Many clients at the same time, all checked, and nothing left; gives the memory then used, in bytes."""
        self.upstream.reset()
        plans = self.plans([FAULTS[number % len(FAULTS)] for number in range(streams)])
        with ThreadPoolExecutor(streams) as clients:
            for plan, response in zip(plans, clients.map(self.ask, plans), strict=True):
                plan.check(response)
        assert self.upstream.unplayed == 0
        assert len(self.upstream.calls) == sum(len(plan.replies) for plan in plans)
        alive = self.proxy.wait_until_clean()
        self.upstream.wait_for(lambda up: not up.open_connections and not up.active)
        assert all(not report["active"] for report in self.proxy.health()["accounts"])
        return alive.resident

    def plans(self, faults: Sequence[str]) -> list[Plan]:
        """Plans for these faults, dialects by turns; upstream knows them already."""
        plans = []
        for number, fault in enumerate(faults):
            plan = plan_for("gemini" if number % 2 else "anthropic", fault, f"k{next(_keys)}")
            self.upstream.play(*plan.replies, key=plan.key)
            plans.append(plan)
        return plans


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    with Upstream() as up:
        config = (
            account("a1", "anthropic") + account("a2", "anthropic") + account("g1", "gemini") + account("g2", "gemini")
        )
        config += "".join(upstream(dialect, dialect, up.url) for dialect in ("anthropic", "gemini"))
        # However slow the machine is: no answer begins before it is known how many tries it took.
        config += "[peek]\nsoft_commit = 600\n"
        with ProbedProxy(tmp_path_factory.mktemp("load"), config) as proxy:
            yield Load(proxy, up)


@pytest.mark.parametrize("streams", [60, pytest.param(200, marks=pytest.mark.long)])
def test_many_streams_at_once_are_right_and_leave_nothing(load: Load, streams: int) -> None:
    load.play(streams)


def test_memory_does_not_grow_from_round_to_round(load: Load) -> None:
    # The first rounds fill pools and caches; then what a round's answers (2 MB) left behind would add up.
    resident = [load.play(30) for _ in range(4)]
    assert resident[3] - resident[1] < 3 * MB, resident


def test_connection_that_stays_open_keeps_nothing_of_its_exchanges(load: Load) -> None:
    connections = {dialect: raw.RawConnection(load.proxy.url) for dialect in ("anthropic", "gemini")}
    for plan in load.plans(FAULTS):
        if not plan.broken:
            plan.check(load.ask(plan, connections[plan.dialect]))
    # The timers of the last exchanges may run out, which takes 5 s at most; nothing else is waited for.
    alive = load.proxy.wait_until(lambda alive: not alive.timers, "all timers have run out")
    assert (alive.clients, alive.running, alive.objects) == (2, 0, {})
    for connection in connections.values():
        connection.close()
    load.proxy.wait_until_clean()
