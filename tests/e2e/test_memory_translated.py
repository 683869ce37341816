"""What the proxy remembers of one conversation stays out of every other one that says the same: translated requests."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.conversations import AnthropicTalker, GeminiTalker, History, Talker, lose_signatures
from tests.e2e.crossed import CrossedLanes
from tests.e2e.sharing import USERS, side_by_side
from tests.upstream import Talking, gemini_chunk, gemini_event, gemini_reply

IMAGE_BYTES = 20_000


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for the tests of this file."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=20, routes=("pro", "opus-5-5", "sonnet-4-5")) as made:
        yield made


def start(lane: Lane, **how: Any) -> Talking:
    """The lane's upstream checks signatures; a reset puts the healthy one back."""
    talking = Talking(**how)
    lane.upstream.default = talking
    return talking


def client_of(lane: Lane, user: str) -> Talker:
    key = f"{user}-{lane.model}"
    if lane.dialect == "gemini":
        return GeminiTalker(lane.proxy.url, lane.model, True, key=key)
    return AnthropicTalker(lane.proxy.url, lane.model, True, {"type": "enabled", "budget_tokens": 2000}, key=key)


def signatures(call: Any) -> list[str]:
    """The signatures in a request."""
    messages = call.json.get("messages") or call.json["contents"]
    pieces = [piece for message in messages for piece in message.get("parts") or message["content"]]
    found = [piece.get("signature") or piece.get("thoughtSignature") for piece in pieces if isinstance(piece, dict)]
    return [each for each in found if each]


@pytest.mark.parametrize(("client", "route"), [("anthropic", "pro"), ("gemini", "sonnet-4-5"), ("gemini", "opus-5-5")])
def test_two_who_are_greeted_alike_give_back_their_own_thoughts(lanes: CrossedLanes, client: str, route: str) -> None:
    lane = lanes.lane(client, route)
    talking = start(lane, words="own thoughts")
    prompts = ["hi [says:2][steps:0]", "thanks [steps:0]"]
    side_by_side(talking, {user: (client_of(lane, user), prompts) for user in USERS})
    assert (talking.strangers, talking.refused) == ([], [])
    for user in USERS:
        calls = [call for owner, call in talking.asked if owner == user]
        own = [value for value in talking.minted[: len(USERS)] if talking.owner_of(value) == user]
        assert signatures(calls[-1]) == own


def test_the_same_words_four_times_are_four_calls(lanes: CrossedLanes) -> None:
    lane = lanes.lane("gemini", "opus-5-5")
    talking = start(lane)
    client = client_of(lane, "one")
    assert [client.turn("Go on. [says:0][steps:0]") for _ in range(4)] == ["Done."] * 4
    assert talking.judged == [""] * 4
    assert not any(talking.dropped)
    assert signatures(talking.asked[-1][1]) == talking.minted[:3]


def test_no_user_s_history_holds_the_other_s_image(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic", "pro")
    talking = start(lane)
    prompts = ["Draw. [image][steps:0]", "Again. [image][steps:0]", "Thanks. [steps:0]"]
    side_by_side(talking, {user: (client_of(lane, user), prompts) for user in USERS})
    assert (talking.strangers, talking.refused) == ([], [])


@pytest.mark.parametrize("prompt", ["hi [says:0][steps:0]", "look [says:0][steps:1][signed]"])
def test_a_text_that_was_edited_to_the_same_length_is_not_signed(lanes: CrossedLanes, prompt: str) -> None:
    lane = lanes.lane("anthropic", "pro")
    talking = start(lane, call_ids=True)
    client = client_of(lane, "one")

    def edit(history: History) -> None:
        for block in history[1]["content"]:
            if block["type"] == "text":
                block["text"] = "Gone."

    client.spoil = edit
    client.turn(prompt)
    client.turn("thanks [steps:0]")
    last = talking.asked[-1][1]
    first = next(content["parts"] for content in last.json["contents"] if content["role"] == "model")
    assert [part for part in first if "text" in part] == [{"text": "Gone."}]
    assert talking.refused == []


def test_large_answers_do_not_push_out_what_was_kept_before(tmp_path: Path) -> None:
    with CrossedLanes(tmp_path, "[signatures]\nmax_bytes = 65536\n", lanes=2, routes=("pro",)) as made:
        lane = made.lane("anthropic", "pro")
        talking = start(lane, call_ids=True)
        one, two = client_of(lane, "one"), client_of(lane, "two")
        one.spoil = lose_signatures
        one.turn("Look. [steps:1]")
        for number in range(9):
            data = base64.b64encode(bytes([number]) * IMAGE_BYTES).decode()
            image = {"inlineData": {"mimeType": "image/png", "data": data}, "thoughtSignature": data[:80]}
            lane.upstream.play(gemini_reply([gemini_event(gemini_chunk([image], finish_reason="STOP"))]))
            two.history = []
            two.turn(f"Draw {number}.")
        one.turn("Go on. [steps:0]")
        assert signatures(talking.asked[-1][1]) == talking.minted[:2]
        assert talking.refused == []
