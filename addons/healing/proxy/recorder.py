"""Keeping what streams by, for the flow list and saved files."""


class Recorder:
    """Keeps the first `limit_bytes` of a streamed body.

    An instance can be a message's `stream`: it is called with each piece and gives it back.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.truncated = False
        self._left = limit_bytes
        self._pieces: list[bytes] = []

    def __call__(self, data: bytes) -> bytes:
        """Keep a piece, and give it back for sending."""
        if len(data) <= self._left:
            self._pieces.append(data)
            self._left -= len(data)
        elif data:
            self._pieces.append(data[: self._left])
            self._left = 0
            self.truncated = True
        return data

    @property
    def content(self) -> bytes:
        """What has been kept."""
        return b"".join(self._pieces)
