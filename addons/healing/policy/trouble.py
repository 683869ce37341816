"""Trouble that lasts: said once when it begins and once when it is over, however often it is met in between."""

import logging


class Trouble:
    """One thing that can go wrong for a while.

    logger: where it is said. begins, ends: what is said then; `%s` in `begins` is the reason.
    """

    def __init__(self, logger: logging.Logger, begins: str, ends: str) -> None:
        self._logger = logger
        self._begins = begins
        self._ends = ends
        self.now = False
        """Whether it goes on."""

    def met(self, why: object) -> None:
        """It has gone wrong."""
        if not self.now:
            # Before it is said: whoever writes that down may be who is in trouble.
            self.now = True
            self._logger.warning(self._begins, why)

    def over(self) -> None:
        """It has worked."""
        if self.now:
            self.now = False
            self._logger.info("%s", self._ends)
