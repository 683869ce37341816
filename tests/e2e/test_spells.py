"""Spells of failing: they are waited out if they are over soon, whatever the number of tries, and else told."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.failures import answer, ask, empty, error, healthy_accounts, overloaded
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask as ask_plainly
from tests.e2e.test_modes_helpers import read_error, read_stream
from tests.upstream import Reply, Upstream, anthropic_reply, anthropic_start, gemini_chunk, gemini_event, gemini_reply

SETTINGS = """
[retry]
max_attempts = 2
max_wait = 2.5
spare_retries = 1000000
[peek]
soft_commit = 0.3
keep_alive = 0.2
"""
LANES = 20
GIVES_UP = "no other try, the client gets this"
RESOLVER = """
import pathlib
import socket

_AWAKE = pathlib.Path({awake!r})
_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if name != "waking.test":
        return _getaddrinfo(host, *args, **kwargs)
    if not _AWAKE.exists():
        raise socket.gaierror(socket.{code}, "the network is away")
    return _getaddrinfo("127.0.0.1", *args, **kwargs)


socket.getaddrinfo = getaddrinfo
"""
"""A name that can't be resolved until a file is there."""
_numbers = count()
both_dialects = pytest.mark.parametrize("dialect", ["anthropic", "gemini"])


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    config = SETTINGS
    for dialect in ("anthropic", "gemini"):
        config += upstream(dialect, dialect, server.url)
        for number in range(LANES):
            for priority, place in enumerate(("first", "second")):
                models = [f"{dialect}-lane{number:03}-*"]
                config += account(f"{dialect[0]}{number}{place}", dialect, models=models, priority=priority)
    with Proxy(tmp_path_factory.mktemp("spells"), config) as running:
        yield running


@pytest.fixture
def lane(proxy: Proxy, server: Upstream, dialect: str) -> Lane:
    number = next(_numbers)
    server.reset()
    names = (f"{dialect[0]}{number}first", f"{dialect[0]}{number}second")
    return Lane(proxy, server, dialect, f"{dialect}-lane{number:03}-x", names)


@pytest.mark.parametrize(("dialect", "stream"), [("anthropic", True), ("gemini", False)])
def test_an_overload_that_is_over_within_max_wait_is_healed_by_more_tries_than_are_allowed(
    lane: Lane, stream: bool
) -> None:
    asked = ask(lane, *[overloaded(lane)] * 2, answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first"] * 3)
    assert asked.waits[1] > asked.waits[0] >= 0.8


@both_dialects
def test_errors_of_the_service_and_empty_answers_use_up_tries(lane: Lane) -> None:
    internal = error(lane, 500, "An internal error has occurred.")
    assert ask(lane, internal, internal).logged(f"{GIVES_UP} (its tries are used up (max_attempts = 2))") == 1
    asked = ask(lane, empty(lane), internal)
    assert asked.logged(f"{GIVES_UP} (its tries are used up (max_attempts = 2))") == 1


@both_dialects
def test_a_client_that_waits_gets_signs_of_life_between_two_tries(lane: Lane) -> None:
    start = anthropic_start() if lane.dialect == "anthropic" else gemini_event(gemini_chunk([{"text": ""}]))
    sign = b"event: ping" if lane.dialect == "anthropic" else b"\r\n\r\n"
    begun = (anthropic_reply if lane.dialect == "anthropic" else gemini_reply)([start]).but(end="cut")
    asked = ask(lane, begun, overloaded(lane), overloaded(lane), answer(lane))
    assert asked.report().text == "Hello"
    # It took two seconds and a half, of which no try took any.
    before, _, _ = asked.body.partition(b"Hello")
    assert before.count(sign) >= 5


@both_dialects
def test_a_server_that_stays_overloaded_is_told_with_the_budget_that_ended_it(lane: Lane) -> None:
    asked = ask(lane, *[overloaded(lane)] * 3)
    asked.assert_delivered(overloaded(lane), ["first"] * 3)
    # Nothing sleeps after the last try.
    assert asked.tail < 2.4
    assert asked.logged(f"{GIVES_UP} (its time is used up: the wait would go beyond max_wait = 2.5 s)") == 1
    assert healthy_accounts(lane) == {"first": True, "second": True}
    ask(lane, answer(lane, "again")).assert_served("again", ["first"])


@both_dialects
def test_a_connection_that_always_breaks_is_tried_on_both_accounts_and_then_more_slowly(lane: Lane) -> None:
    asked = ask(lane, *[Reply(before="reset")] * 5)
    asked.assert_failed(["first", "first", "second", "first", "second"])
    assert asked.waits[2] >= 0.8
    assert 500 <= asked.status < 600
    # It says what was tried.
    message = asked.error()["message"]
    assert all(name in message for name in lane.accounts)


def local(proxy_folder: Path, url: str, *args: str) -> Proxy:
    """A proxy with one account, at this place."""
    config = "[retry]\nmax_wait = 15\n" + account("only", "there") + upstream("there", "anthropic", url)
    return Proxy(proxy_folder, config + '[models]\n"*" = "there/the-model"\n', args=args)


def test_an_upstream_that_is_started_while_a_request_waits_serves_it(tmp_path: Path) -> None:
    later = Upstream()
    later.port = _free_port()
    with local(tmp_path, later.url) as proxy, ThreadPoolExecutor(1) as pool:
        request = pool.submit(ask_plainly, proxy.url, "anthropic", "m")
        proxy.wait_for_log("retrying...", count=4)
        with later:
            response = request.result()
        assert read_stream("anthropic", response.body)
        assert len(later.calls) == 1
        assert int(response.header("x-healing-attempts") or 0) >= 5


# A name that nobody knows, and never has, is a misspelt one.
@pytest.mark.parametrize(("code", "known_before"), [("EAI_AGAIN", False), ("EAI_NONAME", True)])
def test_a_name_that_can_be_resolved_again_while_a_request_waits_is_asked(
    server: Upstream, tmp_path: Path, code: str, known_before: bool
) -> None:
    awake, script = tmp_path / "awake", tmp_path / "resolver.py"
    script.write_text(RESOLVER.format(awake=str(awake), code=code))
    server.reset()
    url = f"http://waking.test:{server.port}"
    with local(tmp_path / "proxy", url, "-s", str(script)) as proxy, ThreadPoolExecutor(1) as pool:
        if known_before:
            awake.touch()
            assert ask_plainly(proxy.url, "anthropic", "m").status == 200
            awake.unlink()
        request = pool.submit(ask_plainly, proxy.url, "anthropic", "m")
        proxy.wait_for_log("retrying...", count=4)
        awake.touch()
        response = request.result()
        assert read_stream("anthropic", response.body)
        assert int(response.header("x-healing-attempts") or 0) >= 5


def test_a_key_that_is_missing_is_told_long_before_the_time_is_used_up(tmp_path: Path) -> None:
    config = account("only", "there", api_key=f"file:{tmp_path / 'none'}") + upstream(
        "there", "anthropic", "http://127.0.0.1:9"
    )
    with Proxy(tmp_path / "proxy", config + '[models]\n"*" = "there/the-model"\n') as proxy:
        response = ask_plainly(proxy.url, "anthropic", "m")
        assert response.status == 401
        assert "o credential for account only" in read_error("anthropic", response)["message"]
        assert response.header("x-healing-attempts") == "5"


def _free_port() -> int:
    with Upstream() as probe:
        return probe.port
