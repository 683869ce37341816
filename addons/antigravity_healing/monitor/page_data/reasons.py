"""Why something is as it is: why there was no further attempt, and why nothing is kept of an exchange."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from antigravity_healing.policy.judging.failures import counted
from antigravity_healing.policy.settings.schema import CaptureSettings, Flows

_DAY_S = 24 * 3600.0
_NOT_HELPED = {
    "caller": "upstream says that the request itself is wrong: it would be refused again",
    "signature": "it was refused without the old thinking, too: nothing is left that could be repaired",
    "billing": "no other account was free that has credit",
    "auth": "no other account was free whose key is taken",
    "forbidden": "no other account was free that may do this",
    "quota": "no other account was free that has something left",
    "rate_limited": "the wait would have been longer than [retry] allows, or no other account was free",
    "not_theirs": "no account was found with which it lies",
    "no_model": "no other account was free that has the model",
}


def why_no_retry(story: Mapping[str, Any]) -> str:
    """Why the last attempt of a story was the last; "" where it served, or nothing is over."""
    match story.get("outcome"):
        case "client_left":
            return "the client had left: there was nobody to answer"
        case "refused":
            return "the proxy refused it by itself: nobody was asked"
        case "failed":
            pass
        case _:
            return ""
    attempts = story.get("attempts") or []
    if not attempts:
        return "nobody could be asked"
    last = attempts[-1]
    if last.get("delivered"):
        return "content had already reached the client: no second answer may follow one that has begun"
    kind = str(last.get("failure") or "")
    tried = f"after {counted(len(attempts), 'attempt')}"
    if kind in _NOT_HELPED:
        return f"{_NOT_HELPED[kind]} ({tried})"
    return f"{tried} the bounds of [retry] were reached, or no other account was free"


def why_not_kept(outcome: str, at: float, now: float, settings: CaptureSettings, *, listed: bool) -> str:
    """Why no flow of an exchange is to be had. outcome: of it, or `running`, `unfinished`, "" where none is known.

    at: when it began, and now, in seconds since 1970. listed: whether mitmproxy has a list of flows.
    """
    here = "" if listed else "mitmdump keeps no list of flows, and "
    gone = "it is no more in mitmproxy's list of flows, and " if listed else here
    match outcome:
        case "running":
            return f"{here}it is still running: a capture is made when it has failed"
        case "unfinished":
            return "the proxy ended before it did: nothing was captured"
        case "clean" | "healed":
            return f"{gone}it was never captured because it succeeded: only failures are"
        case "client_left":
            return f"{gone}it was never captured because the client left: that is no failure to look into"
        case "refused":
            return "it was never captured because the proxy refused it by itself: nobody was asked"
    if not settings.enabled:
        return f"{gone}nothing is captured: [capture] enabled is false"
    if now - at > settings.days * _DAY_S:
        days = int((now - at) / _DAY_S)
        return (
            f"it is from {days} days ago ({datetime.fromtimestamp(at):%Y-%m-%d}): what was captured is deleted after "
            f"{settings.days} days ([capture] days)"
        )
    return (
        f"{gone}it is not among the captures: of what fails again for the same cause within a minute the first alone "
        "is kept, with a count, and the oldest is deleted where there is no room"
    )


def why_no_body(of: str, size: int | None, truncated: bool, settings: Flows) -> str:
    """Why a body is missing, or is not whole; "" for neither. of: whose; size: bytes, None where none was kept."""
    most = f"{settings.max_body_bytes / 1024 / 1024:g} MiB"
    if truncated:
        return f"the body of the {of} is not kept whole: it is longer than {most} ([flows] max_body_bytes)"
    return f"the body of the {of} was not kept" if size is None else ""
