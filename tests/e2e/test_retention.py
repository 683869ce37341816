"""What is over is let go, although clocks that were set for it would still run."""

from collections.abc import Iterator

import pytest

from tests.attack.measure import Peak
from tests.e2e.harness import Proxy, account, upstream
from tests.support.raw import RawConnection
from tests.upstream import Upstream, anthropic_json

REQUESTS = 48
BODY_MB = 1


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with Upstream() as server:
        server.default = anthropic_json("Well.")
        config = account("a", "up") + upstream("up", "anthropic", server.url) + "[retry]\nupgrade = false\n"
        with Proxy(tmp_path_factory.mktemp("retention"), config) as proxy:
            yield proxy


def test_requests_that_are_over_take_no_memory(proxy: Proxy) -> None:
    connection = RawConnection(proxy.url, timeout=60)
    text = "x" * BODY_MB * 2**20
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}

    def ask() -> int:
        connection.send("POST", f"{proxy.url}/v1/messages", body)
        return connection.read("POST").status

    assert ask() == 200
    peak = Peak(proxy.pid)
    assert [ask() for _ in range(REQUESTS)] == [200] * REQUESTS
    connection.close()
    assert peak.grown_mb < REQUESTS * BODY_MB
