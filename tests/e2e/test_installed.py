"""What is installed from the wheel, without the clone: the command `antigravity`, and all that the proxy needs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from antigravity_healing.commands import tools
from antigravity_healing.commands.main import main

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, empty, keys_of, read_stream
from tests.e2e.test_request_log import ended, logged
from tests.support import raw
from tests.support.places import ROOT
from tests.upstream import Upstream, anthropic_stream


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "xdg")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to build a wheel with")
    built = subprocess.run(
        [uv, "build", "--wheel", "-o", str(folder), str(ROOT)], capture_output=True, text=True, check=False
    )
    if built.returncode and any(sign in built.stderr for sign in ("Failed to fetch", "error sending request")):
        pytest.skip("hatchling can't be fetched")
    assert built.returncode == 0, built.stderr
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def antigravity(wheel: Path) -> Path:
    """The command, in an environment that has the wheel, and this one's packages but for the clone."""
    folder = wheel.parent / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = ["uv", "pip", "install", "-q", "--no-deps", "--offline", "--python", str(python), str(wheel)]
    subprocess.run(install, check=True)
    [packages] = (folder / "lib").glob("python*/site-packages")
    # A folder that is named so is looked into, but what its own *.pth name is not: the clone stays out.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "antigravity"


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def installed(antigravity: Path, server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(
        tmp_path_factory.mktemp("installed"),
        account("one", "anthropic") + upstream("anthropic", "anthropic", server.url),
    )
    after_script = proxy.command.index("-s") + 2
    proxy.command = [str(antigravity), *proxy.command[after_script:]]
    with proxy:
        yield proxy


def test_the_wheel_has_every_file_of_the_package_and_nothing_else_at_the_top(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"antigravity_healing"}
    listed = subprocess.run(
        ["git", "ls-files", "antigravity_healing"], cwd=ROOT / "addons", capture_output=True, text=True, check=False
    )
    there = set(listed.stdout.split())
    assert there - names == set()
    assert {"antigravity_healing/scripts/antigravity.py", "antigravity_healing/scripts/llm_exchange.py"} <= names


def test_it_starts_without_the_clone_and_heals(installed: Proxy, server: Upstream, antigravity: Path) -> None:
    [script] = antigravity.parents[1].rglob("scripts/antigravity.py")
    assert f"Loading script {script}" in installed.log
    server.reset()
    server.play(empty("anthropic"), anthropic_stream("Hello"))
    assert read_stream("anthropic", ask(installed.url, "anthropic", "m").body)
    assert keys_of(server.calls) == [key_of("one")] * 2


@pytest.mark.parametrize("path", ["/antigravity/", "/antigravity/page.js", "/antigravity/page.css"])
def test_its_page_is_served(installed: Proxy, path: str) -> None:
    assert raw.request("GET", installed.url + path).status == 200


def test_its_log_can_be_read(installed: Proxy, server: Upstream, antigravity: Path) -> None:
    server.reset()
    server.play(anthropic_stream("Hello"))
    assert ask(installed.url, "anthropic", "told").status == 200
    logged(installed, "told", ended)
    told = run([str(antigravity), "log", "--home", str(installed.folder / "home"), "--model", "told"], installed.folder)
    assert "clean" in told.stdout


def test_its_version_tells_of_both(antigravity: Path, tmp_path: Path) -> None:
    version = run([str(antigravity), "--version"], tmp_path)
    assert version.returncode == 0
    assert version.stdout.startswith("antigravity ")
    assert "mitmproxy " in version.stdout


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ("--help", 0, ("mitmdump", "antigravity web", "init", "check", "service", "log", "top")),
        ("chekc", 2, ("check",)),
    ],
)
def test_help_tells_of_both_and_a_misspelt_command_starts_nothing(
    capsys: pytest.CaptureFixture[str], given: str, status: int, words: Sequence[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([given])
    told = capsys.readouterr()
    assert ended.value.code == status
    assert all(word in (told.err if status else told.out) for word in words)


# Each imports all of mitmproxy. That `antigravity` alone is mitmdump shows where the proxy is started.
@pytest.mark.parametrize(
    ("given", "option"),
    [pytest.param("-- --help", "--listen-port", marks=pytest.mark.long), ("web --help", "--web-port")],
)
def test_other_options_are_mitmproxys(antigravity: Path, tmp_path: Path, given: str, option: str) -> None:
    assert option in run([str(antigravity), *given.split()], tmp_path).stdout


def test_what_stands_after_two_dashes_is_mitmdumps(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, Sequence[str]]] = []

    def start(tool: str, arguments: Sequence[str]) -> int:
        started.append((tool, arguments))
        return 0

    monkeypatch.setattr(tools, "start", start)
    assert main(["--", "--help"]) == 0
    assert started == [("mitmdump", ["--help"])]
