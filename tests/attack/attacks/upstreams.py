"""What an upstream can do: answers without an end, heads without measure, answers that nobody asked for."""

import contextlib
import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable

from tests.attack.arena import (
    MB,
    OK_JSON,
    OK_STREAM,
    Arena,
    Setup,
    head,
    response,
    says,
    says_for_ever,
)
from tests.attack.table import Attack
from tests.support import raw
from tests.support.patience import wait_until
from tests.support.protocol import check_anthropic_stream
from tests.upstream import anthropic_event, anthropic_events, anthropic_start, gemini_chunk, gemini_event
from tests.upstream.anthropic import block_events

_SSE = b"content-type: text/event-stream"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
_ASK = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}


def _asked(place: Arena, answer: Callable[[socket.socket, bytes], None], *, stream: bool = False,
           model: str = "evil", timeout: float = 60.0) -> int:  # fmt: skip
    """Ask the upstream that answers so; gives the status, 0 where the connection broke."""
    place.evil.answer = answer
    try:
        return place.ask(model, stream=stream, timeout=timeout).status
    except (ConnectionError, TimeoutError) as error:
        raise AssertionError(f"no answer: {error!r}"[:200]) from None


def error_bomb(place: Arena) -> None:
    """A compressed error of 400 MB."""
    coder = zlib.compressobj(9, wbits=31)
    body = b"".join(coder.compress(bytes(16 * MB)) for _ in range(25)) + coder.flush()
    assert _asked(place, says(400, body, b"content-encoding: gzip")) >= 400


def answer_bomb(place: Arena) -> None:
    """A compressed answer of 1 GB."""
    coder = zlib.compressobj(9, wbits=31)
    body = b"".join(coder.compress(b" " * 16 * MB) for _ in range(64)) + coder.flush()
    assert _asked(place, says(200, body, b"content-encoding: gzip")) >= 500


def stream_bomb(place: Arena) -> None:
    """A compressed stream that is one event of 1 GB."""
    coder = zlib.compressobj(9, wbits=31)
    body = coder.compress(b"data: ") + b"".join(coder.compress(b" " * 16 * MB) for _ in range(64)) + coder.flush()
    place.evil.answer = says(200, body, b"content-encoding: gzip", _SSE)
    found = place.ask("evil", stream=True, timeout=60)
    # What is held has its bound; beyond it the stream has begun, and an error is told in it.
    assert found.status >= 500 or check_anthropic_stream(found.body).ended == "error", f"a {found.status}"


def compressed_answer(place: Arena) -> None:
    """An honestly compressed answer is read."""
    assert _asked(place, says(200, gzip.compress(OK_JSON), b"content-encoding: gzip")) == 200
    place.is_well()


def endless_error(place: Arena) -> None:
    """An error whose body does not end."""
    head = b"HTTP/1.1 500 No\r\ncontent-type: application/json\r\n\r\n"
    assert _asked(place, says_for_ever(head, b"x" * MB)) >= 500
    assert len(place.evil.requests) <= 3


def endless_answer(place: Arena) -> None:
    """A whole answer that does not end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    assert _asked(place, says_for_ever(head, b" " * MB)) >= 500


def endless_stream_for_whole(place: Arena) -> None:
    """A stream that does not end, for a client that wants a whole answer."""
    delta = anthropic_event(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 60_000}}
    )
    start = anthropic_start() + block_events(0, {"type": "text", "text": ""}, [])[0]
    assert _asked(place, says_for_ever(_HEAD + b"\r\n" + start, delta * 16)) >= 500


def endless_heads(place: Arena) -> None:
    """134 MB of response headers."""
    line = b"x-long: " + b"x" * 8000 + b"\r\n"
    status = _asked(place, says_for_ever(b"HTTP/1.1 200 OK\r\n", line * 128, most=134 * MB))
    assert status >= 500, f"a {status}"


def many_response_headers(place: Arena) -> None:
    """A million of them."""
    status = _asked(place, says_for_ever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 10_000, most=6 * MB))
    assert status >= 500, f"a {status}"


def slow_response_head(place: Arena) -> None:
    """A response head, a byte at a time, for ever."""

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        until = time.monotonic() + 40
        while time.monotonic() < until:
            connection.sendall(b"x")
            time.sleep(0.05)

    assert _asked(place, answer, timeout=30) >= 500


def long_line(place: Arena) -> None:
    """One event of 60 MB, which is no JSON in the end."""
    for piece in (b"x", b'{"input":{"a":1.0},"b":[', b"[", b'"a":{"args":{"":0},'):
        body = b"data: " + piece * (60 * MB // len(piece)) + b"\n\n"
        place.evil.answer = says(200, body, _SSE)
        place.ask("evil", stream=True, timeout=60)


def tiny_events(place: Arena) -> None:
    """A million events of nearly nothing."""
    start, *_, end = anthropic_events("x")
    tiny = b'data: {"type":"ping"}\n\n'
    place.evil.answer = says(200, start + tiny * 500_000 + end, _SSE)
    place.ask("evil", stream=True, timeout=80)
    place.evil.answer = says(200, start + b"\n\n" * 1_000_000 + b":\n\n" * 500_000 + end, _SSE)
    place.ask("evil", stream=True, timeout=80)


def many_parts(place: Arena) -> None:
    """An answer of very many signed parts, as a stream that is read at once."""
    part = {"text": "word ", "thoughtSignature": "QUJDREVG" * 10}
    chunk = gemini_event(gemini_chunk([part] * 50))
    place.evil.answer = says(200, chunk * 300 + gemini_event(gemini_chunk([{"text": "."}], finish_reason="STOP")), _SSE)
    url = f"{place.url}/v1beta/models/evil-gemini:streamGenerateContent?alt=sse"
    raw.request("POST", url, {"contents": [{"parts": [{"text": "hi"}]}]}, timeout=80)


def growing_usage(place: Arena) -> None:
    """Usage with very many fields, told again and again."""
    first = {"type": "message_delta", "delta": {}, "usage": {f"f{number}": number for number in range(200_000)}}
    again = anthropic_event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}})
    start = anthropic_events("x")[:-2]
    place.evil.answer = says(200, b"".join(start) + anthropic_event(first) + again * 2000, _SSE)
    place.ask("evil", stream=True, timeout=80)


def early_hints(place: Arena) -> None:
    """Each answer comes behind a 103, and none goes to another request."""

    def answer(connection: socket.socket, request: bytes) -> None:
        told = request.partition(b"number-")[2][:4]
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n")
        body = OK_JSON.replace(b"Well.", told)
        connection.sendall(response(200, body))

    place.evil.answer = answer
    for number in range(1000, 1030):
        found = place.ask("evil", messages=[{"role": "user", "content": f"number-{number}"}])
        assert found.status == 200, f"a {found.status}"
        assert str(number) in str(json.loads(found.body)["content"]), "another request's answer"


def switching(place: Arena) -> None:
    """A 101 that nobody asked for."""
    status = _asked(place, lambda connection, request: connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    ), timeout=30)  # fmt: skip
    assert status >= 500, f"a {status}"


def two_answers(place: Arena) -> None:
    """A second answer that nobody asked for, for whoever comes next."""
    poison = response(200, OK_JSON.replace(b"Well.", b"poison"))

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(response(200, OK_JSON) + poison)

    place.evil.answer = answer
    with contextlib.closing(raw.RawConnection(place.url)) as kept:
        for _ in range(5):
            kept.send("POST", f"{place.url}/v1/messages", {"model": "evil", **_ASK})
            found = kept.read("POST")
            assert b"poison" not in found.body, "an answer that was not its own"


def trailers(place: Arena) -> None:
    """A chunked answer with trailers ends with them."""
    body = b"%x\r\n%s\r\n0\r\nx-checksum: 1\r\nserver-timing: x\r\n\r\n" % (len(OK_STREAM), OK_STREAM)

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(_HEAD + b"transfer-encoding: chunked\r\ntrailer: x-checksum\r\n\r\n" + body)

    assert _asked(place, answer, stream=True, timeout=10) == 200
    assert _asked(place, answer, timeout=10) == 200


_ODD_STATUS = (b"HTTP/1.1 099 X", b"HTTP/1.1 000 X", b"HTTP/1.1 600 X", b"HTTP/1.1 999 X", b"HTTP/1.1 20 X",
               b"HTTP/1.1 2000 X", b"HTTP/1.1 -20 X", b"HTTP/1.1 abc X", b"HTTP/9.9 200 X", b"ICY 200 OK")  # fmt: skip
_ODD_FIELDS = (b"x: a\rb", b"x: a\0b", b"x: a\x0bb", b"x\0: y", b"x y: z", b"nothing")


def odd_heads(place: Arena) -> None:
    """Statuses that are none, and headers with what has no place in them."""
    for line in _ODD_STATUS:
        whole = line + b"\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n%s" % (len(OK_JSON), OK_JSON)
        status = _asked(place, lambda connection, _, whole=whole: connection.sendall(whole), timeout=20)  # type: ignore[misc]
        assert 400 <= status <= 599, f"{line!r} became {status}"
    for field in _ODD_FIELDS:
        place.evil.answer = says(200, OK_JSON, field)
        found = place.ask("evil", timeout=20)
        assert found.status >= 500 or "a" not in str(found.header("x")), f"{field!r} reached the client"


def plain_endless(place: Arena) -> None:
    """A server that is no upstream of ours, asked through the proxy as any proxy is, does not come to an end."""
    place.evil.answer = says_for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * MB, most=400 * MB)
    with place.connect(30) as connection:
        connection.sendall(head("GET", f"{_elsewhere(place)}/endless", host="elsewhere"))
        with contextlib.suppress(TimeoutError, ConnectionError):
            while connection.recv(1 << 20):
                pass


def _elsewhere(place: Arena) -> str:
    """The evil upstream by a name that no configured upstream has."""
    return f"http://127.0.0.3:{place.evil.port}"


def tunnel(place: Arena) -> None:
    """A tunnel in which 200 MB of no protocol at all go to a server and come back from it."""

    def echo(connection: socket.socket, request: bytes) -> None:
        with contextlib.suppress(OSError):
            while more := connection.recv(1 << 20):
                connection.sendall(more)

    place.evil.answer = echo
    with place.connect(30) as connection:
        target = f"127.0.0.3:{place.evil.port}"
        connection.sendall(head("CONNECT", target, host=target))
        assert b" 200 " in connection.recv(65536)
        connection.sendall(b"\x01\x02no protocol\r\n\r\n")
        # What comes with it is taken for a part of it, and is not repeated.
        wait_until(lambda: place.evil.requests, "the beginning")
        for _ in range(200):
            connection.sendall(b"\x00" * MB)
            got = 0
            while got < MB and (more := connection.recv(1 << 20)):
                got += len(more)


def endless_continuation(place: Arena) -> None:
    """An upstream that always has more to say, for a client of another dialect that wants it whole."""
    chunk = gemini_chunk([{"text": "word " * 100_000}], finish_reason="CONTINUATION")
    chunk["candidates"][0]["continuationToken"] = "token"
    place.evil.answer = says(200, gemini_event(chunk), _SSE)
    found = place.ask("evil-crossed", timeout=50)
    assert found.status >= 500 or len(found.body) < 80 * MB
    assert len(place.evil.requests) <= 60, f"{len(place.evil.requests)} requests for one"


def storm(place: Arena) -> None:
    """A dead upstream is not asked more often than the budgets allow."""
    place.evil.answer = lambda connection, request: connection.close()
    statuses = [place.ask("evil", timeout=30).status for _ in range(40)]
    assert all(status >= 500 for status in statuses)
    assert len(place.evil.requests) <= 40 + 20 + 40, f"{len(place.evil.requests)} requests for 40"
    wait_until(lambda: place.health()["running"] <= 1, "that nothing runs")


_NO_UPGRADE = Setup("[retry]\nupgrade = false\nmax_wait = 2\n")
_LITTLE_WAIT = Setup("[retry]\nmax_wait = 2\n[peek]\nfirst_byte_json = 3\nfirst_byte = 3\n[limits]\nhead_seconds = 5\n")

UPSTREAMS = [
    Attack(6, "error-bomb", "a gzip error of 400 MB", "an error, 1 MB of it looked at", error_bomb, compressed_answer,
           _NO_UPGRADE),
    Attack(6, "answer-bomb", "a gzip answer of 1 GB", "an error", answer_bomb, compressed_answer, _NO_UPGRADE,
           200 * MB),
    Attack(6, "stream-bomb", "a gzip stream of one event of 1 GB", "an error", stream_bomb, compressed_answer,
           _NO_UPGRADE, 300 * MB),
    Attack(7, "endless-error", "a 500 that does not end", "an error after 1 MB", endless_error, setup=_NO_UPGRADE),
    Attack(7, "endless-answer", "a whole answer that does not end", "an error after 64 MB", endless_answer,
           setup=_NO_UPGRADE, memory=250 * MB),
    Attack(7, "endless-stream", "a stream that does not end for a whole answer", "an error after 64 MB",
           endless_stream_for_whole, setup=_LITTLE_WAIT, memory=400 * MB),
    Attack(7, "response-heads", "134 MB of response headers", "502 from 64 kB on", endless_heads, setup=_LITTLE_WAIT),
    Attack(7, "many-response-headers", "a million response headers", "502", many_response_headers, setup=_LITTLE_WAIT),
    Attack(7, "slow-response-head", "a response head, a byte at a time", "an error by a clock", slow_response_head,
           setup=_LITTLE_WAIT),
    Attack(7, "long-event", "four events of 60 MB", "an error or passed, others unhurt", long_line, setup=_LITTLE_WAIT,
           memory=800 * MB),
    Attack(7, "tiny-events", "2,000,000 events of nothing", "passed, others unhurt", tiny_events, memory=200 * MB),
    Attack(7, "signed-parts", "a stream of 15,000 signed parts", "passed, others unhurt", many_parts, memory=200 * MB),
    Attack(7, "usage-flood", "usage with 200,000 fields, then told 2,000 times", "passed, others unhurt",
           growing_usage, memory=300 * MB),
    Attack(12, "early-hints", "30 answers, each behind a 103", "each gets its own", early_hints, setup=_NO_UPGRADE),
    Attack(12, "switching", "a 101 that nobody asked for", "an error", switching, setup=_LITTLE_WAIT),
    Attack(12, "two-answers", "two answers to one request, five times", "each gets its own", two_answers,
           setup=_NO_UPGRADE),
    Attack(12, "trailers", "chunked answers with trailers", "whole, at once", trailers, setup=_LITTLE_WAIT),
    Attack(12, "storm", "40 requests to an upstream that only closes", "budgets hold", storm, setup=_LITTLE_WAIT),
    Attack(7, "plain-endless", "400 MB from no upstream of ours, through the plain proxy", "passed on, not kept",
           plain_endless),
    Attack(7, "tunnel", "200 MB through a tunnel, and back", "passed on, not kept", tunnel),
    Attack(7, "endless-continuation", "a Gemini upstream that always has more to say", "an error, at most 50 requests",
           endless_continuation, memory=300 * MB),
    Attack(14, "odd-response-heads", "10 statuses that are none, 6 odd headers", "errors, not passed on", odd_heads,
           setup=_LITTLE_WAIT),
]  # fmt: skip
