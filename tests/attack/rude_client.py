"""An HTTP/2 client that keeps to no rule, and what it takes to see what it does to a proxy."""

import json
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.attack.http2_server import Http2Server, Pairs
from tests.attack.scripted import KEY, PATH, message, text_of
from tests.e2e.harness import Proxy
from tests.e2e.probed import ProbedProxy
from tests.support.patience import wait_until
from tests.support.raw import RawConnection

MIB = 1024 * 1024

type Probed = tuple[ProbedProxy, Http2Server]


class RudeClient:
    """An HTTP/2 client behind CONNECT that keeps to no rule. `window`: the initial window of its streams."""

    def __init__(self, url: str, proxy: Proxy, *, window: int = 65535) -> None:
        context = ssl.create_default_context(cafile=proxy.ca_file)
        context.set_alpn_protocols(["h2"])
        self.connection = RawConnection(url, proxy=proxy.url, context=context)
        self.authority = urlsplit(url).netloc
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings.initial_window_size = window
        # Else the old ones are sent.
        self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.heads: dict[int, dict[str, str]] = {}
        self.body: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.goaway: int | None = None
        self.takes = True
        self.updates = False
        """Whether both windows are given back for each frame of data."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.connection.socket.sendall(data)

    def open(self, text: str, *, model: str = "claude-x", path: str = PATH, more: Pairs = ()) -> int:
        """Put a whole request into the buffer, not yet on the wire; gives the stream's id."""
        stream_id = self.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", self.authority), (":path", path)]
        self.h2.send_headers(stream_id, [*fields, *KEY.items(), ("content-type", "application/json"), *more])
        self.h2.send_data(stream_id, json.dumps(message(model, text)).encode(), end_stream=True)
        self.body[stream_id] = bytearray()
        return stream_id

    def begin(self) -> None:
        """Begin a request on stream 1 whose body does not come."""
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", self.authority), (":path", PATH)]
        self.h2.send_headers(1, [*fields, *KEY.items(), ("content-type", "application/json")])
        self.flush()

    def read_until(self, condition: Callable[[], object]) -> None:
        """Read until a condition holds; whether windows are given back is up to `takes`."""
        while not condition():
            data = self.connection.socket.recv(65536)
            if not data:
                raise EOFError("the proxy closed the connection")
            for event in self.h2.receive_data(data):
                match event:
                    case h2.events.ResponseReceived(stream_id=int(stream_id)):
                        self.heads[stream_id] = {str(name): str(value) for name, value in event.headers}
                    case h2.events.DataReceived(stream_id=int(stream_id)):
                        self.body[stream_id] += event.data
                        if self.updates and event.data:
                            self.h2.increment_flow_control_window(event.flow_controlled_length)
                            self.h2.increment_flow_control_window(event.flow_controlled_length, stream_id)
                        elif self.takes:
                            self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
                    case h2.events.StreamEnded(stream_id=int(stream_id)):
                        self.ended.add(stream_id)
                    case h2.events.StreamReset(stream_id=int(stream_id)):
                        self.reset.add(stream_id)
                    case h2.events.ConnectionTerminated():
                        self.goaway = int(event.error_code or 0)
            self.flush()

    def ask(self, text: str, **how: str) -> str:
        """Ask and read the whole answer; gives its text."""
        stream_id = self.open(text, **how)  # type: ignore[arg-type]
        self.flush()
        self.read_until(lambda: stream_id in self.ended | self.reset)
        return text_of(bytes(self.body[stream_id]))

    def reset_at_once(self, count: int) -> None:
        """Open streams with whole requests and reset each, all within one write."""
        for number in range(count):
            self.h2.reset_stream(self.open(f"gone {number}"), h2.errors.ErrorCodes.CANCEL)
        self.flush()


def bytes_sent(server: Http2Server) -> int:
    return sum(sum(peer.sent.values()) for peer in server.peers)


def settled(value: Callable[[], int]) -> int:
    """Wait until a number has stopped changing, and give it."""
    last, same = -1, 0

    def still() -> bool:
        nonlocal last, same
        now = value()
        same, last = (same + 1 if now == last and now else 0), now
        return same > 15

    wait_until(still, timeout_s=60)
    return last
