"""A TCP (or TLS) connection of a client: writing that is really written, and every way to end it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .play import Host


class Connection(asyncio.Protocol):
    """What HTTP/1 and HTTP/2 have in common."""

    transport: asyncio.Transport

    def __init__(self, host: Host) -> None:
        self.host = host
        self.dropped = False
        """The server ended the connection, so what ends with it was not the client's doing."""
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def busy(self) -> bool:
        """A call is being answered."""
        raise NotImplementedError

    def gone(self) -> None:
        """The connection has ended: cancels the calls on it."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # asyncio sets it only on sockets that name their protocol; without it each small piece waits for an ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A piece counts as written when the kernel has it. (high=0 would block TLS transports for ever.)
        self.transport.set_write_buffer_limits(high=1, low=0)
        self.host.opened(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> None:
        # A client that half-closes has left, as real servers see it too.
        self.gone()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone()
        self.host.closed(self)

    async def write(self, data: bytes) -> None:
        self.transport.write(data)
        # Does not give way when all is written: a client that leaves after the last byte must find the call finished.
        await self._writable.wait()

    def close(self) -> None:
        """An orderly end: what is still to be written is written first."""
        self.dropped = True
        self.transport.close()

    def abandon(self) -> None:
        """An end without any ceremony."""
        self.dropped = True
        self.transport.abort()

    def cut(self) -> None:
        """FIN, under TLS without a close_notify, as when the server process dies."""
        self.dropped = True
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.shutdown(socket.SHUT_WR)
        self.transport.abort()

    def reset(self) -> None:
        """RST."""
        self.dropped = True
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
