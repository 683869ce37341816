"""Keeping what streams by, for the flow list and saved files."""

import logging

logger = logging.getLogger(__name__)


class Recorder:
    """Keeps the first `limit_bytes` of a streamed body."""

    def __init__(self, limit_bytes: int) -> None:
        self.truncated = False
        self._left = limit_bytes
        # Not a list: each of many short pieces would take several times its length.
        self._kept = bytearray()

    def __call__(self, data: bytes) -> None:
        """Keep a piece."""
        if len(data) <= self._left:
            self._kept += data
            self._left -= len(data)
        elif data:
            self._kept += data[: self._left]
            self._left = 0
            self.truncated = True

    def keep(self, data: bytes) -> None:
        """Keep a piece; no stream fails because its record does."""
        try:
            self(data)
        except Exception:
            logger.exception("a body could not be recorded")

    def __len__(self) -> int:
        """How many bytes have been kept."""
        return len(self._kept)

    def take_body(self) -> bytes:
        """What has been kept, which is not here any more then: a stream that is over may not be forgotten for long."""
        taken, self._kept = bytes(self._kept), bytearray()
        return taken
