"""Names, flags, counts and words on their way to the other side: each reaches whom it is for, in his own words."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.collector import AnthropicCollector

from tests.e2e.conftest import Lane
from tests.e2e.crossed import CrossedLanes
from tests.e2e.failures import answer, ask, error, request_of, with_and_without_stream
from tests.e2e.harness import Proxy, account, upstream
from tests.support import raw
from tests.support.collecting import taken
from tests.support.protocol import AnthropicReport, GeminiReport, check_anthropic_stream
from tests.support.refusals import BOUND
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_error,
    anthropic_events,
    anthropic_reply,
    anthropic_stream,
    gemini_chunk,
    gemini_event,
    gemini_reply,
    gemini_stream,
)

on_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)
GEMMA = "gemma-4-31b-it"


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for clients whose upstream speaks another dialect."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=60) as made:
        yield made


def post(lane: Lane, body: dict[str, Any], headers: dict[str, str] | None = None) -> raw.RawResponse:
    """Ask for a stream with fields of one's own."""
    path, asked = request_of(lane, lane.model, stream=True)
    return raw.request("POST", lane.proxy.url + path, {**asked, **body}, headers or {})


# Calls that nobody can carry out.

NO_CALLS: dict[str, list[dict[str, Any]]] = {
    "without a name": [{"args": {"path": "/x"}}],
    "arguments in a string": [{"name": "Read", "args": '{"path": "x"}'}],
    "arguments in a list": [{"name": "Read", "args": ["x"]}],
    "in pieces": [
        {"name": "Read", "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.path", "stringValue": "B"}]},
    ],
}


def calling(*calls: dict[str, Any]) -> Reply:
    """A stream of Gemini that makes these calls, each in an event of its own."""
    chunks = [gemini_chunk([{"functionCall": call}]) for call in calls]
    return gemini_reply([*map(gemini_event, chunks), gemini_event(gemini_chunk([], finish_reason="STOP"))])


def calling_at_once(*calls: dict[str, Any]) -> Reply:
    """The same as a whole answer."""
    body = gemini_chunk([{"functionCall": call} for call in calls], finish_reason="STOP")
    return Reply(headers={"content-type": "application/json"}, body=json.dumps(body).encode())


@with_and_without_stream
@pytest.mark.parametrize("name", NO_CALLS)
def test_a_call_that_nobody_can_carry_out_is_tried_again_for_a_client_of_claude(
    lanes: CrossedLanes, stream: bool, name: str
) -> None:
    asked = ask(lanes.lane("anthropic"), calling(*NO_CALLS[name]), gemini_stream("Hello"), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged("the model called ")


@with_and_without_stream
@on_gemini
@pytest.mark.parametrize("name", NO_CALLS)
def test_a_call_that_nobody_can_carry_out_is_tried_again_for_a_client_of_gemini(
    lane: Lane, stream: bool, name: str
) -> None:
    for bad in [calling(*NO_CALLS[name])] + ([] if stream else [calling_at_once(*NO_CALLS[name])]):
        asked = ask(lane, bad, gemini_stream("Hello"), stream=stream, same=False)
        assert (asked.report().text, len(asked.calls)) == ("Hello", 2)
        assert asked.logged("the model called ")


@on_gemini
def test_calls_in_pieces_pass_to_a_client_that_asks_for_them(lane: Lane) -> None:
    reply = calling(*NO_CALLS["in pieces"], {})
    lane.upstream.play(reply)
    wanted = {"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}}
    response = post(lane, wanted)
    assert (response.status, response.body, len(lane.calls)) == (200, reply.whole, 1)


@with_and_without_stream
def test_a_call_of_claude_that_nobody_can_carry_out_is_tried_again_for_a_client_of_gemini(
    lanes: CrossedLanes, stream: bool
) -> None:
    start = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    for text in ('["x"]', '"x"', '{"x":'):
        delta = {"type": "input_json_delta", "partial_json": text}
        events = [
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
        ]
        lines = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events]
        head, *_, stop, end = anthropic_events("", stop_reason="tool_use")
        lane = lanes.lane("gemini")
        asked = ask(lane, anthropic_reply([head, *lines, stop, end]), answer(lane), stream=stream)
        assert (asked.report().text, len(asked.calls)) == ("Hello", 2)


# Counts and code.


@with_and_without_stream
def test_what_geminis_tools_found_is_counted_as_input(lanes: CrossedLanes, stream: bool) -> None:
    usage = {"promptTokenCount": 91, "toolUsePromptTokenCount": 239, "candidatesTokenCount": 60}
    usage |= {"thoughtsTokenCount": 160, "totalTokenCount": 550}
    chunk = {**gemini_chunk([{"text": "Hello"}], finish_reason="STOP"), "usageMetadata": usage}
    report = ask(lanes.lane("anthropic"), gemini_reply([gemini_event(chunk)]), stream=stream).report()
    assert isinstance(report, AnthropicReport)
    assert (report.usage["input_tokens"], report.usage["output_tokens"]) == (330, 220)


@with_and_without_stream
def test_the_results_of_code_go_with_their_codes(lanes: CrossedLanes, stream: bool) -> None:
    codes: list[dict[str, Any]] = [{"executableCode": {"id": each, "code": each}} for each in ("x", "y")]
    results = [{"codeExecutionResult": {"id": each, "outcome": "OUTCOME_OK", "output": each}} for each in ("y", "x")]
    parts = [*codes, *results, {"text": "Hello"}]
    reply = gemini_reply([gemini_event(gemini_chunk(parts, finish_reason="STOP"))])
    report = ask(lanes.lane("anthropic"), reply, stream=stream).report()
    assert isinstance(report, AnthropicReport)
    streamed = taken(AnthropicCollector(), [event for _, event in report.events])
    blocks = streamed.content if stream else report.message["content"]
    ran = {block["id"]: block["input"]["code"] for block in blocks if block["type"] == "server_tool_use"}
    told = [block for block in blocks if block["type"] == "code_execution_tool_result"]
    assert [(ran[block["tool_use_id"]], block["content"]["stdout"]) for block in told] == [("y", "y"), ("x", "x")]


# Whose words.

GOOGLES = "The input token count (1250000) exceeds the maximum number of tokens allowed (1048576)."
VERTEXS = (
    "Unable to submit request because the input token count is 1250000 but model only supports up to 1048576. "
    "Reduce the input token count and try again."
)
CLAUDES = "prompt is too long: 1250000 tokens > 1048576 maximum"


@with_and_without_stream
@pytest.mark.parametrize(
    ("client", "said", "told"),
    [("anthropic", GOOGLES, CLAUDES), ("anthropic", VERTEXS, CLAUDES), ("gemini", CLAUDES, GOOGLES)],
)
def test_a_prompt_that_is_too_long_is_told_as_the_clients_agents_know_it(
    lanes: CrossedLanes, stream: bool, client: str, said: str, told: str
) -> None:
    lane = lanes.lane(client)
    asked = ask(lane, error(lane, 400, said), stream=stream)
    assert (asked.status, len(asked.calls), asked.error()["message"]) == (400, 1, told)


@with_and_without_stream
@pytest.mark.parametrize("client", ["anthropic", "gemini"])
def test_another_refusal_keeps_its_words(lanes: CrossedLanes, stream: bool, client: str) -> None:
    lane = lanes.lane(client)
    words = "max_tokens: 1250000 > 64000, which is the maximum allowed number of output tokens"
    asked = ask(lane, error(lane, 400, words), stream=stream)
    assert (asked.status, asked.error()["message"]) == (400, words)


# What is no prompt, and who the client is.

BILLING = "x-anthropic-billing-header: cc_version=2.1.197.1f3; cc_entrypoint=cli; cch=ab12c;"


def test_the_line_by_which_claude_code_is_billed_reaches_anthropic_only(lanes: CrossedLanes) -> None:
    system = [{"type": "text", "text": BILLING}, {"type": "text", "text": "Be brief."}]
    lane = lanes.lane("anthropic")
    assert post(lane, {"system": system}).status == 200
    assert lane.calls[-1].json["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


@pytest.mark.parametrize("client", ["anthropic", "gemini"])
def test_the_other_provider_is_not_told_what_product_the_client_is(lanes: CrossedLanes, client: str) -> None:
    lane = lanes.lane(client)
    assert post(lane, {}, {"User-Agent": "claude-cli/2.1.197 (external, cli)"}).status == 200
    assert lane.calls[-1].headers["user-agent"] == "antigravity-healing-proxy"
    assert b"claude-cli" not in lane.calls[-1].body


@with_and_without_stream
def test_a_tool_that_gemini_calls_with_its_namespace_is_the_clients_tool(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("anthropic")
    path, asked = request_of(lane, lane.model, stream=stream)
    asked |= {"tools": [{"name": "Read", "input_schema": {"type": "object"}}]}
    lane.upstream.play(calling({"name": "default_api:Read", "args": {"path": "x"}}), gemini_stream("Hello"))
    response = raw.request("POST", lane.proxy.url + path, asked)
    assert b'"name":"Read"' in response.body
    assert b"default_api" not in response.body
    call = {"type": "tool_use", "id": "toolu_of_another", "name": "default_api:Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_of_another", "content": "seen"}
    said = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    asked["messages"] = [*asked["messages"], *said]
    assert raw.request("POST", lane.proxy.url + path, asked).status == 200
    parts = [part for content in lane.calls[-1].json["contents"] for part in content["parts"]]
    assert [part["functionCall"]["name"] for part in parts if "functionCall" in part] == ["Read"]
    assert [part["functionResponse"]["name"] for part in parts if "functionResponse" in part] == ["Read"]


# Flags.


@pytest.fixture(scope="module")
def flagged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    """A proxy with an account that has flags of its own, and one whose Gemini upstream serves Gemma."""
    with Upstream() as server:
        headers = '[accounts.headers]\n"Anthropic-Beta" = "oauth-2025-04-20, both-2026-01-01"\n'
        config = account("flags", "up", models=["claude-*"]) + headers + account("google", "google")
        config += upstream("up", "anthropic", server.url) + upstream("google", "gemini", server.url)
        config += f'[models]\n"opus" = "google/{GEMMA}"\n"sonnet" = "google/gemini-3-pro-preview"\n'
        with Proxy(tmp_path_factory.mktemp("flags"), config) as proxy:
            yield proxy, server


def turns(answered: list[Any], asked: Any = "Go on.") -> list[Any]:
    """A question, what was answered, and what is said now."""
    roles = ("user", "assistant", "user")
    return [{"role": role, "content": each} for role, each in zip(roles, ("Hi", answered, asked), strict=True)]


def signed_history(model: str) -> dict[str, Any]:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk" * 10}
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "Ho"}]},
    ]
    more = {"role": "user", "content": "Go on."}
    return {
        "model": model,
        "max_tokens": 9,
        "stream": True,
        "thinking": {"type": "adaptive"},
        "messages": [*said, more],
    }


def test_the_flags_of_client_repair_and_account_join(flagged: tuple[Proxy, Upstream]) -> None:
    proxy, server = flagged
    server.reset()
    server.play(anthropic_error(400, "invalid_request_error", BOUND), anthropic_stream("oauth-2025-04-20 it is"))
    headers = {"anthropic-beta": "context-management-2025-06-27,both-2026-01-01"}
    response = raw.request("POST", f"{proxy.url}/v1/messages", signed_history("claude-fable-5-2"), headers)
    # Flags are no secrets, which would be taken out of what upstream says.
    assert check_anthropic_stream(response.body).text == "oauth-2025-04-20 it is"
    joined = "context-management-2025-06-27,both-2026-01-01"
    assert [call.headers["anthropic-beta"] for call in server.calls] == [
        f"{joined},oauth-2025-04-20",
        f"{joined},thinking-binding-controls-2026-08-01,oauth-2025-04-20",
    ]
    assert [call.headers["x-api-key"][:12] for call in server.calls] == ["key-of-flags"] * 2


@pytest.mark.parametrize(("model", "signed", "level"), [("opus", False, False), ("sonnet", True, True)])
def test_gemma_gets_neither_stand_in_nor_level(
    flagged: tuple[Proxy, Upstream], model: str, signed: bool, level: bool
) -> None:
    proxy, server = flagged
    server.reset()
    server.play(gemini_stream("Hello"))
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body = {"model": model, "max_tokens": 9, "stream": True, "messages": said, "output_config": {"effort": "low"}}
    assert raw.request("POST", f"{proxy.url}/v1/messages", body).status == 200
    sent = server.calls[-1].json
    assert ("thoughtSignature" in sent["contents"][1]["parts"][0]) is signed
    assert ("thinkingLevel" in sent["generationConfig"].get("thinkingConfig", {})) is level


def test_a_report_of_gemini_has_no_thinking_that_anthropic_would_refuse(lanes: CrossedLanes) -> None:
    parts: list[dict[str, Any]] = [{"text": "", "thought": True, "thoughtSignature": "EsoG"}, {"text": "Hello"}]
    reply = gemini_reply([gemini_event(gemini_chunk(parts, finish_reason="STOP"))])
    report = ask(lanes.lane("anthropic"), reply).report()
    assert not isinstance(report, GeminiReport)
    assert report.blocks == ["text"]
