"""The making of exchanges from claimed requests."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mitmproxy import http

from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.exchange.given import Rules, Shared
from antigravity_healing.policy.exchange.placing import client_place, no_place
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.named_models import Named
from antigravity_healing.policy.routing.request import ClientRequest, Owner
from antigravity_healing.policy.routing.routes import Route
from antigravity_healing.policy.signing.store import conversation_key
from antigravity_healing.proxy.claiming.claims import Asked, Claim, query_of
from antigravity_healing.proxy.claiming.eligibility import Eligibility
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.guarding.refusals import RefusedError
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.http.encoding import DecodingError, Decompressor, TooLongError
from antigravity_healing.wire.http.trace_context import trace_parent
from antigravity_healing.wire.json.value import digest, parse
from antigravity_healing.wire.requests.naming import DoubtError, models_beside, read_certainly
from antigravity_healing.wire.requests.things import named_in_request
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.vertex import PlainRequest

logger = logging.getLogger(__name__)
_LONGEST_SESSION = 256


class ExchangeMaker:
    """Makes exchanges."""

    def __init__(self, state: State, eligibility: Eligibility) -> None:
        self._state = state
        self._eligibility = eligibility

    def exchange(self, claim: Claim, request: http.Request) -> Exchange:
        """The exchange for a claimed request whose body has come. Raises RefusedError."""
        with refusals.asked_by(claim.client, request):
            return self._exchange(claim, request)

    def _exchange(self, claim: Claim, request: http.Request) -> Exchange:
        assert claim.asked is not None
        body = self.plain_body(request, claim.asked.dialect)
        parsed, doubt = read_body(body)
        asked = self._client_request(claim, request, body, parsed)
        with refusals.asked_for(asked.model, asked.route.model):
            return self._begin(asked, claim, self._named(asked, parsed, doubt))

    def _begin(self, asked: ClientRequest, claim: Claim, named: Named) -> Exchange:
        """The exchange for an understood request. Raises RefusedError."""
        eligible = self._eligibility.accounts_for(claim, asked.route, named)
        placed = tuple(account for account in eligible if not no_place(account, asked.vertex, asked.route.model))
        if not placed:
            message = f"This request can't be sent: {no_place(eligible[0], asked.vertex, asked.route.model)}."
            raise RefusedError(refusals.refusal(asked.dialect, 400, message))
        eligible = placed
        try:
            return self.begin(asked, eligible, claim)
        except UntranslatableError as error:
            message = f"The route {asked.route.pattern!r} leads to the {eligible[0].upstream.dialect} dialect: {error}"
            raise RefusedError(refusals.refusal(asked.dialect, 400, message)) from None

    def _client_request(self, claim: Claim, request: http.Request, body: bytes, parsed: Any) -> ClientRequest:
        """What the client asks, with its model mapped. parsed: what the body says. Raises RefusedError."""
        assert claim.asked is not None
        _, path, dialect, operation = claim.asked
        vertex = client_place(dialect, path)
        path, body, parsed = as_elsewhere(claim.asked, PlainRequest(path, body, parsed))
        model = dialect.model_of(operation, parsed)
        longest = self._state.config.limits.model_bytes
        if len(model.encode("utf-8", "surrogatepass")) > longest:
            message = f"The model's name is too long: it may have {longest} bytes."
            raise RefusedError(refusals.refusal(dialect, 400, message))
        route = self._state.routes.resolve(model) if model else Route(None, "", None)
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
                with refusals.asked_for(model, route.model):
                    raise RefusedError(refusals.refusal(dialect, 400, message)) from None
            if isinstance(parsed, dict) and "model" in parsed:
                value = {**parsed, "model": route.model}
        return ClientRequest(
            exchange_id, dialect, operation, request.method, path, claim.query, body, model, streams, route,
            session, value, Owner(claim.client, stated), conversation_key(claim.client, session),
            trace_parent=trace_parent(request.headers.get("traceparent", "")), vertex=vertex,
            version=version_of(dialect, request),
        )  # fmt: skip

    def _named(self, asked: ClientRequest, parsed: Any, doubt: str) -> Named:
        """The models that an account has to be allowed to serve for this request. parsed, doubt: as `read_body`."""
        model = asked.route.model
        needed = model or asked.operation.kind in ("generate", "count_tokens")
        beside = models_beside(asked.model, parsed) if self._state.groups.choosy else ()
        return Named((model, *beside) if needed else beside, doubt)

    def begin(self, asked: ClientRequest, eligible: Sequence[Account], claim: Claim) -> Exchange:
        """The exchange for an understood request, on these accounts. Raises UntranslatableError."""
        assert claim.asked is not None
        if len(eligible) > 1 and eligible[0].upstream.dialect == asked.dialect.name:
            things = named_in_request(
                asked.dialect, asked.operation, asked.path, query_of(asked.query), asked.body, asked.value
            )  # fmt: skip
            asked = replace(asked, things=things)
        exchange = Exchange(asked, eligible, self._rules(asked.route), self._shared())
        self._state.exchanges += 1
        exchange.meta.update(
            role="exchange",
            exchange=asked.id,
            upstream=claim.asked.target.upstream_name,
            client=claim.client,
            conversation=asked.conversation,
        )
        return exchange

    def _rules(self, route: Route) -> Rules:
        """What the configuration says of exchanges on this route."""
        state, config = self._state, self._state.config
        limits = config.limits
        if state.body_size_limit is not None and state.body_size_limit < limits.answer_bytes:
            limits = limits.model_copy(update={"answer_bytes": state.body_size_limit})
        return Rules(
            config.retry,
            config.peek.merged(route.peek),
            config.clients.account_header,
            tuple(state.routes.names()),
            config.repair,
            config.translate,
            limits,
        )

    def _shared(self) -> Shared:
        """What all exchanges have in common."""
        state = self._state
        return Shared(
            state.accounts,
            state.budget,
            state.journal,
            state.clock,
            state.random,
            state.signatures,
            state.unsupported,
        )

    def new_id(self) -> str:
        """A short id for an exchange."""
        return f"{self._state.random.getrandbits(32):08x}"

    def plain_body(self, request: http.Request, dialect: Dialect) -> bytes:
        """The body without its content-encoding. Raises RefusedError."""
        body = request.raw_content or b""
        coding = request.headers.get("content-encoding", "")
        if not coding:
            return body
        try:
            decompressor = Decompressor(coding)
            plain = decompressor.decode(body, self._state.config.clients.max_body)
            decompressor.finish()
        except TooLongError as error:
            raise RefusedError(refusals.too_long(dialect, error.limit)) from None
        except (ValueError, DecodingError) as error:
            message = f"The request body is not what its content-encoding says: {error}"
            raise RefusedError(refusals.refusal(dialect, 400, message)) from None
        return plain


def as_elsewhere(asked: Asked, came: PlainRequest) -> PlainRequest:
    """The request as it is where it does not go to Vertex AI. Raises RefusedError."""
    _, path, dialect, operation = asked
    if dialect.vertex is None or dialect.vertex.place_in(path) is None:
        return came
    try:
        return dialect.vertex.plain(came, operation)
    except ValueError as error:
        raise RefusedError(refusals.refusal(dialect, 400, f"The body can't be read: {error}.")) from None


def version_of(dialect: Dialect, request: http.Request) -> str:
    """The version of the API that a request names in a header, "" where it names none."""
    name = dialect.vertex.version_header if dialect.vertex is not None else ""
    return request.headers.get(name, "") if name else ""


def read_body(body: bytes) -> tuple[Any, str]:
    """What a request's body says, None where that is no JSON; and why it is not certain, "" if it is."""
    if not body:
        return None, ""
    try:
        return read_certainly(body), ""
    except DoubtError as error:
        doubt = str(error)
    try:
        return parse(body), doubt
    except ValueError:
        return None, doubt  # who asks with a credential of its own is told by upstream


def sessions_of(request: http.Request, dialect: Dialect, body: object) -> tuple[str, str]:
    """What the client calls its conversation, and what keeps it on its account; "" where there is nothing."""
    stated = _bounded(request.headers.get(dialect.session_header, ""))
    try:
        stated = stated or _bounded(dialect.stated_session(body))
        return stated, stated or _bounded(dialect.session_of(body) or "")
    except Exception:
        logger.exception("a conversation could not be recognised; this is a bug")
        return stated, stated


def _bounded(session: str) -> str:
    """What a client calls its conversation, or a digest of it where that is long."""
    return session if len(session) <= _LONGEST_SESSION else digest("session", session)
