"""Why exchanges failed: which of them are worth being captured, and which are the same failure again."""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from antigravity_healing.policy.judging.failures import FailureClass

WITHIN_S = 60.0
"""What fails again for the same cause within so many seconds is counted."""
_MOST = 1000
_NUMBERS = re.compile(r"\b[\w-]*\d[\w.-]*")

type Cause = tuple[object, ...]


def cause_of(story: Mapping[str, Any]) -> Cause | None:
    """Why an exchange failed, told by its story; None where no upstream had a part in it.

    Two have the same cause if they have the same class of failure, status and refusal, for a model on an account.
    """
    attempts = story.get("attempts")
    if attempts is None:
        return ("bug",)
    last = next((each for each in reversed(attempts) if each.get("failure") != FailureClass.LOCAL), None)
    if last is None:
        return None
    detail = _NUMBERS.sub("#", str(last.get("detail")))
    return (*(last.get(key) for key in ("account", "mapped_model", "failure", "status")), detail)


@dataclass(slots=True)
class Met:
    """A cause that was met. exchange: the one that is captured; since: monotonic seconds; times_told: its count."""

    exchange: str
    since: float
    times: int = 1
    times_told: int = 1


class Causes:
    """The causes that were met lately."""

    def __init__(self) -> None:
        self._met: OrderedDict[Cause, Met] = OrderedDict()

    def again(self, cause: Cause, now: float) -> Met | None:
        """Count a cause that has been met in the last minute; None for one that has not."""
        met = self._met.get(cause)
        if met is None or now - met.since >= WITHIN_S:
            return None
        met.times += 1
        return met

    def first(self, cause: Cause, exchange: str, now: float) -> None:
        """An exchange that failed for this cause is captured. Those before it have to have been `counted`."""
        self._met.pop(cause, None)
        self._met[cause] = Met(exchange, now)
        if len(self._met) > _MOST:
            self._met.popitem(last=False)

    def forget(self, exchange: str) -> None:
        """It could not be captured."""
        for cause, met in list(self._met.items()):
            if met.exchange == exchange:
                self._met.pop(cause, None)

    def counted(self) -> Iterator[Met]:
        """Those that have been met again since they were told; they are told with this."""
        for met in list(self._met.values()):
            if met.times > met.times_told:
                met.times_told = met.times
                yield met
