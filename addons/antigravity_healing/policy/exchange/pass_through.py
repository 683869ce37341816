"""What is left of an exchange when its own code fails: upstream's answer passes as it comes.

No judging, no retry, no bookkeeping: as little as possible that could fail too.
"""

from collections import deque

from antigravity_healing.policy.exchange.actions import Action, Finish, Respond, Send, Start
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.events import Events
from antigravity_healing.policy.exchange.placing import placed
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest
from antigravity_healing.wire.http import headers as http
from antigravity_healing.wire.http.encoding import DecodingError
from antigravity_healing.wire.http.headers import Headers

_NOT_FORWARDED = http.HOP_BY_HOP | {b"content-length", b"content-encoding"}


class PassThrough(Events):
    """Handles what happens after a bug: passes one attempt's answer through.

    begun: whether the answer to the client has begun. done: whether it is over.
    attempt: the one that was started here, None where it was under way.
    """

    def __init__(self, request: ClientRequest, actions: deque[Action], *, begun: bool, done: bool) -> None:
        self.begun = begun
        self.done = done
        self.attempt: Attempt | None = None
        self._request = request
        self._actions = actions

    def ask(self, account: Account, now: float, number: int = 1) -> Attempt:
        """Make the one attempt that passes, on this account."""
        request = self._request
        asked = request.as_it_is()
        self.attempt = Attempt(number, account, request.route.model, asked, now)
        self.attempt.prepared = placed(self.attempt.prepared, asked, account, request)
        self._actions.append(Start(self.attempt))
        return self.attempt

    def adopt(self, attempt: Attempt) -> None:
        """Go on with an attempt that is under way: what has come of it and was not passed on yet goes first."""
        if not attempt.sent:
            self._actions.append(Start(attempt))
        if attempt.status is None or self.done:
            return
        # A whole answer that has been begun has been sent, too.
        whole = b"" if self.begun else bytes(attempt.incoming.whole)
        self._begin(attempt.status, attempt.headers)
        waiting = attempt.gate.unsent() if attempt.gate is not None else b""
        self._send(
            attempt,
            whole + attempt.incoming.out_of_gate + waiting + attempt.incoming.beginning + attempt.incoming.into_gate,
        )
        self._send_rest(attempt)
        if attempt.ended:
            self.body_ended(attempt)

    def head(self, attempt: Attempt, status: int, headers: Headers) -> None:
        """The response headers have come."""
        if self._is_other(attempt):
            return
        self._begin(status, headers)

    def data(self, attempt: Attempt, data: bytes) -> None:
        """More of the body has come."""
        if self._is_other(attempt):
            return
        attempt.incoming.intake.put(data)
        self._send_rest(attempt)

    def body_ended(self, attempt: Attempt, broken: str = "") -> None:
        """The body has ended, or the connection failed."""
        if self.done or self._is_other(attempt):
            return
        if not self.begun:
            dialect, broken = self._request.dialect, ""
            status = dialect.fitting_status(502)
            self._begin(status, ((b"content-type", b"application/json"),))
            self._actions.append(Send(dialect.error_body(status, "internal error of the proxy; see its log")))
        self._send(attempt, attempt.clean(b"", last=True))
        self._finish(broken)

    def _finish(self, broken: str) -> None:
        if not self.done:
            self.done = True
            self._actions.append(Finish(broken))

    def _is_other(self, attempt: Attempt) -> bool:
        """Whether this is one that was given up for the one that passes."""
        return self.attempt is not None and attempt is not self.attempt

    def _begin(self, status: int, headers: Headers) -> None:
        if not self.begun:
            self.begun = True
            self._actions.append(Respond(status, http.without(headers, _NOT_FORWARDED), streams=True))

    def _send_rest(self, attempt: Attempt) -> None:
        try:
            for data in attempt.incoming.intake.rest():
                self._send(attempt, attempt.clean(data))
        except DecodingError as error:
            self._finish(f"the body is not what its content-encoding says: {error}")

    def _send(self, attempt: Attempt, data: bytes) -> None:
        if data and not self.done:
            self._actions.append(Send(attempt.redactor.redact(data)))
