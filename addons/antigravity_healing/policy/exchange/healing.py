"""The healing of one exchange: what each event means for the attempt that is under way."""

from typing import Any

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.actions import Work
from antigravity_healing.policy.exchange.answer_reader import AnswerReader
from antigravity_healing.policy.exchange.attempt import Attempt, UpstreamEnd
from antigravity_healing.policy.exchange.attempts_in_turn import AttemptsInTurn
from antigravity_healing.policy.exchange.events import Events
from antigravity_healing.policy.exchange.retry_table import LOCAL_WAITS_S
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.wire.http.headers import Headers


class Healing(Events):
    """Handles what happens while all goes as it is meant to."""

    def __init__(self, in_turn: AttemptsInTurn, reader: AnswerReader, clock: Clock) -> None:
        self._in_turn = in_turn
        self._delivery = in_turn.delivery
        self._progress = in_turn.progress
        self._reader = reader
        self._clock = clock

    @property
    def deadline(self) -> float | None:
        """When `wakeup` is due, None if nothing waits for time."""
        current = self._progress.current
        if current is not None and current.still_to_read:
            return None if current.work_running else current.times.last_byte_at
        return self._in_turn.deadline

    def start(self) -> None:
        """Make the first attempt."""
        self._in_turn.start()

    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        """Begin to read an answer."""
        if attempt is self._progress.current:
            self._reader.head(attempt, status, headers)

    def data(self, attempt: Attempt, data: bytes) -> None:
        """Take more of it in."""
        if attempt is self._progress.current:
            attempt.incoming.intake.put(data)
            attempt.incoming.received += len(data)

    def read_data(self) -> None:
        """Read what has come of it."""
        attempt = self._progress.current
        if attempt is not None and not attempt.work_running and attempt.incoming.intake.due:
            self._reader.read(attempt)
            self._end_if_all_read(attempt)

    def body_ended(self, attempt: Attempt, broken: str = "") -> None:
        """Read it to its end."""
        attempt.has_ended(UpstreamEnd.BY_ITSELF)
        self.read_data()
        if attempt is self._progress.current:
            attempt.body_end = broken
            self._end_if_all_read(attempt)

    def worked(self, action: Work, found: Any, failure: Exception | None = None) -> None:
        """Go on with what the work gave. Raises what it raised."""
        attempt = action.attempt
        attempt.work_running = False
        if failure is not None:
            raise failure
        if attempt is not self._progress.current:
            return
        if attempt.killed:
            self._delivery.killed(attempt)
            return
        attempt.times.last_byte_at = self._clock.now()
        attempt.incoming.intake.allow()
        action.then(found)
        self._end_if_all_read(attempt)

    def _end_if_all_read(self, attempt: Attempt) -> None:
        """End an attempt of whose body all has come and been looked at."""
        if attempt is self._progress.current and attempt.body_end is not None and not attempt.still_to_read:
            self._reader.body_ended(attempt, attempt.body_end)

    # An attempt that comes to no answer.

    def killed(self, attempt: Attempt) -> None:
        """Tell the client so."""
        attempt.has_ended(UpstreamEnd.KILLED)
        if attempt is self._progress.current and not attempt.work_running:
            self._delivery.killed(attempt)

    def malformed(self, attempt: Attempt, flaw: str) -> None:
        """Judge it by that."""
        attempt.has_ended(UpstreamEnd.BY_ITSELF)
        if attempt is self._progress.current:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, f"the head of the answer is not valid: {flaw}"))

    def no_credential(self, attempt: Attempt, why: str, *, lasting: bool = False) -> None:
        """Try the next account."""
        attempt.has_ended(UpstreamEnd.BY_ITSELF)
        told, most = f"no credential for account {attempt.account.name}: {why}", len(LOCAL_WAITS_S)
        self._in_turn.fail(attempt, Failure(FailureClass.LOCAL, told, 401, most_waits=most, again=not lasting))

    def shut_down(self) -> None:
        """End the answer with that, where it has begun with what there was to say."""
        attempt = self._progress.current
        failure = Failure(FailureClass.LOCAL, "The proxy was shut down", 503)
        if attempt is not None and attempt.work_running:
            return
        if attempt is not None and attempt.delivering:
            self._reader.stop_short(attempt, failure)
        elif not self._progress.outcome:
            self._in_turn.shut_down(failure)

    # Time.

    def wakeup(self) -> None:
        """Do what is due: the next attempt, the end of a stalled one, a sign of life."""
        now, in_turn = self._clock.now(), self._in_turn
        if self._progress.current is not None:
            if self._progress.current.work_running:
                return
            self._progress.current.incoming.intake.allow()
        in_turn.make_planned_if_due(now)
        if (
            (attempt := self._progress.current) is not None
            and (stall := in_turn.timing.stall(attempt))
            and now >= stall[0]
        ):
            self._reader.stall(attempt, Failure(FailureClass.STALLED, stall[1], 504))
        in_turn.keep_waiting_if_due(now)

    def on_its_way(self, attempt: Attempt, since: float) -> None:
        """Let its clocks run."""
        if attempt.times.left_at is None:
            attempt.times.left_at = since

    def held_up(self, attempt: Attempt) -> None:
        """Let none of them run."""
        attempt.times.left_at = None

    def client_behind(self, behind: bool) -> None:
        """Let them stand still, and begin anew."""
        self._in_turn.timing.behind = behind
        if not behind and (current := self._progress.current) is not None:
            current.times.last_byte_at = current.times.progress_at = self._clock.now()

    def held_by_hook(self, attempt: Attempt | None, on: bool) -> None:
        """Let them stand still meanwhile."""
        now, timing, current = self._clock.now(), self._in_turn.timing, self._progress.current
        if attempt is not None:
            since, attempt.times.held_at = attempt.times.held_at, now if on else None
        else:
            since, timing.client_held_at = timing.client_held_at, now if on else None
            attempt = current
        if on or since is None:
            return
        if attempt is not None:
            attempt.times.skip(since, now)
        if timing.held_since is not None and attempt is current:
            timing.held_since = min(now, timing.held_since + now - since)
