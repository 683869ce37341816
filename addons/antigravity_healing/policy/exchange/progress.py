"""Where an exchange stands, and the one place where that changes."""

from enum import Enum, auto

from antigravity_healing.policy.exchange.attempt import Attempt


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
    outcome: "" while it runs, then `clean`, `healed` or `failed`.
    """

    def __init__(self) -> None:
        self.state = State.WAITING
        self.current: Attempt | None = None
        self.outcome = ""

    def turn_to(self, attempt: Attempt) -> None:
        """This attempt is under way now."""
        self.state, self.current = State.UNDER_WAY, attempt

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
