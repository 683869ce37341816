"""What is told of requests that the proxy refuses: who asked what of which API, in the log and the metrics."""

import time
from collections.abc import Iterator

import pytest
from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.reader import Reader
from antigravity_healing.monitor.request_log.rows import LoggedExchange

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_metrics import grown, samples
from tests.e2e.test_modes_helpers import DIALECTS, ask, stream
from tests.support import raw
from tests.upstream import Upstream

KEY = "a-key-in-the-address-0815"
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    config = "".join(
        account(dialect, dialect, models=["served-*"]) + upstream(dialect, dialect, server.url) for dialect in DIALECTS
    )
    config += '[models]\n"mapped-*" = "anthropic/nobody-serves-this"\n[clients]\nmax_body = 20000\n'
    with Proxy(tmp_path_factory.mktemp("refused"), config) as proxy:
        yield proxy


def row_of(proxy: Proxy, answer: raw.RawResponse) -> LoggedExchange:
    """The row that has the id which a client was told, once it is over."""
    reader, end = Reader(proxy.folder / "home" / "requests.sqlite3"), time.monotonic() + 15
    while time.monotonic() < end:
        told = Filter(exchange=answer.header("x-healing-id") or "none")
        for one in reader.page(told).exchanges if reader.path.exists() else ():
            if one.end is not None:
                return one
        time.sleep(0.02)
    raise AssertionError(proxy.log)


@each_dialect
def test_a_model_that_nobody_serves_is_told_with_its_client_as_what_is_served(
    proxy: Proxy, server: Upstream, dialect: str
) -> None:
    server.play(stream(dialect))
    served = row_of(proxy, ask(proxy.url, dialect, "served-well"))
    before = samples(proxy)
    answer = ask(proxy.url, dialect, f"unserved-{dialect}", query=f"key={KEY}")
    assert answer.status == 404
    facts = row_of(proxy, answer).facts
    assert (facts.dialect, facts.method, facts.model) == (dialect, "POST", f"unserved-{dialect}")
    assert facts.client == served.facts.client != ""
    assert facts.path.partition("?")[0] == facts.path
    assert grown(before, samples(proxy), "exchanges_total") == {(dialect, "refused"): 1}
    assert KEY not in proxy.log


def test_the_model_that_was_meant_is_told_with_the_one_that_was_asked_for(proxy: Proxy) -> None:
    facts = row_of(proxy, ask(proxy.url, "anthropic", "mapped-one")).facts
    assert (facts.model, facts.mapped_model) == ("mapped-one", "nobody-serves-this")


@each_dialect
def test_a_body_that_is_too_long_is_told_before_its_model_is_known(proxy: Proxy, dialect: str) -> None:
    before = samples(proxy)
    answer = ask(proxy.url, dialect, "served-long", "x" * 30_000)
    assert answer.status == 413
    facts = row_of(proxy, answer).facts
    assert (facts.dialect, facts.method, facts.model) == (dialect, "POST", "")
    assert facts.client
    assert grown(before, samples(proxy), "exchanges_total") == {(dialect, "refused"): 1}


def test_who_is_turned_away_at_the_door_and_who_errs_are_told_apart_by_what_they_ask(proxy: Proxy) -> None:
    turned_away = ask(proxy.url, "gemini", "served-x", headers={"origin": "https://evil.example"})
    assert turned_away.status == 403
    facts = row_of(proxy, turned_away).facts
    assert (facts.dialect, facts.method, bool(facts.client)) == ("gemini", "POST", True)
    lost = raw.request("POST", f"{proxy.url}/nothing/here?key={KEY}", {}, {"anthropic-version": "2023-06-01"})
    assert lost.status == 404
    facts = row_of(proxy, lost).facts
    assert (facts.dialect, facts.path) == ("anthropic", "/nothing/here")
    page = raw.request("GET", f"{proxy.url}/antigravity/now", headers={"origin": "https://evil.example"})
    assert page.status == 403
    facts = row_of(proxy, page).facts
    assert (facts.dialect, facts.path, bool(facts.client)) == ("", "/antigravity/now", True)


def test_what_one_request_was_refused_for_does_not_stick_to_the_next(proxy: Proxy) -> None:
    ask(proxy.url, "anthropic", "unserved-before")
    nobody = raw.RawConnection(proxy.url)
    nobody.send_bytes(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: x\r\n\r\n")
    answer = nobody.read()
    nobody.close()
    assert answer.status == 400
    facts = row_of(proxy, answer).facts
    assert (facts.dialect, facts.model, facts.path, facts.client) == ("", "", "", "")
