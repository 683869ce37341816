"""How a filter is asked for in SQL: each question has one index that leads to few rows, in the order of time.

SQLite does not know which values are rare, so it is told which index to take: that of the condition that is rarest as
a rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from antigravity_healing.monitor.request_log.filters import Filter
from antigravity_healing.monitor.request_log.schema import MAPPED, NOT_CLEAN, RETRIED

_TEXTS = ("exchange", "model", "mapped_model", "path", "client", "conversation", "what", "done", "do")
_OF_ATTEMPTS = ("by_account", "by_failure")


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and the values of its marks. It gives the numbers of rows and their times, the newest first."""

    statement: str
    values: tuple[Any, ...]


type _Condition = tuple[str, tuple[Any, ...]]


def queries(wanted: Filter, running: frozenset[int]) -> Iterator[Query]:
    """The questions that a filter is; the answer is all that any of them gives. running: as for `exchange_of`."""
    index = _index(wanted)
    if index != "by_model":
        yield _query(wanted, running, index, _any_model(wanted.model) if wanted.model else None)
        return
    yield _query(wanted, running, "by_model", ("e.model = ?", (wanted.model,)))
    yield _query(wanted, running, "by_mapped_model", (f"{MAPPED} AND e.mapped_model = ?", (wanted.model,)))


def _index(wanted: Filter) -> str:
    """The index that leads to the rows."""
    candidates: list[tuple[str, object]] = [
        ("by_id", wanted.exchange),
        ("by_conversation", wanted.conversation),
        ("by_failure", wanted.failure),
        ("by_outcome", wanted.outcome and wanted.outcome != "clean"),
        ("by_retries", wanted.attempts > 1),
        ("by_account", wanted.account),
        ("by_model", wanted.model and "*" not in wanted.model),
        ("by_client", wanted.client),
    ]
    return next((name for name, given in candidates if given), "by_time")


def _query(wanted: Filter, running: frozenset[int], index: str, model: _Condition | None) -> Query:
    by_attempt = index in _OF_ATTEMPTS
    at, number = ("a.row_at", "a.row") if by_attempt else ("e.at", "e.id")
    found = [*_times(wanted, at, number), *_of_exchange(wanted, running), *_of_attempt(wanted, by_attempt)]
    if index == "by_retries":
        found.append((RETRIED, ()))
    if index == "by_outcome":
        found.append((NOT_CLEAN, ()))
    if model is not None:
        found.append((f"({model[0]})", model[1]))
    where = " AND ".join(text for text, _ in found) or "TRUE"
    table, join = ("attempts a", " CROSS JOIN exchanges e ON e.id = a.row") if by_attempt else ("exchanges e", "")
    # An exchange has several attempts, and is wanted once.
    group = f"GROUP BY {at}, {number} " if by_attempt else ""
    statement = (
        f"SELECT {number} AS id, {at} AS at FROM {table} INDEXED BY {index}{join} WHERE {where} {group}"
        f"ORDER BY {at} DESC, {number} DESC LIMIT ?"
    )
    return Query(statement, (*(value for _, values in found for value in values), wanted.limit))


def _times(wanted: Filter, at: str, number: str) -> Iterator[_Condition]:
    if wanted.since is not None:
        yield f"{at} >= ?", (wanted.since,)
    if wanted.until is not None:
        yield f"{at} < ?", (wanted.until,)
    if (after := wanted.after) is not None:
        # The first half is what an index can use.
        yield f"{at} <= ? AND ({at} < ? OR {number} < ?)", (after.at, after.at, after.number)


def _of_exchange(wanted: Filter, running: frozenset[int]) -> Iterator[_Condition]:
    for name in ("exchange", "conversation", "client"):
        if value := getattr(wanted, name):
            yield f"e.{name} = ?", (value,)
    if wanted.outcome in ("running", "unfinished"):
        # No run is 0: a condition that is false in itself leads to no index.
        runs = ", ".join(map(str, (0, *sorted(running))))
        is_in = "IN" if wanted.outcome == "running" else "NOT IN"
        yield f"e.outcome IS NULL AND e.run {is_in} ({runs})", ()
    elif wanted.outcome:
        yield "e.outcome = ?", (wanted.outcome,)
    if wanted.attempts:
        yield "e.attempts >= ?", (wanted.attempts,)
    if wanted.text:
        text = "%" + "".join(f"\\{char}" if char in "%_\\" else char for char in wanted.text) + "%"
        likes = " OR ".join(f"e.{name} LIKE ? ESCAPE '\\'" for name in _TEXTS)
        yield f"({likes})", (text,) * len(_TEXTS)


def _of_attempt(wanted: Filter, by_attempt: bool) -> Iterator[_Condition]:
    """Account and failure are those of one attempt."""
    values = {name: value for name in ("account", "failure") if (value := getattr(wanted, name))}
    if values and by_attempt:
        yield " AND ".join(f"a.{name} = ?" for name in values), tuple(values.values())
    elif values:
        # The signs keep SQLite from looking among all attempts for those on an account.
        told = " AND ".join(f"+a.{name} = ?" for name in values)
        yield f"EXISTS (SELECT 1 FROM attempts a WHERE a.row = e.id AND {told})", tuple(values.values())


def _any_model(pattern: str) -> _Condition:
    """The condition on both of a row's models."""
    # Of GLOB's signs only the star is one here.
    glob = "".join(f"[{char}]" if char in "?[" else char for char in pattern)
    return "e.model GLOB ? OR e.mapped_model GLOB ?", (glob, glob)
