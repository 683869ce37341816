"""The body of an attempt as it comes, decoded in shares: a few bytes can stand for gigabytes."""

from collections.abc import Iterator

from healing.wire.encoding import PIECE_BYTES, DecodingError, Decompressor

SPARE_BYTES = 16 * 1024 * 1024
"""What a body may decode to whatever its length."""
MOST_EXPANDED = 64
"""How many times its length a body may decode to beside that."""
WAITING_BYTES = 64 * 1024 * 1024
"""Of what has come and has not been decoded yet."""
# Of a share; a piece may be empty although it took its time.
_PIECES = 4


class Intake:
    """What has come of a body. One that is not coded is taken as it is, all at once.

    coding: the content-encoding header's value. Raises ValueError for one that can't be taken off.
    """

    def __init__(self, coding: str = "") -> None:
        self._decompressor = Decompressor(coding)
        self._pending: list[bytes] = []
        self._pieces: Iterator[bytes] | None = None
        self._begun_bytes = 0
        self._may_take = False

    @property
    def waiting(self) -> bool:
        """Whether there is anything left to take."""
        return bool(self._pending) or self._pieces is not None

    @property
    def due(self) -> bool:
        """Whether there is, and it is this body's turn."""
        return self.waiting and self._may_take

    def put(self, data: bytes) -> None:
        """More has come."""
        if data:
            self._pending.append(data)
            self._may_take = True

    def allow(self) -> None:
        """Others have had their turn."""
        self._may_take = True

    def take(self) -> bytes:
        """The next share, which may be empty. Raises DecodingError, after which nothing is left."""
        self._may_take = False
        if self._decompressor.plain:
            return self._taken()
        try:
            return self._share()
        except DecodingError:
            self.drop()
            raise

    def rest(self) -> Iterator[bytes]:
        """All that is left, share by share. Raises DecodingError."""
        while self.waiting:
            yield self.take()

    def finish(self) -> None:
        """The body has ended and all has been taken. Raises DecodingError where its coding has not ended."""
        self._decompressor.finish()

    def drop(self) -> None:
        """Nothing that has come is wanted any more."""
        self._pending.clear()
        self._pieces = None

    def _taken(self) -> bytes:
        data = b"".join(self._pending)
        self._pending.clear()
        return data

    def _share(self) -> bytes:
        if sum(map(len, self._pending)) > WAITING_BYTES:
            raise DecodingError("it comes faster than it can be decoded")
        if self._pieces is None:
            data = self._taken()
            self._begun_bytes += len(data)
            self._pieces = self._decompressor.pieces(data)
        share = bytearray()
        for _ in range(_PIECES):
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                break
            share += piece
            if self._decompressor.made > SPARE_BYTES + MOST_EXPANDED * self._begun_bytes:
                raise DecodingError(f"it decodes to more than {MOST_EXPANDED} times its length")
            if len(share) >= PIECE_BYTES:
                break
        return bytes(share)
