import pytest
from antigravity_healing.wire.http.fields import wrong_fields, wrong_request, wrong_status, wrong_target
from hypothesis import given
from hypothesis import strategies as st

FINE = ((b"Content-Type", b"application/json"), (b"x-team", b"a\tb \xc3\xbc"), (b"x-empty", b""))


def test_nothing_is_wrong_with_what_http_allows() -> None:
    assert wrong_fields(FINE) == ""
    assert wrong_request(b"POST", b"/v1beta/models/a%20b:generateContent?alt=sse&x=%C3%BC", FINE) == ""
    assert [wrong_status(status) for status in (b"100", b"200", b"429", b"529", b"599")] == [""] * 5


@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\0", b"\x0b", b"\x0c", b"\x08", b"\x7f", b"\r\n "])
@pytest.mark.parametrize("value", [b"%b", b"a%bb", b"a%b"])
def test_control_characters_in_a_value_are_told_with_the_headers_name(byte: bytes, value: bytes) -> None:
    assert "header x-odd" in wrong_fields((*FINE, (b"x-odd", value % byte)))


@pytest.mark.parametrize("name", [b"", b"a b", b"a\0b", b"a\r", b"a:b", b"x\xc3\xbc", b"(a)", b'a"'])
def test_what_is_no_token_can_not_be_the_name_of_a_header(name: bytes) -> None:
    assert "a header whose name" in wrong_fields(((name, b"value"),))


@pytest.mark.parametrize("status", [-1, 0, 99, 600, 999, 10**30])
def test_a_status_that_no_class_has_is_wrong(status: int) -> None:
    assert "a status code" in wrong_status(str(status).encode())


@pytest.mark.parametrize("target", [b"/v1/a b", b"/v1/a\tb", b"/v1/a\0", b"/v1/\x7f", b"/v1/a?b=c d", b"/v1/a\r"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_spaces_and_control_characters_in_a_path_are_wrong(target: bytes, ascii_only: bool) -> None:
    assert "a path with spaces" in wrong_target(target, ascii_only=ascii_only)


def test_bytes_that_are_not_ascii_are_wrong_where_only_ascii_is_taken() -> None:
    assert "not ASCII" in wrong_target("/v1/ü".encode(), ascii_only=True)
    assert wrong_target("/v1/ü".encode()) == ""


@given(st.binary(max_size=30), st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=12)), max_size=4))
def test_nothing_raises_and_what_is_told_can_be_printed(target: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    wrong = wrong_target(target, ascii_only=True) + wrong_fields(fields)
    assert wrong.isprintable()
    assert wrong.isascii()
