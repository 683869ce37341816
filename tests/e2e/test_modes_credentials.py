"""Where accounts' credentials come from: env:, file:, cmd: and literals, as key, bearer and headers."""

import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import DIALECTS, ask, error, keys_of, read_error, read_stream
from tests.support.shell import shell
from tests.upstream import Upstream, anthropic_heartbeats

# Each run adds a line to RUNS and prints the number of the run: `token-of-NAME-1`, then `-2`, …
_SCRIPT = """
import sys, time, pathlib
runs = pathlib.Path(sys.argv[1])
with runs.open("a") as file:
    file.write("x")
time.sleep(float(sys.argv[3]))
print(f"token-of-{sys.argv[2]}-{runs.stat().st_size:06}")
"""


@dataclass(frozen=True)
class Bank:
    """A proxy whose accounts have their credentials from everywhere; each account serves the model of its name."""

    proxy: Proxy
    upstream: Upstream
    folder: Path

    def runs(self, name: str) -> int:
        """How often the command of an account has been run."""
        file = self.folder / f"runs-{name}"
        return file.stat().st_size if file.exists() else 0


def command(folder: Path, name: str, *, slow: float = 0) -> str:
    words = [sys.executable, str(folder / "token.py"), str(folder / f"runs-{name}"), name, str(slow)]
    return "cmd:" + shlex.join(words)


def configuration(folder: Path, url: str) -> str:
    def one(name: str, upstream_name: str = "anthropic", *, models: str | None = None, **more: object) -> str:
        # A JSON null stands in no TOML: the key is left out where something else is the credential.
        text = account(name, upstream_name, models=[models or f"{name}-model"], **more)
        return "".join(line for line in text.splitlines(keepends=True) if not line.endswith("= null\n"))

    config = one("env", api_key="env:BANK_KEY") + one("literal") + one("google", "gemini", api_key="env:BANK_KEY")
    config += one("file", api_key=f"file:{folder / 'key'}") + one("near", api_key="file:near-key")
    config += one("bearer", api_key=None, bearer="env:BANK_KEY")
    config += one("google-bearer", "gemini", api_key=None, bearer="env:BANK_KEY")
    config += one("cmd", api_key=None, bearer=command(folder, "cmd"))
    config += one("short", api_key=command(folder, "short"), ttl=0.01)
    config += one("renewed", api_key=command(folder, "renewed"))
    config += one("shared", api_key=command(folder, "shared", slow=0.3))
    config += one(
        "failing",
        api_key=shell("echo not-to-be-shown; echo an-earlier-line >&2; echo no login, not-to-be-shown >&2; exit 7"),
        models="failing*",
    )
    config += one("rescue", models="failing-rescued", priority=1)
    config += one("unset", api_key="env:BANK_UNSET") + one("gone", api_key=f"file:{folder / 'gone'}")
    headers = '[accounts.headers]\nx-team = "env:BANK_TEAM"\nx-plain = "as it is"\n'
    config += one("headers") + headers
    config += one("only-headers", api_key=None) + '[accounts.headers]\nAuthorization = "Custom whole-thing"\n'
    return config + "".join(upstream(dialect, dialect, url) for dialect in DIALECTS)


@pytest.fixture(scope="module")
def shared_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("bank")
    (folder / "token.py").write_text(_SCRIPT)
    (folder / "key").write_text("the-first-key\n")
    (folder / "near-key").write_text("the-near-key")
    env = {"BANK_KEY": "key-from-the-environment", "BANK_TEAM": "team-from-the-environment"}
    with Upstream() as server, Proxy(folder, configuration(folder, server.url), env=env) as proxy:
        yield Bank(proxy, server, folder)


@pytest.fixture
def bank(shared_bank: Bank) -> Bank:
    shared_bank.upstream.reset()
    return shared_bank


@pytest.mark.parametrize(
    ("name", "dialect", "credential"),
    [
        ("env", "anthropic", "x-api-key:key-from-the-environment"),
        ("literal", "anthropic", f"x-api-key:{key_of('literal')}"),
        ("near", "anthropic", "x-api-key:the-near-key"),
        ("google", "gemini", "x-goog-api-key:key-from-the-environment"),
        ("bearer", "anthropic", "bearer:key-from-the-environment"),
        ("google-bearer", "gemini", "bearer:key-from-the-environment"),
        ("only-headers", "anthropic", "custom:whole-thing"),
    ],
)
def test_a_credential_comes_from_its_source(bank: Bank, name: str, dialect: str, credential: str) -> None:
    response = ask(bank.proxy.url, dialect, f"{name}-model")
    assert read_stream(dialect, response.body)
    [call] = bank.upstream.calls
    assert call.credentials == [credential]


def test_more_headers_of_an_account_go_beside_its_key(bank: Bank) -> None:
    ask(bank.proxy.url, "anthropic", "headers-model", headers={"x-team": "the client's own"})
    [call] = bank.upstream.calls
    assert call.credentials == [f"x-api-key:{key_of('headers')}"]
    assert [value for name, value in call.header_pairs if name.lower() == "x-team"] == ["team-from-the-environment"]
    assert call.headers["x-plain"] == "as it is"


def test_a_file_is_read_anew_for_each_request(bank: Bank) -> None:
    ask(bank.proxy.url, "anthropic", "file-model")
    (bank.folder / "key").write_text("the-second-key\n")
    ask(bank.proxy.url, "anthropic", "file-model")
    assert keys_of(bank.upstream.calls) == ["the-first-key", "the-second-key"]


def test_a_command_is_run_once_while_its_output_is_fresh(bank: Bank) -> None:
    for _ in range(3):
        ask(bank.proxy.url, "anthropic", "cmd-model")
    assert [call.credential for call in bank.upstream.calls] == ["bearer:token-of-cmd-000001"] * 3
    assert bank.runs("cmd") == 1


def test_a_command_is_run_again_when_its_output_is_too_old(bank: Bank) -> None:
    for _ in range(2):
        # The request itself takes longer than the ttl of 10 ms.
        bank.upstream.play(error("anthropic", 400, "no").but(delay=0.02))
        ask(bank.proxy.url, "anthropic", "short-model")
    first, second = (int(key.removeprefix("token-of-short-")) for key in keys_of(bank.upstream.calls))
    assert second == first + 1


def test_a_command_is_run_once_for_requests_at_the_same_time(bank: Bank) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(bank.proxy.url, "anthropic", "shared-model"), range(8)))
    assert all(read_stream("anthropic", answer.body) for answer in answers)
    assert keys_of(bank.upstream.calls) == ["token-of-shared-000001"] * 8
    assert bank.runs("shared") == 1


def test_a_refused_credential_from_a_command_is_renewed_once(bank: Bank) -> None:
    refused = error("anthropic", 401, "invalid x-api-key")
    bank.upstream.play(refused)
    response = ask(bank.proxy.url, "anthropic", "renewed-model")
    assert read_stream("anthropic", response.body)
    assert keys_of(bank.upstream.calls) == ["token-of-renewed-000001", "token-of-renewed-000002"]

    bank.upstream.reset()
    bank.upstream.play(refused, refused, refused)
    response = ask(bank.proxy.url, "anthropic", "renewed-model")
    assert response.status == 401
    assert read_error("anthropic", response)["message"] == "invalid x-api-key"
    assert keys_of(bank.upstream.calls) == ["token-of-renewed-000002", "token-of-renewed-000003"]


def test_a_failing_command_gives_a_clear_error(bank: Bank) -> None:
    response = ask(bank.proxy.url, "anthropic", "failing-alone")
    message = read_error("anthropic", response)["message"]
    assert response.status == 401
    assert "failing" in message
    assert "status 7: no login, [redacted]" in message
    assert not bank.upstream.calls
    for hidden in ("not-to-be-shown", "an-earlier-line", "echo"):
        assert hidden not in message
        assert hidden not in bank.proxy.log


def test_a_failing_command_rotates_to_the_other_account(bank: Bank) -> None:
    response = ask(bank.proxy.url, "anthropic", "failing-rescued")
    assert read_stream("anthropic", response.body)
    assert keys_of(bank.upstream.calls) == [key_of("rescue")]
    assert response.header("x-account-email") == "rescue@accounts.example"


@pytest.mark.parametrize(("name", "what"), [("unset", "BANK_UNSET"), ("gone", "gone")])
def test_a_credential_that_is_not_there_is_named_at_the_start_and_in_the_error(
    bank: Bank, name: str, what: str
) -> None:
    response = ask(bank.proxy.url, "anthropic", f"{name}-model")
    assert response.status == 401
    message = read_error("anthropic", response)["message"]
    assert f"account {name}" in message
    assert what in message
    assert not bank.upstream.calls
    # The start waits for no credential: this is said once all were looked for.
    bank.proxy.wait_for_log("Accounts: ")
    told = next(line for line in bank.proxy.lines if "Accounts: " in line)
    assert what in told.partition(f"{name}: ")[2].partition(";")[0], told


WAITING = """
[peek]
first_byte = 0.5
first_content = 0.5
soft_commit = 0.1
keep_alive = 0.1
"""


def test_signs_of_life_go_on_while_a_credential_is_fetched_and_no_clock_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    fetched = shell(f"while ! test -e {go}; do sleep 0.02; done; echo fetched-key")
    config = account("first", "anthropic") + account("fetched", "anthropic", api_key=fetched, priority=1) + WAITING
    with Upstream() as server, Proxy(tmp_path, config + upstream("anthropic", "anthropic", server.url)) as proxy:
        server.play(anthropic_heartbeats())
        meanwhile = 0

        def enough(body: bytes) -> bool:
            # More of them than the clocks of an attempt have room for.
            nonlocal meanwhile
            meanwhile += "attempt 2 on fetched" in proxy.log
            if meanwhile == 10:
                go.touch()
            return False

        response = ask(proxy.url, "anthropic", "m", read=enough)
        assert meanwhile >= 10
        assert read_stream("anthropic", response.body)
        assert keys_of(server.calls) == [key_of("first"), "fetched-key"]


def test_a_credential_that_does_not_come_in_time_costs_no_answer(tmp_path: Path) -> None:
    config = "[limits]\nsource_seconds = 0.7\n" + WAITING + account("hangs", "anthropic", api_key="cmd:sleep 1000")
    config += account("spare", "anthropic", priority=1)
    with Upstream() as server, Proxy(tmp_path, config + upstream("anthropic", "anthropic", server.url)) as proxy:
        response = ask(proxy.url, "anthropic", "m")
        assert read_stream("anthropic", response.body)
        assert keys_of(server.calls) == [key_of("spare")]
        proxy.wait_for_log("its command took more than 0.7 s")
        assert proxy.health()["running"] == 0


def test_a_command_with_a_quote_that_is_not_ended_ends_the_start(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, account("work", "anthropic", api_key="cmd:print 'the token")).start(wait=False)
    assert proxy.wait_exit(60) == 1
    assert 'accounts[0] ("work").api_key: has a quote' in proxy.log
    assert "the token" not in proxy.log
