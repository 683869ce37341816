"""Who reads the answers: clients that leave without a word, and clients that do not take what is theirs."""

from collections.abc import Iterator
from dataclasses import dataclass

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy.layers.http import HttpStream

from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.proxy.connections.client_http2 import ClientHttp2
from antigravity_healing.proxy.connections.transports import stalled_bytes
from antigravity_healing.proxy.internals.http_layer import HttpConnection

LOOK_EVERY_S = 5.0


@dataclass
class Behind:
    """A stream whose client does not take what is there. Times are monotonic seconds.

    waiting: how many bytes waited at the last look. since: since when the client has taken none of them.
    held: whether its window is what the client keeps shut, so that upstream has to be told to wait. (Where it does not
    read its socket, mitmproxy reads nothing more for it.)
    """

    waiting: int
    since: float
    held: bool = False


class Readers:
    """The streams of one client's connection, and how far behind its client is with each."""

    def __init__(self) -> None:
        self.behind: dict[int, Behind] = {}
        self._told_left: set[int] = set()

    def left(self, client: HttpConnection, streams: dict[int, HttpStream]) -> list[HttpStream]:
        """The streams that run although their client has closed them; each is told once."""
        closed = client.context.client.state is ConnectionState.CLOSED
        self._told_left &= streams.keys()
        found = [
            stream
            for stream_id, stream in streams.items()
            if stream_id > 0
            and stream_id not in self._told_left
            and stream.child_layer is None
            and (closed or (isinstance(client, ClientHttp2) and client.has_left(stream_id)))
        ]
        self._told_left.update(stream.stream_id for stream in found)
        return found

    def look(
        self, client: HttpConnection, streams: dict[int, HttpStream], limits: Limits, now: float
    ) -> Iterator[tuple[HttpStream, Behind | None]]:
        """Find out how far behind the client is; gives the streams with which it is, and those with which it was."""
        for stream_id in self.behind.keys() - streams.keys():
            del self.behind[stream_id]
        stalled = stalled_bytes(client)
        for stream_id, stream in list(streams.items()):
            waiting = client.waiting(stream_id) if isinstance(client, ClientHttp2) else 0
            behind = self.behind.get(stream_id)
            held = waiting > (limits.unread_bytes // 4 if behind and behind.held else limits.unread_bytes)
            if not held and not stalled:
                if behind is not None:
                    del self.behind[stream_id]
                    yield stream, None
                continue
            if behind is None:
                behind = self.behind[stream_id] = Behind(waiting + stalled, now)
            elif waiting + stalled < behind.waiting:
                behind.since = now
            behind.waiting, behind.held = waiting + stalled, held or behind.held
            yield stream, behind
