"""Where a request or an answer can't be read, nothing goes on as if it could: no key, no plain proxying."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.attack.heads import WAYS, Way, carries, ends, error_of, send
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, read_stream, stream
from tests.e2e.test_modes_pass import Recording
from tests.support.examples import examples
from tests.support.raw import RawResponse
from tests.upstream import Call, Upstream

JSON = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
BODY = b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'


@dataclass(frozen=True)
class Place:
    """A proxy with an account, and its upstream."""

    proxy: Proxy
    server: Upstream

    def ask(
        self, method: str, path: str | bytes, headers: dict[str, str | bytes], way: Way = "base URL"
    ) -> tuple[RawResponse, list[Call]]:
        """Send a head, and give the answer and the calls that carried the account's key."""
        self.server.reset()
        body = BODY if method == "POST" else None
        response = send(
            self.proxy.url, self.server.url, "", method, path, way=way, headers={**JSON, **headers}, body=body
        )  # fmt: skip
        return response, [call for call in self.server.calls if carries(key_of("a"))(call)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as server:
        config = account("a", "anthropic") + upstream("anthropic", "anthropic", server.url)
        with Proxy(tmp_path_factory.mktemp("closed"), config) as proxy:
            yield Place(proxy, server)


ODD_HEADERS: list[tuple[str, str | bytes]] = [
    ("x-odd", b"a\rb"),
    ("x-odd", b"a\0b"),
    ("x-odd", b"a\x0bb"),
    ("x-odd", b"\x0c\x01"),
    ("x-odd", b"a\r\n b"),
    ("x-odd", b"a\x7f"),
    ("user-agent", b"a\x1b[2J"),
]
ODD_PATHS: list[bytes] = [
    b"/v1/messages\xc3\xbc",
    b"/v1/files/\xff",
    b"/v1/messages\x80?beta=true",
    b"/v1/messages?x=\xfc",
    b"/v1/files/a\x01b",
    b"/v1/files/a\x7f",
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/files"])
@pytest.mark.parametrize(("name", "value"), ODD_HEADERS)
def test_control_characters_in_a_header_are_refused(
    place: Place, name: str, value: str | bytes, path: str, way: Way
) -> None:
    response, _ = place.ask("POST", path, {name: value}, way)
    assert (response.status, place.server.calls) == (400, [])
    assert name in error_of(response)["message"]


@pytest.mark.parametrize("way", ["base URL", "tunnel"])
@pytest.mark.parametrize("path", ODD_PATHS)
def test_bytes_that_no_path_has_are_refused(place: Place, path: bytes, way: Way) -> None:
    response, _ = place.ask("POST", path, {}, way)
    assert (response.status, place.server.calls) == (400, [])
    assert "a path with" in error_of(response)["message"]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_on_the_regular_proxy_they_are_refused_too(place: Place, path: bytes) -> None:
    response, _ = place.ask("POST", path, {}, "proxy")
    assert (response.status, place.server.calls) == (400, [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "value"), [("x-odd", b"a\tb \xc3\xbc"), ("x-empty", ""), ("accept-language", "en;q=0.5, *")]
)
def test_other_odd_headers_go_up_as_they_are(place: Place, name: str, value: str | bytes, way: Way) -> None:
    response, [call] = place.ask("POST", "/v1/messages", {name: value}, way)
    assert response.status == 200
    assert call.headers[name].encode("latin-1") == (value if isinstance(value, bytes) else value.encode())


# What makes Python's own functions raise.
RAISING: list[tuple[str, str | bytes]] = [
    ("origin", "http://[::1"),
    ("origin", "http://[v1.x]]:80"),
    ("origin", "http://a\u2100b".encode()),
    ("origin", b"http://\xff\xfe"),
    ("host", "[::1"),
    ("host", "a:99999999999"),
    ("host", b"\xff\xfe"),
    ("host", ""),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/files", "/health"])
@pytest.mark.parametrize(("name", "value"), RAISING)
def test_a_head_that_can_not_be_looked_at_is_refused_or_carries_no_key(
    place: Place, name: str, value: str | bytes, path: str, way: Way
) -> None:
    response, keyed = place.ask("POST", path, {name: value}, way)
    if name == "origin" and path != "/health":
        assert response.status in (400, 403)
        assert place.server.calls == []
    else:
        # What a header calls the proxy is one thing; where the request goes is known by other means on the other ways.
        assert response.status in (400, 403, 404, 502) or way != "base URL"
        assert way != "base URL" or keyed == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/files/f", "/v1/models", "/v1/messages/batches"])
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "FOO", "post", "Get", "PROPFIND"])
def test_only_the_methods_of_the_apis_carry_a_key(place: Place, method: str, path: str, way: Way) -> None:
    _, keyed = place.ask(method, path, {}, way)
    assert keyed == []
    if way == "base URL":
        assert place.server.calls == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_the_methods_of_the_apis_do(place: Place, method: str, way: Way) -> None:
    _, keyed = place.ask(method, "/v1/files/f", {}, way)
    assert [(call.method, call.path) for call in keyed] == [(method, "/v1/files/f")]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_healed_endpoint_has_no_other_method(place: Place, method: str) -> None:
    for way in WAYS:
        response, _ = place.ask(method, "/v1/messages", {}, way)
        assert response.status in (400, 404)
        assert place.server.calls == []


def test_what_is_told_and_logged_of_a_path_is_bounded(place: Place) -> None:
    for method, path in (("GET", "/x" + "p" * 9_000), ("M" * 9_000, "/v1/x"), ("GET", "/v1/models/" + "p" * 9_000)):
        response, _ = place.ask(method, path, {"x-claude-code-session-id": "s" * 9_000})
        assert response.status in (400, 404)
        assert len(response.body) < 1200
    place.ask("POST", "/v1/messages?" + "q" * 9_000, {"x-claude-code-session-id": "s" * 9_000})
    place.proxy.wait_for_log("delivered")
    assert max(map(len, place.proxy.log_file.read_text().splitlines())) < 1000


TOKENS = st.binary(min_size=1, max_size=6) | st.sampled_from(
    [
        b"/v1/messages",
        b"/v1/files",
        b"..",
        b"/",
        b"%2e",
        b"%2f",
        b"[",
        b"http://",
        b"::1",
        b"@",
        b":",
        b"\r",
        b"\0",
        b"?",
    ]
)
TEXT = st.lists(TOKENS, max_size=5).map(b"".join)


@settings(max_examples=examples(150), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    method=st.sampled_from([b"POST", b"GET", b"OPTIONS", b"CONNECT", b"TRACE"]),
    target=TEXT.map(lambda text: b"/" + text) | TEXT,
    headers=st.lists(
        st.tuples(st.sampled_from([b"host", b"origin", b"content-encoding", b"x-api-key", b"cookie"]), TEXT), max_size=3
    ),
)
def test_no_head_at_all_breaks_the_proxy_or_gets_a_key_to_where_it_does_not_belong(
    place: Place, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    place.server.reset()
    lines = [method + b" " + target + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    ends(place.proxy.port, b"\r\n".join([*lines, b"connection: close", b"", b""]))
    for call in place.server.calls:
        assert not carries(key_of("a"))(call) or call.path.startswith("/v1/")
    assert ask(place.proxy.url, "anthropic", "m").status == 200


# What upstream sends.

BAD_ANSWERS = {
    "status 600": b"HTTP/1.1 600 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "status 999": b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "status 0": b"HTTP/1.1 0 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "a bare CR": b"HTTP/1.1 200 OK\r\nx-odd: a\rset-cookie: b\r\ncontent-length: 2\r\n\r\n{}",
    "NUL": b"HTTP/1.1 200 OK\r\nx-odd: a\0b\r\ncontent-length: 2\r\n\r\n{}",
    "VT": b"HTTP/1.1 200 OK\r\nx-odd: a\x0bb\r\ncontent-length: 2\r\n\r\n{}",
    "a folded line": b"HTTP/1.1 200 OK\r\nx-odd: a\r\n b\r\ncontent-length: 2\r\n\r\n{}",
    "a name with a space": b"HTTP/1.1 200 OK\r\nx odd: a\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Recording, Upstream]]:
    """A proxy whose first upstream sends any bytes; the second is healthy. For each kind of bytes two accounts."""
    with Recording() as bad, Upstream() as good:
        config = ""
        for number in range(len(BAD_ANSWERS)):
            config += account(f"bad-{number}", "first", models=[f"lane{number}"])
            config += account(f"good-{number}", "second", models=[f"lane{number}"], priority=1)
        config += upstream("first", "anthropic", f"http://127.0.0.1:{bad.port}")
        config += upstream("second", "anthropic", good.url)
        with Proxy(tmp_path_factory.mktemp("odd-answers"), config) as proxy:
            yield proxy, bad, good


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_an_answer_with_an_odd_head_is_a_failure_that_heals(odd: tuple[Proxy, Recording, Upstream], kind: str) -> None:
    proxy, bad, good = odd
    good.reset()
    good.play(stream("anthropic", "healed"))
    bad.requests.clear()
    bad.answer = BAD_ANSWERS[kind]
    number = list(BAD_ANSWERS).index(kind)
    response = ask(proxy.url, "anthropic", f"lane{number}")
    assert read_stream("anthropic", response.body) == "healed"
    assert len(bad.requests) == len(good.calls) == 1
    assert response.header("x-healing-outcome") == "healed"
    proxy.wait_for_log(f"attempt 1 on bad-{number}: the head of the answer is not valid")


@pytest.mark.parametrize("path", ["/v1/files/f", "/elsewhere"])
@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_it_does_not_reach_a_client_where_nothing_is_healed(
    odd: tuple[Proxy, Recording, Upstream], kind: str, path: str
) -> None:
    proxy, bad, _ = odd
    bad.answer = BAD_ANSWERS[kind]
    base = f"http://127.0.0.1:{bad.port}"
    response = send(proxy.url, base, "", "GET", path, way="proxy", headers=JSON)
    assert response.status == 502
    assert response.header("set-cookie") is None


def test_an_ordinary_answer_does(odd: tuple[Proxy, Recording, Upstream]) -> None:
    proxy, bad, _ = odd
    bad.answer = b"HTTP/1.1 529 Busy\r\nx-odd: a\tb \xc3\xbc\r\nx-empty:\r\ncontent-length: 2\r\n\r\n{}"
    for path in ("/v1/files/f", "/elsewhere"):
        response = send(proxy.url, f"http://127.0.0.1:{bad.port}", "", "GET", path, way="proxy", headers=JSON)
        assert (response.status, response.body) == (529, b"{}")
        assert response.header("x-odd") == "a\tb Ã¼"


# What the configuration becomes while the proxy runs.


def write(file: Path, text: str) -> None:
    """Write the file in its place, as many programs do."""
    file.write_text(text)


def replace(file: Path, text: str) -> None:
    """Put another file in its place."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


@pytest.mark.covering(1)
@pytest.mark.parametrize("change", [write, replace])
@pytest.mark.parametrize("text", ["", " \n\t\n", "# accounts = []\n", "[clients]\n", "\ufeff"])
def test_a_configuration_in_which_nothing_is_said_takes_no_guard_away(
    tmp_path: Path, change: Callable[[Path, str], None], text: str
) -> None:
    with Upstream() as server:
        config = account("a", "anthropic") + upstream("anthropic", "anthropic", server.url)
        config += '[clients]\nkeys = ["the-gateway-key"]\nloopback_only = false\n'
        with Proxy(tmp_path / "p", config) as proxy:
            change(proxy.config_file, text)
            proxy.wait_for_log("the old one stays")
            assert ask(proxy.url, "anthropic", "m", headers={"x-api-key": "another"}).status == 401
            answer = ask(proxy.url, "anthropic", "m", headers={"x-api-key": "the-gateway-key"})
            assert read_stream("anthropic", answer.body)
            change(proxy.config_file, config.replace("the-gateway-key", "the-new-key"))
            proxy.wait_for_log("Configuration:", 2)
            assert ask(proxy.url, "anthropic", "m", headers={"x-api-key": "the-new-key"}).status == 200


def test_a_configuration_that_vanishes_leaves_the_old_one(tmp_path: Path) -> None:
    with Upstream() as server:
        config = account("a", "anthropic") + upstream("anthropic", "anthropic", server.url)
        with Proxy(tmp_path / "p", config) as proxy:
            proxy.config_file.unlink()
            proxy.wait_for_log("there is no such file")
            ask(proxy.url, "anthropic", "m")
            assert [carries(key_of("a"))(call) for call in server.calls] == [True]
            write(proxy.config_file, config.replace('name = "a"', 'name = "b"'))
            proxy.wait_for_log("Configuration:", 2)
            assert [found["name"] for found in proxy.health()["accounts"]] == ["b"]


def test_a_configuration_that_is_still_being_written_is_not_taken(tmp_path: Path) -> None:
    with Upstream() as server:
        there = upstream("anthropic", "anthropic", server.url)
        with Proxy(tmp_path / "p", account("a", "anthropic") + there) as proxy:
            # Each part is a configuration of its own, and more comes before anybody can have looked twice.
            parts = [account(name, "anthropic") for name in ("b", "c", "d", "e", "f", "g")]
            with proxy.config_file.open("w") as file:
                file.write(there)
                for part in parts:
                    file.write(part)
                    file.flush()
                    time.sleep(0.5)
            proxy.wait_for_log("Configuration:", 2)
            assert sum("Configuration:" in line for line in proxy.lines) == 2
            assert [found["name"] for found in proxy.health()["accounts"]] == ["b", "c", "d", "e", "f", "g"]
