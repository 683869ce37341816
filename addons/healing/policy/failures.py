"""Why an attempt did not serve: an outcome becomes a failure class.

What an outcome means is read from the parsed error first (codes, reasons, text, at any depth) and from the status
second: an invalid key comes as 400, a signature error as 429, an overload inside a 200.
"""

import email.utils
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from healing.wire import headers as http
from healing.wire.errors import UpstreamError
from healing.wire.headers import Headers
from healing.wire.refusals import Position, SignatureFault, named_position


class FailureClass(StrEnum):
    """The classes of failures; what each leads to stands in `healing.policy.retry`."""

    SIGNATURE = "signature"
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


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not serve.

    kind: the failure class.
    detail: one line for people; holds no secret.
    status: the HTTP status that tells this to a client when upstream's own answer can't.
    wait_s: seconds to wait as upstream says, None where it doesn't.
    whole_account: whether a quota is the account's own and not one model's.
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


def classify(status: int | None, headers: Headers, error: UpstreamError, *, grace_s: float, wall_s: float) -> Failure:
    """The failure that an error answer means.

    status: of the response; None for an error inside a stream.
    grace_s: up to this many seconds a rate limit is waited for where it was met.
    wall_s: now, in seconds since 1970, for hints that are dates.
    """
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
        return Failure(FailureClass.QUOTA, detail, status, _until_pacific_midnight_s(wall_s))
    if http.get(headers, "anthropic-ratelimit-unified-status") == "rejected":
        claim = http.get(headers, "anthropic-ratelimit-unified-representative-claim") or ""
        reset_s = _number(http.get(headers, "anthropic-ratelimit-unified-reset"))
        wait_s = max(0.0, reset_s - wall_s) if reset_s is not None else wait_s
        whole = not claim.startswith(_MODEL_CLAIM_PREFIX)
        return Failure(FailureClass.QUOTA, f"{detail} (quota {claim or 'unknown'})", status, wait_s, whole)
    if "QUOTA_EXHAUSTED" in error.reasons:
        return Failure(FailureClass.QUOTA, detail, status, wait_s)
    if wait_s is None:
        return Failure(FailureClass.RATE_LIMITED, detail, status)
    if wait_s <= grace_s:
        return Failure(FailureClass.RATE_LIMITED, detail, status, wait_s, stay=True)
    return Failure(FailureClass.QUOTA, detail, status, wait_s)


def header_wait_s(headers: Headers, wall_s: float) -> float | None:
    """Seconds to wait as the headers say, in the order in which the SDKs look: `retry-after-ms`, then `retry-after`.

    Where both are missing, the latest reset among the Anthropic limits that are used up.
    """
    if (wait_ms := _number(http.get(headers, "retry-after-ms"))) is not None:
        return max(0.0, wait_ms / 1000)
    after = http.get(headers, "retry-after")
    if after is not None:
        if (wait_s := _number(after)) is not None:
            return max(0.0, wait_s)
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
