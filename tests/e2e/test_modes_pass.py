"""Requests that are not ours pass exactly as in plain mitmproxy; other API paths get one account's credential."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import CLIENT_KEY, free_port, wait_for_modes
from tests.support import raw
from tests.support.listening import Listening, read_request
from tests.upstream import Reply, Upstream


@dataclass
class Recording(Listening):
    """A server that keeps the very bytes of each request and answers with canned bytes, then closes."""

    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    requests: list[bytes] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        """Answer one request."""
        with connection:
            connection.settimeout(5)
            self.requests.append(read_request(connection))
            connection.sendall(self.answer)


def talk(port: int, request: bytes) -> bytes:
    """Send bytes, and give all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        got = b""
        while data := client.recv(65536):
            got += data
        return got


@dataclass(frozen=True)
class Pair:
    """A proxy with the addon and one without, and the servers behind both."""

    healing: Proxy
    plain: Proxy
    server: Recording
    """Is configured as the upstream `api`, with accounts."""
    other: Recording
    """Is not configured."""
    reverse: tuple[int, int]
    """The ports of reverse mode to `other`, with the addon and without."""
    served: Upstream
    """Is configured as the upstreams `anthropic` and `gemini`, each with two accounts."""


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with Recording() as server, Recording() as other, Upstream() as served:
        config = ""
        for dialect, host in (("anthropic", "127.0.0.1"), ("gemini", "localhost")):
            config += account(f"{dialect}-one", dialect) + account(f"{dialect}-two", dialect)
            config += upstream(dialect, dialect, f"http://{host}:{served.port}")
        config += account("api-one", "api") + upstream("api", "anthropic", f"http://127.0.0.1:{server.port}")
        ports = (free_port(), free_port())
        modes = [["--mode", "regular", "--mode", f"reverse:http://127.0.0.1:{other.port}@{port}"] for port in ports]
        with (
            Proxy(folder / "healing", config, args=modes[0]) as healing,
            Proxy(folder / "plain", None, addon=False, args=modes[1]) as plain,
        ):
            for proxy in (healing, plain):
                wait_for_modes(proxy, 2)
            yield Pair(healing, plain, server, other, ports, served)


@pytest.fixture
def pair(shared_pair: Pair) -> Pair:
    for server in (shared_pair.server, shared_pair.other):
        server.requests.clear()
        server.answer = Recording.answer
    shared_pair.served.reset()
    return shared_pair


# The proxy is to close behind its answer, so that the test sees where the answer ends.
START = "HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
KEYS = "X-Api-Key: mine\r\nAUTHORIZATION: Bearer mine\r\nx-goog-api-key:   mine\r\n"
REQUESTS = {
    "get": f"GET {{base}}/page?key=mine&b=%20+ {START}{KEYS}X-Odd: a\r\nx-odd: b\r\nAccept-Encoding: br\r\n\r\n",
    "post": f"POST {{base}}/form {START}{KEYS}Content-Length: 5\r\n\r\nabcde",
    "chunked": f"POST {{base}}/form {START}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "root": f"GET {{base}}/ {START}\r\n",
    "options": f"OPTIONS {{base}}/v1/messages {START}Origin: http://a.example\r\n\r\n",
    "http10": "GET {base}/page HTTP/1.0\r\nHost: {host}\r\n\r\n",
}
ANSWERS = {
    "length": b"HTTP/1.1 200 Fine\r\nX-Account-Email: theirs\r\nX-ODD: a\r\nx-odd: b\r\nContent-Length: 2\r\n\r\nok",
    "chunked": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"10\r\ndata: {\"a\": 1}\n\n\r\n0\r\n\r\n",
    "error": b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\nretry-after: 1\r\n\r\nbusy",
    "to the end": b"HTTP/1.1 200 OK\r\n\r\nuntil it closes",
}  # fmt: skip


def both_ways(pair: Pair, template: str, server: Recording, *, reverse: bool = False) -> bytes:
    """Send a request through both proxies: what came back must be the same, and so must what the server got."""
    host = f"127.0.0.1:{server.port}"
    request = template.format(base="" if reverse else f"http://{host}", host=host).encode()
    ports = pair.reverse if reverse else (pair.healing.port, pair.plain.port)
    healing, plain = [talk(port, request) for port in ports]
    assert healing == plain
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]
    return healing


@pytest.mark.covering(1)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_to_another_host_passes_byte_for_byte(pair: Pair, kind: str, answer: str) -> None:
    pair.other.answer = ANSWERS[answer]
    back = both_ways(pair, REQUESTS[kind], pair.other)
    assert back.startswith(ANSWERS[answer][:12])


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_in_reverse_mode_that_is_no_endpoint_passes_byte_for_byte(pair: Pair, kind: str) -> None:
    both_ways(pair, REQUESTS[kind], pair.other, reverse=True)


@pytest.mark.parametrize("kind", REQUESTS)
def test_another_path_on_a_configured_host_passes_byte_for_byte(pair: Pair, kind: str) -> None:
    both_ways(pair, REQUESTS[kind], pair.server)


def test_an_endpoints_path_on_another_host_passes_byte_for_byte(pair: Pair) -> None:
    body = '{"model": "m", "stream": true}'
    request = (
        "POST {base}/v1/messages HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Api-Key: mine\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{{{body}}}"
    )
    pair.other.answer = ANSWERS["chunked"]
    both_ways(pair, request, pair.other)


def test_a_websocket_handshake_passes_byte_for_byte(pair: Pair) -> None:
    request = (
        "GET {base}/live HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    pair.other.answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    both_ways(pair, request, pair.other)


def test_a_server_that_refuses_looks_as_in_plain_mitmproxy(pair: Pair) -> None:
    request = f"GET http://127.0.0.1:{free_port()}/page HTTP/1.1\r\nHost: gone\r\nConnection: close\r\n\r\n".encode()
    healing, plain = [talk(proxy.port, request) for proxy in (pair.healing, pair.plain)]
    assert healing == plain
    assert healing.startswith(b"HTTP/1.1 502 ")


ANTHROPIC_VERSION = {"anthropic-version": "2026-10-21", "x-api-key": CLIENT_KEY}
GOOGLE_KEY = {"x-goog-api-key": CLIENT_KEY}
OTHER_PATHS = [
    ("anthropic", "POST", "/v1/files", ANTHROPIC_VERSION),
    ("anthropic", "GET", "/v1/files/file_1/content", ANTHROPIC_VERSION),
    ("anthropic", "POST", "/v1/messages/batches", ANTHROPIC_VERSION),
    ("anthropic", "GET", "/v1/messages/batches/b1/results?limit=2", {"x-api-key": CLIENT_KEY}),
    ("gemini", "GET", "/v1beta/files?pageSize=3", GOOGLE_KEY),
    ("gemini", "POST", "/upload/v1beta/files", GOOGLE_KEY),
    ("gemini", "POST", "/v1beta/cachedContents", GOOGLE_KEY),
    ("gemini", "POST", "/v1beta/models/m:embedContent", GOOGLE_KEY),
    ("gemini", "POST", "/v1beta/models/m:batchGenerateContent", GOOGLE_KEY),
    ("gemini", "POST", "/v1/openai/chat/completions", GOOGLE_KEY),
    ("gemini", "DELETE", f"/v1beta/files/f1?key={CLIENT_KEY}", {}),
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", ["base URL", "proxy"])
@pytest.mark.parametrize(("dialect", "method", "target", "headers"), OTHER_PATHS)
def test_other_api_paths_pass_with_the_credential_of_one_account(
    pair: Pair, way: str, dialect: str, method: str, target: str, headers: dict[str, str]
) -> None:
    pair.served.default = Reply(headers={"Content-Type": "x/y", "X-Theirs": "1"}, body=b"\x00what it says\xff")
    host = f"{'127.0.0.1' if dialect == 'anthropic' else 'localhost'}:{pair.served.port}"
    body = b"\x00\x01 not JSON" if method == "POST" else None
    base, proxy = (pair.healing.url, None) if way == "base URL" else (f"http://{host}", pair.healing.url)
    for _ in range(2):
        response = raw.request(method, base + target, body, {"X-Mine": "1", **headers}, proxy=proxy)
        assert (response.status, response.body) == (200, b"\x00what it says\xff")
        assert response.header("x-theirs") == "1"
    wanted = urlsplit(target.partition(f"?key={CLIENT_KEY}")[0])
    accounts = set()
    for call in pair.served.calls:
        assert (call.method, call.path, call.query) == (method, wanted.path, wanted.query)
        assert call.body == (body or b"")
        assert call.headers["host"] == host
        assert call.headers["x-mine"] == "1"
        assert len(call.credentials) == 1
        accounts.add(call.credential)
    # All such requests use one account: files and batches belong to who made them.
    kind = "x-api-key" if dialect == "anthropic" else "x-goog-api-key"
    assert accounts == {f"{kind}:{key_of(f'{dialect}-one')}"}


def test_nothing_is_healed_on_other_api_paths(pair: Pair) -> None:
    pair.served.default = Reply(503, {"x-theirs": "1"}, b"busy")
    response = raw.request("POST", f"{pair.healing.url}/v1/messages/batches", b"{}", ANTHROPIC_VERSION)
    assert (response.status, response.body) == (503, b"busy")
    assert len(pair.served.calls) == 1
