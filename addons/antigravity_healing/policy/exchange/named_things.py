"""The things that belong to accounts (files, caches, batches) which an answer names: its account has them."""

from collections.abc import Sequence

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.exchange.actions import LONG_BYTES
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.policy.signing.things import Things
from antigravity_healing.wire.json.value import parse
from antigravity_healing.wire.requests.things import may_be_named, named_in_answer, named_in_events


class NamedThings:
    """Looks after the things of one exchange. eligible: the accounts that may serve it."""

    def __init__(
        self, request: ClientRequest, eligible: Sequence[Account], store: SignatureStore | None, clock: Clock
    ) -> None:
        self._request = request
        self._several = len(eligible) > 1
        self._things = Things(request.things, request.owner, store, clock.wall)
        self._seen: set[str] = set()
        self.holders = self._things.holders(eligible)
        """The accounts to ask first."""

    def begin(self) -> None:
        """Another answer is to come."""
        self._seen.clear()

    def see(self, events: bytes) -> None:
        """The client gets these events of upstream's answer."""
        if self._several:
            self._seen |= named_in_events(self._request.dialect, events)

    def learn(self, attempt: Attempt) -> None:
        """The answer has reached the client: its account has what was named."""
        if not self._several or not 200 <= (attempt.status or 0) < 300 or attempt.asked.translated:
            return
        if attempt.failure is None or attempt.committed:
            self._things.lie_with(attempt.account, (*self._seen, *self._named_whole(attempt)))

    def _named_whole(self, attempt: Attempt) -> frozenset[str]:
        """What an answer that did not stream names."""
        whole, request = attempt.incoming.whole, self._request
        is_other, dialect = request.operation.kind == "other", request.dialect
        seen = len(whole) < LONG_BYTES and (is_other or named_in_events(dialect, bytes(whole)))
        if not seen or not may_be_named(request.dialect, request.path, whole):
            return frozenset()
        try:
            return named_in_answer(request.dialect, request.path, parse(whole))
        except ValueError:
            return frozenset()  # the content of a file, say
