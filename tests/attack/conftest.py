"""A proxy for the tests of one file, in front of a server that says what each test wants."""

from collections.abc import Iterator

import pytest

from tests.attack.scripted import Scripted, until
from tests.e2e.harness import Proxy, upstream


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
    until(lambda: proxy.health()["running"] == 0)
