import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from antigravity_healing.monitor.log import file as log_file
from antigravity_healing.monitor.log.file import DAYS_KEPT, NAME, LogFile

from tests.support.small_disk import small_disk

MOST = 1024 * 1024


@contextmanager
def opened(folder: Path, most: int = MOST) -> Iterator[LogFile]:
    """A log file to which everything goes that `antigravity_healing` logs."""
    handler = LogFile(folder, lambda: most)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("antigravity_healing")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()


def say(text: str) -> None:
    logging.getLogger("antigravity_healing.test").info("%s", text)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{NAME}*"), key=lambda path: path.stat().st_mtime_ns)


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with opened(tmp_path):
            say(text)
    assert (tmp_path / NAME).read_text() == "one\ntwo\n"


def test_a_flood_of_lines_takes_no_more_room_than_it_may_and_the_newest_stay(tmp_path: Path) -> None:
    with opened(tmp_path):
        for number in range(4000):
            say(f"{number:06} " + "x" * 1000)
            if number % 50 == 0:
                assert sum(path.stat().st_size for path in files(tmp_path)) <= MOST
    text = "".join(path.read_text() for path in files(tmp_path))
    numbers = [int(line[:6]) for line in text.splitlines()]
    assert numbers == list(range(numbers[0], 4000))
    assert len(numbers) > 700


def test_a_day_has_a_file_of_its_own_and_is_kept_for_a_week(tmp_path: Path) -> None:
    current = tmp_path / NAME
    current.write_text("yesterday\n")
    yesterday = time.time() - 24 * 3600
    os.utime(current, (yesterday, yesterday))
    for days in (DAYS_KEPT - 1, DAYS_KEPT + 2):
        old = tmp_path / f"{NAME}.{days}-days-ago"
        old.write_text("old\n")
        os.utime(old, (time.time() - days * 24 * 3600,) * 2)
    with opened(tmp_path):
        say("today")
    assert current.read_text() == "today\n"
    day = time.strftime("%Y-%m-%d", time.localtime(yesterday))
    assert (tmp_path / f"{NAME}.{day}").read_text() == "yesterday\n"
    assert (tmp_path / f"{NAME}.{DAYS_KEPT - 1}-days-ago").exists()
    assert not (tmp_path / f"{NAME}.{DAYS_KEPT + 2}-days-ago").exists()


def test_a_full_disk_is_said_when_it_begins_and_when_it_is_over_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, log_file.logger.name)
    with small_disk(tmp_path / "disk") as disk, opened(disk.folder):
        say("before")
        disk.fill()
        for _ in range(20):
            say("lost " * 2000)
        told = [record.getMessage() for record in caplog.records if record.name == log_file.logger.name]
        assert [str(disk.folder / NAME) in line for line in told] == [True]
        disk.empty()
        say("after")
        told = [record.getMessage() for record in caplog.records if record.name == log_file.logger.name]
        assert len(told) == 2
        assert "is written again" in told[1]
        lines = (disk.folder / NAME).read_text().splitlines()
        assert lines[0] == "before"
        assert "after" in lines
    assert "Traceback" not in capsys.readouterr().err
