"""How long an attempt may keep silent."""

from healing.policy.exchange.attempt import Attempt
from healing.policy.settings.schema import Peek

_FIRST = "Timeout waiting for first data"
LINGER_S = 2.0
"""For how long an answer that has said all may say more: its usage comes late at times, and a stop in the middle."""


def attempt_deadline(attempt: Attempt, peek: Peek, *, streams: bool, pings: bool) -> tuple[float, str] | None:
    """When (monotonic seconds) this attempt counts as stalled, and what to say then; None where no clock runs.

    streams: whether upstream was asked for a stream. pings: whether a healthy stream says something now and then.
    """
    if attempt.left_at is None:
        return None
    clocks: list[tuple[float, float | None, str]] = []
    if attempt.head_at is None:
        limit_s = peek.first_byte if streams else peek.first_byte_json
        clocks.append((attempt.left_at, limit_s, f"{_FIRST}: no response headers"))
    else:
        gate = attempt.gate
        # Letting an answer through is not yet having one: a stream of pings is found out whether it is held or not.
        waits_for_content = gate is not None and not gate.content
        if attempt.may_be_over or (gate is not None and gate.complete):
            clocks.append((attempt.progress_at, LINGER_S, "the answer did not end"))
        if attempt.committed or not waits_for_content:
            clocks.append((attempt.last_byte_at, peek.idle, "the answer stopped: nothing more came"))
            clocks.append((attempt.progress_at, peek.progress, "the answer stopped: nothing but signs of life came"))
        if waits_for_content and pings:
            clocks.append((attempt.last_byte_at, peek.silence, f"{_FIRST}: nothing came"))
        if waits_for_content:
            clocks.append((attempt.left_at, peek.first_content, f"{_FIRST}: no content came"))
    due = [(start + limit_s, f"{what} for {limit_s:g} s") for start, limit_s, what in clocks if limit_s is not None]
    return min(due, default=None)
