"""mitmdump's terminal has one line an exchange, which says what happened and what to do; what the user set stays."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, empty, error
from tests.support import raw
from tests.upstream import Reply, Upstream, anthropic_error_event, anthropic_reply, anthropic_stream

GOOD = anthropic_stream("Hello")
QUIET = {"termlog_verbosity": "info"}
EMPTY = empty("anthropic")
REFUSED = error("anthropic", 401, "invalid x-api-key")
LATE = anthropic_reply([*GOOD.chunks[:4], anthropic_error_event()])
KEY = "put a new key into antigravity.toml, accounts"
OUTCOMES: dict[str, tuple[tuple[Reply, ...], str, tuple[str, ...]]] = {
    "clean": ((GOOD,), "ok", ("12 → 9 tokens",)),
    "empty, healed": ((EMPTY, GOOD), "HEALED", ("answered with 200 and no content", "answered on the 2nd try")),
    "empty to the end": ((EMPTY,) * 2, "FAILED", ("no content", "tried 2 times", "TO DO: send it again later")),
    "late": ((LATE,), "FAILED", ("no other try, as content had already reached the client", "TO DO: ")),
    "a key refused": ((REFUSED, GOOD), "HEALED", ("the key of", "invalid x-api-key", f"TO DO: {KEY}")),
    "all keys refused": (
        (REFUSED,) * 2,
        "FAILED",
        ("the key of", "put new keys into antigravity.toml, accounts[0] and accounts[1]"),
    ),
    "the caller's": ((error("anthropic", 400, "odd"),), "FAILED", ("the request is wrong", "the client has to change")),
}


def config(server: Upstream) -> str:
    pairs = (name for number in range(len(OUTCOMES)) for name in (f"{number}-a", f"{number}-b"))
    accounts = "".join(account(name, "anthropic", models=[f"m{name[0]}"]) for name in pairs)
    places = "".join(f'"asked-{number}" = "m{number}"\n' for number in range(len(OUTCOMES)))
    return accounts + upstream("anthropic", "anthropic", server.url) + f"[retry]\nmax_attempts = 2\n[models]\n{places}"


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def said(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, list[str]], Proxy]]:
    with Proxy(tmp_path_factory.mktemp("terminal"), config(server), options=QUIET) as proxy:
        lines = {}
        for number, (name, (plan, *_)) in enumerate(OUTCOMES.items()):
            server.reset()
            server.play(*plan)
            answer = ask(proxy.url, "anthropic", f"asked-{number}")
            found = answer.header("x-healing-id") or "?"
            proxy.wait_for_log(found)
            lines[name] = [line for line in proxy.lines if found in line]
        yield lines, proxy


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_exchange_is_one_line(said: tuple[dict[str, list[str]], Proxy], name: str) -> None:
    number, (_, word, parts) = list(OUTCOMES).index(name), OUTCOMES[name]
    (line,) = said[0][name]
    assert re.search(rf"\] {word} +\w{{8}} asked-{number} → m{number} \| \d+\.\d s", line)
    parts = tuple(part.replace("accounts[0]", f"accounts[{2 * number}]") for part in parts)
    parts = tuple(part.replace("accounts[1]", f"accounts[{2 * number + 1}]") for part in parts)
    assert all(part in line for part in parts), line
    assert ("TO DO" in line) == any("TO DO" in part or "put " in part or "has to" in part for part in parts)


def test_it_says_how_to_point_a_client_at_it(said: tuple[dict[str, list[str]], Proxy]) -> None:
    _, proxy = said
    url = proxy.url
    (told,) = [line for line in proxy.lines if "Point a client at it: " in line]
    assert f"ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=dummy claude" in told
    assert told.endswith(f"What happens: {url}/antigravity/")


def test_steps_and_connections_are_in_the_log_file_alone(said: tuple[dict[str, list[str]], Proxy]) -> None:
    _, proxy = said
    for words in ("client connect", "attempt 2 on", "retrying...", "captured in"):
        assert words not in proxy.log
        assert words in proxy.log_file.read_text("utf-8")
    assert "<<" not in proxy.log


def test_what_is_refused_again_and_again_is_said_once(said: tuple[dict[str, list[str]], Proxy]) -> None:
    _, proxy = said
    for _ in range(5):
        assert raw.request("GET", f"{proxy.url}/nothing").status == 404
    ask(proxy.url, "anthropic", "asked-0")
    proxy.wait_for(lambda: "ok" in proxy.lines[-1], "a line of what came after")
    assert sum("/nothing is not served here" in line for line in proxy.lines) == 1


def test_what_the_user_has_set_stays(server: Upstream, tmp_path: Path) -> None:
    server.reset()
    server.play(GOOD)
    with Proxy(tmp_path, config(server), options=QUIET, args=["--flow-detail", "1"]) as proxy:
        assert ask(proxy.url, "anthropic", "asked-0").status == 200
        proxy.wait_for_log("<< 200 OK")
        proxy.wait_for_log("| 12 → 9 tokens")


def test_what_is_held_for_long_says_what_it_waits_for(server: Upstream, tmp_path: Path) -> None:
    server.reset()
    server.play(GOOD.but(head_gap=6.0))
    with Proxy(tmp_path, config(server), options=QUIET) as proxy:
        assert ask(proxy.url, "anthropic", "asked-0").status == 200
        proxy.wait_for_log("| 12 → 9 tokens")
        (held,) = (line for line in proxy.lines if "] held" in line)
        assert re.search(r"asked-0 \| 5 s so far: 0-[ab] is asked \(attempt 1\), no content has come", held)
