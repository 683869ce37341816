"""A full disk, and who would fill it: said once when it begins and once when it is over, and everybody is served."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, error, read_stream
from tests.support.small_disk import SmallDisk, small_disk
from tests.upstream import Upstream, anthropic_stream

BEGIN = ("signatures are not kept", "app.log can't be written", "failed exchanges are not captured")
OVER = ("signatures are kept again", "app.log is written again", "failed exchanges are captured again")
THINKING = anthropic_stream("Hello", thinking="well " * 2000)


@dataclass(frozen=True)
class Home:
    """A proxy whose data folder lies on a small disk."""

    proxy: Proxy
    upstream: Upstream
    disk: SmallDisk

    def serve(self, *, text: str = "hi") -> None:
        """A request whose answer has signatures to keep."""
        self.upstream.play(THINKING)
        response = ask(self.proxy.url, "anthropic", "m", text)
        assert response.body == THINKING.whole
        assert read_stream("anthropic", response.body) == "Hello"

    def fail(self) -> None:
        """A request that fails as none did before, to be captured."""
        self.upstream.play(error("anthropic", 400, "no" * 5000))
        model = f"m-{self.told(' m-')}"
        assert ask(self.proxy.url, "anthropic", model).status == 400
        self.proxy.wait_for_log(f" {model}")

    def told(self, words: str) -> int:
        return sum(words in line for line in self.proxy.lines)

    def kept(self) -> tuple[int, int]:
        """How many signatures the table has, and how many /health tells of."""
        with sqlite3.connect(f"file:{self.disk.folder / 'signatures.sqlite3'}?mode=ro", uri=True) as db:
            [(entries,)] = db.execute("SELECT COUNT(*) FROM entries")
        found: dict[str, Any] = self.proxy.health()["signatures"]
        return entries, found["entries"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with small_disk(tmp_path / "disk", "3m") as disk, Upstream() as server:
        config = account("only", "anthropic") + upstream("anthropic", "anthropic", server.url)
        options = {"antigravity_home": str(disk.folder)}
        with Proxy(tmp_path / "proxy", config, options=options) as proxy:
            yield Home(proxy, server, disk)


def test_a_full_disk_is_said_once_and_everybody_is_served(home: Home) -> None:
    home.serve()
    home.fail()
    home.proxy.wait_for_log("captured in")
    before, _ = home.kept()
    assert before
    home.disk.fill()
    for number in range(5):
        home.serve(text=f"another {number}")
        home.fail()
    for words in BEGIN:
        home.proxy.wait_for_log(words)
    assert home.kept() == (before, before)

    home.disk.empty()
    home.serve(text="and again")
    home.fail()
    for words in OVER:
        home.proxy.wait_for_log(words)
    assert [home.told(words) for words in (*BEGIN, *OVER)] == [1] * 6
    table, health = home.kept()
    assert table == health > before
    assert "Logging error" not in home.proxy.log


def test_what_requests_write_into_the_log_never_takes_more_than_it_may(tmp_path: Path) -> None:
    most = 1024 * 1024
    folder = tmp_path / "proxy" / "home" / "logs"
    folder.mkdir(parents=True)
    # A flood came before: the file is as good as full, and so is what lies beside it.
    lines = ("x" * 99 + "\n") * (most // 8 // 100)
    for name in ("app.log", *(f"app.log.before-{number}" for number in range(10))):
        (folder / name).write_text(lines)
    with Upstream() as server:
        config = f"[limits]\nlog_bytes = {most}\n" + account("only", "anthropic")
        config += upstream("anthropic", "anthropic", server.url)
        with Proxy(tmp_path / "proxy", config) as proxy:
            for number in range(5):
                # As long as the line of a request may be: the name of a model is in several.
                model = f"{number}-" + "m" * 250
                assert ask(proxy.url, "anthropic", model).status == 200
            proxy.wait_for_log("delivered", 5)
            assert sum(file.stat().st_size for file in folder.iterdir()) <= most
            kept = "".join(file.read_text() for file in folder.iterdir())
            for number in range(5):
                assert f" {number}-mmm" in kept
            assert "delivered" in proxy.log_file.read_text()
