import stat
from datetime import date, timedelta
from pathlib import Path

import pytest
from antigravity_healing.monitor.captures.capture import MOST_WAITING, Waiting
from antigravity_healing.monitor.captures.causes import WITHIN_S, Causes, cause_of
from antigravity_healing.monitor.captures.files import CapturedFiles
from antigravity_healing.policy.settings.schema import CaptureSettings
from antigravity_healing.proxy.streams.flow_story import role_of
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.test import tflow

TODAY = date(2025, 3, 14)
NO_LIMITS = CaptureSettings()


def exchange(name: str, *, attempts: int = 1, size: int = 100) -> list[http.HTTPFlow]:
    """An exchange's flow and those of its attempts, each with a body of this size."""
    flows = [tflow.tflow(resp=True) for _ in range(attempts + 1)]
    for number, flow in enumerate(flows):
        role = {"role": "attempt", "attempt": number} if number else {"role": "exchange"}
        flow.metadata["antigravity"] = {"exchange": name, **role}
        flow.request.content = b"x" * size
    return flows


def kept(captures: CapturedFiles) -> list[str]:
    """The names of the exchanges that are there, in their order; all their attempts have to be there too."""
    found = []
    for name in captures.names():
        for flow in captures.read(name):
            story = flow.metadata["antigravity"]
            if story["role"] == "exchange":
                found.append(story["exchange"])
            else:
                assert story["exchange"] == found[-1]
    return found


def add(
    captures: CapturedFiles, *names: str, day: date = TODAY, limits: CaptureSettings = NO_LIMITS, size: int = 100
) -> None:
    for name in names:
        captures.add(exchange(name, size=size), limits, day)


@pytest.fixture
def captures(tmp_path: Path) -> CapturedFiles:
    return CapturedFiles(tmp_path / "captured")


def test_a_file_a_day_that_only_its_owner_can_read(captures: CapturedFiles) -> None:
    assert captures.names() == []
    add(captures, "a", day=TODAY - timedelta(days=1))
    add(captures, "b", "c")
    assert captures.names() == ["2025-03-13.flow", "2025-03-14.flow"]
    assert kept(captures) == ["a", "b", "c"]
    assert [len(captures.read(name)) for name in captures.names()] == [2, 4]
    assert stat.S_IMODE(captures.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in captures.folder.iterdir()} == {0o600}


def test_the_newest_are_kept_when_there_are_too_many(captures: CapturedFiles) -> None:
    limits = CaptureSettings(max_exchanges=8)
    for number in range(30):
        add(captures, str(number), limits=limits)
        found = kept(captures)
        assert found == [str(one) for one in range(number + 1 - len(found), number + 1)]
        assert min(number + 1, 6) <= len(found) <= 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in captures.folder.iterdir()} == {0o600}


def test_the_newest_are_kept_when_they_are_too_large(captures: CapturedFiles) -> None:
    limits = CaptureSettings(max_bytes=128 * 1024)
    for number in range(20):
        add(captures, str(number), limits=limits, size=10_000)
        found = kept(captures)
        assert found == [str(one) for one in range(number + 1 - len(found), number + 1)]
        assert len(found) >= min(number + 1, 4)
        assert sum(path.stat().st_size for path in captures.folder.iterdir()) <= limits.max_bytes


def test_room_is_made_in_the_oldest_file_first(captures: CapturedFiles) -> None:
    limits = CaptureSettings(max_exchanges=8)
    add(captures, "a", "b", "c", "d", day=TODAY - timedelta(days=2), limits=limits)
    add(captures, "e", "f", day=TODAY - timedelta(days=1), limits=limits)
    add(captures, "g", "h", limits=limits)
    assert len(kept(captures)) == 8
    add(captures, "i", limits=limits)
    assert kept(captures) == ["d", "e", "f", "g", "h", "i"]
    add(captures, "j", "k", "l", limits=limits)
    assert kept(captures) == ["g", "h", "i", "j", "k", "l"]
    assert captures.names() == ["2025-03-14.flow"]


def test_one_that_is_very_large_is_kept_alone_and_one_that_is_too_large_not_at_all(captures: CapturedFiles) -> None:
    limits = CaptureSettings(max_bytes=128 * 1024)
    add(captures, "a", "b", limits=limits, size=10_000)
    add(captures, "large", limits=limits, size=60_000)
    assert kept(captures) == ["large"]
    with pytest.raises(OSError, match="larger than"):
        add(captures, "too large", limits=limits, size=70_000)
    assert kept(captures) == ["large"]


def test_old_days_are_deleted_and_files_of_others_are_not(captures: CapturedFiles) -> None:
    limits = CaptureSettings(days=3)
    for age in range(5, -1, -1):
        add(captures, str(age), day=TODAY - timedelta(days=age))
    (captures.folder / "mine.flow").write_bytes(b"")
    captures.prune(limits, TODAY)
    assert kept(captures) == ["2", "1", "0"]
    assert "mine.flow" in captures.names()
    captures.prune(limits, TODAY + timedelta(days=30))
    assert captures.names() == ["mine.flow"]


def test_what_others_have_put_there_counts_as_well(captures: CapturedFiles) -> None:
    add(captures, "a", "b")
    other = CapturedFiles(captures.folder)
    add(other, "c", "d", limits=CaptureSettings(max_exchanges=4))
    assert kept(captures) == ["a", "b", "c", "d"]
    add(captures, "e", limits=CaptureSettings(max_exchanges=4))
    assert kept(captures) == ["c", "d", "e"]


def test_after_a_write_that_was_cut_off_another_file_is_begun(captures: CapturedFiles) -> None:
    add(captures, "a", "b")
    [path] = captures.folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    add(captures, "c", "d")
    assert captures.names() == ["2025-03-14.flow", "2025-03-14-2.flow"]
    assert path.read_bytes() == whole[:-10], "what somebody might still mend is left as it is"
    names = [flow.metadata["antigravity"]["exchange"] for flow in captures.read("2025-03-14.flow")]
    assert names == ["a", "a", "b"]
    assert [flow.metadata["antigravity"]["exchange"] for flow in captures.read("2025-03-14-2.flow")] == [*"ccdd"]
    captures.prune(CaptureSettings(max_exchanges=3), TODAY)
    assert kept(captures) == ["c", "d"]
    captures.prune(NO_LIMITS, TODAY + timedelta(days=7))
    assert captures.names() == []


def test_a_file_that_is_no_file_of_flows(captures: CapturedFiles) -> None:
    captures.folder.mkdir()
    (captures.folder / "2025-03-14.flow").write_bytes(b"garbage" * 100)
    add(captures, "a")
    assert kept(captures) == ["a"]
    assert captures.read("2025-03-14.flow") == []


def test_a_write_that_fails_leaves_nothing_behind(captures: CapturedFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    add(captures, "a")

    def half(stream: object, data: bytes) -> None:
        assert hasattr(stream, "write")
        stream.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("antigravity_healing.monitor.captures.files._write_all", half)
        with pytest.raises(OSError, match="No space"):
            add(captures, "b")
    add(captures, "c")
    assert kept(captures) == ["a", "c"]
    assert captures.names() == ["2025-03-14.flow"]


@given(st.lists(st.integers(0, 300), max_size=80), st.integers(0, 1000))
def test_of_what_waits_there_is_never_more_than_may_be_kept_but_for_one(sizes: list[int], most: int) -> None:
    waiting, taken = Waiting(), list[int]()
    for size in sizes:
        if waiting.reserve(size, most):
            taken.append(size)
            assert len(taken) == 1 or sum(taken) <= most
            assert len(taken) <= MOST_WAITING
        else:
            assert len(taken) == MOST_WAITING or sum(taken) + size > most
            waiting.give_back(taken.pop(0))
    for size in taken:
        waiting.give_back(size)
    assert waiting.reserve(most + 1, most), "one alone always finds room"


def test_a_count_is_written_on_the_exchange_that_it_is_about_and_nowhere_else(captures: CapturedFiles) -> None:
    add(captures, "a", "b", "c")
    captures.recount("b", 250)
    captures.recount("gone", 3)
    assert kept(captures) == ["a", "b", "c"]
    assert times(captures) == [1, 250, 1]
    # What has become longer is known to be so: by this process, and by one that reads it anew.
    add(captures, "d")
    captures.recount("c", 7)
    other = CapturedFiles(captures.folder)
    other.recount("c", 8)
    add(other, "e")
    assert kept(captures) == ["a", "b", "c", "d", "e"]
    assert times(captures) == [1, 250, 8, 1, 1]
    captures.prune(CaptureSettings(max_exchanges=4), TODAY)
    captures.recount("d", 2)
    assert kept(captures) == ["c", "d", "e"]
    assert times(captures) == [8, 2, 1]
    assert {stat.S_IMODE(path.stat().st_mode) for path in captures.folder.iterdir()} == {0o600}


def times(captures: CapturedFiles) -> list[int]:
    """The counts of all exchanges, oldest first."""
    flows = [flow for name in captures.names() for flow in captures.read(name)]
    return [flow.metadata["antigravity"].get("times", 1) for flow in flows if role_of(flow) != "attempt"]


def failed(**last: object) -> dict[str, object]:
    attempt = {"account": "a", "mapped_model": "m", "failure": "cut", "status": 200, "detail": "cut after 17 bytes"}
    return {"attempts": [{"failure": "local"}, {**attempt, **last}]}


@pytest.mark.parametrize(
    "other",
    [
        {"account": "b"},
        {"mapped_model": "n"},
        {"failure": "stalled"},
        {"status": 500},
        {"detail": "something else"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_causes_are_told_apart(other: dict[str, object]) -> None:
    causes = Causes()
    known, another = cause_of(failed()), cause_of(failed(**other))
    assert known is not None
    assert another is not None
    causes.first(known, "x", 0.0)
    assert cause_of(failed(detail="cut after 4711 bytes")) == known
    assert causes.again(another, 1.0) is None


def test_a_cause_is_the_same_for_a_minute_and_each_count_is_told_once() -> None:
    causes = Causes()
    causes.first(("why",), "x", 100.0)
    assert list(causes.counted()) == []
    assert causes.again(("why",), 100.0 + WITHIN_S - 0.1)
    assert [(met.exchange, met.times) for met in causes.counted()] == [("x", 2)]
    assert list(causes.counted()) == []
    assert causes.again(("why",), 100.0 + WITHIN_S) is None
    causes.forget("x")
    assert causes.again(("why",), 101.0) is None


@pytest.mark.parametrize("story", [{"attempts": []}, {"attempts": [{"failure": "local"}, {"failure": "local"}]}])
def test_what_no_upstream_had_a_part_in_has_no_cause(story: dict[str, object]) -> None:
    assert cause_of(story) is None
    assert cause_of({}) is not None, "nobody knows what a bug has hidden"
