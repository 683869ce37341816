"""An HTTP/2 server (TLS) that does to a connection whatever a test says, frame by frame."""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame

from tests.support.listening import Listening
from tests.support.patience import PATIENCE_S
from tests.upstream import anthropic_stream
from tests.upstream.tls import server_context

type Pairs = Sequence[tuple[str, str]]

EVENTS: Pairs = (("content-type", "text/event-stream"),)


@dataclass
class Asked:
    """A request, and the connection that it came on."""

    peer: "Peer"
    stream_id: int
    body: bytes = b""

    def head(self, status: str = "200", headers: Pairs = EVENTS, *, end: bool = False) -> None:
        """Send a head, unless the proxy has reset the stream."""
        with self.peer.lock:
            if self.stream_id in self.peer.reset:
                return
            self.peer.h2.send_headers(self.stream_id, [(":status", status), *headers], end_stream=end)
            self.peer.flush()

    def data(self, data: bytes, *, end: bool = False) -> None:
        """Send data as the windows have room for it; gives up when the stream or the connection is over."""
        rest = memoryview(data)
        while True:
            with self.peer.changed:
                self.peer.changed.wait_for(lambda: self.room() > 0 or self.peer.over, 30)
                if self.peer.over:
                    return
                piece, rest = bytes(rest[: self.room()]), rest[self.room() :]
                try:
                    self.peer.h2.send_data(self.stream_id, piece, end_stream=end and not rest)
                except h2.exceptions.ProtocolError:
                    return  # reset by the proxy
                self.peer.sent[self.stream_id] = self.peer.sent.get(self.stream_id, 0) + len(piece)
                self.peer.flush()
            if not rest:
                return

    def room(self) -> int:
        """How many bytes may be sent now."""
        try:
            window = self.peer.h2.local_flow_control_window(self.stream_id)
        except h2.exceptions.StreamClosedError:
            return 1
        return min(window, self.peer.h2.max_outbound_frame_size)

    def answer(self, text: str) -> None:
        """Give a whole healthy answer."""
        self.head()
        self.data(anthropic_stream(text).whole, end=True)


class Peer:
    """One connection. `sent`: bytes of data by stream; `reset`: the streams that the proxy reset."""

    def __init__(self, server: "Http2Server", sock: ssl.SSLSocket, number: int) -> None:
        self.server, self.socket, self.number = server, sock, number
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.asked: dict[int, Asked] = {}
        self.sent: dict[int, int] = {}
        self.reset: set[int] = set()
        self.over = False

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self._send(data)

    def frame(self, frame: Frame) -> None:
        """Send a frame that h2 itself would not, or not without ending the connection."""
        with self.lock:
            self.flush()
            self._send(frame.serialize())

    def _send(self, data: bytes) -> None:
        """The proxy may have closed the connection meanwhile: it is over then."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.over = True

    def goaway(self, last_stream_id: int, error: h2.errors.ErrorCodes = h2.errors.ErrorCodes.NO_ERROR) -> None:
        """Say that no stream beyond the last one is begun."""
        self.frame(GoAwayFrame(0, last_stream_id=last_stream_id, error_code=error))

    def serve(self) -> None:
        with self.lock:
            self.h2.local_settings.update(self.server.settings)
            # Else the old ones are sent.
            self.h2.local_settings.acknowledge()
            self.h2.initiate_connection()
            self.flush()
        try:
            while data := self.socket.recv(65536):
                with self.changed:
                    for event in self.h2.receive_data(data):
                        self._handle(event)
                    self.flush()
                    self.changed.notify_all()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        with self.changed:
            self.over = True
            self.changed.notify_all()
        self.socket.close()
        self.server.told()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(stream_id)):
                self.asked[stream_id] = Asked(self, stream_id)
            case h2.events.DataReceived(stream_id=int(stream_id)):
                self.asked[stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
            case h2.events.StreamEnded(stream_id=int(stream_id)):
                self.server.begun(self.asked[stream_id])
            case h2.events.StreamReset(stream_id=int(stream_id)):
                self.reset.add(stream_id)
                self.server.told()


@dataclass
class Http2Server(Listening):
    """The server; `play` is called in a thread of its own for each request that is complete."""

    folder: Path
    play: Callable[[Asked], Any] = lambda asked: asked.answer("fine")
    settings: dict[h2.settings.SettingCodes | int, int] = field(default_factory=dict)
    peers: list[Peer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    scheme = "https"

    def __enter__(self) -> Self:
        self._context, self.ca_file = server_context(self.folder, http2=True)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        for peer in self.peers:
            peer.socket.close()

    def wait_for(self, condition: Callable[[], Any], timeout: float = PATIENCE_S) -> None:
        """Wait until a condition on this server holds."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout), self.asked

    def begun(self, asked: Asked) -> None:
        with self.changed:
            self.asked.append(asked)
            self.changed.notify_all()
        threading.Thread(target=self.play, args=(asked,), daemon=True).start()

    def told(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def serve(self, connection: socket.socket) -> None:
        """Speak HTTP/2 on a connection, once it is secured."""
        secured = self._context.wrap_socket(connection, server_side=True)
        peer = Peer(self, secured, len(self.peers) + 1)
        self.peers.append(peer)
        peer.serve()
