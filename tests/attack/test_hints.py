"""Foreign numbers: an upstream's wait hints can't take an account out of use for good."""

import email.utils
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, error, keys_of, read_error, read_stream, stream
from tests.upstream import Call, Reply, Upstream, anthropic_error, error_info, gemini_error, quota_failure, retry_info

DAY_S = 24 * 3600
LIMITED = "This request would exceed a rate limit."
FOREIGN: dict[str, tuple[str, Callable[[], Reply]]] = {
    "99999999999": ("anthropic", lambda: limited("99999999999")),
    "1e300": ("anthropic", lambda: limited("1e300")),
    "year 9999": ("anthropic", lambda: limited("Fri, 31 Dec 9999 23:59:59 GMT")),
    "an epoch": ("anthropic", lambda: limited(str(int(time.time()) + 400 * DAY_S))),
    "ms 1e300": ("anthropic", lambda: error("anthropic", 429, LIMITED, {"retry-after-ms": "1e300"})),
    "reset": ("anthropic", lambda: used_up("9999-12-31T23:59:59Z")),
    "google retry-after": ("gemini", lambda: error("gemini", 429, LIMITED, {"retry-after": "99999999999"})),
    "RetryInfo": ("gemini", lambda: gemini_error(429, None, LIMITED, details=[retry_info("999999999999999s")])),
    "retry in": ("gemini", lambda: gemini_error(429, None, f"{LIMITED} Please retry in 999999999999999s.")),
}
NAMED: dict[str, tuple[str, Callable[[], Reply]]] = {
    "unified": ("anthropic", lambda: rejected("99999999999")),
    "quotaId": (
        "gemini",
        lambda: gemini_error(429, None, LIMITED, details=[quota_failure("PerWeek"), retry_info("999999999999999s")]),
    ),
    "quotaResetDelay": (
        "gemini",
        lambda: gemini_error(
            429, None, LIMITED, details=[error_info("QUOTA_EXHAUSTED", quotaResetDelay="999999999999999s")]
        ),
    ),
}


def limited(retry_after: str) -> Reply:
    return error("anthropic", 429, LIMITED, {"retry-after": retry_after})


def used_up(reset: str) -> Reply:
    headers = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": reset}
    return error("anthropic", 429, LIMITED, headers)


def rejected(reset: str) -> Reply:
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": reset,
        "anthropic-ratelimit-unified-representative-claim": "seven_day",
    }
    return error("anthropic", 429, LIMITED, headers)


@dataclass(frozen=True)
class Bank:
    """A proxy with one account for each model `N-model`, of either dialect."""

    proxy: Proxy
    upstream: Upstream

    def ask(self, dialect: str, model: str, *replies: Reply) -> tuple[int, str | None]:
        """One request: its status and retry-after."""
        self.upstream.play(*replies)
        response = ask(self.proxy.url, dialect, model)
        if response.status == 200:
            assert read_stream(dialect, response.body) == "Hello"
        else:
            read_error(dialect, response)
        return response.status, response.header("retry-after")

    def seconds_left(self, name: str) -> float:
        """For how long an account is benched."""
        [found] = [each for each in self.proxy.health()["accounts"] if each["name"] == name]
        return max((bench["seconds_left"] for bench in found["benches"]), default=0.0)


def accounts(dialect: str, names: list[str]) -> str:
    return "".join(account(name, dialect, models=[f"{name}-model"]) for name in names)


def names_of(cases: dict[str, tuple[str, Callable[[], Reply]]], dialect: str) -> list[str]:
    return [name_of(case) for case, (spoken, _) in cases.items() if spoken == dialect]


def name_of(case: str) -> str:
    return case.replace(" ", "-").lower()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    with Upstream() as server:
        config = "[retry]\nspare_retries = 1000000\n"
        for dialect in ("anthropic", "gemini"):
            config += accounts(dialect, names_of(FOREIGN | NAMED, dialect)) + upstream(dialect, dialect, server.url)
        config += accounts("anthropic", ["skewed", "past"])
        with Proxy(tmp_path_factory.mktemp("hints"), config) as proxy:
            yield Bank(proxy, server)


@pytest.fixture
def bank(running: Bank) -> Bank:
    running.upstream.reset()
    return running


@pytest.mark.parametrize("case", FOREIGN)
def test_a_hint_benches_an_account_for_a_day_at_most(bank: Bank, case: str) -> None:
    dialect, reply = FOREIGN[case]
    refusal = reply()
    status, retry_after = bank.ask(dialect, f"{name_of(case)}-model", refusal)
    assert status == 429
    assert retry_after == refusal.headers.get("retry-after"), "upstream's own answer is delivered as it is"
    assert DAY_S - 600 < bank.seconds_left(name_of(case)) <= DAY_S
    # The refusal that we make ourselves names what we believe.
    calls = len(bank.upstream.calls)
    status, retry_after = bank.ask(dialect, f"{name_of(case)}-model")
    assert status == 429
    assert DAY_S - 600 < int(retry_after or 0) <= DAY_S
    assert len(bank.upstream.calls) == calls


@pytest.mark.parametrize("case", NAMED)
def test_a_hint_that_names_its_quota_benches_for_a_week_at_most(bank: Bank, case: str) -> None:
    dialect, reply = NAMED[case]
    assert bank.ask(dialect, f"{name_of(case)}-model", reply())[0] == 429
    assert 7 * DAY_S - 600 < bank.seconds_left(name_of(case)) <= 7 * DAY_S


def test_a_date_is_taken_against_the_answers_own_clock(bank: Bank) -> None:
    def in_half_a_second(_: Call) -> Reply:
        # Its clock is a day ahead: by ours this is a wait of a day.
        there = time.time() + DAY_S
        headers = {"date": email.utils.formatdate(there, usegmt=True), "retry-after": f"{int(there) + 1}"}
        return error("anthropic", 429, LIMITED, headers)

    bank.upstream.play(in_half_a_second)
    response = ask(bank.proxy.url, "anthropic", "skewed-model")
    assert read_stream("anthropic", response.body) == "Hello"
    assert bank.seconds_left("skewed") == 0


@pytest.mark.parametrize("hint", ["-99999999999", "nan", "-inf", "Thu, 01 Jan 1970 00:00:00 GMT", "1000000000"])
def test_a_hint_of_the_past_or_of_nothing_keeps_nobody_waiting(bank: Bank, hint: str) -> None:
    assert bank.ask("anthropic", "past-model", limited(hint)) == (200, None)
    assert bank.seconds_left("past") == 0


def test_a_long_bench_is_probed_and_ends_when_the_account_serves_again(tmp_path: Path) -> None:
    limits = "[limits]\nprobe_seconds = 0.2\n"
    with Upstream() as server:
        config = limits + account("only", "anthropic") + upstream("anthropic", "anthropic", server.url)
        with Proxy(tmp_path / "proxy", config) as proxy:
            bank = Bank(proxy, server)
            assert bank.ask("anthropic", "m", limited("1e300"))[0] == 429
            # It is still meant, and then no more. No request but a probe reaches upstream.
            server.default = limited("1e300")
            patience = time.monotonic() + 10
            while len(server.calls) < 2:
                assert bank.ask("anthropic", "m")[0] == 429
                assert time.monotonic() < patience
            server.default = stream("anthropic")
            while bank.ask("anthropic", "m")[0] != 200:
                assert time.monotonic() < patience
            assert bank.seconds_left("only") == 0
            assert bank.ask("anthropic", "m")[0] == 200


def test_only_models_that_upstreams_know_get_benches_and_health_shows_no_others(tmp_path: Path) -> None:
    with Upstream() as server:
        config = "[retry]\nspare_retries = 1000000\n" + account("first", "anthropic", models=["known", "*"])
        config += account("second", "anthropic", priority=1) + upstream("anthropic", "anthropic", server.url)
        with Proxy(tmp_path / "proxy", config) as proxy:
            bank = Bank(proxy, server)
            server.default = anthropic_error(404, "not_found_error", "model: there is none of this name")
            for number in range(40):
                assert bank.ask("anthropic", f"nonsense-{number}")[0] == 404
            assert all(not each["benches"] for each in proxy.health()["accounts"])
            # A model that the configuration names is remembered, and asked of the other account.
            missing = server.default
            assert isinstance(missing, Reply)
            server.default = stream("anthropic")
            server.reset()
            assert bank.ask("anthropic", "known", missing)[0] == 200
            assert bank.ask("anthropic", "known")[0] == 200
            assert [key[7:] for key in keys_of(server.calls)] == [
                "first-0123456789",
                "second-0123456789",
                "second-0123456789",
            ]
