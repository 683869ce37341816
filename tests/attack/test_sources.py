"""Sources that hang, flood or are no files: they hold up their own account, and nobody else."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, keys_of, read_error, read_stream
from tests.support import raw
from tests.support.shell import shell
from tests.upstream import Upstream

KEY = "the-honest-key-0123456789"
SOURCES = {
    "pipe": "file:{folder}/pipe",
    "folder": "file:{folder}",
    "device": "file:/dev/zero",
    "large": "file:{folder}/large",
    "floods": "cmd:yes",
    "fails": shell("exit 3"),
}
HANGS = {
    "sleeps": "cmd:sleep 1000",
    "leaves": shell("sleep 1000 & exit 0"),
    "ignores": shell("trap '' TERM INT HUP; while :; do sleep 1000; done"),
}
NEIGHBOURS = {
    "file": "file:{folder}/key",
    "link": "file:{folder}/link",
    "full": "file:{folder}/full",
    "cmd": "cmd:cat {folder}/key",
    "daemon": shell("(while [ ! -e {folder}/over ]; do sleep 0.1; done) & cat {folder}/key"),
}
LIMITS = "[limits]\nsource_seconds = 3\n"


class Vault:
    """A proxy with an account for each kind of source; `NAME-alone` leads only there, `NAME-rescued` to another too."""

    def __init__(self, folder: Path, server: Upstream, proxy: Proxy) -> None:
        self.folder, self.upstream, self.proxy = folder, server, proxy

    def ask(self, model: str) -> raw.RawResponse:
        return ask(self.proxy.url, "anthropic", model, timeout=60)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    folder = tmp_path_factory.mktemp("sources")
    os.mkfifo(folder / "pipe")
    (folder / "large").write_bytes(b"x" * 65537)
    (folder / "full").write_text("x" * 16384)
    (folder / "key").write_text(KEY + "\n")
    (folder / "link").symlink_to(folder / "key")
    config = LIMITS + "[retry]\nspare_retries = 1000000\n"
    for name, source in (SOURCES | HANGS | NEIGHBOURS).items():
        config += account(name, "anthropic", api_key=source.format(folder=folder), models=[f"{name}-*"])
    config += account("rescue", "anthropic", priority=1, models=["*-rescued", "other"])
    try:
        with Upstream() as server:
            config += upstream("anthropic", "anthropic", server.url)
            with Proxy(folder / "proxy", config) as proxy:
                yield Vault(folder, server, proxy)
    finally:
        (folder / "over").touch()


@pytest.fixture
def vault(running: Vault) -> Vault:
    running.upstream.reset()
    return running


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_is_no_good_is_told_and_rescued_by_another_account(vault: Vault, name: str) -> None:
    response = vault.ask(f"{name}-alone")
    assert response.status == 401
    assert f"o credential for account {name}" in read_error("anthropic", response)["message"]
    assert read_stream("anthropic", vault.ask(f"{name}-rescued").body)
    assert keys_of(vault.upstream.calls) == [key_of("rescue")]


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_an_honest_source_gives_its_key(vault: Vault, name: str) -> None:
    assert read_stream("anthropic", vault.ask(f"{name}-alone").body)
    assert keys_of(vault.upstream.calls) == ["x" * 16384 if name == "full" else KEY]


@pytest.mark.parametrize("name", HANGS)
def test_a_command_that_hangs_holds_up_its_own_account_only_and_is_ended(vault: Vault, name: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        held = [pool.submit(vault.ask, f"{name}-rescued") for _ in range(3)]
        vault.proxy.wait_for(lambda: any(f"on {name}: {name}-rescued" in line for line in vault.proxy.lines), "it")
        # Others are served meanwhile.
        while not all(each.done() for each in held):
            assert read_stream("anthropic", vault.ask("other").body)
        assert all(read_stream("anthropic", each.result().body) for each in held)
    # It is known to hang: nobody waits for it again.
    assert read_stream("anthropic", vault.ask(f"{name}-rescued").body)
    alone = vault.ask(f"{name}-alone")
    assert alone.status == 401
    assert "took too long, and runs again" in read_error("anthropic", alone)["message"]


def test_a_start_does_not_hang_on_what_is_no_file_and_client_keys_neither(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "key").write_text(KEY)
    config = account("a", "anthropic", api_key=f"file:{tmp_path / 'pipe'}", models=["a-*"]) + account("b", "anthropic")
    config += f'[clients]\nkeys = ["file:{tmp_path / "pipe"}", "file:{tmp_path / "key"}"]\nloopback_only = false\n'
    with Upstream() as server:
        config += upstream("anthropic", "anthropic", server.url)
        with Proxy(tmp_path / "proxy", config) as proxy:
            proxy.wait_for_log("account a has no key: ")
            proxy.wait_for_log("clients.keys[0] lets nobody in: ")
            assert ask(proxy.url, "anthropic", "m").status == 401
            response = ask(proxy.url, "anthropic", "m", headers={"x-api-key": KEY})
            assert read_stream("anthropic", response.body)
            # Another key in the file is another key at once.
            (tmp_path / "key").write_text("another-honest-key")
            assert ask(proxy.url, "anthropic", "m", headers={"x-api-key": KEY}).status == 401
            response = ask(proxy.url, "anthropic", "m", headers={"x-api-key": "another-honest-key"})
            assert read_stream("anthropic", response.body)
