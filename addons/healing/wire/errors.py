"""What an upstream's error says, wherever it says it.

Gateways wrap errors: the Anthropic error as a JSON string inside Google's `error.message`, under
`error.upstream_error`, in a one-element array. So an error is read at any depth, and what stands deepest is what the
real upstream said.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from healing.wire.jsonvalue import parse
from healing.wire.refusals import SignatureFault, signature_fault

STATUS_OF_ANTHROPIC_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
STATUS_OF_GOOGLE_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

_DURATION_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# Digits are bounded: what a body says must neither take long to read nor come out as infinity.
_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"
_DURATION_TERM = re.compile(rf"({_NUMBER})(ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h))+")
_RETRY_IN = re.compile(rf"retry in ((?:{_NUMBER}(?:ms|s|m|h))+)", re.IGNORECASE)
_MAX_DEPTH = 16
_MAX_NODES = 5_000
# What is said in more characters is not read: it is searched for many things.
_LONGEST_TEXT = 32 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """An error body, read.

    kinds: the Anthropic error types and Google statuses found, outermost first.
    reasons: Google's `ErrorInfo.reason` and Anthropic's `details.error_code`.
    quota_ids: Google's `QuotaFailure.violations[].quotaId`.
    text: every message found, joined by line ends, as far as it is read; what is not JSON at all, as it is.
    delay_s: seconds to wait as the body says (RetryInfo, quotaResetDelay, "Please retry in"), None where it doesn't.
    value: the error as it was parsed, None for what is not JSON.
    """

    kinds: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    quota_ids: tuple[str, ...] = ()
    text: str = ""
    delay_s: float | None = None
    value: Any = field(default=None, compare=False, repr=False)

    @property
    def status(self) -> int | None:
        """The HTTP status that the deepest known type or status stands for."""
        for kind in reversed(self.kinds):
            status = STATUS_OF_ANTHROPIC_TYPE.get(kind) or STATUS_OF_GOOGLE_STATUS.get(kind)
            if status:
                return status
        return None

    @property
    def signature_fault(self) -> SignatureFault | None:
        """What this refusal says of the conversation's signatures, None if it is about something else."""
        return signature_fault(self.text)

    @property
    def summary(self) -> str:
        """One short line for people: the deepest kind and the first message."""
        first = next(iter(self.text.strip().splitlines()), "")
        parts = [self.kinds[-1] if self.kinds else "", first[:200]]
        return ": ".join(part for part in parts if part)


def parse_error(body: bytes) -> UpstreamError:
    """Read an error body of any form; never raises."""
    try:
        value = parse(body)
    except ValueError:
        return UpstreamError(text=body[:2000].decode("utf-8", "replace"))
    return read_error(value)


def read_error(value: Any) -> UpstreamError:
    """Read an error that is already parsed JSON."""
    kinds: list[str] = []
    reasons: list[str] = []
    quota_ids: list[str] = []
    messages: list[str] = []
    delays: dict[str, float] = {}
    for key, found in _strings(value):
        if key in ("type", "status") and (found in STATUS_OF_ANTHROPIC_TYPE or found in STATUS_OF_GOOGLE_STATUS):
            kinds.append(found)
        elif key in ("reason", "error_code"):
            reasons.append(found)
        elif key == "quotaId":
            quota_ids.append(found)
        elif key in ("retryDelay", "quotaResetDelay"):
            delay = parse_duration_s(found)
            if delay is not None:
                delays.setdefault(key, delay)
        elif key in ("message", "error"):
            messages.append(found)
    text = "\n".join(messages)[:_LONGEST_TEXT]
    delay_s = delays.get("retryDelay", delays.get("quotaResetDelay"))
    if delay_s is None and (match := _RETRY_IN.search(text)):
        delay_s = parse_duration_s(match.group(1))
    return UpstreamError(tuple(kinds), tuple(reasons), tuple(quota_ids), text, delay_s, value)


def find_error(value: Any) -> dict[str, Any] | None:
    """The error in a body that came with status 200, None if it is an answer: `{"error": …}`, also in an array."""
    if isinstance(value, list) and value:
        return find_error(value[-1])
    if isinstance(value, dict) and (isinstance(value.get("error"), dict) or value.get("type") == "error"):
        return value
    return None


def parse_duration_s(text: str) -> float | None:
    """Seconds of a Google duration, a sum of number and unit (`1h16m0.667s`, `200ms`); None if it is none."""
    if not _DURATION.fullmatch(text.strip()):
        return None
    return sum(float(number) * _DURATION_UNIT_S[unit] for number, unit in _DURATION_TERM.findall(text))


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every (key, string) of a JSON value, outermost first; strings that hold JSON are opened too."""
    level: list[tuple[str, Any]] = [("", value)]
    seen = 0
    for _ in range(_MAX_DEPTH):
        below: list[tuple[str, Any]] = []
        for key, node in level:
            seen += 1
            if seen > _MAX_NODES:
                return
            room = _MAX_NODES - len(below)
            if isinstance(node, dict):
                below.extend((str(name), child) for name, child in islice(node.items(), room))
            elif isinstance(node, list):
                below.extend((key, child) for child in islice(node, room))
            elif isinstance(node, str):
                yield key, node
                if (inner := _json_inside(node)) is not None:
                    below.append((key, inner))
        if not below:
            return
        level = below


def _json_inside(text: str) -> Any | None:
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) and value else None
