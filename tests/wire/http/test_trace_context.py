"""What a `traceparent` says."""

import pytest
from antigravity_healing.wire.http.trace_context import trace_parent
from hypothesis import given
from hypothesis import strategies as st

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
hexadecimal = st.text("0123456789abcdef")


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_whatever_is_valid_is_kept(trace: int, span: int, flags: int) -> None:
    value = f"00-{trace:032x}-{span:016x}-{flags:02x}"
    assert trace_parent(value) == trace_parent(f" {value}\t") == value


def test_a_later_version_is_read_as_this_one() -> None:
    assert trace_parent(f"01-{TRACE}-{SPAN}-01-more-to-come") == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "odd",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-more\nlines",
    ],
)
def test_what_is_none_says_nothing(value: str) -> None:
    assert trace_parent(value) == ""


@given(st.text() | st.builds("-".join, st.lists(hexadecimal)))
def test_nothing_else_gets_through(value: str) -> None:
    assert trace_parent(value) in ("", value.strip())
