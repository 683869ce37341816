"""Rows of the request log: what of a record goes into them, and how it is read again."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from antigravity_healing.monitor.request_log.schema import USAGE
from antigravity_healing.policy.journal.records import AttemptFacts, ExchangeEnd, ExchangeFacts, Finding, Outcome
from antigravity_healing.policy.judging.failures import FailureClass, shortened
from antigravity_healing.wire.usage import Usage

State = Outcome | Literal["running", "unfinished"]
LONGEST = 1000
"""Characters of a text."""
_CLASSES = frozenset(map(str, FailureClass))
_MOST = 2**63 - 1

type Values = dict[str, Any]


NOT_KEPT = ("windows", "trace_parent", "max_tokens", "response_id", "finish_reasons", "key_from")
"""Of the facts: what is of use only while it is new, or to a trace."""
_MADE_ANEW = ("usage", "failure", "repaired", "delivered", "streams", *NOT_KEPT)


@dataclass(frozen=True, slots=True)
class LoggedExchange:
    """An exchange as the log has it.

    number: its place in the log. state: its outcome; `running` while it runs, `unfinished` where the process that it
    ran in ended before it did. end: None as long as there is no outcome. attempts: those that are over.
    times: how often the same was refused, from `facts.at` to `last_at` (seconds since 1970).
    """

    number: int
    state: State
    facts: ExchangeFacts
    end: ExchangeEnd | None
    attempts: tuple[AttemptFacts, ...]
    times: int
    last_at: float


def exchange_values(facts: ExchangeFacts) -> Values:
    """What is known at the beginning, by the names of columns."""
    return _clean({name: value for name, value in _plain(facts).items() if name not in NOT_KEPT})


def end_values(end: ExchangeEnd) -> Values:
    """What became of it."""
    return _clean(
        {
            "outcome": end.outcome,
            "status": end.status,
            "duration_s": end.duration_s,
            "first_content_s": end.first_content_s,
            "waited_s": end.waited_s,
            **_usage_values(end.usage),
            **_plain(end.finding),
            "attempts": len(end.attempts),
        }
    )


def attempt_values(attempt: AttemptFacts) -> Values:
    """What is known of an attempt that is over."""
    values = {name: getattr(attempt, name) for name in AttemptFacts.__slots__ if name not in ("usage", *NOT_KEPT)}
    failure = None if attempt.failure is None else str(attempt.failure)
    repaired = ",".join(attempt.repaired)
    return _clean({**values, "failure": failure, "repaired": repaired, **_usage_values(attempt.usage)})


def exchange_of(row: sqlite3.Row, attempts: Sequence[sqlite3.Row], running: frozenset[int]) -> LoggedExchange:
    """An exchange again. running: the runs in which something may be running."""
    facts = ExchangeFacts(
        row["exchange"],
        row["dialect"],
        row["at"],
        row["method"],
        row["path"],
        row["client"],
        row["conversation"],
        row["model"],
        row["mapped_model"],
        bool(row["streams"]),
        row["operation"],
    )
    told = tuple(map(attempt_of, attempts))
    end = None
    if row["outcome"] is not None:
        end = ExchangeEnd(
            row["outcome"],
            Finding(row["what"] or "", row["done"] or "", row["do"] or ""),
            row["status"],
            row["duration_s"] or 0.0,
            row["first_content_s"],
            row["waited_s"] or 0.0,
            _usage_of(row),
            told,
        )
    state: State = end.outcome if end is not None else "running" if row["run"] in running else "unfinished"
    return LoggedExchange(row["id"], state, facts, end, told, row["times"], row["last_at"] or facts.at)


def attempt_of(row: sqlite3.Row) -> AttemptFacts:
    """An attempt again."""
    plain = {name: row[name] for name in AttemptFacts.__slots__ if name not in _MADE_ANEW}
    return AttemptFacts(
        **plain,
        delivered=bool(row["delivered"]),
        streams=bool(row["streams"]),
        failure=FailureClass(row["failure"]) if row["failure"] in _CLASSES else None,
        usage=_usage_of(row),
        repaired=tuple(filter(None, row["repaired"].split(","))),
    )


def _usage_values(usage: Usage | None) -> Values:
    return dict.fromkeys(USAGE) if usage is None else _plain(usage)


def _usage_of(row: sqlite3.Row) -> Usage | None:
    if row["output"] is None:
        return None
    return Usage(*(row[name] for name in USAGE))


def _plain(facts: ExchangeFacts | Finding | Usage) -> Values:
    return {name: getattr(facts, name) for name in facts.__slots__}


def _clean(values: Mapping[str, Any]) -> Values:
    """The values as SQLite takes them: clients and upstreams made some of them."""
    return {name: _cleaned(value) for name, value in values.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST and value.isprintable() else shortened(value, LONGEST)
    return min(value, _MOST) if isinstance(value, int) else value
