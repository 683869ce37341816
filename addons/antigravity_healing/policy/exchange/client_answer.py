"""The answer to the client: its headers, its body, and the forms that a failure takes in it."""

import math
from collections import deque

from antigravity_healing.policy.exchange.actions import Action, Finish, Respond, Send
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.judging.client_error import ClientError, client_error
from antigravity_healing.policy.judging.failures import Failure, one_line
from antigravity_healing.policy.judging.written import Framing
from antigravity_healing.policy.routing.request import ClientRequest
from antigravity_healing.wire.dialect import LateEnd
from antigravity_healing.wire.errors.parsing import find_error
from antigravity_healing.wire.http import headers as http
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.http.sse import BOM
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump

_NOT_FORWARDED = http.HOP_BY_HOP | {
    b"content-length",
    b"content-encoding",
    b"x-account-email",
    b"x-mapped-model",
    b"x-healing-id",
    b"x-healing-attempts",
    b"x-healing-outcome",
}
# What upstream says of its own body is not about one that is ours.
_OF_THE_BODY = (b"content-type", b"content-disposition", b"etag", b"digest", b"content-digest")
_JSON: Headers = ((b"content-type", b"application/json"),)
_EVENT_STREAM = "text/event-stream"
_EVENTS: Headers = ((b"content-type", _EVENT_STREAM.encode()),)


class ClientAnswer:
    """Writes one exchange's answer as actions.

    status: what the client has been sent, None before; after that failures are told in the body.
    finished: whether the answer is over.
    last_sent_at: monotonic seconds of the last bytes sent.
    opened: whether an array has been begun, and none of its elements has been sent.
    attempts: how many the client is told of; 0: up to the one that it gets the answer of.
    """

    def __init__(self, request: ClientRequest, rules: Rules, actions: deque[Action]) -> None:
        self.status: int | None = None
        self.finished = False
        self.last_sent_at = 0.0
        self.attempts = 0
        self._request = request
        self._rules = rules
        self._actions = actions
        self.opened = False

    @property
    def begun(self) -> bool:
        """Whether the client has been sent a status."""
        return self.status is not None

    def begin_stream(self, attempt: Attempt, outcome: str) -> None:
        """Begin to stream an attempt's answer, unless that has been begun. outcome: what is known of it by now."""
        if self.begun:
            return
        own: Headers | None = _JSON if self._is_array else _EVENTS
        fitting = "application/json" if self._is_array else _EVENT_STREAM
        if attempt.writer is None and (attempt.passes_unread or _label(attempt).startswith(fitting)):
            own = None
        self._begin(attempt.status or 200, self._upstream_headers(attempt, own), attempt, outcome, streams=True)

    def deliver(
        self, attempt: Attempt, outcome: str, now: float, status: int | None = None, again_s: int | None = None
    ) -> None:
        """Send an attempt's whole answer, as it is or with another status, or as the events of a stream.

        again_s: after how many seconds the client may come again, where upstream has not said so.
        """
        status = status or attempt.status or 502
        body = bytes(attempt.incoming.whole)
        events = self._as_events(body) if self._wants_stream and status < 300 else None
        if not self.begun:
            mislabelled = attempt.incoming.asks_for is not None and _label(attempt).startswith(_EVENT_STREAM)
            is_stream = events is not None and not self._is_array
            own = _EVENTS if is_stream else _JSON if attempt.incoming.rewritten or mislabelled else None
            headers = _with_retry_after(self._upstream_headers(attempt, own), again_s)
            self._begin(status, headers, attempt, outcome, streams=events is not None)
        self.send(events if events is not None else body, now)

    @property
    def _wants_stream(self) -> bool:
        request = self._request
        return request.streams and not request.operation.opaque and request.operation.kind == "generate"

    @property
    def _is_array(self) -> bool:
        """Whether the client gets what it wants as a stream as one JSON array."""
        return self._wants_stream and not self._request.operation.sse

    def _as_events(self, body: bytes) -> bytes | None:
        dialect, framing = self._request.dialect, Framing(self._request.dialect, array=self._is_array)
        try:
            return b"".join(map(framing.event, dialect.events_of(exact.parse(body)))) + framing.end()
        except ValueError:
            return None

    def fail(
        self,
        attempt: Attempt,
        failure: Failure,
        tried: str,
        framing: Framing,
        now: float,
        again_s: int | None = None,
    ) -> None:
        """Tell a failure for which there is no upstream's answer to deliver, or no place for it any more.

        tried: what was tried, for the end of the message. framing: of an answer that has begun and is ours.
        again_s: as `deliver` has it.
        """
        dialect, upstream_error = self._request.dialect, _error_object(attempt)
        if attempt.asked.translated:
            error = client_error(failure, upstream_error, dialect)
            if upstream_error is None:
                error = error._replace(message=f"{error.message}. {tried}")
            self._tell_translated(attempt, error, framing, now, again_s)
            return
        if self.begun:
            if upstream_error is not None:
                self.send(attempt.redactor.redact(framing.relayed(upstream_error)), now)
            else:
                self.send(framing.failed(failure.status, f"{failure.detail}. {tried}"), now)
            return
        self._begin(dialect.fitting_status(failure.status), _with_retry_after(_JSON, again_s), attempt, "failed")
        if upstream_error is not None:
            self.send(attempt.redactor.redact(self._in_array(dump(dialect.shaped(upstream_error)))), now)
        else:
            self.send(self._in_array(dialect.error_body(failure.status, f"{failure.detail}. {tried}")), now)

    def _tell_translated(
        self, attempt: Attempt, error: ClientError, framing: Framing, now: float, again_s: int | None
    ) -> None:
        dialect = self._request.dialect
        if again_s is not None:
            error = error._replace(wait_s=again_s)
        if self.begun:
            body = framing.failed(error.status, error.message)
        else:
            status = dialect.fitting_status(error.status)
            headers = _with_retry_after(self._upstream_headers(attempt, _JSON), again_s)
            if error.wait_s is not None and http.get(headers, "retry-after") is None:
                headers = _with_retry_after(headers, math.ceil(error.wait_s))
            self._begin(status, headers, attempt, "failed")
            body = self._in_array(dialect.error_body(error.status, error.message, error.wait_s))
        self.send(attempt.redactor.redact(body), now)

    def _in_array(self, error: bytes) -> bytes:
        """An error instead of an answer: who reads the elements of an array finds it in no other place."""
        return b"[" + error + b"]" if self._is_array else error

    def refuse(self, status: int, message: str, retry_after_s: int, now: float) -> None:
        """An error of our own, before anything has been sent: the client may come again after so many seconds."""
        dialect = self._request.dialect
        retry_after = (b"retry-after", str(retry_after_s).encode())
        self._begin(status, (*_JSON, retry_after), None, "failed")
        self.send(self._in_array(dialect.error_body(status, message, retry_after_s)), now)

    def _begin(
        self, status: int, headers: Headers, attempt: Attempt | None, outcome: str, *, streams: bool = False
    ) -> None:
        self.status = status
        count = self.attempts or (attempt.number if attempt else 0)
        about = {
            "X-Account-Email": attempt.account.label if attempt and self._rules.account_header else "",
            "X-Mapped-Model": attempt.model if attempt else self._request.route.model,
            "X-Healing-Id": self._request.id,
            "X-Healing-Attempts": str(count),
            "X-Healing-Outcome": outcome,
        }
        # A client names its model as it likes, also with line ends that would begin headers of its own making.
        clean = {name: one_line(value).encode("ascii", "replace") for name, value in about.items()}
        own = tuple((name.encode(), value) for name, value in clean.items() if value)
        self._actions.append(Respond(status, headers + own, streams))

    @staticmethod
    def _upstream_headers(attempt: Attempt, own: Headers | None) -> Headers:
        """Upstream's headers; own: those of the body, where that is ours."""
        headers = http.without(attempt.headers, _NOT_FORWARDED)
        return headers if own is None else (*http.without(headers, _OF_THE_BODY), *own)

    def send(self, data: bytes, now: float) -> None:
        """Send more of the body; pieces that wait to be sent are joined."""
        if self.opened and (text := data.removeprefix(BOM).lstrip()):
            # The array's beginning has been sent.
            self.opened, data = False, text.removeprefix(b"[")
        self._send(data, now)

    def keep_alive(self, now: float) -> None:
        """Send a sign of life, which says nothing, before anything of an answer."""
        if not self._is_array:
            self._send(self._request.dialect.keep_alive, now)
            return
        # Some clients bear blanks in an array only.
        self._send(b"\r\n" if self.opened else b"[", now)
        self.opened = True

    def _send(self, data: bytes, now: float) -> None:
        if not data:
            return
        self.last_sent_at = now
        if self._actions and isinstance(last := self._actions[-1], Send):
            last.data += data
        else:
            self._actions.append(Send(data))

    def finish(self, broken: str = "", end: LateEnd | None = None) -> None:
        """End the answer; with `broken`, by breaking the connection in the way that `end` says."""
        self.finished = True
        self._actions.append(Finish(broken, end.pause_s, end.reset) if end is not None and broken else Finish(broken))


def _with_retry_after(headers: Headers, seconds: int | None) -> Headers:
    """The headers, saying to come again after so many seconds; as they are without any."""
    if seconds is None:
        return headers
    return (*http.without(headers, (b"retry-after", b"retry-after-ms")), (b"retry-after", str(seconds).encode()))


def _label(attempt: Attempt) -> str:
    return (http.get(attempt.headers, "content-type") or "").lower()


def _error_object(attempt: Attempt) -> dict[str, object] | None:
    """The error that upstream itself sent, in a stream or as a body."""
    if attempt.gate is not None:
        error = attempt.gate.relayed_error
    else:
        parsed = attempt.incoming.error if (attempt.status or 0) >= 400 else None
        error = parsed.value if parsed is not None else None
    return error if isinstance(error, dict) else find_error(error)
