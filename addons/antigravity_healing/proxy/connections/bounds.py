"""What bounds connections: the proxy's limits as they are now, and the time."""

from typing import Protocol

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.settings.schema import Config


class Bounds(Protocol):
    """What connections ask of the proxy, whose configuration may change under them."""

    @property
    def config(self) -> Config:
        """The configuration, with its `limits`."""

    @property
    def clock(self) -> Clock:
        """The clock."""
