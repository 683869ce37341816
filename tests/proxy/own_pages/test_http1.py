"""HTTP/1.1 with who asks for the proxy's own pages."""

from types import SimpleNamespace
from typing import Any, cast

import h11
import pytest
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.heads import HeadRefusal
from antigravity_healing.proxy.own_pages.http1 import MOST_BODY_BYTES, OwnHttp1
from antigravity_healing.proxy.own_pages.pages import PageAnswer
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http

BOUNDS = cast(Bounds, SimpleNamespace(config=Config(), clock=None))
HELLO = PageAnswer(200, "text/plain", b"hello")


def spoken() -> OwnHttp1:
    return OwnHttp1(BOUNDS)


def taken(data: bytes) -> http.Request | HeadRefusal | None:
    protocol = spoken()
    protocol.receive(data)
    return protocol.take()


def get(path: str = "/health", *more: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: x", *more, "", ""]).encode()


def post(body: bytes, *more: str) -> bytes:
    head = ["POST /antigravity/do HTTP/1.1", "host: x", *(more or (f"content-length: {len(body)}",)), "", ""]
    return "\r\n".join(head).encode() + body


def read(data: bytes, method: str = "GET") -> tuple[h11.Response, bytes, bool]:
    """An answer as a client reads it, and whether the connection may go on."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response, body = client.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response, body, client.their_state is h11.DONE


REQUESTS = [
    get(),
    get("/antigravity/?a=b", "accept: text/html"),
    post(b'{"a": 1}'),
    post(b"3\r\nabc\r\n0\r\n\r\n", "transfer-encoding: chunked"),
    b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
    b"\r\n\r\n" + get("/antigravity/app.js"),
]


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6), st.data())
def test_requests_are_the_same_however_they_are_cut(requests: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream)), max_size=12)) | {len(stream)})
    protocol, told, begin = spoken(), [], 0
    for end in cuts:
        protocol.receive(stream[begin:end])
        begin = end
        while isinstance(found := protocol.take(), http.Request):
            told.append((found.method, found.path, found.content))
            assert read(protocol.answer(HELLO), found.method)[2]
        assert found is None
    assert not protocol.begun
    alone = [taken(request) for request in requests]
    assert told == [(each.method, each.path, each.content) for each in cast(list[http.Request], alone)]


@given(st.binary(max_size=400))
def test_whatever_comes_is_a_request_or_a_refusal_or_not_whole(data: bytes) -> None:
    protocol = spoken()
    protocol.receive(data)
    for _ in range(50):
        found = protocol.take()
        if found is None:
            break
        response, _, goes_on = read(protocol.answer(HELLO), "HEAD" if _is_head(found) else "GET")
        if isinstance(found, HeadRefusal):
            assert not goes_on
            break
        assert response.status_code == 200


def _is_head(found: Any) -> bool:
    return isinstance(found, http.Request) and found.method == "HEAD"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 400),
        (get("/health", "x: " + "y" * 70_000), 431),
        (get("/" + "y" * 20_000), 414),
        (post(b"", f"content-length: {MOST_BODY_BYTES + 1}") + b"a" * (MOST_BODY_BYTES + 1), 413),
        (post(b"x", "content-length: 1", "transfer-encoding: chunked"), 400),
        (post(b"zz\r\n", "transfer-encoding: chunked"), 400),
    ],
)
def test_what_is_no_request_or_too_much_is_refused_and_ends_the_connection(data: bytes, status: int) -> None:
    protocol = spoken()
    protocol.receive(data)
    found = protocol.take()
    assert isinstance(found, HeadRefusal)
    assert found.status == status
    response, _, goes_on = read(protocol.answer(PageAnswer(status, body=b"{}")))
    assert not goes_on
    assert protocol.closes
    assert (b"connection", b"close") in response.headers


def test_a_body_that_is_announced_as_too_long_is_refused_before_it_comes() -> None:
    found = taken(post(b"", f"content-length: {MOST_BODY_BYTES + 1}"))
    assert isinstance(found, HeadRefusal)
    assert found.status == 413
    assert taken(post(b"a" * MOST_BODY_BYTES)) is not None


def test_head_gets_the_length_and_no_body() -> None:
    protocol = spoken()
    protocol.receive(b"HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n")
    protocol.take()
    response, body, goes_on = read(protocol.answer(HELLO), "HEAD")
    assert dict(response.headers)[b"content-length"] == b"5"
    assert (body, goes_on) == (b"", True)


def test_what_is_not_new_has_no_body_and_the_connection_goes_on() -> None:
    protocol = spoken()
    protocol.receive(get() + get())
    protocol.take()
    assert read(protocol.answer(PageAnswer(304, headers={"etag": '"a"'})))[1:] == (b"", True)
    assert isinstance(protocol.take(), http.Request)


@pytest.mark.parametrize("request_", [get("/health", "connection: close"), b"GET /health HTTP/1.0\r\nhost: x\r\n\r\n"])
def test_a_client_that_wants_no_more_gets_none(request_: bytes) -> None:
    protocol = spoken()
    protocol.receive(request_)
    protocol.take()
    assert not read(protocol.answer(HELLO))[2]
    assert protocol.closes


def test_who_waits_for_leave_to_send_a_body_gets_it() -> None:
    protocol = spoken()
    protocol.receive(post(b"", "content-length: 2", "expect: 100-continue"))
    assert protocol.take() is None
    assert protocol.continues().startswith(b"HTTP/1.1 100 ")
    assert protocol.continues() == b""
    protocol.receive(b"{}")
    assert isinstance(protocol.take(), http.Request)


def test_every_answer_keeps_the_page_safe_and_may_say_more() -> None:
    protocol = spoken()
    protocol.receive(get())
    protocol.take()
    headers = dict(read(protocol.answer(PageAnswer(headers={"Cache-Control": "no-cache", "ETag": '"a"'})))[0].headers)
    assert headers[b"content-security-policy"].startswith(b"default-src 'self'; frame-ancestors 'none'")
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"
    assert (headers[b"cache-control"], headers[b"etag"]) == (b"no-cache", b'"a"')


def test_an_answer_that_cannot_be_sent_leaves_room_for_another() -> None:
    protocol = spoken()
    protocol.receive(get())
    protocol.take()
    with pytest.raises(h11.LocalProtocolError):
        protocol.answer(PageAnswer(headers={"x": "a\r\nb: c"}))
    assert read(protocol.answer(HELLO))[1:] == (b"hello", True)
