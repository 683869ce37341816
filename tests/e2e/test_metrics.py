"""The metrics of a real proxy say what its upstream and its clients have counted."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.harness import Proxy, upstream
from tests.e2e.test_modes_helpers import ask, empty, error, pairs_of_accounts, stream, target
from tests.e2e.test_modes_helpers import body as body_of
from tests.support import raw
from tests.upstream import Upstream, anthropic_stream

type Samples = dict[tuple[str, tuple[str, ...]], float]
ROUTE = '[models]\n"over-*" = "gemini/lane8-translated"\n'


def read(proxy: Proxy, accept: str = "") -> raw.RawResponse:
    headers = {"accept": accept} if accept else {}
    return raw.request("GET", f"{proxy.url}/metrics", None, headers)


def samples(proxy: Proxy) -> Samples:
    """All that are not 0, by name and the values of their labels, in the order of the labels' names."""
    text = read(proxy).body.decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.value
    }


def grown(before: Samples, after: Samples, name: str) -> dict[tuple[str, ...], float]:
    """By how much the samples of a metric have grown."""
    name = f"antigravity_{name}"
    found = {labels: value - before.get((each, labels), 0) for (each, labels), value in after.items() if each == name}
    return {labels: value for labels, value in found.items() if value}


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder: Path = tmp_path_factory.mktemp("metrics")
    config = ROUTE + "".join(
        pairs_of_accounts(dialect, 9) + upstream(dialect, dialect, server.url) for dialect in ("anthropic", "gemini")
    )
    with Proxy(folder, config) as proxy:
        yield proxy


def test_native_and_translated_exchanges_with_faults_are_counted_to_the_token(proxy: Proxy, server: Upstream) -> None:
    server.reset()
    before = samples(proxy)
    for dialect in ("anthropic", "gemini"):
        server.play(stream(dialect))
        assert ask(proxy.url, dialect, "lane0-x").header("x-healing-outcome") == "clean"
        server.play(empty(dialect), stream(dialect))
        assert ask(proxy.url, dialect, "lane1-x").header("x-healing-outcome") == "healed"
        server.play(error(dialect, 400, "odd"))
        assert ask(proxy.url, dialect, "lane2-x").status == 400
    server.play(empty("gemini"), stream("gemini"))
    assert ask(proxy.url, "anthropic", "over-x").header("x-healing-outcome") == "healed"
    after = samples(proxy)
    assert grown(before, after, "exchanges_total") == {
        ("anthropic", "clean"): 1,
        ("anthropic", "healed"): 2,
        ("anthropic", "failed"): 1,
        ("gemini", "clean"): 1,
        ("gemini", "healed"): 1,
        ("gemini", "failed"): 1,
    }
    attempts = Counter(labels[1] for labels in grown(before, after, "attempts_total"))
    assert attempts == {"delivered": 5, "empty": 3, "caller": 2}
    assert sum(grown(before, after, "attempts_total").values()) == len(server.calls)
    told = grown(before, after, "input_tokens_total")
    # Each stream of these upstreams says that it had 12 tokens of input, also one without content.
    assert told == {
        ("lane0-x", "anthropic"): 12,
        ("lane1-x", "anthropic"): 24,
        ("lane0-x", "gemini"): 12,
        ("lane1-x", "gemini"): 24,
        ("lane8-translated", "gemini"): 24,
    }
    assert sum(grown(before, after, "output_tokens_total").values()) >= 5 * 9


def test_what_runs_is_there_while_it_runs(proxy: Proxy, server: Upstream) -> None:
    server.reset()
    in_progress = "exchanges_in_progress"
    assert not grown({}, samples(proxy), in_progress)
    server.play(anthropic_stream("Hello").first(4, "stall"))
    url = proxy.url + target("anthropic", "lane3-x")
    connection = raw.RawConnection(url)
    connection.send("POST", url, body_of("anthropic", "lane3-x"), {"x-api-key": "k"})
    got = b""
    while b"text_delta" not in got:
        got += connection.socket.recv(65536)
    seen = samples(proxy)
    connection.socket.close()
    assert grown({}, seen, in_progress) == {("anthropic", "streaming"): 1}
    proxy.wait_for_log("the client left")
    over = samples(proxy)
    assert not grown({}, over, in_progress)
    assert grown(seen, over, "exchanges_total") == {("anthropic", "client_left"): 1}


def test_accounts_and_configuration_are_told_as_they_are_now(proxy: Proxy, server: Upstream) -> None:
    server.reset()
    server.play(error("gemini", 401, "API key not valid"), stream("gemini"))
    assert ask(proxy.url, "gemini", "lane4-x").header("x-healing-outcome") == "healed"
    found = samples(proxy)
    assert ("antigravity_account_available", ("gemini-4-first", "gemini")) not in found
    assert found["antigravity_account_available", ("gemini-4-second", "gemini")] == 1
    assert found["antigravity_config_last_reload_successful", ()] == 1
    assert found["antigravity_config_last_reload_success_timestamp_seconds", ()] > 1e9
    assert b"@accounts.example" not in read(proxy).body
    assert b"key-of-" not in read(proxy).body


def test_a_configuration_that_can_not_be_taken_up_is_told(proxy: Proxy) -> None:
    text = proxy.config_file.read_text()
    proxy.config_file.write_text(text + "\nodd = 1\n")
    proxy.wait_for_log("The changed configuration can't be used")
    assert ("antigravity_config_last_reload_successful", ()) not in samples(proxy)
    proxy.config_file.write_text(text + "\n# mended\n")
    proxy.wait_for_log("Configuration: from", 2)
    assert samples(proxy)["antigravity_config_last_reload_successful", ()] == 1


def test_the_format_is_the_one_that_is_asked_for(proxy: Proxy) -> None:
    assert (read(proxy).header("content-type") or "").startswith("text/plain; version=0.0.4")
    answer = read(proxy, "application/openmetrics-text; version=1.0.0")
    assert (answer.header("content-type") or "").startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")
