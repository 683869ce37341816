"""How long an upstream says to wait, and for what.

A gateway passes on what the real upstream says, so that the headers of all dialects are read.
"""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http import headers as http
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.http.times import FIRST_TIME_S, from_now_s, http_date_s, number
from antigravity_healing.wire.rate_limits import Rejection

_NEXT_CENTURY_S = 4_102_444_800.0


def header_wait_s(headers: Headers, wall_s: float) -> float | None:
    """Seconds to wait as the headers say, in the order in which the SDKs look: `retry-after-ms`, then `retry-after`.

    Where both are missing, the latest reset among the limits that are used up.
    """
    if (wait_ms := number(http.get(headers, "retry-after-ms"))) is not None:
        return from_now_s(wait_ms / 1000, wall_s)
    after = http.get(headers, "retry-after")
    if after is not None:
        if (seconds := number(after)) is not None:
            return from_now_s(seconds, wall_s)
        if (at := http_date_s(after)) is not None:
            return max(0.0, at - wall_s)
    resets = (dialect.rate_limits.reset_s(headers) for dialect in DIALECTS.values())
    waits = [max(0.0, reset - wall_s) for reset in resets if reset is not None]
    return max(waits, default=None)


def rejected_plan(headers: Headers, wall_s: float) -> Rejection | None:
    """The quota of a plan that a refusal says is used up, None if none is. wall_s: now, in seconds since 1970."""
    found = (dialect.rate_limits.rejected_plan(headers, wall_s) for dialect in DIALECTS.values())
    return next((rejection for rejection in found if rejection is not None), None)


def input_tokens(headers: Headers) -> int | None:
    """How many tokens may be sent in a minute, None if nothing is said."""
    found = (dialect.rate_limits.input_tokens(headers) for dialect in DIALECTS.values())
    return next((limit for limit in found if limit is not None), None)


def upstreams_clock_s(headers: Headers, wall_s: float) -> float:
    """What upstream's clock said when it answered, else ours: dates of an upstream are meant by its own clock."""
    at = http_date_s(http.get(headers, "date") or "")
    return at if at is not None and FIRST_TIME_S <= at < _NEXT_CENTURY_S else wall_s


def until_pacific_midnight_s(wall_s: float) -> float:
    """Seconds until Google's daily quotas are new. wall_s: now, in seconds since 1970."""
    try:
        zone: ZoneInfo | timezone = ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # a system without time zones
        zone = timezone(timedelta(hours=-8))
    now = datetime.fromtimestamp(wall_s, zone)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.timestamp() - wall_s
