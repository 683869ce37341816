"""The configuration's life: broken at the start, changed and broken while running, and without any."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import (
    CLIENT_KEY,
    DIALECTS,
    ask,
    empty,
    error,
    free_port,
    keys_of,
    read_stream,
    stream,
)
from tests.upstream import Upstream

SECRET = "secret-in-the-file-0x12"

BROKEN = {
    "syntax": ("[[accounts]\nname = 1\n", ["antigravity.toml:1:"]),
    "several problems": (
        f'[[accounts]]\nname = "a"\napi_kye = "{SECRET}"\n[retry]\nmax_attempts = "three"\n',
        ["antigravity.toml", "api_kye", "api_key", "accounts", "retry.max_attempts", "whole number", "a string"],
    ),
    "missing": (None, ["nowhere.toml"]),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit status and output of a start with each broken configuration."""
    folder = tmp_path_factory.mktemp("broken")

    def start(name: str) -> tuple[int, str]:
        config, _ = BROKEN[name]
        options = {"antigravity_config": "nowhere.toml"} if config is None else None
        proxy = Proxy(folder / name.replace(" ", "-"), config, options=options).start(wait=False)
        try:
            return proxy.wait_exit(), proxy.log
        finally:
            proxy.stop()

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BROKEN, pool.map(start, BROKEN), strict=True))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_configuration_ends_the_start_with_one_clear_message(
    ended: dict[str, tuple[int, str]], name: str
) -> None:
    status, output = ended[name]
    assert status != 0
    assert "Traceback" not in output
    for part in BROKEN[name][1]:
        assert part in output
    assert SECRET not in output
    assert output.count("The configuration can't be used") == 1


@pytest.fixture
def upstream_server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


def write(proxy: Proxy, config: str) -> None:
    """Change the configuration file as an editor does, so that a half-written file is never read."""
    new = proxy.config_file.with_suffix(".new")
    new.write_text(config)
    os.replace(new, proxy.config_file)


def wait_for_accounts(proxy: Proxy, *names: str) -> None:
    """Wait until these are the accounts that the proxy uses."""
    end = time.monotonic() + 15
    while [found["name"] for found in proxy.health()["accounts"]] != list(names):
        assert time.monotonic() < end, proxy.log
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy whose configuration each test changes."""
    with Proxy(tmp_path_factory.mktemp("running"), "") as proxy:
        yield proxy
    assert SECRET not in proxy.log


def test_a_changed_configuration_is_taken_up_and_a_broken_one_is_not(running: Proxy, upstream_server: Upstream) -> None:
    there = upstream("anthropic", "anthropic", upstream_server.url)
    write(running, account("one", "anthropic") + there)
    wait_for_accounts(running, "one")
    # A quota with an end: the account cools for an hour, and the request is refused.
    upstream_server.play(error("anthropic", 429, "quota", {"retry-after": "3600"}))
    assert ask(running.url, "anthropic", "m").status == 429
    upstream_server.reset()

    write(running, account("one", "anthropic") + account("two", "anthropic", priority=1) + there)
    wait_for_accounts(running, "one", "two")
    assert read_stream("anthropic", ask(running.url, "anthropic", "m").body)
    # The account that was there before is still cooling.
    assert keys_of(upstream_server.calls) == [key_of("two")]
    [one, two] = running.health()["accounts"]
    assert one["benches"]
    assert not two["benches"]
    upstream_server.reset()

    write(running, f'[[accounts]]\nnmae = "x"\napi_key = "{SECRET}"\n')
    running.wait_for_log("the old one stays")
    running.wait_for_log("nmae")
    assert read_stream("anthropic", ask(running.url, "anthropic", "m").body)
    assert keys_of(upstream_server.calls) == [key_of("two")]
    upstream_server.reset()

    write(running, account("three", "anthropic") + there + '[models]\n"m" = "mapped"\n')
    wait_for_accounts(running, "three")
    assert ask(running.url, "anthropic", "m").header("x-mapped-model") == "mapped"
    assert keys_of(upstream_server.calls) == [key_of("three")]


def test_an_answer_under_way_survives_a_change(running: Proxy, upstream_server: Upstream) -> None:
    there = upstream("anthropic", "anthropic", upstream_server.url)
    write(running, account("before", "anthropic") + there)
    wait_for_accounts(running, "before")
    with ThreadPoolExecutor(1) as pool:
        # Longer than it takes until a change is seen.
        upstream_server.play(empty("anthropic").but(head_gap=2.5), stream("anthropic", "Healed"))
        asked = pool.submit(ask, running.url, "anthropic", "m")
        upstream_server.wait_for(lambda server: server.calls)
        write(running, account("after", "anthropic") + there)
        wait_for_accounts(running, "after")
        assert running.health()["running"] == 1
        assert read_stream("anthropic", asked.result().body) == "Healed"
    assert len(upstream_server.calls) == 2
    assert running.health()["running"] == 0


def test_without_a_configuration_the_clients_own_credentials_reach_the_public_apis(
    tmp_path: Path, upstream_server: Upstream
) -> None:
    hosts = ("https://api.anthropic.com", "https://generativelanguage.googleapis.com")
    # The attempts go through all of mitmproxy, so that they can be sent elsewhere without the network.
    args = [word for host in hosts for word in ("--map-remote", f"|{host}|{upstream_server.url}")]
    with Proxy(tmp_path, None, args=args) as proxy:
        for dialect in DIALECTS:
            upstream_server.reset()
            upstream_server.play(empty(dialect), stream(dialect, "Healed"))
            response = ask(proxy.url, dialect, "any-model")
            assert read_stream(dialect, response.body) == "Healed"
            assert keys_of(upstream_server.calls) == [CLIENT_KEY, CLIENT_KEY]
            assert {call.headers["host"] for call in upstream_server.calls} <= {
                host.removeprefix("https://") for host in hosts
            } | {f"127.0.0.1:{upstream_server.port}"}
        assert "client's own credentials" in proxy.log
        assert CLIENT_KEY not in proxy.log


HELD = {
    "by default": [],
    "at an address": ["--listen-host", "127.0.0.1"],
    "at a mode's own address": ["--mode", "regular@127.0.0.1:{port}"],
}


@pytest.mark.parametrize("where", HELD)
def test_with_a_broken_configuration_nobody_is_served_for_a_moment(tmp_path: Path, where: str) -> None:
    status, proxy = knock_at_start(tmp_path, '[[accounts]]\nnmae = "x"\n', HELD[where])
    assert status == 1, proxy.log
    assert "client connect" not in proxy.log
    assert "Traceback" not in proxy.log
    assert proxy.log.count("The configuration can't be used") == 1
    assert "nmae" in proxy.log_file.read_text()


@pytest.mark.parametrize("where", HELD)
def test_an_option_that_is_given_twice_ends_the_start(tmp_path: Path, where: str) -> None:
    twice = ["--set", "antigravity_config=antigravity.toml"] * 2
    status, proxy = knock_at_start(tmp_path, "", [*HELD[where], *twice])
    assert status == 1, proxy.log
    assert "client connect" not in proxy.log
    assert "Traceback" not in proxy.log
    assert "Received multiple values for antigravity_config" in proxy.log


def knock_at_start(folder: Path, config: str, args: list[str]) -> tuple[int, Proxy]:
    """Start a proxy at whose port somebody knocks all the time; gives its exit status."""
    port = free_port()
    more = [arg.format(port=port) for arg in args]
    proxy = Proxy(folder, config, args=["-p", str(port), *more]).start(wait=False)

    def knock() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
                connection.settimeout(1)
                connection.recv(100)

    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        knocking = pool.submit(knock)
        try:
            return proxy.wait_exit(60), proxy
        finally:
            over.set()
            proxy.stop()
            knocking.result()


def test_it_says_where_the_configuration_is_from_in_the_log_file_too(running: Proxy) -> None:
    told = [line for line in running.lines if "The healing proxy is at work" in line]
    assert len(told) == 1
    assert f"from {running.config_file}" in told[0]
    lines = [line.partition(" INFO ")[2] for line in running.log_file.read_text().splitlines()]
    ours = [line.partition("] ")[2] for line in running.lines]
    assert [line for line in ours if "Configuration: " in line] == [line for line in lines if "Configuration: " in line]


def test_a_configuration_that_appears_after_the_start_is_taken_up(tmp_path: Path, upstream_server: Upstream) -> None:
    with Proxy(tmp_path, None) as proxy:
        assert str(proxy.config_file) in proxy.log
        assert f"looked for in {proxy.config_file} and " in proxy.log_file.read_text()
        write(proxy, '[[accounts]]\nnmae = "x"\n')
        proxy.wait_for_log("the old one stays")
        there = upstream("anthropic", "anthropic", upstream_server.url)
        write(proxy, account("late", "anthropic") + there)
        wait_for_accounts(proxy, "late")
        assert read_stream("anthropic", ask(proxy.url, "anthropic", "m").body)
        assert keys_of(upstream_server.calls) == [key_of("late")]


def test_a_configuration_that_is_a_link_to_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    place = tmp_path / "antigravity.toml"
    place.symlink_to(tmp_path / "gone")
    proxy = Proxy(tmp_path, None).start(wait=False)
    assert proxy.wait_exit(60) == 1, proxy.log
    assert f"{place}: " in proxy.log
