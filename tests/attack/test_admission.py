"""Who may come in: each request is judged before anything is done for it, whatever it is for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attack.names import leading
from tests.attack.services import Service, service
from tests.attack.ways_in import connect, get, post, proxy_authorization, talk
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, free_port, keys_of, own_address
from tests.support import raw
from tests.upstream import Upstream

KEY = "gateway-key-0x63"


@dataclass(frozen=True)
class Place:
    """A proxy, an upstream and a service of this machine."""

    proxy: Proxy
    upstream: Upstream
    service: Service

    @property
    def local(self) -> tuple[str, int]:
        return "127.0.0.1", self.proxy.port


@pytest.fixture(scope="module")
def local_service() -> Iterator[Service]:
    with service("127.0.0.1", "for this machine") as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as found:
        yield found


@pytest.fixture(autouse=True)
def _afresh(server: Upstream, local_service: Service) -> None:
    server.reset()
    local_service.heads.clear()


def _config(server: Upstream) -> str:
    return account("one", "anthropic") + upstream("anthropic", "anthropic", server.url)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, server: Upstream, local_service: Service) -> Iterator[Place]:
    """It wants a key from everybody."""
    config = _config(server) + f'[clients]\nkeys = ["{KEY}"]\nloopback_only = false\n'
    with Proxy(tmp_path_factory.mktemp("strict"), config) as proxy:
        yield Place(proxy, server, local_service)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, server: Upstream, local_service: Service) -> Iterator[Place]:
    """As most people run it."""
    with Proxy(tmp_path_factory.mktemp("plain"), _config(server)) as proxy:
        yield Place(proxy, server, local_service)


def test_passing_on_needs_a_key_where_everybody_needs_one(strict: Place) -> None:
    there = f"127.0.0.1:{strict.service.port}"
    for message in (get(f"http://{there}/", {}), connect(there, {}), connect(there, proxy_authorization(KEY + "x"))):
        connection = raw.RawConnection(strict.proxy.url)
        connection.send_bytes(message)
        answer = connection.read()
        connection.close()
        assert answer.status == 407
        assert "Basic" in (answer.header("proxy-authenticate") or "")
        assert "Proxy-Authorization" in answer.json()["error"]["message"]
    assert not strict.service.heads


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_passing_on_with_a_key_leaves_the_key_here(strict: Place, scheme: str) -> None:
    there, shown = f"127.0.0.1:{strict.service.port}", proxy_authorization(KEY, scheme)
    own = {"authorization": "Bearer of-the-clients-own", **shown}
    assert talk(strict.local, get(f"http://{there}/?a=1&key={KEY}&b=2", own)).status == 200
    assert talk(strict.local, connect(there, shown), get("/", {})).status == 200
    first, _ = strict.service.heads
    assert "of-the-clients-own" in first
    assert "GET /?a=1&b=2 HTTP/1.1" in first
    for head in strict.service.heads:
        assert KEY not in head
        assert "proxy-authorization" not in head.lower()


def test_the_api_behind_a_tunnel_asks_for_no_second_key(strict: Place) -> None:
    there = f"127.0.0.1:{strict.upstream.port}"
    inner = post("/v1/messages", {}, there)
    assert talk(strict.local, connect(there, {}), inner).status == 407
    assert not strict.upstream.calls
    assert talk(strict.local, connect(there, proxy_authorization(KEY)), inner).status == 200
    assert keys_of(strict.upstream.calls) == [key_of("one")]


def test_a_refused_tunnel_may_be_asked_for_again_on_the_same_connection(strict: Place) -> None:
    there = f"127.0.0.1:{strict.service.port}"
    connection = raw.RawConnection(strict.proxy.url)
    try:
        connection.send_bytes(connect(there, {}))
        assert connection.read().status == 407
        connection.send_bytes(connect(there, proxy_authorization(KEY)))
        assert connection.read("HEAD").status == 200
        connection.send_bytes(get("/", {}))
        assert connection.read().status == 200
    finally:
        connection.close()


def test_a_page_of_this_machine_gets_leave_without_a_key_and_nothing_more(strict: Place) -> None:
    origin = {"origin": "http://localhost:3000"}
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    answer = raw.request("OPTIONS", f"{strict.proxy.url}/v1/messages", None, asked)
    assert answer.status == 204
    answer = ask(strict.proxy.url, "anthropic", "m", headers={"x-no-key": "", **origin})
    assert answer.status == 401
    assert answer.header("access-control-allow-origin") == origin["origin"]
    assert not strict.upstream.calls
    assert ask(strict.proxy.url, "anthropic", "m", headers={"x-api-key": KEY, **origin}).status == 200


def test_nobody_is_let_in_where_everybody_needs_a_key_and_there_is_none(tmp_path: Path, server: Upstream) -> None:
    with Proxy(tmp_path, _config(server) + "[clients]\nloopback_only = false\n") as proxy:
        proxy.wait_for_log("nobody is let in")
        assert raw.request("GET", f"{proxy.url}/health").status == 403
        assert ask(server.url, "anthropic", "m", proxy=proxy.url).status == 403
    assert not server.calls


def test_this_machine_is_passed_on_as_ever(plain: Place) -> None:
    there = f"127.0.0.1:{plain.service.port}"
    basic = {"proxy-authorization": "Basic dXNlcjpwYXNz"}
    assert talk(plain.local, get(f"http://{there}/", basic)).data == b"for this machine"
    assert talk(plain.local, connect(f"localhost:{plain.service.port}", {}), get("/", {})).data == b"for this machine"
    # What is no key of ours may be another proxy's.
    assert "dXNlcjpwYXNz" in plain.service.heads[0]


@pytest.mark.parametrize(
    "spelling", ["127.0.0.1", "127.1", "0", "2130706433", "0x7f000001", "LOCALHOST", "[::ffff:7f00:1]"]
)
def test_the_proxy_knows_itself_in_every_spelling(plain: Place, spelling: str) -> None:
    there = f"{spelling}:{plain.proxy.port}"
    assert talk(plain.local, get(f"http://{there}/health", {}, there)).status == 200
    # But it makes no tunnel to itself.
    assert talk(plain.local, connect(there, {})).status == 508


def test_an_upstream_that_is_the_proxy_itself_ends_in_an_error(tmp_path: Path) -> None:
    port = free_port()
    config = account("one", "anthropic") + upstream("anthropic", "anthropic", f"http://127.0.0.2:{port}")
    args = [f"--mode=regular@0.0.0.0:{port}"]
    with Proxy(tmp_path, config + "[retry]\nmax_attempts = 1\n", args=args) as proxy:
        answer = ask(f"http://127.0.0.1:{port}", "anthropic", "m", stream=False)
        assert answer.status >= 500
        assert b"goes in circles" in answer.body
        assert proxy.health()["exchanges"] == 2


@pytest.fixture(scope="module")
def own_host() -> str:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address that a client on a network would have")
    return address


def test_a_name_that_changes_its_mind_leads_nowhere(
    tmp_path: Path, server: Upstream, local_service: Service, own_host: str
) -> None:
    # Looked up when it is judged, and again when the connection is made: only then does it lead to loopback.
    names = {"flip.example": ["192.0.2.77", "192.0.2.77", "127.0.0.1"]}
    config = _config(server) + f'[clients]\nkeys = ["{KEY}"]\n'
    args = leading(tmp_path / "names.py", names)
    with Proxy(tmp_path, config, options={"listen_host": "0.0.0.0"}, args=args) as proxy:
        message = get(f"http://flip.example:{local_service.port}/", proxy_authorization(KEY))
        assert talk((own_host, proxy.port), message).status == 502
        proxy.wait_for_log("A connection was closed: 127.0.0.1 is a loopback address")
    assert not local_service.heads


def test_without_accounts_others_are_refused_too(tmp_path: Path, local_service: Service, own_host: str) -> None:
    with Proxy(tmp_path, None, options={"listen_host": "0.0.0.0"}) as proxy:
        there = f"127.0.0.1:{local_service.port}"
        for message in (get("/health", {}, own_host), get(f"http://{there}/", {}), connect(there, {})):
            assert talk((own_host, proxy.port), message).status == 403
        assert not local_service.heads
        assert talk(("127.0.0.1", proxy.port), get(f"http://{there}/", {})).status == 200
