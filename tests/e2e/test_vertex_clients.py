"""Clients that speak Vertex AI's own form, where no upstream is said to be Vertex AI."""

from collections.abc import Iterator
from dataclasses import replace

import anthropic
import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from tests.e2e.harness import Proxy
from tests.e2e.test_modes_helpers import body, read_stream
from tests.support import raw
from tests.support.protocol import check_gemini_error
from tests.upstream import Call, Reply, Upstream, healthy

FOLDER = "/projects/its-own/locations/us-east5"
VERTEX, EVERYWHERE = "us-east5-aiplatform.googleapis.com", "aiplatform.googleapis.com"
PUBLIC = {"anthropic": "api.anthropic.com", "gemini": "generativelanguage.googleapis.com"}
GIVEN = b'{ "anthropic_version" : "vertex-2023-10-16", "stream":true,\n"max_tokens":9, "messages":[] }'
both = pytest.mark.parametrize("dialect", ["anthropic", "gemini"])


def path(dialect: str, model: str, folder: str = FOLDER) -> str:
    if dialect == "anthropic":
        return f"/v1{folder}/publishers/anthropic/models/{model}:streamRawPredict"
    return f"/v1beta1{folder}/publishers/google/models/{model}:streamGenerateContent"


def ask(proxy: Proxy, dialect: str, model: str, folder: str = FOLDER) -> raw.RawResponse:
    url = proxy.url + path(dialect, model, folder) + ("?alt=sse" if dialect == "gemini" else "")
    given = GIVEN if dialect == "anthropic" else body("gemini", "")
    return raw.request("POST", url, given, headers={"authorization": "Bearer its-own-token"})


def at_its_places(server: Upstream) -> list[str]:
    """Arguments by which the places on the internet are folders of a server here."""
    hosts = (VERTEX, EVERYWHERE, *PUBLIC.values())
    return [word for host in hosts for word in ("--map-remote", f"|https://{host}/|{server.url}/{host}/")]


@pytest.fixture(scope="module")
def shared() -> Iterator[Upstream]:
    def answer(call: Call) -> Reply:
        _, _, path = call.path.removeprefix("/").partition("/")
        return healthy(replace(call, path=f"/{path}"))

    with Upstream() as server:
        server.default = answer
        yield server


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory, shared: Upstream) -> Iterator[Proxy]:
    """A proxy without a configuration."""
    with Proxy(tmp_path_factory.mktemp("keyless"), None, args=at_its_places(shared)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, shared: Upstream) -> Iterator[Proxy]:
    """A proxy with accounts at gateways, and at the public APIs."""
    config = ""
    for dialect in PUBLIC:
        config += f'[upstreams.gate-{dialect}]\ndialect = "{dialect}"\nurl = "{shared.url}/gate"\n'
        for name, where in (("gate", f"gate-{dialect}"), ("public", dialect)):
            config += f'[[accounts]]\nname = "{dialect}-{name}"\nupstream = "{where}"\nmodels = ["*-{name}"]\n'
            config += f'api_key = "key-of-{name}-0123456789"\n'
    with Proxy(tmp_path_factory.mktemp("keyed"), config, args=at_its_places(shared)) as proxy:
        yield proxy


@pytest.fixture
def server(shared: Upstream) -> Upstream:
    shared.reset()
    return shared


def only(server: Upstream) -> Call:
    (call,) = server.calls
    return call


@both
def test_without_accounts_the_place_that_its_path_names_is_asked_with_its_own_token(
    keyless: Proxy, server: Upstream, dialect: str
) -> None:
    assert read_stream(dialect, ask(keyless, dialect, "m-1").body)
    call = only(server)
    assert (call.path, call.credential) == (f"/{VERTEX}{path(dialect, 'm-1')}", "bearer:its-own-token")
    if dialect == "anthropic":
        assert call.body == GIVEN


def test_the_sdks_are_served_so(keyless: Proxy, server: Upstream) -> None:
    url = f"{keyless.url}/v1"
    with anthropic.AnthropicVertex(
        project_id="its-own", region="us-east5", access_token="its-own-token", base_url=url, max_retries=0
    ) as client:
        message = client.messages.create(model="m-1", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
        assert message.content
    credentials = Credentials(token="its-own-token")  # type: ignore[no-untyped-call]
    with genai.Client(
        vertexai=True, project="its-own", location="us-east5", credentials=credentials,
        http_options=types.HttpOptions(base_url=keyless.url),
    ) as google:  # fmt: skip
        assert google.models.count_tokens(model="m-2", contents="Hi").total_tokens == 12
    assert [call.path for call in server.calls] == [
        f"/{VERTEX}{path('anthropic', 'm-1')}",
        f"/{VERTEX}/v1beta1{FOLDER}/publishers/google/models/m-2:countTokens",
    ]


def test_without_a_project_it_is_express_mode(keyless: Proxy, server: Upstream) -> None:
    assert ask(keyless, "gemini", "m-1", "").status == 200
    assert only(server).path == f"/{EVERYWHERE}{path('gemini', 'm-1', '')}"


def test_what_merely_passes_goes_there_too(keyless: Proxy, server: Upstream) -> None:
    url = f"{keyless.url}/v1beta1{FOLDER}/cachedContents"
    raw.request("POST", url, {"contents": []}, headers={"authorization": "Bearer its-own-token"})
    assert only(server).path == f"/{VERTEX}/v1beta1{FOLDER}/cachedContents"


def test_a_place_that_can_not_be_gets_no_token(keyless: Proxy, server: Upstream) -> None:
    response = ask(keyless, "gemini", "m-1", "/projects/p/locations/a%23b")
    assert response.status == 400
    assert "that Vertex AI can't have" in check_gemini_error(response.status, response.body)["message"]
    assert not server.calls


@both
def test_a_gateway_gets_what_its_client_sends_with_the_accounts_key(
    keyed: Proxy, server: Upstream, dialect: str
) -> None:
    assert read_stream(dialect, ask(keyed, dialect, "m-gate").body)
    call = only(server)
    assert call.path == f"/gate{path(dialect, 'm-gate')}"
    assert call.credential.endswith(":key-of-gate-0123456789")
    if dialect == "anthropic":
        assert call.body == GIVEN


@both
def test_a_client_of_the_api_gets_there_in_the_apis_form(keyed: Proxy, server: Upstream, dialect: str) -> None:
    target = "/v1/messages" if dialect == "anthropic" else "/v1beta/models/m-gate:streamGenerateContent"
    sent = {"model": "m-gate", "max_tokens": 9, "stream": True, "messages": []} if dialect == "anthropic" else {}
    raw.request("POST", keyed.url + target + ("?alt=sse" if dialect == "gemini" else ""), sent)
    assert only(server).path == f"/gate{target}"


@both
def test_the_public_api_is_asked_in_its_own_form(keyed: Proxy, server: Upstream, dialect: str) -> None:
    assert read_stream(dialect, ask(keyed, dialect, "m-public").body)
    call = only(server)
    place = "/v1/messages" if dialect == "anthropic" else "/v1beta/models/m-public:streamGenerateContent"
    assert (call.path, call.credential.rpartition(":")[2]) == (
        f"/{PUBLIC[dialect]}{place}",
        "key-of-public-0123456789",
    )
    if dialect == "anthropic":
        assert call.headers["anthropic-version"] == "2023-06-01"
        assert "anthropic_version" not in call.json
        assert call.json["model"] == "m-public"
