"""Every way through mitmproxy, with everything that comes back, beside what else mitmproxy is asked to do.

What passes and what upstream refuses comes as through plain mitmproxy, to the byte; what fails is healed.
"""

import base64
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import (
    CLIENT_KEY,
    body,
    empty,
    free_port,
    keys_of,
    read_json,
    read_stream,
    saved_flows,
    stream,
    target,
)
from tests.support import raw
from tests.support.forward_proxy import ForwardProxy
from tests.upstream import Reply, Upstream, anthropic_error, anthropic_json

USER = "someone:a-pass-word-4711"
BASIC = "Basic " + base64.b64encode(USER.encode()).decode()
FILE = bytes(range(256)) * 4096
ADDONS = Path(__file__).with_name("matrix_addons.py")
KEYS = {"plain": [key_of("plain-0"), key_of("plain-1")], "tls": [key_of("tls-0"), key_of("tls-1")]}
HEADERS = {"x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01"}

OPTIONS: dict[str, tuple[list[str], dict[str, str]]] = {
    "plain": ([], {}),
    "proxyauth": (["--proxyauth", USER], {}),
    "streaming addon": (["-s", str(ADDONS)], {"MATRIX": "streams"}),
    "saving with a filter": (["-w", "saved.flow", "~c 200"], {}),
    "intercepting": (["-s", str(ADDONS)], {"MATRIX": "intercepts"}),
}
WAYS = ("base URL", "absolute URL", "HTTPS_PROXY", "reverse", "upstream", "SOCKS")


@dataclass
class Site:
    """A proxy that listens in every mode, with one of the options."""

    proxy: Proxy
    option: str
    servers: dict[str, Upstream]
    ports: dict[str, int]

    @property
    def guarded(self) -> bool:
        return self.option == "proxyauth"

    def url(self, mode: str) -> str:
        return f"http://{f'{USER}@' if self.guarded else ''}127.0.0.1:{self.ports[mode]}"

    def name(self, way: str) -> str:
        """The upstream that this way leads to."""
        return "tls" if way == "HTTPS_PROXY" else "plain"

    def server(self, way: str) -> Upstream:
        return self.servers[self.name(way)]

    def ask(self, way: str, method: str, path: str, sent: object = None) -> raw.RawResponse:
        """Ask for a path of the API in one of the ways, as its clients do."""
        headers = dict(HEADERS)
        content = sent if isinstance(sent, dict) else None
        server = self.server(way)
        if way in ("absolute URL", "HTTPS_PROXY"):
            trust = ssl.create_default_context(cafile=self.proxy.ca_file)
            proxied = self.url("regular")
            return raw.request(method, server.url + path, content, headers, proxy=proxied, context=trust)
        if way == "SOCKS":
            return self._over_socks(server, method, path, content, headers)
        if self.guarded:
            # In reverse mode the proxy is the server itself, for whom a client has `authorization`.
            headers["authorization" if way == "reverse" else "proxy-authorization"] = BASIC
        mode = {"base URL": "regular", "reverse": "reverse", "upstream": "upstream"}[way]
        return raw.request(method, f"http://127.0.0.1:{self.ports[mode]}{path}", content, headers)

    def _over_socks(
        self, server: Upstream, method: str, path: str, content: dict[str, object] | None, headers: dict[str, str]
    ) -> raw.RawResponse:
        connection = raw.RawConnection(f"http://127.0.0.1:{self.ports['socks5']}")
        sock = connection.socket
        sock.sendall(b"\x05\x01" + (b"\x02" if self.guarded else b"\x00"))
        assert sock.recv(2)[:1] == b"\x05"
        if self.guarded:
            user, _, password = USER.encode().partition(b":")
            sock.sendall(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
            assert sock.recv(2) == b"\x01\x00"
        sock.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + server.port.to_bytes(2, "big"))
        assert sock.recv(10)[:2] == b"\x05\x00"
        connection.send(method, server.url + path, content, headers)
        try:
            return connection.read(method)
        finally:
            connection.close()


@pytest.fixture(scope="module", params=list(OPTIONS))
def shared_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    option = str(request.param)
    args, env = OPTIONS[option]
    folder = tmp_path_factory.mktemp("matrix")
    with Upstream() as plain, Upstream(tls=True) as tls, ForwardProxy() as forward:
        config = "[retry]\nspare_retries = 1000000\n"
        for name, server in (("plain", plain), ("tls", tls)):
            config += "".join(
                account(f"{name}-{number}", name, priority=number, models=[f"of-{name}"]) for number in range(2)
            )
            config += upstream(name, "anthropic", server.url)
        # A base URL leads to the built-in name.
        config = config.replace('"plain"', '"anthropic"').replace("[upstreams.plain]", "[upstreams.anthropic]")
        ports = {mode: free_port() for mode in ("regular", "reverse", "upstream", "socks5")}
        modes = [
            f"regular@{ports['regular']}",
            f"reverse:{plain.url}@{ports['reverse']}",
            f"upstream:{forward.url}@{ports['upstream']}",
            f"socks5@{ports['socks5']}",
        ]
        options = {"ssl_verify_upstream_trusted_ca": str(tls.ca_file)}
        every = [word for mode in modes for word in ("--mode", mode)]
        with Proxy(folder, config, options=options, args=[*every, *args], env=env) as proxy:
            proxy.wait_for_log("listening at", len(modes))
            yield Site(proxy, option, {"plain": plain, "tls": tls}, ports)
        if option == "saving with a filter":
            saved = saved_flows(folder / "saved.flow")
            assert saved
            assert {flow.response.status_code for flow in saved if flow.response is not None} == {200}


@pytest.fixture
def site(shared_site: Site) -> Site:
    for server in shared_site.servers.values():
        server.reset()
    return shared_site


def healed_stream(site: Site, way: str) -> None:
    server = site.server(way)
    server.play(empty("anthropic"), stream("anthropic", "Healed"))
    response = site.ask(way, "POST", target("anthropic", "m"), body("anthropic", f"of-{site.name(way)}"))
    assert read_stream("anthropic", response.body) == "Healed"
    assert (response.header("x-healing-outcome"), response.header("x-healing-attempts")) == ("healed", "2")
    assert sorted(keys_of(server.calls)) == KEYS[site.name(way)]


def whole_answer(site: Site, way: str) -> None:
    server = site.server(way)
    server.play(anthropic_json("Whole"))
    response = site.ask(way, "POST", target("anthropic", "m"), body("anthropic", f"of-{site.name(way)}", stream=False))
    assert read_json("anthropic", response.body) == "Whole"
    assert response.ended == "complete"
    assert len(server.calls) == 1


def error(site: Site, way: str) -> None:
    refusal = anthropic_error(400, "invalid_request_error", "max_tokens: must be a number")
    server = site.server(way)
    server.play(refusal)
    response = site.ask(way, "POST", target("anthropic", "m"), body("anthropic", f"of-{site.name(way)}"))
    assert (response.status, response.body, response.ended) == (400, refusal.body, "complete")
    assert len(server.calls) == 1


def file_that_passes(site: Site, way: str) -> None:
    server = site.server(way)
    server.play(Reply(headers={"content-type": "application/octet-stream"}, body=FILE))
    response = site.ask(way, "GET", "/v1/files/file_011/content")
    assert (response.status, response.body, response.ended) == (200, FILE, "complete")
    assert keys_of(server.calls) == KEYS[site.name(way)][:1]


@pytest.mark.parametrize("what", [healed_stream, whole_answer, error, file_that_passes])
@pytest.mark.parametrize("way", WAYS)
def test_whatever_else_mitmproxy_does_each_way_brings_each_answer(
    site: Site, way: str, what: Callable[[Site, str], None]
) -> None:
    what(site, way)
    assert "Traceback" not in site.proxy.log
