"""From another machine nobody reaches a key or a service of the proxy's machine; with a client key, the API only."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attack.network import Elsewhere, elsewhere
from tests.attack.services import Service, service
from tests.attack.ways_in import (
    Outcome,
    Ports,
    Way,
    connect,
    get,
    post,
    proxy_authorization,
    talk,
    to_api,
    to_services,
)
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import free_port, keys_of
from tests.upstream import Upstream

KEY = "gateway-key-0x52"
SECRET = "what only this machine may read"
PUBLIC = "what anybody may read"

_API, _SERVICES = to_api(), to_services()


@dataclass(frozen=True)
class Arena:
    """A proxy that listens to another machine, an upstream whose key it has, and services."""

    there: Elsewhere
    proxy: Proxy
    upstream: Upstream
    secrets: tuple[Service, ...]
    public: Service
    at: Ports

    def try_way(self, way: Way, headers: dict[str, str]) -> Outcome:
        """Go a way from the other machine."""
        self.upstream.reset()
        for one in (*self.secrets, self.public):
            one.heads.clear()
        return self.there.run(lambda: way(self.at, headers))

    def say(self, *messages: bytes) -> Outcome:
        """Say these to the regular proxy from the other machine."""
        return self.try_way(lambda at, _: talk((at.here, at.regular), *messages), {})

    def assert_nothing_reached(self, outcome: Outcome) -> None:
        """Neither the upstream, nor a service; and nothing was told of the accounts."""
        assert not self.upstream.calls
        assert not [one.heads for one in self.secrets if one.heads]
        assert SECRET.encode() not in outcome.data
        assert b"uptime_seconds" not in outcome.data
        assert outcome.status not in range(200, 300)


@pytest.fixture(scope="module")
def there() -> Iterator[Elsewhere]:
    with elsewhere() as found:
        yield found


@pytest.fixture(scope="module")
def keyless(there: Elsewhere, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with ExitStack() as stack:
        yield _arena(stack, there, [], tmp_path_factory.mktemp("keyless"))


@pytest.fixture(scope="module")
def keyed(there: Elsewhere, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with ExitStack() as stack:
        yield _arena(stack, there, [KEY], tmp_path_factory.mktemp("keyed"))


@pytest.fixture(params=["keyless", "keyed"])
def arena(request: pytest.FixtureRequest) -> Arena:
    found: Arena = request.getfixturevalue(request.param)
    return found


def _arena(stack: ExitStack, there: Elsewhere, keys: list[str], folder: Path) -> Arena:
    server = stack.enter_context(Upstream())
    secrets = [stack.enter_context(service(host, SECRET)) for host in ("127.0.0.1", there.link_local, "127.0.0.1")]
    public = there.run(lambda: stack.enter_context(service(there.there, PUBLIC)))
    at = Ports(
        here=there.here,
        link_local=there.link_local,
        regular=free_port(),
        socks=free_port(),
        reverse=free_port(),
        reverse_tcp=free_port(),
        upstream_mode=free_port(),
        dns=free_port(),
        upstream=server.port,
        secret=secrets[0].port,
        link_local_secret=secrets[1].port,
    )
    modes = {
        "regular": at.regular,
        "socks5": at.socks,
        f"reverse:{server.url}": at.reverse,
        f"reverse:tcp://127.0.0.1:{secrets[0].port}": at.reverse_tcp,
        f"upstream:http://127.0.0.1:{secrets[2].port}": at.upstream_mode,
        "dns": at.dns,
    }
    args = [f"--mode={mode}@0.0.0.0:{port}" for mode, port in modes.items()]
    config = account("one", "anthropic") + upstream("anthropic", "anthropic", server.url)
    config += f"[clients]\nkeys = {keys}\n"
    proxy = stack.enter_context(Proxy(folder, config, args=args))
    proxy.wait_for_log("listening at", len(modes))
    return Arena(there, proxy, server, tuple(secrets), public, at)


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", _API)
@pytest.mark.parametrize("key", ["", "wrong"])
def test_no_way_leads_to_an_accounts_key(arena: Arena, way: str, key: str) -> None:
    outcome = arena.try_way(_API[way], {**proxy_authorization(key), "x-api-key": key} if key else {})
    arena.assert_nothing_reached(outcome)


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", _SERVICES)
def test_no_way_leads_to_a_service_of_the_proxys_machine(arena: Arena, way: str) -> None:
    arena.assert_nothing_reached(arena.try_way(_SERVICES[way], {}))


def test_nothing_else_is_passed_on_either(arena: Arena) -> None:
    place = f"{arena.public.host}:{arena.public.port}"
    for messages in ([get(f"http://{place}/", {})], [connect(place, {}), get("/", {}, place)]):
        outcome = arena.say(*messages)
        assert outcome.status in (403, 407)
        assert not arena.public.heads


@pytest.mark.parametrize("way", _SERVICES)
def test_a_client_key_does_not_lead_to_a_service_of_the_proxys_machine(keyed: Arena, way: str) -> None:
    if way == "raw reverse mode":
        # No request is seen in it that could show a key.
        keyed.assert_nothing_reached(keyed.try_way(_SERVICES[way], {"x-api-key": KEY}))
        return
    keyed.assert_nothing_reached(keyed.try_way(_SERVICES[way], proxy_authorization(KEY)))


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_client_key_leads_to_the_api(keyed: Arena, scheme: str) -> None:
    outcome = keyed.try_way(_API["post"], proxy_authorization(KEY, scheme))
    assert outcome.status == 200
    assert keys_of(keyed.upstream.calls) == [key_of("one")]


def test_a_client_key_leads_to_the_rest_of_the_network_and_stays_here(keyed: Arena) -> None:
    place = f"{keyed.public.host}:{keyed.public.port}"
    for key in (proxy_authorization(KEY), proxy_authorization(KEY, "Basic"), {"x-api-key": KEY}):
        for messages in ([get(f"http://{place}/", key)], [connect(place, key), get("/", {}, place)]):
            outcome = keyed.say(*messages)
            assert (outcome.status, outcome.data) == (200, PUBLIC.encode())
            [head] = keyed.public.heads
            assert KEY not in head
            assert "proxy-authorization" not in head.lower()


def test_a_client_key_leads_to_all_of_what_a_reverse_proxy_stands_for(keyed: Arena) -> None:
    key = proxy_authorization(KEY)
    outcome = keyed.try_way(lambda at, _: talk((at.here, at.reverse), get("/other", key)), {})
    assert [call.path for call in keyed.upstream.calls] == ["/other"]
    assert outcome.status == 404
    outcome = keyed.try_way(lambda at, _: talk((at.here, at.reverse), get("/other", {})), {})
    assert outcome.status == 401
    assert not keyed.upstream.calls


def test_each_request_on_a_connection_shows_its_own_key(keyed: Arena) -> None:
    place = f"http://{keyed.public.host}:{keyed.public.port}/"
    messages = [get(place, proxy_authorization(KEY)), get(place, {})]
    outcome = keyed.say(*messages)
    assert outcome.status == 407
    assert len(keyed.public.heads) == 1


def test_a_tunnel_that_was_let_in_carries_requests_that_show_no_key(keyed: Arena) -> None:
    place = f"{keyed.public.host}:{keyed.public.port}"
    messages = [connect(place, proxy_authorization(KEY)), get("/", {}, place), get("/", {}, place)]
    outcome = keyed.say(*messages)
    assert outcome.status == 200
    assert len(keyed.public.heads) == 2


def test_this_machines_clients_need_no_key(keyed: Arena) -> None:
    keyed.upstream.reset()
    local = ("127.0.0.1", keyed.at.regular)
    assert talk(local, post("/v1/messages", {}, f"127.0.0.1:{keyed.at.regular}")).status == 200
    assert talk(local, get(f"http://127.0.0.1:{keyed.at.secret}/", {})).data == SECRET.encode()
    assert talk(local, connect(f"127.0.0.1:{keyed.at.secret}", {}), get("/", {})).data == SECRET.encode()
