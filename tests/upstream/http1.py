"""HTTP/1.0 and 1.1, by hand, so that every byte can be chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from http import HTTPStatus

from .calls import Request
from .connection import Connection
from .play import Host, answer
from .replies import Reply

MAX_LINE = 1 << 20

type Parsing[T] = Generator[None, None, T]
"""Yields when it needs more bytes."""


class BadRequestError(Exception):
    """What the client sent is not HTTP/1."""


class RequestParser:
    """Push parser: `feed(bytes)`, then `next()` until it gives None."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parsing = self._request()
        self.wants_continue = False
        """The client waits for a 100 before it sends the body. The reader of the flag sets it back."""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | None:
        """The next complete request; None when more bytes are needed."""
        try:
            next(self._parsing)
        except StopIteration as stop:
            self._parsing = self._request()
            request: Request = stop.value
            return request
        return None

    def _exactly(self, size: int) -> Parsing[bytes]:
        while len(self._buffer) < size:
            yield
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _line(self) -> Parsing[str]:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise BadRequestError("a line without end")
            yield
        line = yield from self._exactly(end + 1)
        return line.rstrip(b"\r\n").decode("latin-1")

    def _headers(self) -> Parsing[list[tuple[str, str]]]:
        pairs = []
        while line := (yield from self._line()):
            name, colon, value = line.partition(":")
            if not colon:
                raise BadRequestError(f"not a header: {line[:80]!r}")
            pairs.append((name, value.strip()))
        return pairs

    def _request(self) -> Parsing[Request]:
        start = ""
        while not start:
            start = yield from self._line()
        words = start.split(" ")
        if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
            raise BadRequestError(f"not a request line: {start[:80]!r}")
        pairs = yield from self._headers()
        headers = {name.lower(): value for name, value in pairs}
        self.wants_continue = headers.get("expect", "").lower() == "100-continue"
        try:
            if headers.get("transfer-encoding", "").lower() == "chunked":
                body = yield from self._chunked()
            else:
                body = yield from self._exactly(int(headers.get("content-length", "0")))
        except ValueError as error:
            raise BadRequestError(f"not a length: {error}") from error
        return Request(words[0], words[1], pairs, body, words[2])

    def _chunked(self) -> Parsing[bytes]:
        body = bytearray()
        while size := int((yield from self._line()).partition(";")[0], 16):
            body += yield from self._exactly(size)
            yield from self._line()
        yield from self._headers()  # trailers
        return bytes(body)


class Http1(Connection):
    """One connection; its requests are answered one after the other."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._parser = RequestParser()
        self._playing: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._playing is not None

    def gone(self) -> None:
        if self._playing is not None:
            self._playing.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        self._next()

    def _next(self) -> None:
        if self._playing is not None or self.transport.is_closing():
            return
        try:
            request = self._parser.next()
        except BadRequestError as error:
            text = f"{error}\n".encode()
            self.transport.write(
                b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(text), text)
            )
            self.close()
            return
        if request is None:
            if self._parser.wants_continue:
                self._parser.wants_continue = False
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self._parser.wants_continue = False
        self._playing = asyncio.create_task(answer(self.host, request, Answer(self, request)))
        self._playing.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._playing = None
        if not task.cancelled():
            task.result()
            self._next()


class Answer:
    """The wire for one call."""

    def __init__(self, connection: Http1, request: Request) -> None:
        self.connection = connection
        headers = {name.lower(): value.lower() for name, value in request.header_pairs}
        self._bodiless = request.method == "HEAD"
        self._old = request.http_version == "HTTP/1.0"
        self._last = headers.get("connection", "close" if self._old else "keep-alive") == "close"
        self._chunked = False

    async def head(self, reply: Reply, headers: list[tuple[str, str]], length: int | None) -> None:
        named = {name.lower(): value for name, value in headers}
        bodiless = self._bodiless or reply.status in (204, 304)
        if "content-length" not in named and "transfer-encoding" not in named and reply.status not in (204, 304):
            if length is not None:
                headers.append(("content-length", str(length)))
            elif reply.http10 or self._old:
                self._last = True
            else:
                headers.append(("transfer-encoding", "chunked"))
                self._chunked = not bodiless
        if reply.http10 or named.get("connection", "").lower() == "close":
            self._last = True
        if self._last and "connection" not in named:
            headers.append(("connection", "close"))
        version = "HTTP/1.0" if reply.http10 else "HTTP/1.1"
        lines = [f"{version} {reply.status} {reason(reply.status)}", *(f"{name}: {value}" for name, value in headers)]
        await self.connection.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def data(self, piece: bytes) -> None:
        await self.connection.write(b"%x\r\n%s\r\n" % (len(piece), piece) if self._chunked else piece)

    async def finish(self) -> None:
        if self._chunked:
            await self.connection.write(b"0\r\n\r\n")
        if self._last:
            self.connection.close()

    async def drop(self, reset: bool) -> None:
        if reset:
            self.connection.reset()
        else:
            self.connection.cut()


def reason(status: int) -> str:
    """The reason phrase; for codes outside the registry (529) the one that is usual."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Site is overloaded" if status == 529 else "Unknown"
