"""Inputs of tools on their way through the proxy: the text that the model wrote arrives, and comes back upstream."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.crossed import CrossedLanes
from tests.e2e.failures import answer, ask, with_and_without_stream
from tests.e2e.streaming import OwnLanes
from tests.support import raw
from tests.support.json_texts import CASES, claude_call, claude_message, gemini_answer, gemini_call
from tests.upstream import Reply, anthropic_reply, gemini_reply
from tests.upstream.anthropic import JSON_HEADERS, TOOL_ID

each_client = pytest.mark.parametrize("client", ["anthropic", "gemini"])
each_case = pytest.mark.parametrize("text", CASES)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """Clients whose upstream speaks another dialect."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=100) as made:
        yield made


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLanes]:
    """Clients whose upstream speaks as they do."""
    with OwnLanes(tmp_path_factory.mktemp("native"), "", lanes=80) as made:
        yield made


def calling(lane: Lane, text: str) -> Reply:
    """A stream that calls a tool with this input."""
    if lane.upstream_dialect == "anthropic":
        return anthropic_reply([claude_call([text[:4], text[4:7], text[7:]])])
    return gemini_reply([gemini_call(text)])


def calling_at_once(lane: Lane, text: str) -> Reply:
    """The same as a whole answer, which some gateways give to whoever asks for a stream."""
    body = claude_message(text) if lane.upstream_dialect == "anthropic" else gemini_answer(text)
    return Reply(headers=JSON_HEADERS, body=body)


def input_told(lane: Lane, body: bytes, text: str, *, stream: bool) -> bool:
    """Whether the client was told of a call with this input."""
    if lane.dialect == "gemini":
        return f'"args":{text}'.encode() in body
    if not stream:
        return f'"input":{text}'.encode() in body
    data = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    return "".join(each["delta"].get("partial_json", "") for each in data if "delta" in each) == text


def history(lane: Lane, text: str, call_id: str) -> bytes:
    """The next request of the conversation, of a client that gives back what it got."""
    if lane.dialect == "anthropic":
        call = f'{{"type":"tool_use","id":"{call_id}","name":"look","input":{text}}}'
        result = f'{{"type":"tool_result","tool_use_id":"{call_id}","content":"seen"}}'
        said = f'{{"role":"assistant","content":[{call}]}},{{"role":"user","content":[{result}]}}'
        head = f'"model":"{lane.model}","max_tokens":64,"stream":true'
        return f'{{{head},"messages":[{{"role":"user","content":"Say hello."}},{said}]}}'.encode()
    call = f'{{"functionCall":{{"id":"{call_id}","name":"look","args":{text}}}}}'
    result = f'{{"functionResponse":{{"id":"{call_id}","name":"look","response":{text}}}}}'
    said = f'{{"role":"model","parts":[{call}]}},{{"role":"user","parts":[{result}]}}'
    return f'{{"contents":[{{"role":"user","parts":[{{"text":"Say hello."}}]}},{said}]}}'.encode()


def given_back(lane: Lane, text: str, call_id: str) -> bytes:
    """What upstream gets of the next request."""
    lane.upstream.play(answer(lane))
    path = "/v1/messages"
    if lane.dialect == "gemini":
        path = f"/v1beta/models/{lane.model}:streamGenerateContent?alt=sse"
    response = raw.request("POST", lane.proxy.url + path, history(lane, text, call_id))
    assert response.status == 200, response.body
    return lane.calls[-1].body


def id_in(body: bytes) -> str:
    """The id of the call in an answer."""
    return "toolu_" + body.partition(b"toolu_")[2].partition(b'"')[0].decode()


@pytest.mark.covering(1)
@with_and_without_stream
@each_client
@each_case
def test_what_the_model_wrote_crosses_and_comes_back(
    crossed: CrossedLanes, client: str, stream: bool, text: str
) -> None:
    lane = crossed.lane(client)
    asked = ask(lane, calling(lane, text), stream=stream)
    assert asked.status == 200
    assert input_told(lane, asked.body, text, stream=stream), asked.body
    sent = given_back(lane, text, id_in(asked.body) if client == "anthropic" else TOOL_ID)
    name = "args" if client == "anthropic" else "input"
    assert f'"{name}":{text}'.encode() in sent
    if client == "gemini":
        assert f'"content":{json.dumps(text)}'.encode() in sent


@each_client
@each_case
def test_what_came_at_once_crosses(crossed: CrossedLanes, client: str, text: str) -> None:
    lane = crossed.lane(client)
    asked = ask(lane, calling_at_once(lane, text), stream=False)
    assert asked.status == 200
    assert input_told(lane, asked.body, text, stream=False), asked.body


@pytest.mark.covering(1)
@each_client
@each_case
def test_what_the_model_wrote_is_collected_and_comes_back(native: OwnLanes, client: str, text: str) -> None:
    lane = native.lane(client)
    asked = ask(lane, calling(lane, text), stream=False)
    assert asked.status == 200
    assert input_told(lane, asked.body, text, stream=False), asked.body
    sent = given_back(lane, text, TOOL_ID)
    assert sent == history(lane, text, TOOL_ID)


@each_client
def test_a_stream_of_the_same_dialect_passes_byte_for_byte(native: OwnLanes, client: str) -> None:
    lane = native.lane(client)
    for text in CASES:
        reply = calling(lane, text)
        assert ask(lane, reply).body == reply.whole


NO_JSON = '{"x": NaN}'


def text_of(asked: Any) -> str:
    report = asked.report()
    assert report.ended == "complete"
    return str(report.text)


@with_and_without_stream
@each_client
def test_an_input_that_is_no_json_leads_to_another_try(crossed: CrossedLanes, client: str, stream: bool) -> None:
    lane = crossed.lane(client)
    asked = ask(lane, calling(lane, NO_JSON), answer(lane, "Hello"), stream=stream)
    assert (text_of(asked), len(asked.calls)) == ("Hello", 2)
    if not stream:
        asked = ask(lane, calling_at_once(lane, NO_JSON), answer(lane, "Hello", stream=False), stream=False)
        assert (text_of(asked), len(asked.calls)) == ("Hello", 2)


@each_client
def test_an_input_that_is_no_json_is_not_collected(native: OwnLanes, client: str) -> None:
    lane = native.lane(client)
    asked = ask(lane, calling(lane, NO_JSON), answer(lane, "Hello"), stream=False)
    assert (text_of(asked), len(asked.calls)) == ("Hello", 2)
    if client == "anthropic":
        assert asked.logged('the model called "look" with an input that is no JSON object')


def test_a_history_with_a_call_that_is_no_json_is_refused_in_words(crossed: CrossedLanes) -> None:
    lane = crossed.lane("anthropic")
    response = raw.request("POST", lane.proxy.url + "/v1/messages", history(lane, NO_JSON, TOOL_ID))
    assert response.status == 400
    assert "NaN is no JSON" in response.json()["error"]["message"]
    assert not lane.calls
