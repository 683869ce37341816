"""What the first bytes of a connection say."""

import pytest
from antigravity_healing.proxy.claiming.own_paths import OWN_PATHS, TREE
from antigravity_healing.proxy.own_pages.opening import Opening, look, split_authority
from hypothesis import given
from hypothesis import strategies as st

OWN_LINES = [
    "GET /antigravity/ HTTP/1.1",
    "GET /antigravity HTTP/1.1",
    "HEAD /antigravity/app.js HTTP/1.1",
    "POST /antigravity/reset?a=b HTTP/1.1",
    "GET /health HTTP/1.1",
    "GET /health?key=x HTTP/1.0",
    "HEAD /metrics HTTP/1.1",
    "GET http://127.0.0.1:8080/antigravity/ HTTP/1.1",
    "GET HTTP://proxy:8080/health HTTP/1.1",
]
OTHER_LINES = [
    "GET / HTTP/1.1",
    "GET /healthy HTTP/1.1",
    "GET /health/ HTTP/1.1",
    "GET /antigravityx HTTP/1.1",
    "GET /v1/models HTTP/1.1",
    "GET /health",
    "PUT /antigravity/ HTTP/1.1",
    "get /health HTTP/1.1",
    "POST /v1/messages HTTP/1.1",
    "GET http://other.example/health HTTP/1.1",
    "GET http://other.example/antigravity/ HTTP/1.1",
    "GET http://127.0.0.1:8080/v1/models HTTP/1.1",
    "GET http://127.0.0.1:8080@other.example/health HTTP/1.1",
    "GET https://127.0.0.1:8080/health HTTP/1.1",
    "CONNECT 127.0.0.1:8080 HTTP/1.1",
    "\x16\x03\x01",
]


def names_proxy(authority: bytes) -> bool:
    return split_authority(authority) in (("127.0.0.1", 8080), ("proxy", 8080))


def opening(came: bytes, paths: tuple[bytes, ...] = OWN_PATHS) -> Opening:
    return look(came, paths, names_proxy)


@pytest.mark.parametrize("line", OWN_LINES)
def test_a_line_that_asks_for_a_page_is_known_at_its_last_needed_byte(line: str) -> None:
    said = [opening(line.encode()[:end]) for end in range(1, len(line) + 1)]
    known = said.index(Opening.OWN)
    assert set(said[:known]) == {Opening.UNDECIDED}
    assert set(said[known:]) == {Opening.OWN}


@pytest.mark.parametrize("line", OTHER_LINES)
def test_any_other_line_is_left_alone_at_each_split(line: str) -> None:
    whole = f"{line}\r\n".encode("latin-1")
    said = [opening(whole[:end]) for end in range(1, len(whole) + 1)]
    assert Opening.OWN not in said
    assert said[-1] is Opening.OTHER
    # Once it is known it stays so.
    assert Opening.UNDECIDED not in said[said.index(Opening.OTHER) :]


@given(st.binary(min_size=1, max_size=60), st.integers(1, 60))
def test_what_is_decided_stays_so_whatever_follows(data: bytes, end: int) -> None:
    early = opening(data[:end])
    assert early in (Opening.UNDECIDED, opening(data))


@given(st.binary(min_size=320))
def test_nothing_is_undecided_for_long(rest: bytes) -> None:
    assert opening(b"GET http://" + rest) is not Opening.UNDECIDED


def test_where_the_proxy_stands_for_another_server_only_the_tree_is_its_own() -> None:
    assert opening(b"GET /health HTTP/1.1", (TREE,)) is Opening.OTHER
    assert opening(b"GET /antigravity/health HTTP/1.1", (TREE,)) is Opening.OWN


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        (b"a.example", ("a.example", 80)),
        (b"a.example:", ("a.example", 80)),
        (b"127.0.0.1:8080", ("127.0.0.1", 8080)),
        (b"[::1]:8080", ("::1", 8080)),
        (b"[::1]", ("::1", 80)),
        (b"user@a.example:8080", ("", 80)),
        (b"a:8080@b.example", ("", 80)),
        (b"a:99999999", ("", 80)),
        (b"", ("", 80)),
    ],
)
def test_authority_is_split(authority: bytes, expected: tuple[str, int]) -> None:
    assert split_authority(authority) == expected
