"""What the proxy remembers of one conversation stays out of every other one that says the same: native requests."""

import base64
import json
from typing import Any

import httpx2
import pytest

from tests.e2e.clients import ChatTalker
from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.conversations import History, Talker, talker
from tests.e2e.sharing import USERS, side_by_side
from tests.e2e.test_modes_helpers import credential, target
from tests.support import raw
from tests.upstream import Talking
from tests.upstream.judging_gemini import CORRUPTED, STAND_IN

TOOLS = [{"functionDeclarations": [{"name": "look"}]}]
SEEN = {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"output": "seen"}}}]}
on_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)
streaming_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])


def start(lane: Lane, **how: Any) -> Talking:
    """The lane's upstream checks signatures; a reset puts the healthy one back."""
    talking = Talking(**how)
    lane.upstream.default = talking
    return talking


def garbage(lane: Lane) -> str:
    """A signature that nobody minted, another one for each test."""
    return base64.b64encode(f"garbage of the right length, {lane.model}".ljust(60).encode()).decode()


def called(signature: str) -> dict[str, Any]:
    """A model's content with one call."""
    return {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}, "thoughtSignature": signature}]}


def ask(lane: Lane, key: str, contents: History) -> raw.RawResponse:
    """Ask Gemini to go on."""
    url = lane.proxy.url + target("gemini", lane.model, stream=False)
    return raw.request("POST", url, {"contents": contents, "tools": TOOLS}, credential("gemini", key))


@on_gemini
@pytest.mark.parametrize("words", ["Look. [steps:5]", "Go on. [steps:5]"], ids=["the same words", "other words"])
def test_a_stand_in_is_not_taken_off_by_what_was_wrong_elsewhere(lane: Lane, words: str) -> None:
    talking = start(lane)
    question = {"role": "user", "parts": [{"text": "Look. [steps:5]"}]}
    broken = [question, called(STAND_IN), SEEN, called(garbage(lane)), SEEN]
    response = ask(lane, f"one-{lane.model}", broken)
    assert (response.header("x-healing-outcome"), talking.refused) == ("healed", [CORRUPTED])
    contents = [{"role": "user", "parts": [{"text": words}]}, called(STAND_IN), SEEN]
    for _ in range(4):
        response = ask(lane, f"two-{lane.model}", contents)
        assert response.header("x-healing-outcome") == "clean"
        assert lane.calls[-1].json["contents"] == contents
        contents += [response.json()["candidates"][0]["content"], SEEN]
    assert talking.refused == [CORRUPTED]


@on_gemini
def test_a_strip_in_the_current_turn_leaves_a_stand_in_where_one_is_demanded(lane: Lane) -> None:
    talking = start(lane)
    question = {"role": "user", "parts": [{"text": "Look. [steps:5]"}]}
    contents = [question, called(STAND_IN), SEEN, called(garbage(lane)), SEEN]
    for _ in range(3):
        response = ask(lane, f"one-{lane.model}", contents)
        assert response.status == 200
        contents += [response.json()["candidates"][0]["content"], SEEN]
    assert talking.refused == [CORRUPTED]


def recorded(chat: ChatTalker) -> list[bytes]:
    """The bodies that a client sends from now on."""
    sent: list[bytes] = []

    def record(request: httpx2.Request) -> None:
        sent.append(request.read())

    client: Any = chat._client
    client._api_client._httpx_client.event_hooks["request"].append(record)
    return sent


@pytest.mark.covering(1)
@on_gemini
@pytest.mark.parametrize("streams", [(True, True), (False, False), (False, True)], ids=["stream", "json", "both"])
@pytest.mark.parametrize("marks", ["", "[silent]", "[code]", "[image]", "[signed]", "[blank]", "[lines]", "[says:0]"])
def test_healthy_chats_go_upstream_to_the_byte(lane: Lane, streams: tuple[bool, bool], marks: str) -> None:
    talking = start(lane, call_ids=True)
    chats = {
        user: ChatTalker(lane.proxy.url, lane.model, stream, key=f"{user}-{lane.model}")
        for user, stream in zip(USERS, streams, strict=True)
    }
    sent = {user: recorded(chat) for user, chat in chats.items()}
    prompts = [f"Hi. [steps:0]{marks}", f"Look. [steps:2]{marks}", "Thanks. [steps:0]"]
    side_by_side(talking, {user: (chat, prompts) for user, chat in chats.items()})
    assert talking.refused == []
    for user in USERS:
        assert [call.body for owner, call in talking.asked if owner == user] == sent[user]


@on_gemini
@streaming_or_not
def test_a_turn_that_never_was_signed_gets_no_signature(lane: Lane, stream: bool) -> None:
    talking = start(lane)
    prompts = ["Hi. [says:0][steps:0]", "Hi. [says:0][steps:0]"]
    one = ChatTalker(lane.proxy.url, lane.model, stream, key=f"one-{lane.model}")
    side_by_side(talking, {"one": (one, prompts)})
    # Of another client, and in another conversation of the same one.
    for key, first in (("two", prompts[0]), ("two", "Hello."), ("one", "Hello.")):
        said = [("user", first), ("model", "Done."), ("user", "And?"), ("model", "Done.")]
        history = [{"role": role, "parts": [{"text": text}]} for role, text in said]
        chat = ChatTalker(lane.proxy.url, lane.model, stream, key=f"{key}-{lane.model}", history=history)
        sent = recorded(chat)
        side_by_side(talking, {key: (chat, ["Thanks. [steps:0]"])})
        assert [talking.asked[-1][1].body] == sent


def client_of(lane: Lane, user: str) -> Talker:
    key = f"{user}-{lane.model}"
    return talker(lane.proxy.url, lane.dialect, lane.model.removesuffix("x"), stream=True, key=key)


def garble(lane: Lane, history: History) -> None:
    """The first signature is another one."""
    for message in history:
        for piece in message.get("parts") or message["content"]:
            for name in ("signature", "thoughtSignature"):
                if name in piece:
                    piece[name] = garbage(lane)
                    return


@both_dialects
@pytest.mark.parametrize("other", ["two", "one"], ids=["another client", "the same client"])
def test_a_restore_of_one_conversation_is_no_change_of_another(lane: Lane, other: str) -> None:
    talking = start(lane)
    prompt = "Look. [steps:2]"
    one = client_of(lane, "one")
    steps = one.steps(prompt)
    talking.user = "one"
    next(steps)
    garble(lane, one.history[1:])
    for _ in steps:
        pass
    assert len(talking.refused) == 1
    again = client_of(lane, other)
    side_by_side(talking, {"again": (again, [prompt, "Go on. [steps:1]"])})
    assert talking.strangers == []
    assert len(talking.refused) == 1


def test_a_repair_of_an_empty_block_is_not_made_in_another_conversation(lane: Lane) -> None:
    talking = start(lane)
    empty = {"type": "thinking", "thinking": "", "signature": ""}
    for user, question in (("one", "Hi."), ("two", "Hello.")):
        client = client_of(lane, user)
        content: list[dict[str, Any]] = [empty, {"type": "text", "text": "OK"}]
        client.history = [{"role": "user", "content": question}, {"role": "assistant", "content": content}]
        before = json.loads(json.dumps(client.history))
        number = len(talking.asked)
        side_by_side(talking, {user: (client, ["Thanks. [steps:0]"])})
        assert talking.asked[number][1].json["messages"][:2] == before
    assert len(talking.refused) == 2
