"""How many HTTP/2 frames that carry nothing a peer may send, and how many frames are understood in a turn."""

from antigravity_healing.policy.clock import Clock
from antigravity_healing.wire.http.http2_frames import Frame, FrameType, FrameWalker

FRAMES_A_TURN = 8
"""As many are understood in one turn of the event loop: a request takes some milliseconds, and a read may hold 7,000
frames of nothing, of 0.2 ms each."""

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


class FrameFeed:
    """Holds what has come until it is taken. skipped: how many bytes come before the first frame."""

    def __init__(self, skipped: int = 0) -> None:
        self._walker = FrameWalker(skipped)
        self._waiting = b""
        self._at = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return self._at < len(self._waiting)

    def add(self, data: bytes) -> None:
        """More has come."""
        self._waiting = self._waiting[self._at :] + data
        self._at = 0

    def take_frames(self) -> tuple[bytes, list[Frame]]:
        """Take what may be understood in one turn, and which frames end with it."""
        begin, frames = self._at, list[Frame]()
        while self and len(frames) < FRAMES_A_TURN:
            self._at, frame = self._walker.step(self._waiting, self._at)
            if frame is not None:
                frames.append(frame)
        return self._waiting[begin : self._at], frames

    def clear(self) -> None:
        """What waits is not wanted any more."""
        self._waiting, self._at = b"", 0
