"""The proxy's state between requests, and the making of exchanges from requests."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ReverseMode

from healing.policy.exchange.actions import Rules
from healing.policy.exchange.attempts_in_turn import Shared
from healing.policy.exchange.exchange import Exchange
from healing.policy.exchange.journal import Journal
from healing.policy.exchange.retry_table import RetryBudget
from healing.policy.routing.accounts import (
    Account,
    Accounts,
    eligible_accounts,
    named_models,
    runtime_accounts,
)
from healing.policy.routing.named_models import Named, takes_all
from healing.policy.routing.request import ClientRequest, Owner
from healing.policy.routing.routes import Route, Routes
from healing.policy.settings.schema import RESERVED_ACCOUNT, AccountSettings, Config, Upstream
from healing.policy.signing.store import SignatureStore, conversation_key
from healing.policy.translating.refused_features import Unsupported
from healing.proxy import local
from healing.proxy.addresses import is_loopback
from healing.proxy.admission import Admission
from healing.proxy.claims import Asked, Claim, Destination, find_targets, query_of, understand
from healing.proxy.credentials import CredentialError, Credentials
from healing.proxy.door import Door, Entry
from healing.proxy.pages import as_asked, show_to
from healing.proxy.reading import read_body, sessions_of, uncertain, unserved
from healing.proxy.seal import Seal, take_off
from healing.proxy.under_way import UnderWay
from healing.proxy.visits import Visits
from healing.wire.dialect import Dialect
from healing.wire.http.encoding import DecodingError, Decompressor, TooLongError
from healing.wire.http.fields import wrong_fields, wrong_target
from healing.wire.http.paths import PathError
from healing.wire.json.value import dump
from healing.wire.requests.naming import models_beside
from healing.wire.requests.things import named_in_request
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
        self.credentials = Credentials(lambda: self.config.limits)
        self.visits = Visits()
        self.budget = RetryBudget()
        self.unsupported = Unsupported()
        self._unpaid: set[str] = set()
        self.clock = SystemClock()
        self.under_way = UnderWay()
        self.random: Random = SystemRandom()
        self.body_size_limit: int | None = None
        """How many bytes mitmproxy is told to take of a body (its option `body_size_limit`)."""
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
        self.door = Door(config.clients, self.admission, self.visits)
        self.budget.spare = config.retry.spare_retries
        self.accounts = Accounts(
            runtime_accounts(config),
            config.retry.strategy,
            self.accounts,
            probe_s=config.limits.probe_seconds,
            named=named_models(config),
        )
        self._choosy = not all(map(takes_all, self.accounts.all))
        if self.signatures is None or self.signatures.settings != config.signatures:
            self.close()
            self.signatures = SignatureStore(self.home / STORE_NAME if self.home else None, config.signatures)
            # Read now, and not by two long requests at once.
            self.signatures.has_repairs(self.clock.wall())

    def close(self) -> None:
        """Write down what is still to be written."""
        if self.signatures is not None:
            self.signatures.close()

    async def warnings(self) -> list[str]:
        """What is wrong with the credentials as they are now; requests may still find them mended."""
        upstreams = self.config.upstreams
        found = await asyncio.gather(
            *(self._trouble_with(account, upstreams[account.upstream].dialect) for account in self.config.accounts)
        )
        await self.credentials.learn(self.config.clients.keys)
        return [problem for problem in found if problem] + self.admission.warnings()

    async def _trouble_with(self, account: AccountSettings, dialect: str) -> str:
        try:
            await self.credentials.check(account, dialect)
        except CredentialError as error:
            return f"account {account.name}: no credential: {error}"
        return ""

    # Claims.

    def serves(self, request: http.Request) -> bool:
        """Whether a request, by its own words, is for a healed endpoint of a configured upstream."""
        address = (request.scheme, request.host, request.port)
        targets = [
            Destination("upstream", name, upstream)
            for name, upstream in self.config.upstreams.items()
            if (upstream.scheme, upstream.host, upstream.port) == address
        ]
        try:
            asked = understand(request, targets)
        except PathError:
            return False
        return asked is not None and asked.operation.kind != "other"

    def claim(
        self, request: http.Request, context: Context, mode: HTTPMode, recorded: Mapping[str, Any] | None
    ) -> Claim | None:
        """Claim a request whose headers have come, None if it passes. Takes the credentials for us and others off it.

        recorded: for a replay, the story of the flow that was recorded.
        """
        targets = self._recorded_targets(recorded)
        if targets is None:
            targets = find_targets(request, context, mode, self.config.upstreams, self.config.clients.hosts)
        at_proxy = bool(targets) and targets[0].kind == "proxy"
        reverse = isinstance(context.client.proxy_mode, ReverseMode)
        flaw = wrong_target(request.data.path, ascii_only=True) or wrong_fields(request.headers.fields)
        asked = None
        try:
            asked = understand(as_asked(request) if at_proxy or reverse else request, targets)
        except PathError as error:
            if at_proxy or any(self.has_accounts(target) for target in targets):
                flaw = flaw or str(error)
        dialect = asked.dialect if asked else None
        flawed = local.refusal(dialect, 400, f"This request is not taken: {flaw}.") if flaw else None
        replayed = recorded is not None
        if not targets or not (at_proxy or flaw or asked is not None):
            refusal = self.door.pass_through(request, context, mode, replayed=replayed) or flawed
            refusal = refusal or (None if replayed else self.under_way.refusal(dialect))
            return Claim(None, "", take_off(request), refusal) if refusal else None
        entry = self.door.enter(request, context, mode, targets, dialect, replayed=replayed)
        seal = take_off(request)
        if not flawed and seal.flaw:
            flawed = local.refusal(dialect, 431, f"This request is not taken: {seal.flaw}.")
        path, _, query = request.path.partition("?")
        answer = entry.refusal or flawed or (None if replayed else self.under_way.refusal(dialect))
        if answer is None and at_proxy:
            answer = self._local_answer(request.method, path, asked)
            if answer is None and asked is None:
                answer = local.not_found(request.method, path)
            if answer is not None and entry.page:
                show_to(answer, entry.page)
        client = (recorded or {}).get("client") or self._client(entry, seal)
        return Claim(asked, query, seal, answer, str(client), entry.page)

    def _client(self, entry: Entry, seal: Seal) -> str:
        """Who a client is, without saying so: a digest of its key, else of its credential, else of where it is."""
        who, address = entry.key or next(iter(seal.secrets), ""), entry.visitor.address
        kind = "secret" if who else "here" if is_loopback(address) else "address"
        name = f"{kind}:{who or ('' if kind == 'here' else address)}"
        return self._digest(name)

    def _digest(self, name: str) -> str:
        secret = self.signatures.secret if self.signatures is not None else b""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16, key=secret).hexdigest()

    def _recorded_targets(self, recorded: Mapping[str, Any] | None) -> list[Destination] | None:
        """Where a replayed request goes: to the upstream that it was recorded for, "" being the proxy itself."""
        if recorded is None or (name := recorded.get("upstream")) is None:
            return None
        upstream = self.config.upstreams.get(name)
        return [Destination("upstream", name, upstream) if upstream else Destination("proxy")]

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
        _, path, dialect, operation = claim.asked
        body = self.plain_body(request, dialect)
        parsed, doubt = read_body(body)
        model = dialect.model_of(operation, parsed)
        longest = self.config.limits.model_bytes
        if len(model.encode("utf-8", "surrogatepass")) > longest:
            message = f"The model's name is too long: it may have {longest} bytes."
            raise RefusedError(local.refusal(dialect, 400, message))
        route = self.routes.resolve(model) if model else Route(None, "", None)
        exchange_id = self.new_id()
        streams = operation.streams
        if streams is None:
            streams = isinstance(parsed, dict) and parsed.get("stream") is True
        stated, session = sessions_of(request, dialect, parsed)
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
        needed = route.model or operation.kind in ("generate", "count_tokens")
        beside = models_beside(model, parsed) if self._choosy else ()
        named = Named((route.model, *beside) if needed else beside, doubt)
        eligible = self.eligible(claim, route, named)
        try:
            return self.begin(client_request, eligible, claim)
        except UntranslatableError as error:
            message = f"The route {route.pattern!r} leads to the {eligible[0].upstream.dialect} dialect: {error}"
            raise RefusedError(local.refusal(dialect, 400, message)) from None

    def begin(self, asked: ClientRequest, eligible: Sequence[Account], claim: Claim) -> Exchange:
        """The exchange for an understood request, on these accounts. Raises UntranslatableError."""
        assert claim.asked is not None
        limits = self.config.limits
        if self.body_size_limit is not None and self.body_size_limit < limits.answer_bytes:
            limits = limits.model_copy(update={"answer_bytes": self.body_size_limit})
        rules = Rules(
            self.config.retry,
            self.config.peek.merged(asked.route.peek),
            self.config.clients.account_header,
            tuple(self.routes.names()),
            self.config.repair,
            self.config.translate,
            limits,
        )
        shared = Shared(
            self.accounts, self.budget, self.journal, self.clock, self.random, self.signatures, self.unsupported
        )  # fmt: skip
        if len(eligible) > 1 and eligible[0].upstream.dialect == asked.dialect.name:
            things = named_in_request(
                asked.dialect, asked.operation, asked.path, query_of(asked.query), asked.body, asked.value
            )  # fmt: skip
            asked = replace(asked, things=things)
        exchange = Exchange(asked, eligible, rules, shared)
        self.exchanges += 1
        exchange.meta.update(
            role="exchange",
            exchange=asked.id,
            upstream=claim.asked.target.upstream_name,
            client=claim.client,
            conversation=conversation_key(claim.client, asked.session),
        )
        return exchange

    def new_id(self) -> str:
        """A short id for an exchange."""
        return f"{self.random.getrandbits(32):08x}"

    def has_accounts(self, target: Destination) -> bool:
        """Whether any account serves there; else the client's own credential is what counts."""
        return any(account.upstream_name == target.upstream_name for account in self.accounts.all)

    def seal_of(self, account: Account, claim: Claim, *, refused: Seal | None = None) -> Seal | None:
        """What an attempt on this account carries, None if that takes time to find out. Raises CredentialError."""
        if account.source is None:
            assert claim.asked is not None
            # A client's credential is for the API that it believes to talk to, and for nobody else.
            return claim.seal if account.upstream.dialect == claim.asked.dialect.name else Seal()
        return self.credentials.at_once(account.source, account.upstream.dialect, refused=refused)

    def eligible(self, claim: Claim, route: Route, named: Named) -> tuple[Account, ...]:
        """The accounts that may be asked, at least one. Raises RefusedError where there are, and none may."""
        assert claim.asked is not None
        target, _, dialect, _ = claim.asked
        upstreams = self.config.upstreams
        spoken = upstreams[route.upstream].dialect if route.upstream else dialect.name
        name = route.upstream or target.upstream_name
        if target.kind == "reverse" and not route.upstream:
            assert target.upstream is not None
            return (self._own_account(claim, "reverse", target.upstream),)
        there, _ = eligible_accounts(self.accounts.all, spoken, name or None, route.model)
        if not there:
            name = name or spoken
            if spoken != dialect.name and name not in self._unpaid:
                self._unpaid.add(name)
                logger.warning("%s has no account: what is translated for it goes there without a credential", name)
            return (self._own_account(claim, name, upstreams[name]),)
        if named.doubt:
            raise RefusedError(local.refusal(dialect, 400, uncertain(named.doubt)))
        if spoken != dialect.name:
            named = Named(named.models[:1])  # a translated request names nothing else
        eligible = tuple(account for account in there if named.fits(account))
        if not eligible:
            status = 404 if all(named.models) else 400
            raise RefusedError(local.refusal(dialect, status, unserved(named, there)))
        return eligible

    def _own_account(self, claim: Claim, name: str, upstream: Upstream) -> Account:
        """The client's own credential as an account: what upstream says of it holds for it and for nobody else's."""
        assert claim.asked is not None
        secrets: Sequence[str] = ()
        if upstream.dialect == claim.asked.dialect.name:
            secrets = claim.seal.secrets or [value for _, value in claim.seal.more]
        owner = self._digest("\0".join((upstream.url, *(secrets or ("", claim.client)))))
        return Account(RESERVED_ACCOUNT, RESERVED_ACCOUNT, name, upstream, owner=owner)

    def plain_body(self, request: http.Request, dialect: Dialect) -> bytes:
        """The body without its content-encoding. Raises RefusedError."""
        body = request.raw_content or b""
        coding = request.headers.get("content-encoding", "")
        if not coding:
            return body
        try:
            decompressor = Decompressor(coding)
            plain = decompressor.decode(body, self.config.clients.max_body)
            decompressor.finish()
        except TooLongError as error:
            raise RefusedError(local.too_long(dialect, error.limit)) from None
        except (ValueError, DecodingError) as error:
            message = f"The request body is not what its content-encoding says: {error}"
            raise RefusedError(local.refusal(dialect, 400, message)) from None
        return plain
