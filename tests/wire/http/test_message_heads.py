"""Heads are told right from wrong as the RFCs do, whoever reads them."""

import h11
import pytest
from antigravity_healing.wire.http.fields import (
    wrong_fields,
    wrong_http2_head,
    wrong_request,
    wrong_response_head,
    wrong_status,
)
from hypothesis import given
from hypothesis import strategies as st

MOST = 256
TOKEN = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1).map(str.encode)
VALUE = st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127))
RESPONSE = ((b":status", b"200"),)
REQUEST = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/x"), (b":authority", b"a.example"))


@given(st.integers(0, 9999))
def test_status_codes_are_100_to_599(status: int) -> None:
    assert (wrong_status(b"%d" % status) == "") == (100 <= status <= 599)


@pytest.mark.parametrize("status", [b"", b"+200", b"0200", b" 200", b"200 ", b"2e2", b"2_0", "２００".encode()])
def test_a_status_is_three_digits(status: bytes) -> None:
    assert wrong_status(status)


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=5))
def test_whatever_is_well_formed_passes(fields: list[tuple[bytes, bytes]]) -> None:
    lines = [b"HTTP/1.1 200 OK", *(name + b": " + value for name, value in fields)]
    assert wrong_fields(fields) == ""
    assert wrong_response_head(lines, MOST) == ""


@given(TOKEN, VALUE, VALUE, st.sampled_from([*range(9), *range(10, 32), 127]))
def test_a_control_character_never_passes(name: bytes, before: bytes, after: bytes, control: int) -> None:
    value = before + bytes([control]) + after
    assert wrong_fields([(name, value)])
    assert wrong_response_head([b"HTTP/1.1 200 OK", name + b":" + value], MOST)
    assert wrong_http2_head("response", [*RESPONSE, (name.lower(), value)], MOST)
    assert wrong_http2_head("trailers", [(name.lower(), value)], MOST)


@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), min_size=1, max_size=4))
def test_what_passes_is_a_head_for_a_strict_reader_too(lines: list[bytes]) -> None:
    if wrong_response_head(lines, MOST):
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a.example")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"\r\n".join([*lines, b"", b""]))
    assert isinstance(client.next_event(), h11.Response | h11.InformationalResponse)


@pytest.mark.parametrize("line", [b"", b" x: y", b"\tx: y", b"x", b": y", b"x : y", b"x y: z", b"x\x00: y"])
def test_lines_that_are_no_headers(line: bytes) -> None:
    assert wrong_response_head([b"HTTP/1.1 200 OK", line], MOST)


def test_headers_are_counted() -> None:
    lines = [b"HTTP/1.1 200 OK", *[b"x: y"] * MOST]
    assert wrong_response_head(lines, MOST) == ""
    assert wrong_response_head([*lines, b"x: y"], MOST)
    assert wrong_http2_head("response", [*RESPONSE, *[(b"x", b"y")] * MOST], MOST)


@pytest.mark.parametrize("target", [b"/a b", b"/a\r", b"/a\x00", b"/\x7f", b"/a\tb"])
def test_targets_have_no_spaces_and_controls(target: bytes) -> None:
    assert wrong_request(b"GET", target, ())
    fields = [(name, target if name == b":path" else value) for name, value in REQUEST]
    assert wrong_http2_head("request", fields, MOST)


@pytest.mark.parametrize(
    "fields",
    [
        (),
        REQUEST[1:],
        (*REQUEST, (b":path", b"/y")),
        (*REQUEST, (b":protocol", b"x")),
        (*REQUEST, (b"x", b"y"), (b":status", b"200")),
        (*REQUEST, (b"host", b"b.example")),
        (*REQUEST[:3],),
        (*REQUEST[:3], (b":authority", b"")),
        (*REQUEST, (b"connection", b"close")),
        (*REQUEST, (b"te", b"gzip")),
        (*REQUEST, (b"X", b"y")),
        (*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")),
    ],
)
def test_wrong_http2_requests(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    assert wrong_http2_head("request", fields, MOST)


@pytest.mark.parametrize(
    "fields",
    [
        REQUEST,
        (*REQUEST, (b"host", b"a.example")),
        (*REQUEST[:3], (b"host", b"a.example")),
        (*REQUEST, (b"te", b"trailers"), (b"cookie", b"a"), (b"cookie", b"b")),
    ],
)
def test_right_http2_requests(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    assert wrong_http2_head("request", fields, MOST) == ""


def test_trailers_have_no_pseudo_headers() -> None:
    assert wrong_http2_head("trailers", RESPONSE, MOST)
    assert wrong_http2_head("trailers", [(b"x-sum", b"1")], MOST) == ""


def test_no_value_is_repeated() -> None:
    assert "secret" not in wrong_fields([(b"x", b"secret\x00")]) + wrong_fields([(b"secret\x00", b"x")])
