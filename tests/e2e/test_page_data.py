"""What the page asks for: from a mitmweb that keeps flows and no request log, and from a mitmdump."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_hand import post
from tests.e2e.test_modes_helpers import ask, error
from tests.e2e.web import Web, running_web
from tests.support import raw
from tests.upstream import Upstream, anthropic_empty, anthropic_stream

GOOD = anthropic_stream("Hello")


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


def config(server: Upstream, more: str = "") -> str:
    accounts = account("first", "anthropic", priority=0) + account("second", "anthropic", priority=1)
    return accounts + upstream("anthropic", "anthropic", server.url) + "[retry]\nmax_attempts = 2\n" + more


@pytest.fixture(scope="module")
def web(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with running_web(tmp_path_factory.mktemp("web"), server, config(server, "[request_log]\nenabled = false\n")) as web:
        yield web


def get(proxy: Proxy, what: str, **query: str) -> tuple[int, dict[str, Any]]:
    answer = raw.request("GET", f"{proxy.url}/antigravity/{what}?{urlencode(query)}")
    return answer.status, orjson.loads(answer.body)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_without_a_log_an_exchange_is_told_by_its_flow_and_sent_again_where_it_stands(web: Web) -> None:
    web.upstream.play(error("anthropic", 401, "invalid x-api-key"), error("anthropic", 400, "odd"))
    answer = ask(web.proxy.url, "anthropic", "by-flow")
    status, told = get(web.proxy, "exchanges")
    assert (status, "request log is off" in told["error"]) == (503, True)
    [captured] = [each for each in get(web.proxy, "captures")[1]["captures"] if each["model"] == "by-flow"]
    status, told = get(web.proxy, "exchange", id=captured["exchange"])
    assert (status, told["state"], told["kept_in"]) == (200, "failed", "mitmproxy's list of flows")
    assert [each["account"] for each in told["story"]["attempts"]] == ["first", "second"]
    assert "request log is off" in told["off"]
    assert any("attempt 1 → attempt 2" in line for line in told["diff"])
    assert "by-flow" in told["text"] + told["curl"]
    web.upstream.play(GOOD)
    assert post(web.proxy, "replay", id=captured["exchange"])[0] == 200
    web.wait_for(lambda: not get(web.proxy, "replays")[1]["replays"][0]["running"])
    [replay] = get(web.proxy, "replays")[1]["replays"]
    assert (replay["came"], replay["now"] != captured["exchange"]) == ("clean", True)
    # What it was is told by its id, what it is now by the new one.
    for exchange, outcome in ((captured["exchange"], "failed"), (replay["now"], "clean")):
        assert get(web.proxy, "exchange", id=exchange)[1]["story"]["outcome"] == outcome
    assert web.outcome("by-flow") != dict(answer.headers).get("x-healing-outcome")


def test_what_is_not_there_is_told_and_what_can_be_done(web: Web) -> None:
    status, told = get(web.proxy, "exchange", id="0123abcd")
    assert (status, told["error"].startswith("nothing is known of 0123abcd: the request log is off")) == (404, True)
    status, told = post(web.proxy, "replay", id="0123abcd")
    assert (status, told["error"]) == (404, "no request of 0123abcd is kept: it can't be sent again")
    assert get(web.proxy, "flow", id="0123abcd")[0] == 404
    assert get(web.proxy, "flow")[0] == 404


def test_a_captured_exchange_that_mitmweb_has_forgotten_is_replayed_into_its_list(web: Web) -> None:
    web.upstream.play(error("anthropic", 400, "odd too"))
    ask(web.proxy.url, "anthropic", "forgotten")
    web.wait_for(lambda: [each for each in get(web.proxy, "captures")[1]["captures"] if each["model"] == "forgotten"])
    [captured] = [each for each in get(web.proxy, "captures")[1]["captures"] if each["model"] == "forgotten"]
    web.command("view.clear")
    assert get(web.proxy, "exchange", id=captured["exchange"])[1]["kept_in"].startswith("captured/")
    web.upstream.play(anthropic_empty(), GOOD)
    assert post(web.proxy, "replay", id=captured["exchange"])[0] == 200
    web.wait_for(lambda: not get(web.proxy, "replays")[1]["replays"][0]["running"])
    assert get(web.proxy, "replays")[1]["replays"][0]["came"] == "healed (2 attempts)"
    assert web.client_flow("forgotten")["response"]["status_code"] == 200


def test_what_has_not_changed_is_not_sent_again_and_what_has_is(server: Upstream, tmp_path: Path) -> None:
    with Proxy(tmp_path, config(server)) as proxy:
        # One account is benched for an hour: until when, and not for how long, is told.
        server.play(error("anthropic", 429, "used up", {"retry-after": "3600"}), GOOD)
        ask(proxy.url, "anthropic", "unchanged")
        wait_for(lambda: get(proxy, "exchanges", outcome="healed")[1].get("exchanges"))
        for what in ("now", "exchanges", "captures"):
            first = again(proxy, what)
            assert (first.status, bool(first.header("etag"))) == (200, True)
            same = again(proxy, what, first.header("etag"))
            assert (same.status, same.body, same.header("etag")) == (304, b"", first.header("etag"))
            assert again(proxy, what, '"another"').status == 200
        before = {what: again(proxy, what).header("etag") for what in ("now", "exchanges")}
        server.play(GOOD)
        ask(proxy.url, "anthropic", "changed")
        wait_for(lambda: len(get(proxy, "exchanges", outcome="clean")[1].get("exchanges", [])) == 1)
        assert [again(proxy, what, etag).status for what, etag in before.items()] == [200, 200]
        assert get(proxy, "now")[1]["begun"] == 2
        assert again(proxy, "exchanges", before["exchanges"], outcome="failed").status == 200


def again(proxy: Proxy, what: str, etag: str | None = None, **query: str) -> raw.RawResponse:
    """What is told to somebody who has this version already."""
    headers = {"if-none-match": etag} if etag else {}
    return raw.request("GET", f"{proxy.url}/antigravity/{what}?{urlencode(query)}", headers=headers)


def test_an_odd_filter_is_told_what_would_be_right(server: Upstream, tmp_path: Path) -> None:
    with Proxy(tmp_path, config(server)) as proxy:
        assert get(proxy, "captures")[1]["captures"] == []
        for query, why in (
            ({"outcome": "helaed"}, "did you mean healed?"),
            ({"colour": "red"}, "there is nothing called colour to filter by"),
            ({"limit": "201"}, "limit has to be at most 200 here"),
        ):
            status, told = get(proxy, "exchanges", **query)
            assert (status, why in told["error"]) == (400, True)
        server.play(GOOD, GOOD)
        for _ in range(2):
            ask(proxy.url, "anthropic", "paged")
        found: list[dict[str, Any]] = []
        wait_for(lambda: len(get(proxy, "exchanges", outcome="clean")[1].get("exchanges", [])) == 2)
        after = ""
        for _ in range(2):
            page = get(proxy, "exchanges", limit="1", after=after)[1]
            found += page["exchanges"]
            after = page["after"]
        assert len({each["exchange"] for each in found}) == 2
        assert get(proxy, "exchanges", limit="1", after=after)[1] == {
            "exchanges": [],
            "after": None,
            "searched_to": None,
            "off": None,
        }
        assert get(proxy, "hour")[1]["total"]["outcomes"] == {"clean": 2}
