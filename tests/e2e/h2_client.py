"""An HTTP/2 client behind CONNECT: several requests on one connection, each of which can be left alone."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import orjson
from hyperframe.frame import GoAwayFrame

from tests.support.patience import PATIENCE_S
from tests.support.raw import RawConnection


class H2Client:
    """One connection. `body`, `heads`, `ended` and `reset` are by stream."""

    def __init__(self, url: str, *, proxy: str | None, ca: Path, timeout: float = PATIENCE_S) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        self._connection = RawConnection(url, timeout=timeout, proxy=proxy, context=context)
        self._socket = self._connection.socket
        assert isinstance(self._socket, ssl.SSLSocket)
        assert self._socket.selected_alpn_protocol() == "h2"
        self._authority = urlsplit(url).netloc
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._flush()
        self.body: dict[int, bytes] = {}
        self.heads: dict[int, dict[str, str]] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        whole: bool = True,
    ) -> int:
        """Send a request, without `whole` only the first half of its body; gives the stream's id."""
        stream_id = self._h2.get_next_available_stream_id()
        fields = {":method": "POST", ":scheme": "https", ":authority": self._authority, ":path": path}
        fields |= {"content-type": "application/json", **(headers or {})}
        self._h2.send_headers(stream_id, [*fields.items()])
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        data = data if whole else data[: len(data) // 2]
        while len(data) > (size := self._h2.max_outbound_frame_size):
            self._h2.send_data(stream_id, data[:size])
            data = data[size:]
        self._h2.send_data(stream_id, data, end_stream=whole)
        self.body[stream_id] = b""
        self._flush()
        return stream_id

    def goaway(self) -> None:
        """Say that no more streams come; those that run are read on."""
        self._socket.sendall(GoAwayFrame(0).serialize())

    def leave(self, stream_id: int) -> None:
        """Reset one stream."""
        self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def read_until(self, condition: Callable[[], object]) -> None:
        """Read until a condition holds. Raises TimeoutError, or EOFError if the connection ends before."""
        while not condition():
            data = self._socket.recv(65536)
            if not data:
                raise EOFError("the proxy closed the connection")
            for event in self._h2.receive_data(data):
                match event:
                    case h2.events.ResponseReceived(stream_id=int(stream_id)):
                        self.heads[stream_id] = {str(name): str(value) for name, value in event.headers or ()}
                    case h2.events.DataReceived(stream_id=int(stream_id)):
                        self.body[stream_id] += event.data or b""
                        self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
                    case h2.events.StreamEnded(stream_id=int(stream_id)):
                        self.ended.add(stream_id)
                    case h2.events.StreamReset(stream_id=int(stream_id)):
                        self.reset.add(stream_id)
            self._flush()

    def whole(self, stream_id: int) -> bytes:
        """Read the rest of an answer, and give its body."""
        self.read_until(lambda: stream_id in self.ended | self.reset)
        assert stream_id in self.ended, "the stream was reset"
        return self.body[stream_id]

    def close(self) -> None:
        """Leave with all streams."""
        self._connection.close()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)
