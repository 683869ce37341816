import os
import sqlite3
import stat
from pathlib import Path

import pytest
from antigravity_healing.policy.signing.lru_table import LruTable
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.small_disk import small_disk

NOW = 1_795_000_000.0
TTL_S = 7200.0


def vault(path: Path | None = None, *, max_entries: int = 1000, max_bytes: int = 1_000_000) -> LruTable:
    return LruTable(path, ttl_s=TTL_S, max_entries=max_entries, max_bytes=max_bytes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "signatures.sqlite3"


def test_a_value_comes_back_until_it_is_deleted() -> None:
    kept = vault()
    kept.put("a", b"one", NOW)
    kept.put("a", b"two", NOW)
    assert (kept.get("a", NOW), kept.entries) == (b"two", 1)
    kept.delete("a")
    assert (kept.get("a", NOW), kept.entries, kept.bytes) == (None, 0, 0)


def test_a_value_lives_for_its_time_since_it_was_last_used() -> None:
    kept = vault()
    kept.put("used", b"x", NOW)
    kept.put("unused", b"x", NOW)
    assert kept.get("used", NOW + TTL_S - 1) == b"x"
    kept.put("other", b"x", NOW + TTL_S)
    assert kept.get("used", NOW + 2 * TTL_S - 2) == b"x"
    assert kept.get("unused", NOW + TTL_S + 1) is None


def test_the_least_recently_used_make_room_for_new_ones() -> None:
    kept = vault(max_entries=200)
    for number in range(200):
        kept.put(f"{number}", b"x", NOW + number)
    assert kept.get("0", NOW + 300) == b"x"
    for number in range(200, 260):
        kept.put(f"{number}", b"x", NOW + 300 + number)
    assert kept.entries <= 200
    assert kept.get("0", NOW + 600) == b"x", "used lately"
    assert kept.get("1", NOW + 600) is None
    assert kept.get("259", NOW + 600) == b"x"


def test_bytes_are_bounded_too() -> None:
    kept = vault(max_bytes=100_000)
    for number in range(100):
        kept.put(f"{number}", b"x" * 5000, NOW + number)
        assert kept.bytes <= 100_000
    assert kept.get("99", NOW + 100) is not None
    assert 10 <= kept.entries < 20


def test_a_value_that_is_larger_than_all_room_is_not_kept_and_does_no_harm() -> None:
    kept = vault(max_bytes=100_000)
    kept.put("large", b"x" * 200_000, NOW)
    assert kept.get("large", NOW) is None
    kept.put("small", b"x", NOW)
    assert kept.get("small", NOW) == b"x"


def test_a_restart_loses_nothing(file: Path) -> None:
    first = vault(file)
    first.put("a", b"one", NOW)
    first.keep_repair("r", b"repair", NOW)
    # No close: the process may be killed.
    second = vault(file)
    assert second.get("a", NOW) == b"one"
    assert second.repairs(NOW - 1) == [("r", b"repair", NOW)]
    assert (second.entries, second.bytes) == (first.entries, first.bytes)


def test_the_last_use_is_known_after_a_restart(file: Path) -> None:
    first = vault(file)
    first.put("a", b"one", NOW)
    assert first.get("a", NOW + TTL_S - 1)
    first.close()
    assert vault(file).get("a", NOW + 2 * TTL_S - 2) == b"one"


def test_repairs_are_kept_in_order_and_forgotten_when_old(file: Path) -> None:
    kept = vault(file)
    kept.keep_repair("late", b"2", NOW + 2)
    kept.keep_repair("early", b"1", NOW + 1)
    kept.keep_repair("gone", b"0", NOW)
    kept.forget_repair("gone")
    assert [key for key, _, _ in kept.repairs(NOW)] == ["early", "late"]
    assert [key for key, _, _ in kept.repairs(NOW + 1.5)] == ["late"]
    assert [key for key, _, _ in kept.repairs(NOW)] == ["late"]


def test_nobody_else_on_the_machine_may_read_the_file(file: Path) -> None:
    vault(file).put("a", b"x", NOW)
    for part in file.parent.iterdir():
        assert stat.S_IMODE(part.stat().st_mode) & 0o077 == 0, part


def test_what_is_no_database_is_moved_aside_and_told(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database at all, but long enough to be looked at as one" * 20)
    kept = vault(file)
    kept.put("a", b"x", NOW)
    assert kept.get("a", NOW) == b"x"
    assert file.with_name(file.name + ".broken").exists()
    assert "is no database that can be read" in caplog.text


def test_a_folder_that_can_not_be_written_means_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    kept = vault(blocker / "signatures.sqlite3")
    kept.put("a", b"x", NOW)
    assert kept.get("a", NOW) == b"x"
    assert "in memory only" in caplog.text


def test_errors_of_the_database_are_told_once_and_reach_nobody(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = vault(file)
    kept.put("a", b"x", NOW)
    other = sqlite3.connect(file)
    other.execute("DROP TABLE entries")
    other.commit()
    for _ in range(3):
        kept.put("b", b"x", NOW)
        assert kept.get("a", NOW) is None
        kept.delete("a")
    assert len(caplog.records) == 1


def test_a_full_disk_is_said_when_it_begins_and_when_it_is_over_and_only_what_is_kept_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with small_disk(tmp_path / "disk") as disk:
        kept = vault(disk.folder / "signatures.sqlite3")
        kept.put("before", b"x", NOW)
        counted = kept.entries, kept.bytes
        disk.fill()
        for number in range(20):
            with kept.writing():
                kept.put(f"one of {number}", b"x" * 5000, NOW)
                kept.put(f"two of {number}", b"x" * 5000, NOW)
        assert (kept.entries, kept.bytes) == counted
        assert kept.get("before", NOW) == b"x"
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        disk.empty()
        kept.put("after", b"y", NOW)
        assert kept.get("after", NOW) == b"y"
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        again = vault(disk.folder / "signatures.sqlite3")
        assert (again.entries, again.bytes) == (kept.entries, kept.bytes)
        assert again.entries == 2
        kept.close()
        again.close()


def test_what_belongs_together_is_kept_together_or_not_at_all(file: Path) -> None:
    kept = vault(file)
    other = sqlite3.connect(file)
    other.execute("CREATE TRIGGER no BEFORE INSERT ON entries WHEN NEW.key = 'b' BEGIN SELECT RAISE(ABORT, 'no'); END")
    other.commit()
    with kept.writing():
        kept.put("a", b"1", NOW)
        kept.put("b", b"2", NOW)
        kept.put("c", b"3", NOW)
    assert kept.get_all(["a", "b", "c"], NOW) == {}
    assert (kept.entries, kept.bytes) == (0, 0)
    kept.put("a", b"1", NOW)
    assert (kept.get("a", NOW), kept.entries) == (b"1", 1)


def test_two_processes_share_a_file(file: Path) -> None:
    one, two = vault(file), vault(file)
    one.put("a", b"1", NOW)
    two.put("b", b"2", NOW)
    assert (one.get("b", NOW), two.get("a", NOW)) == (b"2", b"1")


def test_tables_of_another_version_are_made_anew(file: Path) -> None:
    file.parent.mkdir(parents=True)
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE entries (something TEXT)")
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    kept = vault(file)
    kept.put("a", b"x", NOW)
    assert kept.get("a", NOW) == b"x"


@settings(deadline=None, derandomize=True, max_examples=examples(60))
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4000), st.booleans()), max_size=60))
def test_the_counts_are_always_those_of_the_table(steps: list[tuple[str, int, bool]]) -> None:
    kept = vault(max_entries=5, max_bytes=9000)
    for at, (key, size, deletes) in enumerate(steps):
        if deletes:
            kept.delete(key)
        else:
            kept.put(key, os.urandom(size), NOW + at)
            kept.get(key, NOW + at)
        [(entries, size_in_all)] = kept._ask("SELECT COUNT(*), TOTAL(size) FROM entries")
        assert (kept.entries, kept.bytes) == (entries, size_in_all)
        assert kept.entries <= 5
        assert kept.bytes <= 9000
