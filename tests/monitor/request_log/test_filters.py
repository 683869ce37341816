"""A filter lets through what it says, by whichever index it is looked for, and a page follows the other."""

import fnmatch
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from antigravity_healing.monitor.request_log.database import Database
from antigravity_healing.monitor.request_log.filters import (
    STATES,
    Cursor,
    Filter,
    FilterError,
    filter_from,
    filter_in,
    time_of,
)
from antigravity_healing.monitor.request_log.reader import Reader
from antigravity_healing.policy.journal.records import AttemptFacts, Outcome, Record
from antigravity_healing.policy.judging.failures import FailureClass
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.monitor.request_log.telling import AT, attempt, end, facts, received, whole
from tests.support.examples import examples

OUTCOMES: tuple[Outcome | None, ...] = ("clean", "healed", "failed", "client_left", "refused", None)
FAILURES = (None, FailureClass.EMPTY, FailureClass.QUOTA)
A_FEW = ("a", "b", "c")
attempts = st.lists(st.tuples(st.sampled_from(A_FEW), st.sampled_from(FAILURES)), max_size=3)
exchanges = st.tuples(
    st.integers(0, 20),
    st.sampled_from(OUTCOMES),
    st.sampled_from(A_FEW),
    st.sampled_from(A_FEW),
    st.sampled_from(("opus", "haiku")),
    st.sampled_from(("opus", "gemini", "ha?ku")),
    st.sampled_from(("all well", "100% lost_", "")),
    attempts,
)
type Told = tuple[int, Outcome | None, str, str, str, str, str, list[tuple[str, FailureClass | None]]]
wanted_ones = st.builds(
    Filter,
    since=st.none() | st.integers(0, 20).map(lambda number: AT + number),
    until=st.none() | st.integers(0, 20).map(lambda number: AT + number),
    outcome=st.just("") | st.sampled_from(STATES),
    exchange=st.just("") | st.integers(0, 30).map(str),
    account=st.just("") | st.sampled_from(A_FEW),
    failure=st.just("") | st.sampled_from(("empty", "quota")),
    model=st.just("") | st.sampled_from(("opus", "gemini", "ha?ku", "h*k*", "*", "O*", "x")),
    conversation=st.just("") | st.sampled_from(A_FEW),
    client=st.just("") | st.sampled_from(A_FEW),
    attempts=st.integers(0, 3),
    text=st.just("") | st.sampled_from(("WELL", "0% l", "_", "%", "gemini")),
    limit=st.integers(1, 8),
)


def records(number: int, told: Told) -> list[Record]:
    after_s, outcome, client, conversation, model, mapped_model, what, tries = told
    names = {"client": client, "conversation": conversation, "model": model, "mapped_model": mapped_model}
    of = facts(str(number), AT + after_s, **names)
    if outcome is None:
        return [received(of)]
    return list(whole(of, end(outcome, *attempts_of(tries), what=what)))


def attempts_of(tries: list[tuple[str, FailureClass | None]]) -> list[AttemptFacts]:
    return [attempt(place, name, failure) for place, (name, failure) in enumerate(tries, 1)]


def lets_through(wanted: Filter, number: int, told: Told) -> bool:
    """The same in plain words."""
    after_s, outcome, client, conversation, model, mapped_model, what, tries = told
    tries = [] if outcome is None else tries
    texts: tuple[str, ...] = (str(number), model, mapped_model, "/v1/messages", client, conversation)
    texts += () if outcome is None else (what, "done", "do")
    pattern = wanted.model.replace("?", "[?]")
    return all(
        (
            wanted.since is None or AT + after_s >= wanted.since,
            wanted.until is None or AT + after_s < wanted.until,
            wanted.outcome in ("", outcome or "running"),
            wanted.exchange in ("", str(number)),
            wanted.client in ("", client),
            wanted.conversation in ("", conversation),
            not pattern or any(fnmatch.fnmatchcase(name, pattern) for name in (model, mapped_model)),
            len(tries) >= wanted.attempts,
            not (wanted.account or wanted.failure)
            or any(wanted.account in ("", name) and wanted.failure in ("", failure) for name, failure in tries),
            any(wanted.text.lower() in text.lower() for text in texts),
        )
    )


@settings(max_examples=examples(60), deadline=None)
@given(told=st.lists(exchanges, max_size=25), wanted_many=st.lists(wanted_ones, min_size=10, max_size=25))
def test_pages_give_each_that_a_filter_lets_through_once_and_the_newest_first(
    told: list[Told], wanted_many: list[Filter]
) -> None:
    with TemporaryDirectory() as folder, closing(Database(Path(folder) / "log", AT)) as database:
        database.write([record for number, each in enumerate(told) for record in records(number, each)])
        # The later written of two that began at the same time is the newer.
        newest_first = sorted(range(len(told)), key=lambda number: (told[number][0], number), reverse=True)
        for wanted in wanted_many:
            expected = [str(number) for number in newest_first if lets_through(wanted, number, told[number])]
            found, after = [], None
            for _ in range(len(told) + 1):
                page = Reader(database.path).page(replace(wanted, after=after))
                assert len(page.exchanges) <= wanted.limit
                found += [one.facts.exchange for one in page.exchanges]
                if (after := page.after) is None:
                    break
            assert found == expected, wanted


NOON = datetime(2026, 1, 31, 12, 0).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOON - 90),
        ("1.5h", NOON - 5400),
        ("2d", NOON - 2 * 86400),
        ("1 w", NOON - 7 * 86400),
        ("9:05", datetime(2026, 1, 31, 9, 5).timestamp()),
        ("11:05:30", datetime(2026, 1, 31, 11, 5, 30).timestamp()),
        ("2026-01-30", datetime(2026, 1, 30).timestamp()),
        ("2026-01-30T14:05", datetime(2026, 1, 30, 14, 5).timestamp()),
        ("2026-01-30 14:05", datetime(2026, 1, 30, 14, 5).timestamp()),
        ("1970-01-01T00:00:10Z", 10.0),
    ],
)
def test_times(text: str, expected: float) -> None:
    assert time_of(text, NOON) == expected


def test_a_line_says_what_a_mapping_says() -> None:
    line = "since=1h outcome=failed account='a b' attempts=2 some more"
    words = {"since": "1h", "outcome": "failed", "account": "a b", "attempts": "2", "text": "some more"}
    assert filter_in(line, NOON) == filter_from(words, NOON)
    assert filter_in(line, NOON) == Filter(
        since=NOON - 3600, outcome="failed", account="a b", attempts=2, text="some more"
    )
    assert filter_in("", NOON) == filter_from({"since": "", "text": " "}, NOON) == Filter()


@given(st.floats(0, 1e11), st.integers(1, 10**18 - 1))
def test_a_cursor_is_read_as_it_is_written(at: float, number: int) -> None:
    assert filter_from({"after": str(Cursor(at, number))}, NOON).after == Cursor(at, number)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("since=yesterday", "yesterday is no time: write 90s, 15m, 1h"),
        ("since=25:00", "25:00 is no time"),
        ("outcome=fail", "there is no outcome fail; did you mean failed?"),
        ("failure=qota", "there is no failure class qota; did you mean quota?"),
        ("acount=a", "there is nothing called acount to filter by; did you mean account?"),
        ("attempts=many", "attempts has to be a whole number from 1 to 1000, not many"),
        ("limit=0", "limit has to be a whole number from 1 to 10000, not 0"),
        ("limit=٣", "limit has to be a whole number"),
        ("after=x", "after has to be what the page before this one says"),
        ("after=1.2.3:1", "after has to be what the page before this one says"),
        ("after=nan:1", "after has to be what the page before this one says"),
        ("after=1:99999999999999999999", "after has to be what the page before this one says"),
        ("account=a account=b", "account is there twice"),
        ("account='a", "no closing quotation"),
    ],
)
def test_what_can_not_be_understood_is_told(line: str, expected: str) -> None:
    with pytest.raises(FilterError) as raised:
        filter_in(line, NOON)
    assert expected in str(raised.value)
