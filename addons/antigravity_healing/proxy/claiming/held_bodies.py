"""How much is held of clients' request bodies, all together."""

from collections.abc import Callable
from weakref import WeakKeyDictionary


class HeldBodies:
    """The bodies that are held until their requests are over. Those that stream by are none of them.

    A request that ended in a way that nobody thought of holds nothing any more as soon as it is gone.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        """most: gives how many bytes they may have together."""
        self._most = most
        self._sizes: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @property
    def most(self) -> int:
        """How many bytes may be held."""
        return self._most()

    @property
    def total(self) -> int:
        """How many bytes are held."""
        return sum(self._sizes.values())

    def have_room(self, request: object, size: int) -> bool:
        """Whether a request's body may have so many bytes now. While nothing else is held, it always may."""
        others = self.total - self._sizes.get(request, 0)
        return not others or others + size <= self._most()

    def hold(self, request: object, size: int) -> None:
        """A request's body has so many bytes by now."""
        if size:
            self._sizes[request] = size

    def let_go(self, request: object) -> None:
        """A request's body is held no longer, if it was."""
        self._sizes.pop(request, None)
