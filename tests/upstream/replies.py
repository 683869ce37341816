"""What the faulty upstream plays for one received call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Literal, TypedDict, Unpack

from .calls import Call
from .coding import Coder, Encoding

type Before = Literal["answer", "close", "reset", "stall"]
type End = Literal["normal", "cut", "reset", "stall"]

# A length that is promised and then not kept, so that a cut of a counted body shows as a cut.
UNKEPT = 1 << 20


class Playing(TypedDict, total=False):
    """The fields of a `Reply` that say how it is played; the helper constructors pass them on."""

    name: str
    content_length: bool
    gap: float
    end_gap: float
    until: Event
    delay: float
    head_gap: float
    split: int | None
    end: End
    heartbeat: bytes | None
    heartbeat_gap: float
    before: Before
    encoding: Encoding | None
    http10: bool


@dataclass(frozen=True)
class Reply:
    """A response and the faults it comes with. All times are in seconds, all sizes in bytes."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent as they are; a `content-length` given here replaces the one that would be computed."""
    body: bytes | None = None
    """A body that does not stream, sent with its content-length. Goes before `chunks`."""
    chunks: Sequence[bytes] = ()
    """The pieces of a stream, one HTTP/1 chunk or HTTP/2 DATA frame each; empty ones are left out."""
    content_length: bool = False
    """Send `chunks` with a content-length instead of chunked. An end that is not normal leaves the promise unkept."""
    gap: float = 0
    """Between two pieces."""
    end_gap: float = 0
    """Between the last piece and the end."""
    until: Event | None = None
    """The last piece waits for this."""
    delay: float = 0
    """Before the response head, or before what `before` does."""
    head_gap: float = 0
    """Between the head and the first byte of the body."""
    split: int | None = None
    """Cut the whole (encoded) body anew into pieces of this many bytes."""
    end: End = "normal"
    """After the last piece: finish; FIN in mid-answer; RST (HTTP/2: RST_STREAM); silence until the client leaves."""
    heartbeat: bytes | None = None
    """With `end="stall"`: these bytes again and again instead of silence, first after one `heartbeat_gap`."""
    heartbeat_gap: float = 0.05
    before: Before = "answer"
    """"close" (FIN), "reset" and "stall" happen instead of an answer, before any byte of it."""
    encoding: Encoding | None = None
    """Compress the body, flushed after each piece, and say so in content-encoding."""
    http10: bool = False
    """Answer as HTTP/1.0 whose body ends with the connection. Without meaning on HTTP/2."""
    name: str = ""
    """For people: what this reply is called in logs and failed assertions."""

    def __post_init__(self) -> None:
        if self.split is not None and self.split < 1:
            raise ValueError(f"split is a number of bytes from 1, not {self.split}")
        if self.heartbeat is not None and self.end != "stall":
            raise ValueError('heartbeat goes with end="stall"')
        if self.heartbeat is not None and self.heartbeat_gap <= 0:
            raise ValueError("heartbeat_gap must be more than 0 seconds")

    @property
    def whole(self) -> bytes:
        """The body before any encoding: what a client should have got when all went well."""
        return self.body if self.body is not None else b"".join(self.chunks)

    def but(self, **changes: Unpack[Playing]) -> Reply:
        """The same reply, played differently."""
        return replace(self, **changes)

    def first(self, count: int, end: End = "cut") -> Reply:
        """Only the first `count` chunks, then `end`."""
        return replace(self, chunks=tuple(self.chunks[:count]), end=end)

    def inserted(self, at: int, *chunks: bytes) -> Reply:
        """The same reply with `chunks` put in before the chunk number `at` (negative: counted from the end)."""
        return replace(self, chunks=(*self.chunks[:at], *chunks, *self.chunks[at:]))

    def pieces(self, coder: Coder) -> list[bytes]:
        """The body as it is written: encoded by `coder`, split, without empty pieces."""
        parts = [self.body] if self.body is not None else list(self.chunks)
        coded = [coder.piece(part) for part in parts if part]
        if self.end == "normal" and (rest := coder.finish()):
            # Joined to the last piece, so that the end of the coding costs no gap of its own.
            coded[-1:] = [b"".join(coded[-1:]) + rest]
        if self.split is not None:
            joined = b"".join(coded)
            return [joined[at : at + self.split] for at in range(0, len(joined), self.split)]
        return [piece for piece in coded if piece]

    def promised_length(self, pieces: Sequence[bytes]) -> int | None:
        """The content-length to send with `pieces`, in bytes; None when the body is not counted."""
        if self.http10 or (self.body is None and not self.content_length):
            return None
        return sum(map(len, pieces)) + (0 if self.end == "normal" else UNKEPT)


type Play = Reply | Callable[[Call], Reply]
"""A reply, or what makes one for the call that was received."""
