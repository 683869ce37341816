"""A search takes no longer than it may, says how far it has come, and goes on from there."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from antigravity_healing.monitor.request_log import searching
from antigravity_healing.monitor.request_log.database import Database
from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.reader import Reader

from tests.monitor.request_log.telling import AT, attempt, end, facts, whole

COUNT = 100
LONG_S = 60.0
FILTERS = (
    Filter(text="rare"),
    Filter(model="*rare*"),
    Filter(text="rare", limit=2),
    Filter(text="rare", since=AT + 30),
    Filter(text="rare", until=AT + 61),
    Filter(text="rare", account="a"),
    Filter(text="nothing says this"),
    Filter(outcome="clean", text="rare"),
    Filter(model="rare-model"),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Every tenth is rare, two begin at each second, and in the middle the clock was set back."""
    path: Path = tmp_path_factory.mktemp("log") / "requests.sqlite3"
    with closing(Database(path, AT)) as database:
        for number in range(COUNT):
            model = "rare-model" if number % 10 == 3 else "m"
            at = AT + number // 2 + (10 if number < COUNT // 2 else 0)
            database.write([*whole(facts(f"{number:03}", at, model=model), end("clean", attempt(1, "a")))])
        yield Reader(path)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "FIRST_ROWS", 4)
    monkeypatch.setattr(searching, "_INSTRUCTIONS", 1)


def all_pages(log: Reader, wanted: Filter, within_s: float) -> tuple[list[str], int]:
    """What all pages have, and how many told that they had not come to the end."""
    found: list[str] = []
    cut_short = 0
    after = wanted.after
    for _ in range(COUNT):
        page = log.page(replace(wanted, after=after), within_s)
        found += [one.facts.exchange for one in page.exchanges]
        cut_short += page.searched_to is not None
        if page.searched_to is not None:
            assert all(one.facts.at >= page.searched_to for one in page.exchanges)
        if (after := page.after) is None:
            return found, cut_short
    raise AssertionError("it never ends")


@pytest.mark.parametrize("wanted", FILTERS)
def test_who_goes_on_finds_the_same_as_who_waits(log: Reader, wanted: Filter) -> None:
    at_once, cut_short = all_pages(log, wanted, LONG_S)
    assert cut_short == 0
    in_steps, cut_short = all_pages(log, wanted, 0.0)
    assert in_steps == at_once
    assert cut_short > 0
    assert bool(at_once) == (wanted.text != "nothing says this")


def test_as_many_as_are_wanted_are_no_reason_to_say_how_far_it_came(log: Reader) -> None:
    page = log.page(Filter(limit=3), 0.0)
    assert (len(page.exchanges), page.searched_to) == (3, None)
    assert page.after is not None


def test_an_empty_log_is_looked_through_to_its_end(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "log", AT)) as database:
        page = Reader(database.path).page(Filter(text="rare"), 0.0)
    assert (page.exchanges, page.after, page.searched_to) == ((), None, None)
