"""The faulty upstream does what its replies say, to the byte."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator

import brotli
import pytest
import zstandard

from tests.upstream import (
    PING,
    Call,
    Reply,
    Upstream,
    anthropic_empty,
    anthropic_error,
    anthropic_error_event,
    anthropic_heartbeats,
    anthropic_json,
    anthropic_stream,
    gemini_error_tail,
    gemini_events,
)
from tests.upstream.coding import Encoding

SECONDS = 10.0


@pytest.fixture
def up() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def dial(up: Upstream) -> socket.socket:
    return socket.create_connection(("127.0.0.1", up.port), timeout=SECONDS)


def message(text: str = "Hi", *, stream: bool = True, headers: str = "") -> bytes:
    body = json.dumps({"model": "claude-test", "stream": stream, "messages": [{"role": "user", "content": text}]})
    head = f"POST /v1/messages?beta=true HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        more = sock.recv(65536)
        assert more, f"closed after {data!r}"
        data += more
    return data


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def ask(
    up: Upstream, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=SECONDS)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_every_piece_is_a_chunk_of_its_own(up: Upstream) -> None:
    reply = anthropic_stream("Grüße 👋", split=1)
    up.play(reply)
    with dial(up) as sock:
        sock.sendall(message())
        head, _, framed = read_until(sock, b"\r\n0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"transfer-encoding: chunked" in head
    assert framed == b"".join(b"1\r\n%c\r\n" % byte for byte in reply.whole) + b"0\r\n\r\n"
    assert up.calls[0].sent == len(reply.whole)


def test_cut_ends_without_the_terminating_chunk(up: Upstream) -> None:
    reply = anthropic_stream("Hello there").first(3)
    up.play(reply)
    with dial(up) as sock:
        sock.sendall(message())
        framed = read_all(sock).partition(b"\r\n\r\n")[2]
    assert framed == b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in reply.chunks)
    up.wait_for(lambda up: up.calls[0].ended == "cut")
    assert not up.calls[0].finished
    assert up.calls[0].closed_at is None


def test_a_cut_body_is_shorter_than_promised(up: Upstream) -> None:
    up.play(anthropic_json(end="cut"))
    with pytest.raises(http.client.IncompleteRead):
        ask(up, "POST", "/v1/messages", {"model": "m"})


@pytest.mark.parametrize("play", [anthropic_stream(end="reset"), Reply(before="reset")])
def test_reset(up: Upstream, play: Reply) -> None:
    up.play(play)
    with dial(up) as sock:
        sock.sendall(message())
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_close_before_any_byte(up: Upstream) -> None:
    up.play(Reply(before="close"))
    with dial(up) as sock:
        sock.sendall(message())
        assert read_all(sock) == b""


@pytest.mark.parametrize(
    "play",
    [
        Reply(before="stall"),
        anthropic_stream(end="stall"),
        anthropic_stream(delay=1000),
        anthropic_stream(head_gap=1000),
        anthropic_stream(gap=1000),
        anthropic_stream(end_gap=1000),
        anthropic_heartbeats(every=0.001),
    ],
    ids=["before", "stall", "delay", "head_gap", "gap", "end_gap", "heartbeats"],
)
@pytest.mark.parametrize("abruptly", [False, True], ids=["fin", "rst"])
def test_a_client_that_leaves_is_noticed(up: Upstream, play: Reply, abruptly: bool) -> None:
    up.play(play)
    with dial(up) as sock:
        sock.sendall(message())
        up.wait_for(lambda up: up.active == 1)
        if abruptly:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    up.wait_for(lambda up: up.calls[0].closed_at is not None)
    up.wait_for(lambda up: up.open_connections == 0)
    assert up.calls[0].ended == "client left"
    assert up.active == 0


def test_a_client_that_reads_nothing_is_noticed_too(up: Upstream) -> None:
    up.play(Reply(chunks=[b"x" * 65536] * 1000))
    with dial(up) as sock:
        sock.sendall(message())
        up.wait_for(lambda up: up.calls and up.calls[0].sent > 0)
    up.wait_for(lambda up: up.calls[0].closed_at is not None)
    assert up.calls[0].sent < 65536 * 1000


def test_heartbeats_go_on(up: Upstream) -> None:
    up.play(anthropic_heartbeats(every=0.001))
    with dial(up) as sock:
        sock.sendall(message())
        read_until(sock, b"\r\n".join([b"%x" % len(PING), PING, b""]) * 5)


def test_keep_alive_and_pipelining(up: Upstream) -> None:
    up.play(anthropic_json("one"), anthropic_json("two"))
    with dial(up) as sock:
        sock.sendall(message("1", stream=False) + message("2", stream=False))
        data = read_until(sock, b"two")
        assert data.index(b"one") < data.index(b"two")
        sock.sendall(message("3", headers="connection: close\r\n"))
        assert b"connection: close" in read_all(sock)
    assert [call.json["messages"][0]["content"] for call in up.calls] == ["1", "2", "3"]


def test_chunked_body_and_expect(up: Upstream) -> None:
    with dial(up) as sock:
        sock.sendall(
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b'4\r\n{"mo\r\n9;x=y\r\ndel":"m"}\r\n0\r\ntrailer: 1\r\n\r\n')
        assert b"200 OK" in read_until(sock, b"\r\n\r\n")
    assert up.calls[0].json == {"model": "m"}


def test_what_is_not_http(up: Upstream) -> None:
    with dial(up) as sock:
        sock.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400 ")
    assert up.calls == []


def test_http10_ends_with_the_connection(up: Upstream) -> None:
    reply = anthropic_stream(http10=True)
    up.play(reply)
    with dial(up) as sock:
        sock.sendall(message())
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert body == reply.whole
    up.wait_for(lambda up: up.calls[0].finished)


@pytest.mark.parametrize(
    ("encoding", "decode"),
    [
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("br", brotli.decompress),
        ("zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    ],
)
@pytest.mark.parametrize("split", [None, 3])
def test_encodings(up: Upstream, encoding: Encoding, decode: Callable[[bytes], bytes], split: int | None) -> None:
    reply = anthropic_stream("Hello " * 50, encoding=encoding, split=split)
    up.play(reply)
    response, body = ask(up, "POST", "/v1/messages", {"model": "m", "stream": True})
    assert response.getheader("content-encoding") == encoding
    assert decode(body) == reply.whole


def test_each_encoded_piece_can_be_decoded_at_once(up: Upstream) -> None:
    reply = anthropic_stream(encoding="gzip").first(2, "stall")
    up.play(reply)
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=SECONDS)
    connection.request("POST", "/v1/messages", "{}")
    response, decoder, text = connection.getresponse(), zlib.decompressobj(wbits=31), b""
    while text != reply.whole:
        text += decoder.decompress(response.read1())
    response.close()
    connection.close()


def test_keyed_plans(up: Upstream) -> None:
    names = [f"client-{number}" for number in range(20)]
    for name in names:
        up.play(anthropic_error(529, "overloaded_error", name), anthropic_json(name), key=name)
    up.play(anthropic_json("unkeyed"))
    got: dict[str, list[tuple[int, str]]] = {}

    def client(name: str) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": f"[plan:{name}]"}]}
        answers = [ask(up, "POST", "/v1/messages", body) for _ in range(3)]
        got[name] = [(response.status, text.decode()) for response, text in answers]

    threads = [threading.Thread(target=client, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    for name in names:
        (first, one), (second, two), (third, three) = got[name]
        assert (first, second, third) == (529, 200, 200)
        assert name in one
        assert name in two
        assert "Hello" in three
    assert up.unplayed == 1
    assert b"unkeyed" in ask(up, "POST", "/v1/messages", {"model": "m"})[1]
    up.reset()
    assert (up.calls, up.unplayed) == ([], 0)


def test_refuse_and_accept(up: Upstream) -> None:
    port = up.port
    with dial(up) as idle, dial(up) as busy:
        up.play(anthropic_json(), Reply(before="stall"))
        idle.sendall(message())
        read_until(idle, b"end_turn")
        up.wait_for(lambda up: up.active == 0)
        busy.sendall(message())
        up.wait_for(lambda up: up.active == 1)
        up.refuse()
        assert read_all(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            dial(up)
        assert up.active == 1
    up.accept()
    assert up.port == port
    assert ask(up, "GET", "/v1/models")[0].status == 200


def test_wait_for_tells_what_happened(up: Upstream) -> None:
    ask(up, "POST", "/v1/messages", {"model": "m"}, {"x-api-key": "sk-very-secret-key"})
    with pytest.raises(AssertionError, match=r"POST /v1/messages .*-key plays anthropic json") as raised:
        up.wait_for(lambda up: len(up.calls) == 2, timeout=0.01)
    assert "very-secret" not in str(raised.value)


def test_a_broken_plan_shows(up: Upstream) -> None:
    def broken(call: Call) -> Reply:
        raise RuntimeError("out of ideas")

    up.play(broken)
    response, body = ask(up, "POST", "/v1/messages", {"model": "m"})
    assert response.status == 500
    assert b"out of ideas" in body


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "text"),
    [
        ("POST", "/v1/messages", {}, 200, '"model":"asked"'),
        ("POST", "/v1/messages/count_tokens", {}, 200, "input_tokens"),
        ("GET", "/v1/models", {"x-api-key": "k"}, 200, "claude-"),
        ("GET", "/v1/models/claude-x", {}, 200, "claude-x"),
        ("GET", "/v1/models", {"x-goog-api-key": "k"}, 200, "models/gemini-"),
        ("GET", "/v1beta/models", {}, 200, "models/gemini-"),
        ("GET", "/v1beta/models/gemini-x", {}, 200, "models/gemini-x"),
        ("POST", "/v1beta/models/gemini-x:generateContent", {}, 200, '"modelVersion": "gemini-x"'),
        ("POST", "/v1/models/gemini-x:streamGenerateContent?alt=sse", {}, 200, 'data: {"candidates"'),
        ("POST", "/v1beta/models/gemini-x:streamGenerateContent", {}, 200, "[{"),
        ("POST", "/v1/projects/p/locations/l/publishers/google/models/g:countTokens", {}, 200, "totalTokens"),
        ("POST", "/v1beta/models/g:generateContent?key=a", {"x-goog-api-key": "b"}, 400, "Multiple authentication"),
        ("POST", "/v1beta/models/g:fly", {}, 404, '"status": "NOT_FOUND"'),
        ("GET", "/nowhere", {}, 404, '"type":"not_found_error"'),
        ("HEAD", "/", {}, 404, ""),
    ],
)
def test_healthy_answers(up: Upstream, method: str, path: str, headers: dict[str, str], status: int, text: str) -> None:
    response, body = ask(up, method, path, {"model": "asked"} if method == "POST" else None, headers)
    assert response.status == status
    assert text in body.decode()
    if path.endswith("streamGenerateContent"):
        assert [chunk["modelVersion"] for chunk in json.loads(body)] == ["gemini-x"] * 2


def test_credentials(up: Upstream) -> None:
    ask(up, "GET", "/v1beta/models?key=one&x=2", None, {"Authorization": "Bearer two"})
    assert up.calls[0].credential == "bearer:two,key:one"
    assert up.calls[0].query == "key=one&x=2"
    assert up.calls[0].path == "/v1beta/models"


def test_events_are_those_of_the_real_api() -> None:
    events = anthropic_stream("Hi", thinking="Hm", tool=("ls", {"a": 1}), pings=1).chunks
    kinds = [event.split(b"\n")[0].removeprefix(b"event: ").decode() for event in events]
    block = ["content_block_start", "content_block_delta", "content_block_delta", "content_block_delta"]
    assert kinds == [
        "message_start",
        "content_block_start",
        "ping",
        *block[1:],
        "content_block_stop",
        *block[:3],
        "content_block_stop",
        *block,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert b'"stop_reason":"tool_use"' in events[-2]
    assert len(anthropic_empty().chunks) == 3
    assert anthropic_error_event().startswith(b"event: error\ndata: {")
    last = gemini_events("Hello", tool=("ls", {}), signature="s")[-1]
    assert last.endswith(b"\r\n\r\n")
    candidate = json.loads(last.removeprefix(b"data: "))["candidates"][0]
    assert candidate["content"]["parts"] == [{"functionCall": {"name": "ls", "args": {}}, "thoughtSignature": "s"}]
    assert candidate["finishReason"] == "STOP"
    assert gemini_error_tail().startswith(b'{\n  "error"')
