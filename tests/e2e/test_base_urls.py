"""Base URLs as people write them: without the version of the API or with two: what is meant is served, or told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google import genai

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.streaming import stream_for
from tests.support import raw
from tests.support.sdk import anthropic_client
from tests.upstream import Upstream, anthropic_json, gemini_json, gemini_stream

NATIVE = {"anthropic": {"anthropic-version": "2023-06-01"}, "gemini": {"x-goog-api-client": "google-genai-sdk/3.4"}}


def body_for(lane: Lane, *, stream: bool = True) -> dict[str, object]:
    if lane.dialect == "anthropic":
        messages = [{"role": "user", "content": "Hi"}]
        return {"model": lane.model, "max_tokens": 9, "stream": stream, "messages": messages}
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def path_for(lane: Lane) -> str:
    return "/messages" if lane.dialect == "anthropic" else f"/models/{lane.model}:streamGenerateContent?alt=sse"


@both_dialects
@pytest.mark.parametrize("before", ["", "/VERSION/VERSION", "/", "//VERSION/"])
def test_what_is_meant_is_asked_healed_and_answered(lane: Lane, before: str) -> None:
    version = "/v1" if lane.dialect == "anthropic" else "/v1beta"
    good = stream_for(lane, "Hello")
    lane.upstream.play(stream_for(lane, "").but(end="cut"), good)
    url = lane.proxy.url + before.replace("/VERSION", version) + path_for(lane)
    response = raw.request("POST", url, body_for(lane))
    assert (response.status, response.body) == (200, good.whole)
    assert [(call.path, call.query) for call in lane.calls] == [
        (version + path_for(lane).partition("?")[0], path_for(lane).partition("?")[2])
    ] * 2


def test_anthropics_sdk_whose_base_url_has_the_version(lane: Lane) -> None:
    lane.upstream.play(anthropic_json("Hello"))
    with anthropic_client(lane.proxy.url + "/v1") as client:
        answer = client.messages.create(
            model=lane.model, max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        )  # fmt: skip
    assert answer.content[0].text == "Hello"  # type: ignore[union-attr]
    assert {call.path for call in lane.calls} == {"/v1/messages"}


@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
def test_googles_sdk_whose_base_url_has_the_version(lane: Lane) -> None:
    lane.upstream.play(gemini_json("Hello"))
    options = genai.types.HttpOptions(base_url=lane.proxy.url + "/v1beta/")
    client = genai.Client(api_key="client-key", http_options=options)
    assert client.models.generate_content(model=lane.model, contents="Hi").text == "Hello"
    # The version that the SDK itself writes is the one that counts.
    assert {call.path for call in lane.calls} == {f"/v1/models/{lane.model}:streamGenerateContent"}


@both_dialects
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions", "/messages/batches"])
def test_what_is_not_clear_is_told_the_right_base_url_for_its_api(lane: Lane, path: str) -> None:
    response = raw.request("POST", lane.proxy.url + path, {}, {"content-type": "application/json"})
    assert response.status == 404
    message = response.json()["error"]["message"]
    for url in (f"{lane.proxy.url},", f"{lane.proxy.url}/v1 (Anthropic)", f"{lane.proxy.url}/v1beta (Gemini)"):
        assert url in message


@both_dialects
def test_a_client_of_one_api_is_told_of_that_one(lane: Lane) -> None:
    response = raw.request("POST", lane.proxy.url + "/completions", {}, NATIVE[lane.dialect])
    message, other = response.json()["error"]["message"], {"anthropic": "(Gemini)", "gemini": "(Anthropic)"}
    assert response.status == 404
    assert f"A client's base URL is {lane.proxy.url}" in message
    assert other[lane.dialect] not in message.partition("A client's base URL")[2]


@pytest.fixture(scope="module")
def reversed_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    folder: Path = tmp_path_factory.mktemp("reverse")
    with Upstream() as server:
        config = account("g", "gemini") + upstream("gemini", "gemini", server.url)
        with Proxy(folder, config, args=["--mode", f"reverse:{server.url}"]) as proxy:
            yield proxy, server


def test_in_reverse_mode_it_is_the_same_for_a_configured_upstream(reversed_proxy: tuple[Proxy, Upstream]) -> None:
    proxy, server = reversed_proxy
    good = gemini_stream("Hello")
    server.play(gemini_stream(""), good)
    response = raw.request("POST", f"{proxy.url}/models/m:streamGenerateContent?alt=sse", {"contents": []})
    assert response.body == good.whole
    assert [call.path for call in server.calls] == ["/v1beta/models/m:streamGenerateContent"] * 2
    server.reset()
    raw.request("POST", f"{proxy.url}/messages", {})
    assert [call.path for call in server.calls] == ["/messages"]
