"""Clients of one dialect on an upstream of the other: whole conversations, and what each client sees."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.conversations import (
    AnthropicTalker,
    GeminiTalker,
    Talker,
    lose_signatures,
    store_aborted_answer,
)
from tests.e2e.crossed import CrossedLanes
from tests.e2e.failures import with_and_without_stream
from tests.support.anthropic_request import check_anthropic_request
from tests.support.gemini_request import check_gemini_request
from tests.upstream import Talking, healthy
from tests.upstream.saying import is_said

PROMPTS = (
    "One. [steps:2]", "Two. [steps:1][parallel:3]", "Three. [steps:0]", "Four. [steps:3][parallel:2]",
    "Five. [steps:1]", "Six. [steps:2][silent]", "Seven. [steps:1][redacted]",
)  # fmt: skip
CALLS = 3 + 2 + 1 + 4 + 2 + 3 + 2
"""A call for each round of tools, and one for the end of each turn."""
each_route = pytest.mark.parametrize(
    ("client", "route", "talking"),
    [
        pytest.param("anthropic", "pro", True, id="anthropic client"),
        pytest.param("anthropic", "pro", False, id="anthropic client, calls without ids"),
        pytest.param("gemini", "sonnet-4-5", True, id="gemini client"),
        pytest.param("gemini", "opus-5-5", True, id="gemini client, prefix check"),
    ],
    indirect=["talking"],
)


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for all tests of this file."""
    routes = ("x", "pro", "opus-5-5", "sonnet-4-5")
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=60, routes=routes) as made:
        yield made


def talker_on(lane: Lane, *, stream: bool) -> Talker:
    # Each test is somebody else: all of them say the same.
    key = f"client-of-{lane.model}"
    if lane.dialect == "gemini":
        return GeminiTalker(lane.proxy.url, lane.model, stream, key=key)
    return AnthropicTalker(lane.proxy.url, lane.model, stream, {"type": "enabled", "budget_tokens": 2000}, key=key)


@pytest.fixture
def talking(lanes: CrossedLanes, request: pytest.FixtureRequest) -> Iterator[Talking]:
    """The upstream checks signatures. Gemini gives ids to its calls, or none."""
    api = Talking(call_ids=request.param)
    yield api
    lanes.upstream.default = healthy
    told = lanes.proxy.log + lanes.proxy.log_file.read_text("utf-8")
    assert api.minted
    assert not any(signature[40:80] in told for signature in api.minted), "a signature is in the log"


@pytest.mark.covering(1)
@with_and_without_stream
@each_route
@pytest.mark.parametrize("spoil", [None, lose_signatures], ids=["good client", "client without signatures"])
def test_a_loop_of_tools_with_thinking_is_never_refused(
    lanes: CrossedLanes, talking: Talking, client: str, route: str, stream: bool, spoil: Any
) -> None:
    lane = lanes.lane(client, route)
    lane.upstream.default = talking
    sdk = talker_on(lane, stream=stream)
    if spoil is not None:
        sdk.spoil = spoil
    for prompt in PROMPTS:
        assert is_said(sdk.turn(prompt))
    assert talking.refused == []
    assert len(talking.judged) == CALLS
    assert all(call.json.get("stream") is True or "stream" in call.path for call in lane.calls)
    check = check_gemini_request if client == "anthropic" else check_anthropic_request
    for call in lane.calls:
        check(call.json)


def edit_last_call(history: list[dict[str, Any]]) -> None:
    """The client rewrites a call."""
    for message in reversed(history):
        for piece in message.get("parts") or (message["content"] if isinstance(message["content"], list) else []):
            if piece.get("type") == "tool_use":
                piece["input"] = {"at": -1}
                return
            if "functionCall" in piece:
                piece["functionCall"]["args"] = {"at": -1}
                return
    raise AssertionError("there is no call in this history")


@pytest.mark.covering(1)
@each_route
@pytest.mark.parametrize("mishap", [lose_signatures, edit_last_call, store_aborted_answer])
def test_a_mishap_costs_one_refused_call_at_most_and_no_later_turn_another(
    lanes: CrossedLanes, talking: Talking, client: str, route: str, mishap: Any
) -> None:
    lane = lanes.lane(client, route)
    lane.upstream.default = talking
    sdk = talker_on(lane, stream=True)
    for prompt in PROMPTS[:2]:
        sdk.turn(prompt)
    assert talking.refused == []
    mishap(sdk.history)
    sdk.turn(PROMPTS[4])
    first = len(talking.refused)
    assert first <= 1
    for prompt in PROMPTS[5:]:
        assert is_said(sdk.turn(prompt))
    assert len(talking.refused) == first


def test_a_conversation_that_was_begun_elsewhere_goes_on_without_a_refusal(lanes: CrossedLanes) -> None:
    """Gemini never made its calls, so there is no signature for them."""
    lane = lanes.lane("anthropic", "pro")
    api = Talking()
    lane.upstream.default = api
    call = {"type": "tool_use", "id": "toolu_01elsewhere", "name": "look", "input": {"at": 1}}
    sdk = AnthropicTalker(lane.proxy.url, lane.model, True, None)
    sdk.history = [
        {"role": "user", "content": "Look. [steps:3]"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "E" * 80}, call]},
    ]
    result = [{"type": "tool_result", "tool_use_id": call["id"], "content": "seen"}]
    sdk.history.append({"role": "user", "content": result})
    assert is_said(sdk.turn("Go on."))
    lane.upstream.default = healthy
    assert api.refused == []
