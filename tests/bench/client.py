"""The client of the measurements: a blocking socket and as little else as possible."""

import socket
import time
from typing import Self

from tests.bench.loads import LOADS, Load
from tests.bench.ways import Way
from tests.support.raw import RawConnection

_BODY_END = b"0\r\n\r\n"


class Client:
    """A keep-alive connection over one way."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._requests = {load.name: load.request(way.url) for load in LOADS}
        self._socket = socket.create_connection(("127.0.0.1", way.port), 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def measure(self, load: Load) -> float:
        """Make one exchange; gives the milliseconds until what counts has come."""
        receive, until, body_end = self._socket.recv, load.until, _BODY_END
        # Long enough to find a marker that two reads have torn.
        tail, found_at = b"", 0.0
        began_at = time.perf_counter()
        self._socket.sendall(self._requests[load.name])
        while True:
            data = receive(262144)
            if not data:
                raise ConnectionError(f"{self._way.title} closed the connection during {load.title}")
            tail += data
            if not found_at and until in tail:
                found_at = time.perf_counter()
            tail = tail[-len(until) - len(body_end) :]
            if tail.endswith(body_end):
                return (found_at - began_at) * 1000

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check(way: Way, load: Load) -> None:
    """Raises AssertionError unless the whole answer comes over this way: what fails fast must not win."""
    connection = RawConnection(way.url, timeout=30)
    try:
        connection.send_bytes(load.request(way.url))
        response = connection.read("POST")
    finally:
        connection.close()
    assert response.status == 200, f"{way.title}: {response.status} {response.body!r}"
    assert response.ended == "complete", f"{way.title}: {response.ended}"
    assert response.body == load.body, f"{way.title} changed the answer to {load.title}"
