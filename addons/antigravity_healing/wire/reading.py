"""What the answers of a wire protocol say, event by event: how they are read, and put together as a whole."""

from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from antigravity_healing.wire.http.sse import SSEEvent

MOST_OPEN = 10_000
"""How many blocks or candidates a stream may have open: far more than any has."""
LONGEST_INDEX = 40
"""Characters of a block's or candidate's index by which it is known: far more than a number has."""


class Kind(StrEnum):
    """What an event of a stream is worth."""

    HEARTBEAT = "heartbeat"
    META = "meta"
    CONTENT = "content"
    TERMINAL = "terminal"
    ERROR = "error"
    MALFORMED = "malformed"


class Reading(NamedTuple):
    """An event, understood.

    visible: it has something that a person sees: text or a tool call, not thinking.
    stop: the stop or finish reason that this event brings, also beside content; "" where it brings none.
    error: the error object, for Kind.ERROR.
    name: the event's right name, where it came without it; clients go by the name alone.
    flaw: what is wrong, for Kind.MALFORMED; "" where it is no JSON.
    """

    kind: Kind
    visible: bool = False
    stop: str = ""
    error: Any = None
    name: str = ""
    flaw: str = ""


class EmptyStop(StrEnum):
    """What a stop reason means when nothing came before it."""

    ANSWER = "answer"
    PLAIN = "plain"
    MALFORMED = "malformed"
    SIGNATURE = "signature"


class EventReader(Protocol):
    """Understands the events of one stream, in their order."""

    @property
    def stopped(self) -> bool:
        """Whether upstream has said why it stopped, and no content after that, so that a close is an end and no cut."""

    @property
    def owed(self) -> str:
        """What has to follow although upstream has stopped as if all were well, in words; "" for nothing."""

    @property
    def open(self) -> bool:
        """Whether something has begun and not been ended, so that a connection that breaks here cuts it."""

    @property
    def ended(self) -> bool:
        """Whether the protocol's own end has come."""

    @property
    def closed(self) -> bool:
        """Whether nothing may follow any more."""

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks or parts that have come whole so far."""

    @property
    def body(self) -> dict[str, Any]:
        """What the event that was read last says, {} where it says nothing."""

    def read(self, event: SSEEvent) -> Reading:
        """Understand the next event."""


class Collector(Protocol):
    """Puts a stream together as the answer that a request without streaming gets."""

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks or parts that have come whole so far."""

    @property
    def intact(self) -> bool:
        """Whether what has come whole is all that has come."""

    @property
    def answer(self) -> dict[str, Any] | None:
        """The whole answer; None unless it has come to its end."""

    @property
    def overfull(self) -> bool:
        """Whether more has come than is kept, so that there will be no answer."""

    @property
    def flaw(self) -> str:
        """Why a stream that has come to its end is no answer."""

    def take(self, event: dict[str, Any]) -> None:
        """Take what the next event says; never raises."""
