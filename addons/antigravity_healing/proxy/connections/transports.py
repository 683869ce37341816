"""What lies under mitmproxy's layers: the handler of a client's connection, its sockets, and what waits in them."""

import asyncio
import fcntl
import select
import socket
import struct
import sys
import termios
from typing import Any, Protocol, cast

from mitmproxy import ctx
from mitmproxy.connection import Client, Connection
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO
from mitmproxy.proxy.tunnel import TunnelLayer


class OnConnection(Protocol):
    """A layer that speaks a protocol on a connection."""

    context: Context

    @property
    def conn(self) -> Connection:
        """The connection."""


def _io(protocol: OnConnection) -> ConnectionIO | None:
    handler = handler_of(protocol.context.client)
    if handler is None:
        return None  # a replay
    found = [handler.transports[each] for each in connections_under(protocol) if each in handler.transports]
    return found[0] if found else None


def connections_under(protocol: OnConnection) -> list[Connection]:
    """The protocol's connection, and those of the tunnels that it may run through."""
    tunnels = [layer for layer in protocol.context.layers if isinstance(layer, TunnelLayer)]
    return [protocol.conn, *(layer.tunnel_connection for layer in tunnels)]


def transport_of(protocol: OnConnection) -> asyncio.Transport | None:
    """The transport under a connection, also where that runs through a tunnel; None without one, as in a replay."""
    io = _io(protocol)
    return cast(asyncio.Transport, io.writer.transport) if io and isinstance(io.writer, asyncio.StreamWriter) else None


def reset_at_close(protocol: OnConnection) -> None:
    """Have a connection end with a reset when it is closed, unless something on it has not arrived yet."""
    transport = transport_of(protocol)
    sock = transport.get_extra_info("socket") if transport is not None else None
    if transport is None or sock is None or transport.get_write_buffer_size():
        return
    if _unacknowledged(sock.fileno()) == 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _unacknowledged(descriptor: int) -> int | None:
    """How many bytes the other side has not acknowledged; None where the system can't tell."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4), sys.byteorder)
    except OSError:
        return None


def has_unread(protocol: OnConnection) -> bool:
    """Whether something has come on a connection that no layer has seen yet: data, or its end."""
    io = _io(protocol)
    if io is None or not isinstance(io.reader, asyncio.StreamReader) or not isinstance(io.writer, asyncio.StreamWriter):
        return False
    reader, sock = io.reader, io.writer.get_extra_info("socket")
    if reader._buffer or reader._eof or sock is None:  # type: ignore[attr-defined]
        return True
    return _readable(sock)


def _readable(sock: Any) -> bool:
    try:
        if not hasattr(select, "poll"):
            return bool(select.select([sock], [], [], 0)[0])
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def stalled_bytes(protocol: OnConnection) -> int:
    """How many bytes wait to be written, if so many that mitmproxy reads nothing more until the peer takes some."""
    transport = transport_of(protocol)
    if transport is None:
        return 0
    size = transport.get_write_buffer_size()
    return size if size > transport.get_write_buffer_limits()[1] else 0


def close_transport(handler: ConnectionHandler, connection: Connection) -> None:
    """Close a connection's socket, if it is still open."""
    transport = handler.transports.get(connection)
    if transport is not None and transport.writer is not None and not transport.writer.is_closing():
        transport.writer.close()


def handler_of(client: Client) -> ConnectionHandler | None:
    """What handles a client's connection; None where there is none, as in a replay."""
    handler: ConnectionHandler | None = ctx.master.addons.get("proxyserver").connections.get(client.id)
    return handler
