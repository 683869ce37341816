"""The proxy's state between requests, and the making of exchanges from requests."""

import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode

from healing.policy.accounts import Account, Accounts, eligible_accounts, runtime_accounts
from healing.policy.actions import Rules
from healing.policy.config import RESERVED_ACCOUNT, Config
from healing.policy.course import Shared
from healing.policy.exchange import Exchange
from healing.policy.failures import one_line
from healing.policy.journal import Journal
from healing.policy.known import Owner
from healing.policy.models import Route, Routes
from healing.policy.request import ClientRequest
from healing.policy.retry import RetryBudget
from healing.policy.signatures import SignatureStore, conversation_key
from healing.policy.unsupported import Unsupported
from healing.proxy import local
from healing.proxy.admission import Admission
from healing.proxy.claims import Asked, Claim, Target, find_targets, is_loopback, understand
from healing.proxy.credentials import CredentialError, Credentials
from healing.proxy.seal import Seal, take_off
from healing.wire.dialect import Dialect
from healing.wire.encoding import DecodingError, Decompressor
from healing.wire.jsonvalue import dump, parse
from healing.wire.translate.common import UntranslatableError

logger = logging.getLogger(__name__)

STORE_NAME = "signatures.sqlite3"


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()


class RefusedError(Exception):
    """This request can't become an exchange; `response` says why."""

    def __init__(self, response: http.Response) -> None:
        super().__init__(f"refused with {response.status_code}")
        self.response = response


class Governor:
    """Knows the configuration, the accounts and the budget; makes claims and exchanges."""

    def __init__(self, config: Config, journal: Journal, home: Path | None = None) -> None:
        """home: the data folder, where signatures are kept; None keeps them in memory."""
        self.journal = journal
        self.home = home
        self.signatures: SignatureStore | None = None
        self.credentials = Credentials()
        self.budget = RetryBudget()
        self.unsupported = Unsupported()
        self._unpaid: set[str] = set()
        self.clock = SystemClock()
        self.random: Random = SystemRandom()
        self.running = 0
        """How many exchanges are under way."""
        self.started_at = self.clock.now()
        self.exchanges = 0
        self.accounts = Accounts()
        self.use(config)

    def use(self, config: Config) -> None:
        """Take up a configuration; accounts that did not change keep their state."""
        self.config = config
        self.routes = Routes(config)
        guarded = bool(config.clients.keys or config.accounts)
        self.admission = Admission(config.clients, self.credentials, guarded=guarded)
        self.budget.spare = config.retry.spare_retries
        self.accounts = Accounts(runtime_accounts(config), config.retry.strategy, self.accounts)
        if self.signatures is None or self.signatures.settings != config.signatures:
            self.close()
            self.signatures = SignatureStore(self.home / STORE_NAME if self.home else None, config.signatures)
            # Read now, and not by two long requests at once.
            self.signatures.has_repairs(self.clock.wall())

    def close(self) -> None:
        """Write down what is still to be written."""
        if self.signatures is not None:
            self.signatures.close()

    def warnings(self) -> list[str]:
        """What is wrong with the credentials as they are now; requests may still find them mended."""
        problems = []
        for account in self.config.accounts:
            try:
                self.credentials.at_once(account, self.config.upstreams[account.upstream].dialect)
            except CredentialError as error:
                problems.append(f"account {account.name}: no credential: {error}")
        return problems + self.admission.warnings()

    # Claims.

    def serves(self, request: http.Request) -> bool:
        """Whether a request, by its own words, is for a healed endpoint of a configured upstream."""
        address = (request.scheme, request.host, request.port)
        targets = [
            Target("upstream", name, upstream)
            for name, upstream in self.config.upstreams.items()
            if (upstream.scheme, upstream.host, upstream.port) == address
        ]
        asked = understand(request, targets)
        return asked is not None and asked.operation.kind != "other"

    def claim(
        self, request: http.Request, context: Context, mode: HTTPMode, recorded: Mapping[str, Any] | None
    ) -> Claim | None:
        """Claim a request whose headers have come, None if it is not ours. Takes the credentials off it.

        recorded: for a replay, the story of the flow that was recorded.
        """
        targets = self._recorded_targets(recorded)
        if targets is None:
            targets = find_targets(request, context, mode, self.config.upstreams)
        if not targets:
            return None
        at_proxy = targets[0].kind == "proxy"
        asked = understand(request, targets)
        if not at_proxy and asked is None:
            return None
        seal = take_off(request)
        path, _, query = request.path.partition("?")
        client_address = context.client.peername[0]
        answer = self.admission.refusal(request, client_address, seal, asked.dialect if asked else None)
        if answer is None and at_proxy:
            answer = self._local_answer(request.method, path, asked)
            if answer is None and asked is None:
                answer = local.not_found(request.method, path)
        client = (recorded or {}).get("client") or self._client(seal, client_address)
        return Claim(asked, query, self.admission.without_keys(seal), answer, str(client))

    def _client(self, seal: Seal, address: str) -> str:
        """Who a client is, without saying so: a digest of its key, else of its credential, else of where it is."""
        who = self.admission.key_in(seal) or next(iter(seal.secrets), "")
        kind = "secret" if who else "here" if is_loopback(address) else "address"
        name = f"{kind}:{who or ('' if kind == 'here' else address)}"
        secret = self.signatures.secret if self.signatures is not None else b""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16, key=secret).hexdigest()

    def _recorded_targets(self, recorded: Mapping[str, Any] | None) -> list[Target] | None:
        """Where a replayed request goes: to the upstream that it was recorded for, "" being the proxy itself."""
        if recorded is None or (name := recorded.get("upstream")) is None:
            return None
        upstream = self.config.upstreams.get(name)
        return [Target("upstream", name, upstream) if upstream else Target("proxy")]

    def _local_answer(self, method: str, path: str, asked: Asked | None) -> http.Response | None:
        if asked is not None and asked.operation.kind == "list_models" and self._is_all_translated(asked.dialect):
            return local.json_response(200, dump(asked.dialect.model_list(self.routes.names())))
        match method, path:
            case "GET", "/health":
                return local.json_response(200, self.health())
            case "HEAD", "/" | "/api/hello" | "/health":
                return http.Response.make(200, b"", {"content-type": "application/json"})
        return None

    def _is_all_translated(self, dialect: Dialect) -> bool:
        """Whether a client of this dialect is served by upstreams of the other one only: none has a list for it."""
        if any(account.upstream.dialect == dialect.name for account in self.accounts.all):
            return False
        served = {account.upstream_name for account in self.accounts.all}
        return any(upstream in served for upstream in self.routes.upstreams())

    def health(self) -> dict[str, object]:
        """How the proxy is, without secrets."""
        now = self.clock.now()
        return {
            "status": "ok",
            "uptime_seconds": round(now - self.started_at, 1),
            "exchanges": self.exchanges,
            "running": self.running,
            "retries_left": self.budget.left(now),
            "accounts": self.accounts.report(now),
            "signatures": self.signatures.report() if self.signatures else None,
            "upstreams": {name: upstream.url for name, upstream in self.config.upstreams.items()},
            "routes": {name: target.to or name for name, target in self.config.models.items()},
        }

    # Exchanges.

    def exchange(self, claim: Claim, request: http.Request) -> Exchange:
        """The exchange for a claimed request whose body has come. Raises RefusedError."""
        assert claim.asked is not None
        target, path, dialect, operation = claim.asked
        body = self._plain_body(request, dialect)
        try:
            parsed = parse(body) if body else None
        except ValueError:
            parsed = None  # upstream says what is wrong with it, in its own words
        model = dialect.model_of(operation, parsed)
        route = self.routes.resolve(model) if model else Route(None, "", None)
        exchange_id = f"{self.random.getrandbits(32):08x}"
        streams = operation.streams
        if streams is None:
            streams = isinstance(parsed, dict) and parsed.get("stream") is True
        stated, session = self._sessions(request, dialect, parsed)
        session = session or exchange_id
        value = parsed
        if route.model != model:
            try:
                path, body = dialect.with_model(path, body, operation, route.model)
            except ValueError as error:
                message = f"The route {route.pattern!r} can't be applied to this request: {error}."
                raise RefusedError(local.refusal(dialect, 400, message)) from None
            if isinstance(parsed, dict) and "model" in parsed:
                value = {**parsed, "model": route.model}
        client_request = ClientRequest(
            exchange_id, dialect, operation, request.method, path, claim.query, body, model, streams, route,
            session, value, Owner(claim.client, stated),
        )  # fmt: skip
        rules = Rules(
            self.config.retry,
            self.config.peek.merged(route.peek),
            self.config.clients.account_header,
            tuple(self.routes.names()),
            self.config.repair,
            self.config.translate,
        )
        eligible = self._eligible(target, dialect, route)
        shared = Shared(
            self.accounts, self.budget, self.journal, self.clock, self.random, self.signatures, self.unsupported
        )  # fmt: skip
        try:
            exchange = Exchange(client_request, eligible, rules, shared)
        except UntranslatableError as error:
            message = f"The route {route.pattern!r} leads to the {eligible[0].upstream.dialect} dialect: {error}"
            logger.warning("%s: refused: %s", dialect.label, one_line(message))
            raise RefusedError(local.refusal(dialect, 400, message)) from None
        self.exchanges += 1
        exchange.meta.update(
            role="exchange",
            exchange=exchange_id,
            upstream=target.upstream_name,
            client=claim.client,
            conversation=conversation_key(claim.client, session),
        )
        return exchange

    @staticmethod
    def _sessions(request: http.Request, dialect: Dialect, body: object) -> tuple[str, str]:
        """What the client calls its conversation, and what keeps it on its account; "" where there is nothing."""
        stated = request.headers.get("x-claude-code-session-id", "")
        try:
            stated = stated or dialect.stated_session(body)
            return stated, stated or dialect.session_of(body) or ""
        except Exception:
            logger.exception("a conversation could not be recognised; this is a bug")
            return stated, stated

    def passing_account(self, claim: Claim) -> Account:
        """The one account that all requests outside of the healed endpoints use, as files and batches belong to it."""
        assert claim.asked is not None
        return self._eligible(claim.asked.target, claim.asked.dialect, Route(None, "", None))[0]

    def seal_of(self, account: Account, claim: Claim, *, renew: bool = False) -> Seal | None:
        """What an attempt on this account carries, None if a command has to be run for it. Raises CredentialError."""
        if account.source is None:
            assert claim.asked is not None
            # A client's credential is for the API that it believes to talk to, and for nobody else.
            return claim.seal if account.upstream.dialect == claim.asked.dialect.name else Seal()
        return self.credentials.at_once(account.source, account.upstream.dialect, renew=renew)

    def _eligible(self, target: Target, dialect: Dialect, route: Route) -> tuple[Account, ...]:
        upstreams = self.config.upstreams
        spoken = upstreams[route.upstream].dialect if route.upstream else dialect.name
        name = route.upstream or target.upstream_name
        if target.kind == "reverse" and not route.upstream:
            assert target.upstream is not None
            return (Account(RESERVED_ACCOUNT, RESERVED_ACCOUNT, "reverse", target.upstream),)
        there, eligible = eligible_accounts(self.accounts.all, spoken, name or None, route.model)
        if not there:
            name = name or spoken
            if spoken != dialect.name and name not in self._unpaid:
                self._unpaid.add(name)
                logger.warning("%s has no account: what is translated for it goes there without a credential", name)
            return (Account(RESERVED_ACCOUNT, RESERVED_ACCOUNT, name, upstreams[name]),)
        if not eligible:
            names = ", ".join(account.name for account in there)
            message = f"No account may serve model {route.model!r}: see `models` of the accounts {names}."
            raise RefusedError(local.refusal(dialect, 404, message))
        return eligible

    def _plain_body(self, request: http.Request, dialect: Dialect) -> bytes:
        """The body without its content-encoding. Raises RefusedError."""
        body = request.raw_content or b""
        coding = request.headers.get("content-encoding", "")
        if not coding:
            return body
        try:
            plain = Decompressor(coding).decode(body)
        except (ValueError, DecodingError) as error:
            message = f"The request body is not what its content-encoding says: {error}"
            raise RefusedError(local.refusal(dialect, 400, message)) from None
        return plain
