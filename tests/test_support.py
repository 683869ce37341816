"""The checkers must accept what the real APIs sent and notice each way of getting it wrong."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import pytest
from google.genai import errors
from hypothesis import given
from hypothesis import strategies as st

from tests.support import protocol, raw, recorded, sdk
from tests.support.recorded import Exchange, recorded_params


def frame(kind: str, **data: Any) -> bytes:
    """One Anthropic event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """A whole Anthropic block."""
    return b"".join(
        [
            frame("content_block_start", index=index, content_block=content),
            *(frame("content_block_delta", index=index, delta=delta) for delta in deltas),
            frame("content_block_stop", index=index),
        ]
    )


def tool(index: int, *inputs: str) -> bytes:
    """A whole `tool_use` block."""
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in inputs]
    return block(index, {"type": "tool_use", "id": "toolu_1", "name": "run", "input": {}}, *deltas)


def end(stop_reason: str | None = "end_turn") -> bytes:
    """The two events that end an Anthropic message."""
    delta = frame("message_delta", delta={"stop_reason": stop_reason}, usage={"output_tokens": 9})
    return delta + frame("message_stop")


MESSAGE = {
    "type": "message",
    "role": "assistant",
    "id": "msg_1",
    "model": "claude",
    "content": [],
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
START = frame("message_start", message=MESSAGE)
PING = frame("ping")
OPEN = frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
HI = {"type": "text_delta", "text": "hé"}
TEXT = block(0, {"type": "text", "text": ""}, HI)
ERROR = frame("error", error={"type": "overloaded_error", "message": "Overloaded"})
GOOD = START + TEXT + end()


@pytest.mark.parametrize("exchange", recorded_params(lambda e: e.is_stream and e.dialect == "anthropic"))
def test_recorded_anthropic_streams_pass(exchange: Exchange) -> None:
    report = protocol.check_anthropic_stream(exchange.response_body)
    assert report.ended == "complete"
    assert report.text
    assert report.stop_reason == "end_turn"
    assert report.usage["output_tokens"] > 1


@pytest.mark.parametrize("exchange", recorded_params(lambda e: e.is_stream and e.dialect == "gemini"))
def test_recorded_gemini_streams_pass(exchange: Exchange) -> None:
    report = protocol.check_gemini_stream(exchange.response_body)
    assert report.ended == "complete"
    assert report.text or report.calls
    assert report.finish_reason == "STOP"
    assert report.usage["totalTokenCount"]


@pytest.mark.parametrize(
    "exchange", recorded_params(lambda e: not e.is_stream and e.status == 200 and "ount" not in e.path)
)
def test_recorded_answers_pass(exchange: Exchange) -> None:
    check = protocol.check_anthropic_json if exchange.dialect == "anthropic" else protocol.check_gemini_json
    assert check(exchange.response_body).ended == "complete"


@pytest.mark.parametrize("exchange", recorded_params(lambda e: e.status >= 400))
def test_recorded_errors_pass(exchange: Exchange) -> None:
    assert protocol.check_anthropic_error(exchange.status, exchange.response_body)["message"]


@pytest.mark.parametrize("exchange", recorded_params(lambda e: e.is_stream))
def test_a_recorded_stream_may_be_cut_anywhere_only_if_allowed(exchange: Exchange) -> None:
    anthropic_dialect = exchange.dialect == "anthropic"
    check = protocol.check_anthropic_stream if anthropic_dialect else protocol.check_gemini_stream
    body = exchange.response_body
    for length in range(0, len(body), max(1, len(body) // 40)):
        assert check(body[:length], allow_cut=True).ended == "cut"
        with pytest.raises(AssertionError):
            check(body[:length])


def test_anthropic_report() -> None:
    thinking = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "c2ln"},
    )
    text = block(1, {"type": "text", "text": ""}, HI, HI)
    body = PING + START + thinking + PING + text + tool(2, "", '{"a":', "1}") + tool(3) + end("tool_use")
    report = protocol.check_anthropic_stream(body)
    assert (report.ended, report.thinking, report.text, report.pings) == ("complete", "hm", "héhé", 2)
    assert report.tools == [("run", {"a": 1}), ("run", {})]
    assert report.stop_reason == "tool_use"
    assert report.usage == {"input_tokens": 3, "output_tokens": 9}
    assert report.blocks == ["thinking", "text", "tool_use", "tool_use"]
    assert report.events[0] == ("ping", {"type": "ping"})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(GOOD.replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(GOOD.replace(b"\n", b"\r"), id="cr"),
        pytest.param(b": hello\n\n" + START + b": held\n" + TEXT + end(), id="comments"),
        pytest.param(START + end("refusal"), id="no blocks"),
        pytest.param(START + block(0, {"type": "fallback"}) + end(), id="a block without deltas"),
        pytest.param(START + block(0, {"type": "new"}, HI, {"type": "newer"}) + end(), id="unknown block"),
        pytest.param(START + block(0, {"type": "text", "text": ""}, {"type": "new_delta"}) + end(), id="unknown delta"),
        pytest.param(START + frame("new_event") + TEXT + end(), id="unknown event"),
        pytest.param(START + TEXT + frame("message_delta", delta={"stop_reason": None}) + end(), id="two deltas"),
        pytest.param(START + tool(0, '{"a":') + end("max_tokens"), id="input cut by the token limit"),
    ],
)
def test_unusual_anthropic_streams_pass(body: bytes) -> None:
    assert protocol.check_anthropic_stream(body).ended == "complete"


@pytest.mark.parametrize("before", [b"", PING, START, START + OPEN, START + TEXT])
def test_anthropic_stream_may_fail_anywhere(before: bytes) -> None:
    report = protocol.check_anthropic_stream(before + ERROR)
    assert report.ended == "error"
    assert report.error == {"type": "overloaded_error", "message": "Overloaded"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"", "ends without", id="empty"),
        pytest.param(PING, "ends without", id="only pings"),
        pytest.param(START + TEXT, "ends without", id="cut between events"),
        pytest.param(GOOD[:-1], "no blank line", id="no final blank line"),
        pytest.param(GOOD.removesuffix(frame("message_stop")), "ends without", id="no message_stop"),
        pytest.param(START + START + TEXT + end(), "second message_start", id="second message_start"),
        pytest.param(TEXT + end(), "before message_start", id="no message_start"),
        pytest.param(GOOD + PING, "after the end", id="ping after the end"),
        pytest.param(GOOD + ERROR, "after the end", id="error after the end"),
        pytest.param(GOOD + b": bye\n\n", "after the end", id="comment after the end"),
        pytest.param(GOOD + b"x", "no blank line", id="bytes after the end"),
        pytest.param(START + ERROR + TEXT + end(), "after the end", id="going on after an error"),
        pytest.param(START + ERROR + ERROR, "after the end", id="two errors"),
        pytest.param(GOOD + GOOD, "after the end", id="two streams"),
        pytest.param(START + frame("error", error={"type": "x"}), "error.message", id="error without message"),
        pytest.param(START + OPEN + OPEN, "while another is open", id="two blocks open"),
        pytest.param(START + TEXT + TEXT + end(), "expected 1", id="index used twice"),
        pytest.param(START + block(1, {"type": "new"}) + end(), "expected 0", id="index skipped"),
        pytest.param(START + OPEN + end(), "still open", id="block never closed"),
        pytest.param(
            START + TEXT + frame("content_block_stop", index=0) + end(), "no block is open", id="closed twice"
        ),
        pytest.param(
            START + OPEN + frame("content_block_delta", index=1, delta=HI), "not the one", id="delta for another block"
        ),
        pytest.param(
            START + TEXT + frame("content_block_delta", index=0, delta=HI), "no block is open", id="delta after stop"
        ),
        pytest.param(START + block(0, {"type": "redacted_thinking"}, HI), "text_delta in a block", id="misfit delta"),
        pytest.param(START + block(0, {"type": "x_tool_result"}, HI), "text_delta in a block", id="delta of a result"),
        pytest.param(START + tool(0, '{"a":') + end("tool_use"), "input", id="tool input cut"),
        pytest.param(START + tool(0, "[]") + end("tool_use"), "input", id="tool input no object"),
        pytest.param(START + frame("message_stop"), "no message_delta", id="no message_delta"),
        pytest.param(START + TEXT + end(None), "no stop_reason", id="no stop reason"),
        pytest.param(
            START + frame("message_delta", delta={}) + TEXT + end(), "after message_delta", id="block after the delta"
        ),
        pytest.param(b'data: {"type":"ping"}\n\n' + GOOD, "event: None", id="no event name"),
        pytest.param(PING.replace(b"event: ping", b"event: pong") + GOOD, "event: pong", id="name and type differ"),
        pytest.param(PING[:-1] + GOOD, "two events run together", id="blank line missing"),
        pytest.param(b"event: ping\n\n" + GOOD, "no `data:`", id="no data"),
        pytest.param(START + b'{"error":{}}\n\n', "not a line of SSE", id="raw json"),
        pytest.param(b"event: ping\ndata: {\n\n" + GOOD, "not JSON", id="not json"),
        pytest.param(b'event: ping\ndata: {"type":"ping","n":NaN}\n\n', "NaN", id="nan"),
        pytest.param(b"event: ping\ndata: 1\n\n", "expected an object", id="no object"),
        pytest.param(START + TEXT.replace(b"\\u00e9", b"\xc3"), "not UTF-8", id="half a character"),
        pytest.param(START.replace(b'"role": "assistant"', b'"role": "user"'), "role", id="wrong role"),
    ],
)
def test_anthropic_violation(body: bytes, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        protocol.check_anthropic_stream(body)


@given(st.integers(0, len(GOOD) - 1))
def test_anthropic_cut(length: int) -> None:
    assert protocol.check_anthropic_stream(GOOD[:length], allow_cut=True).ended == "cut"
    with pytest.raises(AssertionError):
        protocol.check_anthropic_stream(GOOD[:length])


def chunk(*parts: dict[str, Any], finish: str | None = None, end: str = "\r\n\r\n", **more: Any) -> bytes:
    """One Gemini event."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    if finish:
        candidate["finishReason"] = finish
    data = ({"candidates": [candidate]} if candidate else {}) | more
    return f"data: {json.dumps(data, ensure_ascii=False)}{end}".encode()


def gemini_error(code: int = 503, status: str = "UNAVAILABLE", indent: int | None = None) -> bytes:
    """A raw Gemini error, as it ends a stream."""
    return json.dumps({"error": {"code": code, "message": "m", "status": status}}, indent=indent).encode() + BLANK


BLANK = b"\r\n\r\n"
WORD = chunk({"text": "hé"})
STOP = chunk(finish="STOP", usageMetadata={"totalTokenCount": 7})


def test_gemini_report() -> None:
    call = {"functionCall": {"name": "run", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    thought = chunk({"text": "hm", "thought": True}, usageMetadata={"totalTokenCount": 3})
    report = protocol.check_gemini_stream(BLANK + thought + BLANK + BLANK + WORD + chunk(call) + STOP)
    assert (report.ended, report.thoughts, report.text) == ("complete", "hm", "hé")
    assert report.calls == [("run", {"a": 1})]
    assert report.finish_reason == "STOP"
    assert report.usage == {"totalTokenCount": 7}
    assert report.keep_alives == 3
    assert len(report.events) == 4


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(chunk({"text": "a"}, end="\n\n") + chunk(finish="STOP", end="\n\n"), id="lf"),
        pytest.param(chunk(promptFeedback={"blockReason": "SAFETY"}), id="blocked prompt"),
        pytest.param(STOP + chunk(usageMetadata={}), id="usage after the finish"),
        pytest.param(chunk({"text": "a"}, finish="STOP") * 2, id="reason in each chunk"),
        pytest.param(STOP + chunk({"text": ""}), id="empty text after the finish"),
        pytest.param(STOP + BLANK, id="keep-alive after the finish"),
        pytest.param(chunk({"new": 1}) + STOP, id="unknown part"),
    ],
)
def test_unusual_gemini_streams_pass(body: bytes) -> None:
    assert protocol.check_gemini_stream(body).ended == "complete"


@pytest.mark.parametrize("before", [b"", BLANK, WORD, WORD + STOP])
@pytest.mark.parametrize("indent", [None, 2])
def test_gemini_stream_may_fail_anywhere(before: bytes, indent: int | None) -> None:
    report = protocol.check_gemini_stream(before + gemini_error(indent=indent))
    assert report.ended == "error"
    assert report.error == {"code": 503, "message": "m", "status": "UNAVAILABLE"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"", "ends without", id="empty"),
        pytest.param(BLANK, "ends without", id="only keep-alives"),
        pytest.param(WORD, "ends without", id="no finish reason"),
        pytest.param(STOP + WORD, "ends without", id="content after the finish"),
        pytest.param(WORD + STOP[:-1], "no blank line", id="half a blank line"),
        pytest.param(WORD + STOP[:-2], "no blank line", id="no final blank line"),
        pytest.param(WORD + STOP[:-4], "no blank line", id="no final line end"),
        pytest.param(WORD[:-2] + STOP, "no blank line", id="events run together"),
        pytest.param(b": hi\r\n\r\n" + STOP, "a comment", id="comment"),
        pytest.param(b"event: x\r\n" + STOP, "other than `data:`", id="event name"),
        pytest.param(b"id: 1\r\n" + STOP, "other than `data:`", id="id"),
        pytest.param(STOP.replace(b"data: ", b"data:"), "without its space", id="no space"),
        pytest.param(STOP + b"data: [DONE]\r\n\r\n", "not JSON", id="done"),
        pytest.param(b"\r\n" + STOP, "blank line", id="lone blank line first"),
        pytest.param(WORD + b"\r\n" + STOP, "blank line", id="lone blank line between"),
        pytest.param(WORD + b"\n\n" + STOP, "blank line", id="keep-alive of another form"),
        pytest.param(WORD + b"\r\n", "blank line", id="lone blank line last"),
        pytest.param(STOP.replace(b"\r\n", b"\r"), "no blank line", id="cr"),
        pytest.param(b'data: {"a":\rdata: 1}\r\n\r\n' + STOP, "bare CR", id="cr inside"),
        pytest.param(b'data: {"a":\r\ndata: 1}\r\n\r\n' + STOP, "no blank line", id="two data lines"),
        pytest.param(b"data: " + gemini_error(), "overlooks", id="error as data"),
        pytest.param(WORD + gemini_error()[:-2], "no blank line", id="raw error without blank line"),
        pytest.param(WORD + gemini_error()[:-8] + BLANK, "not JSON", id="raw error cut"),
        pytest.param(WORD + gemini_error() + BLANK, "behind the raw error", id="keep-alive after the error"),
        pytest.param(gemini_error() + WORD + STOP, "behind the raw error", id="going on after an error"),
        pytest.param(gemini_error() * 2, "behind the raw error", id="two errors"),
        pytest.param(b'{"candidates":[]}\r\n\r\n', "no error", id="raw answer"),
        pytest.param(b'{"x":1,"error":{"code":503}}\r\n\r\n', "no error", id="raw error, not its first key"),
        pytest.param(b'{"error":{"code":"503"}}\r\n\r\n', "error.code", id="code as text"),
        pytest.param(gemini_error(503, "INTERNAL"), "does not go with", id="status that does not fit"),
        pytest.param(b'{"error":\r\n\r\n{"code":500}}\r\n\r\n', "blank line inside", id="raw error with a gap"),
        pytest.param(b"data: 1\r\n\r\n", "expected an object", id="no object"),
        pytest.param(STOP.replace(b"STOP", b"\xc3"), "not UTF-8", id="half a character"),
        pytest.param(chunk(responseId="a") + chunk(finish="STOP", responseId="b"), "two answers", id="two answers"),
        pytest.param(chunk({"functionCall": {}}) + STOP, "functionCall.name", id="call without name"),
        pytest.param(b"<html>", "neither", id="html"),
    ],
)
def test_gemini_violation(body: bytes, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        protocol.check_gemini_stream(body)


@given(st.integers(0, len(BLANK + WORD + STOP) - 1))
def test_gemini_cut(length: int) -> None:
    body = (BLANK + WORD + STOP)[:length]
    assert protocol.check_gemini_stream(body, allow_cut=True).ended == "cut"
    with pytest.raises(AssertionError):
        protocol.check_gemini_stream(body)


def test_a_cut_does_not_excuse_what_came_before() -> None:
    with pytest.raises(AssertionError):
        protocol.check_anthropic_stream(START + START, allow_cut=True)
    with pytest.raises(AssertionError):
        protocol.check_gemini_stream(b": hi\n\n" + WORD, allow_cut=True)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"{}", "status 200"),
        (502, b"Bad Gateway", "not JSON"),
        (429, b'{"error":{"type":"rate_limit_error","message":"m"}}', "not 'error'"),
        (429, b'{"type":"error","error":{"type":"rate_limit_error"}}', "error.message"),
        (429, b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', "goes with 529"),
    ],
)
def test_anthropic_error_violation(status: int, body: bytes, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        protocol.check_anthropic_error(status, body)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"{}", "status 200"),
        (502, b"Bad Gateway", "not JSON"),
        (503, b'{"error":"m"}', "expected an object"),
        (500, gemini_error(), "under HTTP status 500"),
        (429, gemini_error(429, "UNAVAILABLE"), "does not go with 429"),
        (503, b"[]", "array of 0"),
    ],
)
def test_gemini_error_violation(status: int, body: bytes, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        protocol.check_gemini_error(status, body)


def test_errors_pass() -> None:
    overloaded = b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}'
    assert protocol.check_anthropic_error(529, overloaded)["type"] == "overloaded_error"
    assert protocol.check_anthropic_error(429, overloaded, any_status=True)
    assert protocol.check_gemini_error(503, gemini_error())["code"] == 503
    assert protocol.check_gemini_error(503, b"[" + gemini_error() + b"]")
    assert protocol.check_gemini_error(500, gemini_error(400), any_status=True)


@pytest.mark.parametrize(
    ("check", "body"),
    [
        (protocol.check_anthropic_json, b'{"type":"error"}'),
        (protocol.check_anthropic_json, json.dumps(MESSAGE).encode()),
        (protocol.check_gemini_json, b'{"candidates":[{"content":{}}]}'),
        (protocol.check_gemini_json, gemini_error()),
        (protocol.check_gemini_json, b"[]"),
    ],
)
def test_answer_violation(check: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(AssertionError):
        check(body)


@pytest.mark.parametrize("exchange", recorded_params())
def test_recorded_exchanges_are_loaded(exchange: Exchange) -> None:
    assert exchange.path.startswith("/v1")
    assert "?" not in exchange.path
    assert json.loads(exchange.request_body) == exchange.request_json
    assert exchange.is_stream == (b"data: " in exchange.response_body)
    assert "content-length" not in exchange.response_headers


def test_recorded_params_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "RECORDED", [])
    (only,) = recorded_params()
    (mark,) = only.marks
    assert isinstance(mark, pytest.MarkDecorator)
    assert mark.name == "skip"
    assert "recorded traffic is not here" in mark.kwargs["reason"]


@contextmanager
def serving(*script: bytes, reset: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """A server for one connection that reads a request and sends `script`; gives its URL, and all it received."""
    received: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            received.append(connection.recv(65536))
            while not _whole(received[0]):
                received[0] += connection.recv(65536)
            for data in script:
                connection.sendall(data)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            else:
                try:
                    connection.shutdown(socket.SHUT_WR)
                    received.append(connection.recv(65536))
                except OSError:
                    # A RST that came first has already disconnected the socket: then it is shutdown that fails.
                    received.append(b"RST")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        finally:
            thread.join(10)


def _whole(request: bytes) -> bool:
    head, end, body = request.partition(BLANK)
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and len(body) >= sum(lengths)


def answer(body: bytes, status: str = "200 OK", content_type: str = "text/event-stream") -> bytes:
    """A response whose body ends with the connection."""
    return f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n\r\n".encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "ended", "body"),
    [
        pytest.param(answer(b"abc"), "complete", b"abc", id="to the end"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "complete", b"abc", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", "cut", b"ab", id="length, cut"),
        pytest.param(CHUNKED + b"2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n", "complete", b"abc", id="chunked"),
        pytest.param(CHUNKED + b"0\r\nx-trailer: 1\r\n\r\n", "complete", b"", id="chunked with a trailer"),
        pytest.param(CHUNKED + b"2\r\nab\r\n", "cut", b"ab", id="chunked, cut between chunks"),
        pytest.param(CHUNKED + b"2\r\na", "cut", b"a", id="chunked, cut in a chunk"),
        pytest.param(CHUNKED + b"0\r\n", "cut", b"", id="chunked, cut at its end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"abc"), "complete", b"abc", id="100 first"),
        pytest.param(b"HTTP/1.1 204\r\n\r\n", "complete", b"", id="no content"),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_raw_framing(response: bytes, ended: str, body: bytes, bytewise: bool) -> None:
    script = [response[i : i + 1] for i in range(len(response))] if bytewise else [response]
    with serving(*script) as (url, _):
        result = raw.request("GET", url)
    assert (result.ended, result.body) == (ended, body)
    assert b"".join(piece.data for piece in result.pieces) == body
    assert [piece.at for piece in result.pieces] == sorted(piece.at for piece in result.pieces)
    assert result.headers_at <= result.ended_at


def test_raw_reset() -> None:
    with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", reset=True) as (url, _):
        assert raw.request("GET", url).ended == "reset"


def test_raw_request_bytes() -> None:
    with serving(answer(b"{}", "418 Tea pot")) as (url, received):
        result = raw.request("POST", f"{url}/a?b=c", {"é": 1}, {"X-Key": "k"})
    assert (result.status, result.reason, result.json()) == (418, "Tea pot", {})
    assert result.header("Content-Type") == "text/event-stream"
    head, _, body = received[0].partition(BLANK)
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\ncontent-type: application/json\r\ncontent-length: 8\r\nx-key: k" in head
    assert json.loads(body) == {"é": 1}


def test_raw_by_proxy() -> None:
    with serving(answer(b"")) as (proxy, received):
        raw.request("GET", "http://api.test/v1", proxy=proxy)
    assert received[0].startswith(b"GET http://api.test/v1 HTTP/1.1\r\nhost: api.test\r\n")
    with serving(b"HTTP/1.1 403 No\r\n\r\n") as (proxy, received), pytest.raises(ConnectionError, match="403 No"):
        raw.request("GET", "https://api.test/v1", proxy=proxy, context=ssl.create_default_context())
    assert received[0].startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")


@pytest.mark.parametrize(("leave", "seen"), [("fin", b""), ("rst", b"RST")])
@pytest.mark.parametrize("read", [4, lambda body: b"d" in body])
def test_raw_leaves_early(leave: Any, seen: bytes, read: Any) -> None:
    with serving(CHUNKED + b"4\r\nabcd\r\n") as (url, received):
        result = raw.request("GET", url, read=read, leave=leave)
    assert (result.ended, result.body) == ("left", b"abcd")
    assert received[1] == seen


def test_raw_timeout_tells_what_came() -> None:
    with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n") as (url, _):
        connection = raw.RawConnection(url, timeout=0.05)
        with pytest.raises(TimeoutError):
            connection.read()
        connection.send("GET", url)
        assert connection.read().ended == "cut"
        connection.close()


def anthropic_call(client: anthropic.Anthropic) -> list[str]:
    with client.messages.create(
        model="claude", max_tokens=9, messages=[{"role": "user", "content": "hi"}], stream=True
    ) as stream:
        return [event.type for event in stream]


def test_anthropic_client() -> None:
    with serving(answer(GOOD)) as (url, received), sdk.anthropic_client(url) as client:
        assert anthropic_call(client)[0] == "message_start"
    assert received[0].startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"authorization: bearer test-client-key\r\n" in received[0].lower()


def test_anthropic_client_does_not_retry() -> None:
    overloaded = b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}'
    script = answer(overloaded, "529 Overloaded", "application/json")
    with serving(script) as (url, _), sdk.anthropic_client(url) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            anthropic_call(client)
        assert caught.value.status_code == 529


async def anthropic_async_call(client: anthropic.AsyncAnthropic) -> str:
    async with client:
        message = await client.messages.create(
            model="claude", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        )
    return message.id


def test_anthropic_async_client() -> None:
    body = json.dumps(MESSAGE | {"stop_reason": "end_turn"}).encode()
    with serving(answer(body, content_type="application/json")) as (url, _):
        assert asyncio.run(anthropic_async_call(sdk.anthropic_async_client(url))) == "msg_1"


@pytest.mark.parametrize("version", [None, "v1beta"])
def test_gemini_client(version: str | None) -> None:
    with serving(answer(WORD + STOP)) as (url, received), sdk.gemini_client(url, api_version=version) as client:
        texts = [part.text for part in client.models.generate_content_stream(model="m", contents="hi")]
    assert texts == ["hé", None]
    path = f"/{version or 'v1'}/models/m:streamGenerateContent?alt=sse"
    assert received[0].startswith(f"POST {path} HTTP/1.1\r\n".encode())
    assert b"x-goog-api-key: test-client-key\r\n" in received[0].lower()


def test_gemini_client_raises_on_the_raw_error() -> None:
    with serving(answer(WORD + gemini_error())) as (url, _), sdk.gemini_client(url) as client:
        with pytest.raises(errors.ServerError) as caught:
            list(client.models.generate_content_stream(model="m", contents="hi"))
        assert caught.value.code == 503


def test_gemini_async_client() -> None:
    async def call(url: str) -> int | None:
        async with sdk.gemini_client(url).aio as client:
            with pytest.raises(errors.APIError) as caught:
                await client.models.generate_content(model="m", contents="hi")
            return caught.value.code

    script = answer(gemini_error(429, "RESOURCE_EXHAUSTED"), "429 No", "application/json")
    with serving(script) as (url, _):
        assert asyncio.run(call(url)) == 429


def test_clients_by_proxy() -> None:
    refused = pytest.raises(httpx2.ProxyError, match="403")
    with serving(answer(GOOD)) as (proxy, received), sdk.anthropic_client("http://a.test", proxy=proxy) as client:
        anthropic_call(client)
    assert received[0].startswith(b"POST http://a.test/v1/messages HTTP/1.1\r\n")
    with serving(b"HTTP/1.1 403 No\r\n\r\n") as (proxy, received), sdk.gemini_client(proxy=proxy) as gemini, refused:
        gemini.models.generate_content(model="m", contents="hi")
    assert received[0].startswith(b"CONNECT generativelanguage.googleapis.com:443 HTTP/1.1\r\n")
