"""What a client presents is on the wire and in no flow: cookies, gateways' tokens, and secrets in bodies."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.attack.echoing import Echoing, answer, chunked, exchange
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import body, free_port, saved_flows, story, wait_for_modes
from tests.support import raw
from tests.upstream import anthropic_stream

TOKEN = "Mcp-Servers/Secret+0x55=="
COOKIE = "session=Cookies-Secret-0x4711; theme=dark"
SET_COOKIE = "session=Set-Cookies-Secret-0x4712; Path=/"
MORE = {
    "cookie": COOKIE,
    "api-key": "Api-Keys-Secret-0x11",
    "x-amz-security-token": "Amazons-Secret-0x12",
    "x-goog-iap-jwt-assertion": "Googles-Secret-0x13",
    "cf-access-client-secret": "Cloudflares-Secret-0x14",
    "helicone-auth": "Bearer Gateways-Secret-0x15",
}
TO_THE_PROXY = "Basic UHJveGllcy1TZWNyZXQtMHgxNg=="
NO_SECRETS = {"idempotency-key": "Idempotency-0x21", "x-claude-code-session-id": "Session-0x22", "x-stainless-os": "A"}
SECRETS = [TOKEN, "Secret-0x", "UHJveGllcy1TZWNyZXQtMHgxNg"]

MCP: dict[str, Any] = {
    "mcp_servers": [{"type": "url", "url": "https://m.example/?a=1", "name": "m", "authorization_token": TOKEN}]
}
GEMINI_MCP: dict[str, Any] = {
    "tools": [{"mcpServers": [{"streamableHttpTransport": {"headers": {"Authorization": f"Bearer {TOKEN}"}}}]}]
}
# Path and body: each of them may have a token, some in an unusual spelling that has to stay.
BODIES: dict[str, tuple[str, bytes]] = {
    "messages": ("/v1/messages", json.dumps(body("anthropic", "M", **MCP), indent=1).encode()),
    "escaped": ("/v1/messages", json.dumps(body("anthropic", "M", **MCP)).replace("/", "\\/").encode()),
    "count_tokens": ("/v1/messages/count_tokens", json.dumps(body("anthropic", "M", stream=False, **MCP)).encode()),
    "batches": ("/v1/messages/batches", json.dumps({"requests": [{"custom_id": "a", "params": MCP}] * 2}).encode()),
    "generateContent": ("/v1beta/models/M:generateContent", json.dumps(body("gemini", "M", **GEMINI_MCP)).encode()),
    "array": ("/v1beta/models/M:streamGenerateContent", json.dumps(body("gemini", "M", **GEMINI_MCP)).encode()),
}  # fmt: skip


def shown_in(data: bytes) -> list[str]:
    return [secret for secret in SECRETS if secret.encode() in data]


def healthy(path: str) -> bytes:
    """What suits the path, with a cookie."""
    head = f"HTTP/1.1 200 OK\r\nset-cookie: {SET_COOKIE}\r\nset-cookie: more={SET_COOKIE}\r\n".encode()
    said = answer(b'{"ok": true}')
    if "count_tokens" not in path and path.startswith("/v1/messages") and "batches" not in path:
        said = chunked(*anthropic_stream().chunks, kind="text/event-stream")
    return head + said.partition(b"\r\n")[2]


@dataclass
class Place:
    """A proxy whose account is the server's, and that is in front of the target in reverse mode."""

    proxy: Proxy
    reverse: int
    server: Echoing
    target: Echoing
    folder: Path

    def ask(self, whose: str, path: str, headers: dict[str, str], sent: bytes, method: str = "POST") -> bytes:
        """Ask, and give the answer."""
        key = "x-goog-api-key" if "v1beta" in path else "x-api-key"
        headers = {key: "clients-own-key-4711", "anthropic-version": "2023-06-01", **headers}
        if "v1beta" in path:
            del headers["anthropic-version"]
        return exchange(self.proxy.port if whose == "account" else self.reverse, method, path, headers, sent)

    def heard(self, whose: str) -> tuple[bytes, bytes]:
        """The last request that reached upstream."""
        server = self.server if whose == "account" else self.target
        return server.heads[-1], server.bodies[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kept")
    with Echoing((), healthy) as server, Echoing((), healthy) as target:
        port = free_port()
        modes = ["--mode", "regular", "--mode", f"reverse:{target.url}@{port}"]
        options = {"termlog_verbosity": "debug", "flow_detail": "4", "save_stream_file": str(folder / "flows")}
        config = "".join(upstream(name, name, server.url) + account(name, name) for name in ("anthropic", "gemini"))
        config += '[models]\n"mapped-*" = "other"\n'
        with Proxy(folder, config, options=options, args=["-vv", *modes]) as proxy:
            wait_for_modes(proxy, 2)
            yield Place(proxy, port, server, target, folder)
        # Whatever the tests of this file did.
        assert not shown_in((folder / "flows").read_bytes())
        assert b'"masked-' in (folder / "flows").read_bytes()
        assert not shown_in(proxy.log.encode())
        assert not shown_in(proxy.log_file.read_bytes())


def lines(head: bytes) -> dict[str, str]:
    """The headers of a request or an answer."""
    pairs = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.lower(): value for name, _, value in pairs}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/files"])
def test_a_clients_other_credentials_go_upstream_with_its_own_key_only(place: Place, path: str) -> None:
    sent, headers = json.dumps(body("anthropic", "m")).encode(), {**MORE, **NO_SECRETS}
    assert b" 200 " in place.ask("own", path, headers, sent)
    got = lines(place.heard("own")[0])
    assert headers.items() <= got.items()
    assert got["x-api-key"] == "clients-own-key-4711"
    assert b" 200 " in place.ask("account", path, headers, sent)
    got = lines(place.heard("account")[0])
    assert NO_SECRETS.items() <= got.items()
    assert not MORE.keys() & got.keys()
    assert got["x-api-key"] == key_of("anthropic")


@pytest.mark.parametrize("whose", ["account", "own"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/files"])
def test_what_is_for_the_proxy_goes_to_no_upstream(place: Place, whose: str, path: str) -> None:
    sent = json.dumps(body("anthropic", "m")).encode()
    assert b" 200 " in place.ask(whose, path, {"proxy-authorization": TO_THE_PROXY}, sent)
    assert "proxy-authorization" not in lines(place.heard(whose)[0])


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/files"])
def test_cookies_that_upstream_sets_are_for_the_client_whose_credential_was_used(place: Place, path: str) -> None:
    sent = json.dumps(body("anthropic", "m")).encode()
    got = place.ask("own", path, {}, sent).lower()
    assert got.count(b"set-cookie: ") == 2
    assert f"set-cookie: {SET_COOKIE}\r\n".lower().encode() in got
    assert b"set-cookie" not in place.ask("account", path, {}, sent).lower()


@pytest.mark.parametrize("whose", ["account", "own"])
@pytest.mark.parametrize("name", BODIES)
def test_a_secret_in_a_body_reaches_upstream_to_the_byte_and_no_flow(place: Place, name: str, whose: str) -> None:
    path, sent = BODIES[name]
    assert b" 200 " in place.ask(whose, path.replace("M", "m"), {}, sent)
    head, heard = place.heard(whose)
    assert heard == sent
    assert lines(head)["content-length"] == str(len(sent))


@pytest.mark.parametrize("name", ["messages", "batches", "count_tokens"])
def test_a_secret_in_a_compressed_body_too(place: Place, name: str) -> None:
    path, sent = BODIES[name]
    assert b" 200 " in place.ask("account", path, {"content-encoding": "gzip"}, gzip.compress(sent))
    head, heard = place.heard("account")
    assert heard == sent
    assert "content-encoding" not in lines(head)


def test_a_long_body_with_a_secret(place: Place) -> None:
    sent = json.dumps(body("anthropic", "m", "x" * 2_000_000, **MCP)).encode()
    assert b" 200 " in place.ask("account", "/v1/messages", {}, sent)
    assert place.heard("account")[1] == sent


def test_a_body_that_is_changed_on_its_way_keeps_its_secret(place: Place) -> None:
    sent = json.dumps(body("anthropic", "mapped-1", stream=False, **MCP)).encode()
    assert b" 200 " in place.ask("account", "/v1/messages", {}, sent)
    heard = json.loads(place.heard("account")[1])
    assert heard["model"] == "other"
    assert heard["mcp_servers"] == MCP["mcp_servers"]


def test_what_only_looks_like_a_secret_stays_in_the_flow(place: Place) -> None:
    said: dict[str, Any] = {"authorization_token": "No-Harm-0x31-in-a-tool", "headers": {"a": "No-Harm-0x32-in-a-tool"}}
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": said}
    messages = [{"role": "assistant", "content": [tool]}, {"role": "user", "content": '"mcp_servers"'}]
    sent = json.dumps({**body("anthropic", "m"), "messages": messages, **MCP}).encode()
    assert b" 200 " in place.ask("account", "/v1/messages", {}, sent)
    assert place.heard("account")[1] == sent
    flows = (place.folder / "flows").read_bytes
    place.proxy.wait_for(lambda: b"No-Harm-0x31" in flows() and b"No-Harm-0x32" in flows(), "that the flow is saved")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"POST /v1/messages HTTP/1.1\r\nx-api-key: Cut-Secret-0x41", "before completing request headers"),
        (b"POST /v1/messages HTTP/1.1\r\nx-api-key Cut-Secret-0x42\r\n\r\n", "refused with 400"),
        (b"GET /v1/models?key=Cut-Secret-0x43 HTTP/9\r\n\r\n", "refused with 400"),
    ],
)
def test_a_request_that_is_none_is_not_quoted_in_the_log(place: Place, sent: bytes, said: str) -> None:
    connection = raw.RawConnection(place.proxy.url)
    count = place.proxy.log.count(said)
    connection.send_bytes(sent)
    connection.close()
    place.proxy.wait_for_log(said, count + 1)


def test_a_captured_failure_holds_no_secret_and_its_replay_says_what_it_lacks(tmp_path: Path) -> None:
    sent = json.dumps(body("anthropic", "m", **MCP)).encode()
    refused = answer(b'{"type":"error","error":{"type":"invalid_request_error","message":"No"}}', status="400 No")
    with Echoing((), lambda path: refused) as server:
        config = upstream("anthropic", "anthropic", server.url) + account("anthropic", "anthropic")
        with Proxy(tmp_path / "first", config) as proxy:
            headers = {**MORE, "x-api-key": "clients-own-key-4711"}
            assert b" 400 " in exchange(proxy.port, "POST", "/v1/messages", headers, sent)
            assert server.bodies[-1] == sent
            proxy.wait_for_log("captured in")
        [file] = (tmp_path / "first" / "home" / "captured").iterdir()
        data = file.read_bytes()
        assert not shown_in(data)
        assert [story(flow)["role"] for flow in saved_flows(file)] == ["exchange", "attempt"]
        replay = Proxy(tmp_path / "again", config, args=["-n", "-C", str(file)])
        replay.start(wait=False)
        assert replay.wait_exit() == 1
        assert "the body that is replayed had secrets" in replay.log
        assert b'"masked-' in server.bodies[-1]
        assert len(server.bodies[-1]) == len(sent)
