"""How a filter is asked for in SQL: each question has one index that leads to few rows, in the order of time.

SQLite does not know which values are rare, so it is told which index to take: the one whose condition is rarest as a
rule. The others are hidden from it by a `+`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from healing.monitor.request_log.filters import Filter
from healing.monitor.request_log.schema import FAILED, MAPPED, NOT_CLEAN, RETRIED

_TEXTS = ("exchange", "model", "mapped_model", "path", "client", "conversation", "what", "done", "do")


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and the values of its marks. It gives the numbers of rows and their times, the newest first."""

    statement: str
    values: tuple[Any, ...]


type _Condition = tuple[str, tuple[Any, ...]]


def queries(wanted: Filter, running: frozenset[int]) -> Iterator[Query]:
    """The questions that a filter is; the answer is all that any of them gives. running: as for `exchange_of`."""
    exact_model = bool(wanted.model) and "*" not in wanted.model
    lead = _lead(wanted, exact_model)
    if lead != "model":
        yield _query(wanted, running, lead, _any_model(wanted.model) if wanted.model else None)
        return
    # One column is another index than the other.
    yield _query(wanted, running, lead, ("e.model = ?", (wanted.model,)))
    yield _query(wanted, running, lead, (f"{MAPPED} AND e.mapped_model = ?", (wanted.model,)))


def _lead(wanted: Filter, exact_model: bool) -> str:
    """Which condition leads to the rows."""
    candidates: list[tuple[str, object]] = [
        ("exchange", wanted.exchange),
        ("conversation", wanted.conversation),
        ("failure", wanted.failure),
        ("outcome", wanted.outcome and wanted.outcome != "clean"),
        ("attempts", wanted.attempts > 1),
        ("account", wanted.account),
        ("model", exact_model),
        ("client", wanted.client),
    ]
    return next((name for name, given in candidates if given), "")


def _query(wanted: Filter, running: frozenset[int], lead: str, model: _Condition | None) -> Query:
    by_attempt = lead in ("failure", "account")
    at, number = ("a.row_at", "a.row") if by_attempt else ("e.at", "e.id")
    found = [*_times(wanted, at, number), *_of_exchange(wanted, running, lead)]
    if model is not None:
        found.append(model if lead == "model" else (f"({model[0]})", model[1]))
    found += _of_attempt(wanted, lead, by_attempt)
    where = " AND ".join(text for text, _ in found) or "TRUE"
    source = "attempts a CROSS JOIN exchanges e ON e.id = a.row" if by_attempt else "exchanges e"
    # An exchange has several attempts, and is wanted once.
    group = f"GROUP BY {at}, {number} " if by_attempt else ""
    statement = (
        f"SELECT {number} AS id, {at} AS at FROM {source} WHERE {where} {group}"
        f"ORDER BY {at} DESC, {number} DESC LIMIT ?"
    )
    return Query(statement, (*(value for _, values in found for value in values), wanted.limit))


def _times(wanted: Filter, at: str, number: str) -> Iterator[_Condition]:
    if wanted.since is not None:
        yield f"{at} >= ?", (wanted.since,)
    if wanted.until is not None:
        yield f"{at} < ?", (wanted.until,)
    if wanted.after is not None:
        # The first half is what an index can use.
        after = wanted.after
        yield f"{at} <= ? AND ({at} < ? OR {number} < ?)", (after.at, after.at, after.number)


def _of_exchange(wanted: Filter, running: frozenset[int], lead: str) -> Iterator[_Condition]:
    def column(name: str) -> str:
        return f"e.{name}" if lead == name else f"+e.{name}"

    for name in ("exchange", "conversation", "client"):
        if value := getattr(wanted, name):
            yield f"{column(name)} = ?", (value,)
    outcome = column("outcome")
    if wanted.outcome in ("running", "unfinished"):
        runs = ", ".join(map(str, sorted(running)))
        is_in = "IN" if wanted.outcome == "running" else "NOT IN"
        yield f"{NOT_CLEAN} AND {outcome} IS NULL AND e.run {is_in} ({runs})", ()
    elif wanted.outcome:
        yield f"{f'{NOT_CLEAN} AND ' if lead == 'outcome' else ''}{outcome} = ?", (wanted.outcome,)
    if wanted.attempts > 1:
        yield f"{RETRIED if lead == 'attempts' else 'TRUE'} AND +e.attempts >= ?", (wanted.attempts,)
    elif wanted.attempts:
        yield "+e.attempts >= ?", (wanted.attempts,)
    if wanted.text:
        text = "%" + "".join(f"\\{char}" if char in "%_\\" else char for char in wanted.text) + "%"
        likes = " OR ".join(f"e.{name} LIKE ? ESCAPE '\\'" for name in _TEXTS)
        yield f"({likes})", (text,) * len(_TEXTS)


def _of_attempt(wanted: Filter, lead: str, by_attempt: bool) -> Iterator[_Condition]:
    """Account and failure are those of one attempt."""
    if not (wanted.account or wanted.failure):
        return
    hidden: Callable[[str], str] = lambda name: "" if name == lead else "+"  # noqa: E731
    texts, values = [], []
    for name in ("account", "failure"):
        if value := getattr(wanted, name):
            led = f"a.{FAILED} AND " if name == lead == "failure" else ""
            texts.append(f"{led}{hidden(name) if by_attempt else ''}a.{name} = ?")
            values.append(value)
    told = " AND ".join(texts)
    yield (told if by_attempt else f"EXISTS (SELECT 1 FROM attempts a WHERE a.row = e.id AND {told})"), tuple(values)


def _any_model(pattern: str) -> _Condition:
    """The condition on both of a row's models."""
    # Of GLOB's signs only the star is one here.
    glob = "".join(f"[{char}]" if char in "?[" else char for char in pattern)
    return "e.model GLOB ? OR e.mapped_model GLOB ?", (glob, glob)
