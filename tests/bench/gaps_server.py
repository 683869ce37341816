"""The upstream of `tests.bench.gaps`, in a process of its own: steady streams, and short answers to long requests."""

import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from tests.upstream import anthropic_events, gemini_events

STEADY_S = 0.01
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@contextmanager
def running() -> Iterator[int]:
    """The upstream while it runs; gives its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(5)


def _main(parent: Connection) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    parent.send(listener.getsockname()[1])
    with suppress(EOFError, KeyboardInterrupt):
        parent.recv()


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with suppress(OSError), connection:
        while head := _read_request(connection):
            gemini = b":streamGenerateContent" in head
            events = list(gemini_events("Well.") if gemini else anthropic_events("Well."))
            connection.sendall(_HEAD)
            if b"x-steady" in head.lower():
                _steady(connection)
            connection.sendall(b"".join(map(_chunk, events)) + b"0\r\n\r\n")


def _steady(connection: socket.socket) -> None:
    """One event at a time, until the client leaves."""
    start, block, delta, *_ = anthropic_events("word " * 4, pieces=4)
    connection.sendall(_chunk(start) + _chunk(block))
    due = time.perf_counter()
    while True:
        connection.sendall(_chunk(delta))
        due += STEADY_S
        time.sleep(max(0.0, due - time.perf_counter()))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _read_request(connection: socket.socket) -> bytes:
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
