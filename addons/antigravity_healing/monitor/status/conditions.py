"""Standing conditions: what is wrong for a while, since when, how often it was met, and what to do about it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from antigravity_healing.monitor.status.finding_conditions import Found, found_in
from antigravity_healing.policy.journal.findings import clock_time
from antigravity_healing.policy.journal.records import Journal, Record, needs_a_hand
from antigravity_healing.policy.judging.failures import FailureClass, counted
from antigravity_healing.proxy.claiming.state import State

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SAID_ELSEWHERE = ("machine", "configuration")
"""Kinds that whoever met them has said in the log already."""
_MOST_MET = 10_000


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong for a while.

    kind, about: together they tell it from others. since, until: seconds since 1970; None: nobody knows the end.
    count: attempts that have met it since. account: whose reset would end it, "" where none would.
    """

    kind: str
    about: str
    what: str
    do: str
    since: float
    until: float | None = None
    count: int = 0
    account: str = ""

    @property
    def needs_a_hand(self) -> bool:
        """Whether it does not end by itself."""
        return needs_a_hand(self.do)

    def told(self) -> dict[str, Any]:
        """It as JSON has it, wherever it is told."""
        until = None if self.until is None else round(self.until, 1)
        return {**asdict(self), "since": round(self.since, 1), "until": until, "needs_a_hand": self.needs_a_hand}

    def in_words(self, now: float) -> str:
        """It in one line. now: seconds since 1970."""
        times = f", met {counted(self.count, 'time')}" if self.count else ""
        return f"{self.what} (since {clock_time(self.since, now)}{times})"


class Conditions:
    """Knows what is wrong, and says in the log when that begins and when it is over."""

    def __init__(self, journal: Journal, state: Callable[[], State | None]) -> None:
        """state: gives the proxy's state of now, None where there is none."""
        self._state = state
        self._known: dict[tuple[str, str], Condition] = {}
        self._met: Counter[tuple[str, str]] = Counter()
        self._watch: asyncio.Task[None] | None = None
        journal.listen(self._hear)

    def running(self) -> None:
        """Begin to look."""
        self._watch = asyncio.get_running_loop().create_task(self._look_now_and_then(), name="antigravity conditions")

    def done(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()

    def now(self) -> list[Condition]:
        """What is wrong now, what needs a hand first."""
        state = self._state()
        if state is not None:
            self.look(found_in(state), state.clock.wall())
        return sorted(self._known.values(), key=lambda each: (not each.needs_a_hand, each.since))

    def kinds(self) -> Counter[str]:
        """How many there are that need a hand, by their kind."""
        return Counter(each.kind for each in self.now() if each.needs_a_hand)

    def look(self, found: Iterable[Found], now: float) -> None:
        """Take up what is found now (seconds since 1970): what is new begins, what is missing is over."""
        current = {(each.kind, each.about): each for each in found}
        for key in self._known.keys() - current.keys():
            over = self._known.pop(key)
            del self._met[key]
            if key[0] not in SAID_ELSEWHERE:
                logger.info("over: %s", over.in_words(now))
        for key, each in current.items():
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = Condition(
                    each.kind, each.about, each.what, each.do, now, each.until, self._met[key], each.account
                )
                self._say(known)
            elif (known.what, known.do, known.until) != (each.what, each.do, each.until):
                self._known[key] = replace(known, what=each.what, do=each.do, until=each.until)

    @staticmethod
    def _say(condition: Condition) -> None:
        if condition.kind in SAID_ELSEWHERE:
            return
        if condition.needs_a_hand:
            logger.warning("needs a hand: %s | TO DO: %s", condition.what, condition.do)
        else:
            logger.info("for a while: %s", condition.what)

    def _hear(self, record: Record) -> None:
        """Count an attempt that has met one of them: the one by which it is found out, too."""
        attempt = record.attempt
        if record.step != "attempt_over" or attempt is None:
            return
        if attempt.failure is None:
            del self._met["strikes", attempt.account]
            return
        for key in _met_by(attempt.account, str(attempt.failure), attempt.mapped_model):
            self._met[key] += 1
            if len(self._met) > _MOST_MET:
                self._met.clear()
            if (known := self._known.get(key)) is not None:
                self._known[key] = replace(known, count=known.count + 1)

    async def _look_now_and_then(self) -> None:
        while True:
            try:
                self.now()
            except Exception:
                logger.exception("it could not be found out what is wrong; this is a bug")
            await asyncio.sleep(LOOK_EVERY_S)


def _met_by(account: str, failure: str, model: str) -> Iterator[tuple[str, str]]:
    yield failure, account
    yield failure, f"{account} {model}"
    yield "strikes", account
    if failure == FailureClass.LOCAL:
        yield "no_key", account
