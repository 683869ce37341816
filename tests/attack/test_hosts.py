"""Web pages: by DNS rebinding, by simple requests and by preflights none but this machine's gets at an account."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attack.names import leading
from tests.attack.ways_in import connect, over_http2, talk
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import DIALECTS, ask, free_port, keys_of, read_error, read_stream
from tests.support import raw
from tests.upstream import Upstream

REBOUND = "rebind.example"
PAGE = "http://localhost:3000"


@dataclass(frozen=True)
class Home:
    """A proxy of this machine with accounts, to which a foreign name leads, and a reverse proxy beside it."""

    proxy: Proxy
    upstream: Upstream
    port: int
    reverse: int

    def say(self, first_line: str, *fields: str, port: int = 0) -> raw.RawResponse:
        """Send a head as it stands, and nothing behind it."""
        connection = raw.RawConnection(f"http://127.0.0.1:{port or self.port}")
        try:
            connection.send_bytes("\r\n".join([first_line, *fields, "", ""]).encode("latin-1"))
            return connection.read(first_line.partition(" ")[0])
        finally:
            connection.close()


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder: Path = tmp_path_factory.mktemp("home")
    port, reverse = free_port(), free_port()
    with Upstream() as server:
        config = "".join(account(f"{dialect}-one", dialect) for dialect in DIALECTS)
        config += "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)
        config += '[clients]\nhosts = ["proxy.lan"]\n'
        args = [f"--mode=regular@{port}", f"--mode=reverse:{server.url}@{reverse}"]
        args += leading(folder / "names.py", {REBOUND: ["127.0.0.1"]})
        with Proxy(folder, config, args=args) as proxy:
            proxy.wait_for_log("listening at", 2)
            yield Home(proxy, server, port, reverse)


@pytest.fixture
def home(shared_home: Home) -> Home:
    shared_home.upstream.reset()
    return shared_home


SERVED = (
    "GET /health", "GET /v1/files", "GET /v1/files/file_1/content", "GET /v1/messages/batches/b_1/results",
    "GET /v1/models", "GET /v1beta/files", "DELETE /v1/files/file_1", "GET /", "HEAD /health",
)  # fmt: skip


@pytest.mark.parametrize("what", SERVED)
@pytest.mark.parametrize("host", [REBOUND, f"{REBOUND}:8080", "localhost.rebind.example", "127.0.0.1.rebind.example"])
def test_nothing_is_served_by_a_foreign_name(home: Home, what: str, host: str) -> None:
    answer = home.say(f"{what} HTTP/1.1", f"host: {host}", "anthropic-version: 2023-06-01", "content-length: 0")
    assert answer.status == 403
    assert what.startswith("HEAD") or "hosts under [clients]" in answer.json()["error"]["message"]
    assert not home.upstream.calls


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_no_account_pays_for_a_foreign_name(home: Home, dialect: str, reverse: bool) -> None:
    base = f"http://127.0.0.1:{home.reverse if reverse else home.port}"
    answer = ask(base, dialect, "m", headers={"host": f"{REBOUND}:{home.port}"})
    assert answer.status == 403
    assert REBOUND in read_error(dialect, answer)["message"]
    assert not home.upstream.calls
    assert read_stream(dialect, ask(base, dialect, "m").body)


@pytest.mark.parametrize(
    "fields",
    [
        ["host: localhost", f"host: {REBOUND}"],
        [f"host: {REBOUND}", "host: localhost"],
        [f"host: localhost, {REBOUND}"],
    ],
)
def test_a_second_name_does_not_hide_the_first(home: Home, fields: list[str]) -> None:
    assert home.say("GET /v1/files HTTP/1.1", *fields).status in (400, 403)
    assert not home.upstream.calls


def test_the_target_and_the_host_are_both_judged(home: Home) -> None:
    own, version = f"http://127.0.0.1:{home.port}", "anthropic-version: 2023-06-01"
    assert home.say(f"GET {own}/v1/files HTTP/1.1", f"host: {REBOUND}", version).status == 403
    assert home.say(f"GET {home.upstream.url}/v1/files HTTP/1.1", f"host: {REBOUND}", version).status == 403
    assert not home.upstream.calls
    home.say(f"GET {own}/v1/files HTTP/1.1", f"host: 127.0.0.1:{home.port}", version)
    assert keys_of(home.upstream.calls) == [key_of("anthropic-one")]


def test_a_request_without_any_name_is_not_guessed_at(home: Home) -> None:
    assert home.say("GET /v1/files HTTP/1.0").status == 400
    assert not home.upstream.calls


def test_a_foreign_name_that_leads_here_is_no_way_round(home: Home) -> None:
    # The proxy is asked to go there itself: in plain text, through a tunnel, and over HTTP/2 with its own certificate.
    place = f"{REBOUND}:{home.port}"
    assert home.say(f"GET http://{place}/v1/files HTTP/1.1", f"host: {place}").status == 502
    local = ("127.0.0.1", home.port)
    inner = f"GET /v1/files HTTP/1.1\r\nhost: {place}\r\n\r\n".encode()
    assert talk(local, connect(place, {}), inner).status == 502
    assert over_http2(local, place, "/v1/files", {}).status == 502
    assert not home.upstream.calls
    home.proxy.wait_for_log("this is the proxy itself", 3)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8080", "localhost.:1", "app.localhost", "127.0.0.1", "127.0.0.1:9999", "127.8.8.8",
        "127.1", "[::1]", "[::1]:8080", "0.0.0.0:8080", "proxy.lan", "Proxy.LAN:8080", socket.gethostname(),
    ],
)  # fmt: skip
def test_names_of_this_machine_and_configured_ones_are_served(home: Home, host: str) -> None:
    assert home.say("GET /health HTTP/1.1", f"host: {host}").status == 200
    assert home.say("GET /v1/files HTTP/1.1", f"host: {host}", "anthropic-version: 1").status != 403
    assert len(home.upstream.calls) == 1


def test_http2_is_served_by_the_names_of_this_machine(home: Home) -> None:
    assert over_http2(("127.0.0.1", home.port), f"localhost:{home.port}", "/health", {}).status == 200
    assert over_http2(("127.0.0.1", home.port), f"[::1]:{home.port}", "/health", {}).status == 200


# What browsers say of their pages.


@pytest.mark.parametrize("what", SERVED)
@pytest.mark.parametrize("site", ["cross-site", "Cross-Site", "anything else"])
def test_a_simple_request_of_a_foreign_page_is_refused(home: Home, what: str, site: str) -> None:
    host = f"host: 127.0.0.1:{home.port}"
    answer = home.say(f"{what} HTTP/1.1", host, f"sec-fetch-site: {site}", "anthropic-version: 1", "content-length: 0")
    assert answer.status == 403
    assert answer.header("access-control-allow-origin") is None
    assert not home.upstream.calls


@pytest.mark.parametrize(
    ("host", "fields", "status"),
    [
        ("127.0.0.1", ["sec-fetch-site: none"], 200),
        ("127.0.0.1", ["sec-fetch-site: same-origin"], 200),
        ("localhost", ["sec-fetch-site: same-site"], 200),
        # The page of another port of this machine, told apart from the address by its name.
        ("127.0.0.1", ["sec-fetch-site: cross-site", f"origin: {PAGE}"], 200),
        ("127.0.0.1", ["origin: vscode-webview://abc"], 200),
        ("127.0.0.1", ["sec-fetch-site: none", "origin: chrome-extension://abc"], 200),
        # A neighbour on the network, who may be anybody's.
        ("proxy.lan", ["sec-fetch-site: same-site"], 403),
        ("127.0.0.1", ["sec-fetch-site: same-site", "origin: http://[::1"], 403),
        ("127.0.0.1", ["origin: http://localhost:3000, http://page.example"], 403),
        ("127.0.0.1", ["origin: http://localhost@page.example"], 403),
        ("127.0.0.1", ["origin: null"], 403),
    ],
)
def test_whose_page_asks(home: Home, host: str, fields: list[str], status: int) -> None:
    assert home.say("GET /health HTTP/1.1", f"host: {host}", *fields).status == status


def preflight(home: Home, origin: str, path: str = "/v1/messages", port: int = 0) -> raw.RawResponse:
    """Ask leave for a page."""
    return home.say(
        f"OPTIONS {path} HTTP/1.1", f"host: 127.0.0.1:{port or home.port}", f"origin: {origin}",
        "access-control-request-method: POST", "access-control-request-headers: content-type,x-api-key",
        port=port,
    )  # fmt: skip


@pytest.mark.parametrize("origin", [PAGE, "http://127.0.0.1:5173", "https://[::1]", "http://app.localhost"])
def test_a_page_of_this_machine_gets_leave(home: Home, origin: str) -> None:
    answer = preflight(home, origin)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("access-control-allow-origin") == origin
    assert answer.header("access-control-allow-methods") == "POST"
    assert answer.header("access-control-allow-headers") == "content-type,x-api-key"
    assert "Origin" in (answer.header("vary") or "")
    assert not home.upstream.calls


def test_a_page_of_this_machine_gets_leave_in_reverse_mode(home: Home) -> None:
    assert preflight(home, PAGE, port=home.reverse).status == 204
    assert not home.upstream.calls
    # What is not the API's is the target's to answer.
    preflight(home, PAGE, "/other", port=home.reverse)
    [call] = home.upstream.calls
    assert not call.credentials


@pytest.mark.parametrize("origin", ["https://page.example", "null", "http://localhost.page.example"])
def test_a_foreign_page_gets_no_leave(home: Home, origin: str) -> None:
    answer = preflight(home, origin)
    assert answer.status == 403
    assert answer.header("access-control-allow-origin") is None
    assert not home.upstream.calls


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_page_of_this_machine_may_read_its_answers(home: Home, dialect: str, stream: bool) -> None:
    base = f"http://127.0.0.1:{home.port}"
    answer = ask(base, dialect, "m", stream=stream, headers={"origin": PAGE})
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == PAGE
    assert answer.header("vary") == "Origin"
    exposed = (answer.header("access-control-expose-headers") or "").split(", ")
    assert {"x-healing-outcome", "x-account-email"} <= set(exposed)
    # And nobody else is told that it might.
    assert ask(base, dialect, "m", stream=stream).header("access-control-allow-origin") is None


@pytest.mark.parametrize("path", ["/health", "/v1/files", "/nothing"])
def test_a_page_of_this_machine_may_read_what_is_not_healed(home: Home, path: str) -> None:
    host = f"host: 127.0.0.1:{home.port}"
    answer = home.say(f"GET {path} HTTP/1.1", host, f"origin: {PAGE}", "anthropic-version: 1")
    assert answer.header("access-control-allow-origin") == PAGE
