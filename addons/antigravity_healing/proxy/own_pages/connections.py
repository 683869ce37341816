"""How many connections there are for the proxy's own pages."""

from typing import Protocol

MOST = 64
"""At once; the one that has been idle for longest makes room."""


class PageConnection(Protocol):
    """A connection. used: when something was last done on it, in monotonic seconds. idle: whether nothing is now."""

    used: float

    @property
    def idle(self) -> bool:
        """See the class."""

    def drop(self) -> None:
        """End it now."""


class PageConnections:
    """The connections that there are."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._all: dict[int, PageConnection] = {}

    def __len__(self) -> int:
        return len(self._all)

    def begun(self, connection: PageConnection) -> None:
        """One has begun; another one is dropped if they are too many."""
        if len(self._all) >= self._most:
            victim = min(self._all.values(), key=lambda each: (not each.idle, each.used))
            self.ended(victim)
            victim.drop()
        self._all[id(connection)] = connection

    def ended(self, connection: PageConnection) -> None:
        """One has ended."""
        self._all.pop(id(connection), None)
