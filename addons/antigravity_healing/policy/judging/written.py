"""What the client gets of an attempt's events: the events themselves, others made of them, or one whole answer."""

from typing import Any, Protocol

from antigravity_healing.policy.judging.client_error import client_error
from antigravity_healing.policy.judging.failures import Failure
from antigravity_healing.wire.collecting import LONGEST, LONGEST_WHOLE
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.http.sse import SSEEvent
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.reading import Reading
from antigravity_healing.wire.translate.common import AnswerTranslator


class Writer(Protocol):
    """Makes the bytes for the client. One that is asked for them in vain gives b"".

    whole: whether nothing goes to the client before the answer is complete.
    """

    whole: bool

    def heartbeat(self, event: SSEEvent, reading: Reading) -> bytes:
        """For an event that only shows that upstream is alive."""

    def event(self, event: SSEEvent, reading: Reading, body: dict[str, Any]) -> bytes:
        """For an event that says this."""

    def end(self, *, marked: bool) -> bytes:
        """For upstream's regular end; `marked` is False where its own end marker is missing."""

    def error(self, failure: Failure, error: Any, event: SSEEvent) -> bytes:
        """For upstream's own error in the middle of the answer, which came in this event."""

    def failed(self, failure: Failure) -> bytes:
        """For a failure of ours in the middle of the answer."""

    @property
    def overfull(self) -> bool:
        """Whether more has come than one answer may have."""

    @property
    def broken(self) -> str:
        """Why what came can't be told as a good answer, "" if it can."""

    @property
    def continuation(self) -> str:
        """The token with which upstream has to be asked to go on, "" where its answer is complete."""


class Passing:
    """Passes the events of a stream on, as this dialect's clients bear them."""

    whole = False
    overfull = False
    broken = ""
    continuation = ""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def heartbeat(self, event: SSEEvent, reading: Reading) -> bytes:
        """The heartbeat itself."""
        return self._dialect.clean(event, reading)

    def event(self, event: SSEEvent, reading: Reading, body: dict[str, Any]) -> bytes:
        """The event itself."""
        return self._dialect.clean(event, reading)

    def end(self, *, marked: bool) -> bytes:
        """The bare end marker, where it is missing."""
        return b"" if marked else self._dialect.end_marker

    def error(self, failure: Failure, error: Any, event: SSEEvent) -> bytes:
        """The error in the form that the dialect's SDKs raise."""
        return self._dialect.relayed_error(error, event)

    def failed(self, failure: Failure) -> bytes:
        """What the dialect has to say before the connection is broken."""
        return self._dialect.cut_off(failure.status, f"{failure.detail}.")


class PassingArray:
    """Passes the events of a stream on as the elements of one JSON array.

    as_it_comes: whether upstream's is such an array, of which what is between the elements is passed on, too.
    """

    whole = False
    overfull = False
    broken = ""
    continuation = ""

    def __init__(self, dialect: Dialect) -> None:
        self.as_it_comes = False
        self._dialect = dialect
        self._framing = Framing(dialect, array=True)

    def heartbeat(self, event: SSEEvent, reading: Reading) -> bytes:
        """Blanks, and the closing bracket, which is no element either."""
        if not self.as_it_comes:
            return self._framing.blank()
        self._framing.ended = self._framing.ended or b"]" in event.raw
        return event.raw

    def event(self, event: SSEEvent, reading: Reading, body: dict[str, Any]) -> bytes:
        """The event as an element."""
        if not self.as_it_comes:
            return b"" if event.data is None else self._framing.element(event.data)
        self._framing.begun = True
        return event.raw

    def end(self, *, marked: bool) -> bytes:
        """The closing bracket, where it is missing."""
        return self._framing.end()

    def error(self, failure: Failure, error: Any, event: SSEEvent) -> bytes:
        """The error as the last element, behind which the connection is broken."""
        return self._framing.last(dump(self._dialect.shaped(error)))

    def failed(self, failure: Failure) -> bytes:
        """The same, in words of our own."""
        return self._framing.cut_off(failure.status, f"{failure.detail}.")


class Framing:
    """How the events of a stream are told apart in its body.

    begun, ended: whether the first element of an array, and the bracket behind its last one, have been written.
    """

    def __init__(self, dialect: Dialect, *, array: bool = False) -> None:
        """array: as the elements of one JSON array, which is what Gemini's clients get without `alt=sse`."""
        self._dialect = dialect
        self.begun = False
        self.ended = False
        self._array = array

    def event(self, event: dict[str, Any]) -> bytes:
        """The next event."""
        return self.element(dump(event)) if self._array else self._dialect.encode(event)

    def end(self) -> bytes:
        """The end of the body."""
        if not self._array or self.ended:
            return b""
        self.ended = True
        return b"]" if self.begun else b"[]"

    def failed(self, status: int, message: str) -> bytes:
        """An error in place of the end."""
        if not self._array:
            return self._dialect.late_error(status, message)
        return self.element(self._dialect.error_body(status, message)) + self.end()

    def relayed(self, error: Any) -> bytes:
        """Upstream's own error in place of the end."""
        if not self._array:
            return self._dialect.relayed_error(error)
        return self.element(dump(self._dialect.shaped(error))) + self.end()

    def late_error(self, status: int, message: str) -> bytes:
        """Upstream's error in the middle of the answer, in these words."""
        return self.cut_off(status, message) if self._array else self._dialect.late_error(status, message)

    def cut_off(self, status: int, message: str) -> bytes:
        """The last bytes before the connection is broken: an array stays open, or it would seem to be all."""
        if not self._array:
            return self._dialect.cut_off(status, message)
        return self.last(self._dialect.error_body(status, message))

    def blank(self) -> bytes:
        """What says nothing."""
        if not self._array:
            return self._dialect.keep_alive
        # Some clients bear no blanks before the array.
        return b"\r\n" if self.begun else b""

    def last(self, data: bytes) -> bytes:
        """A last element of an array that is not brought to its end; b"" where it has one already."""
        return b"" if self.ended else self.element(data)

    def element(self, data: bytes) -> bytes:
        """The next element of an array."""
        head, self.begun = b",\r\n" if self.begun else b"[", True
        return head + data


class Rewriting:
    """Gives the client other events than upstream's, or all of them as one whole answer.

    translator: makes the client's events of upstream's; None where they speak the same dialect.
    """

    def __init__(
        self,
        client: Dialect,
        translator: AnswerTranslator | None,
        *,
        whole: bool,
        framing: Framing,
        upstream: Dialect | None = None,
        longest: int = LONGEST_WHOLE,
    ) -> None:
        """
        upstream: its dialect, where what it says is to be remembered as it came.
        longest: how many bytes a whole answer may have.
        """
        self.whole = whole
        self.translator = translator
        self._client = client
        self.framing = framing
        self._collector = client.collector(longest if whole else LONGEST)
        self._own = upstream.collector(LONGEST) if upstream is not None else None

    @property
    def overfull(self) -> bool:
        """Whether more has come than one whole answer may have."""
        return self.whole and self._collector.overfull

    @property
    def broken(self) -> str:
        """As the translator says."""
        return self.translator.broken if self.translator else ""

    @property
    def continuation(self) -> str:
        """As the translator says."""
        return self.translator.continuation if self.translator else ""

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks or parts that the client got whole."""
        return self._collector.content

    @property
    def own(self) -> list[dict[str, Any]]:
        """The blocks or parts as upstream made them, those that came whole."""
        return self._own.content if self._own is not None else []

    @property
    def intact(self) -> bool:
        """Whether what came whole is all that came, on either side."""
        return self._own is not None and self._own.intact and self._collector.intact

    @property
    def answer(self) -> dict[str, Any] | None:
        """The whole answer; None unless all of it has come."""
        return self._collector.answer

    @property
    def flaw(self) -> str:
        """Why there is no whole answer although all has come."""
        return self._collector.flaw

    def heartbeat(self, event: SSEEvent, reading: Reading) -> bytes:
        """A keep-alive of the client's dialect."""
        return b"" if self.whole else self.framing.blank()

    def event(self, event: SSEEvent, reading: Reading, body: dict[str, Any]) -> bytes:
        """The client's events for this one."""
        return self.take_event(body)

    def take_event(self, body: dict[str, Any]) -> bytes:
        """The client's events for what upstream says here."""
        if self._own is not None:
            self._own.take(body)
        return self._written(self.translator.take(body) if self.translator else [body])

    def end(self, *, marked: bool = True) -> bytes:
        """The client's last events."""
        out = self._written(self.translator.end()) if self.translator else b""
        return out if self.whole else out + self.framing.end()

    def error(self, failure: Failure, error: Any, event: SSEEvent) -> bytes:
        """The error in the client's own words for it."""
        in_client_words = client_error(failure, error, self._client)
        return self.framing.late_error(in_client_words.status, in_client_words.message)

    def failed(self, failure: Failure) -> bytes:
        """What the client's dialect has to say before the connection is broken."""
        return self.framing.cut_off(failure.status, f"{failure.detail}.")

    def _written(self, events: list[dict[str, Any]]) -> bytes:
        for event in events:
            self._collector.take(event)
        return b"" if self.whole else b"".join(map(self.framing.event, events))
