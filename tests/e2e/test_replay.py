"""mitmproxy's own replays: `-C`, mitmweb's button, and `-S`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.probed import ProbedProxy
from tests.e2e.test_modes_helpers import (
    CLIENT_KEY,
    DIALECTS,
    ask,
    empty,
    error,
    keys_of,
    read_stream,
    saved_flows,
    story,
    stream,
)
from tests.e2e.web import Web, running_web
from tests.support import raw
from tests.upstream import Call, Reply, Upstream, healthy

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def configuration(server: Upstream) -> str:
    config = "".join(
        account(f"{dialect}-{place}", dialect, priority=priority)
        for dialect in DIALECTS
        for priority, place in enumerate(("first", "second"))
    )
    return config + "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)


@dataclass(frozen=True)
class Recorded:
    """Files of flows: recorded with the addon (each exchange healed) and in plain mitmproxy (each answer empty)."""

    folder: Path
    server: Upstream
    healed: Path
    plain: Path
    long: Path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    with Upstream() as server:
        healed, plain = folder / "healed.flows", folder / "plain.flows"
        with (
            Proxy(folder / "with", configuration(server), args=["-w", str(healed)]) as proxy,
            Proxy(folder / "without", None, addon=False, args=["-w", str(plain)]) as bare,
        ):
            for dialect in DIALECTS:
                server.play(empty(dialect), stream(dialect, f"Recorded {dialect}"))
                assert read_stream(dialect, ask(proxy.url, dialect, f"{dialect}-m").body) == f"Recorded {dialect}"
                server.play(empty(dialect))
                ask(server.url, dialect, f"{dialect}-plain", proxy=bare.url)
            raw.request("GET", f"{server.url}/page", headers={"x-api-key": CLIENT_KEY}, proxy=bare.url)
        long = folder / "long.flows"
        with Proxy(folder / "long", configuration(server), args=["-w", str(long)]) as proxy:
            for dialect in DIALECTS:
                assert ask(proxy.url, dialect, f"{dialect}-long", "long " * 400).status == 200
        yield Recorded(folder, server, healed, plain, long)


@dataclass(frozen=True)
class Replayed:
    """What a run of `-C` did."""

    calls: list[Call]
    flows: list[http.HTTPFlow]
    log: str

    def exchange(self, model: str) -> http.HTTPFlow:
        [flow] = [one for one in self.flows if story(one).get("role") == "exchange" and story(one)["model"] == model]
        return flow

    def attempts(self, model: str) -> list[http.HTTPFlow]:
        number = story(self.exchange(model))["exchange"]
        return [one for one in self.flows if story(one).get("role") == "attempt" and story(one)["exchange"] == number]

    def calls_for(self, model: str) -> list[Call]:
        return [call for call in self.calls if model.encode() in call.path.encode() + call.body]


@pytest.fixture(scope="module")
def replayed(recorded: Recorded) -> Replayed:
    """Both files, replayed by one process; each request meets an empty answer first."""
    server, out = recorded.server, recorded.folder / "replayed.flows"
    server.reset()
    seen = set[str]()

    def once_empty(call: Call) -> Reply:
        if call.path == "/page":
            return healthy(call)
        dialect = "anthropic" if call.path == "/v1/messages" else "gemini"
        model = call.json["model"] if dialect == "anthropic" else call.path
        if model in seen:
            return stream(dialect, "Replayed")
        seen.add(model)
        return empty(dialect)

    server.default = once_empty
    try:
        args = ["-C", str(recorded.healed), "-C", str(recorded.plain), "-w", str(out)]
        proxy = Proxy(recorded.folder / "again", configuration(server), args=args).start(wait=False)
        try:
            status = proxy.wait_exit()
        finally:
            proxy.stop()
    finally:
        server.default = healthy
    assert status == 0, proxy.log
    assert "Traceback" not in proxy.log
    return Replayed(list(server.calls), saved_flows(out), proxy.log)


@each_dialect
@pytest.mark.parametrize("kind", ["m", "plain"])
def test_a_replayed_request_is_healed_through_the_configuration_of_now(
    replayed: Replayed, dialect: str, kind: str
) -> None:
    model = f"{dialect}-{kind}"
    flow = replayed.exchange(model)
    assert flow.response is not None
    assert read_stream(dialect, flow.response.content or b"") == "Replayed"
    assert story(flow)["outcome"] == "healed"
    assert flow.response.headers["x-healing-attempts"] == "2"
    assert [story(attempt)["attempt"] for attempt in replayed.attempts(model)] == [1, 2]
    assert flow.marked
    assert "0 tokens" in flow.comment
    calls = replayed.calls_for(model)
    assert keys_of(calls) == [key_of(f"{dialect}-first"), key_of(f"{dialect}-second")]


def test_recorded_attempts_are_not_replayed_as_if_clients_had_sent_them(replayed: Replayed) -> None:
    # Two calls for each of the four requests, and the one for the page.
    assert len(replayed.calls) == 9
    assert "not replayed by itself" in replayed.log


def test_what_is_not_ours_is_replayed_as_in_plain_mitmproxy(replayed: Replayed) -> None:
    [call] = [call for call in replayed.calls if call.path == "/page"]
    assert call.credentials == [f"x-api-key:{CLIENT_KEY}"]
    [flow] = [flow for flow in replayed.flows if flow.request.path == "/page"]
    assert not story(flow)
    assert flow.response is not None
    assert flow.response.status_code == 404


def test_a_replayed_flow_keeps_no_credential(replayed: Replayed) -> None:
    for flow in replayed.flows:
        if flow.request.path != "/page":
            state = repr(flow.get_state())
            assert "key-of-" not in state
            assert story(flow).get("role") == "attempt" or CLIENT_KEY not in repr(flow.response)


@each_dialect
def test_recorded_attempts_answer_without_network(recorded: Recorded, offline: Proxy, dialect: str) -> None:
    recorded.server.reset()
    response = ask(offline.url, dialect, f"{dialect}-m")
    assert read_stream(dialect, response.body) == f"Recorded {dialect}"
    assert response.header("x-healing-outcome") == "healed"
    assert response.header("x-healing-attempts") == "2"
    assert not recorded.server.calls


@pytest.fixture(scope="module")
def offline(recorded: Recorded) -> Iterator[Proxy]:
    """A proxy whose attempts are answered from the recorded ones."""
    args = ["-S", str(recorded.healed), "--set", "keepserving=true"]
    with Proxy(recorded.folder / "offline", configuration(recorded.server), args=args) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with Upstream() as server, running_web(tmp_path_factory.mktemp("web"), server, configuration(server)) as web:
        yield web


@each_dialect
def test_the_replay_button_heals_a_failed_exchange(web: Web, dialect: str) -> None:
    model = f"{dialect}-button"
    web.upstream.reset()
    web.upstream.play(error(dialect, 400, "Not today"))
    assert ask(web.proxy.url, dialect, model).status == 400
    web.wait_for(lambda: web.client_flow(model).get("response") and web.client_flow(model)["marked"])

    web.upstream.play(empty(dialect), stream(dialect, "Replayed"))
    web.replay(web.client_flow(model))
    web.wait_for(lambda: web.outcome(model) == "healed")
    assert read_stream(dialect, web.content(web.client_flow(model))) == "Replayed"
    assert len(web.upstream.calls) == 3
    # The replay's attempts show up beside those of the first time.
    web.wait_for(lambda: len(web.attempts(model)) == 3)
    # Before that the flow counts as running, and can't be replayed.
    web.wait_for(lambda: f"{model}: failed (400" in web.proxy.log)

    web.upstream.play(stream(dialect, "Again"))
    web.replay(web.client_flow(model))
    web.wait_for(lambda: web.outcome(model) == "clean")
    assert read_stream(dialect, web.content(web.client_flow(model))) == "Again"


def test_the_replay_button_on_an_attempt_sends_nothing(web: Web) -> None:
    web.upstream.reset()
    ask(web.proxy.url, "anthropic", "attempts-button")
    web.wait_for(lambda: web.attempts("attempts-button") and web.attempts("attempts-button")[0].get("response"))
    # Its content is whole then.
    web.wait_for(lambda: web.outcome("attempts-button") == "clean")
    [attempt] = web.attempts("attempts-button")
    before = web.content(attempt)
    web.replay(attempt)
    web.wait_for(lambda: "not replayed by itself" in web.proxy.log)
    web.wait_for(lambda: web.attempts("attempts-button")[0].get("response"))
    web.wait_for(lambda: web.content(web.attempts("attempts-button")[0]) == before)
    assert len(web.upstream.calls) == 1


REFUSING: dict[str, tuple[str, Callable[[str], str]]] = {
    "404": ("404", lambda config: config.replace("[[accounts]]\n", '[[accounts]]\nmodels = ["another"]\n')),
    "413": ("413", lambda config: config + "[clients]\nmax_body = 1024\n"),
    "no credential": ("401", lambda config: re.sub("api_key = .*", 'api_key = "env:NOWHERE"', config)),
}


@pytest.mark.parametrize("why", REFUSING)
def test_a_replay_that_the_proxy_refuses_has_failed(recorded: Recorded, tmp_path: Path, why: str) -> None:
    status, changed = REFUSING[why]
    recorded.server.reset()
    out = tmp_path / "out.flows"
    proxy = run_replay(
        tmp_path, changed(configuration(recorded.server)), recorded.long if why == "413" else recorded.healed, out
    )
    assert proxy.wait_exit() == 1, proxy.log
    exchanges = [flow for flow in saved_flows(out) if story(flow).get("role") == "exchange"]
    assert exchanges
    for flow in exchanges:
        assert flow.response is not None
        assert str(flow.response.status_code) == status
        assert story(flow)["outcome"] in ("refused", "failed")
        assert "0 tokens" not in flow.comment
    told = [line.partition(" → ")[2] for line in proxy.lines if " → " in line]
    assert len(told) == len(exchanges)
    assert all(line.startswith("failed (") for line in told), told
    assert f"0 succeeded, {len(exchanges)} failed" in proxy.log
    assert not recorded.server.calls


def test_a_replay_needs_no_client_key(recorded: Recorded, tmp_path: Path) -> None:
    recorded.server.reset()
    keys = '[clients]\nkeys = ["the-gateway-key"]\nloopback_only = false\n'
    proxy = run_replay(tmp_path, configuration(recorded.server) + keys, recorded.healed, tmp_path / "out.flows")
    assert proxy.wait_exit() == 0, proxy.log
    assert "2 exchanges replayed: 2 succeeded, 0 failed" in proxy.log
    with Proxy(tmp_path / "serving", configuration(recorded.server) + keys) as serving:
        recorded.server.reset()
        # Nobody becomes a replay by saying so.
        pretending = {"x-api-key": CLIENT_KEY, "is-replay": "request", "x-mitmproxy-replay": "1"}
        assert ask(serving.url, "anthropic", "m", headers=pretending).status == 401
        assert not recorded.server.calls


def test_of_its_replay_an_exchange_says_what_came_of_it_and_another_flow_what_mitmproxy_says(
    recorded: Recorded, tmp_path: Path
) -> None:
    recorded.server.reset()
    script = tmp_path / "streams.py"
    script.write_text("def responseheaders(flow):\n    flow.response.stream = flow.request.path == '/page'\n")
    args = ["-C", str(recorded.plain), "-s", str(script)]
    quiet = {"termlog_verbosity": "info"}
    proxy = Proxy(tmp_path / "proxy", configuration(recorded.server), options=quiet, args=args).start(wait=False)
    try:
        assert proxy.wait_exit() == 0, proxy.log
    finally:
        proxy.stop()
    # The page's alone: mitmproxy replays it.
    assert sum("[replay] Streaming response" in line for line in proxy.lines) == 1
    assert sum("] ok " in line for line in proxy.lines) == len(DIALECTS)
    assert proxy.log_file.read_text("utf-8").count("[replay] Streaming response") == len(DIALECTS)


def run_replay(folder: Path, config: str, file: Path, out: Path) -> Proxy:
    """Run `mitmdump -C` on a file of flows, which ends by itself."""
    return Proxy(folder / "replaying", config, args=["-C", str(file), "-w", str(out)]).start(wait=False)


@each_dialect
def test_mitmwebs_list_is_told_of_what_comes_of_each_flow(web: Web, dialect: str) -> None:
    web.upstream.reset()
    web.upstream.play(empty(dialect), stream(dialect))
    begun, over = set[str](), set[str]()

    def is_told(message: dict[str, Any]) -> bool:
        """Whether the page knows by now of three answers, the client's and those to both attempts, that they ended."""
        flow = message["payload"]["flow"] if message["type"] == "flows/update" else {}
        if response := flow.get("response"):
            (over if response["timestamp_end"] else begun).add(flow["id"])
        return len(over) == 3

    told = web.watch(lambda: ask(web.proxy.url, dialect, f"{dialect}-watched"), is_told)
    added = {message["payload"]["flow"]["id"] for message in told if message["type"] == "flows/add"}
    assert added == over
    # Not only at its end: a person sees the status as soon as it is there.
    assert begun == over


def test_a_replay_leaves_no_timer(recorded: Recorded, tmp_path: Path) -> None:
    recorded.server.reset()
    args = ["-C", str(recorded.healed), "--set", "keepserving=true"]
    with ProbedProxy(tmp_path, configuration(recorded.server), args=args) as proxy:
        proxy.wait_for_log(" → clean", 2)
        alive = proxy.alive()
        # Those of a client's exchange end by themselves in some seconds, which is no excuse.
        assert "wakeup timer" not in alive.tasks
        assert alive.running == 0
