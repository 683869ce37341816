"""What the proxy writes is for its owner only, whatever the umask; keys that others can read are warned of."""

import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from antigravity_healing import data_folder, private

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, error, stream
from tests.upstream import Upstream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """What is started meanwhile has this umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def configuration(server: Upstream) -> str:
    return (
        upstream("anthropic", "anthropic", server.url) + account("anthropic", "anthropic") + "[retry]\nmax_wait = 0\n"
    )


def fill(proxy: Proxy, server: Upstream) -> None:
    """Have a log, signatures and a captured failure."""
    server.play(stream("anthropic"), error("anthropic", 400, "No"))
    assert ask(proxy.url, "anthropic", "m").status == 200
    assert ask(proxy.url, "anthropic", "m").status == 400
    proxy.wait_for_log("captured in")


def modes(folder: Path) -> dict[str, str]:
    """The mode of all in a folder, and of the folder itself."""
    found = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in found}


def assert_private(home: Path) -> None:
    found = modes(home)
    assert {"logs/app.log", "signatures.sqlite3", "requests.sqlite3", "captured"} <= found.keys()
    assert any(name.endswith(".flow") for name in found)
    wrong = {name: mode for name, mode in found.items() if mode != ("0o700" if (home / name).is_dir() else "0o600")}
    assert not wrong


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_all_in_the_data_folder_is_private(tmp_path: Path, mask: int) -> None:
    with Upstream() as server, umask(mask), Proxy(tmp_path, configuration(server)) as proxy:
        fill(proxy, server)
        assert any(name.startswith("signatures.sqlite3-") for name in modes(tmp_path / "home"))
        assert_private(tmp_path / "home")
    assert_private(tmp_path / "home")


def test_what_an_older_version_left_open_is_closed_at_the_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Upstream() as server:
        with Proxy(tmp_path, configuration(server)) as proxy:
            fill(proxy, server)
        (home / "logs" / "app.log.2020-01-01").write_text("rotated")
        (home / "captured" / "2020-01-01.new").write_text("half")
        for path in [home, *home.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        with Proxy(tmp_path, configuration(server)) as proxy:
            proxy.wait_for_log("Configuration:")
            assert_private(home)


def test_a_folder_with_others_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "somebody's.txt").write_text("x")
    home.chmod(0o755)
    (home / "somebody's.txt").chmod(0o644)
    with Upstream() as server, Proxy(tmp_path, configuration(server)) as proxy:
        fill(proxy, server)
        found = modes(home)
    assert (found["."], found["somebody's.txt"]) == ("0o755", "0o644")
    assert {found["logs"], found["captured"]} == {"0o700"}
    assert {mode for name, mode in found.items() if name.startswith(("logs/", "captured/", "sig"))} == {"0o600"}


def test_no_file_is_readable_for_a_moment(tmp_path: Path) -> None:
    seen, stop = set[int](), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for path in tmp_path.glob("f*"):
                seen.add(stat.S_IMODE(path.stat().st_mode))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with umask(0):
        for number in range(300):
            with open(tmp_path / f"f{number}", "w", opener=private.opener) as file:
                file.write("x")
    stop.set()
    watcher.join()
    assert seen <= {0o600}


def test_a_link_in_the_data_folder_opens_and_closes_nothing_elsewhere(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    other.chmod(0o644)
    link = tmp_path / "app.log"
    link.symlink_to(other)
    private.tighten([link, tmp_path / "missing"])
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


def test_an_empty_or_missing_data_folder_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert data_folder(str(tmp_path)) == tmp_path
    assert data_folder(str(tmp_path / "missing")) == tmp_path / "missing"
    assert not (tmp_path / "missing").exists()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


# Warnings.


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that others can go into: pytest's own are private, and each other run of it makes them so again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


WARNING = "others can read or change"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_configuration_with_a_key_that_others_can_read_is_warned_of_once_a_load(reachable: Path, mode: int) -> None:
    with Upstream() as server:
        proxy = Proxy(reachable, configuration(server))
        proxy.config_file.chmod(mode)
        with proxy:
            proxy.wait_for_log(f"{WARNING} {proxy.config_file}, which has a key in it: chmod 600 {proxy.config_file}")
            assert proxy.log.count(WARNING) == 1
            proxy.config_file.write_text(configuration(server) + "\n")
            proxy.wait_for_log(WARNING, 2)
            proxy.config_file.chmod(0o600)
            proxy.config_file.write_text(configuration(server) + "\n\n")
            proxy.wait_for_log("Configuration:", 3)
            assert proxy.log.count(WARNING) == 2
        assert key_of("anthropic") not in proxy.log


def test_a_key_in_a_file_that_others_can_read_is_warned_of(reachable: Path) -> None:
    names = ("loose", "tight")
    for name, mode in zip(names, (0o644, 0o600), strict=True):
        (reachable / name).write_text("key-in-a-file-0x1\n")
        (reachable / name).chmod(mode)
    with Upstream() as server:
        config = upstream("anthropic", "anthropic", server.url)
        config += "".join(account(name, "anthropic", api_key=f"file:{name}") for name in names)
        config += '[clients]\nkeys = ["file:loose"]\n'
        with Proxy(reachable, config) as proxy:
            proxy.wait_for_log(f"{WARNING} {reachable / 'loose'}, which has a key in it")
            proxy.wait_for_log("Configuration:")
            assert ask(proxy.url, "anthropic", "m").status == 200
            # Nor is the configuration itself, which others can read: it has no key in it.
            assert proxy.log.count(WARNING) == 1
