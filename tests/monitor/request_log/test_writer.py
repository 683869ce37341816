import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from antigravity_healing.monitor.request_log import writer as writing
from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.reader import Reader
from antigravity_healing.monitor.request_log.schema import VERSION
from antigravity_healing.monitor.request_log.writer import Writer
from antigravity_healing.policy.settings.schema import RequestLogSettings

from tests.monitor.request_log.telling import AT, DAY_S, attempt, end, facts, whole
from tests.support.small_disk import small_disk

ON = RequestLogSettings()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def tell(writer: Writer, *names: str, at: float = AT) -> None:
    for name in names:
        for record in whole(facts(name, at), end("clean", attempt())):
            writer.take(record)


def names(path: Path) -> list[str]:
    found = Reader(path).page(Filter(limit=10_000)).exchanges if path.exists() else ()
    return sorted(one.facts.exchange for one in found)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == writing.logger.name]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.sqlite3"


def started(path: Path, settings: RequestLogSettings = ON, now: float = AT) -> Writer:
    writer = Writer(path, lambda: settings, lambda: now)
    writer.start()
    return writer


def test_what_is_told_is_written_while_it_runs_and_what_waits_at_its_end(path: Path) -> None:
    writer = started(path)
    tell(writer, "a", "b")
    wait_for(lambda: path.exists() and names(path) == ["a", "b"])
    tell(writer, "c")
    writer.stop()
    assert names(path) == ["a", "b", "c"]
    tell(writer, "too late")
    assert not writer.in_trouble


def test_what_is_too_old_is_deleted_at_the_start_where_nothing_comes(path: Path) -> None:
    writer = started(path)
    tell(writer, "old")
    writer.stop()
    started(path, now=AT + 31 * DAY_S).stop()
    writer = started(path, now=AT + 31 * DAY_S)
    wait_for(lambda: names(path) == [])
    writer.stop()


def test_more_than_may_wait_drops_the_oldest_and_says_so(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_WAITING", 1000)
    writer = Writer(path, lambda: ON, lambda: AT)
    tell(writer, *(f"{number:06}" for number in range(1000 // 3 + 10)))
    assert writer.dropped > 0
    writer.start()
    wait_for(lambda: names(path)[-1:] == [f"{1000 // 3 + 9:06}"])
    writer.stop()
    assert "000001" not in names(path)
    assert [line for line in said(caplog) if "faster than they can be written" in line]


def test_a_full_disk_is_said_once_and_what_can_wait_is_written_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, writing.logger.name)
    with small_disk(tmp_path / "disk") as disk:
        path = disk.folder / "requests.sqlite3"
        writer = started(path)
        tell(writer, "before")
        wait_for(lambda: names(path) == ["before"])
        disk.fill()
        meanwhile = [f"meanwhile-{number:04}" for number in range(500)]
        tell(writer, *meanwhile[:-1])
        wait_for(lambda: writer.in_trouble)
        tell(writer, meanwhile[-1])
        disk.empty()
        wait_for(lambda: not writer.in_trouble)
        wait_for(lambda: meanwhile[-1] in names(path))
        writer.stop()
        assert names(path) == ["before", *meanwhile]
    told = said(caplog)
    assert [line.split(":")[0] for line in told] == ["requests are not logged", "requests are logged again"]
    assert "full" in told[0]


def test_a_log_that_somebody_else_has_locked_is_written_later(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antigravity_healing.monitor.request_log.schema.BUSY_S", 0.05)
    writer = started(path)
    tell(writer, "a")
    wait_for(lambda: path.exists() and names(path) == ["a"])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        tell(writer, "b")
        wait_for(lambda: writer.in_trouble)
        other.execute("ROLLBACK")
    wait_for(lambda: names(path) == ["a", "b"])
    writer.stop()
    assert len([line for line in said(caplog) if "not logged" in line]) == 1


def test_a_file_that_breaks_is_put_aside_and_another_one_begins(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = started(path)
    tell(writer, *(f"{number:04}" for number in range(500)))
    wait_for(lambda: path.exists() and len(names(path)) == 500)
    writer.stop()
    whole_file = bytearray(path.read_bytes())
    whole_file[4096:] = b"\xa5" * (len(whole_file) - 4096)
    path.write_bytes(whole_file)
    writer = started(path)
    tell(writer, "after")
    wait_for(lambda: path.with_name(path.name + ".broken").exists() and "after" in names(path))
    writer.stop()
    assert names(path) == ["after"]
    assert path.with_name(path.name + ".broken").read_bytes() == whole_file
    assert len([line for line in said(caplog) if "a new one begins" in line]) == 1


def test_a_file_of_another_version_is_put_aside_whole(path: Path) -> None:
    writer = started(path)
    tell(writer, "of the old version")
    writer.stop()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    writer = started(path)
    tell(writer, "new")
    writer.stop()
    assert names(path) == ["new"]
    assert path.with_name(f"{path.name}.version-{VERSION + 1}").read_bytes() == before


def test_a_file_that_is_taken_away_while_it_runs_is_made_again(path: Path) -> None:
    writer = started(path)
    tell(writer, "a")
    wait_for(lambda: path.exists() and names(path) == ["a"])
    path.rename(path.with_name("elsewhere.sqlite3"))
    tell(writer, "b")
    wait_for(lambda: path.exists() and names(path) == ["b"])
    writer.stop()


def test_turned_off_it_makes_no_file(path: Path) -> None:
    writer = started(path, RequestLogSettings(enabled=False))
    tell(writer, "a")
    writer.stop()
    assert not path.exists()
