"""The body of an attempt as it comes, taken in shares: neither a few bytes that stand for gigabytes nor thousands of
tiny events take all of everybody's time."""

from collections import deque
from collections.abc import Iterator

from antigravity_healing.wire.http.encoding import PIECE_BYTES, DecodingError, Decompressor

SPARE_BYTES = 8 * 1024 * 1024
"""What a body may decode to whatever its length."""
MOST_EXPANDED = 64
"""How many times its length a body may decode to beside that."""
CROWDED_BYTES = 1024 * 1024
"""Of what has come and has not been taken yet: with more, upstream is to wait."""
WAITING_BYTES = 64 * 1024 * 1024
"""With more than this there is no waiting."""
MOST_LINES = 1024
"""Of a share of an event stream, about: what an event costs hardly depends on its length, and a healthy stream seldom
brings so many at once."""
LINE_ENDS = (b"\n", b"\r")
# What is looked at of an array, which may stand in one line.
BRACKETS = (b"{", b"}", b"[", b"]")
# Of a share of a coded body; one may be empty although it took its time.
_MOST_PIECES = 4
_SHORTEST_BYTES = 1024


class Intake:
    """What has come of a body.

    coding: the content-encoding header's value. Raises ValueError for one that can't be taken off.
    events: whether it is a stream of events. ends: the signs by which these are counted, about.
    """

    def __init__(self, coding: str = "") -> None:
        self.events = False
        self.ends: tuple[bytes, ...] = LINE_ENDS
        self._decompressor = Decompressor(coding)
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._decoding: Iterator[bytes] | None = None
        self._begun_bytes = 0
        self._left = b""
        self._may_take = False

    @property
    def waiting(self) -> bool:
        """Whether there is anything left to take."""
        return bool(self._pending) or bool(self._left) or self._decoding is not None

    @property
    def crowded(self) -> bool:
        """Whether so much waits that no more should come before it has been taken."""
        return self._pending_bytes > CROWDED_BYTES

    @property
    def due(self) -> bool:
        """Whether there is, and it is this body's turn."""
        return self.waiting and self._may_take

    def put(self, data: bytes) -> None:
        """More has come."""
        if data:
            self._pending.append(data)
            self._pending_bytes += len(data)
            self._may_take = True

    def allow(self) -> None:
        """Others have had their turn."""
        self._may_take = True

    def take_share(self) -> bytes:
        """The next share, which may be empty. Raises DecodingError, after which nothing is left."""
        self._may_take = False
        try:
            if self._pending_bytes > WAITING_BYTES:
                raise DecodingError("it comes faster than it can be read")
            return self._share()
        except DecodingError:
            self.drop()
            raise

    def rest(self) -> Iterator[bytes]:
        """All that is left, share by share. Raises DecodingError."""
        while self.waiting:
            yield self.take_share()

    def finish(self) -> None:
        """The body has ended and all has been taken. Raises DecodingError where its coding has not ended."""
        self._decompressor.finish()

    def drop(self) -> None:
        """Nothing that has come is wanted any more."""
        self._pending.clear()
        self._pending_bytes = 0
        self._decoding = None
        self._left = b""

    def _share(self) -> bytes:
        share: list[bytes] = []
        plain, size, lines, pieces = self._decompressor.plain, 0, 0, 0
        while self.waiting and lines < MOST_LINES and self._has_room(size, pieces):
            piece = self._next_piece()
            if plain and self.events and size + len(piece) > PIECE_BYTES:
                piece, self._left = piece[: PIECE_BYTES - size], piece[PIECE_BYTES - size :]
            count = sum(map(piece.count, self.ends)) if self.events else 0
            if lines + count > MOST_LINES:
                at = max(_SHORTEST_BYTES, len(piece) * (MOST_LINES - lines) // count)
                piece, self._left = piece[:at], piece[at:] + self._left
            share.append(piece)
            size, lines, pieces = size + len(piece), lines + count, pieces + 1
        return share[0] if len(share) == 1 else b"".join(share)

    def _has_room(self, size: int, pieces: int) -> bool:
        """Whether a share of so many bytes, in so many pieces, may get another one."""
        if self._decompressor.plain:
            return size < PIECE_BYTES or not self.events
        return size < PIECE_BYTES and pieces < _MOST_PIECES

    def _next_piece(self) -> bytes:
        """The next piece, decoded; an empty one where there is none, or none yet."""
        if self._left:
            piece, self._left = self._left, b""
            return piece
        if self._decompressor.plain:
            return self._popped()
        if self._decoding is None:
            data = self._popped()
            self._begun_bytes += len(data)
            self._decoding = self._decompressor.pieces(data)
        found = next(self._decoding, None)
        if found is None:
            self._decoding = None
        if self._decompressor.made > SPARE_BYTES + MOST_EXPANDED * self._begun_bytes:
            raise DecodingError(f"it decodes to more than {MOST_EXPANDED} times its length")
        return found or b""

    def _popped(self) -> bytes:
        data = self._pending.popleft()
        self._pending_bytes -= len(data)
        return data
