"""What is measured: a request, the stream that answers it, and the moment that counts."""

import json
from dataclasses import dataclass

from tests.support.raw import encode_request
from tests.upstream import anthropic_events

LOAD_HEADER = "x-bench-load"
"""The request header by which the upstream knows which stream to send."""

_FIRST_CONTENT = b"content_block_delta"
_BODY_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """One kind of exchange.

    writes: the response body as the upstream writes it, one send each; every event is an HTTP chunk of its own.
    until: the bytes whose arrival ends the measured time.
    """

    name: str
    title: str
    request_bytes: int
    writes: tuple[bytes, ...]
    until: bytes
    events: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """The body as every client must get it."""
        return b"".join(self.events)

    def request(self, base_url: str) -> bytes:
        """The request on the wire."""
        filler = "All work and no play makes this a request of realistic size. "
        question = {"role": "user", "content": "Hello"}
        body = {"model": "claude-sonnet-4-5", "max_tokens": 1024, "stream": True, "messages": [question]}
        missing = self.request_bytes - len(json.dumps(body))
        if missing > 0:
            # Many turns rather than one long text, as in a conversation that has gone on for a while.
            turn = {"role": "user", "content": [{"type": "text", "text": filler * 8}]}
            body["messages"] = [question, *[turn] * (missing // (len(json.dumps(turn)) + 2))]
        headers = {
            "x-api-key": "key-of-the-client-0123456789",
            "anthropic-version": "2023-06-01",
            LOAD_HEADER: self.name,
        }
        return encode_request("POST", f"{base_url}/v1/messages?beta=true", body, headers)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _load(name: str, title: str, *, request_bytes: int, deltas: int, one_write: bool, until: bytes) -> Load:
    events = tuple(anthropic_events("word " * deltas, pieces=deltas, pings=1))
    writes = (*map(_chunk, events), _BODY_END)
    return Load(name, title, request_bytes, (b"".join(writes),) if one_write else writes, until, events)


LOADS = (
    _load("first", "first content, 100 kB request", request_bytes=100_000, deltas=4, one_write=False,
          until=_FIRST_CONTENT),
    _load("burst", "burst of 2,000 events, a write each", request_bytes=1_000, deltas=2000, one_write=False,
          until=_BODY_END),
    _load("flood", "burst of 2,000 events, one write", request_bytes=1_000, deltas=2000, one_write=True,
          until=_BODY_END),
)  # fmt: skip
