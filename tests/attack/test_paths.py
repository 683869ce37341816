"""Nobody leaves an upstream's prefix with its account's key, or hides a healed endpoint in another spelling."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pytest

from tests.attack.heads import WAYS, Way, carries, error_of, send
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.support.raw import RawResponse
from tests.upstream import Call, Upstream

PREFIX = "/tenantA"
HEADERS = {
    "anthropic": {"anthropic-version": "2023-06-01", "content-type": "application/json"},
    "gemini": {"x-goog-api-client": "google-genai-sdk/3.4", "content-type": "application/json"},
}
BODY = orjson.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "contents": []})


@dataclass(frozen=True)
class Tenant:
    """A proxy whose two upstreams lie below a prefix of one server, one for each name of this machine."""

    proxy: Proxy
    server: Upstream

    def ask(self, dialect: str, method: str, path: str, way: Way) -> tuple[RawResponse, list[Call]]:
        """Ask for a path, and give the answer and the calls that carried an account's key."""
        self.server.reset()
        body = BODY if method == "POST" else None
        base = f"http://{HOSTS[dialect]}:{self.server.port}"
        response = send(
            self.proxy.url, base, PREFIX, method, path, way=way, headers=HEADERS[dialect], body=body
        )  # fmt: skip
        keyed = [call for call in self.server.calls if carries(key_of("a"))(call) or carries(key_of("g"))(call)]
        return response, keyed


HOSTS = {"anthropic": "127.0.0.1", "gemini": "localhost"}


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with Upstream() as server:
        config = "[retry]\nupgrade = false\n" + account("a", "anthropic") + account("g", "gemini")
        config += "".join(
            upstream(dialect, dialect, f"http://{host}:{server.port}{PREFIX}") for dialect, host in HOSTS.items()
        )
        with Proxy(tmp_path_factory.mktemp("tenant"), config) as proxy:
            yield Tenant(proxy, server)


CLIMBING = [
    ("anthropic", "/v1/messages/../../../tenantB/v1/messages"),
    ("anthropic", "/v1/messages/%2e%2e/%2E%2e/.%2e/tenantB/v1/files"),
    ("anthropic", "/v1/messages/..%2f..%2f..%2ftenantB/v1/messages"),
    ("anthropic", "/v1/files/%2e%2e%2f%2e%2e%2f%2e%2e%2ftenantB"),
    ("anthropic", "/v1/files/..\\..\\..\\tenantB"),
    ("anthropic", "/v1/files/..%5c..%5c..%5ctenantB"),
    ("anthropic", "/v1/files/%252e%252e/%252e%252e/%252e%252e/tenantB"),
    ("anthropic", "/v1/files/..;/..;/..;x=1/tenantB"),
    ("anthropic", "/v1/files/..%00/..%00/..%00/tenantB"),
    ("anthropic", "/v1/files/%c0%ae%c0%ae/%c0%ae%c0%ae/%c0%ae%c0%ae/tenantB"),
    ("gemini", "/v1beta/models/../../../tenantB/v1beta/models/m:generateContent"),
    ("gemini", "/v1beta/models/..%2f..%2f..%2ftenantB%2fm:generateContent"),
    ("gemini", "/v1beta/models/m%2f..%2f..%2f..%2ftenantB:generateContent"),
    ("gemini", "/v1beta/files/%2e%2e/%2e%2e/%2e%2e/tenantB"),
    ("gemini", "/upload/v1beta/%2e./../../../tenantB"),
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dialect", "path"), CLIMBING)
def test_no_path_leaves_the_prefix_with_a_key(tenant: Tenant, dialect: str, path: str, way: Way) -> None:
    for method in ("POST", "GET"):
        response, keyed = tenant.ask(dialect, method, path, way)
        assert keyed == []
        if way == "base URL":
            assert response.status == 400
            assert error_of(response)
            assert not tenant.server.calls


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path", ["/v1/messages/../../../tenantA/v1/messages", "/../tenantA/v1/messages", "/x/../../tenantA/v1/messages"]
)
def test_a_way_out_and_in_again_carries_a_key_only_as_what_it_is(tenant: Tenant, path: str, way: Way) -> None:
    response, keyed = tenant.ask("anthropic", "POST", path, way)
    assert (response.status == 400) is (way == "base URL")
    assert [call.path for call in keyed] == ([] if way == "base URL" else [f"{PREFIX}/v1/messages"])


SPELLINGS = [
    ("anthropic", "/v1/%6dessages"),
    ("anthropic", "/v1/%256dessages"),
    ("anthropic", "/v1/Messages"),
    ("anthropic", "/v1/messages;x=1"),
    ("anthropic", "/v1/messages%20"),
    ("anthropic", "/v1/messages%3fbeta=true"),
    ("gemini", "/v1beta/models/m:generate%43ontent"),
    ("gemini", "/v1beta/models/m:GenerateContent"),
    ("gemini", "/v1beta/Models/m:generateContent"),
    ("gemini", "/v1beta/%6dodels/m:countTokens"),
    ("gemini", "/v1beta/models/a/b:generateContent"),
    ("gemini", "/v1beta1/publishers/google/models//m:generateContent"),
]
SLASHES = [
    ("anthropic", "/v1//messages", "/v1/messages"),
    ("anthropic", "/v1/messages/", "/v1/messages"),
    ("anthropic", "/v1/messages//count_tokens", "/v1/messages/count_tokens"),
    ("gemini", "/v1beta//models/m:generateContent", "/v1beta/models/m:generateContent"),
    ("gemini", "/v1beta/models/m:streamGenerateContent/", "/v1beta/models/m:streamGenerateContent"),
]


@pytest.mark.parametrize(
    ("dialect", "path", "way"),
    [
        *((*spelling, way) for spelling in SPELLINGS for way in WAYS),
        *((*spelling[:2], way) for spelling in SLASHES for way in WAYS if way != "base URL"),
    ],
)
def test_another_spelling_of_a_healed_endpoint_is_refused_with_the_right_one(
    tenant: Tenant, dialect: str, path: str, way: Way
) -> None:
    response, keyed = tenant.ask(dialect, "POST", path, way)
    assert (response.status, keyed, tenant.server.calls) == (400, [], [])
    right = "/v1/messages" if dialect == "anthropic" else ":"
    assert right in error_of(response)["message"]


@pytest.mark.parametrize(("dialect", "path", "right"), SLASHES)
def test_a_slash_too_many_behind_a_base_url_is_the_healed_endpoint_itself(
    tenant: Tenant, dialect: str, path: str, right: str
) -> None:
    response, keyed = tenant.ask(dialect, "POST", path, "base URL")
    assert response.header("x-healing-outcome")
    assert [call.path for call in keyed] == [PREFIX + right]
    assert keyed == tenant.server.calls


ABOVE = [
    ("anthropic", "/v1/v1/../../../messages"),
    ("anthropic", "/v1/v1/messages/../../../../tenantB/v1/messages"),
    ("anthropic", "//tenantB/v1/messages"),
    ("anthropic", "/tenantB/v1/messages"),
    ("anthropic", "/messages/%2e%2e/tenantB/messages"),
    ("gemini", "/models/..%2f..%2ftenantB%2fm:generateContent"),
    ("gemini", "/models/..:generateContent"),
    ("gemini", "//tenantB/models/m:generateContent"),
    ("gemini", "/v1beta/v1beta/models/m%2f..%2f..:generateContent"),
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dialect", "path"), ABOVE)
def test_no_base_url_leads_out_of_the_prefix_with_a_key(tenant: Tenant, dialect: str, path: str, way: Way) -> None:
    for method in ("POST", "GET"):
        _, keyed = tenant.ask(dialect, method, path, way)
        assert [call.path for call in keyed if not call.path.startswith(f"{PREFIX}/v1")] == []
        assert [call.path for call in keyed if {"..", "tenantB"} & set(call.path.split("/"))] == []


HONEST = [
    ("anthropic", "POST", "/v1/messages"),
    ("anthropic", "GET", "/v1/models/claude-opus-4-5%402025-11-01"),
    ("anthropic", "GET", "/v1/models/anthropic%2Fclaude-opus-4-5"),
    ("anthropic", "GET", "/v1/files/file_011CNha8iCJcU1wXNR6q4V8w/content"),
    ("anthropic", "GET", "/v1/messages/batches/msgbatch_01/results"),
    ("anthropic", "POST", "/v1/messages/batches"),
    ("gemini", "POST", "/v1beta/models/gemini-x:generateContent"),
    ("gemini", "POST", "/v1beta/models/gemini-x%3AgenerateContent"),
    ("gemini", "POST", "/v1beta/models/gemini-x%3astreamGenerateContent?alt=sse"),
    ("gemini", "POST", "/v1beta/models/a%2Fb%20c:generateContent"),
    ("gemini", "POST", "/v1beta/tunedModels/mine-7:generateContent"),
    ("gemini", "GET", "/v1beta/files/abc-123?x=%2e%2e%2f"),
    ("gemini", "POST", "/upload/v1beta/files"),
]


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dialect", "method", "path"), HONEST)
def test_the_paths_that_clients_send_go_up_to_the_byte_with_the_key(
    tenant: Tenant, dialect: str, method: str, path: str, way: Way
) -> None:
    _, keyed = tenant.ask(dialect, method, path, way)
    [call] = keyed
    assert call.path + (f"?{call.query}" if call.query else "") == PREFIX + path
    assert call.body == (BODY if method == "POST" else b"")


@pytest.mark.parametrize("way", WAYS)
def test_a_path_of_vertex_ai_stays_below_the_prefix_of_a_gateway(tenant: Tenant, way: Way) -> None:
    path = "/v1/projects/p/locations/global/publishers/google/models/gemini-x:generateContent"
    for climbing in ("", "/../../../../../../../tenantB", "/..%2f..%2f..%2f..%2f..%2f..%2f..%2ftenantB"):
        _, keyed = tenant.ask("gemini", "POST", path.replace("/publishers", climbing + "/publishers"), way)
        assert {call.path for call in keyed} <= {PREFIX + path}
        assert bool(keyed) is not bool(climbing)


@pytest.mark.parametrize("way", WAYS)
def test_dot_segments_that_stay_inside_are_resolved_before_anything_is_added(tenant: Tenant, way: Way) -> None:
    response, keyed = tenant.ask("anthropic", "POST", "/v1/x/%2e%2e/./messages", way)
    assert response.header("x-healing-attempts") == "1"
    assert [call.path for call in keyed] == [f"{PREFIX}/v1/messages"]
