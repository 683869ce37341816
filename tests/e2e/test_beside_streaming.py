"""Other addons that stream, and what passes: whole answers have an end, bodies arrive, files and events stream."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import body, empty, error, read_json, read_stream, saved_flows, stream, target
from tests.support import raw
from tests.support.listening import Listening
from tests.upstream import Reply, Upstream, anthropic_json, gemini_json

WATCHING = Path(__file__).with_name("watching.py")
JSON = {"content-type": "application/json"}


@dataclass
class Slow(Listening):
    """A server for one connection after the other, which shows what has come of a request that is not complete."""

    got: bytes = b""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, text: bytes) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.got, 10), self.got

    def serve(self, connection: socket.socket) -> None:
        """Answer a request that says that it has come to its end."""
        with connection:
            connection.settimeout(15)
            self.got = b""
            while b"the end" not in self.got and (data := connection.recv(65536)):
                with self.changed:
                    self.got += data
                    self.changed.notify_all()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


@dataclass(frozen=True)
class Beside:
    """A proxy beside another addon, and upstreams: of both dialects with TLS and HTTP/2, and a slow one for files."""

    proxy: Proxy
    server: Upstream
    slow: Slow
    kept: set[str] = field(default_factory=set)
    """What stands in `x-keep` of the requests: whose answers have to be in the saved flows in the end."""

    def ask(self, way: str, path: str, content: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer that must come to its end."""
        self.kept.update(value for name, value in headers.items() if name == "x-keep")
        ca = self.proxy.ca_file
        if way == "HTTP/2":
            with H2Client(self.server.url, proxy=self.proxy.url, ca=ca) as client:
                number = client.post(path, content, headers)
                data = client.whole(number)
                return int(client.heads[number][":status"]), client.heads[number], data
        context = ssl.create_default_context(cafile=ca)
        base, proxy = (self.server.url, self.proxy.url) if way == "tunnel" else (self.proxy.url, None)
        answer = raw.request("POST", base + path, content, headers, proxy=proxy, context=context)
        assert answer.ended == "complete"
        found = {name.lower(): value for name, value in answer.headers}
        assert ("content-length" in found) != ("transfer-encoding" in found)
        return answer.status, found, answer.body


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    folder = tmp_path_factory.mktemp("beside")
    with Upstream(tls=True, http2=True) as server, Slow() as slow:
        config = "[retry]\nspare_retries = 1000000\n[clients]\nmax_body = 3000000\n[limits]\nmodel_bytes = 64\n"
        for dialect in ("anthropic", "gemini"):
            for number in range(4):
                config += account(f"{dialect}-{number}", dialect, priority=number)
            config += upstream(dialect, dialect, server.url)
        config += account("slow", "slow", models=["none"]) + upstream("slow", "gemini", f"http://127.0.0.1:{slow.port}")
        options = {"ssl_verify_upstream_trusted_ca": str(server.ca_file), "stream_large_bodies": "50k"}
        args = ["-s", str(WATCHING), "-w", str(folder / "flows")]
        with Proxy(folder / "proxy", config, options=options, args=args, env={"SEEN": str(folder / "seen")}) as proxy:
            beside = Beside(proxy, server, slow)
            yield beside
        flows = saved_flows(folder / "flows")
        kept = {flow.request.headers.get("x-keep", ""): flow for flow in flows if "x-keep" in flow.request.headers}
        assert set(kept) == beside.kept
        for text, flow in kept.items():
            assert flow.response is not None
            assert text.encode() in (flow.response.content or b""), text


@pytest.fixture
def beside(shared: Beside) -> Beside:
    shared.server.reset()
    return shared


ways = pytest.mark.parametrize("way", ["base URL", "tunnel", "HTTP/2"])
each_dialect = pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
streaming = pytest.mark.parametrize(("do", "said"), [("stream response", "Hello~"), ("rewrite response", "Hello~~")])


@pytest.mark.covering(1)
@ways
@each_dialect
@streaming
def test_answers_that_another_addon_streams_are_whole_and_end(
    beside: Beside, dialect: str, way: str, do: str, said: str
) -> None:
    headers = {"x-do": do}
    whole = anthropic_json("Hello~") if dialect == "anthropic" else gemini_json("Hello~")
    beside.server.play(empty(dialect), stream(dialect, "Hello~"), whole, error(dialect, 400, "Hello~"))
    _, found, data = beside.ask(way, target(dialect, "m"), body(dialect, "m"), headers)
    assert read_stream(dialect, data) == said
    assert found["x-healing-outcome"] == "healed"
    asked = body(dialect, "m", stream=False), {**headers, "x-keep": "Hello"}
    status, _, data = beside.ask(way, target(dialect, "m", stream=False), *asked)
    assert (status, read_json(dialect, data)) == (200, said)
    status, _, data = beside.ask(way, target(dialect, "m"), body(dialect, "m"), headers)
    assert (status, said.encode() in data) == (400, True)
    # The proxy's own.
    long = "Hello" * 20
    status, _, data = beside.ask(way, target(dialect, long), body(dialect, long), headers)
    assert (status, b"too long" in data) == (400, True)
    assert len(beside.server.calls) == 4


@ways
@each_dialect
@pytest.mark.parametrize(("do", "said"), [("stream request", "before"), ("rewrite request", "afterwards")])
def test_a_request_that_another_addon_streams_reaches_upstream_whole_and_is_healed(
    beside: Beside, dialect: str, way: str, do: str, said: str
) -> None:
    beside.server.play(empty(dialect), stream(dialect, "Healed"))
    _, found, data = beside.ask(way, target(dialect, "m"), body(dialect, "m", "before"), {"x-do": do})
    assert read_stream(dialect, data) == "Healed"
    assert found["x-healing-outcome"] == "healed"
    for call in beside.server.calls:
        assert call.json == body(dialect, "m", said)
        assert "key-of-" in call.credential


@ways
@pytest.mark.parametrize(("do", "said"), [("stream request", "before"), ("rewrite request", "afterwards")])
def test_what_passes_and_another_addon_streams_reaches_upstream_whole(
    beside: Beside, way: str, do: str, said: str
) -> None:
    for kind, path in (("application/json", "/v1/messages/batches"), ("text/csv", "/v1/files")):
        beside.server.reset()
        beside.server.play(Reply(headers=JSON, body=b'{"id":"b"}'))
        headers = {"x-do": do, "content-type": kind, "anthropic-version": "2026-10-21"}
        status, _, data = beside.ask(way, path, b'{"requests":"before"}', headers)
        assert (status, data) == (200, b'{"id":"b"}')
        [call] = beside.server.calls
        assert call.body == b'{"requests":"%b"}' % said.encode()
        assert call.credential == f"x-api-key:{key_of('anthropic-0')}"


def read_first(beside: Beside, way: str, path: str, headers: dict[str, str], found: Callable[[bytes], bool]) -> None:
    """Read an answer that does not end until this has come of it."""
    ca = beside.proxy.ca_file
    if way == "HTTP/2":
        with H2Client(beside.server.url, proxy=beside.proxy.url, ca=ca) as client:
            number = client.post(path, {"stream": True}, headers)
            client.read_until(lambda: found(client.body[number]))
            return
    answer = raw.request("POST", beside.proxy.url + path, {"stream": True}, headers, read=found)
    assert found(answer.body)


GOOGLE = {"x-goog-api-key": "mine"}
FILE = {"content-type": "video/mp4"}
EVENTS = {"content-type": "text/event-stream"}
LONG = b'{"a":"' + b"x" * 60_000


@pytest.mark.parametrize("way", ["base URL", "HTTP/2"])
@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/v1beta/interactions", Reply(headers=EVENTS, chunks=(b"event: one\ndata: {}\n\n",), end="stall")),
        ("/v1beta/logs:stream", Reply(headers=JSON, chunks=(b'{"first":1}\n',), end="stall")),
        ("/v1beta/media:copy", Reply(headers=FILE, chunks=(b"\x00a", b"b"), content_length=True, end="stall")),
        ("/v1beta/operations:long", Reply(headers={**JSON, "content-length": "70000"}, chunks=(LONG,), end="stall")),
    ],
)  # fmt: skip
def test_what_passes_streams_as_it_comes(beside: Beside, way: str, path: str, reply: Reply) -> None:
    beside.server.play(reply)
    first = reply.chunks[0]
    read_first(beside, way, path, GOOGLE, lambda data: data.startswith(first))
    [call] = beside.server.calls
    assert call.credential.endswith(("gemini-0-0123456789", "anthropic-0-0123456789"))


def test_a_stream_that_passes_has_no_credential_and_is_kept(beside: Beside) -> None:
    key = key_of("gemini-0")
    pieces = tuple(piece.encode() for piece in (f"data: {key[:7]}", f"{key[7:]}\n\n", "data: kept-piece\n\n"))
    beside.server.play(Reply(headers=EVENTS, chunks=pieces))
    url = f"{beside.proxy.url}/v1beta/interactions"
    beside.kept.add("kept-piece")
    answer = raw.request("POST", url, {"stream": True}, {**GOOGLE, "x-keep": "kept-piece"})
    assert answer.ended == "complete"
    assert key.encode() not in answer.body
    assert b"kept-piece" in answer.body


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_upload_streams_with_the_accounts_credential(beside: Beside, framing: str) -> None:
    url = f"http://127.0.0.1:{beside.slow.port}/upload/v1beta/files"
    connection = raw.RawConnection(url, proxy=beside.proxy.url)
    head = f"POST {url} HTTP/1.1\r\nhost: 127.0.0.1:{beside.slow.port}\r\n"
    head += "x-goog-api-key: mine\r\ncontent-type: video/mp4\r\n"
    parts = [b"the first half,", b" the end"]
    if framing == "length":
        head += f"content-length: {sum(map(len, parts))}\r\n\r\n"
    else:
        head += "transfer-encoding: chunked\r\n\r\n"
        parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
        parts[1] += b"0\r\n\r\n"
    connection.send_bytes(head.encode() + parts[0])
    beside.slow.wait_for(b"the first half,")
    connection.send_bytes(parts[1])
    answer = connection.read("POST")
    connection.close()
    assert answer.body == b"ok"
    assert key_of("slow").encode() in beside.slow.got
    assert b"mine" not in beside.slow.got


def test_an_upload_that_turns_out_too_long_is_ended(beside: Beside) -> None:
    url = f"http://127.0.0.1:{beside.slow.port}/upload/v1beta/files"
    connection = raw.RawConnection(url, proxy=beside.proxy.url)
    head = f"POST {url} HTTP/1.1\r\nhost: a\r\ncontent-type: video/mp4\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (1_000_000, b"x" * 1_000_000)
    connection.send_bytes(head.encode().replace(b"host: a", f"host: 127.0.0.1:{beside.slow.port}".encode()) + piece * 4)
    answer = connection.read("POST")
    connection.close()
    assert answer.status == 413
    assert "3,000,000" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("more", "status"),
    [("host: rebound.example\r\ncontent-length: 9", 403), ("host: localhost\r\ncontent-length: 9000000", 413)],
)
@pytest.mark.parametrize("do", ["", "stream request"])
def test_an_upload_that_is_refused_at_its_headers_goes_nowhere(beside: Beside, more: str, status: int, do: str) -> None:
    connection = raw.RawConnection(beside.proxy.url)
    head = f"POST /upload/v1beta/files HTTP/1.1\r\ncontent-type: video/mp4\r\nx-do: {do}\r\n{more}\r\n\r\n"
    connection.send_bytes(head.encode() + b"the end")
    answer = connection.read("POST")
    connection.close()
    assert answer.status == status
    assert not beside.server.calls
    assert beside.server.open_connections == 0
