"""The gate between an upstream's stream and the client: hold, commit, or fail.

Everything is held until the first content. After that each event is still read, since errors and cuts come late too.
"""

import logging
from dataclasses import replace
from typing import Any, Protocol

from antigravity_healing.policy.judging.failures import Failure, FailureClass, classify
from antigravity_healing.policy.judging.written import Passing, PassingArray, Writer
from antigravity_healing.policy.settings.schema import Commit
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.errors.parsing import read_error
from antigravity_healing.wire.errors.signature_refusals import SignatureFault
from antigravity_healing.wire.http.json_array import ArrayDecoder
from antigravity_healing.wire.http.sse import SSEDecoder, SSEEvent
from antigravity_healing.wire.reading import EmptyStop, Kind, Reading
from antigravity_healing.wire.usage import AnswerTally

logger = logging.getLogger(__name__)

HELD_EVENTS = 256
HELD_BYTES = 1024 * 1024
LONGEST_BYTES = 64 * 1024 * 1024
LONGEST_EVENT = 32 * 1024 * 1024
LONGEST_PING = 256
"""Bytes of an event that has begun up to which it may be nothing but a sign of life."""
MOST_REWRITTEN = 4
"""How many times longer the events of an answer may be that is made into another one: what makes it remembers much."""
_BAD_GATEWAY = 502
EMPTY_CLASS = {
    EmptyStop.PLAIN: FailureClass.EMPTY,
    EmptyStop.MALFORMED: FailureClass.MALFORMED,
    EmptyStop.SIGNATURE: FailureClass.SIGNATURE,
}


def no_answer(dialect: Dialect, stop: str, *, content: bool, visible: bool) -> Failure | None:
    """The failure that an answer is which says nothing, or nothing but thoughts, or whose stop reason is one.

    None for an answer: one with something in it, or with a stop reason that says why there is nothing.
    """
    kind = EMPTY_CLASS.get(dialect.empty_stop(stop))
    if kind is None or (visible and not dialect.broken_stop(stop)):
        return None
    what = "a broken turn" if visible else "nothing but thoughts" if content else "0 tokens"
    fault = SignatureFault.CALL_UNSIGNED if kind is FailureClass.SIGNATURE else None
    return Failure(kind, f"200 OK but {what} (stop reason {stop or 'none'})", _BAD_GATEWAY, fault=fault)


def too_long(longest: int, limit: str = "answer_bytes") -> Failure:
    """The failure of an answer of which more came than a limit allows for. Asked again it would be as long."""
    detail = f"more came than the {longest:,} bytes that limits.{limit} allows for"
    return Failure(FailureClass.MALFORMED, detail, _BAD_GATEWAY, again=False)


class Decoder(Protocol):
    """Makes events of the bytes of a stream."""

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their event."""

    @property
    def rest(self) -> bytes:
        """The bytes that wait for the rest of their event."""

    def completes(self, data: bytes) -> bool:
        """Whether an event that has begun may be complete with these bytes."""

    def decode(self, data: bytes) -> list[SSEEvent]:
        """Take the next bytes, give the events that are complete now."""

    def flush(self) -> list[SSEEvent]:
        """The stream has ended: give what is left."""


class Gate:
    """Decides for one stream. `feed` and `end_stream` give the bytes that may go to the client now.

    committed: whether bytes have been let through; from then on `failure` can no longer be retried.
    failure: why the stream does not serve, None while it does.
    content: whether content has been seen.
    progress: grows with all that comes but signs of life.
    overflowed: whether more came than is held, so that it was committed before its time.
    relayed_error: upstream's own error object, if that is the failure.
    """

    def __init__(
        self,
        dialect: Dialect,
        commit: Commit,
        *,
        grace_s: float,
        wall_s: float,
        writer: Writer | None = None,
        longest: int = LONGEST_BYTES,
        longest_event: int = LONGEST_EVENT,
        asked: Any = None,
        tally: AnswerTally | None = None,
        array: bool = False,
    ) -> None:
        """
        dialect: upstream's. asked: what the body of the request says. commit: what to wait for.
        writer: makes what the client gets; None passes the events on. One that is whole lets nothing through.
        longest: how many bytes may be held of an answer until it is whole. longest_event: how many an event may have.
        tally: takes down what the events tell of the answer.
        array: whether the client gets the events as one JSON array.
        """
        self._array = PassingArray(dialect) if array and writer is None else None
        self.writer: Writer = writer or self._array or Passing(dialect)
        self._passing = writer is None and not array
        self.committed = False
        self.failure: Failure | None = None
        self.content = False
        self.progress = 0
        self.overflowed = False
        self.stop = ""
        self.relayed_error: object = None
        self._visible = False
        self._dialect = dialect
        self._reader = dialect.reader(asked)
        self._tally = dialect.answer_tally() if tally is None else tally
        self._decoder: Decoder = SSEDecoder()
        self._commit_at = commit
        self._grace_s = grace_s
        self._wall_s = wall_s
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._read_bytes = 0
        self._longest = longest
        self._longest_event = longest_event
        self._events = 0
        self._event_seen = False
        self._made_something = False
        self._passes_unseen = False
        self._served_anyway = False
        self._fragment = False
        self._unsent: list[bytes] = []

    @property
    def rewrites(self) -> bool:
        """Whether the client gets something else than upstream's own events."""
        return not self._passing

    @property
    def complete(self) -> bool:
        """Whether upstream has said all there is to say, so that nothing is lost if it goes silent now."""
        return self._reader.stopped and self.failure is None and not self._reader.owed

    @property
    def closed(self) -> bool:
        """Whether the protocol's own end has come, behind which nothing is looked at any more."""
        return self._reader.closed and self.failure is None

    @property
    def no_answer(self) -> Failure | None:
        """The failure that what has come is if nothing more comes, None if it is an answer. See `no_answer`."""
        if self._passes_unseen or not self._reader.stopped:
            return None
        return no_answer(self._dialect, self.stop, content=self.content, visible=self._visible)

    def take_array(self) -> None:
        """What will be fed is one JSON array, and no server-sent events."""
        self._decoder = ArrayDecoder()
        self._passing = self._array is not None
        if self._array is not None:
            self._array.as_it_comes = True

    def looks_at(self, data: bytes) -> int:
        """How many bytes `feed` will look at with these, or `end_stream` with none: a long event is read at its end."""
        return self._decoder.pending + len(data) if not data or self._decoder.completes(data) else len(data)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the stream."""
        if self._passes_unseen:
            return data
        events = self._decoder.decode(data)
        out = [self._read_events(events)]
        # A long event may take its time; a ping in pieces is no progress.
        self.progress += self._decoder.pending > LONGEST_PING
        if self.failure is None and self._decoder.pending > self._longest_event:
            out.append(self._fail(too_long(self._longest_event, "event_bytes")))
        if self.failure is None and self._is_too_long():
            out.append(self._fail(too_long(self._longest)))
        if self.committed:
            self._unsent = []
        elif self._passing:  # nobody could go on with what was made for another
            self._unsent += [event.raw for event in events]
        return b"".join(out)

    def _is_too_long(self) -> bool:
        rewritten = not self._passing and self._read_bytes > MOST_REWRITTEN * self._longest
        return rewritten or self.writer.overfull

    @property
    def signed_content(self) -> list[dict[str, Any]]:
        """The blocks or parts that have come whole: what a client may send again in its next request."""
        return self._reader.content

    def unsent(self) -> bytes:
        """All that has been fed and has not come out, as it came: for one who has to go on without this gate."""
        return b"".join((*self._unsent, self._decoder.rest)) if self._passing else b""

    def end_stream(self, broken: str = "") -> bytes:
        """The body has ended: in the regular way, or `broken` says how the connection broke."""
        if self._is_over():
            return b""
        out = self._read_events(self._decoder.flush())
        if self.committed:
            self._unsent = []
        if self._is_over():
            return out
        if failure := self._cut(broken):
            return out + self._fail(failure)
        if not self.committed and not self._served_anyway and (failure := self.no_answer):
            self.failure = failure
            return out
        return out + self._finish()

    def _cut(self, broken: str) -> Failure | None:
        """The failure that an end at this place is, None where all has been said."""
        reader, why = self._reader, f": {broken}" if broken else ""
        if not self._event_seen:
            kind = FailureClass.CUT if broken else FailureClass.EMPTY
            return Failure(kind, f"Stream ended immediately{why}", _BAD_GATEWAY)
        if reader.closed:
            return None
        if not reader.stopped:
            missing = "no stop reason came"
        elif reader.owed:
            missing = f"{reader.owed} did not come"
        elif self._fragment or (broken and reader.open):
            missing = "what had begun was not ended"
        else:
            return None
        return Failure(FailureClass.CUT, f"Stream ended {self._where}{why or f', {missing}'}", _BAD_GATEWAY)

    def _is_over(self) -> bool:
        """Whether nothing is judged any more."""
        return self.failure is not None or self._passes_unseen

    def _finish(self) -> bytes:
        """Upstream has said all: the end, unless its answer is to be continued, or can't be told."""
        if self.writer.continuation:
            return b""
        if why := self.writer.broken:
            return self._fail(Failure(FailureClass.MALFORMED, why, _BAD_GATEWAY))
        out = self._let_through(self.writer.end(marked=self._reader.ended))
        return out if self.committed or self.writer.whole else out + self.commit()

    def _read_events(self, events: list[SSEEvent]) -> bytes:
        out = []
        for number, event in enumerate(events):
            if self._reader.closed:
                break
            try:
                out.append(self._read_whole_event(event) if event.complete else self._read_last_event(event))
            except Exception:
                if not self._passing:
                    raise
                # A bug here must not cost the client its answer: from now on everything passes unseen.
                logger.exception("an event could not be read; the rest of the stream passes as it comes")
                self._passes_unseen = True
                rest = [*events[number:], *self._decoder.flush()]
                return b"".join((*out, self.commit(), *(event.raw for event in rest)))
            if self.failure is not None:
                break
        return b"".join(out)

    def _read_whole_event(self, event: SSEEvent) -> bytes:
        self._read_bytes += len(event.raw)
        return self._judge_event(event, self._reader.read(event))

    def stop_short(self, failure: Failure) -> bytes:
        """The stream can't go on: a failure, unless upstream had said all there is to say."""
        return self.end_stream() if self.complete else self._fail(failure)

    def commit(self) -> bytes:
        """Let through all that is held."""
        self.committed = True
        held, self._held = b"".join(self._held), []
        return held

    def deliver_anyway(self) -> bytes:
        """Let what is no answer through after all, since no try is left, to its end."""
        self.failure = None
        self._served_anyway = True
        return (b"" if self.writer.whole else self.commit()) + self.end_stream()

    def _judge_event(self, event: SSEEvent, reading: Reading) -> bytes:
        if reading.kind is Kind.HEARTBEAT:
            return self._let_through(self.writer.heartbeat(event, reading))
        self.progress += 1
        match reading.kind:
            case Kind.ERROR:
                return self._fail_with_error(event, reading)
            case Kind.MALFORMED:
                detail = f"Stream error {self._where}: {reading.flaw or 'data that is not JSON'}"
                return self._fail(Failure(FailureClass.MALFORMED, detail, _BAD_GATEWAY))
            case Kind.CONTENT:
                self.content = True
                self._visible = self._visible or reading.visible
        self._event_seen = True
        self._events += 1
        self._tally.take(self._reader.body)
        self.stop = reading.stop or self.stop
        made = self.writer.event(event, reading, self._reader.body)
        # A translation may have to wait for the rest of a call before it can say anything.
        self._made_something = self._made_something or self._passing or (self.content and bool(made))
        out = self._let_through(made)
        if not self.committed and self._may_commit():
            return out + self.commit()
        return out

    def _read_last_event(self, event: SSEEvent) -> bytes:
        """A last event that lacks its blank line: whole all the same, or only a piece of one."""
        if event.data is None and not event.stray:
            self._fragment = bool(event.name) and not self._dialect.end_marker.startswith(event.raw)
            return b""
        reading = self._reader.read(event)
        if event.data == b"":
            return b""
        if reading.kind is not Kind.MALFORMED:
            return self._judge_event(event, reading)
        if event.stray and not self._event_seen:
            return self._fail(Failure(FailureClass.MALFORMED, "the answer is not an event stream", _BAD_GATEWAY))
        self._event_seen = self._fragment = True
        return b""

    def _let_through(self, data: bytes) -> bytes:
        if self.committed or self.writer.whole:
            return data
        self._held.append(data)
        self._held_bytes += len(data)
        # What came may be far longer than what is held of it: a comment of a megabyte is four bytes to a Gemini client.
        most = max(self._held_bytes, self._read_bytes)
        if self._commit_at == "end":
            self.overflowed = most > self._longest
        else:
            self.overflowed = self._events >= HELD_EVENTS or most >= HELD_BYTES
        return self.commit() if self.overflowed else b""

    def _may_commit(self) -> bool:
        if self.writer.whole or self._commit_at == "end":
            return False
        if self._commit_at == "first_event":
            return True
        if self._reader.stopped and self._dialect.broken_stop(self.stop):
            return False  # what it stopped with is what it is worth, beside whatever it came
        return self._made_something and (self.content if self._commit_at == "first_content" else self._visible)

    @property
    def _where(self) -> str:
        begun = self.committed or (self.writer.whole and self.content)
        return "in the middle of the answer" if begun else "during peek"

    def _fail_with_error(self, event: SSEEvent, reading: Reading) -> bytes:
        self.relayed_error = reading.error
        error = read_error(reading.error)
        failure = classify(None, (), error, grace_s=self._grace_s, wall_s=self._wall_s)
        self.failure = replace(failure, detail=f"Stream error {self._where}: {failure.detail}")
        return self.writer.error(self.failure, reading.error, event) if self.committed else b""

    def _fail(self, failure: Failure) -> bytes:
        """Remember the failure; once committed, tell it in the form that the dialect's SDKs raise."""
        self.failure = failure
        return self.writer.failed(failure) if self.committed else b""
