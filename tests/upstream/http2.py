"""HTTP/2: many calls at a time on one connection, flow control respected."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from .calls import Request
from .connection import Connection
from .play import Host, answer
from .replies import Reply

# Headers that HTTP/2 forbids.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}


@dataclass
class Incoming:
    """A request whose body is still coming."""

    pseudo: dict[str, str]
    header_pairs: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)

    def request(self) -> Request:
        return Request(self.pseudo[":method"], self.pseudo[":path"], self.header_pairs, bytes(self.body), "HTTP/2")


class Http2(Connection):
    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._incoming: dict[int, Incoming] = {}
        self._playing: dict[int, asyncio.Task[None]] = {}
        self._window_grew = asyncio.Event()

    @property
    def busy(self) -> bool:
        return bool(self._playing)

    def gone(self) -> None:
        for task in self._playing.values():
            task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.h2.initiate_connection()
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.h2.receive_data(data):
                self._handle(event)
        except h2.exceptions.ProtocolError:
            self.transport.write(self.h2.data_to_send())
            self.close()
            return
        if pending := self.h2.data_to_send():
            self.transport.write(pending)

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                pairs = [(str(name), str(value)) for name, value in event.headers]
                pseudo = {name: value for name, value in pairs if name.startswith(":")}
                plain = [(name, value) for name, value in pairs if not name.startswith(":")]
                if authority := pseudo.get(":authority"):
                    plain.insert(0, ("host", authority))
                self._incoming[event.stream_id] = Incoming(pseudo, plain)
            case h2.events.DataReceived():
                if incoming := self._incoming.get(event.stream_id):
                    incoming.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                if incoming := self._incoming.pop(event.stream_id, None):
                    self._start(event.stream_id, incoming.request())
            case h2.events.StreamReset():
                self._incoming.pop(event.stream_id, None)
                if task := self._playing.get(event.stream_id):
                    task.cancel()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self._window_grew.set()
                self._window_grew = asyncio.Event()

    def _start(self, stream_id: int, request: Request) -> None:
        task = asyncio.create_task(answer(self.host, request, Stream(self, stream_id)))
        self._playing[stream_id] = task

        def answered(task: asyncio.Task[None]) -> None:
            del self._playing[stream_id]
            if not task.cancelled():
                task.result()

        task.add_done_callback(answered)

    async def flush(self) -> None:
        await self.write(self.h2.data_to_send())

    async def window(self, stream_id: int) -> int:
        """How many bytes of DATA may be sent now; waits while there is no room."""
        while (room := self.h2.local_flow_control_window(stream_id)) <= 0:
            await self._window_grew.wait()
        return min(room, self.h2.max_outbound_frame_size)


class Stream:
    """The wire for one call."""

    def __init__(self, connection: Http2, stream_id: int) -> None:
        self.connection = connection
        self._id = stream_id

    async def head(self, reply: Reply, headers: list[tuple[str, str]], length: int | None) -> None:
        lower = [(name.lower(), value) for name, value in headers if name.lower() not in HOP_BY_HOP]
        if length is not None and "content-length" not in dict(lower) and reply.status not in (204, 304):
            lower.append(("content-length", str(length)))
        self.connection.h2.send_headers(self._id, [(":status", str(reply.status)), *lower])
        await self.connection.flush()

    async def data(self, piece: bytes) -> None:
        while piece:
            room = await self.connection.window(self._id)
            self.connection.h2.send_data(self._id, piece[:room])
            piece = piece[room:]
            await self.connection.flush()

    async def finish(self) -> None:
        self.connection.h2.end_stream(self._id)
        await self.connection.flush()

    async def drop(self, reset: bool) -> None:
        if reset:
            self.connection.h2.reset_stream(self._id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            await self.connection.flush()
        else:
            # HTTP/2 has no FIN of a stream alone: the connection ends, and every stream with it.
            self.connection.cut()
