"""When an exchange has to be woken: for its next attempt, for a stalled one, for a client that waits."""

from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.client_answer import ClientAnswer
from antigravity_healing.policy.settings.schema import Peek

_FIRST = "Timeout waiting for first data"
LINGER_S = 2.0
"""For how long an answer that has said all may say more: its usage comes late at times, and a stop in the middle."""


class Timing:
    """What one exchange waits for. All times are monotonic seconds.

    resume_at: when the wait before the next attempt is over, None outside of one.
    behind: whether the client does not take what is there for it, so that nothing more can be expected from upstream.
    client_held_at: since when a hook of the client's flow has not come back.
    held, held_since: the stream whose start was held last, and since when the client has been kept waiting.
    """

    def __init__(self, peek: Peek) -> None:
        self.resume_at: float | None = None
        self.behind = False
        self.client_held_at: float | None = None
        self.held: Attempt | None = None
        self.held_since: float | None = None
        self._peek = peek

    def hold(self, attempt: Attempt, now: float) -> None:
        """The start of this attempt's stream is held."""
        self.held = attempt
        if self.held_since is None:
            self.held_since = now

    def resumes(self, now: float) -> bool:
        """Whether the wait before the next attempt is over; it is only once."""
        if self.resume_at is None or now < self.resume_at:
            return False
        self.resume_at = None
        return True

    def deadline(self, current: Attempt | None, answer: ClientAnswer) -> float | None:
        """When something is due, None if nothing waits for time."""
        stall = self.stall(current)
        times = (self.resume_at, stall[0] if stall else None, self.sign_of_life(current, answer))
        return min((at for at in times if at is not None), default=None)

    def stall(self, current: Attempt | None) -> tuple[float, str] | None:
        """When the attempt that is under way counts as stalled, and what to say then."""
        if current is None or current.ended or self.behind:
            return None
        if current.times.held_at is not None or self.client_held_at is not None:
            return None
        asked = current.asked
        return attempt_deadline(current, self._peek, streams=asked.streams, pings=asked.dialect.pings)

    def sign_of_life(self, current: Attempt | None, answer: ClientAnswer) -> float | None:
        """When the waiting client is to get one."""
        if self.held_since is None or (current is not None and current.delivering):
            return None
        if answer.begun:
            return answer.last_sent_at + self._peek.keep_alive
        return None if self._peek.soft_commit is None else self.held_since + self._peek.soft_commit


def attempt_deadline(attempt: Attempt, peek: Peek, *, streams: bool, pings: bool) -> tuple[float, str] | None:
    """When (monotonic seconds) this attempt counts as stalled, and what to say then; None where no clock runs.

    streams: whether upstream was asked for a stream. pings: whether a healthy stream says something now and then.
    """
    times = attempt.times
    if times.left_at is None:
        return None
    clocks: list[tuple[float, float | None, str]] = []
    if times.head_at is None:
        limit_s = peek.first_byte if streams else peek.first_byte_json
        clocks.append((times.left_at, limit_s, f"{_FIRST}: no response headers"))
    else:
        gate = attempt.gate
        # Letting an answer through is not yet having one: a stream of pings is found out whether it is held or not.
        waits_for_content = gate is not None and not gate.content
        if attempt.incoming.may_be_over or (gate is not None and gate.complete):
            clocks.append((times.progress_at, LINGER_S, "the answer did not end"))
        if attempt.committed or not waits_for_content:
            clocks.append((times.last_byte_at, peek.idle, "the answer stopped: nothing more came"))
            clocks.append((times.progress_at, peek.progress, "the answer stopped: nothing but signs of life came"))
        if waits_for_content and pings:
            clocks.append((times.last_byte_at, peek.silence, f"{_FIRST}: nothing came"))
        if waits_for_content:
            clocks.append((times.left_at, peek.first_content, f"{_FIRST}: no content came"))
    due = [(start + limit_s, f"{what} for {limit_s:g} s") for start, limit_s, what in clocks if limit_s is not None]
    return min(due, default=None)
