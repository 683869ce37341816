"""What the proxy serves of its own on its port: asked for in all ways there are, and by who must not get it."""

import base64
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.attack.ways_in import over_http2
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, body, free_port, own_address, read_stream, saved_flows, stream
from tests.support import raw
from tests.upstream import Upstream

KEY = "gateway-key-0x31"
REBOUND = "rebind.example"
MB = 1024 * 1024
SCRIPT = """
import asyncio
from mitmproxy import ctx
from antigravity_healing.proxy.own_pages import layer
from antigravity_healing.proxy.own_pages.pages import PageAnswer

layer.UNREAD_S = 1.0
layer.IDLE_S = {idle_s}
seen = {{"big": 0, "did": 0, "flows": 0}}
released, let_go = asyncio.Event(), asyncio.Event()

def big(request):
    seen["big"] += 1
    return PageAnswer(200, "text/plain", b"x" * 1_500_000)

def did(request):
    seen["did"] += 1
    return PageAnswer.json({{"body": request.body.decode(), "query": dict(request.query)}})

async def wait(request):
    await released.wait()
    return PageAnswer.json({{"waited": True}})

async def hold(request):
    await let_go.wait()
    return PageAnswer.json({{"held": True}})

def release(request):
    (let_go if "held" in request.query else released).set()
    return PageAnswer.json({{}})

def fails(request):
    raise ValueError("the secret of " + request.path)

async def fails_later(request):
    await asyncio.sleep(0)
    raise ValueError("the secret of " + request.path)

def running():
    pages = ctx.master.addons.get("antigravity").pages
    pages.add("GET", "/antigravity/test/seen", lambda request: PageAnswer.json(seen))
    pages.add("GET", "/antigravity/test/big", big)
    pages.add("GET", "/antigravity/test/too-big", lambda request: PageAnswer(body=b"x" * (2 * 1024 * 1024 + 1)))
    pages.add("GET", "/antigravity/test/broken", lambda request: PageAnswer(headers={{"a": "b\\r\\nc: d"}}))
    pages.add("GET", "/antigravity/test/headers", lambda request: PageAnswer.json(dict(request.headers)))
    pages.add("GET", "/antigravity/test/wait", wait)
    pages.add("GET", "/antigravity/test/hold", hold)
    pages.add("GET", "/antigravity/test/release", release)
    pages.add("GET", "/antigravity/test/fails", fails)
    pages.add("GET", "/antigravity/test/fails-later", fails_later)
    pages.add("POST", "/antigravity/test/do", did)
    pages.add("GET", "/metrics", lambda request: PageAnswer(200, "text/plain", b"a_total 1\\n"))

def requestheaders(flow):
    seen["flows"] += 1
"""


@dataclass(frozen=True)
class Place:
    """A proxy in all its modes. reverse: for a configured upstream; unknown: for a server that is none."""

    proxy: Proxy
    server: Upstream
    other: Upstream
    port: int
    reverse: int
    unknown: int
    upstream_mode: int

    def url(self, path: str = "", port: int = 0) -> str:
        return f"http://127.0.0.1:{port or self.port}{path}"

    def say(self, data: str | bytes, method: str = "GET", host: str = "127.0.0.1", port: int = 0) -> raw.RawResponse:
        """Send bytes as they stand and read one answer."""
        with closing(raw.RawConnection(f"http://{host}:{port or self.port}")) as connection:
            connection.send_bytes(data.encode("latin-1") if isinstance(data, str) else data)
            return connection.read(method)

    def get(self, path: str, headers: Mapping[str, str] | None = None, port: int = 0) -> raw.RawResponse:
        return raw.request("GET", self.url(path, port), headers=headers)

    def token(self) -> str:
        return str(self.get("/antigravity/token").json()["token"])

    def seen(self) -> dict[str, int]:
        found: dict[str, int] = self.get("/antigravity/test/seen").json()
        return found

    def act(self, leave_out: str = "", **changed: str) -> raw.RawResponse:
        """What the page sends to have something done, but for what is changed or left out."""
        own = f"127.0.0.1:{self.port}"
        headers = {
            "host": own,
            "origin": f"http://{own}",
            "sec-fetch-site": "same-origin",
            "content-type": "application/json",
            "x-antigravity-token": self.token(),
        }
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        headers.pop(leave_out, None)
        return raw.request("POST", self.url("/antigravity/test/do?a=b"), b'{"c": 1}', headers)


def script(folder: Path, idle_s: float = 75.0) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pages.py"
    file.write_text(SCRIPT.format(idle_s=idle_s))
    return ["-s", str(file)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("own")
    ports = [free_port() for _ in range(4)]
    with Upstream() as server, Upstream() as other:
        config = account("one", "anthropic") + upstream("anthropic", "anthropic", server.url)
        config += f'[clients]\nkeys = ["{KEY}"]\nhosts = ["proxy.lan"]\n[limits]\nhead_seconds = 2\n'
        args = [
            f"--mode=regular@{ports[0]}",
            f"--mode=reverse:{server.url}@{ports[1]}",
            f"--mode=reverse:{other.url}@{ports[2]}",
            f"--mode=upstream:{other.url}@{ports[3]}",
            *script(folder / "script"),
        ]
        options = {"listen_host": "0.0.0.0"}
        with Proxy(folder, config, args=args, options=options) as proxy:
            proxy.provoked = True  # handlers that fail
            proxy.wait_for_log("listening at", 4)
            proxy.port = ports[0]
            yield Place(proxy, server, other, *ports)
            assert "Traceback" not in proxy.log
            assert "crashed" not in proxy.log


def send_without_end(client: socket.socket, data: bytes, sent: list[int]) -> None:
    while sum(sent) < 100 * MB:
        sent.append(client.send(data))


def message(response: raw.RawResponse) -> str:
    return str(response.json()["error"]["message"])


# How it is asked for.

SPLIT = "GET /antigravity/health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.mark.parametrize("line", ["GET /antigravity/token HTTP/1.1", "HEAD /health HTTP/1.1", "GET /metrics HTTP/1.1"])
def test_it_is_served_however_its_first_line_is_cut(place: Place, line: str) -> None:
    flows = place.seen()["flows"]
    for at in range(1, len(line)):
        with closing(raw.RawConnection(place.url())) as connection:
            connection.send_bytes(line[:at].encode())
            # The first piece has been read when the proxy answers somebody who asks after it.
            assert place.get("/health").status == 200
            connection.send_bytes(f"{line[at:]}\r\nhost: localhost\r\n\r\n".encode())
            assert connection.read(line.partition(" ")[0]).status == 200, at
    assert place.seen()["flows"] == flows


def test_a_request_for_the_api_may_be_cut_anywhere_too(place: Place) -> None:
    place.server.reset()
    line = "GET /antigravit HTTP/1.1"
    for at in (1, 4, 5, 12, len(line)):
        with closing(raw.RawConnection(place.url())) as connection:
            connection.send_bytes(line[:at].encode())
            assert place.get("/health").status == 200
            connection.send_bytes(f"{line[at:]}\r\nhost: localhost\r\n\r\n".encode())
            answer = connection.read()
            assert answer.status == 404
            assert "is not served here" in message(answer)
            assert "shown to a browser at http://localhost/antigravity/." in message(answer)


@pytest.mark.parametrize("mode", ["port", "upstream_mode", "reverse"])
def test_each_mode_serves_it(place: Place, mode: str) -> None:
    port, calls = getattr(place, mode), len(place.server.calls)
    for path in ("/health", "/antigravity/health"):
        assert place.get(path, port=port).json()["status"] == "ok"
    assert place.get("/metrics", port=port).body == b"a_total 1\n"
    assert len(place.server.calls) == calls


def test_a_server_that_is_no_known_api_keeps_its_own_health_in_reverse_mode(place: Place) -> None:
    place.other.reset()
    assert place.get("/health", port=place.unknown).status == 404
    assert place.get("/metrics", port=place.unknown).status == 404
    assert [call.path for call in place.other.calls] == ["/health", "/metrics"]
    assert place.get("/antigravity/health", port=place.unknown).json()["status"] == "ok"
    assert len(place.other.calls) == 2


def test_an_absolute_target_is_ours_if_it_names_the_proxy_and_nobody_elses(place: Place) -> None:
    place.other.reset()
    own = f"127.0.0.1:{place.port}"
    for name in (own, f"localhost:{place.port}", f"proxy.lan:{place.port}"):
        assert place.say(f"GET http://{name}/antigravity/health HTTP/1.1\r\nhost: {name}\r\n\r\n").status == 200
    # Another server's page of that name is that server's.
    for path in ("/health", "/antigravity/health"):
        answer = raw.request("GET", f"{place.other.url}{path}", proxy=place.url())
        assert answer.status == 404
    assert [call.path for call in place.other.calls] == ["/health", "/antigravity/health"]


def test_a_connection_is_kept_and_what_is_sent_at_once_is_answered_in_order(place: Place) -> None:
    with closing(raw.RawConnection(place.url())) as connection:
        for _ in range(3):
            connection.send("GET", place.url("/health"))
            assert connection.read().status == 200
        paths = ["/metrics", "/antigravity/none", "/health", "/antigravity/token"] * 10
        connection.send_bytes(b"".join(raw.encode_request("GET", place.url(path)) for path in paths))
        statuses = [connection.read().status for _ in paths]
    assert statuses == [200, 404, 200, 200] * 10


def test_half_a_request_behind_another_is_waited_for(place: Place) -> None:
    request = raw.encode_request("GET", place.url("/health"))
    with closing(raw.RawConnection(place.url())) as connection:
        for _ in range(3):
            connection.send_bytes(request + request[:20])
            assert connection.read().status == 200
            assert place.get("/health").status == 200
            connection.send_bytes(request[20:])
            assert connection.read().status == 200


def test_who_ends_his_side_gets_all_that_he_asked_for(place: Place) -> None:
    with closing(raw.RawConnection(place.url())) as connection:
        connection.send_bytes(b"".join(raw.encode_request("GET", place.url("/antigravity/test/big")) for _ in range(3)))
        connection.socket.shutdown(socket.SHUT_WR)
        assert [len(connection.read().body) for _ in range(3)] == [1_500_000] * 3
        assert connection.socket.recv(1) == b""


def test_head_tells_what_get_would(place: Place) -> None:
    head, get = raw.request("HEAD", place.url("/metrics")), place.get("/metrics")
    assert (head.status, head.body) == (200, b"")
    assert head.headers == get.headers


def test_what_is_not_there_and_what_can_not_be_done_is_told(place: Place) -> None:
    nothing = place.get("/antigravity/none/such")
    assert nothing.status == 404
    wrong = raw.request("POST", place.url("/metrics"), b"{}")
    assert (wrong.status, wrong.header("allow")) == (405, "GET, HEAD")
    assert "GET, HEAD" in message(wrong)
    assert (
        place.get("/antigravity/test/do", headers={"accept": "text/html"}).body
        == b"GET can't be done here, but POST.\n"
    )
    assert raw.request("DELETE", place.url("/antigravity/test/do")).status == 405


def test_every_answer_says_what_a_browser_may_do_with_it(place: Place) -> None:
    for answer in (
        place.get("/antigravity/token"),
        place.get("/antigravity/no"),
        place.act(origin="http://page.example"),
    ):
        assert (answer.header("content-security-policy") or "").startswith("default-src 'self'; frame-ancestors 'none'")
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("cache-control") == "no-store"
        assert answer.header("cross-origin-resource-policy") == "same-origin"


# Connections that turn to something else.


def test_what_is_for_the_api_on_a_pages_connection_is_misdirected(place: Place) -> None:
    place.server.reset()
    with closing(raw.RawConnection(place.url())) as connection:
        connection.send("GET", place.url("/health"))
        assert connection.read().status == 200
        connection.send("POST", place.url("/v1/messages"), body("anthropic", "m"))
        answer = connection.read()
        assert (answer.status, answer.header("connection")) == (421, "close")
        assert "another one" in message(answer)
        assert connection.socket.recv(1) == b""
    assert not place.server.calls
    assert read_stream("anthropic", ask(place.url(), "anthropic", "m").body)


def test_so_is_another_sites_page_of_the_same_name(place: Place) -> None:
    place.other.reset()
    with closing(raw.RawConnection(place.url())) as connection:
        connection.send("GET", place.url("/health"))
        assert connection.read().status == 200
        connection.send_bytes(f"GET {place.other.url}/health HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert connection.read().status == 421
    assert not place.other.calls


@pytest.mark.parametrize("mode", ["port", "reverse"])
@pytest.mark.parametrize("path", ["/antigravity/", "/antigravity/token", "/metrics"])
def test_a_page_on_the_apis_connection_is_misdirected(place: Place, mode: str, path: str) -> None:
    port = getattr(place, mode)
    place.server.reset()
    with closing(raw.RawConnection(place.url(port=port))) as connection:
        connection.send("POST", place.url("/v1/messages", port), body("anthropic", "m"), {"x-api-key": "own"})
        assert connection.read().status == 200
        connection.send("GET", place.url(path, port))
        answer = connection.read()
        assert (answer.status, answer.header("connection")) == (421, "close")
        assert "begins with them" in message(answer)
        assert connection.socket.recv(1) == b""
    assert len(place.server.calls) == 1


@pytest.mark.parametrize("mode", ["port", "reverse"])
def test_health_is_told_on_the_apis_connection(place: Place, mode: str) -> None:
    port = getattr(place, mode)
    with closing(raw.RawConnection(place.url(port=port))) as connection:
        connection.send("POST", place.url("/v1/messages", port), body("anthropic", "m"), {"x-api-key": "own"})
        assert connection.read().status == 200
        connection.send("GET", place.url("/health", port))
        assert connection.read().json()["status"] == "ok"


def test_over_http2_health_is_told_and_pages_are_misdirected(place: Place) -> None:
    address = ("127.0.0.1", place.port)
    assert over_http2(address, f"localhost:{place.port}", "/health", {}).status == 200
    assert over_http2(address, f"localhost:{place.port}", "/antigravity/", {}).status == 421


# Who may ask, and who may act.


def test_the_page_may_act(place: Place) -> None:
    before = place.seen()["did"]
    answer = place.act()
    assert answer.json() == {"body": '{"c": 1}', "query": {"a": "b"}}
    assert place.act(origin=f"http://localhost:{place.port}", host=f"localhost:{place.port}").status == 200
    assert place.seen()["did"] == before + 2


def test_a_body_is_taken_as_it_comes_whatever_it_says_of_its_coding(place: Place) -> None:
    assert place.act(content_encoding="gzip").json()["body"] == '{"c": 1}'


@pytest.mark.parametrize(
    "changed",
    [
        {"leave_out": "x-antigravity-token"},
        {"x_antigravity_token": "x" * 43},
        {"x_antigravity_token": "\xff"},
        {"leave_out": "origin"},
        {"origin": "http://page.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"leave_out": "content-type"},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"host": REBOUND},
        {"host": f"{REBOUND}:1", "origin": f"http://{REBOUND}:1"},
    ],
)
def test_nobody_else_may(place: Place, changed: dict[str, Any]) -> None:
    before = place.seen()["did"]
    answer = place.act(**changed)
    assert answer.status == 403
    assert message(answer)
    assert answer.header("access-control-allow-origin") is None
    assert place.seen()["did"] == before


@pytest.mark.parametrize("path", ["/antigravity/", "/antigravity/token", "/antigravity/health", "/metrics"])
@pytest.mark.parametrize(
    "fields",
    [
        {"host": REBOUND},
        {"host": f"127.0.0.1.{REBOUND}"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": f"{REBOUND}:8080", "origin": f"http://{REBOUND}:8080", "sec-fetch-site": "same-origin"},
    ],
)
def test_no_other_page_sees_anything(place: Place, path: str, fields: dict[str, str]) -> None:
    answer = place.get(path, headers=fields)
    assert answer.status == 403
    assert answer.header("access-control-allow-origin") is None
    assert place.token() not in answer.body.decode()


@pytest.mark.parametrize("fields", [{}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "same-origin"}])
def test_a_person_who_types_its_address_and_a_program_see_it(place: Place, fields: dict[str, str]) -> None:
    assert place.get("/antigravity/token", headers=fields).status == 200


def test_a_page_of_this_machine_may_read_health_as_it_may_the_api(place: Place) -> None:
    page = "http://localhost:3000"
    assert place.get("/health", headers={"origin": page}).header("access-control-allow-origin") == page
    with closing(raw.RawConnection(place.url())) as connection:
        connection.send("GET", place.url("/health"))
        connection.read()
        connection.send(
            "OPTIONS", place.url("/health"), headers={"origin": page, "access-control-request-method": "GET"}
        )
        assert connection.read("HEAD").status == 204
        connection.send(
            "OPTIONS", place.url("/antigravity/token"), headers={"origin": page, "access-control-request-method": "GET"}
        )
        assert connection.read().status == 403


@pytest.mark.parametrize("fields", ["", "host: \r\n"])
def test_who_calls_the_proxy_by_no_name_is_refused(place: Place, fields: str) -> None:
    assert place.say(f"GET /antigravity/token HTTP/1.0\r\n{fields}\r\n").status == 400


@pytest.fixture
def there(place: Place) -> str:
    """The proxy's address as others on its network have it."""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address that a client on a network would have")
    return f"http://{address}:{place.port}"


@pytest.mark.parametrize("path", ["/health", "/metrics", "/antigravity/", "/antigravity/token"])
def test_who_comes_from_elsewhere_needs_a_key(place: Place, there: str, path: str) -> None:
    answer = raw.request("GET", there + path)
    assert (answer.status, answer.header("www-authenticate")) == (401, 'Basic realm="client key"')
    assert raw.request("GET", there + path, headers={"x-api-key": "wrong"}).status == 401
    assert raw.request("GET", there + path, headers={"cookie": f"key={KEY}"}).status == 401
    assert raw.request("GET", there + path, headers={"forwarded": "for=127.0.0.1", "host": "localhost"}).status == 401


BASIC = "Basic " + base64.b64encode(f"anybody:{KEY}".encode()).decode()
SHOWN = [{"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"x-goog-api-key": KEY}, {"authorization": BASIC}]


@pytest.mark.parametrize("shown", SHOWN, ids=["x-api-key", "bearer", "x-goog-api-key", "basic"])
def test_who_shows_one_is_let_in_and_no_handler_sees_it(place: Place, there: str, shown: dict[str, str]) -> None:
    assert raw.request("GET", f"{there}/health", headers=shown).status == 200
    answer = raw.request("GET", f"{there}/antigravity/test/headers", headers={**shown, "cookie": "a=b"})
    assert answer.status == 200
    assert KEY not in answer.body.decode()
    assert answer.json().keys() & {"authorization", "cookie", "x-api-key", "x-goog-api-key"} == set()
    # A browser sends its password for any page that asks.
    for fields in ({"origin": "http://page.example"}, {"sec-fetch-site": "cross-site"}, {"host": REBOUND}):
        assert raw.request("GET", f"{there}/antigravity/token", headers={**shown, **fields}).status == 403


# What others feel of it, and what it costs.


def test_a_handler_that_takes_long_keeps_nobody_waiting(place: Place) -> None:
    place.server.reset()
    place.server.play(stream("anthropic", "word " * 20).but(gap=0.02))
    with ThreadPoolExecutor(1) as pool, closing(raw.RawConnection(place.url())) as waiting:
        waiting.send_bytes(raw.encode_request("GET", place.url("/antigravity/test/wait")) * 2)
        running = pool.submit(ask, place.url(), "anthropic", "m")
        assert place.get("/health").status == 200
        assert read_stream("anthropic", running.result().body) == "word " * 20
        assert place.get("/antigravity/test/release").status == 200
        assert [waiting.read().json() for _ in range(2)] == [{"waited": True}] * 2


@pytest.mark.parametrize("path", ["fails", "fails-later", "too-big", "broken"])
def test_a_handler_that_fails_is_a_500_that_tells_nothing(place: Place, path: str) -> None:
    lines = len([line for line in place.proxy.lines if "this is a bug" in line])
    with closing(raw.RawConnection(place.url())) as connection:
        connection.send("GET", place.url(f"/antigravity/test/{path}"))
        answer = connection.read()
        assert answer.status == 500
        assert "internal error" in message(answer)
        connection.send("GET", place.url("/health"))
        assert connection.read().status == 200
    place.proxy.wait_for_log("this is a bug", lines + 1)
    assert "the secret of" not in place.proxy.log + answer.body.decode()


def test_a_client_that_never_reads_costs_one_answer_and_is_left(place: Place) -> None:
    before = place.seen()["big"]
    request = raw.encode_request("GET", place.url("/antigravity/test/big"))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", place.port))
        client.settimeout(10)
        sent = [0]
        # Until the proxy has had enough of it: it takes nothing more, and then ends the connection.
        with pytest.raises(ConnectionError):
            send_without_end(client, request * 1000, sent)
        assert sum(sent) < 16 * MB
    # Some answers fit into the system's buffers.
    assert place.seen()["big"] - before <= 6
    assert place.get("/health").status == 200


def test_what_a_client_sends_while_it_waits_is_not_taken(place: Place) -> None:
    request, sent = raw.encode_request("GET", place.url("/health")), [0]
    with closing(raw.RawConnection(place.url(), timeout=1)) as connection:
        connection.send_bytes(raw.encode_request("GET", place.url("/antigravity/test/hold")))
        with pytest.raises(TimeoutError):
            send_without_end(connection.socket, request * 1000, sent)
        assert sum(sent) < 16 * MB
        assert place.get("/antigravity/test/release?held").status == 200
        connection.socket.settimeout(15)
        assert connection.read().json() == {"held": True}
        assert connection.read().json()["status"] == "ok"


def test_a_head_that_does_not_come_is_given_up_from_its_first_byte_on(place: Place) -> None:
    slow = [raw.RawConnection(place.url()) for _ in range(3)]
    slow[0].send_bytes(b"GET /heal")
    slow[1].send_bytes(b"GET /health HTTP/1.1\r\nhost: x\r\n")
    slow[2].send_bytes(b"POST /antigravity/test/do HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
    assert slow[0].socket.recv(1) == b""
    assert [connection.read().status for connection in slow[1:]] == [408, 408]
    for connection in slow:
        connection.close()


def test_a_body_that_is_too_long_is_refused_and_can_be_read_to_be(place: Place) -> None:
    answer = raw.request("POST", place.url("/antigravity/test/do"), b"x" * 3 * MB)
    assert answer.status == 413
    assert "65,536" in message(answer)


def test_the_oldest_of_too_many_connections_makes_room(place: Place) -> None:
    def asks() -> raw.RawConnection:
        connection = raw.RawConnection(place.url())
        connection.send("GET", place.url("/health"))
        assert connection.read().status == 200
        return connection

    with closing(raw.RawConnection(place.url())) as api:
        api.send("POST", place.url("/v1/messages"), body("anthropic", "m"))
        assert api.read().status == 200
        # Some of the tests before may not be gone yet.
        many = [asks() for _ in range(80)]
        assert [connection.socket.recv(1) for connection in many[:16]] == [b""] * 16
        for connection in (*many[30:], api):
            connection.send("GET", place.url("/health"))
            assert connection.read().status == 200
        for connection in many:
            connection.close()


def test_no_flow_is_made_of_it_and_an_idle_connection_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "saved.flow"
    with Upstream() as server:
        config = account("one", "anthropic") + upstream("anthropic", "anthropic", server.url)
        args = ["-w", str(file), *script(tmp_path / "script", idle_s=0.5)]
        with Proxy(tmp_path / "proxy", config, args=args) as proxy, closing(raw.RawConnection(proxy.url)) as idle:
            proxy.wait_for_log("Point a client at it")
            lines = len(proxy.lines)
            for path in ("/health", "/metrics", "/antigravity/", "/antigravity/token"):
                idle.send("GET", proxy.url + path)
                idle.read()
            with suppress(ConnectionResetError):
                assert idle.socket.recv(1) == b""
            assert read_stream("anthropic", ask(proxy.url, "anthropic", "m").body)
            proxy.wait_for_log("delivered, clean")
            said = [line for line in proxy.lines[lines:] if "/health" in line or "/antigravity" in line]
    assert not said
    assert {flow.request.path for flow in saved_flows(file)} == {"/v1/messages"}
