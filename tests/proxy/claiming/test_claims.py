import pytest
from healing.policy.settings.schema import BUILT_IN, Upstream
from healing.proxy.claiming.claims import query_of, understand
from healing.proxy.guarding.destinations import Destination, find_targets, relative_path
from healing.wire.http.paths import PathError
from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow
from mitmproxy.test.taddons import context as addon_context

PROXY = Destination("proxy")
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


@pytest.mark.parametrize("path", ["/v1//messages", "/v1/%6dessages", "/v1/messages/", "/../v1/messages", "/v1/a%2fb"])
def test_a_path_that_may_be_another_one_is_not_understood(path: str) -> None:
    for target in (PROXY, Destination("upstream", "anthropic", BUILT_IN["anthropic"])):
        with pytest.raises(PathError):
            understand(request("http://h" + path), [target])


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
