"""The repairs as an exchange uses them: none of their own failures ever reaches it."""

import logging
from collections.abc import Callable
from typing import Any

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.placing import placed
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest, UpstreamRequest
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing.repairs import REPAIRERS, Prepared, Repairs
from antigravity_healing.policy.signing.rules import RepairRule
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.wire.json.value import parse

logger = logging.getLogger(__name__)

_REPAIRED_KINDS = ("generate", "count_tokens")


class RequestRepairs:
    """Looks after the signatures of one exchange.

    refused: the first attempt that was refused for its signatures; its answer is the client's if nothing helps.
    """

    def __init__(
        self,
        request: ClientRequest,
        asked: UpstreamRequest,
        store: SignatureStore | None,
        settings: schema.Repair,
        clock: Clock,
    ) -> None:
        self.refused: Attempt | None = None
        self._ready: tuple[schema.Upstream, UpstreamRequest, Prepared] | None = None
        self._request = request
        self._clock = clock
        self.repairs: Repairs | None = None
        repairable = asked.operation.kind in _REPAIRED_KINDS and asked.dialect.name in REPAIRERS
        if store is not None and repairable:
            self.repairs = Repairs(
                asked.dialect.name, asked.body, asked.value, request.route.model, request.owner, request.session,
                store, settings, asked.translated,
            )  # fmt: skip

    @property
    def count(self) -> int:
        """How many repairs there were."""
        return self.repairs.count if self.repairs is not None else 0

    @property
    def sent(self) -> dict[str, Any]:
        """What the last attempt asked, repaired."""
        return self.repairs.sent if self.repairs is not None else {}

    def make_ready(self, account: Account, asked: UpstreamRequest) -> None:
        """Prepare a first attempt on this account ahead of time."""
        self._ready = (account.upstream, asked, self.prepare(account, asked))

    def is_ready(self, account: Account, asked: UpstreamRequest) -> bool:
        """Whether that is what the next attempt is."""
        ready = self._ready
        return ready is not None and ready[0] == account.upstream and ready[1] is asked

    def prepare(self, account: Account, asked: UpstreamRequest) -> Prepared:
        """What an attempt on this account sends, which asks this."""
        is_ready, ready, self._ready = self.is_ready(account, asked), self._ready, None
        if ready is not None and is_ready:
            return ready[2]
        now = self._clock.wall()
        if self.repairs is not None:
            self.repairs.ask(asked.body, asked.value)
        prepared = self._safely(lambda repairs: repairs.prepare(account, now), Prepared(asked.body))
        return placed(prepared, asked, account, self._request)

    def after(self, attempt: Attempt, failure: Failure) -> RepairRule | None:
        """The repair with which the next attempt is made, None where nothing helps."""
        if failure.kind is FailureClass.SIGNATURE and self.refused is None:
            self.refused = attempt
        text, now = attempt.incoming.error.text if attempt.incoming.error is not None else "", self._clock.wall()
        return self._safely(lambda repairs: repairs.after(attempt.account, failure, text, now), None)

    def attempt_to_tell(self, attempt: Attempt, failure: Failure) -> Attempt:
        """The attempt of whose failure the client is told: where no repair has helped, the first that was refused."""
        if self.refused is not None and failure.kind in (FailureClass.SIGNATURE, FailureClass.CALLER):
            return self.refused
        return attempt

    def keep_signed(self, attempt: Attempt) -> None:
        """The answer of this attempt has reached the client, wholly or in part: what it signed is kept."""
        if attempt.status is not None and attempt.status < 300:
            self._safely(lambda repairs: self._keep_signed(repairs, attempt), None)

    def _keep_signed(self, repairs: Repairs, attempt: Attempt) -> None:
        now, gate = self._clock.wall(), attempt.gate
        if attempt.failure is None or (gate is not None and gate.content):
            repairs.served(now)
        if attempt.asked.operation.kind == "generate":
            repairs.capture(attempt.account, self._content(attempt), now)

    @staticmethod
    def _content(attempt: Attempt) -> list[dict[str, Any]]:
        """The blocks or parts of an answer that the client has got whole."""
        if attempt.gate is not None:
            return attempt.gate.signed_content
        try:
            return attempt.asked.dialect.content_of(parse(attempt.incoming.upstream_whole or attempt.incoming.whole))
        except ValueError:
            return []  # an array that was cut, or is too long to be kept

    def _safely[T](self, action: Callable[[Repairs], T], otherwise: T) -> T:
        """A bug of ours must not cost a request that would have worked without us."""
        if self.repairs is None:
            return otherwise
        try:
            return action(self.repairs)
        except RecursionError:
            self.repairs = None  # what is nested so deeply is upstream's to refuse
            return otherwise
        except Exception:
            logger.exception("signatures could not be looked after; this is a bug")
            self.repairs = None
            return otherwise
