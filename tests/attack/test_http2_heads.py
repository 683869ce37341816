"""Paths that no request may have, over HTTP/2, where a space or a control character ends no line."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pytest

from tests.attack.heads import carries
from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.upstream import Upstream

BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


@dataclass(frozen=True)
class Place:
    """A proxy in front of an upstream that speaks HTTP/2."""

    proxy: Proxy
    server: Upstream

    def ask(self, path: str) -> tuple[int, bytes]:
        """Send a request behind CONNECT, as if to the upstream, and give status and body."""
        self.server.reset()
        with H2Client(self.server.url, proxy=self.proxy.url, ca=self.proxy.ca_file) as client:
            stream = client.post(path, BODY)
            client.read_until(lambda: stream in client.ended | client.reset)
            return int(client.heads.get(stream, {}).get(":status", 0)), client.body[stream]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream(tls=True, http2=True) as server:
        config = account("a", "anthropic") + upstream("anthropic", "anthropic", server.url)
        options = {"ssl_verify_upstream_trusted_ca": str(server.ca_file)}
        with Proxy(tmp_path_factory.mktemp("h2"), config, options=options) as proxy:
            yield Place(proxy, server)


@pytest.mark.parametrize(
    "path",
    ["/v1/mess ages", "/v1/messages HTTP/1.1", "/v1/files/a\x0bb", "/v1/files/ü", "/v1/files/a\x7f", "/v1/../../x",
     "/v1//messages", "/v1/%6dessages", "/v1/files/..%2f..%2fx", "*"],
)  # fmt: skip
def test_a_path_that_is_none_is_refused(place: Place, path: str) -> None:
    status, body = place.ask(path)
    # What is no HTTP/2 at all resets the stream.
    assert status in (0, 400)
    assert not status or orjson.loads(body)["error"]["message"]
    assert place.server.calls == []


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages?beta=true", "/v1/files/a%20b"])
def test_other_paths_go_up_with_the_key(place: Place, path: str) -> None:
    place.ask(path)
    [call] = place.server.calls
    assert carries(key_of("a"))(call)
    assert call.path + (f"?{call.query}" if call.query else "") == path
