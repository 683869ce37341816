"""The spans of an exchange that is over, made of what the journal tells of it: never of what was said in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from antigravity_healing.monitor.tracing import names
from antigravity_healing.policy.journal.records import AttemptFacts, ExchangeEnd, ExchangeFacts
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.usage import Usage

type Attribute = str | int | float | bool | tuple[str, ...]
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SpanFacts:
    """A span. started_at, ended_at: seconds since 1970."""

    name: str
    started_at: float
    ended_at: float
    attributes: Mapping[str, Attribute]
    failed: bool


def exchange_span(exchange: ExchangeFacts, end: ExchangeEnd) -> SpanFacts:
    """What a server tells of a request."""
    route = exchange.path
    for model in filter(None, (exchange.mapped_model, exchange.model)):
        route = route.replace(f"/{model}", "/{model}")
    failed = end.outcome == "failed"
    attributes = {
        names.METHOD: exchange.method,
        names.PATH: exchange.path,
        names.ROUTE: route,
        names.STATUS: end.status,
        names.CONVERSATION: exchange.conversation,
        names.EXCHANGE: exchange.exchange,
        names.OUTCOME: end.outcome,
        names.ERROR_TYPE: _cause(end) if failed else None,
    }
    name = f"{exchange.method} {route}".strip() or "request"
    return SpanFacts(name, exchange.at, exchange.at + end.duration_s, _told(attributes), failed)


def attempt_span(exchange: ExchangeFacts, attempt: AttemptFacts) -> SpanFacts:
    """What a client of an upstream tells of a request for it."""
    url = urlsplit(attempt.url)
    operation = _operation(attempt.dialect, exchange.operation)
    attributes = {
        names.OPERATION: operation,
        names.PROVIDER: _provider(attempt.dialect, url.hostname or ""),
        names.REQUEST_MODEL: attempt.mapped_model,
        names.REQUEST_STREAM: attempt.streams,
        names.REQUEST_MAX_TOKENS: attempt.max_tokens,
        names.CONVERSATION: exchange.conversation,
        names.RESPONSE_ID: attempt.response_id,
        names.FINISH_REASONS: attempt.finish_reasons,
        names.STATUS: attempt.status,
        names.ERROR_TYPE: None if attempt.failure is None else str(attempt.failure),
        names.RESEND_COUNT: attempt.attempt - 1 or None,
        names.FIRST_CHUNK: attempt.first_content_s,
        names.SERVER_ADDRESS: url.hostname,
        names.SERVER_PORT: url.port or _PORTS.get(url.scheme),
        names.EXCHANGE: exchange.exchange,
        names.ACCOUNT: attempt.account,
        names.VERDICT: attempt.verdict,
        names.REPAIR: attempt.repaired,
        **_usage(attempt.usage),
    }
    name = f"{operation or exchange.method} {attempt.mapped_model}".strip() or "request"
    ended_at = attempt.at + (attempt.over_s or 0.0)
    return SpanFacts(name, attempt.at, ended_at, _told(attributes), attempt.failure is not None)


def _told(attributes: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """Those that say anything."""
    return {name: value for name, value in attributes.items() if value not in (None, "", ())}


def _cause(end: ExchangeEnd) -> str:
    failures = [attempt.failure for attempt in end.attempts if attempt.failure is not None]
    return str(failures[-1]) if failures else str(end.status or "_OTHER")


def _operation(dialect: str, kind: str) -> str | None:
    if kind == "count_tokens":
        return names.COUNT_TOKENS
    return DIALECTS[dialect].gen_ai.operation if kind == "generate" and dialect in DIALECTS else None


def _provider(dialect: str, host: str) -> str | None:
    if host.endswith(names.VERTEX_HOSTS):
        return names.VERTEX
    return DIALECTS[dialect].gen_ai.provider if dialect in DIALECTS else None


def _usage(usage: Usage | None) -> dict[str, Attribute | None]:
    if usage is None:
        return {}
    return {
        names.INPUT_TOKENS: usage.input,
        names.OUTPUT_TOKENS: usage.output,
        names.CACHE_READ: usage.cache_read or None,
        names.CACHE_WRITE: usage.cache_write or None,
        names.REASONING: usage.reasoning or None,
    }
