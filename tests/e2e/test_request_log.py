"""What the request log has of real exchanges, and what becomes of it when the proxy or its disk ends."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from antigravity_healing.commands import looking
from antigravity_healing.commands.main import main
from antigravity_healing.monitor.request_log import searching
from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.reader import Reader
from antigravity_healing.monitor.request_log.rows import LoggedExchange
from antigravity_healing.policy.judging.failures import FailureClass

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import CLIENT_KEY, DIALECTS, ask, body, empty, error, read_stream, stream, target
from tests.support import raw
from tests.support.places import ROOT
from tests.upstream import Upstream, anthropic_stream

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def configuration(server: Upstream, more: str = "") -> str:
    config = "".join(
        account(f"{dialect}-{place}", dialect, priority=priority)
        for dialect in DIALECTS
        for priority, place in enumerate(("first", "second"))
    )
    config += "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)
    return config + "[retry]\nmax_attempts = 2\nmax_wait = 2\nspare_retries = 1000\n" + more


def log_of(proxy: Proxy) -> Reader:
    return Reader(proxy.folder / "home" / "requests.sqlite3")


def logged(proxy: Proxy, model: str, there: Callable[[LoggedExchange], bool]) -> LoggedExchange:
    """The one exchange with this model, once it is there as it has to be."""
    end = time.monotonic() + 15
    found: tuple[LoggedExchange, ...] = ()
    while time.monotonic() < end:
        if log_of(proxy).path.exists() and (found := log_of(proxy).page(Filter(model=model)).exchanges):
            [one] = found
            if there(one):
                return one
        time.sleep(0.02)
    raise AssertionError(f"not so in the log: {found}\n{proxy.log}")


def ended(one: LoggedExchange) -> bool:
    return one.end is not None


def begin(proxy: Proxy, server: Upstream, model: str) -> raw.RawConnection:
    """A stream whose beginning the client has, and that goes on."""
    server.play(anthropic_stream().first(6, end="stall"))
    connection = raw.RawConnection(proxy.url)
    connection.send("POST", proxy.url + target("anthropic", model), body("anthropic", model))
    connection.read("POST", lambda data: b"content_block_delta" in data)
    return connection


@dataclass(frozen=True)
class Place:
    proxy: Proxy
    server: Upstream


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as server, Proxy(tmp_path_factory.mktemp("rows"), configuration(server)) as proxy:
        yield Place(proxy, server)


@each_dialect
def test_a_clean_exchange_is_a_row_with_its_attempt_and_its_tokens(place: Place, dialect: str) -> None:
    place.server.play(stream(dialect))
    response = ask(place.proxy.url, dialect, f"{dialect}-clean")
    assert read_stream(dialect, response.body) == "Hello"
    one = logged(place.proxy, f"{dialect}-clean", ended)
    assert one.facts.exchange == response.header("x-healing-id")
    assert (one.state, one.facts.dialect, one.facts.streams, one.times) == ("clean", dialect, True, 1)
    assert one.end is not None
    assert one.end.status == 200
    assert one.end.first_content_s is not None
    [attempt] = one.attempts
    assert (attempt.account, attempt.status, attempt.failure, attempt.delivered) == (
        f"{dialect}-first",
        200,
        None,
        True,
    )
    assert attempt.usage is not None
    assert one.end.usage == attempt.usage
    assert attempt.usage.output > 0


@each_dialect
def test_a_healed_and_a_failed_exchange_have_a_row_an_attempt(place: Place, dialect: str) -> None:
    place.server.play(empty(dialect), stream(dialect), error(dialect, 500, "Bad day"), error(dialect, 500, "Bad day"))
    assert ask(place.proxy.url, dialect, f"{dialect}-healed").status == 200
    assert ask(place.proxy.url, dialect, f"{dialect}-failed").status == 500
    healed = logged(place.proxy, f"{dialect}-healed", ended)
    assert (healed.state, [attempt.failure for attempt in healed.attempts]) == ("healed", [FailureClass.EMPTY, None])
    failed = logged(place.proxy, f"{dialect}-failed", ended)
    assert (failed.state, [attempt.failure for attempt in failed.attempts]) == (
        "failed",
        [FailureClass.TRANSIENT, FailureClass.TRANSIENT],
    )
    assert failed.end is not None
    assert failed.end.status == 500
    assert "Bad day" in failed.end.finding.what
    found = log_of(place.proxy).page(Filter(account=f"{dialect}-first", failure="empty")).exchanges
    assert [one.facts.exchange for one in found] == [healed.facts.exchange]


def test_what_runs_is_running_until_its_client_leaves(place: Place) -> None:
    connection = begin(place.proxy, place.server, "left")
    assert logged(place.proxy, "left", lambda one: True).state == "running"
    connection.close()
    assert logged(place.proxy, "left", ended).state == "client_left"


def test_no_key_and_nothing_that_was_said_is_in_the_log(place: Place) -> None:
    place.server.play(anthropic_stream("a word of the answer"))
    ask(place.proxy.url, "anthropic", "secret", "a word of the request")
    logged(place.proxy, "secret", ended)
    place.server.play(error("anthropic", 400, f"No luck with {key_of('anthropic-first')}"))
    ask(place.proxy.url, "anthropic", "repeats")
    logged(place.proxy, "repeats", ended)
    folder = place.proxy.folder / "home"
    written = b"".join(path.read_bytes() for path in folder.glob("requests.sqlite3*"))
    assert b"/v1/messages" in written
    for secret in (CLIENT_KEY, key_of("anthropic-first"), "a word of the answer", "a word of the request"):
        assert secret.encode() not in written


def test_the_command_line_tells_what_failed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.server.play(error("anthropic", 400, "Not like this"))
    ask(place.proxy.url, "anthropic", "told")
    logged(place.proxy, "told", ended)
    home = ["--home", str(place.proxy.folder / "home")]
    assert main(["log", *home, "--since", "1h", "--outcome", "failed", "--model", "told", "--json"]) == 0
    [told] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (told["outcome"], told["status"], told["failures"]) == ("failed", 400, "caller")
    assert told["attempts"][0]["account"] == "anthropic-first"
    assert main(["log", *home, "--outcome", "clean", "--model", "told"]) == 0
    assert capsys.readouterr().out == ""


def test_a_search_that_takes_too_long_says_how_far_it_came_and_how_to_go_on(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("searched-first", "searched-second", "searched-third"):
        place.server.play(anthropic_stream())
        ask(place.proxy.url, "anthropic", model)
        logged(place.proxy, model, ended)
    monkeypatch.setattr(searching, "FIRST_ROWS", 1)
    monkeypatch.setattr(searching, "_INSTRUCTIONS", 1)
    monkeypatch.setattr(looking, "_SEARCH_S", 0.0)
    command = ["log", "--home", str(place.proxy.folder / "home"), "--text", "searched-first"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out == ""
    found = re.fullmatch(
        r"nothing like that was found, searched back until [-\d]+ [:\d]+; --after (\S+) goes on from there\n", told.err
    )
    assert found is not None, told.err
    monkeypatch.setattr(looking, "_SEARCH_S", 60.0)
    assert main([*command, "--after", found[1]]) == 0
    told = capsys.readouterr()
    assert "searched-first" in told.out
    assert "searched back" not in told.err


def test_a_kill_leaves_an_unfinished_row_that_a_new_start_leaves_as_it_is(tmp_path: Path) -> None:
    with Upstream() as server:
        config = configuration(server)
        killed = Proxy(tmp_path, config).start()
        server.play(stream("anthropic"))
        ask(killed.url, "anthropic", "before")
        connection = begin(killed, server, "cut-off")
        assert logged(killed, "cut-off", lambda one: True).state == "running"
        logged(killed, "before", ended)
        killed.signal(signal.SIGKILL)
        killed.wait_exit()
        connection.close()
        told = subprocess.run(
            [sys.executable, "-m", "antigravity_healing.commands", "log", "--home", str(tmp_path / "home")],
            cwd=ROOT / "addons",
            capture_output=True,
            text=True,
            check=True,
        )
        assert [line.split()[2] for line in told.stdout.splitlines()] == ["clean", "unfinished"]
        with Proxy(tmp_path, config) as proxy:
            server.play(stream("anthropic"))
            ask(proxy.url, "anthropic", "after")
            logged(proxy, "after", ended)
            states = {one.facts.model: one.state for one in log_of(proxy).page(Filter()).exchanges}
        assert states == {"before": "clean", "cut-off": "unfinished", "after": "clean"}


def test_an_end_writes_what_waits(tmp_path: Path) -> None:
    with Upstream() as server:
        with Proxy(tmp_path, configuration(server)) as proxy:
            for number in range(5):
                server.play(stream("anthropic"))
                assert ask(proxy.url, "anthropic", f"model-{number}").status == 200
        assert not list((tmp_path / "home").glob("requests.sqlite3-*"))
        found = log_of(proxy).page(Filter()).exchanges
    assert [(one.facts.model, one.state) for one in reversed(found)] == [(f"model-{n}", "clean") for n in range(5)]


def test_two_proxies_with_one_data_folder_both_have_their_rows(tmp_path: Path) -> None:
    home = {"antigravity_home": str(tmp_path / "home")}
    with (
        Upstream() as server,
        Proxy(tmp_path / "a", configuration(server), options=home) as first,
        Proxy(tmp_path / "b", configuration(server), options=home) as second,
    ):
        for number in range(10):
            for name, proxy in (("first", first), ("second", second)):
                server.play(stream("anthropic"))
                assert ask(proxy.url, "anthropic", f"{name}-{number}").status == 200
    found = Reader(tmp_path / "home" / "requests.sqlite3").page(Filter(outcome="clean")).exchanges
    expected = {f"{name}-{number}" for name in ("first", "second") for number in range(10)}
    assert {one.facts.model for one in found} == expected
    assert len(found) == 20
    assert "not logged" not in first.log + second.log


def test_a_log_that_is_no_database_is_put_aside_and_another_one_begins(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "requests.sqlite3").write_bytes(b"no database at all " * 1000)
    with Upstream() as server, Proxy(tmp_path, configuration(server)) as proxy:
        proxy.wait_for_log("it is now requests.sqlite3.broken")
        server.play(stream("anthropic"))
        assert ask(proxy.url, "anthropic", "m").status == 200
        assert logged(proxy, "m", ended).state == "clean"
    assert (home / "requests.sqlite3.broken").read_bytes().startswith(b"no database")


def test_where_nothing_can_be_written_it_is_said_once_and_requests_are_served(tmp_path: Path) -> None:
    (tmp_path / "home" / "requests.sqlite3").mkdir(parents=True)
    with Upstream() as server, Proxy(tmp_path, configuration(server)) as proxy:
        proxy.wait_for_log("requests are not logged")
        for _ in range(3):
            server.play(stream("anthropic"))
            assert ask(proxy.url, "anthropic", "m").status == 200
    assert proxy.log.count("requests are not logged") == 1


def test_turned_off_nothing_is_written(tmp_path: Path) -> None:
    with Upstream() as server, Proxy(tmp_path, configuration(server, "[request_log]\nenabled = false\n")) as proxy:
        server.play(stream("anthropic"))
        assert ask(proxy.url, "anthropic", "m").status == 200
    assert not list((tmp_path / "home").glob("requests*"))
