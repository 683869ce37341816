"""Why an attempt did not serve: an outcome becomes a failure class.

What an outcome means is read from the parsed error first (codes, reasons, text, at any depth) and from the status
second: an invalid key comes as 400, a signature error as 429, an overload inside a 200.
"""

import email.utils
import errno
import math
import re
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from healing.policy.config import Limits
from healing.wire import headers as http
from healing.wire.errors import UpstreamError
from healing.wire.headers import Headers
from healing.wire.refusals import Position, SignatureFault, named_position


class FailureClass(StrEnum):
    """The classes of failures; what each leads to stands in `healing.policy.retry`."""

    SIGNATURE = "signature"
    LOCAL = "local"
    TRANSPORT = "transport"
    TRANSIENT = "transient"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    BILLING = "billing"
    AUTH = "auth"
    FORBIDDEN = "forbidden"
    NO_MODEL = "no_model"
    EMPTY = "empty"
    STALLED = "stalled"
    CUT = "cut"
    MALFORMED = "malformed"
    CALLER = "caller"


def one_line(text: str) -> str:
    """The text with whatever is not printable, line ends above all, as single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def shortened(text: str, longest: int = 160) -> str:
    """The text as one line of at most so many characters."""
    line = one_line(text[: 4 * longest])
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1] + "…"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not serve.

    kind: the failure class.
    detail: one line for people; holds no secret.
    status: the HTTP status that tells this to a client when upstream's own answer can't.
    wait_s: seconds to wait as upstream says, None where it doesn't.
    whole_account: whether a quota is the account's own and not one model's.
    quota_named: whether upstream named the quota that the wait is about: those last for days.
    again: whether another try may end otherwise.
    stay: whether the next try belongs on the same account although others may be free.
    fault: what is wrong with the request's signatures, for the signature class.
    position: the block of the request that upstream named, None where it named none.
    """

    kind: FailureClass
    detail: str
    status: int = 502
    wait_s: float | None = None
    whole_account: bool = False
    quota_named: bool = False
    again: bool = True
    stay: bool = False
    fault: SignatureFault | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        # Much of it is what an upstream said: nothing in it may break a log line or steer a terminal.
        object.__setattr__(self, "detail", one_line(self.detail))


_AUTH_REASONS = {"API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED", "CREDENTIALS_MISSING"}
_BAD_KEY = ("api key not valid", "api key expired")
_SPEND_LIMITS = {"enforced_spend_limit_reached", "contract_spend_limit_reached"}
_NO_LIMIT = re.compile(r"\blimit: 0(?!\d|\.\d)")
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
_NO_CREDIT = "credit balance is too low"
# The claims of a plan's quota that belong to one model's share of it.
_MODEL_CLAIM_PREFIX = "7d_"
# No wait is so long, and no time that is meant so early (it is in 2001): above it a number is seconds since 1970.
_FIRST_TIME_S = 1e9
_NEXT_CENTURY_S = 4_102_444_800.0
# What this machine has run out of, or lacks, when a connection can't be made.
_LOCAL_ERRNOS = frozenset(
    number
    for name in ("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ENETDOWN", "ENETUNREACH", "EADDRNOTAVAIL", "EAGAIN")
    if (number := getattr(errno, name, None)) is not None
) | frozenset(
    number for name in ("EAI_AGAIN", "EAI_SYSTEM", "EAI_MEMORY") if (number := getattr(socket, name, None)) is not None
)
_OS_ERRORS = re.compile(r"(?:Multiple exceptions: )?\[Errno -?\d+\]")
_ERRNO = re.compile(r"\[Errno (-?\d+)\]")


def classify(status: int | None, headers: Headers, error: UpstreamError, *, grace_s: float, wall_s: float) -> Failure:
    """The failure that an error answer means.

    status: of the response; None for an error inside a stream.
    grace_s: up to this many seconds a rate limit is waited for where it was met.
    wall_s: now, in seconds since 1970, for hints that are dates. The answer's own date goes before it.
    """
    wall_s = _upstreams_clock_s(headers, wall_s)
    meant = error.status or status
    detail = _detail(status, error)
    text = error.text.casefold()
    shown = status if status is not None and status >= 400 else meant or 502

    def failure(kind: FailureClass, wait_s: float | None = None) -> Failure:
        return Failure(kind, detail, shown, wait_s)

    if fault := error.signature_fault:
        # Google quotes what it can't decode, and that is somebody's signature.
        detail = _LONG_WORD.sub("[signature]", detail)
        return Failure(FailureClass.SIGNATURE, detail, shown, fault=fault, position=named_position(error.text))
    if _AUTH_REASONS.intersection(error.reasons) or any(words in text for words in _BAD_KEY):
        return failure(FailureClass.AUTH)
    if status == 402 or meant == 402 or _SPEND_LIMITS.intersection(error.reasons) or _NO_CREDIT in text:
        return failure(FailureClass.BILLING)
    match meant:
        case 429:
            return _limited(headers, error, detail, shown, grace_s, wall_s)
        case 503 | 529:
            return failure(FailureClass.OVERLOADED, header_wait_s(headers, wall_s) or error.delay_s)
        case 401:
            return failure(FailureClass.AUTH)
        case 403:
            return failure(FailureClass.FORBIDDEN)
        case 404 if "model" in text:
            return failure(FailureClass.NO_MODEL)
        case 408 | 499 | None:
            return failure(FailureClass.TRANSIENT)
        case code if code >= 500 and code != 501:
            return failure(FailureClass.TRANSIENT)
    return failure(FailureClass.CALLER)


def connection_failure(why: str) -> Failure:
    """The failure that a connection which could not be made, or ended before an answer, means. why: in words."""
    numbers = _ERRNO.findall(why) if _OS_ERRORS.match(why) else []
    if numbers and all(int(number) in _LOCAL_ERRNOS for number in numbers):
        return Failure(FailureClass.LOCAL, f"this machine could not connect: {why}")
    return Failure(FailureClass.TRANSPORT, why)


def bounded(failure: Failure, limits: Limits) -> Failure:
    """The failure, with a wait that is no longer than what an upstream may ask for."""
    most_s = limits.quota_hint_seconds if failure.quota_named else limits.hint_seconds
    if failure.wait_s is None or failure.wait_s <= most_s:
        return failure
    return replace(failure, wait_s=most_s)


def _limited(
    headers: Headers, error: UpstreamError, detail: str, status: int, grace_s: float, wall_s: float
) -> Failure:
    wait_s = header_wait_s(headers, wall_s)
    if wait_s is None:
        wait_s = error.delay_s
    if "ramp_limit_exceeded" in error.reasons:
        return Failure(FailureClass.RATE_LIMITED, detail, status, wait_s, stay=True)
    if _NO_LIMIT.search(error.text):
        return Failure(FailureClass.QUOTA, f"{detail} (this model is not in the account's tier)", status)
    if any("PerDay" in quota for quota in error.quota_ids):
        # The RetryInfo that comes with a daily quota is short and misleading.
        return Failure(FailureClass.QUOTA, detail, status, _until_pacific_midnight_s(wall_s), quota_named=True)
    if http.get(headers, "anthropic-ratelimit-unified-status") == "rejected":
        claim = http.get(headers, "anthropic-ratelimit-unified-representative-claim") or ""
        reset = _number(http.get(headers, "anthropic-ratelimit-unified-reset"))
        wait_s = _wait_s(reset, wall_s) if reset is not None else wait_s
        whole = not claim.startswith(_MODEL_CLAIM_PREFIX)
        detail = f"{detail} (quota {claim or 'unknown'})"
        return Failure(FailureClass.QUOTA, detail, status, wait_s, whole, quota_named=True)
    if "QUOTA_EXHAUSTED" in error.reasons:
        return Failure(FailureClass.QUOTA, detail, status, wait_s, quota_named=True)
    if wait_s is None:
        return Failure(FailureClass.RATE_LIMITED, detail, status)
    if wait_s <= grace_s:
        return Failure(FailureClass.RATE_LIMITED, detail, status, wait_s, stay=True)
    return Failure(FailureClass.QUOTA, detail, status, wait_s, quota_named=bool(error.quota_ids))


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


def _upstreams_clock_s(headers: Headers, wall_s: float) -> float:
    """What upstream's clock said when it answered, else ours: dates of an upstream are meant by its own clock."""
    at = _http_date_s(http.get(headers, "date") or "")
    return at if at is not None and _FIRST_TIME_S <= at < _NEXT_CENTURY_S else wall_s


def _detail(status: int | None, error: UpstreamError) -> str:
    return " ".join(part for part in (str(status or ""), error.summary) if part) or "an error without a message"


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


def _until_pacific_midnight_s(wall_s: float) -> float:
    try:
        zone: ZoneInfo | timezone = ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # a system without time zones
        zone = timezone(timedelta(hours=-8))
    now = datetime.fromtimestamp(wall_s, zone)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.timestamp() - wall_s
