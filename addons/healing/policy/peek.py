"""The gate between an upstream's stream and the client: hold, commit, or fail.

Everything is held until the first content. After that each event is still read, since errors and cuts come late too.
"""

import logging
from dataclasses import replace
from typing import Any

from healing.policy.config import Commit
from healing.policy.failures import Failure, FailureClass, classify
from healing.policy.writer import Passing, Writer
from healing.wire.dialect import Dialect, EmptyStop, Kind, Reading
from healing.wire.errors import read_error
from healing.wire.refusals import SignatureFault
from healing.wire.sse import SSEDecoder, SSEEvent

logger = logging.getLogger(__name__)

HELD_EVENTS = 256
HELD_BYTES = 1024 * 1024
LONGEST_BYTES = 64 * 1024 * 1024
MOST_REWRITTEN = 4
"""How many times longer the events of an answer may be that is made into another one: what makes it remembers much."""
_BAD_GATEWAY = 502
EMPTY_CLASS = {
    EmptyStop.PLAIN: FailureClass.EMPTY,
    EmptyStop.MALFORMED: FailureClass.MALFORMED,
    EmptyStop.SIGNATURE: FailureClass.SIGNATURE,
}


def empty_failure(dialect: Dialect, stop: str) -> Failure | None:
    """The failure that an answer without content is, None if its stop reason makes an answer of it."""
    kind = EMPTY_CLASS.get(dialect.empty_stop(stop))
    if kind is None:
        return None
    fault = SignatureFault.CALL_UNSIGNED if kind is FailureClass.SIGNATURE else None
    return Failure(kind, f"200 OK but 0 tokens (stop reason {stop or 'none'})", _BAD_GATEWAY, fault=fault)


def too_long(longest: int) -> Failure:
    """The failure of an answer of which more came than is held. Asked again it would be as long."""
    detail = f"more came than the {longest:,} bytes that limits.answer_bytes allows for"
    return Failure(FailureClass.MALFORMED, detail, _BAD_GATEWAY, again=False)


class Gate:
    """Decides for one stream. `feed` and `end` give the bytes that may go to the client now.

    committed: whether bytes have been let through; from then on `failure` can no longer be retried.
    failure: why the stream does not serve, None while it does.
    content: whether content has been seen.
    relayed_error: upstream's own error object, if that is the failure.
    """

    def __init__(
        self,
        dialect: Dialect,
        commit: Commit,
        *,
        hold: bool,
        grace_s: float,
        wall_s: float,
        writer: Writer | None = None,
        longest: int = LONGEST_BYTES,
        asked: Any = None,
    ) -> None:
        """
        dialect: upstream's. asked: what the body of the request says. commit: what to wait for.
        hold: False lets everything through at once, as nothing could be retried.
        writer: makes what the client gets; None passes the events on. One that is whole lets nothing through.
        longest: how many bytes an event may have, or what is held of an answer until it is whole.
        """
        self.writer: Writer = Passing(dialect) if writer is None else writer
        self._passing = writer is None
        self.committed = not hold and not self.writer.whole
        self.failure: Failure | None = None
        self.content = False
        self.stop = ""
        self.relayed_error: object = None
        self._visible = False
        self._dialect = dialect
        self._reader = dialect.reader(asked)
        self._decoder = SSEDecoder()
        self._commit_at = commit
        self._grace_s = grace_s
        self._wall_s = wall_s
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._read_bytes = 0
        self._longest = longest
        self._events = 0
        self._said = False
        self._told = False
        self._blind = False
        self._empty_served = False
        self._unsent: list[bytes] = []

    @property
    def rewrites(self) -> bool:
        """Whether the client gets something else than upstream's own events."""
        return not self._passing

    @property
    def complete(self) -> bool:
        """Whether upstream has said all there is to say, so that nothing is lost if it goes silent now."""
        return self._reader.stopped and self.failure is None

    @property
    def empty(self) -> Failure | None:
        """The failure that an answer without content is, None if there is content or a reason for there being none."""
        if self.content or self._blind or not self._reader.stopped:
            return None
        return empty_failure(self._dialect, self.stop)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the stream."""
        if self._blind:
            return data
        events = self._decoder.decode(data)
        out = [self._take_all(events)]
        if self.failure is None and self._is_too_long():
            out.append(self._fail(too_long(self._longest)))
        out.append(self._judge_empty())
        if self.committed:
            self._unsent = []
        elif self._passing:  # nobody could go on with what was made for another
            self._unsent += [event.raw for event in events]
        return b"".join(out)

    def _is_too_long(self) -> bool:
        rewritten = not self._passing and self._read_bytes > MOST_REWRITTEN * self._longest
        return rewritten or self.writer.overfull or self._decoder.pending > self._longest

    @property
    def signed_content(self) -> list[dict[str, Any]]:
        """The blocks or parts that have come whole: what a client may send again in its next request."""
        return self._reader.content

    def unsent(self) -> bytes:
        """All that has been fed and has not come out, as it came: for one who has to go on without this gate."""
        return b"".join((*self._unsent, self._decoder.rest)) if self._passing else b""

    def end(self, broken: str = "") -> bytes:
        """The body has ended: in the regular way, or `broken` says how the connection broke."""
        if self._is_over():
            return b""
        out = self._take_all(self._decoder.flush())
        out += self._judge_empty()
        if self.committed:
            self._unsent = []
        if self._is_over():
            return out
        if not self._reader.stopped:
            return out + self._fail(self._end_failure(broken))
        return out + self._finish()

    def _is_over(self) -> bool:
        """Whether nothing is judged any more."""
        return self.failure is not None or self._blind

    def _finish(self) -> bytes:
        """Upstream has said all: the end, unless its answer is to be continued, or can't be told."""
        if self.writer.continuation:
            return b""
        if why := self.writer.broken:
            return self._fail(Failure(FailureClass.MALFORMED, why, _BAD_GATEWAY))
        return self._let_through(self.writer.end(marked=self._reader.ended))

    def _take_all(self, events: list[SSEEvent]) -> bytes:
        out = []
        for number, event in enumerate(events):
            if self._reader.closed:
                break
            try:
                out.append(self._take_whole(event) if event.complete else self._take_last(event))
            except Exception:
                if not self._passing:
                    raise
                # A bug here must not cost the client its answer: from now on everything passes unseen.
                logger.exception("an event could not be read; the rest of the stream passes as it comes")
                self._blind = True
                rest = [*events[number:], *self._decoder.flush()]
                return b"".join((*out, self.commit(), *(event.raw for event in rest)))
            if self.failure is not None:
                break
        return b"".join(out)

    def _take_whole(self, event: SSEEvent) -> bytes:
        self._read_bytes += len(event.raw)
        return self._take(event, self._reader.read(event))

    def stop_short(self, failure: Failure) -> bytes:
        """The stream can't go on: a failure, unless upstream had said all there is to say."""
        return self.end() if self.complete else self._fail(failure)

    def commit(self) -> bytes:
        """Let through all that is held."""
        self.committed = True
        held, self._held = b"".join(self._held), []
        return held

    def deliver_empty(self) -> bytes:
        """Let an answer without content through after all, since no try is left."""
        self.failure = None
        self._empty_served = True
        return b"" if self.writer.whole else self.commit()

    def _take(self, event: SSEEvent, reading: Reading) -> bytes:
        match reading.kind:
            case Kind.HEARTBEAT:
                return self._let_through(self.writer.heartbeat(event, reading))
            case Kind.ERROR:
                return self._fail_with_error(event, reading)
            case Kind.MALFORMED:
                detail = f"Stream error {self._where}: {reading.flaw or 'data that is not JSON'}"
                return self._fail(Failure(FailureClass.MALFORMED, detail, _BAD_GATEWAY))
            case Kind.CONTENT:
                self.content = True
                self._visible = self._visible or reading.visible
        self._said = True
        self._events += 1
        self.stop = reading.stop or self.stop
        made = self.writer.event(event, reading, self._reader.body)
        # A translation may have to wait for the rest of a call before it can say anything.
        self._told = self._told or self._passing or (self.content and bool(made))
        out = self._let_through(made)
        if not self.committed and self._may_commit():
            return out + self.commit()
        return out

    def _take_last(self, event: SSEEvent) -> bytes:
        """A last event that lacks its blank line: whole all the same, or only a piece of one."""
        if event.data is None and not event.stray:
            return b""
        reading = self._reader.read(event)
        if event.data == b"":
            return b""
        if reading.kind is not Kind.MALFORMED:
            return self._take(event, reading)
        if event.stray and not self._said:
            return self._fail(Failure(FailureClass.MALFORMED, "the answer is not an event stream", _BAD_GATEWAY))
        self._said = True
        return b""

    def _let_through(self, data: bytes) -> bytes:
        if self.committed or self.writer.whole:
            return data
        self._held.append(data)
        self._held_bytes += len(data)
        # What came may be far longer than what is held of it: a comment of a megabyte is four bytes to a Gemini client.
        most = max(self._held_bytes, self._read_bytes)
        return self.commit() if self._events >= HELD_EVENTS or most >= HELD_BYTES else b""

    def _may_commit(self) -> bool:
        if self.writer.whole:
            return False
        match self._commit_at:
            case "first_content":
                return self.content and self._told
            case "first_visible":
                return (self._visible and self._told) or (self.content and self._reader.stopped)
            case "first_event":
                return True

    def _judge_empty(self) -> bytes:
        """Upstream has said its stop reason and held no content before: a failure, or an answer as it is."""
        if self.committed or self._blind or self.failure is not None or not self._reader.stopped or self._empty_served:
            return b""
        self.failure = self.empty
        return b"" if self.failure or self.writer.whole or self.writer.broken else self.commit()

    @property
    def _where(self) -> str:
        told = self.committed or (self.writer.whole and self.content)
        return "in the middle of the answer" if told else "during peek"

    def _end_failure(self, broken: str) -> Failure:
        why = f": {broken}" if broken else ""
        if not self._said:
            return Failure(FailureClass.EMPTY, f"Stream ended immediately{why}", _BAD_GATEWAY)
        return Failure(FailureClass.CUT, f"Stream ended {self._where}{why or ', no stop reason came'}", _BAD_GATEWAY)

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
