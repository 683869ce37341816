"""Proxies for the tests of one file, in front of servers that say what each test wants."""

from collections.abc import Iterator

import pytest

from tests.attack.http2_server import Http2Server
from tests.attack.rude_client import Probed
from tests.attack.scripted import Scripted
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.probed import ProbedProxy
from tests.support.patience import wait_until


@pytest.fixture(scope="module")
def scripted_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Scripted]]:
    """A proxy, and the upstream of both dialects that it knows."""
    folder = tmp_path_factory.mktemp("scripted")
    with Scripted() as server:
        config = "[retry]\nspare_retries = 100000\nmax_attempts = 2\n"
        config += "".join(upstream(dialect, dialect, server.url) for dialect in ("anthropic", "gemini"))
        with Proxy(folder, config) as proxy:
            yield proxy, server


@pytest.fixture
def scripted(scripted_proxy: tuple[Proxy, Scripted]) -> Iterator[tuple[Proxy, Scripted]]:
    """The same, with an empty script; whatever a test does, nothing may go on running in the proxy."""
    proxy, server = scripted_proxy
    server.reset()
    yield proxy, server
    assert server.script.empty()
    wait_until(lambda: proxy.health()["running"] == 0)


@pytest.fixture(scope="module")
def probed_proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    """A proxy in front of an HTTP/2 server, which tells what is left in it.

    A module that has other limits than the usual ones names their table LIMITS.
    """
    folder = tmp_path_factory.mktemp("probed")
    with Http2Server(folder) as server:
        config = "[retry]\nspare_retries = 100000\nmax_attempts = 2\n" + getattr(request.module, "LIMITS", "")
        config += account("one", "anthropic") + upstream("anthropic", "anthropic", server.url)
        # Else mitmproxy collects what is no API's.
        options = {"ssl_verify_upstream_trusted_ca": str(server.ca_file), "stream_large_bodies": "50k"}
        with ProbedProxy(folder / "proxy", config, options=options) as proxy:
            yield proxy, server


@pytest.fixture
def probed(probed_proxy: Probed) -> Iterator[Probed]:
    """The same, and in the end the proof that nothing of the test is left in the proxy."""
    proxy, server = probed_proxy
    server.peers.clear()
    server.asked.clear()
    server.play = lambda asked: asked.answer("fine")
    yield proxy, server
    proxy.wait_until_clean()
