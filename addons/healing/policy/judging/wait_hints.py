"""How long an upstream says to wait, and for what."""

import email.utils
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from healing.wire.http import headers as http
from healing.wire.http.headers import Headers

# No wait is so long, and no time that is meant so early (it is in 2001): above it a number is seconds since 1970.
_FIRST_TIME_S = 1e9
_NEXT_CENTURY_S = 4_102_444_800.0
_UNIFIED = "anthropic-ratelimit-unified-"
# `5h` and `7d` are the account's; `7d_oi` is one model's.
_WINDOW = re.compile(re.escape(_UNIFIED) + r"(\d{1,4}[a-z](_[a-z0-9_]{1,40})?)-(status|reset|utilization)")
_OF_ONE_MODEL = re.compile(r"(?:five_hour|seven_day|\d{1,4}[a-z])_\w")


class Rejection(NamedTuple):
    """The quota of a plan that is used up.

    name: as upstream calls it, "" where it does not. wait_s: seconds until it is new, None where nothing says.
    whole_account: whether it is the account's own and not one model's.
    """

    name: str
    wait_s: float | None
    whole_account: bool


def rejected_plan(headers: Headers, wall_s: float) -> Rejection | None:
    """What the unified headers of a refusal say is used up, None if nothing. wall_s: now, in seconds since 1970.

    Each window tells of itself; where none does, the quota is the one that is claimed for all.
    """
    rejected = [
        (name, one_model, _number(told.get("reset")))
        for (name, one_model), told in _windows(headers).items()
        if told.get("status", _by_use(told)) == "rejected"
    ]
    if not rejected and http.get(headers, f"{_UNIFIED}status") != "rejected":
        return None
    general = _number(http.get(headers, f"{_UNIFIED}reset"))
    if not rejected:
        claim = http.get(headers, f"{_UNIFIED}representative-claim") or ""
        wait_s = _wait_s(general, wall_s) if general is not None else None
        return Rejection(claim, wait_s, _OF_ONE_MODEL.match(claim) is None)
    # Where the account's own quota is used up, too, those of its models make no difference.
    those = [window for window in rejected if not window[1]] or rejected
    resets = [reset if reset is not None else general for _, _, reset in those]
    waits = [_wait_s(reset, wall_s) for reset in resets if reset is not None]
    return Rejection(", ".join(name for name, _, _ in those), max(waits, default=None), not those[0][1])


def _windows(headers: Headers) -> dict[tuple[str, bool], dict[str, str]]:
    """What is told of each window, by its name and whether it is one model's."""
    found: dict[tuple[str, bool], dict[str, str]] = {}
    for name, value in http.by_name(headers).items():
        if match := _WINDOW.fullmatch(name):
            found.setdefault((match[1], match[2] is not None), {})[match[3]] = value.strip()
    return found


def _by_use(told: dict[str, str]) -> str:
    used = _number(told.get("utilization"))
    return "rejected" if used is not None and used >= 1 else ""


def header_wait_s(headers: Headers, wall_s: float) -> float | None:
    """Seconds to wait as the headers say, in the order in which the SDKs look: `retry-after-ms`, then `retry-after`.

    Where both are missing, the latest reset among the Anthropic limits that are used up.
    """
    if (wait_ms := _number(http.get(headers, "retry-after-ms"))) is not None:
        return _wait_s(wait_ms / 1000, wall_s)
    after = http.get(headers, "retry-after")
    if after is not None:
        if (number := _number(after)) is not None:
            return _wait_s(number, wall_s)
        if (at := _http_date_s(after)) is not None:
            return max(0.0, at - wall_s)
    resets = [
        _rfc3339_s(http.get(headers, name.removesuffix("-remaining") + "-reset") or "")
        for key, value in headers
        if (name := key.decode("ascii", "replace").lower()).startswith("anthropic-ratelimit-")
        and name.endswith("-remaining")
        and value.strip() == b"0"
    ]
    waits = [max(0.0, reset - wall_s) for reset in resets if reset is not None]
    return max(waits, default=None)


def _wait_s(number: float, wall_s: float) -> float:
    """Seconds from now, of a number that is seconds from now or since 1970."""
    return max(0.0, number - wall_s if number >= _FIRST_TIME_S else number)


def upstreams_clock_s(headers: Headers, wall_s: float) -> float:
    """What upstream's clock said when it answered, else ours: dates of an upstream are meant by its own clock."""
    at = _http_date_s(http.get(headers, "date") or "")
    return at if at is not None and _FIRST_TIME_S <= at < _NEXT_CENTURY_S else wall_s


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _http_date_s(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _rfc3339_s(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def until_pacific_midnight_s(wall_s: float) -> float:
    """Seconds until Google's daily quotas are new. wall_s: now, in seconds since 1970."""
    try:
        zone: ZoneInfo | timezone = ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # a system without time zones
        zone = timezone(timedelta(hours=-8))
    now = datetime.fromtimestamp(wall_s, zone)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.timestamp() - wall_s
