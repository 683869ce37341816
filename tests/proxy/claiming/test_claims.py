import pytest
from antigravity_healing.policy.settings.schema import BUILT_IN, Upstream
from antigravity_healing.proxy.claiming.claims import query_of, understand
from antigravity_healing.proxy.guarding.destinations import Destination, find_targets, relative_path
from antigravity_healing.wire.http.paths import PathError
from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow
from mitmproxy.test.taddons import context as addon_context

PROXY = Destination("proxy", by_base_url=True)
CONFIGURED = Destination("upstream", "anthropic", BUILT_IN["anthropic"])
LOCAL = Upstream(dialect="anthropic", url="http://127.0.0.1:9000/team/a")
UPSTREAMS = {**BUILT_IN, "local": LOCAL}


def request(url: str, method: str = "POST", **headers: str) -> http.Request:
    made = http.Request.make(method, url)
    for name, value in headers.items():
        made.headers[name.replace("_", "-")] = value
    return made


def reached(*, mode: str = "regular", server: tuple[str, int] | None = None, tls: bool = False) -> Context:
    """A connection from a client to the proxy, which listens on 127.0.0.1:8080."""
    client = tflow.tclient_conn()
    client.sockname = ("127.0.0.1", 8080)
    client.proxy_mode = ProxyMode.parse(mode)
    client.sni = None
    with addon_context() as tctx:
        made = Context(client, tctx.options)
    made.server = Server(address=server)
    made.server.tls = tls
    return made


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("http://127.0.0.1:8080/v1/messages", ["proxy"]),
        ("http://localhost:8080/v1/messages", ["proxy"]),
        ("http://[::1]:8080/v1/messages", ["proxy"]),
        ("http://127.1:8080/v1/messages", ["proxy"]),
        ("http://0x7f000001:8080/v1/messages", ["proxy"]),
        ("http://LOCALHOST.:8080/v1/messages", ["proxy"]),
        ("http://[::ffff:127.0.0.1]:8080/v1/messages", ["proxy"]),
        ("http://proxy.lan:8080/v1/messages", ["proxy"]),
        ("http://127.0.0.1:8081/v1/messages", []),
        ("http://other.lan:8080/v1/messages", []),
        ("http://127.0.0.1:9000/team/a/v1/messages", ["local"]),
        ("https://127.0.0.1:9000/team/a/v1/messages", []),
        ("https://api.anthropic.com/v1/messages", ["anthropic"]),
        ("https://API.anthropic.com/v1/messages", ["anthropic"]),
        ("http://api.anthropic.com/v1/messages", []),
        ("https://api.anthropic.com.example/v1/messages", []),
        ("https://example.com/v1/messages", []),
    ],
)
def test_where_a_request_on_the_regular_proxy_is_meant_to_go(url: str, names: list[str]) -> None:
    found = find_targets(request(url), reached(), HTTPMode.regular, UPSTREAMS, ("proxy.lan",))
    assert [target.upstream_name or target.kind for target in found] == names


def test_a_tunnel_itself_goes_nowhere_of_ours() -> None:
    connect = request("https://api.anthropic.com:443/", "CONNECT")
    assert find_targets(connect, reached(), HTTPMode.regular, UPSTREAMS) == []


def test_behind_a_tunnel_the_servers_address_or_the_clients_name_for_it_counts() -> None:
    context = reached(server=("160.79.104.10", 443), tls=True)
    asked = request("https://160.79.104.10/v1/messages", host="api.anthropic.com")
    (found,) = find_targets(asked, context, HTTPMode.transparent, UPSTREAMS)
    assert found.upstream_name == "anthropic"
    assert find_targets(request("https://x.example/"), context, HTTPMode.transparent, UPSTREAMS) == []


def test_the_target_of_reverse_mode_may_speak_either_dialect() -> None:
    context = reached(mode="reverse:http://[::1]:7000", server=("::1", 7000))
    found = find_targets(request("http://proxy.example/"), context, HTTPMode.transparent, UPSTREAMS)
    assert [(target.kind, target.upstream.dialect, target.upstream.url) for target in found if target.upstream] == [
        ("reverse", "anthropic", "http://[::1]:7000"),
        ("reverse", "gemini", "http://[::1]:7000"),
    ]


def test_a_reverse_target_is_not_what_the_client_calls_it() -> None:
    context = reached(mode="reverse:http://127.0.0.1:7000", server=("127.0.0.1", 443))
    found = find_targets(request("http://api.anthropic.com/"), context, HTTPMode.transparent, UPSTREAMS)
    assert {target.kind for target in found} == {"reverse"}


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/team/a/v1/messages", "/v1/messages"),
        ("/team/a/", "/"),
        ("/team/a", None),
        ("/team/ab/v1/messages", None),
        ("/v1/messages", None),
    ],
)
def test_the_upstreams_prefix_is_taken_off(path: str, inside: str | None) -> None:
    assert relative_path(Destination("upstream", "local", LOCAL), path) == inside
    assert relative_path(PROXY, path) == path


def test_the_parameters_of_a_query() -> None:
    assert query_of("alt=sse&a=%20b&empty=") == {"alt": "sse", "a": " b", "empty": ""}
    assert query_of("") == {}


@pytest.mark.parametrize(
    ("method", "path", "headers", "dialect", "kind"),
    [
        ("POST", "/v1/messages?beta=true", {}, "anthropic", "generate"),
        ("POST", "/v1/messages/count_tokens", {}, "anthropic", "count_tokens"),
        ("POST", "/v1beta/models/m:streamGenerateContent?alt=sse", {}, "gemini", "generate"),
        ("POST", "/v1/models/m:generateContent", {}, "gemini", "generate"),
        ("GET", "/v1/models", {}, "anthropic", "list_models"),
        ("GET", "/v1/models", {"x_goog_api_key": "k"}, "gemini", "list_models"),
        ("GET", "/v1/models", {"x_goog_api_key": "k", "anthropic_version": "2026-10-21"}, "anthropic", "list_models"),
        ("GET", "/v1/models/m", {"X_Goog_Api_Client": "x"}, "gemini", "get_model"),
        ("GET", "/v1beta/models", {}, "gemini", "list_models"),
        ("POST", "/v1/messages/batches", {}, "anthropic", "other"),
        ("GET", "/v1beta/files", {}, "gemini", "other"),
        ("GET", "/favicon.ico", {}, None, None),
        ("GET", "/", {}, None, None),
        ("OPTIONS", "/v1beta/files", {}, None, None),
    ],
)
def test_what_a_request_to_the_proxy_itself_asks_for(
    method: str, path: str, headers: dict[str, str], dialect: str | None, kind: str | None
) -> None:
    asked = understand(request("http://127.0.0.1:8080" + path, method, **headers), [PROXY])
    assert (asked and asked.dialect.name, asked and asked.operation.kind) == (dialect, kind)


def test_the_query_of_the_path_decides_about_sse() -> None:
    plain = understand(request("http://h/v1beta/models/m:streamGenerateContent"), [PROXY])
    sse = understand(request("http://h/v1beta/models/m:streamGenerateContent?alt=sse"), [PROXY])
    assert plain is not None
    assert sse is not None
    assert (plain.operation.sse, sse.operation.sse) == (False, True)


def test_an_upstream_is_asked_in_its_own_dialect_only() -> None:
    target = Destination("upstream", "local", LOCAL)
    asked = understand(request("http://127.0.0.1:9000/team/a/v1/messages"), [target])
    assert asked is not None
    assert (asked.path, asked.operation.kind) == ("/v1/messages", "generate")
    gemini = understand(request("http://127.0.0.1:9000/team/a/v1beta/models/m:generateContent"), [target])
    assert gemini is None or gemini.operation.kind == "other"
    assert understand(request("http://127.0.0.1:9000/v1/messages"), [target]) is None


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "FOO", "post", "Get"])
def test_what_is_no_method_of_the_apis_asks_for_nothing(method: str) -> None:
    asked = request("http://h/v1/messages", anthropic_version="2026-10-21")
    asked.data.method = method.encode()
    assert understand(asked, [PROXY, Destination("upstream", "anthropic", BUILT_IN["anthropic"])]) is None


@pytest.mark.parametrize("path", ["/v1/%6dessages", "/V1/messages", "/v1/messages;x", "/../v1/messages", "/v1/a%2fb"])
def test_a_path_that_may_be_another_one_is_not_understood(path: str) -> None:
    for target in (PROXY, CONFIGURED):
        with pytest.raises(PathError):
            understand(request("http://h" + path), [target])


NATIVE = {"anthropic": {"anthropic_version": "2023-06-01"}, "gemini": {"x_goog_api_key": "k"}}


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/messages", "/v1/messages"),
        ("/messages?beta=true", "/v1/messages"),
        ("/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1beta/v1/messages", "/v1/messages"),
        ("/v1/messages/v1/messages", "/v1/messages"),
        ("//v1/messages", "/v1/messages"),
        ("/v1//messages", "/v1/messages"),
        ("/v1/messages/", "/v1/messages"),
        ("/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/models/m:streamGenerateContent?alt=sse", "/v1beta/models/m:streamGenerateContent"),
        ("/models/m:countTokens", "/v1beta/models/m:countTokens"),
        ("/v1beta/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta/v1/models/m:generateContent", "/v1/models/m:generateContent"),
        ("/v1/v1beta/models/m%3AgenerateContent", "/v1beta/models/m%3AgenerateContent"),
        ("//v1beta/models/m:generateContent/", "/v1beta/models/m:generateContent"),
    ],
)
def test_a_base_url_that_lacks_the_version_or_has_it_twice_is_understood_where_one_was_given(
    path: str, right: str
) -> None:
    dialect = "gemini" if "models" in right else "anthropic"
    for by_base_url in (PROXY, Destination("upstream", dialect, BUILT_IN[dialect], by_base_url=True)):
        asked = understand(request("http://127.0.0.1:8080" + path), [by_base_url])
        assert asked is not None
        assert (asked.path, asked.dialect.name) == (right, dialect)
        assert asked.operation == asked.dialect.operation("POST", right, query_of(path.partition("?")[2]))
    # A path that its sender has written whole is the server's matter.
    try:
        untold = understand(request("https://h" + path), [Destination("upstream", dialect, BUILT_IN[dialect])])
    except PathError:
        return
    assert untold is None or untold.operation.kind == "other"


@pytest.mark.parametrize(
    ("path", "headers", "right"),
    [
        ("/models", NATIVE["anthropic"], "/v1/models"),
        ("/models/m", NATIVE["anthropic"], "/v1/models/m"),
        ("/v1/v1/models?limit=9", NATIVE["anthropic"], "/v1/models"),
        ("/models", NATIVE["gemini"], "/v1beta/models"),
        ("/v1beta/v1/models/m", NATIVE["gemini"], "/v1/models/m"),
        ("/v1beta/v1beta/models", {}, "/v1beta/models"),
        ("/models", {}, None),
        ("/v1/v1/models", {}, None),
    ],
)
def test_models_are_asked_of_the_api_whose_client_asks(path: str, headers: dict[str, str], right: str | None) -> None:
    asked = understand(request("http://h" + path, "GET", **headers), [PROXY])
    assert (asked and asked.path) == right


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/messages"),
        ("DELETE", "/v1/v1/messages"),
        ("POST", "/messages/batches"),
        ("POST", "/v2/messages"),
        ("POST", "/chat/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/models/m"),
        ("POST", "/models/m:predict"),
        ("POST", "/xmessages"),
        ("GET", "/v1/v1/models/m/n"),
    ],
)
def test_what_is_no_endpoint_behind_any_base_url_is_not_understood(method: str, path: str) -> None:
    assert understand(request("http://h" + path, method), [PROXY]) is None


def test_a_reverse_target_that_nobody_configured_has_its_own_paths() -> None:
    targets = find_targets(
        request("http://127.0.0.1:8080/messages"),
        reached(mode="reverse:http://other.lan:80", server=("other.lan", 80)),
        HTTPMode.transparent,
        UPSTREAMS,
    )
    assert [target.kind for target in targets] == ["reverse", "reverse"]
    assert understand(request("http://127.0.0.1:8080/messages"), targets) is None


def test_a_reverse_target_that_is_configured_is_reached_by_a_base_url_and_one_behind_a_tunnel_is_not() -> None:
    server, asked = ("api.anthropic.com", 443), request("http://127.0.0.1:8080/messages")
    for mode, right in (("reverse:https://api.anthropic.com", "/v1/messages"), ("regular", None)):
        context = reached(mode=mode, server=server, tls=True)
        targets = find_targets(asked, context, HTTPMode.transparent, UPSTREAMS)
        assert [target.upstream_name for target in targets] == ["anthropic"]
        understood = understand(asked, targets)
        assert (understood and understood.path) == right


def test_dot_segments_are_resolved_before_the_prefix_is_looked_for() -> None:
    target = Destination("upstream", "local", LOCAL)
    inside = understand(request("http://127.0.0.1:9000/team/b/../a/v1/messages"), [target])
    assert inside is not None
    assert inside.path == "/v1/messages"
    assert understand(request("http://127.0.0.1:9000/team/a/../b/v1/messages"), [target]) is None


def test_a_healed_endpoint_has_one_method() -> None:
    assert understand(request("http://h/v1/messages", "PUT", anthropic_version="x"), [PROXY]) is None
    with pytest.raises(PathError, match="POST"):
        understand(
            request("http://h/v1/messages", "GET"), [Destination("upstream", "anthropic", BUILT_IN["anthropic"])]
        )
