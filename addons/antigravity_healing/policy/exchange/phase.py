"""What an exchange is at: for people who look at it while it runs."""

from typing import NamedTuple

from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.attempts_in_turn import AttemptsInTurn
from antigravity_healing.policy.exchange.progress import State

IDLE_S = 2.0
"""After so long without anything new a stream is called idle."""


class Phase(NamedTuple):
    """What an exchange is at.

    name: `preparing`, `back-off`, `connecting`, `waiting` (for the first byte), `thinking` (no content but signs of
    life, if any), `held` (there is content, which the client has not got), `streaming`, `idle`.
    since_s: for so many seconds. ends_s: in so many seconds it will be ended, None where no clock runs; why: in words.
    """

    name: str
    since_s: float = 0.0
    ends_s: float | None = None
    why: str = ""


def phase_of(in_turn: AttemptsInTurn, now: float) -> Phase:
    """What it is at now (monotonic seconds)."""
    attempt, timing = in_turn.progress.current, in_turn.timing
    if in_turn.progress.state is State.PASSING:
        return Phase("streaming")
    if attempt is None:
        left_s = None if timing.resume_at is None else max(0.0, timing.resume_at - now)
        return Phase("preparing" if left_s is None else "back-off", 0.0, left_s, "the next attempt is made")
    stall = timing.stall(attempt)
    name, since = _of_attempt(attempt, now)
    ends_s, why = (None, "") if stall is None else (max(0.0, stall[0] - now), stall[1])
    return Phase(name, max(0.0, now - since), ends_s, why)


def _of_attempt(attempt: Attempt, now: float) -> tuple[str, float]:
    times, gate = attempt.times, attempt.gate
    if not attempt.sent:
        return "preparing", attempt.started_at
    if times.left_at is None:
        return "connecting", attempt.started_at
    if times.head_at is None:
        return "waiting", times.left_at
    if gate is not None and not gate.content:
        return "thinking", times.head_at
    if not attempt.delivering:
        return "held", times.head_at
    if now - times.progress_at >= IDLE_S:
        return "idle", times.progress_at
    return "streaming", times.first_content_at or times.head_at
