"""Sending spans to a collector, by OpenTelemetry's SDK: importing this takes most of a second."""

import logging
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from antigravity_healing import DISTRIBUTION, own_version
from antigravity_healing.monitor.tracing import names
from antigravity_healing.monitor.tracing.spans import SpanFacts, attempt_span, exchange_span
from antigravity_healing.policy.journal.records import Record
from antigravity_healing.policy.judging.failures import one_line, shortened

_LONGEST_REASON = 300


class SpanSender:
    """Makes spans of records and sends them. All of it takes time, and belongs into a thread."""

    def __init__(self) -> None:
        """What it sends where is told by the environment, as OpenTelemetry's specification says."""
        self._reason = _Reason()
        self._ended = _Ended()
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer(DISTRIBUTION, own_version(), schema_url=names.SCHEMA_URL)
        self._propagator = TraceContextTextMapPropagator()
        self._exporter = OTLPSpanExporter()

    def send(self, records: Sequence[Record]) -> str:
        """Send the spans of exchanges that are over. Gives why that was not possible, "" if it was."""
        self._reason.first = ""
        for record in records:
            self._make(record)
        spans, self._ended.spans = self._ended.spans, []
        if not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS:
            return ""
        return self._reason.first or "the collector did not take them"

    def close(self) -> None:
        """Send no more; ends what another thread is sending."""
        self._exporter.shutdown()

    def _make(self, record: Record) -> None:
        if record.end is None:
            return
        exchange, end = record.exchange, record.end
        outer = self._propagator.extract({"traceparent": exchange.trace_parent}) if exchange.trace_parent else Context()
        facts = exchange_span(exchange, end)
        span = self._begin(facts, SpanKind.SERVER, outer)
        inside = trace.set_span_in_context(span, outer)
        for attempt in end.attempts:
            made = attempt_span(exchange, attempt)
            _end(self._begin(made, SpanKind.CLIENT, inside), made)
        _end(span, facts)

    def _begin(self, facts: SpanFacts, kind: SpanKind, context: Context) -> Span:
        return self._tracer.start_span(
            facts.name, context, kind, dict(facts.attributes), start_time=_nanoseconds(facts.started_at)
        )


class _Ended(SpanProcessor):
    """Collects the spans that are over."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """One is."""
        self.spans.append(span)


class _Reason(logging.Filter):
    """Keeps back what the exporter says of each try: that it fails is said once, with the first reason."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let nothing through."""
        self.first = self.first or shortened(one_line(record.getMessage()), _LONGEST_REASON)
        return False


def _end(span: Span, facts: SpanFacts) -> None:
    if facts.failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end(_nanoseconds(facts.ended_at))


def _resource() -> Resource:
    """What sends the spans, as the environment calls it."""
    named = Resource.create()
    if str(named.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return named.merge(Resource({SERVICE_NAME: DISTRIBUTION}))
    return named


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
