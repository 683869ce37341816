"""The frames of an HTTP/2 connection as they lie in its bytes (RFC 9113, section 4), without what is in them."""

from enum import IntEnum
from typing import NamedTuple

PREFACE_BYTES = 24
"""What a client says before its first frame."""
_HEAD_BYTES = 9
_PADDED = 0x8


class FrameType(IntEnum):
    """The types of RFC 9113."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_MAY_BE_PADDED = (FrameType.DATA, FrameType.HEADERS)


class Frame(NamedTuple):
    """A frame that is complete. type: a `FrameType` or any other number. size: bytes of payload without padding."""

    type: int
    flags: int
    size: int


class FrameWalker:
    """Goes from frame to frame through the bytes of one direction, which may be split anywhere.

    skipped: how many bytes come before the first frame.
    """

    def __init__(self, skipped: int = 0) -> None:
        self._skipped = skipped
        self._head = bytearray()
        self._left = 0

    def step(self, data: bytes, at: int) -> tuple[int, Frame | None]:
        """Go on at a place in what has come.

        Gives the place behind the next frame that is complete, and that frame; the end of the data, and None, where
        there is none.
        """
        skipped = min(self._skipped, len(data) - at)
        self._skipped -= skipped
        at = self._complete_head(data, at + skipped)
        if len(self._head) < _HEAD_BYTES:
            return at, None
        of_body = min(self._left, len(data) - at)
        self._left -= of_body
        at += of_body
        if self._left or self._wants_padding():
            return at, None
        padding = sum(self._head[_HEAD_BYTES:]) + len(self._head) - _HEAD_BYTES
        frame = Frame(self._head[3], self._head[4], max(0, int.from_bytes(self._head[:3]) - padding))
        self._head.clear()
        return at, frame

    def _complete_head(self, data: bytes, at: int) -> int:
        """Take what is still missing of a frame's head, with the length of its padding; gives the place behind it."""
        if (missing := _HEAD_BYTES - len(self._head)) > 0:
            begun = data[at : at + missing]
            self._head += begun
            at += len(begun)
            if len(self._head) < _HEAD_BYTES:
                return at
            self._left = int.from_bytes(self._head[:3])
        if self._wants_padding() and at < len(data):
            self._head.append(data[at])
            self._left -= 1
            at += 1
        return at

    def _wants_padding(self) -> bool:
        """Whether the next byte says how much of the payload is padding."""
        head = self._head
        padded = head[3] in _MAY_BE_PADDED and head[4] & _PADDED
        return bool(padded) and len(head) == _HEAD_BYTES and self._left > 0
