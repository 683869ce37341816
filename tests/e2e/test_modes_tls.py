"""The ways in through TLS, and HTTP/2 on either side."""

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import httpx2
import pytest

from tests.e2e.harness import Proxy, key_of, upstream
from tests.e2e.test_modes_helpers import (
    CLIENT_KEY,
    DIALECTS,
    ask,
    body,
    credential,
    empty,
    free_port,
    keys_of,
    pairs_of_accounts,
    read_stream,
    stream,
    target,
    wait_for_modes,
)
from tests.support.sdk import anthropic_client, gemini_client
from tests.upstream import Upstream

LANES = 20
_numbers = count()

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@dataclass(frozen=True)
class Tls:
    """A proxy and upstreams behind TLS. `plain` speaks HTTP/1.1 only, `h2` both, `unknown` is not configured."""

    proxy: Proxy
    plain: Upstream
    h2: Upstream
    unknown: Upstream
    reverse: str
    """The base URL of the reverse proxy to `h2`."""

    number: int = -1
    """The test's own: see `pairs_of_accounts`."""

    @property
    def model(self) -> str:
        return f"lane{self.number}-x"

    @property
    def trust(self) -> ssl.SSLContext:
        """Trusts the proxy's own CA and nothing else: who is not intercepted fails."""
        return ssl.create_default_context(cafile=self.proxy.ca_file)

    def keys(self, upstream_name: str) -> list[str]:
        """Those of the test's two accounts."""
        return [key_of(f"{upstream_name}-{self.number}-{place}") for place in ("first", "second")]

    def upstream_of(self, dialect: str) -> Upstream:
        return self.plain if dialect == "anthropic" else self.h2


@pytest.fixture(scope="module")
def shared_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("tls")
    with Upstream(tls=True) as plain, Upstream(tls=True, http2=True) as h2, Upstream(tls=True, http2=True) as unknown:
        trusted = folder / "trusted.pem"
        trusted.write_text("".join(server.ca_file.read_text() for server in (plain, h2, unknown)))
        config = "".join(pairs_of_accounts(dialect, LANES) for dialect in DIALECTS)
        config += upstream("anthropic", "anthropic", plain.url) + upstream("gemini", "gemini", h2.url)
        port = free_port()
        modes = ["--mode", "regular", "--mode", f"reverse:{h2.url}@{port}"]
        options = {"ssl_verify_upstream_trusted_ca": str(trusted)}
        with Proxy(folder, config, options=options, args=modes) as proxy:
            wait_for_modes(proxy, 2)
            yield Tls(proxy, plain, h2, unknown, f"http://127.0.0.1:{port}")


@pytest.fixture
def tls(shared_tls: Tls) -> Tls:
    for server in (shared_tls.plain, shared_tls.h2, shared_tls.unknown):
        server.reset()
    return replace(shared_tls, number=next(_numbers))


def http2_client(tls: Tls) -> httpx2.Client:
    return httpx2.Client(http2=True, http1=False, proxy=tls.proxy.url, verify=tls.trust, trust_env=False, timeout=15)


@each_dialect
def test_requests_in_an_intercepted_tunnel_are_healed(tls: Tls, dialect: str) -> None:
    server = tls.upstream_of(dialect)
    server.play(empty(dialect), stream(dialect, "Healed"))
    response = ask(server.url, dialect, tls.model, proxy=tls.proxy.url, context=tls.trust)
    assert read_stream(dialect, response.body) == "Healed"
    assert keys_of(server.calls) == tls.keys(dialect)
    assert response.header("x-healing-outcome") == "healed"
    assert response.header("x-account-email") == f"{dialect}-{tls.number}-second@accounts.example"


def test_the_anthropic_sdk_is_healed_through_https_proxy(tls: Tls) -> None:
    tls.plain.play(empty("anthropic"), stream("anthropic", "Healed"))
    ca = tls.proxy.ca_file
    with (
        anthropic_client(tls.plain.url, proxy=tls.proxy.url, verify=ca) as client,
        client.messages.stream(model=tls.model, max_tokens=16, messages=[{"role": "user", "content": "hi"}]) as events,
    ):
        assert events.get_final_message().content[0].to_dict()["text"] == "Healed"
    assert keys_of(tls.plain.calls) == tls.keys("anthropic")


def test_the_google_sdk_is_healed_through_https_proxy(tls: Tls) -> None:
    tls.h2.play(empty("gemini"), stream("gemini", "Healed"))
    client = gemini_client(tls.h2.url, proxy=tls.proxy.url, verify=tls.proxy.ca_file)
    chunks = client.models.generate_content_stream(model=tls.model, contents="hi")
    assert "".join(chunk.text or "" for chunk in chunks) == "Healed"
    assert keys_of(tls.h2.calls) == tls.keys("gemini")


@each_dialect
def test_http2_clients_are_healed(tls: Tls, dialect: str) -> None:
    server = tls.upstream_of(dialect)
    server.play(empty(dialect), stream(dialect, "Healed"))
    with http2_client(tls) as client:
        url = server.url + target(dialect, tls.model)
        response = client.post(url, json=body(dialect, tls.model), headers=credential(dialect))
    assert response.http_version == "HTTP/2"
    assert read_stream(dialect, response.content) == "Healed"
    assert response.headers["x-healing-outcome"] == "healed"
    assert keys_of(server.calls) == tls.keys(dialect)
    # What upstream speaks is agreed on with upstream, whatever the client speaks.
    assert {call.http_version for call in server.calls} == {"HTTP/1.1" if server is tls.plain else "HTTP/2"}


def test_several_exchanges_at_once_on_one_http2_connection_are_kept_apart(tls: Tls) -> None:
    count = 6
    for number in range(count):
        tls.h2.play(empty("gemini"), stream("gemini", f"Healed {number}"), key=f"n{number}")
    with http2_client(tls) as client:
        url = tls.h2.url + target("gemini", tls.model)
        # All are open before the first is read.
        requests = [
            client.build_request(
                "POST", url, json=body("gemini", tls.model, f"[plan:n{number}]"), headers=credential("gemini")
            )
            for number in range(count)
        ]
        responses = [client.send(request, stream=True) for request in requests]
        for number, response in enumerate(responses):
            assert read_stream("gemini", response.read()) == f"Healed {number}"
    assert len(tls.h2.calls) == 2 * count


@pytest.mark.parametrize("failure", ["cut", "reset", "close"])
def test_an_http2_upstream_that_breaks_is_healed(tls: Tls, failure: str) -> None:
    broken = stream("gemini").but(split=40).first(0)
    replies = {"cut": broken, "reset": broken.but(end="reset"), "close": broken.but(before="close")}
    tls.h2.play(replies[failure], stream("gemini", "Healed"))
    with http2_client(tls) as client:
        url = tls.h2.url + target("gemini", tls.model)
        response = client.post(url, json=body("gemini", tls.model), headers=credential("gemini"))
    assert read_stream("gemini", response.content) == "Healed"
    assert [call.http_version for call in tls.h2.calls] == ["HTTP/2"] * 2
    assert response.headers["x-healing-attempts"] == "2"


def test_headers_and_body_reach_an_http2_upstream_as_the_client_sent_them(tls: Tls) -> None:
    content = b'{ "contents": [{"role":"user", "parts":[{"text":"h\\u00e9 \xc3\xa9"}]}] }\n'
    with http2_client(tls) as client:
        url = tls.h2.url + target("gemini", tls.model)
        client.post(url, content=content, headers={**credential("gemini"), "x-mine": "1", "x-goog-api-client": "c/1"})
    [call] = tls.h2.calls
    assert call.body == content
    assert call.headers["x-mine"] == "1"
    assert call.headers["x-goog-api-client"] == "c/1"
    assert call.headers["host"] == f"127.0.0.1:{tls.h2.port}"


def test_reverse_mode_to_an_https_upstream_heals(tls: Tls) -> None:
    tls.h2.play(empty("gemini"), stream("gemini", "Healed"))
    response = ask(tls.reverse, "gemini", tls.model)
    assert read_stream("gemini", response.body) == "Healed"
    assert keys_of(tls.h2.calls) == tls.keys("gemini")


def test_a_tunnel_to_a_host_that_is_not_configured_is_left_alone(tls: Tls) -> None:
    tls.unknown.play(empty("anthropic"))
    response = ask(tls.unknown.url, "anthropic", tls.model, proxy=tls.proxy.url, context=tls.trust)
    [call] = tls.unknown.calls
    assert call.credentials == [f"x-api-key:{CLIENT_KEY}"]
    assert not any(name.lower().startswith(("x-healing", "x-account")) for name, _ in response.headers)


def test_an_upstream_whose_certificate_is_not_trusted_gets_no_credential(tls: Tls) -> None:
    with Upstream(tls=True) as impostor:
        response = ask(impostor.url, "anthropic", tls.model, proxy=tls.proxy.url, context=tls.trust)
        assert response.status >= 500
        assert not impostor.calls


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_stream_that_upstream_reset_is_told_as_reset_by_upstream(tls: Tls, chunks: int) -> None:
    tls.h2.play(stream("gemini", "Hello").first(chunks, "reset"))
    with http2_client(tls) as client:
        url = tls.h2.url + target("gemini", tls.model)
        with contextlib.suppress(httpx2.TransportError):  # with content, that is how it is told
            client.post(url, json=body("gemini", tls.model), headers=credential("gemini"))
    tls.proxy.wait_for_log("stream reset by upstream (INTERNAL_ERROR)", chunks + 1)
    assert "stream reset by client" not in tls.proxy.log
