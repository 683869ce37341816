"""The story of exchanges and attempts as it is kept in flows: plain values by name, without secrets."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from antigravity_healing.policy.journal.records import AttemptFacts, ExchangeEnd, ExchangeFacts
from antigravity_healing.wire.usage import Usage

TAGS = "antigravity.tags"
"""Where a flow's metadata has what people filter by: `~meta outcome=failed`."""


def rounded(seconds: float | None) -> float | None:
    """Seconds as they are kept."""
    return None if seconds is None else round(seconds, 4)


def _usage(usage: Usage | None) -> dict[str, int] | None:
    return None if usage is None else {**asdict(usage), "input": usage.input}


def attempt_story(exchange: ExchangeFacts, attempt: AttemptFacts) -> dict[str, Any]:
    """What an attempt's flow keeps of it."""
    story: dict[str, Any] = {
        "role": "attempt",
        "exchange": exchange.exchange,
        "attempt": attempt.attempt,
        "account": attempt.account,
        "upstream": attempt.upstream,
        "place": attempt.place,
        "mapped_model": attempt.mapped_model,
        "at": round(attempt.at, 3),
        "status": attempt.status,
        "failure": None if attempt.failure is None else str(attempt.failure),
        "detail": attempt.detail or None,
        "time_to_first_byte_s": rounded(attempt.first_byte_s),
        "time_to_first_content_s": rounded(attempt.first_content_s),
        "bytes": attempt.bytes,
        "delivered": attempt.delivered,
    }
    if attempt.usage is not None:
        story["usage"] = _usage(attempt.usage)
    if attempt.repaired:
        story["repaired"] = list(attempt.repaired)
    if attempt.verdict:
        story["verdict"] = attempt.verdict
    if attempt.over_s is not None:
        story["duration_s"] = rounded(attempt.over_s)
    return story


def exchange_story(exchange: ExchangeFacts, end: ExchangeEnd) -> dict[str, Any]:
    """What the client's flow keeps of an exchange that is over, beside the stories of its attempts."""
    return {
        "role": "exchange",
        "exchange": exchange.exchange,
        "dialect": exchange.dialect,
        "at": round(exchange.at, 3),
        "model": exchange.model,
        "mapped_model": exchange.mapped_model,
        "outcome": end.outcome,
        "finding": asdict(end.finding),
        "status": end.status,
        "usage": _usage(end.usage),
        "waited_s": round(end.waited_s, 3),
        "time_to_first_content_s": rounded(end.first_content_s),
        "duration_s": round(end.duration_s, 4),
    }


def attempt_comment(story: Mapping[str, Any]) -> str:
    """What stands in a flow list beside an attempt: `↳ 2 b: quota`, with the whole behind it."""
    told = str(story.get("failure") or "").replace("_", " ") or ("answered" if story.get("delivered") else "left")
    detail = f" · {story['detail']}" if story.get("detail") else ""
    return f"↳ {story.get('attempt')} {story.get('account')}: {told}{detail}"


def tags(story: Mapping[str, Any]) -> str:
    """What people filter a flow list by, in one line: `exchange id=… outcome=failed class=quota account=a …`."""
    attempts = story.get("attempts") or [story]
    pairs = [
        ("id", story.get("exchange")),
        ("outcome", story.get("outcome")),
        ("model", story.get("mapped_model")),
        *(("class", attempt.get("failure")) for attempt in attempts),
        *(("account", attempt.get("account")) for attempt in attempts),
    ]
    told = dict.fromkeys(f"{name}={value}" for name, value in pairs if value)
    return " ".join((str(story.get("role", "")), *told))
