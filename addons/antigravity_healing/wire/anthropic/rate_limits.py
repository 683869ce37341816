"""The rate-limit headers of the Anthropic API."""

import re
from collections.abc import Iterator

from antigravity_healing.wire.http import headers as http
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.http.times import from_now_s, number, rfc3339_s
from antigravity_healing.wire.rate_limits import Rejection, Window

_PREFIX = "anthropic-ratelimit-"
_UNIFIED = "anthropic-ratelimit-unified-"
# `5h` and `7d` are the account's; `7d_oi` is one model's.
_WINDOW = re.compile(re.escape(_UNIFIED) + r"(\d{1,4}[a-z](_[a-z0-9_]{1,40})?)-(status|reset|utilization)")
_OF_ONE_MODEL = re.compile(r"(?:five_hour|seven_day|\d{1,4}[a-z])_\w")
_LONGEST_NUMBER = 15
_OF_A_MINUTE = re.compile(re.escape(_PREFIX) + r"((?:requests|(?:(?:in|out)put-)?tokens))-limit")


class AnthropicRateLimits:
    """The limits of a minute each, and those of a subscription's plan, whose headers are called unified."""

    def rejected_plan(self, headers: Headers, wall_s: float) -> Rejection | None:
        """What the unified headers of a refusal say is used up, None if nothing.

        Each window tells of itself; where none does, the quota is the one that is claimed for all.
        """
        rejected = [
            (name, one_model, number(told.get("reset")))
            for (name, one_model), told in _windows(headers).items()
            if told.get("status", _by_use(told)) == "rejected"
        ]
        if not rejected and http.get(headers, f"{_UNIFIED}status") != "rejected":
            return None
        general = number(http.get(headers, f"{_UNIFIED}reset"))
        if not rejected:
            claim = http.get(headers, f"{_UNIFIED}representative-claim") or ""
            wait_s = from_now_s(general, wall_s) if general is not None else None
            return Rejection(claim, wait_s, _OF_ONE_MODEL.match(claim) is None)
        # Where the account's own quota is used up, too, those of its models make no difference.
        those = [window for window in rejected if not window[1]] or rejected
        resets = [reset if reset is not None else general for _, _, reset in those]
        waits = [from_now_s(reset, wall_s) for reset in resets if reset is not None]
        return Rejection(", ".join(name for name, _, _ in those), max(waits, default=None), not those[0][1])

    def reset_s(self, headers: Headers) -> float | None:
        """The latest reset among the limits of which nothing remains."""
        resets = [
            rfc3339_s(http.get(headers, name.removesuffix("-remaining") + "-reset") or "")
            for key, value in headers
            if (name := key.decode("ascii", "replace").lower()).startswith(_PREFIX)
            and name.endswith("-remaining")
            and value.strip() == b"0"
        ]
        return max((reset for reset in resets if reset is not None), default=None)

    def input_tokens(self, headers: Headers) -> int | None:
        """The limit of input tokens."""
        limit = http.get(headers, f"{_PREFIX}input-tokens-limit") or ""
        return int(limit) if limit.isdecimal() and len(limit) <= _LONGEST_NUMBER else None

    def windows(self, headers: Headers) -> tuple[Window, ...]:
        """Those of a subscription's plan by their utilization, those of a minute by what remains."""
        plan = (
            Window(name, min(1.0, max(0.0, used)), number(told.get("reset")))
            for (name, _), told in _windows(headers).items()
            if (used := number(told.get("utilization"))) is not None
        )
        return (*plan, *_remaining(headers))


def _remaining(headers: Headers) -> Iterator[Window]:
    """The limits of a minute, of which it is told what remains."""
    told = http.by_name(headers)
    for name, value in told.items():
        match = _OF_A_MINUTE.fullmatch(name)
        limit = number(value.strip()) if match is not None else None
        if match is None or not limit:
            continue
        left = number(told.get(f"{_PREFIX}{match[1]}-remaining", "").strip())
        if left is not None:
            resets_at = rfc3339_s(told.get(f"{_PREFIX}{match[1]}-reset", ""))
            yield Window(match[1].replace("-", " "), min(1.0, max(0.0, 1 - left / limit)), resets_at)


def _windows(headers: Headers) -> dict[tuple[str, bool], dict[str, str]]:
    """What is told of each window, by its name and whether it is one model's."""
    found: dict[tuple[str, bool], dict[str, str]] = {}
    for name, value in http.by_name(headers).items():
        if match := _WINDOW.fullmatch(name):
            found.setdefault((match[1], match[2] is not None), {})[match[3]] = value.strip()
    return found


def _by_use(told: dict[str, str]) -> str:
    used = number(told.get("utilization"))
    return "rejected" if used is not None and used >= 1 else ""
