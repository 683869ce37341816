"""Who may use the proxy: it adds credentials to what it forwards."""

from collections.abc import Iterator

import orjson
import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import DIALECTS, ask, credential, keys_of, own_address, read_error, read_stream
from tests.support import raw
from tests.upstream import Upstream

KEY = "gateway-key-0x31"
EVERYWHERE = {"listen_host": "0.0.0.0"}
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def server(shared_server: Upstream) -> Upstream:
    shared_server.reset()
    return shared_server


def both_accounts(server: Upstream) -> str:
    """An account for each dialect, at this server."""
    return "".join(account(f"{dialect}-one", dialect) + upstream(dialect, dialect, server.url) for dialect in DIALECTS)


def forms(dialect: str, key: str) -> dict[str, tuple[dict[str, str], str]]:
    """The headers and the query by which a client of this dialect can show a key."""
    no_key = {"x-no-key": ""}
    return {
        "x-api-key": ({**no_key, "x-api-key": key}, ""),
        "bearer": ({**no_key, "authorization": f"Bearer {key}"}, ""),
        "x-goog-api-key": ({**no_key, "x-goog-api-key": key}, ""),
        "key": (no_key, f"key={key}"),
    }


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, shared_server: Upstream) -> Iterator[Proxy]:
    """A proxy that wants a key from everybody."""
    config = both_accounts(shared_server) + f'[clients]\nkeys = ["env:CLIENT_KEY", "{KEY}"]\nloopback_only = false\n'
    with Proxy(tmp_path_factory.mktemp("strict"), config, env={"CLIENT_KEY": "key-from-the-environment"}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory: pytest.TempPathFactory, shared_server: Upstream) -> Iterator[Proxy]:
    """A proxy that wants a key from those who come from elsewhere."""
    config = both_accounts(shared_server) + f'[clients]\nkeys = ["{KEY}"]\n'
    with Proxy(tmp_path_factory.mktemp("relaxed"), config, options=EVERYWHERE) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory, shared_server: Upstream) -> Iterator[Proxy]:
    """A proxy that listens to others, but has no keys to let them in by."""
    with Proxy(tmp_path_factory.mktemp("keyless"), both_accounts(shared_server), options=EVERYWHERE) as proxy:
        yield proxy


@each_dialect
@pytest.mark.parametrize("form", forms("", ""))
@pytest.mark.parametrize("key", [KEY, "key-from-the-environment"])
def test_a_client_key_lets_in_and_stays_here(
    server: Upstream, strict: Proxy, dialect: str, form: str, key: str
) -> None:
    headers, query = forms(dialect, key)[form]
    response = ask(strict.url, dialect, "m", headers=headers, query=query)
    assert read_stream(dialect, response.body)
    [call] = server.calls
    assert keys_of([call]) == [key_of(f"{dialect}-one")]
    assert key not in call.query + "".join(value for _, value in call.header_pairs)


@each_dialect
@pytest.mark.parametrize("form", ["none", *forms("", "")])
def test_without_a_right_key_there_is_a_401_of_the_dialect(
    server: Upstream, strict: Proxy, dialect: str, form: str
) -> None:
    headers, query = forms(dialect, f"{KEY}x").get(form, ({"x-no-key": ""}, ""))
    response = ask(strict.url, dialect, "m", headers=headers, query=query)
    assert response.status == 401
    assert "key" in read_error(dialect, response)["message"]
    assert not server.calls


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("POST", "/v1/files"), ("GET", "/v1/models")])
def test_nothing_is_served_without_a_key(server: Upstream, strict: Proxy, method: str, path: str) -> None:
    response = raw.request(method, strict.url + path, b"" if method == "POST" else None, {"anthropic-version": "1"})
    assert response.status == 401
    assert orjson.loads(response.body)["error"]["type"] == "authentication_error"
    assert not server.calls


@pytest.fixture
def own_host() -> str:
    """This machine as its network knows it: who connects to that address is no client on loopback."""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address that a client on a network would have")
    return address


@each_dialect
def test_without_keys_a_client_on_the_network_is_refused(
    server: Upstream, keyless: Proxy, dialect: str, own_host: str
) -> None:
    response = ask(f"http://{own_host}:{keyless.port}", dialect, "m")
    assert response.status == 403
    assert "clients.keys" in read_error(dialect, response)["message"]
    # Neither by naming the upstream itself.
    response = ask(server.url, dialect, "m", proxy=f"http://{own_host}:{keyless.port}")
    assert response.status == 403
    assert not server.calls


def test_it_listens_on_this_machine_only_unless_told_otherwise(lane: Lane, own_host: str) -> None:
    assert lane.proxy.health()["status"] in ("ok", "degraded")  # by other tests' accounts
    with pytest.raises(ConnectionRefusedError):
        raw.request("GET", f"http://{own_host}:{lane.proxy.port}/health")


@each_dialect
def test_a_client_on_the_network_needs_a_key_where_local_ones_do_not(
    server: Upstream, relaxed: Proxy, dialect: str, own_host: str
) -> None:
    base = f"http://{own_host}:{relaxed.port}"
    assert ask(base, dialect, "m").status == 401
    assert not server.calls
    assert read_stream(dialect, ask(base, dialect, "m", headers=credential(dialect, KEY)).body)
    assert read_stream(dialect, ask(relaxed.url, dialect, "m").body)
    assert keys_of(server.calls) == [key_of(f"{dialect}-one")] * 2


@both_dialects
@pytest.mark.parametrize("origin", ["https://page.example", "http://127.0.0.1.page.example:8080", "null"])
def test_a_web_page_of_another_host_is_refused(lane: Lane, origin: str) -> None:
    # Any page that a browser on this machine shows can reach the proxy; a sandboxed one says only "null".
    response = ask(lane.proxy.url, lane.dialect, lane.model, headers={"origin": origin})
    assert response.status == 403
    assert read_error(lane.dialect, response)["message"]
    assert not lane.calls


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:3000"])
def test_a_web_page_of_this_machine_is_served(lane: Lane, origin: str) -> None:
    response = ask(lane.proxy.url, "anthropic", lane.model, headers={"origin": origin})
    assert read_stream("anthropic", response.body)


def test_a_web_page_of_another_host_with_a_client_key_is_served(server: Upstream, strict: Proxy) -> None:
    headers = {"origin": "https://page.example", **credential("anthropic", KEY)}
    assert read_stream("anthropic", ask(strict.url, "anthropic", "m", headers=headers).body)
    assert keys_of(server.calls) == [key_of("anthropic-one")]
