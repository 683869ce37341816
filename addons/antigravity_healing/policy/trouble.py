"""Trouble that lasts: said once when it begins and once when it is over, however often it is met in between."""

import logging
from collections.abc import Iterator
from weakref import WeakSet


class Trouble:
    """One thing that can go wrong for a while.

    logger: where it is said. begins, ends: what is said then; `%s` in `begins` is the reason. do: what a person can do
    about it; about: what it is about, to tell it from others.
    """

    def __init__(self, logger: logging.Logger, begins: str, ends: str, *, do: str = "", about: str = "") -> None:
        self.do = do
        self.about = about or begins
        self.in_words = ""
        """What is wrong while it goes on."""
        self._logger = logger
        self._begins = begins
        self._ends = ends
        self.now = False
        """Whether it goes on."""
        _ALL.add(self)

    def met(self, why: object) -> None:
        """It has gone wrong."""
        if not self.now:
            # Before it is said: whoever writes that down may be who is in trouble.
            self.now = True
            self.in_words = self._begins % (why,)
            self._logger.warning("%s", self.in_words)

    def over(self) -> None:
        """It has worked."""
        if self.now:
            self.now = False
            self._logger.info("%s", self._ends)


_ALL: WeakSet[Trouble] = WeakSet()


def going_on() -> Iterator[Trouble]:
    """All trouble that there is now in this process."""
    return (each for each in list(_ALL) if each.now)
