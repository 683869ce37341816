"""Where an exchange stands, and the one place where that changes."""

from enum import Enum, auto
from typing import Literal

from healing.policy.exchange.attempt import Attempt

Phase = Literal["connecting", "waiting", "hold", "backoff", "streaming"]
PHASES: tuple[Phase, ...] = ("connecting", "waiting", "hold", "backoff", "streaming")
"""What an exchange that runs is at: nothing has been asked yet; upstream has said nothing; what it says is held; the
next attempt waits for its time; the client gets an answer."""


class State(Enum):
    """Where an exchange stands. How far an attempt that is under way has come is the attempt's own to say."""

    WAITING = auto()
    """No attempt is under way: the first is about to begin, or the next waits for its time."""
    UNDER_WAY = auto()
    """An attempt is."""
    PASSING = auto()
    """After a bug of ours: upstream's answer passes as it comes."""
    CRASHED = auto()
    """After a bug of ours: nothing can be done but to break off."""
    OVER = auto()
    """The client has all it gets, or is gone."""


class Progress:
    """How far an exchange has come.

    current: the attempt that is under way, or was when a bug was met.
    backing_off: whether the next attempt waits for its time.
    outcome: "" while it runs, then `clean`, `healed` or `failed`.
    """

    def __init__(self) -> None:
        self.state = State.WAITING
        self.current: Attempt | None = None
        self.outcome = ""
        self.backing_off = False

    @property
    def phase(self) -> Phase | None:
        """What it is at, None where it is over."""
        match self.state:
            case State.OVER | State.CRASHED:
                return None
            case State.PASSING:
                return "streaming"
            case State.WAITING:
                return "backoff" if self.backing_off else "connecting"
        attempt = self.current
        if attempt is None:
            return "connecting"
        if attempt.delivering:
            return "streaming"
        if attempt.times.head_at is not None:
            return "hold"
        return "connecting" if attempt.times.left_at is None else "waiting"

    def turn_to(self, attempt: Attempt) -> None:
        """This attempt is under way now."""
        self.state, self.current, self.backing_off = State.UNDER_WAY, attempt, False

    def wait(self) -> None:
        """It is over, and another is to follow."""
        self.state, self.current = State.WAITING, None

    def pass_on(self) -> None:
        """From now on nothing is healed. What is over stays so."""
        if self.state is not State.OVER:
            self.state = State.PASSING

    def crash(self) -> None:
        """Not even that is possible. What is over stays so."""
        if self.state is not State.OVER:
            self.state = State.CRASHED

    def close(self, outcome: str) -> None:
        """The exchange is over."""
        self.state, self.current, self.outcome = State.OVER, None, outcome
