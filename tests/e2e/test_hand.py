"""What a person can do by hand, by a command and from a page: reset an account, read the configuration anew."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from antigravity_healing.monitor.status.top import ask as ask_now
from antigravity_healing.monitor.status.top import lines_of

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, body, credential, error
from tests.support import raw
from tests.upstream import Upstream, anthropic_stream

GOOD = anthropic_stream("Hello")
USED_UP = error("anthropic", 429, "rate_limit_error: Slow down", headers={"retry-after": "3000"})


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def proxy(server: Upstream, tmp_path: Path) -> Iterator[Proxy]:
    config = account("work", "anthropic") + upstream("anthropic", "anthropic", server.url)
    with Proxy(tmp_path, config) as proxy:
        yield proxy


def post(proxy: Proxy, what: str, **asked: str) -> tuple[int, dict[str, str]]:
    token = orjson.loads(raw.request("GET", f"{proxy.url}/antigravity/token").body)["token"]
    answer = raw.request(
        "POST", f"{proxy.url}/antigravity/{what}", asked, {"x-antigravity-token": token, "origin": proxy.url}
    )
    return answer.status, orjson.loads(answer.body)


def test_an_account_that_is_used_up_serves_again_once_it_is_reset(proxy: Proxy, server: Upstream) -> None:
    server.play(USED_UP, GOOD)
    assert ask(proxy.url, "anthropic", "claude-x").status == 429
    assert ask(proxy.url, "anthropic", "claude-x").status == 429
    health = proxy.health()
    assert health["status"] in ("degraded", "down")
    (condition,) = (each for each in health["conditions"] if each["kind"] == "quota")
    assert condition["what"].startswith("work is used up for claude-x until")
    assert condition["count"] == 1
    status, told = post(proxy, "account/reset", name="work")
    assert (status, "work was reset" in told["done"]) == (200, True)
    assert ask(proxy.url, "anthropic", "claude-x").status == 200
    assert proxy.health()["status"] == "ok"


def test_what_is_not_there_is_named_with_what_is(proxy: Proxy) -> None:
    status, told = post(proxy, "account/reset", name="nobody")
    assert (status, told["error"]) == (404, "there is no account 'nobody'; there are: work")


def test_a_broken_configuration_is_told_and_the_old_one_stays(proxy: Proxy, server: Upstream) -> None:
    good = proxy.config_file.read_text()
    proxy.config_file.write_text(good + "\n[retry]\nmax_attempts = 0\n")
    server.play(GOOD)
    status, told = post(proxy, "reload")
    assert status == 422
    assert "retry.max_attempts: must be at least 1" in told["error"]
    assert ask(proxy.url, "anthropic", "claude-x").status == 200
    (condition,) = proxy.health()["conditions"]
    assert (condition["kind"], condition["needs_a_hand"]) == ("configuration", True)
    proxy.config_file.write_text(good)
    assert post(proxy, "reload")[0] == 200
    assert proxy.health()["conditions"] == []


def test_configuration_that_is_not_there_any_more_is_told(proxy: Proxy) -> None:
    text = proxy.config_file.read_text()
    proxy.config_file.unlink()
    status, told = post(proxy, "reload")
    assert (status, "there is no configuration" in told["error"]) == (422, True)
    proxy.config_file.write_text(text)
    assert post(proxy, "reload")[0] == 200


@pytest.mark.parametrize("what", ["reload", "account/reset", "replay"])
def test_action_that_is_asked_for_in_a_wrong_way_says_which_is_right(proxy: Proxy, what: str) -> None:
    token = orjson.loads(raw.request("GET", f"{proxy.url}/antigravity/token").body)["token"]
    proven = {"x-antigravity-token": token, "origin": proxy.url, "content-type": "application/json"}
    for wrong in (b"{", b"[]", b'{"name": 1}'):
        answer = raw.request("POST", f"{proxy.url}/antigravity/{what}", wrong, proven)
        assert (answer.status, answer.json()["error"]) == (400, "the body has to be a JSON object of strings")
    got = raw.request("GET", f"{proxy.url}/antigravity/{what}")
    assert (got.status, got.header("allow")) == (405, "POST")
    assert got.json()["error"]["type"] == "invalid_request_error"


def test_an_account_without_a_key_is_that_wherever_accounts_are_told_of(server: Upstream, tmp_path: Path) -> None:
    config = account("keyless", "anthropic", api_key="env:NOT_SET_ANYWHERE") + account("work", "gemini")
    config += upstream("anthropic", "anthropic", server.url) + upstream("gemini", "gemini", server.url)
    with Proxy(tmp_path, config + "[retry]\nmax_wait = 0\n") as proxy:
        assert ask(proxy.url, "anthropic", "claude-x").status == 401
        health = proxy.health()
        [no_key, no_account] = sorted(health["conditions"], key=lambda each: each["kind"], reverse=True)
        assert (no_key["kind"], no_key["count"], no_key["needs_a_hand"]) == ("no_key", 1, True)
        do = "set NOT_SET_ANYWHERE in the environment (antigravity.toml, accounts[0]), and start the proxy again"
        assert (no_key["do"], no_key["account"]) == (do, "")
        assert (no_account["kind"], no_account["about"]) == ("no_account", "anthropic")
        reports = {each["name"]: each["no_key"] for each in health["accounts"]}
        assert reports == {"keyless": "the environment variable NOT_SET_ANYWHERE is not set", "work": None}
        told = lines_of(ask_now(proxy.url), 0.0)
        assert any(line.split()[:3] == ["keyless", "no", "key"] for line in told)
        assert any(line.split()[:2] == ["work", "free"] for line in told)
        metrics = raw.request("GET", f"{proxy.url}/metrics").body.decode()
        assert 'antigravity_account_available{account="keyless",upstream="anthropic"} 0.0' in metrics
        assert 'antigravity_account_available{account="work",upstream="gemini"} 1.0' in metrics
        (line,) = (line for line in proxy.lines if "] FAILED" in line)
        assert line.endswith(f"TO DO: {do}")


def test_now_tells_of_what_runs_until_it_is_over(proxy: Proxy, server: Upstream) -> None:
    server.play(GOOD.but(head_gap=30.0))
    client = raw.RawConnection(proxy.url)
    client.send("POST", f"{proxy.url}/v1/messages", body("anthropic", "claude-x"), credential("anthropic"))

    def now() -> dict[str, Any]:
        return orjson.loads(raw.request("GET", f"{proxy.url}/antigravity/now").body)  # type: ignore[no-any-return]

    server.wait_for(lambda server: server.calls)
    (running,) = now()["exchanges"]
    end = time.monotonic() + 15
    while running["phase"] == "waiting" and time.monotonic() < end:
        time.sleep(0.02)
        (running,) = now()["exchanges"]
    assert (running["model"], running["phase"], running["account"]) == ("claude-x", "thinking", "work")
    assert 0 < running["ends_s"] < 1000
    assert running["why"].startswith("Timeout waiting for first data: ")
    (line,) = (line for line in lines_of(ask_now(proxy.url), 0.0) if running["id"] in line)
    assert "thinking" in line
    assert "work" in line
    client.close()
    proxy.wait_for_log("the client left")
    assert now()["exchanges"] == []
    (account_now,) = now()["accounts"]
    assert (account_now["name"], account_now["over"], account_now["delivered"]) == ("work", 1, 0)
