"""The upstream of `tests.bench.gaps`, in a process of its own: steady streams, and short answers to long requests."""

import socket
import time
from contextlib import suppress

from tests.bench.server import read_request
from tests.upstream import anthropic_events, gemini_events

STEADY_S = 0.01
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def serve(connection: socket.socket) -> None:
    """Answer in a word, or one word at a time until the client leaves."""
    with suppress(OSError), connection:
        while head := read_request(connection):
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
