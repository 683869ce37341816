"""What the servers for HTTP/1 and HTTP/2 have in common, which take no more from a client than they have to."""

from dataclasses import dataclass

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator

from healing.proxy.claiming.governor import Governor
from healing.proxy.internals.http_layer import HttpEvent, ResponseProtocolError


@dataclass
class RestUnwanted(HttpEvent):
    """The answer is complete; what is still to come of its request is not wanted."""


@dataclass
class ResetResponse(ResponseProtocolError):  # noqa: N818
    """The answer is broken off, with a reset where its connection is its own and nothing on it waits to be sent."""


class HeadClock:
    """How long a head may take. Nothing runs while none is under way."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._since: float | None = None
        self._timer: commands.RequestWakeup | None = None

    @property
    def seconds(self) -> float:
        """How long that is."""
        return self._governor.config.limits.head_seconds

    def start(self) -> CommandGenerator[None]:
        """A head has begun, now or before."""
        if self._since is None:
            self._since = self._governor.clock.now()
            yield from self._arm()

    def stop(self) -> None:
        """It is complete."""
        self._since = None

    def has_run_out(self, event: events.Wakeup) -> CommandGenerator[bool]:
        """A generator that says whether this is the end of a head's time."""
        if event.command is not self._timer:
            return False
        self._timer = None
        if self._since is None:
            return False
        if self._governor.clock.now() >= self._since + self.seconds:
            return True
        # Started for a head before this one.
        yield from self._arm()
        return False

    def _arm(self) -> CommandGenerator[None]:
        if self._timer is None and self._since is not None:
            self._timer = commands.RequestWakeup(max(0.0, self._since + self.seconds - self._governor.clock.now()))
            yield self._timer
