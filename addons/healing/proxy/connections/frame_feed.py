"""What has come on an HTTP/2 connection, a bounded number of frames at a time."""

from healing.wire.http.http2_frames import Frame, FrameWalker

FRAMES_A_TURN = 8
"""As many are understood in one turn of the event loop: a request takes some milliseconds, and a read may hold 7,000
frames of nothing, of 0.2 ms each."""


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

    def take(self) -> tuple[bytes, list[Frame]]:
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
