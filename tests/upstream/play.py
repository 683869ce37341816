"""Playing one reply over whatever wire it goes."""

from __future__ import annotations

import asyncio
import time
from typing import Never, Protocol

from .calls import Call, Ended, Request
from .coding import coder_for
from .connection import Connection
from .replies import Reply


class Wire(Protocol):
    """What HTTP/1 or HTTP/2 does for one call. Each method returns when the bytes have left the process."""

    @property
    def connection(self) -> Connection: ...

    async def head(self, reply: Reply, headers: list[tuple[str, str]], length: int | None) -> None:
        """Status and headers; `length` of the body in bytes, None when it is not counted."""

    async def data(self, piece: bytes) -> None: ...

    async def finish(self) -> None:
        """The regular end."""

    async def drop(self, reset: bool) -> None:
        """End in mid-answer: by a reset, or by closing the connection (FIN)."""


class Host(Protocol):
    """Who keeps the plans and the calls: the upstream."""

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def begin(self, request: Request) -> tuple[Call, Reply]: ...

    def changed(self) -> None:
        """A field of a call changed."""

    def end(self, call: Call, ended: Ended) -> None: ...


async def answer(host: Host, request: Request, wire: Wire) -> None:
    """Plays the reply that is planned for `request`. Cancelled when the client leaves or the server closes."""
    call, reply = host.begin(request)
    ended: Ended = "failed"
    try:
        ended = await perform(host, call, reply, wire)
    except asyncio.CancelledError:
        if wire.connection.dropped:
            ended = "server closed"
        else:
            ended, call.closed_at = "client left", time.monotonic()
        raise
    finally:
        host.end(call, ended)


async def perform(host: Host, call: Call, reply: Reply, wire: Wire) -> Ended:
    await asyncio.sleep(reply.delay)
    match reply.before:
        case "close" | "reset":
            await wire.drop(reset=reply.before == "reset")
            return "reset" if reply.before == "reset" else "closed"
        case "stall":
            return await for_ever()
        case "answer":
            pass

    coder = coder_for(reply.encoding)
    pieces = reply.pieces(coder)
    headers = list(reply.headers.items())
    if reply.encoding:
        headers.append(("content-encoding", reply.encoding))
    await wire.head(reply, headers, reply.promised_length(pieces))
    if call.method == "HEAD" or reply.status in (204, 304):
        pieces = []

    async def send(piece: bytes) -> None:
        await wire.data(piece)
        call.sent += len(piece)
        host.changed()

    await asyncio.sleep(reply.head_gap)
    for number, piece in enumerate(pieces):
        # Also without a gap the loop gets a turn, so that a client that has left is seen between two pieces.
        await asyncio.sleep(reply.gap if number else 0)
        while reply.until and not reply.until.is_set() and number == len(pieces) - 1:
            await asyncio.sleep(0.01)
        await send(piece)

    await asyncio.sleep(reply.end_gap)
    match reply.end:
        case "normal":
            await wire.finish()
            return "finished"
        case "cut" | "reset":
            await wire.drop(reset=reply.end == "reset")
            return reply.end
        case "stall":
            while reply.heartbeat is not None:
                await asyncio.sleep(reply.heartbeat_gap)
                await send(coder.piece(reply.heartbeat))
            return await for_ever()


async def for_ever() -> Never:
    """Only a cancellation ends it."""
    never: asyncio.Future[Never] = asyncio.get_running_loop().create_future()
    await never
