"""Vertex AI as an upstream, for clients of both APIs as they are elsewhere and for those that ask it themselves."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from tests.e2e.harness import Proxy
from tests.e2e.test_modes_helpers import ask, body, read_stream, target
from tests.support import raw
from tests.support.protocol import check_anthropic_error, check_gemini_error
from tests.support.sdk import anthropic_client, gemini_client
from tests.upstream import (
    Call,
    Reply,
    Upstream,
    anthropic_error,
    anthropic_json,
    anthropic_stream,
    error_info,
    gemini_empty,
    gemini_error,
    gemini_json,
    gemini_stream,
)
from tests.upstream.gemini import JSON_HEADERS

ONE, TWO = "/projects/p-one/locations/europe-west4", "/projects/p-two/locations/global"
MODELS = {"gemini": "gemini-vx", "anthropic": "claude-vx@20250929"}
QUESTION: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Hi"}]
both = pytest.mark.parametrize("dialect", ["anthropic", "gemini"])


def configuration(url: str) -> str:
    """Upstreams of both kinds and dialects, and two accounts with projects of their own for each on Vertex AI."""
    config = "[retry]\nspare_retries = 1000000\n[models]\n"
    config += '"claude-for-gemini" = "v-gemini/gemini-vx"\n"gemini-for-claude" = "v-anthropic/claude-vx@20250929"\n'
    config += '"claude-renamed" = "claude-vx@20250929"\n'
    for dialect, model in (("gemini", "gemini-vx*"), ("anthropic", "claude-vx*")):
        config += f'[upstreams.v-{dialect}]\ndialect = "{dialect}"\nurl = "{url}"\n'
        config += 'project = "p-one"\nlocation = "europe-west4"\n'
        config += f'[upstreams.{dialect}]\ndialect = "{dialect}"\nurl = "{url}"\n'
        for number, more in (("one", ""), ("two", 'project = "p-two"\nlocation = "global"\npriority = 1\n')):
            config += f'[[accounts]]\nname = "{dialect}-{number}"\nupstream = "v-{dialect}"\nmodels = ["{model}"]\n'
            config += f'bearer = "token-of-{number}-0123456789"\n{more}'
        config += f'[[accounts]]\nname = "{dialect}-elsewhere"\nupstream = "{dialect}"\nmodels = ["*-elsewhere"]\n'
        config += 'api_key = "key-elsewhere-0123456789"\n'
    config += f'[upstreams.express]\ndialect = "gemini"\nurl = "{url}"\nlocation = "global"\n'
    config += '[[accounts]]\nname = "express"\nupstream = "express"\nmodels = ["gemini-express"]\n'
    config += 'api_key = "AIza-express-0123456789"\n'
    config += '[[accounts]]\nname = "nowhere"\nupstream = "express"\nmodels = ["gemini-nowhere"]\n'
    return config + 'bearer = "token-of-nowhere-0123456789"\n'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    with (
        Upstream() as server,
        Proxy(tmp_path_factory.mktemp("vertex"), configuration(server.url)) as proxy,
    ):
        yield proxy, server


@pytest.fixture
def proxy(served: tuple[Proxy, Upstream]) -> Proxy:
    return served[0]


@pytest.fixture
def server(served: tuple[Proxy, Upstream]) -> Upstream:
    served[1].reset()
    return served[1]


def good(dialect: str, text: str, *, stream: bool = True) -> Reply:
    if dialect == "anthropic":
        return anthropic_stream(text) if stream else anthropic_json(text)
    return gemini_stream(text) if stream else gemini_json(text)


def path_on_vertex(dialect: str, folder: str = ONE, *, stream: bool = True) -> str:
    model = MODELS[dialect]
    if dialect == "anthropic":
        return f"/v1{folder}/publishers/anthropic/models/{model}:" + ("streamRawPredict" if stream else "rawPredict")
    verb = "streamGenerateContent" if stream else "generateContent"
    return f"/v1beta1{folder}/publishers/google/models/{model}:{verb}"


def only(server: Upstream) -> Call:
    (call,) = server.calls
    return call


@both
def test_a_client_of_the_api_is_served_by_the_projects_path(proxy: Proxy, server: Upstream, dialect: str) -> None:
    reply = good(dialect, "Hello")
    server.play(reply)
    response = ask(proxy.url, dialect, MODELS[dialect], query="key=its-own-key-4711" if dialect == "gemini" else "")
    assert (response.status, response.body) == (200, reply.whole)
    call = only(server)
    assert (call.path, call.credential) == (path_on_vertex(dialect), "bearer:token-of-one-0123456789")
    assert call.query == ("alt=sse" if dialect == "gemini" else "")


@both
def test_the_same_elsewhere_goes_as_it_came(proxy: Proxy, server: Upstream, dialect: str) -> None:
    sent = json.dumps(body(dialect, f"{dialect}-elsewhere"), indent=1).encode()
    path = target(dialect, f"{dialect}-elsewhere")
    raw.request("POST", proxy.url + path, sent, {"content-type": "application/json"})
    call = only(server)
    assert (call.path, call.body) == (path.partition("?")[0], sent)


def test_of_a_body_only_what_has_to_changes(proxy: Proxy, server: Upstream) -> None:
    before, after = b'{ "max_tokens" : 9,', b'\n "stream":true, "messages":[{"role":"user","content":"\\u00e9 1.0"}] }'
    given = before + b' "model": "claude-vx@20250929",' + after
    raw.request("POST", f"{proxy.url}/v1/messages?beta=true", given, {"anthropic-beta": "a-1,b-2"})
    call = only(server)
    assert call.body == before + after[:-2] + b',"anthropic_version":"vertex-2023-10-16" }'
    assert (call.query, call.headers["anthropic-beta"]) == ("", "a-1,b-2")


def test_a_gemini_body_that_says_whose_all_is_goes_as_it_came(proxy: Proxy, server: Upstream) -> None:
    said = b'{ "contents" : [ {"role":"user", "parts":[{"text":"\\u00e9"}]},%b ] }'
    url = f"{proxy.url}/v1/models/gemini-vx:generateContent"
    raw.request("POST", url, said % b'{"role":"model","parts":[{"text":"b"}]}')
    raw.request("POST", url, said % b'{ "parts":[{"text":"b"}]}')
    as_it_came, with_role = server.calls
    assert as_it_came.body == said % b'{"role":"model","parts":[{"text":"b"}]}'
    assert with_role.body == said % b'{ "parts":[{"text":"b"}],"role":"user"}'
    assert {call.path.split("/")[1] for call in server.calls} == {"v1"}


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
def test_anthropics_sdk_gets_its_answers(proxy: Proxy, server: Upstream, stream: bool) -> None:
    with anthropic_client(proxy.url) as client:
        if stream:
            with client.messages.stream(model="claude-renamed", max_tokens=9, messages=QUESTION) as answer:
                assert answer.get_final_message().stop_reason == "end_turn"
        else:
            message = client.messages.create(model="claude-renamed", max_tokens=9, messages=QUESTION)
            assert message.stop_reason == "end_turn"
        counted = client.messages.count_tokens(model=MODELS["anthropic"], messages=QUESTION)
    assert counted.input_tokens == 12
    generate, count = server.calls
    # A whole answer is asked for as a stream, which is read as it comes.
    assert generate.path == path_on_vertex("anthropic")
    assert count.path == f"/v1{ONE}/publishers/anthropic/models/count-tokens:rawPredict"
    assert count.json["model"] == MODELS["anthropic"]
    # The SDK speaks this version of the API, there as elsewhere.
    assert {call.json["anthropic_version"] for call in server.calls} == {generate.headers["anthropic-version"]}


def test_googles_sdk_gets_its_answers(proxy: Proxy, server: Upstream) -> None:
    with gemini_client(proxy.url) as client:
        models = client.models
        assert models.generate_content(model="gemini-vx", contents="Hi").text
        assert [chunk.text for chunk in models.generate_content_stream(model="gemini-vx", contents="Hi")]
        assert models.count_tokens(model="gemini-vx", contents="Hi").total_tokens == 12
    assert {call.path.partition("/models/")[0] for call in server.calls} == {f"/v1{ONE}/publishers/google"}


def test_googles_sdk_on_vertex_asks_for_the_accounts_project(proxy: Proxy, server: Upstream) -> None:
    credentials = Credentials(token="its-own-token", quota_project_id="its-own")  # type: ignore[no-untyped-call]
    options = types.HttpOptions(base_url=proxy.url)
    with genai.Client(
        vertexai=True, project="its-own", location="us-central1", credentials=credentials, http_options=options
    ) as client:
        assert [chunk.text for chunk in client.models.generate_content_stream(model="gemini-vx", contents="Hi")]
        assert client.models.count_tokens(model="gemini-vx", contents="Hi").total_tokens == 12
    assert [call.path for call in server.calls] == [
        path_on_vertex("gemini"),
        f"/v1beta1{ONE}/publishers/google/models/gemini-vx:countTokens",
    ]
    # Whose quota counts is said by whoever has the credential.
    assert not any("x-goog-user-project" in call.headers for call in server.calls)


def test_a_vertex_client_asks_for_the_accounts_project(proxy: Proxy, server: Upstream) -> None:
    with anthropic.AnthropicVertex(
        project_id="its-own", region="us-east5", access_token="its-own-token", base_url=f"{proxy.url}/v1", max_retries=0
    ) as client:
        message = client.messages.create(model=MODELS["anthropic"], max_tokens=9, messages=QUESTION, stream=True)
        assert [event.type for event in message][-1] == "message_stop"
        assert client.messages.count_tokens(model=MODELS["anthropic"], messages=QUESTION).input_tokens == 12
    call, count = server.calls
    assert count.path == f"/v1{ONE}/publishers/anthropic/models/count-tokens:rawPredict"
    assert call.path == path_on_vertex("anthropic")
    assert call.credential == "bearer:token-of-one-0123456789"
    assert "model" not in call.json


def test_the_body_of_a_vertex_client_comes_back_as_it_was(proxy: Proxy, server: Upstream) -> None:
    given = b'{ "anthropic_version" : "vertex-2023-10-16", "stream":true,\n"max_tokens":9, "messages":[] }'
    raw.request("POST", proxy.url + path_on_vertex("anthropic", "/projects/its-own/locations/us-east5"), given)
    assert (only(server).body, only(server).path) == (given, path_on_vertex("anthropic"))


def test_a_vertex_client_whose_base_url_lacks_the_version(proxy: Proxy, server: Upstream) -> None:
    for dialect in ("anthropic", "gemini"):
        path = path_on_vertex(dialect).removeprefix("/v1beta1").removeprefix("/v1")
        more = "?alt=sse" if dialect == "gemini" else ""
        response = raw.request("POST", proxy.url + path + more, body(dialect, MODELS[dialect]))
        assert read_stream(dialect, response.body)


@both
def test_a_fault_is_healed_on_the_account_of_another_project(proxy: Proxy, server: Upstream, dialect: str) -> None:
    exhausted = {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}
    limited = Reply(429, JSON_HEADERS, json.dumps([exhausted]).encode())
    server.play(limited, good(dialect, "Healed"))
    assert read_stream(dialect, ask(proxy.url, dialect, MODELS[dialect]).body) == "Healed"
    assert [call.path for call in server.calls] == [path_on_vertex(dialect), path_on_vertex(dialect, TWO)]
    assert [call.credential[-14:-11] for call in server.calls] == ["one", "two"]


@both
@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
def test_an_empty_or_cut_answer_is_asked_for_again(proxy: Proxy, server: Upstream, dialect: str, stream: bool) -> None:
    cut = good(dialect, "").but(end="cut")
    server.play(cut, good(dialect, "Healed"))
    response = ask(proxy.url, dialect, MODELS[dialect], stream=stream)
    said = read_stream(dialect, response.body) if stream else response.body.decode()
    assert (response.status, "Healed" in said, len(server.calls)) == (200, True, 2)


def test_googles_error_is_told_to_an_anthropic_client_in_its_own_words(proxy: Proxy, server: Upstream) -> None:
    denied = {"code": 400, "message": "Something is wrong with it.", "status": "INVALID_ARGUMENT"}
    server.play(Reply(400, JSON_HEADERS, json.dumps([{"error": denied}]).encode()))
    response = ask(proxy.url, "anthropic", MODELS["anthropic"])
    assert response.status == 400
    error = check_anthropic_error(response.status, response.body)
    assert (error["type"], error["message"]) == ("invalid_request_error", "Something is wrong with it.")


def test_its_own_error_and_that_of_a_vertex_client_pass_as_they_came(proxy: Proxy, server: Upstream) -> None:
    own = anthropic_error(400, "invalid_request_error", "max_tokens: Field required")
    googles = gemini_error(400, "INVALID_ARGUMENT", "Something is wrong with it.")
    server.play(own, googles, googles)
    assert ask(proxy.url, "anthropic", MODELS["anthropic"]).body == own.whole
    assert ask(proxy.url, "gemini", MODELS["gemini"]).body == googles.whole
    given = {"max_tokens": 9, "stream": True, "messages": [], "anthropic_version": "vertex-2023-10-16"}
    assert raw.request("POST", proxy.url + path_on_vertex("anthropic"), given).body == googles.whole


def test_an_error_in_an_array_is_told_to_a_gemini_client_as_an_object(proxy: Proxy, server: Upstream) -> None:
    wrong = {"error": {"code": 400, "message": "Wrong.", "status": "INVALID_ARGUMENT"}}
    server.play(Reply(400, JSON_HEADERS, json.dumps([wrong]).encode()))
    response = ask(proxy.url, "gemini", MODELS["gemini"])
    assert (response.status, check_gemini_error(response.status, response.body)["message"]) == (400, "Wrong.")


CALLED = [
    {"role": "user", "parts": [{"text": "Look."}]},
    {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "look", "args": {"id": 1}}}]},
    {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "look", "response": {"id": 2}}}]},
]
UNKNOWN_ID = (
    "Invalid JSON payload received. Unknown name \"id\" at 'contents[1].parts[0].function_call': Cannot find field.\n"
    "Invalid JSON payload received. Unknown name \"id\" at 'contents[2].parts[0].function_response': Cannot find field."
)


def test_ids_of_calls_that_are_not_taken_are_left_out_from_then_on(proxy: Proxy, server: Upstream) -> None:
    server.play(gemini_error(400, "INVALID_ARGUMENT", UNKNOWN_ID))
    for _ in range(2):
        response = raw.request("POST", proxy.url + target("gemini", "gemini-vx-2.5"), {"contents": CALLED})
        assert response.status == 200
    refused, *taken = server.calls
    assert refused.json["contents"] == CALLED
    assert len(taken) == 2
    for call in taken:
        _, (called, answered) = call.json["contents"][0], (each["parts"][0] for each in call.json["contents"][1:])
        assert called == {"functionCall": {"name": "look", "args": {"id": 1}}}
        assert answered == {"functionResponse": {"name": "look", "response": {"id": 2}}}


def test_a_field_that_says_something_is_not_left_out(proxy: Proxy, server: Upstream) -> None:
    unknown = gemini_error(400, "INVALID_ARGUMENT", "Unknown name \"fileSearch\" at 'tools[0]': Cannot find field.")
    server.play(unknown)
    response = ask(proxy.url, "gemini", "gemini-vx-search", more={"tools": [{"fileSearch": {}}]})
    assert (response.status, response.body, len(server.calls)) == (400, unknown.whole, 1)


def test_flags_that_are_not_known_are_left_out(proxy: Proxy, server: Upstream) -> None:
    text = "Unexpected value(s) `b-2`, `c-3` for the `anthropic-beta` header. Please consult our documentation."
    server.play(anthropic_error(400, "invalid_request_error", text))
    for _ in range(2):
        flags = {"anthropic-beta": "a-1,b-2, c-3"}
        assert read_stream("anthropic", ask(proxy.url, "anthropic", "claude-vx-flags", headers=flags).body)
    assert [call.headers["anthropic-beta"] for call in server.calls] == ["a-1,b-2, c-3", "a-1", "a-1"]


def test_the_models_of_the_publisher_are_listed_in_the_apis_form(proxy: Proxy, server: Upstream) -> None:
    with gemini_client(proxy.url) as google:
        described = google.models.get(model="gemini-vx")
    assert described.name == "models/gemini-vx"
    with anthropic_client(proxy.url) as client:
        assert client.models.retrieve("claude-vx@20250929").id == "claude-vx@20250929"
    assert [call.path for call in server.calls] == [
        "/v1beta1/publishers/google/models/gemini-vx",
        "/v1beta1/publishers/anthropic/models/claude-vx@20250929",
    ]


@pytest.mark.parametrize(
    ("client", "model", "upstream"),
    [("anthropic", "claude-for-gemini", "gemini"), ("gemini", "gemini-for-claude", "anthropic")],
)
def test_what_is_translated_goes_there_too(
    proxy: Proxy, server: Upstream, client: str, model: str, upstream: str
) -> None:
    server.play(good(upstream, "").but(end="cut"), good(upstream, "Translated"))
    assert read_stream(client, ask(proxy.url, client, model).body) == "Translated"
    assert [call.path for call in server.calls] == [path_on_vertex(upstream), path_on_vertex(upstream, TWO)]
    if upstream == "anthropic":
        assert {call.json["anthropic_version"] for call in server.calls} == {"vertex-2023-10-16"}


def test_an_api_key_needs_no_project(proxy: Proxy, server: Upstream) -> None:
    assert ask(proxy.url, "gemini", "gemini-express").status == 200
    call = only(server)
    assert call.path == "/v1beta1/publishers/google/models/gemini-express:streamGenerateContent"
    assert call.credential == "x-goog-api-key:AIza-express-0123456789"


def test_without_any_project_it_is_said_where_one_is_missing(proxy: Proxy, server: Upstream) -> None:
    response = ask(proxy.url, "gemini", "gemini-nowhere")
    assert response.status == 400
    message = check_gemini_error(response.status, response.body)["message"]
    assert "upstream express is Vertex AI and names no project" in message
    assert "account nowhere" in message
    assert not server.calls


def test_a_vertex_client_brings_the_project_that_is_missing(proxy: Proxy, server: Upstream) -> None:
    folder = "/v1beta1/projects/its-own/locations/us-central1/publishers/google/models"
    url = f"{proxy.url}{folder}/gemini-nowhere:streamGenerateContent?alt=sse"
    assert raw.request("POST", url, body("gemini", "")).status == 200
    assert only(server).path == f"{folder}/gemini-nowhere:streamGenerateContent"


def test_a_model_that_the_project_may_not_use_is_asked_of_another(proxy: Proxy, server: Upstream) -> None:
    name = f"{ONE[1:]}/publishers/anthropic/models/claude-vx-new"
    text = f"Project `123` is not allowed to use Publisher Model `{name}`"
    server.play(gemini_error(400, "FAILED_PRECONDITION", text))
    assert read_stream("anthropic", ask(proxy.url, "anthropic", "claude-vx-new").body)
    assert [TWO in call.path for call in server.calls] == [False, True]


def test_a_token_that_is_over_is_not_the_last_word(proxy: Proxy, server: Upstream) -> None:
    text = "Request had invalid authentication credentials. Expected OAuth 2 access token."
    expired: dict[str, Any] = {"details": [error_info("ACCESS_TOKEN_EXPIRED")]}
    server.play(gemini_error(401, "UNAUTHENTICATED", text, **expired), gemini_empty())
    try:
        assert ask(proxy.url, "gemini", "gemini-vx-late").status == 200
        assert [ONE in call.path for call in server.calls] == [True, False, False]
    finally:
        raw.request("GET", f"{proxy.url}/health")


def test_a_count_of_a_whole_request_names_none_there(proxy: Proxy, server: Upstream) -> None:
    asked = {"model": "models/gemini-vx", "contents": CALLED, "systemInstruction": {"parts": []}, "toolConfig": {}}
    url = f"{proxy.url}/v1beta/models/gemini-vx:countTokens"
    assert raw.request("POST", url, {"generateContentRequest": asked}).json()["totalTokens"] == 12
    assert only(server).json == {"contents": CALLED, "systemInstruction": {"parts": []}}


@both
def test_an_error_within_a_stream_is_healed_there_too(proxy: Proxy, server: Upstream, dialect: str) -> None:
    busy = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    event = b"data: " + json.dumps(busy).encode() + b"\r\n\r\n"
    server.play(Reply(200, {"content-type": "text/event-stream"}, event), good(dialect, "Healed"))
    assert read_stream(dialect, ask(proxy.url, dialect, MODELS[dialect]).body) == "Healed"


def test_what_is_not_healed_goes_to_the_accounts_project(proxy: Proxy, server: Upstream) -> None:
    for path in ("/v1beta1/projects/its-own/locations/us-central1/cachedContents", "/v1beta/models/gemini-vx:predict"):
        server.play(Reply(200, JSON_HEADERS, b"{}"))
        assert raw.request("POST", proxy.url + path, {"contents": []}).status == 200
    assert [call.path for call in server.calls] == [
        f"/v1beta1{ONE}/cachedContents",
        f"/v1beta1{ONE}/publishers/google/models/gemini-vx:predict",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/projects/its-own/locations/l/cachedContents", "/v1alpha/projects/its-own/locations/l/reasoningEngines",
        "/v1/projects/its-own/models", "/v1/%70rojects/its-own/locations/l/x", "/v1/Projects/its-own/Locations/l/x",
        "/v1/projects/its-own//locations/l/x", "/v1/projects/p-one/locations/l/x/projects/its-own",
    ],
)  # fmt: skip
def test_an_accounts_credential_is_not_sent_to_another_project(proxy: Proxy, server: Upstream, path: str) -> None:
    answer = raw.request("POST", proxy.url + path, {"model": "gemini-vx"}, {"x-goog-api-client": "any"})
    assert not server.calls
    assert answer.status in (400, 404)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/v1/projects/its-own/locations/l/batchPredictionJobs", f"/v1{ONE}/batchPredictionJobs"),
        ("/upload/v1/projects/its-own/locations/l/ragFiles:upload", f"/upload/v1{ONE}/ragFiles:upload"),
        ("/v1beta1/projects/its-own/locations/l", f"/v1beta1{ONE}"),
    ],
)
def test_whatever_a_project_has_is_asked_of_the_accounts(proxy: Proxy, server: Upstream, path: str, there: str) -> None:
    server.play(Reply(200, JSON_HEADERS, b"{}"))
    models = {"model": "gemini-vx"}
    assert raw.request("POST", proxy.url + path, models, {"x-goog-api-client": "any"}).status == 200
    assert only(server).path == there


ODD = ["/../claude-other", "%2F..%2Fclaude-other", "\\..\\claude-other", "\0", "?x=", "#", ";x", "\n", "\ud800"]


@pytest.mark.parametrize("operation", ["", "/count_tokens"])
@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_a_name_that_could_be_another_path_is_put_in_none(
    proxy: Proxy, server: Upstream, odd: str, operation: str
) -> None:
    sent = json.dumps(body("anthropic", f"claude-vx{odd}")).encode()
    answer = raw.request("POST", f"{proxy.url}/v1/messages{operation}", sent, {"content-type": "application/json"})
    assert not server.calls
    assert answer.status == 400
    check_anthropic_error(answer.status, answer.body)
    assert "name" in answer.json()["error"]["message"]


@pytest.mark.parametrize("odd", ODD[:-1], ids=ascii)
def test_where_the_body_names_the_model_it_is_upstreams_to_judge(proxy: Proxy, server: Upstream, odd: str) -> None:
    sent = body("anthropic", f"claude-vx{odd}-elsewhere")
    raw.request("POST", f"{proxy.url}/v1/messages", sent)
    assert only(server).json == sent
