"""A name that can't be resolved is named wherever that is told, an upstream proxy's too."""

import html
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import DIALECTS, ask, read_error
from tests.support import raw

SETTINGS = "[retry]\nmax_attempts = 1\nmax_wait = 0\n"
NOWHERE, NO_PROXY = "no-such-api.invalid", "no-such-proxy.invalid"
CANT = "the name {} can't be resolved"


@pytest.fixture(scope="module", params=["http", "https"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Its upstreams have names that lead nowhere."""
    url = f"{request.param}://{NOWHERE}"
    config = "".join(account(f"{dialect}-one", dialect) + upstream(dialect, dialect, url) for dialect in DIALECTS)
    with Proxy(tmp_path_factory.mktemp("proxy"), SETTINGS + config) as proxy:
        yield proxy


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_the_clients_error_and_the_finding_have_it(proxy: Proxy, dialect: str, stream: bool) -> None:
    answer = ask(proxy.url, dialect, f"m-{stream}", stream=stream)
    assert CANT.format(NOWHERE) in read_error(dialect, answer)["message"]
    proxy.wait_for_log(answer.header("x-healing-id") or "?")
    proxy.wait_for(
        lambda: any(f"FAILED {answer.header('x-healing-id')}" in line for line in proxy.lines), "the exchange's line"
    )
    [told] = [line for line in proxy.lines if f"FAILED {answer.header('x-healing-id')}" in line]
    assert CANT.format(NOWHERE) in told


def test_plain_traffic_has_it_too_and_what_can_be_resolved_is_not_called_unresolved(proxy: Proxy) -> None:
    told = raw.request("GET", "http://other.invalid/", proxy=proxy.url)
    assert CANT.format("other.invalid") in html.unescape(told.body.decode())
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    refused = raw.request("GET", f"http://localhost:{port}/", proxy=proxy.url).body
    assert b"onnect call failed" in refused
    assert b"be resolved" not in refused


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_upstream_proxy_is_named_and_not_the_api_behind_it(tmp_path: Path, scheme: str) -> None:
    config = account("one", "anthropic") + upstream("anthropic", "anthropic", f"{scheme}://127.0.0.1:9")
    args = ["--mode", f"upstream:http://{NO_PROXY}:3128"]
    with Proxy(tmp_path, SETTINGS + config, args=args) as proxy:
        answer = ask(proxy.url, "anthropic", "m")
        assert CANT.format(NO_PROXY) in read_error("anthropic", answer)["message"]
