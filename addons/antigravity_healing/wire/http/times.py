"""Times and waits as headers write them."""

import email.utils
import math
from datetime import UTC, datetime

# No wait is so long, and no time that is meant so early (it is in 2001): above it a number is seconds since 1970.
FIRST_TIME_S = 1e9


def from_now_s(seconds: float, wall_s: float) -> float:
    """Seconds from now, of what is seconds from now or since 1970."""
    return max(0.0, seconds - wall_s if seconds >= FIRST_TIME_S else seconds)


def number(text: str | None) -> float | None:
    """A finite number, None for anything else."""
    try:
        found = float(text) if text else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def http_date_s(text: str) -> float | None:
    """Seconds since 1970 of a date as HTTP writes it, None for anything else."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def rfc3339_s(text: str) -> float | None:
    """Seconds since 1970 of a date as RFC 3339 writes it, None for anything else."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
