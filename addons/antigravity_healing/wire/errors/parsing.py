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

from antigravity_healing.wire.errors.signature_refusals import SignatureFault, signature_fault
from antigravity_healing.wire.json.value import parse

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
_RESETS_AFTER = re.compile(rf"quota will reset (?:after|in) ((?:{_NUMBER}(?:ms|s|m|h))+)", re.IGNORECASE)
_OF_INPUT_TOKENS = re.compile(r"input_?token", re.IGNORECASE)
_LIMIT_OF_INPUT_TOKENS = re.compile(
    r"metric: [^\s,]{1,200}input_token_count, limit: (\d{1,15})\b|\blimit of ([\d,]{1,20}) input tokens per",
    re.IGNORECASE,
)
# What gateways call whatever they know no better name for: the status says more.
_SAYS_NOTHING = ("api_error", "UNKNOWN")
_MAX_DEPTH = 16
_MAX_NODES = 5_000
_LONGEST_NAME = 200
_LONGEST_NUMBER = 15
# What is said in more characters is not read: it is searched for many things.
_LONGEST_TEXT = 32 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """An error body, read.

    kinds: the Anthropic error types and Google statuses found, outermost first.
    reasons: Google's `ErrorInfo.reason` and Anthropic's `details.error_code`.
    quota_ids: Google's `QuotaFailure.violations[].quotaId`, and `metadata.quota_limit` of its `ErrorInfo`.
    text: every message found, joined by line ends, as far as it is read; what is not JSON at all, as it is.
    delay_s: seconds to wait as the body says (RetryInfo, quotaResetDelay, "Please retry in", "quota will reset
    after"), None where it doesn't; resets_s: the last of these alone.
    input_tokens: how many input tokens the exceeded quota allows, the smallest one named; None where none is.
    value: the error as it was parsed, None for what is not JSON.
    """

    kinds: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    quota_ids: tuple[str, ...] = ()
    text: str = ""
    delay_s: float | None = None
    resets_s: float | None = None
    input_tokens: int | None = None
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
    def vague(self) -> bool:
        """Whether the deepest known type or status is one that gateways use for whatever went wrong."""
        return bool(self.kinds) and self.kinds[-1] in _SAYS_NOTHING

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
    allowed: list[int] = []
    for key, found in _nodes(value):
        if isinstance(found, dict):
            allowed += _input_tokens_of(found)
        elif key in ("type", "status") and (found in STATUS_OF_ANTHROPIC_TYPE or found in STATUS_OF_GOOGLE_STATUS):
            kinds.append(found)
        elif key in ("reason", "error_code"):
            reasons.append(found)
        elif key in ("quotaId", "quota_limit"):
            quota_ids.append(found)
        elif key in ("retryDelay", "quotaResetDelay"):
            delay = parse_duration_s(found)
            if delay is not None:
                delays.setdefault(key, delay)
        elif key in ("message", "error"):
            messages.append(found)
    text = "\n".join(messages)[:_LONGEST_TEXT]
    allowed += [int((metric or said).replace(",", "") or 0) for metric, said in _LIMIT_OF_INPUT_TOKENS.findall(text)]
    resets_s = _said_s(_RESETS_AFTER, text)
    waits = (delays.get("retryDelay"), delays.get("quotaResetDelay"), _said_s(_RETRY_IN, text), resets_s)
    return UpstreamError(
        kinds=tuple(kinds),
        reasons=tuple(reasons),
        quota_ids=tuple(quota_ids),
        text=text,
        delay_s=next((wait for wait in waits if wait is not None), None),
        resets_s=resets_s,
        input_tokens=min((number for number in allowed if number > 0), default=None),
        value=value,
    )


def _said_s(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    return parse_duration_s(match.group(1)) if match else None


def _input_tokens_of(node: dict[str, Any]) -> Iterator[int]:
    """How many input tokens a quota allows that an error names, if it is one of those."""
    for name, value in (("quotaId", "quotaValue"), ("quota_limit", "quota_limit_value")):
        quota, number = node.get(name), node.get(value)
        if not (isinstance(quota, str) and _OF_INPUT_TOKENS.search(quota[:_LONGEST_NAME])):
            continue
        if isinstance(number, int) or (
            isinstance(number, str) and len(number) <= _LONGEST_NUMBER and number.isdecimal()
        ):
            yield int(number)


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


def _nodes(value: Any) -> Iterator[tuple[str, str | dict[str, Any]]]:
    """Every string and object of a JSON value with its key, outermost first; strings that hold JSON are opened too."""
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
                yield key, node
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
