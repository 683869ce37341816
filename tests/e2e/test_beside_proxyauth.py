"""`--proxyauth`, and which hooks of other addons see what: each acts once, on the client's request."""

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import ask, body, empty, free_port, keys_of, read_json, read_stream, stream
from tests.support import raw
from tests.support.patience import wait_until
from tests.upstream import Reply, Upstream, anthropic_json

WATCHING = Path(__file__).with_name("watching.py")
USER = "someone:a-pass-word-4711"
BASIC = "Basic " + base64.b64encode(USER.encode()).decode()
KEYS = [key_of(f"anthropic-{place}") for place in ("first", "second")]


@dataclass(frozen=True)
class Guarded:
    """A proxy that asks for a user and a password, and upstreams: `tls` speaks HTTP/2, `plain` HTTP/1."""

    proxy: Proxy
    tls: Upstream
    plain: Upstream
    socks: int
    reverse: str
    seen_file: Path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.proxy.ca_file)

    @property
    def with_user(self) -> str:
        return self.proxy.url.replace("//", f"//{USER}@")

    def seen(self, case: str, hooks: int) -> list[dict[str, Any]]:
        """What the other addon has seen of a case, of which it hears so often: last of all after the client."""
        wait_until(lambda: len(self._seen(case)) >= hooks, f"{hooks} hooks")
        return self._seen(case)

    def _seen(self, case: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.seen_file.read_text().splitlines()]
        return [line for line in lines if line["case"] == case]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    port, socks, reverse = (free_port() for _ in range(3))
    with Upstream(tls=True, http2=True) as tls, Upstream() as plain:
        config = "[retry]\nspare_retries = 1000000\n"
        for dialect, server in (("anthropic", tls), ("gemini", plain)):
            config += account(f"{dialect}-first", dialect) + account(f"{dialect}-second", dialect, priority=1)
            config += upstream(dialect, dialect, server.url)
        modes = [f"regular@{port}", f"socks5@{socks}", f"reverse:{tls.url}@{reverse}"]
        args = [word for mode in modes for word in ("--mode", mode)]
        args += ["--proxyauth", USER, "-s", str(WATCHING)]
        args += ["--modify-headers", "/~q/x-team/blue", "--modify-body", "/~q/counts-on/counts-on-and"]
        options = {"ssl_verify_upstream_trusted_ca": str(tls.ca_file)}
        env = {"SEEN": str(folder / "seen")}
        with Proxy(folder / "proxy", config, options=options, args=args, env=env) as proxy:
            proxy.wait_for_log("listening at", len(modes))
            proxy.port = port
            yield Guarded(proxy, tls, plain, socks, f"http://127.0.0.1:{reverse}", folder / "seen")


@pytest.fixture
def guarded(shared: Guarded) -> Guarded:
    for server in (shared.tls, shared.plain):
        server.reset()
    return shared


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_who_shows_user_and_password_at_the_base_url_is_healed(guarded: Guarded, dialect: str) -> None:
    server = guarded.tls if dialect == "anthropic" else guarded.plain
    server.play(empty(dialect), stream(dialect, "Healed"))
    response = ask(guarded.proxy.url, dialect, "m", headers={"proxy-authorization": BASIC})
    assert read_stream(dialect, response.body) == "Healed"
    assert keys_of(server.calls) == [key_of(f"{dialect}-{place}") for place in ("first", "second")]
    assert all("proxy-authorization" not in call.headers for call in server.calls)


@pytest.mark.parametrize("shown", [None, "Basic c29tZW9uZTp3cm9uZw=="])
@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_who_shows_no_or_another_password_is_told_so_in_the_dialect(
    guarded: Guarded, dialect: str, shown: str | None
) -> None:
    response = ask(guarded.proxy.url, dialect, "m", headers={"proxy-authorization": shown} if shown else {})
    assert response.status == 407
    assert "proxyauth" in response.json()["error"]["message"]
    assert response.header("proxy-authenticate") == 'Basic realm="mitmproxy"'
    assert not guarded.tls.calls + guarded.plain.calls


def test_the_proxys_own_pages_ask_for_the_password_too(guarded: Guarded) -> None:
    assert raw.request("GET", f"{guarded.proxy.url}/health").status == 407
    assert raw.request("GET", f"{guarded.proxy.url}/health", b"{}").status == 407
    answer = raw.request("GET", f"{guarded.proxy.url}/health", headers={"proxy-authorization": BASIC})
    assert answer.json()["status"] == "ok"


def test_a_browser_can_show_the_password_for_a_page_as_at_any_server(guarded: Guarded) -> None:
    page = f"{guarded.proxy.url}/antigravity/health"
    answer = raw.request("GET", page)
    assert (answer.status, answer.header("www-authenticate")) == (401, 'Basic realm="mitmproxy"')
    assert raw.request("GET", page, headers={"authorization": "Basic c29tZW9uZTp3cm9uZw=="}).status == 401
    for name in ("authorization", "proxy-authorization"):
        assert raw.request("GET", page, headers={name: BASIC}).json()["status"] == "ok"


def test_one_request_with_a_password_does_not_let_the_next_in(guarded: Guarded) -> None:
    connection = raw.RawConnection(guarded.proxy.url)
    statuses = []
    for shown in ({"proxy-authorization": BASIC}, {}):
        connection.send("GET", f"{guarded.proxy.url}/v1/models", None, {"anthropic-version": "1", **shown})
        statuses.append(connection.read().status)
    connection.close()
    assert statuses == [200, 407]


def test_a_tunnel_that_was_let_in_is_healed_with_http1(guarded: Guarded) -> None:
    guarded.tls.play(empty("anthropic"), stream("anthropic", "Healed"))
    headers = {"x-case": "tunnel"}
    response = ask(guarded.tls.url, "anthropic", "m", headers=headers, proxy=guarded.with_user, context=guarded.trust)
    assert read_stream("anthropic", response.body) == "Healed"
    assert keys_of(guarded.tls.calls) == KEYS
    seen = guarded.seen("tunnel", 8)
    assert {line["role"] for line in seen} >= {"exchange", "attempt"}
    assert len({line["client"] for line in seen}) == 1
    assert [line["proxyauth"] for line in seen] == [USER.split(":")] * len(seen)


def test_a_tunnel_that_was_let_in_is_healed_with_http2(guarded: Guarded) -> None:
    guarded.tls.play(empty("anthropic"), stream("anthropic", "Healed"))
    ca = guarded.proxy.ca_file
    with H2Client(guarded.tls.url, proxy=guarded.with_user, ca=ca) as client:
        data = client.whole(client.post("/v1/messages", body("anthropic", "m")))
    assert read_stream("anthropic", data) == "Healed"
    assert [call.http_version for call in guarded.tls.calls] == ["HTTP/2", "HTTP/2"]


def test_an_absolute_url_is_healed(guarded: Guarded) -> None:
    guarded.plain.play(empty("gemini"), stream("gemini", "Healed"))
    response = ask(guarded.plain.url, "gemini", "m", proxy=guarded.with_user)
    assert read_stream("gemini", response.body) == "Healed"
    assert ask(guarded.plain.url, "gemini", "m", proxy=guarded.proxy.url).status == 407


def test_socks5_is_healed(guarded: Guarded) -> None:
    guarded.plain.play(empty("gemini"), stream("gemini", "Healed"))
    connection = raw.RawConnection(f"http://127.0.0.1:{guarded.socks}")
    greet(connection.socket, guarded.plain.port)
    url = f"{guarded.plain.url}/v1beta/models/m:streamGenerateContent?alt=sse"
    connection.send("POST", url, body("gemini", "m"))
    assert read_stream("gemini", connection.read("POST").body) == "Healed"
    connection.close()


def greet(sock: socket.socket, port: int) -> None:
    """Ask a SOCKS5 proxy for a connection to this port of 127.0.0.1."""
    user, _, password = USER.encode().partition(b":")
    sock.sendall(b"\x05\x01\x02")
    assert sock.recv(2) == b"\x05\x02"
    sock.sendall(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
    assert sock.recv(2) == b"\x01\x00"
    sock.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
    assert sock.recv(10)[:2] == b"\x05\x00"


def test_reverse_mode_takes_the_password_from_authorization_and_sends_it_nowhere(guarded: Guarded) -> None:
    guarded.tls.play(empty("anthropic"), stream("anthropic", "Healed"))
    response = ask(guarded.reverse, "anthropic", "m", headers={"authorization": BASIC})
    assert read_stream("anthropic", response.body) == "Healed"
    assert keys_of(guarded.tls.calls) == KEYS
    refused = ask(guarded.reverse, "anthropic", "m", headers={"authorization": "Bearer the-clients-token"})
    assert refused.status == 401
    assert "proxyauth" in refused.json()["error"]["message"]
    assert len(guarded.tls.calls) == 2


def test_whole_answers_errors_and_files_come_as_without(guarded: Guarded) -> None:
    shown = {"proxy-authorization": BASIC}
    guarded.tls.play(
        anthropic_json("Whole"), Reply(400, {"content-type": "application/json"}, b'{"no":1}'), Reply(body=b"\x00file")
    )
    whole = ask(guarded.proxy.url, "anthropic", "m", stream=False, headers=shown)
    assert read_json("anthropic", whole.body) == "Whole"
    assert ask(guarded.proxy.url, "anthropic", "m", headers=shown).status == 400
    file = raw.request(
        "GET", f"{guarded.proxy.url}/v1/files/f1/content", headers={**shown, "anthropic-version": "2026-10-21"}
    )
    assert (file.status, file.body) == (200, b"\x00file")
    # The file is asked for where all files lie.
    assert len(guarded.tls.calls) == 3


def test_what_changes_requests_acts_once_on_the_clients(guarded: Guarded) -> None:
    guarded.tls.play(empty("anthropic"), stream("anthropic", "Healed"))
    headers = {"proxy-authorization": BASIC, "x-case": "once"}
    response = ask(guarded.proxy.url, "anthropic", "m", "script-counts", headers=headers)
    assert read_stream("anthropic", response.body) == "Healed"
    for call in guarded.tls.calls:
        assert call.json["messages"][0]["content"] == "script-counts-on-and"
        assert [value for name, value in call.header_pairs if name == "x-script"] == ["once"]
        assert call.headers["x-team"] == "blue"
    seen = [(line["hook"], line["role"]) for line in guarded.seen("once", 8)]
    assert [role for hook, role in seen if hook in ("requestheaders", "request")] == ["", "exchange"]
    assert response.header("x-script") == "once"
    # Answers are looked at where they come: each attempt's, and the client's.
    for hook in ("responseheaders", "response"):
        assert sorted(role for found, role in seen if found == hook) == ["attempt", "attempt", "exchange"]
