"""One client request and everything done to answer it.

Sans-io: what happens is told by method calls, what is to be done is left in `actions`. Whoever carries the actions out
(`healing.proxy.layer`) holds no policy of its own.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, Concatenate

from healing.policy.exchange.actions import LONG_BYTES, Abort, Action, Rules, Work
from healing.policy.exchange.attempt import Attempt
from healing.policy.exchange.attempts_in_turn import AttemptsInTurn, Shared
from healing.policy.exchange.pass_through import PassThrough
from healing.policy.exchange.upstream_request import UpstreamRequests
from healing.policy.exchange.whole_answers import Judging
from healing.policy.judging.body_form import Form, form_of, labelled
from healing.policy.judging.failures import Failure, FailureClass, connection_failure
from healing.policy.judging.gate import Gate, too_long
from healing.policy.judging.intake import Intake
from healing.policy.judging.written import Rewriting
from healing.policy.routing.accounts import Account
from healing.policy.routing.request import ClientRequest
from healing.policy.settings.schema import Limits
from healing.policy.translating.translation import translation_between
from healing.wire.collecting import LONGEST
from healing.wire.http import headers as http
from healing.wire.http.encoding import DecodingError
from healing.wire.http.headers import Headers
from healing.wire.json.value import is_json

logger = logging.getLogger(__name__)

_LAST_BYTES = 64


def _guarded[**P](method: Callable[Concatenate["Exchange", P], None]) -> Callable[Concatenate["Exchange", P], None]:
    """A bug of ours must not cost the client its answer: from then on upstream's passes as it comes."""

    @wraps(method)
    def call(self: "Exchange", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.pass_through is None:
            try:
                method(self, *args, **kwargs)
            except Exception:
                logger.exception("an exchange failed inside the proxy, its answer passes unseen; this is a bug")
                self._go_blind()
        elif passes := getattr(self.pass_through, method.__name__, None):
            passes(*args, **kwargs)
        self._end_if_passed()

    return call


class Exchange:
    """Decides what becomes of one client request.

    blind: what passes upstream's answer through after a bug; crashed: whether not even that is possible.
    """

    def __init__(self, request: ClientRequest, eligible: Sequence[Account], rules: Rules, shared: Shared) -> None:
        """
        eligible: the accounts that may serve it, at least one, all of one upstream if that speaks the other dialect.
        Raises UntranslatableError.
        """
        self.request = request
        self.pass_through: PassThrough | None = None
        self.crashed = False
        self._eligible = tuple(eligible)
        self._rules = rules
        self._clock = shared.clock
        upstream = eligible[0].upstream
        crossing = None
        if upstream.dialect != request.dialect.name:
            crossing = translation_between(request.dialect.name, upstream.dialect)(
                request, upstream, rules.translate, shared.signatures, shared.clock
            )  # fmt: skip
        self._asking = UpstreamRequests(
            request,
            crossing,
            upstream.url,
            shared.unsupported,
            upgrade=rules.retry.upgrade,
            longest=rules.limits.answer_bytes,
        )
        self._in_turn = AttemptsInTurn(request, eligible, rules, shared, self._asking)

    @property
    def actions(self) -> deque[Action]:
        """What is to be done, in order; whoever does it takes it from the left."""
        return self._in_turn.actions

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts that were begun."""
        return self._in_turn.attempts

    @property
    def outcome(self) -> str:
        """Nothing while it runs, then `clean`, `healed` or `failed`."""
        return self._in_turn.outcome

    @property
    def meta(self) -> dict[str, Any]:
        """What is kept of it in the client's flow: JSON-serialisable, without secrets."""
        return self._in_turn.meta

    @property
    def limits(self) -> Limits:
        """What an upstream may ask of it at most."""
        return self._rules.limits

    @property
    def comment(self) -> str:
        """One line for the flow list; "" for an exchange that went as any other."""
        return self._in_turn.comment

    # What happens.

    @_guarded
    def start(self) -> None:
        """The client's request is complete."""
        self._in_turn.start()

    @_guarded
    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        """The response headers of an attempt have come."""
        if attempt is not self._in_turn.current:
            return
        now, asked = self._clock.now(), attempt.asked
        attempt.status, attempt.headers, attempt.head_at = status, headers, now
        attempt.last_byte_at = attempt.progress_at = now
        attempt.note(self.request.id)
        try:
            attempt.intake = Intake(http.get(headers, "content-encoding") or "")
        except ValueError as error:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, str(error)))
            return
        if asked.operation.kind == "other" and 200 <= status < 300 and not _is_short(status, headers):
            attempt.raw = True
            self._in_turn.deliver_stream(attempt)
            return
        if not (200 <= status < 300 and asked.operation.kind == "generate"):
            return
        if asked.streams and not asked.operation.sse:
            attempt.raw = True
            self._in_turn.deliver_stream(attempt)
            return
        attempt.asks_for = Form.EVENTS if asked.streams else Form.JSON
        if asked.streams:
            self._open_gate(attempt)

    def _open_gate(self, attempt: Attempt) -> None:
        rules = self._rules
        attempt.intake.events = True
        attempt.gate = Gate(
            attempt.asked.dialect,
            rules.peek.commit,
            grace_s=rules.retry.grace,
            wall_s=self._clock.wall(),
            writer=attempt.writer,
            longest=rules.limits.answer_bytes,
            longest_event=rules.limits.event_bytes,
            asked=attempt.asked.value,
        )
        if not attempt.gate.writer.whole:
            self._in_turn.timing.hold(attempt, self._clock.now())

    def _find_form(self, attempt: Attempt, data: bytes, *, whole: bool) -> bytes:
        """What can be looked at now, once it is known what the body is; labels are not believed."""
        if attempt.asks_for is None or attempt.form is not None:
            return data
        data = attempt.beginning + data
        label = labelled(http.get(attempt.headers, "content-type") or "", attempt.asks_for)
        attempt.form = form_of(data, label, whole=whole)
        attempt.beginning = data if attempt.form is None else b""
        if attempt.form is Form.JSON:
            attempt.gate = None
            attempt.intake.events = False
        elif attempt.form is Form.EVENTS and attempt.gate is None:
            if attempt.writer is None:
                attempt.writer = self._asking.writer(attempt.seed(self.request.id), whole=True)
            self._open_gate(attempt)
        return data if attempt.form is not None else b""

    @_guarded
    def data(self, attempt: Attempt, data: bytes) -> None:
        """More of an attempt's body has come. It is looked at in `settle`, many pieces at once."""
        if attempt is self._in_turn.current:
            attempt.intake.put(data)
            attempt.received += len(data)

    @_guarded
    def settle(self) -> None:
        """Look at the data that has come, or at a share of it where that takes long; `wakeup` is due for the next."""
        attempt = self._in_turn.current
        if attempt is None or attempt.busy or not attempt.intake.due:
            return
        attempt.last_byte_at = self._clock.now()
        try:
            data = attempt.intake.take()
        except DecodingError as error:
            wrong = f"the body is not what its content-encoding says: {error}"
            self._stop_short(attempt, Failure(FailureClass.MALFORMED, wrong))
            return
        if data:
            self._take(attempt, self._find_form(attempt, attempt.clean(data), whole=False))
        self._end_if_over(attempt)

    def _end_if_over(self, attempt: Attempt) -> None:
        """End an attempt of whose body all has come and been looked at."""
        if attempt is self._in_turn.current and attempt.over is not None and not self._is_at_work(attempt):
            self._end(attempt, attempt.over)

    @staticmethod
    def _is_at_work(attempt: Attempt) -> bool:
        """Whether there is still something to make of what has come."""
        return attempt.busy or attempt.intake.waiting

    def _take(self, attempt: Attempt, data: bytes) -> None:
        """Look at plain data, in which no secret is any more: nobody behind this has to think of them."""
        if (gate := attempt.gate) is not None:
            attempt.incoming = data
            self._work(
                attempt,
                gate.looks_at(data),
                # What was put together of several events may have a secret that none of them had.
                lambda: attempt.redactor.redact(gate.feed(data)),
                partial(self._through_gate, attempt),
            )
            return
        attempt.progress_at = self._clock.now()
        if attempt.raw:
            self._in_turn.answer.send(data, self._clock.now())
            if len(attempt.whole) <= LONGEST:
                attempt.whole += data
        else:
            attempt.whole += data
            attempt.may_be_over = attempt.whole[-_LAST_BYTES:].rstrip().endswith((b"}", b"]"))
            self._bound(attempt)

    def _bound(self, attempt: Attempt) -> None:
        """A body that has come to be longer than it may be: of an error, the beginning says all."""
        limits, is_error = self._rules.limits, (attempt.status or 0) >= 300
        limit = limits.error_bytes if is_error else limits.answer_bytes
        if len(attempt.whole) <= limit:
            return
        attempt.intake.drop()
        if is_error:
            del attempt.whole[limit:]
            self._judge_whole(attempt)
        else:
            attempt.whole.clear()
            self._in_turn.fail(attempt, too_long(limit))

    @_guarded
    def end(self, attempt: Attempt, broken: str = "") -> None:
        """An attempt's body has ended in the regular way, or its connection failed: `broken` says how."""
        attempt.ended = True
        self.settle()
        if self.pass_through is not None:
            self.pass_through.end(attempt, broken)
        if attempt is not self._in_turn.current or self.pass_through is not None:
            return
        attempt.over = broken
        self._end_if_over(attempt)

    def _end(self, attempt: Attempt, broken: str) -> None:
        """All that came of the body has been looked at, but for what may have been the beginning of a secret."""
        if rest := self._find_form(attempt, attempt.clean(b"", last=True), whole=True):
            self._take(attempt, rest)
            if attempt is not self._in_turn.current or attempt.busy:
                return
        try:
            if not broken and (attempt.status or 0) < 300:
                attempt.intake.finish()
        except DecodingError:
            broken = "its content-encoding has no end"
        if (gate := attempt.gate) is not None:
            self._work(
                attempt,
                gate.looks_at(b""),
                lambda: attempt.redactor.redact(gate.end(broken)),
                partial(self._gate_is_over, attempt),
            )
        elif attempt.raw:
            if broken:
                cut = f"Stream ended in the middle of the answer: {broken}"
                self._in_turn.break_off(attempt, Failure(FailureClass.CUT, cut))
            self._in_turn.succeed_if_current(attempt)
        elif not broken:
            self._judge_whole(attempt)
        elif attempt.status is not None:
            self._in_turn.fail(attempt, Failure(FailureClass.CUT, f"the answer was cut: {broken}"))
        else:
            self._in_turn.fail(attempt, connection_failure(broken))

    @_guarded
    def killed(self, attempt: Attempt) -> None:
        """A person, or another addon, ended this attempt: that is no failure to heal."""
        attempt.ended = attempt.killed = True
        if attempt is self._in_turn.current and not attempt.busy:
            self._in_turn.settle_account(attempt, None, judged=False)
            self._in_turn.give_up(attempt, Failure(FailureClass.TRANSPORT, "the attempt was killed in mitmproxy"))

    @_guarded
    def malformed(self, attempt: Attempt, flaw: str) -> None:
        """An attempt's answer has a head that is none; `flaw` says why. The attempt is over."""
        attempt.ended = True
        if attempt is self._in_turn.current:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, f"the head of the answer is not valid: {flaw}"))

    @_guarded
    def no_credential(self, attempt: Attempt, why: str) -> None:
        """The credential of an attempt's account could not be had; nothing was sent."""
        attempt.ended = True
        self._in_turn.fail(
            attempt, Failure(FailureClass.LOCAL, f"no credential for account {attempt.account.name}: {why}", 401)
        )

    @_guarded
    def on_its_way(self, attempt: Attempt, since: float) -> None:
        """Nothing here holds an attempt up any more, since then (monotonic seconds): upstream's clocks run."""
        if attempt.left_at is None:
            attempt.left_at = since

    @_guarded
    def held_up(self, attempt: Attempt) -> None:
        """An attempt waits here for something that is no matter of its upstream's."""
        attempt.left_at = None

    @_guarded
    def client_behind(self, behind: bool) -> None:
        """Whether the client does not take its answer. No more of it is read then, which is no fault of upstream's."""
        self._in_turn.timing.behind = behind
        if not behind and self._in_turn.current is not None:
            current = self._in_turn.current
            current.last_byte_at = current.progress_at = self._clock.now()

    @_guarded
    def held_by_hook(self, attempt: Attempt | None, on: bool) -> None:
        """A hook of this attempt's flow, or of the client's (None), begins or is over: nothing is late meanwhile."""
        now, timing, current = self._clock.now(), self._in_turn.timing, self._in_turn.current
        if attempt is not None:
            since, attempt.held_at = attempt.held_at, now if on else None
        else:
            since, timing.client_held_at = timing.client_held_at, now if on else None
            attempt = current
        if on or since is None:
            return
        if attempt is not None:
            attempt.skip(since, now)
        if timing.held_since is not None and attempt is current:
            timing.held_since = min(now, timing.held_since + now - since)

    def client_left(self) -> None:
        """The client is gone: whatever runs for it is ended."""
        if self.outcome:
            return
        if self.pass_through is None and not self.crashed:
            self._in_turn.leave()
            return
        self._in_turn.outcome = "failed"
        self.actions.extend(Abort(begun, "the client left") for begun in self.attempts if not begun.ended)

    @_guarded
    def shut_down(self) -> None:
        """The proxy ends, and so does this: the client is told why. Not while what came is being looked at."""
        attempt = self._in_turn.current
        failure = Failure(FailureClass.LOCAL, "The proxy was shut down", 503)
        if attempt is not None and attempt.busy:
            return
        if attempt is not None and attempt.delivering:
            self._stop_short(attempt, failure)
        elif not self.outcome:
            self._in_turn.shut_down(failure)

    def _go_blind(self) -> None:
        answer = self._in_turn.answer
        if self._in_turn.current is not None and self._in_turn.current.busy:
            self.crashed = True  # nobody can tell what has been made of what has come
            return
        if self._asking.rewrites and not self._gives_as_it_is():
            self._start_over()
            return
        self.pass_through = PassThrough(self.request, self.actions, begun=answer.begun, done=answer.finished)
        try:
            if self._in_turn.current is not None:
                self.pass_through.adopt(self._in_turn.current)
            elif not self.attempts:
                self.attempts.append(self.pass_through.start(self._eligible[0], self._clock.now()))
        except Exception:
            logger.exception("what had come could not be passed on")
            self.pass_through = None
            self.crashed = True

    def _gives_as_it_is(self) -> bool:
        """Whether what has come is what the client can take: a whole answer, although a stream was asked for."""
        current = self._in_turn.current
        came_whole = current is not None and current.status is not None and current.gate is None
        return came_whole and self._asking.crossing is None

    def _start_over(self) -> None:
        """What has come is not what the client can take: ask for what it asked for, if upstream speaks as it does."""
        answer, current = self._in_turn.answer, self._in_turn.current
        if self._asking.crossing is not None or answer.begun:
            self.crashed = True
            return
        if current is not None and not current.ended:
            current.ended = current.aborted = True
            self.actions.append(Abort(current, "internal error of the proxy"))
        self.pass_through = PassThrough(self.request, self.actions, begun=False, done=False)
        account = current.account if current is not None else self._eligible[0]
        self.attempts.append(self.pass_through.start(account, self._clock.now(), len(self.attempts) + 1))

    def _end_if_passed(self) -> None:
        if self.pass_through is not None and self.pass_through.done and not self.outcome:
            self._in_turn.current = None
            self._in_turn.outcome = "failed"
            self.meta.update(outcome=self.outcome)

    # Time.

    @property
    def deadline(self) -> float | None:
        """When `wakeup` is due, None if nothing waits for time."""
        if self.pass_through is not None or self.outcome:
            return None
        current = self._in_turn.current
        if current is not None and self._is_at_work(current):
            return None if current.busy else current.last_byte_at
        return self._in_turn.timing.deadline(self._in_turn.current, self._in_turn.answer)

    @_guarded
    def wakeup(self) -> None:
        """Time has passed: do what is due by now."""
        now, timing = self._clock.now(), self._in_turn.timing
        if self._in_turn.current is not None:
            if self._in_turn.current.busy:
                return
            self._in_turn.current.intake.allow()
        if timing.resumes(now):
            self._in_turn.go_on(now)
        stall = timing.stall(self._in_turn.current)
        if stall and now >= stall[0]:
            assert self._in_turn.current is not None
            self._stalled(self._in_turn.current, Failure(FailureClass.STALLED, stall[1], 504))
        hold_until = None if self.outcome else timing.sign_of_life(self._in_turn.current, self._in_turn.answer)
        if hold_until is not None and now >= hold_until:
            self._in_turn.keep_waiting(now)

    # Judging.

    def _through_gate(self, attempt: Attempt, out: bytes) -> None:
        gate, now = attempt.gate, self._clock.now()
        assert gate is not None
        attempt.incoming, attempt.outgoing = b"", out
        if gate.content and attempt.first_content_at is None:
            attempt.first_content_at = now
        if gate.committed:
            self._in_turn.deliver_stream(attempt)
            self._in_turn.answer.send(out, now)
            self._in_turn.saw(out)
        attempt.outgoing = b""
        if gate.progress > attempt.seen:
            attempt.seen, attempt.progress_at = gate.progress, now
        if gate.failure is not None:
            tell = self._in_turn.break_off if gate.committed else self._in_turn.fail
            tell(attempt, gate.failure)
        elif gate.closed and attempt.over is None:
            attempt.over = ""  # whatever upstream still does
            attempt.intake.drop()

    def _stalled(self, attempt: Attempt, failure: Failure) -> None:
        """Nothing more came in time. A whole answer may be there all the same."""
        if not attempt.may_be_over:
            self._stop_short(attempt, failure)
            return
        attempt.may_be_over = False
        whole = bytes(attempt.whole)
        self._work(attempt, len(whole), lambda: is_json(whole), partial(self._judge_if_whole, attempt))

    def _judge_if_whole(self, attempt: Attempt, whole: bool) -> None:
        if whole:
            self._judge_whole(attempt)

    def _stop_short(self, attempt: Attempt, failure: Failure) -> None:
        """The attempt can't go on; a stream that has said all there is to say is merely ended."""
        if attempt.gate is not None:
            out = attempt.redactor.redact(attempt.gate.stop_short(failure))
            self._gate_is_over(attempt, out)
        elif attempt.raw:
            self._in_turn.break_off(attempt, failure)
        else:
            self._in_turn.fail(attempt, failure)

    def _judge_whole(self, attempt: Attempt) -> None:
        """A response that is not a stream of events is complete."""
        attempt.whole_complete = True
        size, judging = len(attempt.whole), Judging(attempt, self._rules, self._clock.wall())
        self._work(attempt, size, judging.run, partial(self._judged, attempt))

    def _judged(self, attempt: Attempt, failure: Failure | None) -> None:
        """What is wrong with a whole response is known; None for nothing."""
        if failure is not None:
            self._in_turn.fail(attempt, failure)
        elif not attempt.asked.translated:
            self._in_turn.succeed_if_current(attempt)
        else:
            self._work(
                attempt, len(attempt.whole), lambda: self._translated(attempt), partial(self._is_translated, attempt)
            )

    def _translated(self, attempt: Attempt) -> Rewriting | ValueError | None:
        """The writer that has taken a whole answer, if it needs one; why it can't be translated."""
        try:
            return self._asking.rewrite(attempt)
        except ValueError as error:
            return error

    def _is_translated(self, attempt: Attempt, writer: Rewriting | ValueError | None) -> None:
        if isinstance(writer, ValueError):
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, f"the answer can't be translated: {writer}"))
        elif writer is not None and writer.broken:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, writer.broken))
        else:
            self._written(attempt, writer)

    def _gate_is_over(self, attempt: Attempt, out: bytes) -> None:
        """The stream has come to its end, unless what came last was a failure and has been dealt with."""
        self._through_gate(attempt, out)
        if attempt is self._in_turn.current and not attempt.busy:
            self._written(attempt, attempt.writer)

    def _written(self, attempt: Attempt, writer: Rewriting | None) -> None:
        """All that this attempt has to say has been taken by its writer."""
        if writer is not None and writer.continuation:
            self._in_turn.continue_after(attempt, writer)
        elif writer is not None and writer.whole:
            self._work(attempt, attempt.received, attempt.collect, partial(self._collected, attempt, writer))
        else:
            self._in_turn.succeed_if_current(attempt)

    def _collected(self, attempt: Attempt, writer: Rewriting, complete: bool) -> None:
        """A stream has been put together as one answer, if it was complete."""
        if complete:
            self._in_turn.succeed_if_current(attempt)
        else:
            self._in_turn.fail(attempt, Failure(FailureClass.MALFORMED, writer.flaw))

    # Work that takes time.

    def _work[T](self, attempt: Attempt, size: int, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do work on so many bytes and go on with what it gives: at once, or beside everything else if they are many.

        The work touches what belongs to this attempt and nothing else.
        """
        self._in_turn.work(attempt, work, then, beside=size >= LONG_BYTES)

    @_guarded
    def worked(self, action: Work, found: Any, failure: Exception | None = None) -> None:
        """What was asked for by this action is done; `found` is what it gave, `failure` what it raised."""
        attempt = action.attempt
        attempt.busy = False
        if failure is not None:
            raise failure
        if attempt is not self._in_turn.current:
            return
        if attempt.killed:
            self.killed(attempt)
            return
        attempt.last_byte_at = self._clock.now()
        attempt.intake.allow()
        action.then(found)
        self._end_if_over(attempt)


def _is_short(status: int, headers: Headers) -> bool:
    """Whether the answer to a request that is not healed is held until it is whole: it says how long it is, or none."""
    length = http.get(headers, "content-length") or ""
    return status in (204, 205) or (length.isdecimal() and len(length) < 16 and int(length) <= LONG_BYTES)
