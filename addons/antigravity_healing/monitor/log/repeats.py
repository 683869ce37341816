"""What is said again and again: said once, then counted."""

from collections import OrderedDict
from collections.abc import Hashable

WITHIN_S = 60.0
_MOST_KNOWN = 256


class Repeats:
    """Counts what repeats itself, each thing for a while at a time."""

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._known: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def times_unsaid(self, what: Hashable, now: float) -> int | None:
        """How often this has been met since it was said last, if it is to be said now; None if it is only counted."""
        said_at, unsaid = self._known.get(what, (None, 0))
        if said_at is not None and now - said_at < self._within_s:
            self._known[what] = (said_at, unsaid + 1)
            return None
        self._known[what] = (now, 0)
        self._known.move_to_end(what)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return unsaid
