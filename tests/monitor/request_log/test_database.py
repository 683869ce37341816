import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from antigravity_healing.monitor.request_log.database import SAME_WITHIN_S, Database
from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.reader import Reader, UnreadableError
from antigravity_healing.monitor.request_log.rows import LONGEST, LoggedExchange
from antigravity_healing.monitor.request_log.schema import VERSION, OtherVersionError
from antigravity_healing.policy.journal.records import Record
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.policy.settings.schema import RequestLogSettings
from antigravity_healing.wire.usage import Usage

from tests.monitor.request_log.telling import (
    AT,
    DAY_S,
    attempt,
    attempt_over,
    end,
    facts,
    over,
    received,
    refused,
    whole,
)

USAGE = Usage(10, 20, 30, 40, 5)
SETTINGS = RequestLogSettings()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "requests.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(path, AT)) as made:
        yield made


def kept(path: Path, outcome: str = "") -> list[LoggedExchange]:
    """What is in the log, the oldest first."""
    return list(reversed(Reader(path).page(Filter(limit=10_000, outcome=outcome)).exchanges))


def many(count: int, at: float = AT, step_s: float = 1.0, first: int = 0, said: str = "x" * 200) -> list[Record]:
    """Exchanges of two attempts."""
    made: list[Record] = []
    for number in range(first, first + count):
        tries = attempt(1, "a", FailureClass.EMPTY), attempt(2, "b", usage=USAGE)
        made += whole(
            facts(f"{number:08}", at + (number - first) * step_s, path=f"/{said}"), end("healed", *tries, what=said)
        )
    return made


def never() -> bool:
    return False


# What is written.


def test_an_exchange_is_there_from_its_beginning_and_complete_at_its_end(database: Database, path: Path) -> None:
    first, second = attempt(1, "a", FailureClass.QUOTA), attempt(2, "b", usage=USAGE)
    database.write([received(facts())])
    [begun] = kept(path)
    assert (begun.state, begun.facts, begun.end, begun.attempts) == ("running", facts(), None, ())
    database.write([attempt_over(facts(), first)])
    [going] = kept(path)
    assert (going.state, going.attempts) == ("running", (first,))
    how = end("healed", first, second, duration_s=2.5, first_content_s=1.5, waited_s=0.5)
    database.write([attempt_over(facts(), second), over(facts(), how)])
    [ended] = kept(path)
    assert (ended.state, ended.facts, ended.end, ended.attempts) == ("healed", facts(), how, (first, second))


def test_an_end_whose_beginning_was_lost_is_a_whole_row(database: Database, path: Path) -> None:
    how = end("healed", attempt(1, "a", FailureClass.QUOTA), attempt(2, "b"))
    database.write([over(facts(), how)])
    [one] = kept(path)
    assert (one.state, one.facts, one.end, one.attempts) == ("healed", facts(), how, how.attempts)


def test_a_batch_is_written_whole_or_not_at_all_and_can_be_written_again(database: Database, path: Path) -> None:
    bad = over(facts("bad"), replace(end("clean"), status=object()))  # type: ignore[arg-type]
    good = list(whole(facts("good"), end("clean", attempt())))
    with pytest.raises(sqlite3.Error):
        database.write([good[0], bad])
    assert kept(path) == []
    database.write(good[1:])
    assert [(one.facts.exchange, one.state) for one in kept(path)] == [("good", "clean")]


def test_what_is_refused_again_within_a_minute_is_one_row_with_its_count(database: Database, path: Path) -> None:
    database.write([refused("no key", AT + number) for number in range(40)])
    database.write([refused("no key", AT + 59), refused("no such name", AT + 59), refused("no key", AT, client="d")])
    database.write([refused("no key", AT + SAME_WITHIN_S)])
    told = [(one.facts.client, one.end.finding.what, one.times, one.last_at - AT) for one in kept(path) if one.end]
    assert sorted(told) == [
        ("c", "no key", 1, 60.0),
        ("c", "no key", 41, 59.0),
        ("c", "no such name", 1, 59.0),
        ("d", "no key", 1, 0.0),
    ]
    assert {one.state for one in kept(path)} == {"refused"}


def test_texts_are_lines_of_bounded_length_whatever_comes(database: Database, path: Path) -> None:
    database.write(list(whole(facts(model="a\nb\x1b[31m\udc80", path="/" * 9000), end("clean", what="y" * 9000))))
    [one] = kept(path)
    assert one.facts.model == "a b [31m"
    assert one.end is not None
    assert len(one.facts.path) == len(one.end.finding.what) == LONGEST


def test_what_ran_in_another_process_that_is_gone_is_unfinished(path: Path) -> None:
    Database(path, AT).write([received(facts("first"))])
    # This process again, as a container's is after a restart.
    with closing(Database(path, AT)) as database:
        database.write([received(facts("second"))])
        assert [(one.facts.exchange, one.state) for one in kept(path)] == [
            ("first", "unfinished"),
            ("second", "running"),
        ]
        assert [one.facts.exchange for one in kept(path, outcome="running")] == ["second"]
        assert [one.facts.exchange for one in kept(path, outcome="unfinished")] == ["first"]


def test_only_its_owner_can_read_it(database: Database, path: Path) -> None:
    database.write([received(facts())])
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


# What is deleted.


def test_thirty_days_later_the_old_rows_are_gone_and_the_file_is_small_again(database: Database, path: Path) -> None:
    for day in range(60):
        database.write(many(40, AT + day * DAY_S, first=day * 40))
        database.prune(SETTINGS, AT + day * DAY_S, never)
        if day == 29:
            month = path.stat().st_size
    found = kept(path)
    assert min(one.facts.at for one in found) >= AT + 29 * DAY_S
    assert len(found) == 31 * 40
    assert path.stat().st_size <= 1.25 * month
    database.prune(SETTINGS, AT + 100 * DAY_S, never)
    assert kept(path) == []
    assert path.stat().st_size < 0.1 * month
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT COUNT(*) FROM attempts").fetchone() == (0,)
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)


def test_the_newest_are_kept_when_there_are_too_many(database: Database, path: Path) -> None:
    # Fewer than may be set.
    settings = RequestLogSettings.model_construct(rows=200)
    for part in range(6):
        database.write(many(60, AT + part * 1000, first=part * 60))
        if database.is_too_much(settings):
            database.prune(settings, AT, never)
        names = [one.facts.exchange for one in kept(path)]
        written = (part + 1) * 60
        assert names == [f"{number:08}" for number in range(written - len(names), written)]
        assert min(written, 180) <= len(names) <= 200


def test_the_newest_are_kept_when_they_are_too_large(database: Database, path: Path) -> None:
    settings = RequestLogSettings(bytes=8 * 1024 * 1024)
    most = 0
    for part in range(30):
        # As much as a row can hold: few are enough.
        database.write(many(100, AT + part * 1000, first=part * 100, said="x" * LONGEST))
        if database.is_too_much(settings):
            database.prune(settings, AT, never)
        most = max(most, sum(file.stat().st_size for file in path.parent.iterdir()))
    names = [one.facts.exchange for one in kept(path)]
    assert names == [f"{number:08}" for number in range(3000 - len(names), 3000)]
    assert path.stat().st_size > 3 * 1024 * 1024
    assert most <= settings.bytes


def test_files_that_were_put_aside_go_when_they_are_too_old(database: Database, path: Path) -> None:
    for name in (".broken", ".version-7", ".mine"):
        path.with_name(path.name + name).write_bytes(b"x")
    changed = path.with_name(path.name + ".broken").stat().st_mtime
    database.prune(SETTINGS, changed + 29 * DAY_S, never)
    assert path.with_name(path.name + ".version-7").exists()
    database.prune(SETTINGS, changed + 31 * DAY_S, never)
    assert {file.name for file in path.parent.iterdir()} >= {path.name, path.name + ".mine"}
    assert not path.with_name(path.name + ".broken").exists()
    assert not path.with_name(path.name + ".version-7").exists()


# Whose it is.


def test_a_file_of_another_version_is_not_touched(path: Path) -> None:
    Database(path, AT).close(AT)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(OtherVersionError):
        Database(path, AT)
    assert path.read_bytes() == before
    with pytest.raises(UnreadableError, match="another version"):
        kept(path)


def test_two_can_write_at_once(path: Path) -> None:
    with closing(Database(path, AT)) as one, closing(Database(path, AT)) as other:
        for number in range(20):
            one.write(list(whole(facts(f"a{number}"), end("clean", attempt()))))
            other.write(list(whole(facts(f"b{number}"), end("clean", attempt()))))
        assert len(kept(path)) == 40
        assert one.is_there()


def test_it_is_noticed_that_the_file_was_taken_away(database: Database, path: Path) -> None:
    assert database.is_there()
    path.rename(path.with_name("elsewhere"))
    assert not database.is_there()
    path.write_bytes(b"")
    assert not database.is_there()
