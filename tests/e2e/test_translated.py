"""Clients of one dialect on an upstream of the other: whole conversations, and what each client sees."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.conversations import AnthropicTalker, GeminiTalker, Talker, lose_signatures
from tests.e2e.crossed import CROSSED, CrossedLanes
from tests.upstream import Talking, healthy

FIVE_STEPS = (
    "One. [steps:2]",
    "Two. [steps:1][parallel:3]",
    "Three. [steps:0]",
    "Four. [steps:5][parallel:2]",
    "Five.",
)
streaming_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
each_client = pytest.mark.parametrize("client", CROSSED)


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for all tests of this file."""
    routes = ("x", "pro", "opus-5-5", "sonnet-4-5")
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=60, routes=routes) as made:
        yield made


def talker_on(lane: Lane, *, stream: bool) -> Talker:
    if lane.dialect == "gemini":
        return GeminiTalker(lane.proxy.url, lane.model, stream)
    return AnthropicTalker(lane.proxy.url, lane.model, stream, {"type": "enabled", "budget_tokens": 2000})


@pytest.fixture
def talking(lanes: CrossedLanes) -> Iterator[Talking]:
    """The upstream checks signatures."""
    api = Talking(call_ids=True)
    yield api
    lanes.upstream.default = healthy


@streaming_or_not
@pytest.mark.parametrize(("client", "route"), [("anthropic", "pro"), ("gemini", "sonnet-4-5"), ("gemini", "opus-5-5")])
@pytest.mark.parametrize("spoil", [None, lose_signatures], ids=["good client", "client without signatures"])
def test_a_loop_of_tools_with_thinking_is_never_refused(
    lanes: CrossedLanes, talking: Talking, client: str, route: str, stream: bool, spoil: Any
) -> None:
    lane = lanes.lane(client, route)
    lane.upstream.default = talking
    sdk = talker_on(lane, stream=stream)
    if spoil is not None:
        sdk.spoil = spoil
    for prompt in FIVE_STEPS:
        assert sdk.turn(prompt).startswith("Words number")
    assert talking.refused == []
    assert len(talking.judged) == 3 + 2 + 1 + 6 + 2
    assert all(call.json.get("stream") is True or "stream" in call.path for call in lane.calls)
