"""What a client asks, and what is asked of upstream for it."""

from dataclasses import dataclass, field, replace
from typing import Any

from antigravity_healing.policy.routing.routes import Route
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.vertex import VertexPlace

LONG_BODY_BYTES = 128 * 1024
"""A body of so many bytes is not made ready on the event loop."""
# Each may be a call without its signature, which takes a tenth of a millisecond to look for.
_MANY_OBJECTS = 1024


def takes_time(body: bytes) -> bool:
    """Whether a request with this body, which is plain, is made ready beside the event loop."""
    return len(body) >= LONG_BODY_BYTES or body.count(b"{") > _MANY_OBJECTS


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose conversation it is.

    client: a digest of the client's key or credential. session: what the client itself calls its conversation, "" where
    it does not: conversations that began alike are told apart by it.
    """

    client: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is asked of upstream, in its own dialect.

    path: without the upstream's prefix. query: without credentials.
    value: what the body says, None if that is no JSON.
    streams: whether the answer is to be a stream.
    translated: whether the client speaks another dialect, so that its headers say nothing to this upstream.
    without: what this upstream was found not to take.
    """

    dialect: Dialect
    operation: Operation
    path: str
    query: str
    body: bytes
    value: Any
    streams: bool
    translated: bool = False
    without: frozenset[str] = frozenset()

    def as_stream(self) -> "UpstreamRequest | None":
        """The same request for a stream; None where it already is one, or a stream would not give the same."""
        if self.streams or self.operation.kind != "generate":
            return None
        try:
            made = self.dialect.streamed(self.path, self.query, self.body, self.value)
        except ValueError:
            return None  # upstream says what is wrong with it
        if made is None:
            return None
        operation = replace(self.operation, streams=True, sse=True)
        return replace(self, operation=operation, streams=True, **made._asdict())


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What the client asked, understood.

    id: the exchange's short id.
    path, body: for the model that the route leads to, where that speaks the client's dialect; the path without an
    upstream's prefix.
    query: as it came, without credentials. value: what the body says, None if that is no JSON.
    model: the name that the client used. streams: whether it wants a stream.
    session: what keeps a conversation on its account. owner: whose it is.
    conversation: what stands for the conversation, "" where none is known.
    things: what it names that lies with one account: files, cached contents and the like.
    trace_parent: the client's span that it is part of, "" where it tells none.
    vertex: where on Vertex AI its client means to ask, None for one that speaks the API as it is elsewhere.
    version: the version of the API that its client names in a header, "" where it names none.
    """

    id: str
    dialect: Dialect
    operation: Operation
    method: str
    path: str
    query: str
    body: bytes
    model: str
    streams: bool
    route: Route
    session: str
    value: Any = None
    owner: Owner = field(default_factory=Owner)
    conversation: str = ""
    things: frozenset[str] = frozenset()
    trace_parent: str = ""
    vertex: VertexPlace | None = None
    version: str = ""

    def as_it_is(self) -> UpstreamRequest:
        """What is asked of an upstream that speaks the client's dialect."""
        return UpstreamRequest(
            self.dialect, self.operation, self.path, self.query, self.body, self.value, self.streams
        )  # fmt: skip
