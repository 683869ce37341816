"""`--mode upstream:` to a proxy that is strict about the form of requests and wants a credential of its own."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, body, empty, read_json, read_stream, stream, target
from tests.support import raw
from tests.support.forward_proxy import ForwardProxy
from tests.upstream import Reply, Upstream, anthropic_json, gemini_json

USER = "a-gateway:its-pass-word"


@dataclass(frozen=True)
class Behind:
    """A proxy behind another one. `gemini` is reached without TLS, `anthropic` with it."""

    proxy: Proxy
    forward: ForwardProxy
    servers: dict[str, Upstream]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("behind")
    with Upstream(tls=True, http2=True) as tls, Upstream() as plain, ForwardProxy(USER) as forward:
        config = "[retry]\nspare_retries = 1000000\n"
        for dialect, server in (("anthropic", tls), ("gemini", plain)):
            config += "".join(account(f"{dialect}-{number}", dialect, priority=number) for number in range(3))
            config += upstream(dialect, dialect, server.url)
        options = {"ssl_verify_upstream_trusted_ca": str(tls.ca_file), "upstream_auth": USER}
        with Proxy(folder, config, options=options, args=["--mode", f"upstream:{forward.url}"]) as proxy:
            yield Behind(proxy, forward, {"anthropic": tls, "gemini": plain})


@pytest.fixture
def behind(shared: Behind) -> Behind:
    for server in shared.servers.values():
        server.reset()
    shared.forward.heads.clear()
    shared.forward.inside.clear()
    return shared


def requests(behind: Behind) -> set[bytes]:
    """The first words of what the other proxy got."""
    return {head.split(b" HTTP/")[0] for head in behind.forward.heads}


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
@pytest.mark.parametrize("way", ["base URL", "absolute URL"])
def test_attempts_reach_their_upstream_in_the_form_that_a_proxy_wants(behind: Behind, dialect: str, way: str) -> None:
    server = behind.servers[dialect]
    whole = anthropic_json("Whole") if dialect == "anthropic" else gemini_json("Whole")
    server.play(empty(dialect), stream(dialect, "Healed"), whole)
    trust = ssl.create_default_context(cafile=behind.proxy.ca_file)
    base, proxy = (behind.proxy.url, None) if way == "base URL" else (server.url, behind.proxy.url)
    assert read_stream(dialect, ask(base, dialect, "m", proxy=proxy, context=trust).body) == "Healed"
    answer = ask(base, dialect, "m", stream=False, proxy=proxy, context=trust)
    assert read_json(dialect, answer.body) == "Whole"
    assert len(server.calls) == 3
    assert not any("proxy-authorization" in call.headers for call in server.calls)
    if dialect == "anthropic":
        assert requests(behind) == {f"CONNECT 127.0.0.1:{server.port}".encode()}
    else:
        # A whole answer is asked for as a stream.
        assert requests(behind) == {f"POST {server.url}{target('gemini', 'm')}".encode()}


def test_a_client_of_http2_reaches_an_upstream_without_tls(behind: Behind) -> None:
    server = behind.servers["gemini"]
    server.play(empty("gemini"), stream("gemini", "Healed"), Reply(body=b"{}"))
    ca = behind.proxy.ca_file
    with H2Client(behind.proxy.url.replace("http:", "https:"), proxy=None, ca=ca) as client:
        data = client.whole(client.post(target("gemini", "m"), body("gemini", "m")))
        assert read_stream("gemini", data) == "Healed"
        assert client.whole(client.post("/v1beta/cachedContents", {})) == b"{}"
    assert requests(behind) == {
        f"POST {server.url}{path}".encode() for path in (target("gemini", "m"), "/v1beta/cachedContents")
    }
    assert all(call.headers["host"] == f"127.0.0.1:{server.port}" for call in server.calls)


@pytest.mark.parametrize("way", ["base URL", "absolute URL"])
def test_what_passes_reaches_an_upstream_without_tls(behind: Behind, way: str) -> None:
    server = behind.servers["gemini"]
    server.play(Reply(body=b"{}"))
    base, proxy = (behind.proxy.url, None) if way == "base URL" else (server.url, behind.proxy.url)
    url = f"{base}/v1beta/cachedContents"
    answer = raw.request("POST", url, {}, {"x-goog-api-key": "mine"}, proxy=proxy)
    assert (answer.status, answer.body) == (200, b"{}")
    assert requests(behind) == {f"POST {server.url}/v1beta/cachedContents".encode()}
    [call] = server.calls
    assert call.credential == f"x-goog-api-key:{key_of('gemini-0')}"


def test_the_other_proxys_credential_does_not_pass_into_a_tunnel(behind: Behind) -> None:
    server = behind.servers["anthropic"]
    server.play(Reply(body=b"{}"))
    url = f"{behind.proxy.url}/v1/messages/batches"
    answer = raw.request("POST", url, {}, {"anthropic-version": "2026-10-21"})
    assert (answer.status, answer.body) == (200, b"{}")
    [call] = server.calls
    assert "proxy-authorization" not in call.headers


def test_a_request_that_is_for_somebody_else_reaches_it_as_before(behind: Behind) -> None:
    with Upstream() as other:
        other.play(Reply(body=b"page"))
        answer = raw.request("GET", f"{other.url}/page", proxy=behind.proxy.url)
        assert (answer.status, answer.body) == (200, b"page")
        assert requests(behind) == {f"GET {other.url}/page".encode()}
