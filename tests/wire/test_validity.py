import pytest
from healing.wire.validity import answer_flaw, headers_flaw, request_flaw, target_flaw
from hypothesis import given
from hypothesis import strategies as st

FINE = ((b"Content-Type", b"application/json"), (b"x-team", b"a\tb \xc3\xbc"), (b"x-empty", b""))


def test_what_http_allows_has_no_flaw() -> None:
    assert headers_flaw(FINE) == ""
    assert request_flaw(b"/v1beta/models/a%20b:generateContent?alt=sse&x=%C3%BC", FINE) == ""
    assert [answer_flaw(status, FINE) for status in (100, 200, 429, 529, 599)] == [""] * 5


@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\0", b"\x0b", b"\x0c", b"\x08", b"\x7f", b"\r\n "])
@pytest.mark.parametrize("value", [b"%b", b"a%bb", b"a%b"])
def test_control_characters_in_a_value_are_told_with_the_headers_name(byte: bytes, value: bytes) -> None:
    assert "header x-odd has" in headers_flaw((*FINE, (b"x-odd", value % byte)))
    assert answer_flaw(200, ((b"x-odd", value % byte),))


@pytest.mark.parametrize("name", [b"", b"a b", b"a\0b", b"a\r", b"a:b", b"x\xc3\xbc", b"(a)", b'a"'])
def test_what_is_no_token_can_not_be_the_name_of_a_header(name: bytes) -> None:
    assert "name of a header" in headers_flaw(((name, b"value"),))


@pytest.mark.parametrize("status", [-1, 0, 99, 600, 999, 10**30])
def test_a_status_that_no_class_has_is_a_flaw(status: int) -> None:
    flaw = answer_flaw(status, FINE)
    assert "no status" in flaw
    assert len(flaw) < 60


@pytest.mark.parametrize("target", [b"/v1/a b", b"/v1/a\tb", b"/v1/a\0", b"/v1/\x7f", b"/v1/a?b=c d", b"/v1/a\r"])
def test_spaces_and_control_characters_in_a_path_are_a_flaw(target: bytes) -> None:
    assert "the path has" in target_flaw(target)
    assert target_flaw(target, ascii_only=False)


def test_bytes_that_are_not_ascii_are_a_flaw_of_a_path_unless_it_is_only_passed_on() -> None:
    assert "write it as %C3" in target_flaw("/v1/ü".encode())
    assert target_flaw("/v1/ü".encode(), ascii_only=False) == ""


@given(st.binary(max_size=30), st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=12)), max_size=4))
def test_nothing_raises_and_what_is_told_has_no_control_characters(
    target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    flaw = request_flaw(target, headers)
    assert flaw.isprintable()
    assert flaw.isascii()
