"""HTTP/1 as mitmproxy reads it, but bounded, with its trailers, and without crashing."""

import logging
from abc import abstractmethod
from collections.abc import Iterable
from logging import WARNING
from typing import cast

import h11
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.chunks import ChunkReader
from antigravity_healing.proxy.internals.http_layer import (
    Http1Connection,
    HttpEvent,
    ReceiveHttp,
    RequestEndOfMessage,
    RequestTrailers,
    ResponseEndOfMessage,
    ResponseTrailers,
    TBodyReader,
    make_body_reader,
)

logger = logging.getLogger(__name__)

LAST_CHUNK = b"0\r\n"


class SteadyHttp1(Http1Connection):
    """One side's HTTP/1. Whatever goes wrong in it ends the message under way and the connection, and nothing else."""

    bounds: Bounds
    receive_trailers: type[RequestTrailers | ResponseTrailers]
    trailers: http.Headers | None = None
    """What is still to be sent behind the body that is being sent."""

    @property
    def longest_head(self) -> int:
        """How many bytes a head, a line of a chunk or the trailers may have."""
        return self.bounds.config.limits.head_bytes

    @abstractmethod
    def fail(self, why: str) -> CommandGenerator[None]:
        """End the connection, and the message that is under way on it."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        try:
            yield from super()._handle_event(event)
        except Exception as error:
            why = f"the connection failed inside the proxy: {failure_in_words(error)}"
            yield commands.Log(why, WARNING)
            if self.stream_id is None and isinstance(event, HttpEvent):
                self.stream_id = event.stream_id
            yield from self.fail(why)

    def done(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """The connection is over: nothing that still comes counts."""
        self.buf.maybe_extract_at_most(len(self.buf))
        yield from ()

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Take what has come of a body, many chunks at once.

        mitmproxy's own reading raises at trailers and buffers lines without end.
        """
        assert self.stream_id is not None
        data, end = bytearray(), None
        part: object = None
        wrong = ""
        try:
            if isinstance(event, events.ConnectionClosed):
                part = self.body_reader.read_eof()
            else:
                while isinstance(part := self.body_reader(self.buf), h11.Data):
                    data += part.data
            end = part if isinstance(part, h11.EndOfMessage) else None
        except h11.ProtocolError as error:
            wrong = str(error)
        if end is None and not wrong and len(self.buf) > self.longest_head:
            wrong = f"a line or trailers of over {self.longest_head} bytes"
        if data:
            yield ReceiveHttp(self.ReceiveData(self.stream_id, bytes(data)))
        if self.state != self.read_body:
            return
        if wrong:
            yield from self.fail(f"HTTP/1 protocol error: {wrong}")
        elif end is not None:
            yield from self.end_body(list(end.headers))

    def end_body(self, trailers: Iterable[tuple[bytes, bytes]]) -> CommandGenerator[None]:
        """The body is complete, with these trailers."""
        assert self.stream_id is not None
        assert self.request is not None
        if fields := http.Headers(trailers):
            yield ReceiveHttp(self.receive_trailers(self.stream_id, fields))
        if self.request.data.method.upper() != b"CONNECT":
            yield ReceiveHttp(self.ReceiveEndOfMessage(self.stream_id))
        if self.state == self.read_body:
            receives_requests = self.ReceiveEndOfMessage is RequestEndOfMessage
            yield from self.mark_done(request=receives_requests, response=not receives_requests)

    def send_end(self, event: HttpEvent, message: http.Message | None) -> CommandGenerator[bool]:
        """Send trailers, which mitmproxy can't, at the end of a message whose coding has a place for them.

        Gives whether the event has been dealt with.
        """
        if isinstance(event, RequestTrailers | ResponseTrailers):
            self.trailers = event.trailers
            return True
        trailers, chunked = self.trailers, message is not None and "chunked" in _codings(message)
        if not isinstance(event, RequestEndOfMessage | ResponseEndOfMessage) or not trailers or not chunked:
            return False
        self.trailers = None
        bodiless = isinstance(message, http.Response) and self.request is not None and self.request.method == "HEAD"
        if not bodiless:
            yield commands.SendData(self.conn, LAST_CHUNK + bytes(trailers) + b"\r\n")
        yield from self.mark_done(
            request=isinstance(event, RequestEndOfMessage), response=isinstance(event, ResponseEndOfMessage)
        )
        return True


def reader_of_body(size: int | None) -> TBodyReader:
    """What reads a body of so many bytes: -1 until the connection ends, None in chunks."""
    return cast(TBodyReader, ChunkReader()) if size is None else make_body_reader(size)


def failure_in_words(error: Exception) -> str:
    """What is known of an exception, without its message, which may repeat what a peer said."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}" if trace is not None else ""
    logger.debug("a connection failed inside the proxy", exc_info=error)
    return f"{type(error).__name__}{where}"


def _codings(message: http.Message) -> str:
    return str(message.headers.get("transfer-encoding", "")).lower()
