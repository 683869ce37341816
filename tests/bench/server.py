"""The upstream of the measurements, in a process of its own.

The faulty upstream takes some 50 µs for each chunk it plays, more than a proxy does: it would be what is measured. So
this one has its answers ready and blocks in `send`; the events themselves are the faulty upstream's.
"""

import multiprocessing
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from tests.bench.loads import LOAD_HEADER, LOADS

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LOAD = re.compile(LOAD_HEADER.encode() + rb": *(\w+)", re.IGNORECASE)


type Serve = Callable[[socket.socket], None]
"""What becomes of a connection; it has a thread of its own."""


@contextmanager
def running(serve: Serve | None = None) -> Iterator[int]:
    """The upstream while it runs; gives its port. serve: a function of a module; without it the loads are served."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs, serve or _serve_loads), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(5)


def _main(parent: Connection, serve: Serve) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, serve), daemon=True).start()
    parent.send(listener.getsockname()[1])
    # When the parent has gone, the process ends, and the threads with it.
    with suppress(EOFError, KeyboardInterrupt):
        parent.recv()


def _accept(listener: socket.socket, serve: Serve) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _serve_loads(connection: socket.socket) -> None:
    answers = {load.name.encode(): load.writes for load in LOADS}
    try:
        while head := read_request(connection):
            load = _LOAD.search(head)
            assert load is not None, head
            connection.sendall(_HEAD)
            for write in answers[load.group(1)]:
                connection.sendall(write)
    except OSError:
        pass  # the client has gone
    finally:
        connection.close()


def read_request(connection: socket.socket) -> bytes:
    """Read a whole request; gives its head, b"" when the connection has ended."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    assert length is not None, head
    missing = int(length.group(1)) - len(body)
    while missing > 0:
        if not (more := connection.recv(1 << 20)):
            return b""
        missing -= len(more)
    return head
