"""Trouble of the machine that the proxy runs on: waited out shortly, said once, and no account's fault."""

import resource
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, body, keys_of, read_error, read_stream
from tests.support import raw
from tests.support.shell import shell
from tests.upstream import Upstream, anthropic_json

MODEL = "claude-x"
BEGINS, OVER = "is not to blame", "is over"


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def benches(proxy: Proxy) -> list[object]:
    return [bench for each in proxy.health()["accounts"] for bench in each["benches"]]


def told(proxy: Proxy, words: str) -> int:
    return sum(words in line for line in proxy.lines)


def config_with(server: Upstream, source: str, *more: str) -> str:
    return account("filed", "local", api_key=source) + "".join(more) + upstream("local", "anthropic", server.url)


@contextmanager
def asking(proxy: Proxy) -> Iterator[Future[raw.RawResponse]]:
    """A request that is under way."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(ask, proxy.url, "anthropic", MODEL)


def route() -> str:
    return '[models]\n"*" = "local/the-model"\n'


def test_a_key_file_that_is_being_written_anew_is_waited_for(server: Upstream, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("the-first-key")
    with Proxy(tmp_path / "proxy", config_with(server, f"file:{key}") + route()) as proxy:
        key.write_text("")
        with asking(proxy) as request:
            proxy.wait_for_log(BEGINS)
            key.write_text("the-second-key")
            assert read_stream("anthropic", request.result().body)
        assert keys_of(server.calls) == ["the-second-key"]
        assert benches(proxy) == []
        proxy.wait_for_log(OVER)
        assert (told(proxy, BEGINS), told(proxy, OVER)) == (1, 1)


def test_what_only_passes_waits_for_its_key_too(server: Upstream, tmp_path: Path) -> None:
    key, runs = tmp_path / "key", tmp_path / "runs"
    key.write_text("")
    config = account("filed", "anthropic", api_key=shell(f"echo x >> {runs}; cat {key}"))
    server.default = anthropic_json("a list of files")
    with (
        Proxy(tmp_path / "proxy", config + upstream("anthropic", "anthropic", server.url)) as proxy,
        ThreadPoolExecutor(1) as pool,
    ):
        request = pool.submit(raw.request, "GET", f"{proxy.url}/v1/files", None, {"anthropic-version": "2023-06-01"})
        patience = time.monotonic() + 10
        while not runs.exists() or len(runs.read_text()) < 4:
            assert time.monotonic() < patience
            time.sleep(0.01)
        key.write_text("the-key-at-last")
        assert request.result().status == 200
        assert keys_of(server.calls) == ["the-key-at-last"]


def test_a_key_file_that_stays_away_is_told_and_works_again_with_the_next_request(
    server: Upstream, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    with Proxy(tmp_path / "proxy", config_with(server, f"file:{key}") + route()) as proxy:
        for _ in range(2):
            response = ask(proxy.url, "anthropic", MODEL)
            assert response.status == 401
            assert "o credential for account filed" in read_error("anthropic", response)["message"]
        assert not server.calls
        assert benches(proxy) == []
        key.write_text("the-key-at-last")
        assert read_stream("anthropic", ask(proxy.url, "anthropic", MODEL).body)
        assert keys_of(server.calls) == ["the-key-at-last"]
        proxy.wait_for_log(OVER)
        assert (told(proxy, BEGINS), told(proxy, OVER)) == (1, 1)


def test_other_accounts_serve_while_a_key_is_away_however_many_are(server: Upstream, tmp_path: Path) -> None:
    away = [account(f"away-{number}", "local", api_key=f"file:{tmp_path / 'none'}") for number in range(4)]
    settings = "[retry]\nmax_attempts = 2\nspare_retries = 0\n" + route()
    config = config_with(server, f"file:{tmp_path / 'none'}", *away, account("spare", "local", priority=1))
    with Proxy(tmp_path / "proxy", config + settings) as proxy:
        for _ in range(3):
            assert read_stream("anthropic", ask(proxy.url, "anthropic", MODEL).body)
        assert keys_of(server.calls) == [key_of("spare")] * 3
        assert benches(proxy) == []


class FileLimit:
    """How many files a process may have open."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def use_up(self) -> None:
        """The process can't open another file, also where it closes one: only its standard streams are below."""
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (3, self._before[1]))

    def lift(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._before)


@pytest.mark.parametrize("source", ["a-literal-key", "file:{}", "cmd:cat {}"], ids=["connect", "file", "cmd"])
def test_too_many_open_files_are_waited_out_and_no_account_is_benched(
    server: Upstream, tmp_path: Path, source: str
) -> None:
    key = tmp_path / "key"
    key.write_text("a-literal-key")
    config = account("filed", "local", api_key=source.format(key), ttl=0.001)
    config += upstream("local", "anthropic", server.url) + route()
    with Proxy(tmp_path / "proxy", config) as proxy:
        # What is read at the start has been: a file that is closed now would be one that can be opened.
        proxy.wait_for_log("Accounts: ")
        connection = raw.RawConnection(proxy.url)
        limit = FileLimit(proxy.pid)
        # Known to be accepted: the connection has had an answer.
        connection.send("HEAD", f"{proxy.url}/")
        assert connection.read("HEAD").status == 200
        limit.use_up()
        try:
            connection.send("POST", f"{proxy.url}/v1/messages", body("anthropic", MODEL))
            proxy.wait_for_log("Too many open files")
            proxy.wait_for_log(BEGINS)
        finally:
            limit.lift()
        response = connection.read("POST")
        connection.close()
        assert read_stream("anthropic", response.body)
        assert keys_of(server.calls) == ["a-literal-key"]
        assert benches(proxy) == []
        proxy.wait_for_log(OVER)
        assert (told(proxy, BEGINS), told(proxy, OVER)) == (1, 1)


def test_clients_that_can_not_be_accepted_are_served_when_they_can(server: Upstream, tmp_path: Path) -> None:
    with Proxy(tmp_path / "proxy", config_with(server, "a-literal-key") + route()) as proxy:
        assert proxy.health()
        limit = FileLimit(proxy.pid)
        limit.use_up()
        try:
            with asking(proxy) as request:
                proxy.wait_for_log("none can be accepted: Too many open files")
                limit.lift()
                assert read_stream("anthropic", request.result().body)
        finally:
            limit.lift()
        proxy.wait_for_log("clients are accepted again")
        assert told(proxy, "none can be accepted") == 1


def test_a_network_that_is_away_benches_nobody_and_a_dead_upstream_still_does(tmp_path: Path) -> None:
    with Upstream() as dead:
        gone = dead.url
    # The machine itself refuses to connect to a broadcast address.
    config = account("a", "away") + upstream("away", "anthropic", "http://255.255.255.255:9")
    config += account("b", "dead") + upstream("dead", "anthropic", gone)
    config += '[retry]\nspare_retries = 1000\nmax_wait = 1\n[models]\naway = "away/m"\ndead = "dead/m"\n'
    with Proxy(tmp_path / "proxy", config) as proxy:
        for model, keeps in (("away", 0), ("dead", 1)):
            for _ in range(3):
                response = ask(proxy.url, "anthropic", model)
                assert response.status == 500
                message = read_error("anthropic", response)["message"]
                assert ("this machine could not connect" in message) is (model == "away")
            assert len(benches(proxy)) == keeps
        assert told(proxy, BEGINS) == 1
