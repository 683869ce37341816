"""What one exchange may spend until it gives up: tries, seconds of waiting, and retries of the whole process."""

from antigravity_healing.policy.exchange.retry_table import RetryBudget
from antigravity_healing.policy.settings import schema

MOST_WAITED_OUT = 32
"""Failures of one exchange that are waited out: beyond that it is no spell."""
LAST_WAIT_S = 0.5
"""The last wait is as long as what is left, if that is at least so much."""
_ROUNDING_S = 1e-9


class Spending:
    """Keeps count for one exchange.

    waited_s: seconds of waiting that have been planned so far.
    uncounted: how many attempts count against no budget of tries.
    ended_by: which budget has allowed no other try, in words; "" as long as none has.
    """

    def __init__(self, settings: schema.Retry, budget: RetryBudget) -> None:
        self.waited_s = 0.0
        self.uncounted = 0
        self.ended_by = ""
        self._settings = settings
        self._budget = budget
        self._waited_out = 0

    def fits(self, wait_s: float) -> bool:
        """Whether so long may still be waited."""
        return wait_s <= self._left_s + _ROUNDING_S

    def fitted(self, wait_s: float, least_s: float) -> float:
        """This wait, made shorter where it is longer than what is left. least_s: it has to be so long."""
        if self.fits(wait_s) or self._left_s < LAST_WAIT_S:
            return wait_s
        return max(least_s, self._left_s)

    def wait_out(self) -> None:
        """The attempt that failed uses up no try: what is spent on it is time."""
        self._waited_out += 1
        self.uncounted += 1

    def allows_another(self, tries: int, now: float) -> bool:
        """Whether another attempt is allowed after so many that count."""
        if tries >= self._settings.max_attempts:
            self.ended_by = f"its tries are used up (max_attempts = {self._settings.max_attempts})"
        elif self._waited_out > MOST_WAITED_OUT:
            self.ended_by = f"it has been waited out {MOST_WAITED_OUT} times"
        elif self._budget.left(now) <= 0:
            self.ended_by = f"the proxy's budget of retries is used up (spare_retries = {self._budget.spare})"
        return not self.ended_by

    def takes(self, wait_s: float) -> bool:
        """Wait so long, if that fits."""
        if self.fits(wait_s):
            self.waited_s += wait_s
            return True
        self.ended_by = f"its time is used up: the wait would go beyond max_wait = {self._settings.max_wait:g} s"
        return False

    @property
    def _left_s(self) -> float:
        return self._settings.max_wait - self.waited_s
