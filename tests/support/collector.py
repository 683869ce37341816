"""A collector for OpenTelemetry's OTLP over HTTP."""

import socket
import threading
from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.listening import Listening, read_body, read_head

type Value = str | int | float | bool | list[str]


class Collector(Listening):
    """Takes spans; `exports` are the requests by which they came, `heads` those requests' heads.

    status: with what it answers; None leaves whoever sends waiting.
    """

    def __init__(self, status: int | None = 200) -> None:
        self.status = status
        self.exports: list[ExportTraceServiceRequest] = []
        self.heads: list[bytes] = []
        self._changed = threading.Condition()

    @property
    def spans(self) -> list[Span]:
        """All that have come."""
        return [
            span
            for export in self.exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition on what has come holds. Raises AssertionError."""
        with self._changed:
            assert self._changed.wait_for(condition, 15), f"waited in vain for {what}: {self.spans}"

    def serve(self, connection: socket.socket) -> None:
        """Take what comes on a connection, until its client closes it."""
        while True:
            head, rest = read_head(connection)
            body = read_body(connection, head, rest)
            with self._changed:
                self.heads.append(head)
                self.exports.append(ExportTraceServiceRequest.FromString(body))
                self._changed.notify_all()
            if self.status is not None:
                connection.sendall(b"HTTP/1.1 %d Said so\r\ncontent-length: 0\r\n\r\n" % self.status)


def attributes(span: Span) -> dict[str, Value]:
    """What a span says, as Python has it."""
    found: dict[str, Value] = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        if kind == "array_value":
            found[pair.key] = [each.string_value for each in pair.value.array_value.values]
        elif kind is not None:
            found[pair.key] = getattr(pair.value, kind)
    return found
