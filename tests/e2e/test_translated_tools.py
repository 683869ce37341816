"""Tools of a client of another dialect: which it wants called, their schemas, the names of their arguments."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.crossed import CrossedLanes
from tests.e2e.failures import with_and_without_stream
from tests.support import raw
from tests.support.anthropic_request import check_anthropic_request
from tests.support.gemini_request import check_gemini_request
from tests.support.json_texts import claude_call
from tests.support.protocol import check_anthropic_json, check_anthropic_stream, check_gemini_json, check_gemini_stream
from tests.upstream import anthropic_reply, gemini_chunk, gemini_event, gemini_reply
from tests.upstream.anthropic import TOOL_ID

CLAUDE = "sonnet-4-5"
LONG = "x" * 70


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for the tests of this file."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=60, routes=("x", CLAUDE)) as made:
        yield made


def asked(lane: Lane, body: dict[str, Any] | bytes, *, stream: bool) -> raw.RawResponse:
    path = "/v1/messages"
    if lane.dialect == "gemini":
        path = f"/v1beta/models/{lane.model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    else:
        assert isinstance(body, dict)
        body = {"model": lane.model, "max_tokens": 64, "stream": stream, **body}
    response = raw.request("POST", lane.proxy.url + path, body)
    assert response.status == 200, response.body
    return response


# What Claude's clients ask of their tools.

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
SAYS = {"messages": [{"role": "user", "content": "Perform a web search for the query: x"}]}
GROUNDED = {
    "webSearchQueries": ["x"],
    "groundingChunks": [{"web": {"uri": "https://x.example/1", "title": "X"}}],
    "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 5, "text": "Found"}, "groundingChunkIndices": [0]}],
}


@with_and_without_stream
@pytest.mark.parametrize("choice", [{"type": "tool", "name": "web_search"}, {"type": "any"}])
def test_a_search_that_is_forced_is_made(lanes: CrossedLanes, choice: dict[str, Any], stream: bool) -> None:
    lane = lanes.lane("anthropic")
    chunk = gemini_chunk([{"text": "Found"}], finish_reason="STOP")
    chunk["candidates"][0]["groundingMetadata"] = GROUNDED
    lane.upstream.play(gemini_reply([gemini_event(chunk)]))
    response = asked(lane, {**SAYS, "tools": [SEARCH], "tool_choice": choice}, stream=stream)
    check = check_anthropic_stream if stream else check_anthropic_json
    assert check(response.body).text == "Found"
    assert b'"web_search_tool_result"' in response.body
    (call,) = lane.calls
    check_gemini_request(call.json)
    assert call.json["tools"] == [{"googleSearch": {}}]
    assert "toolConfig" not in call.json


@with_and_without_stream
def test_one_forced_tool_without_parallel_calls_is_called(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("anthropic")
    call = {"functionCall": {"name": "json", "args": {"a": 1}}}
    lane.upstream.play(gemini_reply([gemini_event(gemini_chunk([call], finish_reason="STOP"))]))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    choice = {"type": "tool", "name": "json", "disable_parallel_tool_use": True}
    tools = [{"name": "json", "input_schema": schema}]
    response = asked(lane, {**SAYS, "tools": tools, "tool_choice": choice}, stream=stream)
    check = check_anthropic_stream if stream else check_anthropic_json
    assert check(response.body).tools == [("json", {"a": 1})]
    (sent,) = lane.calls
    assert sent.json["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["json"]}


def test_a_choice_of_a_tool_that_there_is_not_is_still_refused(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    body = {
        **SAYS,
        "model": lane.model,
        "max_tokens": 9,
        "tools": [SEARCH],
        "tool_choice": {"type": "tool", "name": "y"},
    }
    response = raw.request("POST", f"{lane.proxy.url}/v1/messages", body)
    assert response.status == 400
    assert 'no tool "y"' in response.json()["error"]["message"]
    assert lane.calls == []


def test_a_schema_of_claudes_client_is_one_that_gemini_takes(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    node = {
        "type": "object",
        "properties": {"on": {"enum": [True]}, "next": {"$ref": "#/$defs/Node"}},
        "required": ["next"],
    }
    schema = {"type": ["object", "null"], "properties": {"tree": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    asked(lane, {**SAYS, "tools": [{"name": "look", "input_schema": schema}]}, stream=True)
    (call,) = lane.calls
    check_gemini_request(call.json)
    sent = call.json["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]
    assert sent["type"] == "object"
    assert sent["$defs"]["Node"]["properties"] == {
        "on": {"type": "boolean", "description": "{enum: [true]}"},
        "next": {"$ref": "#/$defs/Node"},
    }
    assert "required" not in sent["$defs"]["Node"]


# The schemas of Gemini's clients.

ITEMS = {"a": {"type": "string"}, "b": {"type": "string"}}
CHOICE = [{"required": ["a"]}, {"required": ["b"]}]
SCHEMAS: dict[str, Any] = {
    "anyOf": {"type": "object", "properties": ITEMS, "anyOf": CHOICE},
    "oneOf": {"type": "object", "properties": ITEMS, "oneOf": CHOICE},
    "allOf": {"type": "object", "allOf": [{"properties": ITEMS}, {"required": ["a"]}]},
    "tuple": {"type": "object", "properties": {"at": {"type": "array", "items": [{"type": "number"}] * 2}}},
    "exclusive": {"type": "object", "properties": {"n": {"type": "number", "minimum": 1, "exclusiveMinimum": True}}},
    "twice": {"type": "object", "properties": ITEMS, "required": ["a", "a"]},
    "own": {"type": "object", "properties": {"a": {"type": "string", "required": True}}},
    "nulls": {"type": "object", "required": None, "properties": None},
    "any": {"type": "object", "properties": {"a": {"type": "any"}}},
    "reference": {"$ref": "#/definitions/A", "definitions": {"A": {"type": "object", "properties": ITEMS}}},
    "nullable": {"type": ["object", "null"], "properties": ITEMS},
}
HELLO = {"role": "user", "parts": [{"text": "Hi"}]}


def declaring(schema: Any, *more: dict[str, Any], spelling: str = "parametersJsonSchema") -> dict[str, Any]:
    tools = [{"functionDeclarations": [{"name": "look", spelling: schema}]}]
    return {"contents": [HELLO, *more], "tools": tools}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_of_geminis_client_is_one_that_claude_takes(lanes: CrossedLanes, name: str) -> None:
    lane = lanes.lane("gemini", CLAUDE)
    asked(lane, declaring(SCHEMAS[name]), stream=True)
    (call,) = lane.calls
    check_anthropic_request(call.json)


def test_a_clean_schema_goes_as_it_is(lanes: CrossedLanes) -> None:
    lane = lanes.lane("gemini", CLAUDE)
    schema = {"type": "object", "required": ["b"], "properties": {"b": {"anyOf": CHOICE}, "a": {"type": "string"}}}
    asked(lane, declaring(schema), stream=True)
    assert json.dumps(schema, separators=(",", ":")).encode() in lane.calls[-1].body


INNER = {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]}
NAMED = {
    "type": "object",
    "properties": {"filter[id]": {"type": "array", "items": INNER}, "user name": {"type": "number"}, LONG: {}},
    "required": ["user name"],
}
# As the client writes it; its numbers are not to be changed on the way.
ARGS = f'{{"filter[id]":[{{"@type":"user name"}}],"user name":1.0,"{LONG}":36893488147419103232,"free":{{}}}}'


@with_and_without_stream
@pytest.mark.parametrize("spelling", ["parametersJsonSchema", "parameters_json_schema", "parameters"])
def test_arguments_come_back_under_the_clients_names_and_go_on_under_the_models(
    lanes: CrossedLanes, spelling: str, stream: bool
) -> None:
    lane = lanes.lane("gemini", CLAUDE)
    asked(lane, declaring(NAMED, spelling=spelling), stream=stream)
    check_anthropic_request(lane.calls[-1].json)
    schema = lane.calls[-1].json["tools"][0]["input_schema"]
    first, second, third = schema["properties"]
    (fourth,) = schema["properties"][first]["items"]["properties"]
    assert schema["required"] == [second]
    there = ARGS
    for own, mapped in (("filter[id]", first), ("user name", second), (LONG, third), ("@type", fourth)):
        assert own != mapped
        there = there.replace(f'"{own}":', f'"{mapped}":')
    lane.upstream.play(anthropic_reply([claude_call([there[:9], there[9:]])]))
    response = asked(lane, declaring(NAMED, spelling=spelling), stream=stream)
    assert f'"args":{ARGS}'.encode() in response.body
    check = check_gemini_stream if stream else check_gemini_json
    assert check(response.body).calls == [("look", json.loads(ARGS))]
    # Its history: the call that is remembered, one that never was Claude's, and what they gave.
    said = '{"user name":"@type"}'
    for own in (TOOL_ID, "elsewhere"):
        given = f'{{"functionCall":{{"id":"{own}","name":"look","args":{ARGS}}}}}'
        result = f'{{"functionResponse":{{"id":"{own}","name":"look","response":{said}}}}}'
        text = json.dumps(
            declaring(NAMED, {"role": "model", "parts": 1}, {"role": "user", "parts": 2}, spelling=spelling)
        )
        body = text.replace('"parts": 1', f'"parts": [{given}]').replace('"parts": 2', f'"parts": [{result}]')
        asked(lane, body.encode(), stream=stream)
        check_anthropic_request(lane.calls[-1].json)
        assert f'"input":{there}'.encode() in lane.calls[-1].body
        assert json.dumps(said).encode() in lane.calls[-1].body


@with_and_without_stream
def test_arguments_whose_names_are_taken_pass_untouched(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("gemini", CLAUDE)
    args = '{"a":1.0,"free name":{"@type":2}}'
    lane.upstream.play(anthropic_reply([claude_call([args])]))
    response = asked(lane, declaring(SCHEMAS["twice"]), stream=stream)
    assert f'"args":{args}'.encode() in response.body
