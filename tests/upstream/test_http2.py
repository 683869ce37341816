"""The faulty upstream over TLS and HTTP/2."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import pytest

from tests.upstream import Reply, Upstream, anthropic_stream, gemini_stream

SECONDS = 10.0


def dial(up: Upstream, *protocols: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(up.ca_file))
    context.set_alpn_protocols(list(protocols))
    plain = socket.create_connection(("127.0.0.1", up.port), timeout=SECONDS)
    return context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


class H2Client:
    """A bare HTTP/2 client."""

    def __init__(self, up: Upstream) -> None:
        self.sock = dial(up, "h2")
        assert self.sock.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.body: dict[int, bytes] = {}
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def post(self, text: str) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", "/v1/messages")]
        self.h2.send_headers(stream_id, headers)
        body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]})
        self.h2.send_data(stream_id, body.encode(), end_stream=True)
        self.flush()
        return stream_id

    def read(self, kind: type[h2.events.Event], stream_id: int) -> h2.events.Event:
        """Reads until an event of this kind came for the stream."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and getattr(event, "stream_id", None) == stream_id:
                    return event
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.events.append(event)
            self.flush()


@pytest.fixture
def up() -> Iterator[Upstream]:
    with Upstream(tls=True, http2=True) as upstream:
        yield upstream


def test_http2_many_streams_and_flow_control(up: Upstream) -> None:
    big = Reply(chunks=[b"0123456789" * 10_000] * 5, name="big")
    up.play(big, key="big")
    up.play(Reply(before="stall"), key="stall")
    client = H2Client(up)
    with client.sock:
        stalled, first = client.post("[plan:stall]"), client.post("[plan:big]")
        second = client.post("Hi")
        for stream_id in (first, second):
            client.read(h2.events.StreamEnded, stream_id)
        assert client.body[first] == big.whole
        assert b"message_stop" in client.body[second]
        assert {call.http_version for call in up.calls} == {"HTTP/2"}
        client.h2.reset_stream(stalled)
        client.flush()
        up.wait_for(lambda up: up.calls[0].closed_at is not None)
        assert up.open_connections == 1
    up.wait_for(lambda up: up.open_connections == 0)


def test_http2_waits_for_the_window(up: Upstream) -> None:
    up.play(Reply(chunks=[b"x" * 1000] * 100))
    client = H2Client(up)
    with client.sock:
        client.post("Hi")
        # 65,535 bytes are the window of HTTP/2 when nobody asks for more.
        up.wait_for(lambda up: up.calls and up.calls[0].sent == 65_000)
    up.wait_for(lambda up: up.calls[0].ended == "client left")


def test_http2_reset_and_cut(up: Upstream) -> None:
    stream = gemini_stream("Hello")
    up.play(stream.first(1, "reset"), stream.first(1, "cut"))
    client = H2Client(up)
    with client.sock:
        stream_id = client.post("1")
        event = client.read(h2.events.StreamReset, stream_id)
        assert isinstance(event, h2.events.StreamReset)
        assert client.body[stream_id] == stream.chunks[0]
        second = client.post("2")
        with pytest.raises((EOFError, ssl.SSLEOFError)):
            client.read(h2.events.StreamEnded, second)
        assert client.body[second] == stream.chunks[0]
    up.wait_for(lambda up: [call.ended for call in up.calls] == ["reset", "cut"])


def test_http1_over_tls(up: Upstream) -> None:
    reply = anthropic_stream(http10=True)
    up.play(reply, reply.first(2), Reply(before="stall"))
    request = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"

    def read_all(sock: ssl.SSLSocket, data: bytes = b"") -> bytes:
        while more := sock.recv(65536):
            data += more
        return data

    with dial(up, "http/1.1") as sock:
        sock.sendall(request)
        assert read_all(sock).endswith(reply.whole)
    with dial(up, "http/1.1") as sock:
        sock.sendall(request)
        with pytest.raises(ssl.SSLEOFError):
            read_all(sock)
    with dial(up, "http/1.1") as sock:
        sock.sendall(request)
        up.wait_for(lambda up: up.active == 1)
    up.wait_for(lambda up: up.calls[2].closed_at is not None)
