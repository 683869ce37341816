"""How much a peer may say on an HTTP/2 connection that carries nothing."""

from healing.policy.clock import Clock
from healing.wire.http.http2_frames import Frame, FrameType

A_MINUTE_S = 60.0
_CARRYING = (FrameType.DATA, FrameType.HEADERS, FrameType.CONTINUATION)
_SETTING_BYTES = 6
_FOR_A_HEAD = 8.0
_FOR_DATA = 4.0
_BYTES_EACH = 8
_BYTES_MORE = 1024


class FrameBudget:
    """A bucket that runs dry in a minute, beside what a peer earns by what it is told and what it says.

    For each frame of data it may give back two windows and measure the way with a ping; for each head it may say what
    matters how much, and take it back. clock: gives seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent, self._at = 0.0, clock.now()
        self._earned = 0.0

    def told_head(self) -> None:
        """The peer has been sent a request or an answer."""
        self._earned += _FOR_A_HEAD

    def told_data(self, size: int) -> None:
        """The peer has been sent a frame with so many bytes of data. Those who ask byte by byte earn little."""
        self._earned += min(_FOR_DATA, size / _BYTES_EACH) + size / _BYTES_MORE

    def allows(self, frame: Frame, most: int) -> bool:
        """Count a frame that has come; whether it is not one too many. most: how many carry nothing, in a minute."""
        cost = idle_cost(frame)
        if cost == 0:
            self._earned += frame.type == FrameType.DATA
            return True
        paid = min(self._earned, cost)
        self._earned -= paid
        now = self._clock.now()
        self._spent = max(0.0, self._spent - (now - self._at) * most / A_MINUTE_S) + cost - paid
        self._at = now
        return self._spent <= most


def idle_cost(frame: Frame) -> int:
    """How many frames that carry nothing this one counts for; 0 for one that carries something.

    The empty frame at the end of a message is paid with its head.
    """
    if frame.type in _CARRYING:
        return int(frame.size == 0)
    if frame.type == FrameType.SETTINGS:
        return max(1, frame.size // _SETTING_BYTES)
    return 1
