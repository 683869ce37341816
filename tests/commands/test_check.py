"""`antigravity check` and `init`, against real upstreams."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from antigravity_healing.commands.first_configuration import variables_looked_at, vertex_flags
from antigravity_healing.commands.main import main

from tests.e2e.harness import account, key_of, upstream
from tests.e2e.test_modes_helpers import error
from tests.upstream import Upstream, healthy
from tests.upstream.replies import Reply


@pytest.fixture(scope="module")
def shared() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def server(shared: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """An upstream; the process is in an empty folder, and so is the user's configuration."""
    shared.reset()
    shared.default = healthy
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    for name in (*variables_looked_at(), *vertex_flags(), "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return shared


def checked(capsys: pytest.CaptureFixture[str], config: str) -> tuple[int, list[str]]:
    """The exit status, and the lines about accounts."""
    Path("antigravity.toml").write_text(config)
    Path("antigravity.toml").chmod(0o600)
    status = main(["check"])
    told = capsys.readouterr()
    assert "key-of-" not in told.out + told.err
    return status, told.out.splitlines()[1:]


def on(server: Upstream, dialect: str, name: str = "a", **more: object) -> str:
    return account(name, "there", **more) + upstream("there", dialect, server.url)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_a_good_account_is_usable_and_its_key_goes_as_the_proxy_sends_it(
    server: Upstream, capsys: pytest.CaptureFixture[str], dialect: str
) -> None:
    assert checked(capsys, on(server, dialect)) == (0, ["  a (there): usable"])
    (call,) = server.calls
    assert call.method == "GET"
    assert call.headers["x-api-key" if dialect == "anthropic" else "x-goog-api-key"] == key_of("a")


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_vertex_ai_has_to_be_told_a_project(server: Upstream, capsys: pytest.CaptureFixture[str], dialect: str) -> None:
    config = upstream("there", dialect, server.url) + 'location = "global"\n'
    config += '[[accounts]]\nname = "none"\nupstream = "there"\nbearer = "key-of-none-0123456789"\n'
    status, (line,) = checked(capsys, config)
    assert status == 1
    assert line.startswith("  none (there): NOT USABLE: upstream there is Vertex AI and names no project | TO DO: ")
    assert not server.calls


REFUSALS: dict[str, tuple[str, Reply, str]] = {
    "anthropic key": (
        "anthropic",
        error("anthropic", 401, f"invalid x-api-key {key_of('a')}"),
        "the key of a is refused",
    ),
    "gemini key": (
        "gemini",
        error("gemini", 400, "API key not valid. Please pass a valid API key."),
        "TO DO: put a new key into antigravity.toml, accounts[0]",
    ),
    "no credit": ("anthropic", error("anthropic", 402, "no more credit"), "a has no credit"),
    "no such page": ("gemini", Reply(404, {}, b"nothing here"), "its key may be good all the same"),
    "another server": ("gemini", Reply(200, {"content-type": "text/html"}, b"<html>"), "gives no list of models"),
    "elsewhere": ("gemini", Reply(302, {"location": "http://127.0.0.1:1/"}, b""), "gives no list of models"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_not_usable_says_why_and_what_to_do(
    server: Upstream, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    dialect, reply, told = REFUSALS[name]
    server.default = reply
    status, (line,) = checked(capsys, on(server, dialect))
    assert status == 1
    assert "NOT USABLE" in line
    assert "TO DO" in line
    assert told in line


def test_one_account_that_is_not_usable_does_not_hide_another_that_is(
    server: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = upstream("nobody", "gemini", "https://no-such-host.invalid")
    silent = upstream("silent", "gemini", "http://127.0.0.1:1")
    config = account("x", "nobody") + account("y", "silent") + nobody + silent + on(server, "anthropic")
    config += account("z", "there", api_key="env:NOT_THERE")
    status, lines = checked(capsys, config)
    assert status == 1
    assert [line.split(": ")[1] for line in lines] == ["NOT USABLE", "NOT USABLE", "usable", "NOT USABLE"]
    assert "the name no-such-host.invalid can't be resolved" in lines[0]
    assert "nothing answers at http://127.0.0.1:1" in lines[1]
    assert "the environment variable NOT_THERE is not set" in lines[3]


def test_a_broken_or_missing_configuration_is_told_as_the_proxy_tells_it(
    server: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check"]) == 2
    assert f"looked for in {Path.cwd() / 'antigravity.toml'} and" in capsys.readouterr().err
    Path("antigravity.toml").write_text("[[accounts]]\nnam = 'a'")
    assert main(["check"]) == 2
    assert 'unknown key "nam"; did you mean "name"?' in capsys.readouterr().err
    assert main(["check", "--file", "nowhere.toml"]) == 2
    assert "there is no such file; it is what --file names" in capsys.readouterr().err
    assert not server.calls


def test_init_writes_what_the_environment_has_without_a_key_and_checks_it(
    server: Upstream, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GEMINI_API_KEY_2"):
        monkeypatch.setenv(name, key_of(name))
    # One on this machine is taken for the proxy itself.
    monkeypatch.setattr("antigravity_healing.wire.anthropic.dialect.Anthropic.public_url", server.url)
    monkeypatch.setattr("antigravity_healing.wire.gemini.dialect.Gemini.public_url", server.url)
    assert main(["init"]) == 0
    (path,) = Path("user").rglob("antigravity.toml")
    told = capsys.readouterr().out
    assert [line.strip() for line in told.splitlines() if "usable" in line] == [
        "anthropic (anthropic): usable",
        "gemini (gemini): usable",
        "gemini-2 (gemini): usable",
    ]
    assert "key-of-" not in told + path.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(call.path for call in server.calls) == ["/v1/models", "/v1beta/models", "/v1beta/models"]


@pytest.mark.parametrize("option", [["--here"], ["--file", "some/where.toml"], []])
def test_init_overwrites_nothing(server: Upstream, capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    assert main(["init", *option]) == 0
    (path,) = Path().rglob("*.toml")
    path.write_text("mine")
    assert main(["init", *option]) == 2
    assert path.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


def test_init_is_told_that_it_is_to_write_a_folder(server: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    Path("some").mkdir()
    assert main(["init", "--file", "some"]) == 2
    assert "some is a folder; name the file in it, some/antigravity.toml" in capsys.readouterr().err
