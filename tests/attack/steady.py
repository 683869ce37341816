"""What another client feels meanwhile: a stream of small events through the same proxy, in processes of their own.

Each event says when it was sent, so that a pause of the upstream's own is not the proxy's.
"""

import contextlib
import multiprocessing
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from multiprocessing.connection import Connection

from antigravity_healing.wire.json.value import dump

from tests.bench.server import read_request
from tests.support.raw import RawConnection, encode_request
from tests.upstream import anthropic_event, anthropic_start

EVERY_S = 0.005
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_SENT = re.compile(rb"at (\d+) ")
_FIRM = -10


def serve(connection: socket.socket) -> None:
    """The upstream of the steady stream: an event each 5 ms until the client leaves."""
    # It is asked for nothing but steady streams; what has no length is none.
    with suppress(OSError, AssertionError), connection:
        firm(os.getpid())
        while read_request(connection):
            block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
            connection.sendall(_HEAD + _chunk(anthropic_start()) + _chunk(anthropic_event(block)))
            due = time.monotonic()
            while True:
                delta = {"type": "text_delta", "text": f"at {time.monotonic_ns()} "}
                event = {"type": "content_block_delta", "index": 0, "delta": delta}
                connection.sendall(_chunk(anthropic_event(event)))
                due += EVERY_S
                time.sleep(max(0.0, due - time.monotonic()))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def firm(pid: int) -> None:
    """Let a process go before what else the machine does, where that is allowed."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _FIRM)


class Listener:
    """Listens to a steady stream."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def gap_s(self) -> float:
        """The longest pause until now, in seconds, beyond the upstream's own. Infinite if the stream broke off."""
        self._pipe.send("tell")
        found: float = self._pipe.recv()
        return found


@contextmanager
def listening(url: str) -> Iterator[Listener]:
    """A client that reads a steady stream through the proxy at this URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_listen, args=(url, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(30), "no steady stream"
        ours.recv()
        yield Listener(ours)
    finally:
        ours.close()
        process.join(5)
        if process.is_alive():
            process.kill()


def _listen(url: str, parent: Connection) -> None:
    firm(os.getpid())
    connection = RawConnection(url, timeout=0.2)
    body = dump({"model": "steady", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    connection.send_bytes(encode_request("POST", f"{url}/v1/messages", body))
    arrived: list[tuple[float, bytes]] = []
    told, broken = False, False
    with contextlib.suppress(EOFError, OSError):
        while True:
            try:
                data = connection.socket.recv(65536)
                broken = broken or not data
                arrived.append((time.monotonic(), data))
            except TimeoutError:
                pass
            except OSError:
                broken = True
            if not told and len(arrived) > 20:
                told = True
                parent.send("begun")
            if broken:
                parent.send("begun") if not told else None
                parent.recv()
                parent.send(float("inf"))
                return
            if parent.poll():
                parent.recv()
                parent.send(_gap_s(arrived, time.monotonic()))


def _gap_s(arrived: list[tuple[float, bytes]], now: float) -> float:
    """The longest time between two events beyond the time between their being sent; also up to now."""
    events = [(at, int(sent) / 1e9) for at, data in arrived for sent in _SENT.findall(data)]
    gaps = [(at - before) - (sent - sent_before) for (before, sent_before), (at, sent) in pairwise(events)]
    return max([*gaps, now - events[-1][0] - EVERY_S], default=0.0)
