"""Rows of the request log as they are printed: lines for people, JSON and CSV for programs."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from io import StringIO
from typing import Any

from antigravity_healing.monitor.request_log.rows import NOT_KEPT, LoggedExchange
from antigravity_healing.policy.journal.findings import account_of, span
from antigravity_healing.policy.journal.records import AttemptFacts
from antigravity_healing.policy.journal.written import rounded
from antigravity_healing.policy.judging.failures import one_line, shortened
from antigravity_healing.wire.usage import Usage

# A table program takes what begins so for a formula, and some of it comes from clients and models.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NOT_TOLD = "-"
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

type Printed = Callable[[Iterable[LoggedExchange]], Iterator[str]]


def as_lines(exchanges: Iterable[LoggedExchange]) -> Iterator[str]:
    """A line for each; a second one where there is more to say than that it went well."""
    for one in exchanges:
        yield _line(one)
        if one.end is not None and one.end.outcome != "clean":
            finding = one.end.finding
            told = "; ".join(filter(None, (finding.what, finding.done)))
            # What a person has to do is what the line is for: it is never cut off.
            action = f"  → {one_line(finding.do)}" if finding.needs_a_hand and finding.do else ""
            yield f"    {shortened(told, 300)}{action}"


def as_json(exchanges: Iterable[LoggedExchange]) -> Iterator[str]:
    """A JSON object a line, its attempts in it."""
    for one in exchanges:
        yield json.dumps(plain(one), ensure_ascii=False)


def as_csv(exchanges: Iterable[LoggedExchange]) -> Iterator[str]:
    """A line of names, then a line for each."""
    yield _cells(COLUMNS)
    for one in exchanges:
        values = _flat(one)
        yield _cells(_cell(values[name]) for name in COLUMNS)


def plain(one: LoggedExchange) -> dict[str, Any]:
    """All of it, as JSON has it. Times are seconds since 1970, what ends in `_s` are seconds."""
    return {**_flat(one), "attempts": [_attempt(attempt) for attempt in one.attempts]}


def _flat(one: LoggedExchange) -> dict[str, Any]:
    facts, end = one.facts, one.end
    return {
        "number": one.number,
        **{name: value for name, value in asdict(facts).items() if name not in NOT_KEPT},
        "outcome": one.state,
        "status": end and end.status,
        "duration_s": end and rounded(end.duration_s),
        "first_content_s": end and rounded(end.first_content_s),
        "waited_s": end and rounded(end.waited_s),
        "attempts": len(one.attempts),
        "accounts": " ".join(dict.fromkeys(attempt.account for attempt in one.attempts)),
        "failures": " ".join(str(attempt.failure) for attempt in one.attempts if attempt.failure is not None),
        **_tokens(end.usage if end else None),
        "what": end and end.finding.what,
        "done": end and end.finding.done,
        "do": end and end.finding.do,
        "times": one.times,
        "last_at": one.last_at,
    }


COLUMNS = (
    *("number", "exchange", "at", "outcome", "status", "dialect", "method", "path", "client", "conversation"),
    *("model", "mapped_model", "streams", "operation", "attempts", "accounts", "failures", "duration_s"),
    *("first_content_s", "waited_s", *_TOKENS, "what", "done", "do", "times", "last_at"),
)  # fmt: skip
"""Of the CSV, in order."""


def _attempt(attempt: AttemptFacts) -> dict[str, Any]:
    values = {name: value for name, value in asdict(attempt).items() if name not in ("usage", *NOT_KEPT)}
    told = {name: rounded(value) if name.endswith("_s") else value for name, value in values.items()}
    return {**told, **_tokens(attempt.usage)}


def _tokens(usage: Usage | None) -> Mapping[str, int | None]:
    if usage is None:
        return dict.fromkeys(_TOKENS)
    counts = (usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning)
    return dict(zip(_TOKENS, counts, strict=True))


def _line(one: LoggedExchange) -> str:
    facts, end = one.facts, one.end
    model = facts.model or "no model"
    if facts.mapped_model and facts.mapped_model != facts.model:
        model += f" → {facts.mapped_model}"
    parts = [
        f"{datetime.fromtimestamp(facts.at):%Y-%m-%d %H:%M:%S} {one.state:<11} {one_line(f'{facts.exchange} {model}')}",
        one_line(f"on {', '.join(dict.fromkeys(map(account_of, one.attempts)))}") if one.attempts else "",
        f"{len(one.attempts)} tries" if len(one.attempts) > 1 else "",
        f"{one.times} times until {datetime.fromtimestamp(one.last_at):%H:%M:%S}" if one.times > 1 else "",
    ]
    if end is not None:
        content = _NOT_TOLD if end.first_content_s is None else span(end.first_content_s)
        usage = end.usage
        parts += [
            f"{end.status or _NOT_TOLD} in {span(end.duration_s)}, content after {content}",
            f"{usage.input} + {usage.output} tokens" if usage else "",
        ]
    return "  ".join(filter(None, parts))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else str(value)


def _cells(values: Iterable[str]) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
