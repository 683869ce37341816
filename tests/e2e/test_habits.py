"""Clients with habits, and every kind of turn: upstream gets its own turns back as it made them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.e2e.clients import ANTHROPIC_CLIENTS, GEMINI_CLIENTS
from tests.e2e.conftest import Lane
from tests.e2e.conversations import Talker
from tests.e2e.crossed import CrossedLanes
from tests.upstream import Talking, healthy
from tests.upstream.saying import is_said

CLAUDE_TURNS = ("", "[cited]", "[search]", "[code]", "[blank]", "[silent]", "[redacted]", "[interleaved]",
                "[interleaved][redacted]", "[interleaved][search]", "[floats]", "[lines]")  # fmt: skip
GEMINI_TURNS = ("", "[silent]", "[code]", "[image]", "[signed]", "[blank]", "[floats]", "[lines]")
# What a client sends of a history grows with the square of its turns.
each_half = pytest.mark.parametrize(
    "turns", [slice(0, None, 2), slice(1, None, 2), pytest.param(slice(None), marks=pytest.mark.long)],
    ids=["every other kind of turn", "the others", "all kinds of turns"],
)  # fmt: skip


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for all translated conversations of this file."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=20, routes=("pro", "opus-5-5", "sonnet-4-5")) as made:
        yield made


def talk(lane: Lane, client: Talker, kinds: Sequence[str]) -> Talking:
    """A conversation that has each kind of turn, with rounds of tools."""
    talking = Talking(call_ids=True)
    lane.upstream.default = talking
    try:
        for number, marks in enumerate(kinds):
            assert is_said(client.turn(f"Look. [steps:{1 + number % 2}][parallel:{1 + number % 3}]{marks}"))
    finally:
        lane.upstream.default = healthy
    return talking


def assert_own_turns(talking: Talking) -> None:
    """Each call brings all answers before it, as they were made."""
    assert talking.refused == []
    made = [told(pieces) for _, pieces in talking.answers]
    for number, (_, call) in enumerate(talking.asked):
        if "messages" in call.json:
            came = [told(each["content"]) for each in call.json["messages"] if each["role"] == "assistant"]
        else:
            came = [told(each["parts"]) for each in call.json["contents"] if each["role"] == "model"]
        assert came == made[:number]


def told(pieces: list[dict[str, Any]]) -> str:
    """As text, since `1` is equal to `1.0`. Gemini's thoughts need not come back, and its chunks may come as one."""
    told: list[dict[str, Any]] = []
    for piece in pieces:
        if piece.get("thought"):
            continue
        if told and piece.keys() == told[-1].keys() == {"text"}:
            told[-1] = {"text": told[-1]["text"] + piece["text"]}
        else:
            told.append(piece)
    return json.dumps(told, sort_keys=True)


@pytest.mark.covering(1)
@each_half
@pytest.mark.parametrize("route", ["sonnet-4-5", "opus-5-5"])
@pytest.mark.parametrize("name", GEMINI_CLIENTS)
def test_claude_gets_its_own_turns_from_any_gemini_client(
    lanes: CrossedLanes, name: str, route: str, turns: slice
) -> None:
    lane = lanes.lane("gemini", route)
    client = GEMINI_CLIENTS[name](lane.proxy.url, lane.model, True, key=f"client-of-{lane.model}")
    assert_own_turns(talk(lane, client, CLAUDE_TURNS[turns]))


@pytest.mark.covering(1)
@each_half
@pytest.mark.parametrize("name", ANTHROPIC_CLIENTS)
def test_gemini_gets_its_own_turns_from_any_anthropic_client(lanes: CrossedLanes, name: str, turns: slice) -> None:
    lane = lanes.lane("anthropic", "pro")
    thinking = {"type": "enabled", "budget_tokens": 2000}
    client = ANTHROPIC_CLIENTS[name](lane.proxy.url, lane.model, True, thinking, key=f"client-of-{lane.model}")
    assert_own_turns(talk(lane, client, GEMINI_TURNS[turns]))


@pytest.mark.covering(1)
@each_half
@pytest.mark.parametrize("name", GEMINI_CLIENTS)
@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
def test_gemini_refuses_none_of_its_clients(lane: Lane, name: str, turns: slice) -> None:
    client = GEMINI_CLIENTS[name](lane.proxy.url, lane.model, True, key=f"client-of-{lane.model}")
    talking = talk(lane, client, GEMINI_TURNS[turns])
    assert (talking.refused, talking.strangers) == ([], [])


@pytest.mark.covering(1)
@pytest.mark.parametrize("model", ["sonnet-4-5", "opus-5-5"])
@pytest.mark.parametrize("name", ANTHROPIC_CLIENTS)
def test_claude_refuses_none_of_its_clients(lane: Lane, name: str, model: str) -> None:
    thinking: dict[str, Any] = {"type": "adaptive"}
    if model == "sonnet-4-5":
        thinking = {"type": "enabled", "budget_tokens": 2000}
    on, key = lane.model.removesuffix("x") + model, f"client-of-{lane.model}"
    client = ANTHROPIC_CLIENTS[name](lane.proxy.url, on, True, thinking, key=key)
    assert talk(lane, client, ("", "[search][interleaved]", "[floats][redacted]", "[cited]")).refused == []
