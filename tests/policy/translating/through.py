"""What stands between a talking client and a talking API: exchanges of one proxy, without a proxy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from antigravity_healing.policy.exchange.actions import Abort, Finish, Respond, Send, Start
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.exchange.given import Rules, Shared
from antigravity_healing.policy.exchange.retry_table import RetryBudget
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.routing.accounts import Account, Accounts
from antigravity_healing.policy.routing.request import ClientRequest, Owner
from antigravity_healing.policy.routing.routes import Route
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.settings.schema import Retry
from antigravity_healing.policy.signing.store import SignatureStore

from tests.policy.exchange.stage import DIALECTS, FakeClock
from tests.upstream import Reply
from tests.upstream import histories as talk

OLD, NEW, GEMINI = "claude-sonnet-4-5", "claude-opus-5-5", "gemini-3-pro-preview"


class Kind(NamedTuple):
    """Which client on which upstream. model: what upstream is asked for, where that is another one."""

    dialect: str
    named: str
    spoken: str = ""
    model: str = ""


@dataclass
class Through:
    """The exchanges of one conversation; those of others may share its store.

    name: what their ids begin with.
    """

    store: SignatureStore
    name: str = "e"
    clock: FakeClock = field(default_factory=FakeClock)
    key: str = "the account's own key"
    exchanges: int = 0

    def proxy(self, owner: Owner, *, spoken: str = "", model: str = "") -> talk.Through:
        """What stands between one client and the API. spoken: the API's dialect; model: what it is asked for."""

        def through(sent: talk.Sent, send: talk.Send) -> Reply:
            return self._exchange(owner, sent, send, spoken, model)

        return through

    def _exchange(self, owner: Owner, sent: talk.Sent, send: talk.Send, spoken: str, model: str) -> Reply:
        self.exchanges += 1
        client = "anthropic" if sent.path == "/v1/messages" else "gemini"
        dialect = DIALECTS[client]
        operation = dialect.operation("POST", sent.path, {})
        assert operation is not None
        value = json.loads(sent.body)
        asked = dialect.model_of(operation, value)
        request = ClientRequest(
            f"{self.name}{self.exchanges}", dialect, operation, "POST", sent.path, "", sent.body, asked, False,
            Route(None, model or asked, None), owner.session or "a session", value, owner,
        )  # fmt: skip
        upstream = schema.BUILT_IN[spoken or client]
        account = Account("a", "a", spoken or client, upstream)
        shared = Shared(
            Accounts([account]), RetryBudget(1_000_000), Journal(), self.clock, Random(self.exchanges), self.store
        )
        exchange = Exchange(request, [account], Rules(Retry(upgrade=False)), shared)
        exchange.start()
        return self._carried_out(exchange, send)

    def _carried_out(self, exchange: Exchange, send: talk.Send) -> Reply:
        status, body = 0, b""
        while True:
            while exchange.actions:
                match exchange.actions.popleft():
                    case Start(attempt):
                        self._answer(exchange, attempt, send)
                    case Respond(status):
                        pass
                    case Send(data):
                        body += data
                    case Finish():
                        assert exchange.pass_through is None, "a bug in the exchange"
                        return Reply(status=status, body=body)
                    case Abort():
                        pass
            assert exchange.deadline is not None
            self.clock.at = max(self.clock.at, exchange.deadline)
            exchange.wakeup()

    def _answer(self, exchange: Exchange, attempt: Attempt, send: talk.Send) -> None:
        headers: Mapping[str, str] = {"x-api-key": self.key, "anthropic-beta": ",".join(attempt.prepared.betas)}
        if attempt.asked.dialect.name == "gemini":
            headers = {"x-goog-api-key": self.key}
        reply = send(talk.Sent(attempt.path.partition("?")[0], attempt.body, dict(headers)))
        exchange.head(attempt, reply.status, ((b"content-type", b"application/json"),))
        exchange.data(attempt, reply.whole)
        exchange.read_data()
        exchange.body_ended(attempt)
