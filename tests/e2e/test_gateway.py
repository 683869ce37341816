"""What a gateway is asked beside answers: health, model lists, mapping, headers, admission."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import (
    DIALECTS,
    ask,
    credential,
    keys_of,
    read_stream,
)
from tests.support import raw
from tests.support.protocol import check_gemini_stream
from tests.upstream import Reply, Upstream
from tests.upstream.healthy import asked

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@dataclass(frozen=True)
class Gateway:
    """A proxy with routes."""

    proxy: Proxy
    upstream: Upstream


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Upstream() as server:
        config = "".join(account(f"{dialect}-one", dialect) for dialect in DIALECTS)
        config += "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)
        config += account("elsewhere", "prefixed", models=["there"], priority=1) + upstream(
            "prefixed", "anthropic", f"{server.url}/some/prefix"
        )
        config += "[clients]\naccount_header = false\n"
        config += """
            [models]
            "short" = "claude-haiku-4-5"
            "claude-3-5-*" = "claude-pattern"
            "claude-3-5-haiku-*" = "claude-longer-pattern"
            "claude-3-5-haiku-exact" = "claude-exact"
            "google-short" = "gemini/gemini 3/pro"
            "elsewhere" = "prefixed/there"
            "crossed" = "gemini/gemini-3-pro-preview"
            "crossed-back" = "anthropic/claude-haiku-4-5"
        """
        with Proxy(tmp_path_factory.mktemp("gateway"), config) as proxy:
            yield Gateway(proxy, server)


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    shared_gateway.upstream.reset()
    return shared_gateway


def test_health_tells_how_the_proxy_is(lane: Lane) -> None:
    found = lane.proxy.health()
    assert found["status"] in ("ok", "degraded")  # by other tests' accounts
    names = {one["name"]: one for one in found["accounts"]}
    assert names[lane.accounts[0]]["healthy"] is True
    assert names[lane.accounts[0]]["email"] == f"{lane.accounts[0]}@accounts.example"
    assert set(found["signatures"]) == {"entries", "bytes", "repairs"}


@pytest.mark.parametrize("path", ["/", "/api/hello"])
def test_what_claude_code_asks_first_is_answered(lane: Lane, path: str) -> None:
    response = raw.request("HEAD", lane.proxy.url + path)
    assert (response.status, response.body) == (200, b"")
    assert not lane.upstream.calls


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v2/unknown"), ("POST", "/chat"), ("GET", "/"), ("PUT", "/v1/messages")]
)
def test_what_is_not_served_is_told_in_json(gateway: Gateway, method: str, path: str) -> None:
    response = raw.request(method, gateway.proxy.url + path, b"{}" if method != "GET" else None)
    assert response.status == 404
    assert response.header("content-type") == "application/json"
    message = response.json()["error"]["message"]
    assert f"{method} {path}" in message
    assert "/v1/messages" in message
    assert "generateContent" in message
    assert not gateway.upstream.calls


def test_the_anthropic_model_list_has_the_exact_routes_too(gateway: Gateway) -> None:
    response = raw.request("GET", f"{gateway.proxy.url}/v1/models?limit=1000", headers=credential("anthropic"))
    assert response.status == 200
    [call] = gateway.upstream.calls
    assert (call.path, call.query) == ("/v1/models", "limit=1000")
    models = response.json()["data"]
    names = [model["id"] for model in models]
    assert {"short", "claude-3-5-haiku-exact", "claude-opus-4-5"} <= set(names)
    assert len(set(names)) == len(names)
    assert not [name for name in names if "*" in name]
    assert all(model["type"] == "model" and model["display_name"] and model["created_at"] for model in models)
    assert response.json()["first_id"] == names[0]
    assert response.json()["last_id"] == names[-1]


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_gemini_model_list_has_the_exact_routes_too(gateway: Gateway, version: str) -> None:
    response = raw.request("GET", f"{gateway.proxy.url}/{version}/models", headers=credential("gemini"))
    assert response.status == 200
    [call] = gateway.upstream.calls
    assert call.path == f"/{version}/models"
    names = [model["name"] for model in response.json()["models"]]
    assert {"models/google-short", "models/gemini-2.5-pro"} <= set(names)
    assert not [name for name in names if "*" in name]


# Odd on purpose: nothing of it but the model's name may change.
ODD_BODY = (
    b' {\t"max_tokens" : 1e1,"stream":true ,\r\n"unknown":{"model":"short","a":[1,2.50,-0]},"model" :  "MODEL"  ,'
    b'"messages":[{"role":"user","content":"h\\u00e9 \xc3\xa9 \\/ \\"model\\": \\"short\\""}], "z":null}\n'
)


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("short", "claude-haiku-4-5"),
        ("claude-3-5-sonnet", "claude-pattern"),
        ("claude-3-5-haiku-latest", "claude-longer-pattern"),
        ("claude-3-5-haiku-exact", "claude-exact"),
        ("not-mapped", "not-mapped"),
    ],
)
def test_mapping_changes_only_the_bytes_of_the_models_name(gateway: Gateway, name: str, mapped: str) -> None:
    body = ODD_BODY.replace(b"MODEL", name.encode())
    response = raw.request("POST", f"{gateway.proxy.url}/v1/messages?beta=true", body, credential("anthropic"))
    assert read_stream("anthropic", response.body)
    assert response.header("x-mapped-model") == mapped
    [call] = gateway.upstream.calls
    assert call.body == ODD_BODY.replace(b"MODEL", mapped.encode())
    assert (call.path, call.query) == ("/v1/messages", "beta=true")


def test_a_models_name_that_is_written_with_escapes_is_mapped(gateway: Gateway) -> None:
    body = b'{"model": "sh\\u006frt", "stream": true, "max_tokens": 1, "messages": []}'
    raw.request("POST", f"{gateway.proxy.url}/v1/messages", body, credential("anthropic"))
    [call] = gateway.upstream.calls
    assert call.body == body.replace(b"sh\\u006frt", b"claude-haiku-4-5")


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_mapping_changes_only_the_model_in_a_gemini_path(gateway: Gateway, version: str) -> None:
    body = b'{ "contents":[{"parts":[{"text":"google-short"}]}],"model":"google-short" }\n'
    path = f"/{version}/models/google-short:streamGenerateContent?$prettyPrint=false&alt=sse"
    response = raw.request("POST", gateway.proxy.url + path, body, credential("gemini"))
    assert check_gemini_stream(response.body)
    [call] = gateway.upstream.calls
    # A name with characters that have a meaning in a path stays one segment of it.
    assert call.path == f"/{version}/models/gemini%203%2Fpro:streamGenerateContent"
    assert call.query == "$prettyPrint=false&alt=sse"
    assert call.body == body


def test_counting_and_asking_for_a_model_are_mapped_too(gateway: Gateway) -> None:
    body = b'{"model": "short", "messages": [{"role": "user", "content": "hi"}]}'
    base, headers = gateway.proxy.url, credential("anthropic")
    assert raw.request("POST", f"{base}/v1/messages/count_tokens", body, headers).json() == {"input_tokens": 12}
    assert raw.request("GET", f"{base}/v1/models/short", headers=headers).json()["id"] == "claude-haiku-4-5"
    counted, asked = gateway.upstream.calls
    assert counted.body == body.replace(b"short", b"claude-haiku-4-5")
    assert asked.path == "/v1/models/claude-haiku-4-5"


def test_a_route_to_an_upstream_with_a_prefix_goes_there(gateway: Gateway) -> None:
    gateway.upstream.play(Reply(400, {"content-type": "application/json"}, b'{"error": "seen"}'))
    response = ask(gateway.proxy.url, "anthropic", "elsewhere")
    [call] = gateway.upstream.calls
    assert call.path == "/some/prefix/v1/messages"
    assert call.json["model"] == "there"
    assert keys_of([call]) == [key_of("elsewhere")]
    assert (response.status, response.body) == (400, b'{"error": "seen"}')


@pytest.mark.parametrize(
    ("dialect", "model", "other"), [("anthropic", "crossed", "gemini"), ("gemini", "crossed-back", "anthropic")]
)
def test_a_clients_own_credential_and_headers_never_go_to_an_upstream_of_the_other_dialect(
    gateway: Gateway, dialect: str, model: str, other: str
) -> None:
    response = ask(gateway.proxy.url, dialect, model)
    assert response.status == 200
    [call] = gateway.upstream.calls
    assert asked(call).dialect == other
    [credential_there] = call.credentials
    assert f"key-of-{other}-" in credential_there
    others = ("x-stainless", "x-goog-api-client", "anthropic-beta", "x-claude", "x-app")
    assert [name for name in call.headers if name.startswith(others)] == []
    assert call.headers.get("anthropic-version") == ("2023-06-01" if other == "anthropic" else None)


CLIENT_HEADERS = {
    "anthropic-beta": "claude-code-20250219,unknown-beta-2031-01-01",
    "anthropic-version": "2026-10-21",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-claude-code-session-id": "s-1",
    "x-claude-code-agent-id": "a-1",
    "x-app": "cli",
    "x-stainless-retry-count": "0",
    "x-goog-api-client": "google-genai-sdk/3.4",
    "x-server-timeout": "30",
    "user-agent": "claude-cli/2.1",
    "accept": "application/json",
    "cookie": "a=b; c=d",
    "x-of-nobody": "ü".encode().decode("latin-1"),
}


@both_dialects
def test_the_clients_headers_are_forwarded_as_they_are(lane: Lane) -> None:
    response = ask(lane.proxy.url, lane.dialect, lane.model, headers=CLIENT_HEADERS)
    assert read_stream(lane.dialect, response.body)
    [call] = lane.calls
    # Cookies would let this client in beside the account's key.
    expected = {name: value for name, value in CLIENT_HEADERS.items() if name != "cookie"}
    assert {name: call.headers[name] for name in expected} == expected
    ours = {"host", "accept-encoding", "content-length", "content-type", *credential(lane.dialect)}
    assert {name for name in call.headers if name not in expected} == ours
    assert call.headers["host"] == f"127.0.0.1:{lane.upstream.port}"


@both_dialects
def test_unknown_fields_of_the_body_are_forwarded_as_they_are(lane: Lane) -> None:
    fields = {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}, "new_in_2031": [None, 1.5, "x"]}
    ask(lane.proxy.url, lane.dialect, lane.model, more=fields)
    [call] = lane.calls
    assert {name: call.json[name] for name in fields} == fields


@both_dialects
def test_upstreams_headers_are_handed_on(lane: Lane) -> None:
    theirs = {
        "content-type": "application/json",
        "anthropic-ratelimit-requests-remaining": "7",
        "request-id": "req_1",
        "x-should-retry": "false",
        "set-cookie": "a=b",
        "x-account-email": "an@upstream.example",
    }
    lane.upstream.play(Reply(400, theirs, b'{"error": {"message": "no"}}'))
    response = ask(lane.proxy.url, lane.dialect, lane.model)
    for name, value in theirs.items():
        if name not in ("x-account-email", "set-cookie"):
            assert response.header(name) == value
    # What upstream sets for the account is nobody else's.
    assert response.header("set-cookie") is None
    assert response.header("x-account-email") == f"{lane.accounts[0]}@accounts.example"
    assert response.header("x-healing-outcome") == "failed"
    assert response.header("x-healing-attempts") == "1"


@pytest.mark.parametrize("model", ["short", "crossed"])
def test_the_accounts_header_can_be_turned_off(gateway: Gateway, model: str) -> None:
    response = ask(gateway.proxy.url, "anthropic", model)
    assert response.header("x-account-email") is None
