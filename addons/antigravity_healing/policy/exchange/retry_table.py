"""What to do after a failure: the table of waits and places, and the budgets around it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal

from antigravity_healing.policy.judging.failures import Failure, FailureClass

JITTER = 0.2
REPAIR_WAIT_S = 0.2
LONGEST_WAIT_S = 8.0
"""Between two tries when upstream names no time."""
LONGEST_CHEAP_S = 10.0
"""A try that has taken longer until it failed uses one up, whatever it failed with."""
LOCAL_WAITS_S = (0.2, 0.5, 1.0, 2.0)
"""Between tries while a credential is missing; then that is no moment's trouble any more."""
_HINTS_BELIEVED = 2
"""A short hint that has come so often is not the truth: from then on the waits grow all the same."""
Place = Literal["stay", "rotate", "second_elsewhere"]


@dataclass(frozen=True, slots=True)
class RetryRule:
    """What a failure class leads to.

    wait_s: seconds before the n-th retry for this class (n from 1) when upstream names no time.
    place: where the next try goes.
    leave: whether this exchange is done with the account, even if there is no other.
    waited_out: whether a try that fails so costs next to nothing, so that time bounds them and not their number.
    """

    wait_s: Callable[[int], float]
    place: Place = "rotate"
    leave: bool = False
    waited_out: bool = False


def _at_once(_: int) -> float:
    return 0.0


def _doubling(first_s: float, nth: int) -> float:
    # From some power on it is too long anyway, and then too large for a float.
    return min(LONGEST_WAIT_S, first_s * 2.0 ** (min(nth, 20) - 1))


def _shortly(nth: int) -> float:
    most = len(LOCAL_WAITS_S)
    return LOCAL_WAITS_S[nth - 1] if nth <= most else _doubling(LOCAL_WAITS_S[-1], nth - most + 1)


def _at_once_then_later(nth: int) -> float:
    return 0.0 if nth == 1 else _doubling(0.5, nth - 1)


RULES: dict[FailureClass, RetryRule] = {
    FailureClass.LOCAL: RetryRule(_shortly, waited_out=True),
    FailureClass.TRANSPORT: RetryRule(_at_once_then_later, "second_elsewhere", waited_out=True),
    FailureClass.TRANSIENT: RetryRule(partial(_doubling, 0.5)),
    FailureClass.OVERLOADED: RetryRule(partial(_doubling, 1.0), "stay", waited_out=True),
    FailureClass.RATE_LIMITED: RetryRule(partial(_doubling, 1.0), waited_out=True),
    FailureClass.QUOTA: RetryRule(_at_once, waited_out=True),
    FailureClass.BILLING: RetryRule(_at_once, leave=True),
    FailureClass.AUTH: RetryRule(_at_once, leave=True),
    FailureClass.FORBIDDEN: RetryRule(_at_once, leave=True),
    FailureClass.NOT_THEIRS: RetryRule(_at_once, leave=True),
    FailureClass.NO_MODEL: RetryRule(_at_once, leave=True),
    FailureClass.EMPTY: RetryRule(_at_once),
    FailureClass.STALLED: RetryRule(_at_once),
    FailureClass.CUT: RetryRule(_at_once),
    FailureClass.MALFORMED: RetryRule(_at_once),
}
"""What is not here is delivered: `caller`, and `signature` where no repair helps."""


def wait_before_retry_s(failure: Failure, nth: int, random: Random) -> float:
    """Seconds to wait before the `nth` retry for this class of failure, with jitter.

    Upstream's own hint is never undercut: its jitter only adds.
    """
    hint_s, own = hinted_s(failure), RULES[failure.kind].wait_s
    if hint_s is None:
        return jittered(own(nth), random)
    doubted = nth - _HINTS_BELIEVED
    return max(at_least(hint_s, random), jittered(own(doubted), random) if doubted > 0 else 0.0)


def hinted_s(failure: Failure) -> float | None:
    """Seconds that upstream asks to be left alone for, where that is waited for; None where it names none."""
    return failure.wait_s if failure.kind in (FailureClass.RATE_LIMITED, FailureClass.OVERLOADED) else None


def jittered(seconds: float, random: Random) -> float:
    """These seconds, or up to 20 % more or less."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)


def at_least(seconds: float, random: Random) -> float:
    """These seconds and up to 20 % more, so that many waiting clients don't come back at once."""
    return seconds * random.uniform(1, 1 + JITTER)


def stays(failure: Failure, nth: int) -> bool:
    """Whether the try after the `nth` failure of this class belongs on the same account."""
    place = RULES[failure.kind].place
    return place == "stay" or (nth == 1 and (failure.stay or place == "second_elsewhere"))


def says_not_here(failure: Failure) -> bool:
    """Whether the failure says that this account does not serve, and nothing of any other."""
    rule = RULES.get(failure.kind)
    return failure.kind is FailureClass.QUOTA or (rule is not None and rule.leave)


class RetryBudget:
    """One for the whole process: retries may be at most half of the last minute's requests plus some to spare.

    So a dead upstream is not stormed by everybody's retries. spare: how many.
    """

    WINDOW_S = 60.0
    RATIO = 0.5

    def __init__(self, spare: int = 20) -> None:
        self.spare = spare
        self._requests: deque[float] = deque()
        self._retries: deque[float] = deque()

    def request(self, now: float) -> None:
        """A request came in; `now` in monotonic seconds."""
        self._forget(now)
        self._requests.append(now)

    def retry(self, now: float) -> None:
        """A retry is made."""
        self._forget(now)
        self._retries.append(now)

    def left(self, now: float) -> int:
        """How many retries may be made now."""
        self._forget(now)
        return max(0, int(len(self._requests) * self.RATIO) + self.spare - len(self._retries))

    def _forget(self, now: float) -> None:
        for times in (self._requests, self._retries):
            while times and times[0] <= now - self.WINDOW_S:
                times.popleft()
