"""What the proxy says first: where the configuration is from, whose keys can be had, how to point a client at it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask
from tests.support import raw
from tests.support.shell import shell

QUIET = {"termlog_verbosity": "info"}
POINT = "Point a client at it: "
CLAUDE = "ANTHROPIC_BASE_URL={} claude"
GEMINI = "GOOGLE_GEMINI_BASE_URL={} gemini"
HERE, THERE = "http://127.0.0.1:{}", "http://127.0.0.2:{}"
TARGETS = {"known": "http://gateway.example:7000", "other": "http://other.example:7000"}


def texts(proxy: Proxy) -> list[str]:
    return [line.partition("] ")[2] for line in proxy.lines]


def pointed(proxy: Proxy) -> list[str]:
    return [text for text in texts(proxy) if text.startswith(POINT)]


def ports(proxy: Proxy) -> list[str]:
    """Of all listeners, as mitmproxy says them, in the order in which they began."""
    return re.findall(r" listening at \S*?:(\d+)", proxy.log)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    config = account("a", "anthropic") + account("g", "gemini") + account("h", "gemini")
    with Proxy(tmp_path_factory.mktemp("usual"), config, options=QUIET) as proxy:
        proxy.wait_for_log(POINT)
        proxy.wait_for_log("Accounts: ")
        yield proxy


def test_the_usual_start_is_a_few_lines_that_say_what_to_do_next(usual: Proxy) -> None:
    assert len(texts(usual)) <= 6
    assert f"The healing proxy is at work. Configuration: from {usual.config_file}; 3 accounts" in texts(usual)
    assert "Accounts: anthropic: 1 usable; gemini: 2 usable" in texts(usual)
    [told] = pointed(usual)
    url = usual.url
    # The clients insist on a key, and the proxy brings its own.
    claude = f"ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=dummy claude"
    gemini = f"GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY=dummy gemini"
    assert told == f"{POINT}{claude}; {gemini}. What happens: {url}/antigravity/"
    assert raw.request("GET", f"{url}/antigravity/").status == 200


def test_who_has_no_key_is_named_with_the_reason(tmp_path: Path) -> None:
    failing = shell("echo no login here >&2; exit 7")
    config = account("good", "anthropic", models=["good"], api_key=shell("echo key-0123456789"))
    config += account("unset", "anthropic", models=["only-unset"], api_key="env:NOT_SET_HERE")
    config += account("failing", "gemini", api_key=failing)
    with Proxy(tmp_path, config, options=QUIET) as proxy:
        why = "the environment variable NOT_SET_HERE is not set"
        proxy.wait_for_log(f"anthropic: 1 of 2 usable (unset: {why})")
        proxy.wait_for_log("gemini: 0 of 1 usable (failing: its command ended with status 7")
        # What can't come while the proxy runs is not waited for.
        refused = ask(proxy.url, "anthropic", "only-unset")
        assert (refused.status, refused.header("x-healing-attempts")) == (401, "1")
        assert why in refused.body.decode()
        assert "tried again shortly" not in proxy.log


def test_who_takes_its_time_is_not_counted_until_it_has_come(tmp_path: Path) -> None:
    go, none = tmp_path / "go", "its credential is still being fetched"
    waits = "while ! test -e {}; do sleep 0.02; done; {}"
    config = account("good", "anthropic") + account("slow", "anthropic", api_key=shell(waits.format(go, "echo key-1")))
    config += account("fails", "gemini", api_key=shell(waits.format(go, "exit 7")))
    with Proxy(tmp_path / "proxy", config, options=QUIET) as proxy:
        proxy.wait_for_log(f"Accounts: anthropic: 1 of 2 usable (slow: {none}); gemini: 0 of 1 usable (fails: {none})")
        go.touch()
        proxy.wait_for_log("Accounts: anthropic: 2 usable; gemini: 0 of 1 usable (fails: its command ended with status")
        assert proxy.log.count("Accounts: ") == 2


def test_without_a_configuration_it_says_where_one_would_be_found_and_takes_it_up_there(tmp_path: Path) -> None:
    with Proxy(tmp_path, None, options=QUIET) as proxy:
        proxy.wait_for_log(POINT)
        [told] = [text for text in texts(proxy) if "Configuration: " in text]
        places = f"looked for in {proxy.config_file} and {tmp_path / 'xdg' / 'antigravity' / 'antigravity.toml'}"
        assert f"none, the client's own credentials are used; {places}, and taken up when one appears there" in told
        assert "Accounts: " not in proxy.log
        [pointed_at] = pointed(proxy)
        assert pointed_at.startswith(f"{POINT}{CLAUDE.format(proxy.url)}; {GEMINI.format(proxy.url)}. ")
        proxy.config_file.write_text(account("late", "gemini"))
        proxy.wait_for_log("Accounts: gemini: 1 usable")


def _others() -> list[str]:
    return [f"reverse:{TARGETS['known']}", f"reverse:{TARGETS['other']}", "socks5"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with several listeners; mitmproxy's names for them stand before their ports."""
    modes = ["regular"]
    modes += [f"{mode}@127.0.0.{number}:0" for number, mode in enumerate(_others(), 2)]
    args = [word for mode in modes for word in ("--mode", mode)]
    config = upstream("gate", "gemini", TARGETS["known"])
    with Proxy(tmp_path_factory.mktemp("many"), config, options=QUIET, args=args) as proxy:
        proxy.wait_for_log("listening at", 4)
        proxy.wait_for_log(POINT, 2)
        yield proxy


def port_of(proxy: Proxy, what: str) -> str:
    [port] = re.findall(rf"{re.escape(what)} listening at \S*?:(\d+)", proxy.log)
    return str(port)


def test_each_listener_for_clients_is_told_once_and_for_those_that_it_serves(many: Proxy) -> None:
    regular = HERE.format(port_of(many, "HTTP(S) proxy"))
    reverse = THERE.format(port_of(many, f"reverse proxy to {TARGETS['known']}"))
    assert sorted(pointed(many)) == sorted(
        f"{POINT}{told}. What happens: {url}/antigravity/"
        for told, url in (
            (f"{CLAUDE.format(regular)}; {GEMINI.format(regular)}", regular),
            (GEMINI.format(reverse), reverse),
        )
    )
    assert raw.request("GET", f"{reverse}/antigravity/").status == 200


_ADDING = """
import asyncio, pathlib
from mitmproxy import ctx

async def follow():
    file = pathlib.Path("modes")
    while True:
        if file.exists():
            modes = file.read_text().split()
            file.unlink()
            ctx.options.update(mode=modes)
        await asyncio.sleep(0.02)

def running():
    global following
    following = asyncio.create_task(follow())
"""


def test_a_mode_that_is_added_while_it_runs_is_told_and_one_that_stays_is_not_told_again(tmp_path: Path) -> None:
    script = tmp_path / "adding.py"
    script.write_text(_ADDING)

    def ask_for(*modes: str) -> None:
        (tmp_path / "new").write_text(" ".join(modes))
        (tmp_path / "new").rename(tmp_path / "modes")

    with Proxy(tmp_path, "", options=QUIET, args=["--mode", "regular", "-s", str(script)]) as proxy:
        proxy.wait_for_log(POINT)
        ask_for("regular", "regular@127.0.0.2:0")
        proxy.wait_for_log(POINT, 2)
        ask_for("regular")
        proxy.wait_for_log("stopped.")
        ask_for("regular", "regular@127.0.0.2:0")
        proxy.wait_for_log(POINT, 3)
        here, *later = ports(proxy)
        assert len(later) == 2
        there = [HERE.format(here), *map(THERE.format, later)]
        assert pointed(proxy) == [
            f"{POINT}{CLAUDE.format(url)}; {GEMINI.format(url)}. What happens: {url}/antigravity/" for url in there
        ]
