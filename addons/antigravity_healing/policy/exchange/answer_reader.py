"""Reading the answer of an attempt as it comes, until it is known what it is worth.

What it comes to is told as one of a few outcomes. To the client's delivery: `deliver_stream`, and what is sent after
it, `break_off`, `succeed_if_current`; to the attempts in turn: `fail` and `continue_after`.
"""

import contextlib
from collections.abc import Callable
from functools import partial

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.actions import LONG_BYTES
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.attempts_in_turn import AttemptsInTurn
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.exchange.placing import form_at
from antigravity_healing.policy.exchange.upstream_requests import UpstreamRequests
from antigravity_healing.policy.judging.body_form import Form, form_of, labelled
from antigravity_healing.policy.judging.failures import Failure, FailureClass, connection_failure
from antigravity_healing.policy.judging.gate import Gate, too_long
from antigravity_healing.policy.judging.intake import BRACKETS, LINE_ENDS, Intake
from antigravity_healing.policy.judging.whole_answers import judge_whole
from antigravity_healing.policy.judging.written import Rewriting
from antigravity_healing.policy.routing.request import ClientRequest, UpstreamRequest
from antigravity_healing.wire.collecting import LONGEST
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.http import headers as http
from antigravity_healing.wire.http.encoding import DecodingError
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json.value import dump, is_json, parse

_BAD_GATEWAY = 502
_LAST_BYTES = 64


class AnswerReader:
    """Reads the answers of an exchange's attempts, each of which is the one that is under way."""

    def __init__(
        self,
        request: ClientRequest,
        rules: Rules,
        clock: Clock,
        upstream_requests: UpstreamRequests,
        in_turn: AttemptsInTurn,
    ) -> None:
        self._request = request
        self._rules = rules
        self._clock = clock
        self._upstream_requests = upstream_requests
        self._in_turn = in_turn
        self._delivery = in_turn.delivery
        self._progress = in_turn.progress

    # Its head.

    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        """The response headers have come."""
        now, asked = self._clock.now(), attempt.asked
        attempt.status, attempt.headers, attempt.times.head_at = status, headers, now
        attempt.times.last_byte_at = attempt.times.progress_at = now
        self._delivery.attempt_changed(attempt)
        try:
            attempt.incoming.intake = Intake(http.get(headers, "content-encoding") or "")
        except ValueError as error:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, str(error)))
            return
        if not 200 <= status < 300:
            return
        is_long_other = asked.operation.kind == "other" and not _is_short(status, headers)
        if is_long_other or (asked.operation.opaque and asked.streams):
            attempt.passes_unread = True
            self._delivery.deliver_stream(attempt)
            return
        if asked.operation.kind != "generate":
            return
        attempt.incoming.asks_for = _asked_for(asked)
        if asked.streams:
            self._open_gate(attempt)
        if asked.streams and asked.dialect.arrays:
            attempt.incoming.intake.ends = LINE_ENDS + BRACKETS  # until it is known what comes

    def _open_gate(self, attempt: Attempt) -> None:
        """From here on its events are held, and judged one by one."""
        rules = self._rules
        attempt.incoming.intake.events = True
        attempt.gate = Gate(
            attempt.asked.dialect,
            rules.peek.commit,
            grace_s=rules.retry.grace,
            wall_s=self._clock.wall(),
            writer=attempt.writer,
            longest=rules.limits.answer_bytes,
            longest_event=rules.limits.event_bytes,
            asked=attempt.asked.value,
            tally=attempt.tally,
            array=not self._request.operation.sse,
        )
        if not attempt.gate.writer.whole:
            self._in_turn.timing.hold(attempt, self._clock.now())

    # Its body, as it comes.

    def read(self, attempt: Attempt) -> None:
        """Look at a share of what has come of the body."""
        attempt.times.last_byte_at = self._clock.now()
        try:
            data = attempt.incoming.intake.take_share()
        except DecodingError as error:
            wrong = f"the body is not what its content-encoding says: {error}"
            self.stop_short(attempt, Failure(FailureClass.MALFORMED, wrong))
            return
        if data:
            self._read_plain(attempt, self._find_form(attempt, attempt.clean(data), whole=False))

    def _find_form(self, attempt: Attempt, data: bytes, *, whole: bool) -> bytes:
        """What can be looked at now, once it is known what the body is; labels are not believed."""
        if attempt.incoming.asks_for is None or attempt.incoming.form is not None:
            return data
        data = attempt.incoming.beginning + data
        label = labelled(http.get(attempt.headers, "content-type") or "", attempt.incoming.asks_for)
        arrays = attempt.asked.streams and attempt.asked.dialect.arrays
        form = attempt.incoming.form = form_of(data, label, whole=whole, arrays=arrays)
        attempt.incoming.beginning = data if form is None else b""
        if form is None:
            return b""
        if form is Form.JSON:
            attempt.gate = None
            attempt.incoming.intake.events = False
            return data
        if attempt.gate is None:
            if attempt.writer is None:
                attempt.writer = self._upstream_requests.writer(attempt.seed(self._request.id), whole=True)
            self._open_gate(attempt)
            assert attempt.gate is not None
        if form is Form.ARRAY:
            attempt.gate.take_array()
            attempt.incoming.intake.ends = BRACKETS
        elif form is Form.EVENTS:
            attempt.incoming.intake.ends = LINE_ENDS
        return data

    def _read_plain(self, attempt: Attempt, data: bytes) -> None:
        """Look at plain data, in which no secret is any more: nobody behind this has to think of them."""
        if (gate := attempt.gate) is not None:
            attempt.incoming.into_gate = data
            feed = partial(self._pass_gate, attempt, gate.feed, data)
            self._work(attempt, gate.looks_at(data), feed, partial(self._through_gate, attempt))
            return
        attempt.times.progress_at = self._clock.now()
        if attempt.passes_unread:
            self._delivery.send(data, self._clock.now())
            if len(attempt.incoming.whole) <= LONGEST:
                attempt.incoming.whole += data
        else:
            attempt.incoming.whole += data
            attempt.incoming.may_be_over = attempt.incoming.whole[-_LAST_BYTES:].rstrip().endswith((b"}", b"]"))
            self._bound(attempt)

    @staticmethod
    def _pass_gate[T](attempt: Attempt, step: Callable[[T], bytes], what: T) -> bytes:
        """What comes out of the gate by this step; from now on it is what is about to be sent, and nothing goes in."""
        incoming = attempt.incoming
        incoming.out_of_gate, incoming.into_gate = step(what), b""
        # What was put together of several events may have a secret that none of them had.
        incoming.out_of_gate = attempt.redactor.redact(incoming.out_of_gate)
        return incoming.out_of_gate

    def _through_gate(self, attempt: Attempt, out: bytes) -> None:
        """These bytes may go to the client by now, and the gate says how the stream stands."""
        gate, now = attempt.gate, self._clock.now()
        assert gate is not None
        if gate.content and attempt.times.first_content_at is None:
            attempt.times.first_content_at = now
        if gate.committed:
            self._delivery.deliver_stream(attempt)
            self._delivery.send_events(out, now)
        attempt.incoming.out_of_gate = b""
        if gate.progress > attempt.progress_seen:
            attempt.progress_seen, attempt.times.progress_at = gate.progress, now
        if gate.failure is not None:
            tell = self._delivery.break_off if gate.committed else self._in_turn.fail
            tell(attempt, gate.failure)
        elif gate.closed and attempt.body_end is None:
            attempt.body_end = ""  # whatever upstream still does
            attempt.incoming.intake.drop()

    def _bound(self, attempt: Attempt) -> None:
        """A body that has come to be longer than it may be: of an error, the beginning says all."""
        limits, is_error = self._rules.limits, (attempt.status or 0) >= 300
        limit = limits.error_bytes if is_error else limits.answer_bytes
        if len(attempt.incoming.whole) <= limit:
            return
        attempt.incoming.intake.drop()
        if is_error:
            del attempt.incoming.whole[limit:]
            self._judge_whole(attempt)
        else:
            attempt.incoming.whole.clear()
            self._in_turn.fail(attempt, too_long(limit))

    # Its end.

    def body_ended(self, attempt: Attempt, broken: str) -> None:
        """All that came of the body has been looked at, but for what may have been the beginning of a secret."""
        if rest := self._find_form(attempt, attempt.clean(b"", last=True), whole=True):
            self._read_plain(attempt, rest)
            if attempt is not self._progress.current or attempt.work_running:
                return
        try:
            if not broken and (attempt.status or 0) < 300:
                attempt.incoming.intake.finish()
        except DecodingError:
            broken = "its content-encoding has no end"
        if (gate := attempt.gate) is not None:
            end = partial(self._pass_gate, attempt, gate.end_stream, broken)
            self._work(attempt, gate.looks_at(b""), end, partial(self._stream_over, attempt))
        elif attempt.passes_unread:
            if broken:
                cut = f"Stream ended in the middle of the answer: {broken}"
                self._delivery.break_off(attempt, Failure(FailureClass.CUT, cut))
            self._delivery.succeed_if_current(attempt)
        elif not broken:
            self._judge_whole(attempt)
        elif attempt.status is not None:
            self._in_turn.fail(attempt, Failure(FailureClass.CUT, f"the answer was cut: {broken}"))
        else:
            account = attempt.account
            setting = "" if account.upstream.is_public else f"upstreams.{account.upstream_name}.url"
            self._in_turn.fail(attempt, connection_failure(broken, account.upstream.host, setting))

    def _stream_over(self, attempt: Attempt, out: bytes) -> None:
        """The stream has come to its end, unless what came last was a failure and has been dealt with."""
        self._through_gate(attempt, out)
        if attempt is self._progress.current and not attempt.work_running:
            self._all_written(attempt, attempt.writer)

    def stall(self, attempt: Attempt, failure: Failure) -> None:
        """Nothing more came in time. A whole answer may be there all the same."""
        if not attempt.incoming.may_be_over:
            self.stop_short(attempt, failure)
            return
        attempt.incoming.may_be_over = False
        whole = bytes(attempt.incoming.whole)
        self._work(attempt, len(whole), lambda: is_json(whole), partial(self._judge_if_whole, attempt))

    def stop_short(self, attempt: Attempt, failure: Failure) -> None:
        """The attempt can't go on; a stream that has said all there is to say is merely ended."""
        if attempt.gate is not None:
            self._stream_over(attempt, self._pass_gate(attempt, attempt.gate.stop_short, failure))
        elif attempt.passes_unread:
            self._delivery.break_off(attempt, failure)
        else:
            self._in_turn.fail(attempt, failure)

    # What it comes to.

    def _judge_if_whole(self, attempt: Attempt, whole: bool) -> None:
        if whole:
            self._judge_whole(attempt)

    def _judge_whole(self, attempt: Attempt) -> None:
        """A response that is not a stream of events is complete."""
        attempt.incoming.whole_complete = True
        judge = partial(self._judge, attempt, self._clock.wall())
        self._work(attempt, len(attempt.incoming.whole), judge, partial(self._judged, attempt))

    def _judge(self, attempt: Attempt, wall_s: float) -> Failure | None:
        """What is wrong with a whole response, None for nothing. Leaves on the attempt what an error says."""
        asked, incoming = attempt.asked, attempt.incoming
        status, body = attempt.status or _BAD_GATEWAY, bytes(incoming.whole)
        if status >= 400:
            incoming.error = parse_error(body)
        failure = judge_whole(
            asked.dialect,
            asked.operation.kind,
            status,
            attempt.headers,
            body,
            grace_s=self._rules.retry.grace,
            wall_s=wall_s,
            error=incoming.error,
            tally=attempt.tally,
        )
        if failure is not None and failure.kind is FailureClass.CALLER and incoming.error is None:
            incoming.error = parse_error(body)
        elif failure is None and (described := self._described(attempt)) is not None:
            incoming.whole = bytearray(dump(described))
        if failure is None and asked.operation.kind == "list_models" and status == 200 and self._rules.listed_models:
            with contextlib.suppress(ValueError):
                names = list(self._rules.listed_models)
                incoming.whole = bytearray(dump(asked.dialect.with_models(parse(bytes(incoming.whole)), names)))
        return failure

    def _described(self, attempt: Attempt) -> object:
        """What Vertex AI says of its models, as the API has it elsewhere; None where nothing else is to be said."""
        form, operation = form_at(attempt.account), attempt.asked.operation
        if form is None or self._request.vertex is not None or operation.kind not in ("list_models", "get_model"):
            return None
        try:
            return form.described(operation, parse(bytes(attempt.incoming.whole)))
        except ValueError:
            return None

    def _judged(self, attempt: Attempt, failure: Failure | None) -> None:
        """What is wrong with a whole response is known; None for nothing."""
        if failure is not None:
            self._in_turn.fail(attempt, failure)
        elif not attempt.asked.translated:
            self._delivery.succeed_if_current(attempt)
        else:
            self._work(
                attempt,
                len(attempt.incoming.whole),
                lambda: self._translate(attempt),
                partial(self._translated, attempt),
            )

    def _translate(self, attempt: Attempt) -> Rewriting | ValueError | None:
        """The writer that has taken a whole answer, if it needs one; why it can't be translated."""
        try:
            return self._upstream_requests.rewrite(attempt)
        except ValueError as error:
            return error

    def _translated(self, attempt: Attempt, writer: Rewriting | ValueError | None) -> None:
        if isinstance(writer, ValueError):
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, f"the answer can't be translated: {writer}"))
        elif writer is not None and writer.broken:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, writer.broken))
        else:
            self._all_written(attempt, writer)

    def _all_written(self, attempt: Attempt, writer: Rewriting | None) -> None:
        """All that this attempt has to say has been taken by its writer."""
        if writer is not None and writer.continuation:
            self._in_turn.continue_after(attempt, writer)
        elif writer is not None and writer.whole:
            self._work(attempt, attempt.incoming.received, attempt.collect, partial(self._collected, attempt, writer))
        else:
            self._delivery.succeed_if_current(attempt)

    def _collected(self, attempt: Attempt, writer: Rewriting, complete: bool) -> None:
        """A stream has been put together as one answer, if it was complete."""
        if complete:
            self._delivery.succeed_if_current(attempt)
        else:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, writer.flaw))

    def _work[T](self, attempt: Attempt, size: int, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do work on so many bytes and go on with what it gives: at once, or beside everything else if they are many.

        The work touches what belongs to this attempt and nothing else.
        """
        self._in_turn.work(attempt, work, then, beside=size >= LONG_BYTES)


def _asked_for(asked: UpstreamRequest) -> Form:
    """What a good answer to a request for one comes as."""
    if not asked.streams:
        return Form.JSON
    return Form.EVENTS if asked.operation.sse else Form.ARRAY


def _is_short(status: int, headers: Headers) -> bool:
    """Whether the answer to a request that is not healed is held until it is whole: it says how long it is, or none."""
    length = http.get(headers, "content-length") or ""
    return status in (204, 205) or (length.isdecimal() and len(length) < 16 and int(length) <= LONG_BYTES)
