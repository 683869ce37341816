"""What a translated route has beside its answers: counting, models, refusals, concessions, forms."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.crossed import (
    OTHER,
    CrossedLanes,
    each_client,
)
from tests.e2e.failures import ask, request_of, with_and_without_stream
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.streaming import BROKEN, seen
from tests.support import raw
from tests.support.protocol import (
    check_anthropic_error,
    check_anthropic_json,
    check_anthropic_stream,
    check_gemini_json,
)
from tests.support.sdk import anthropic_client, gemini_client
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_error,
    anthropic_json,
    anthropic_stream,
    gemini_error,
    gemini_error_event,
    gemini_json,
    gemini_reply,
    gemini_stream,
)


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for the tests of this file."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=130, routes=("x", "on-gemini-4-pro")) as made:
        yield made


# Other operations.


@each_client
def test_tokens_are_counted_by_the_other_api(lanes: CrossedLanes, client: str) -> None:
    lane = lanes.lane(client)
    if client == "anthropic":
        body: Any = {"model": lane.model, "messages": [{"role": "user", "content": "hi"}]}
        with anthropic_client(lane.proxy.url) as sdk:
            assert sdk.messages.count_tokens(**body).input_tokens == 12
        (call,) = lane.calls
        assert call.path.endswith(":countTokens")
        assert call.json["generateContentRequest"]["contents"][0]["parts"] == [{"text": "hi"}]
    else:
        google = gemini_client(lane.proxy.url)
        assert google.models.count_tokens(model=lane.model, contents="hi").total_tokens == 12
        (call,) = lane.calls
        assert call.path == "/v1/messages/count_tokens"
        assert "max_tokens" not in call.json


@each_client
def test_a_model_is_described_under_the_name_that_the_client_uses(lanes: CrossedLanes, client: str) -> None:
    lane = lanes.lane(client)
    if client == "anthropic":
        with anthropic_client(lane.proxy.url) as sdk:
            assert sdk.models.retrieve(lane.model).id == lane.model
    else:
        google = gemini_client(lane.proxy.url)
        assert google.models.get(model=lane.model).name == f"models/{lane.model}"
    (call,) = lane.calls
    assert call.method == "GET"


@each_client
def test_the_model_list_shows_the_mapped_names_where_all_is_translated(client: str, tmp_path: Path) -> None:
    other = OTHER[client]
    with Upstream() as server:
        config = account("only", other) + upstream(other, other, server.url)
        config += f'[models]\n"big-model" = "{other}/there"\n"small-*" = "{other}/there"\n'
        with Proxy(tmp_path, config) as proxy:
            if client == "anthropic":
                with anthropic_client(proxy.url) as sdk:
                    assert [model.id for model in sdk.models.list()] == ["big-model"]
            else:
                google = gemini_client(proxy.url)
                assert [model.name for model in google.models.list()] == ["models/big-model"]
        assert server.calls == []


@each_client
def test_a_clients_own_credential_never_goes_to_an_upstream_without_an_account(client: str, tmp_path: Path) -> None:
    other = OTHER[client]
    with Upstream() as server:
        config = upstream(other, other, server.url) + f'[models]\n"m-*" = "{other}/there"\n'
        with Proxy(tmp_path, config) as proxy:
            lane = Lane(proxy, server, client, "m-1", ("", ""))
            target, body = request_of(lane, "m-1", stream=True)
            name = "x-api-key" if client == "anthropic" else "x-goog-api-key"
            response = raw.request("POST", proxy.url + target, body, {name: "own-secret-0123456789"})
            assert response.status == 200
            proxy.wait_for_log(f"{other} has no account")
        (call,) = server.calls
        assert call.credentials == []
        assert "own-secret" not in str(call.headers) + call.path + call.query


# What can't be translated.


@with_and_without_stream
def test_what_can_not_be_translated_is_refused_by_name_before_anything_is_sent(
    lanes: CrossedLanes, stream: bool
) -> None:
    lane = lanes.lane("anthropic")
    upload = {"type": "container_upload", "file_id": "f1"}
    body = {"model": lane.model, "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": [upload]}]}
    response = raw.request("POST", f"{lane.proxy.url}/v1/messages", body)
    error = check_anthropic_error(response.status, response.body)
    assert response.status == 400
    assert "messages.0.content.0" in error["message"]
    assert "container_upload" in error["message"]
    lane = lanes.lane("gemini", reset=False)
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "cachedContent": "cachedContents/1"}
    response = raw.request("POST", f"{lane.proxy.url}/v1beta/models/{lane.model}:generateContent", body)
    assert response.status == 400
    assert "cachedContent" in response.json()["error"]["message"]
    assert lane.upstream.calls == []


@each_client
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"model": 1e999}'], ids=["empty", "half", "list", "text", "odd"]
)
def test_a_body_that_is_no_request_is_refused_in_the_clients_dialect(
    lanes: CrossedLanes, client: str, body: bytes
) -> None:
    lane = lanes.lane(client)
    if client == "anthropic":
        body = body.replace(b"{", b'{"model": "%s", ' % lane.model.encode()).replace(b'"model": 1e999', b'"x": 1')
        response = raw.request("POST", f"{lane.proxy.url}/v1/messages", body)
    else:
        response = raw.request("POST", f"{lane.proxy.url}/v1beta/models/{lane.model}:generateContent", body)
    assert response.status >= 400
    assert "error" in response.json()


def test_gemini_4_takes_no_prefill(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic", "on-gemini-4-pro")
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    body = {"model": lane.model, "max_tokens": 9, "messages": messages}
    response = raw.request("POST", f"{lane.proxy.url}/v1/messages", body)
    assert response.status == 400
    assert "prefill" in check_anthropic_error(400, response.body)["message"]


# Concessions.


@with_and_without_stream
def test_a_thinking_level_that_is_refused_is_left_out_once_and_for_all(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("anthropic")
    refusal = gemini_error(400, "INVALID_ARGUMENT", "Thinking level is not supported for this model.")
    body = {
        "model": lane.model, "max_tokens": 9000, "stream": stream, "messages": [{"role": "user", "content": "hi"}],
        "thinking": {"type": "enabled", "budget_tokens": 8000},
    }  # fmt: skip

    def levels(*plan: Reply) -> list[str | None]:
        before = len(lane.calls)
        lane.upstream.play(*plan)
        response = raw.request("POST", f"{lane.proxy.url}/v1/messages", body)
        assert response.status == 200, response.body
        calls = lane.calls[before:]
        assert all(call.json["generationConfig"]["thinkingConfig"]["includeThoughts"] for call in calls)
        return [call.json["generationConfig"]["thinkingConfig"].get("thinkingLevel") for call in calls]

    good = gemini_stream("fine")
    assert levels(refusal, good) == ["medium", "low"]
    assert levels(good) == ["low"]
    assert levels(refusal, good) == ["low", None]
    assert levels(good) == [None]
    lane.proxy.wait_for_log("retrying... without a thinking level")


def test_ids_of_calls_that_are_refused_are_left_out_once_and_for_all(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    text = (
        "Invalid JSON payload received. Unknown name \"id\" at 'contents[1].parts[0].function_call': Cannot find field."
    )
    call = {"type": "tool_use", "id": "toolu_0123456789abcdefr_own1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "seen"}
    said = (("user", "look"), ("assistant", [call]), ("user", [result]))
    messages = [{"role": role, "content": content} for role, content in said]
    body = {"model": lane.model, "max_tokens": 9, "stream": True, "messages": messages}
    lane.upstream.play(gemini_error(400, "INVALID_ARGUMENT", text), gemini_stream("a"), gemini_stream("b"))
    for _ in range(2):
        assert raw.request("POST", f"{lane.proxy.url}/v1/messages", body).status == 200
    sent = [call.json["contents"][1]["parts"][0]["functionCall"].get("id") for call in lane.calls]
    assert sent == ["own1", None, None]


def test_an_effort_that_is_refused_is_left_out(lanes: CrossedLanes) -> None:
    lane = lanes.lane("gemini")
    refusal = anthropic_error(400, "invalid_request_error", "This model does not support the effort parameter.")
    body = {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}},
    }
    lane.upstream.play(refusal, anthropic_stream("fine"))
    target = f"/v1beta/models/{lane.model}:streamGenerateContent?alt=sse"
    assert raw.request("POST", lane.proxy.url + target, body).status == 200
    assert ["thinking" in call.json for call in lane.calls] == [True, False]


def test_a_refusal_that_is_about_something_else_is_delivered(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    asked = ask(lane, gemini_error(400, "INVALID_ARGUMENT", "The contents are not supported."))
    assert asked.status == 400


# Forms.


def test_a_gemini_client_without_sse_gets_one_array(lanes: CrossedLanes) -> None:
    lane = lanes.lane("gemini")
    target, body = request_of(lane, lane.model, stream=True, sse=False)
    lane.upstream.play(anthropic_stream("Hello there", thinking="Hm."))
    response = raw.request("POST", lane.proxy.url + target, body)
    assert (response.header("content-type") or "").startswith("application/json")
    chunks = response.json()
    parts = [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]
    assert "".join(part["text"] for part in parts if not part.get("thought")) == "Hello there"
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    lane = lanes.lane("gemini")
    target, body = request_of(lane, lane.model, stream=True, sse=False)
    lane.upstream.play(anthropic_stream("Hello there", pieces=3).first(5))
    response = raw.request("POST", lane.proxy.url + target, body)
    # An array that stays open does not seem to be all.
    assert "error" in json.loads(response.body + b"]")[-1]
    assert response.ended in BROKEN


@with_and_without_stream
@each_client
def test_an_upstream_that_answers_with_a_whole_answer_is_translated_all_the_same(
    lanes: CrossedLanes, client: str, stream: bool
) -> None:
    lane = lanes.lane(client)
    reply = gemini_json("whole") if client == "anthropic" else anthropic_json("whole")
    target, body = request_of(lane, lane.model, stream=stream)
    lane.upstream.play(reply)
    response = raw.request("POST", lane.proxy.url + target, body)
    if stream:
        assert seen(client, response.body).text == "whole"
    else:
        check = check_anthropic_json if client == "anthropic" else check_gemini_json
        assert check(response.body).text == "whole"


@each_client
def test_the_headers_tell_the_account_and_the_model_that_was_asked(lanes: CrossedLanes, client: str) -> None:
    lane = lanes.lane(client)
    for stream in (True, False):
        target, body = request_of(lane, lane.model, stream=stream)
        response = raw.request("POST", lane.proxy.url + target, body)
        assert response.header("x-mapped-model") == lane.upstream_model
        assert response.header("x-account-email") == f"{lane.accounts[0]}@accounts.example"
        assert response.header("x-healing-outcome") == "clean"
    assert {call.credential.rpartition(":")[2] for call in lane.calls} == {key_of(lane.accounts[0])}
    lane.proxy.wait_for_log("translated to")


@with_and_without_stream
def test_a_key_that_upstream_repeats_is_not_told(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("anthropic")
    key = key_of(lane.accounts[0])
    suspended = gemini_error(400, "FAILED_PRECONDITION", f"Consumer 'api_key:{key}' has been suspended.")
    asked = ask(lane, suspended, stream=stream)
    assert "has been suspended" in asked.error()["message"]
    assert key.encode() not in asked.body
    lane = lanes.lane("anthropic")
    told = gemini_error_event(400, None, f"Consumer 'api_key:{key_of(lane.accounts[0])}' has been suspended.")
    asked = ask(lane, gemini_reply([*gemini_stream("Hello", pieces=3).chunks[:1], told]), stream=stream)
    assert b"has been suspended" in asked.body
    assert key_of(lane.accounts[0]).encode() not in asked.body


def test_vertex_has_to_be_told_the_project(tmp_path: Path) -> None:
    place = "https://europe-west4-aiplatform.googleapis.com"
    config = '[[accounts]]\nname = "v"\nupstream = "vertex"\nbearer = "token-of-v-0123456789"\n'
    config += upstream("vertex", "gemini", place) + '[models]\n"m" = "vertex/gemini-3-pro"\n'
    with Proxy(tmp_path, config) as proxy:
        target, body = request_of(Lane(proxy, None, "anthropic", "m", ("", "")), "m", stream=True)  # type: ignore[arg-type]
        response = raw.request("POST", proxy.url + target, body)
    assert "names no project: give it, or account v, a project" in check_anthropic_error(400, response.body)["message"]


def test_vertex_is_asked_in_its_own_path(tmp_path: Path) -> None:
    prefix = "/v1/projects/p/locations/l/publishers/google"
    with Upstream() as server:
        config = account("v", "vertex") + upstream("vertex", "gemini", server.url + prefix)
        with Proxy(tmp_path, config + '[models]\n"m" = "vertex/gemini-3-pro"\n') as proxy:
            target, body = request_of(Lane(proxy, server, "anthropic", "m", ("", "")), "m", stream=True)
            assert check_anthropic_stream(raw.request("POST", proxy.url + target, body).body).text == "Hello"
            raw.request("GET", f"{proxy.url}/v1/models/m", headers={"anthropic-version": "2023-06-01"})
        asked, described = server.calls
        below = "/v1beta1/projects/p/locations/l/publishers/google"
        assert asked.path == f"{below}/models/gemini-3-pro:streamGenerateContent"
        assert described.path == "/v1beta1/publishers/google/models/gemini-3-pro"
