"""The talking upstream and the real SDKs, without a proxy: what is kept as it came is never refused, and edits are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest
from google.genai import errors, types

from tests.e2e.conversations import Talker, edit_last_thinking, lose_signatures, talker
from tests.support import raw
from tests.support.sdk import anthropic_client, gemini_client

from . import judging_anthropic as a
from . import judging_gemini as g
from .replies import Reply
from .saying import is_said
from .server import Upstream
from .talking import Talking

PROMPTS = ("One. [steps:2][redacted]", "Two. [steps:0]", "Three. [steps:1][parallel:2][silent]", "Four.")
CALLS = 8
DROPPING: dict[str, Any] = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}

streaming_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
each_model = pytest.mark.parametrize(
    ("dialect", "prefix_check"), [("anthropic", False), ("anthropic", True), ("gemini", False)]
)


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def up(server: Upstream) -> Upstream:
    server.reset()
    return server


def start(up: Upstream, dialect: str, stream: bool, prefix_check: bool = False, **how: Any) -> tuple[Talker, Talking]:
    talking = Talking(**how)
    up.default = talking
    return talker(up.url, dialect, f"{dialect}-lane003-", stream=stream, prefix_check=prefix_check), talking


@streaming_or_not
@each_model
def test_four_turns_with_tools_pass(up: Upstream, dialect: str, prefix_check: bool, stream: bool) -> None:
    client, talking = start(up, dialect, stream, prefix_check)
    said = [client.turn(prompt) for prompt in PROMPTS]
    assert talking.refused == []
    assert len(talking.judged) == CALLS
    assert all(map(is_said, said))
    assert len(set(talking.minted)) == len(talking.minted) >= CALLS


@streaming_or_not
def test_the_blocks_are_those_that_were_asked_for(up: Upstream, stream: bool) -> None:
    client, _ = start(up, "anthropic", stream, prefix_check=True)
    for prompt in PROMPTS[:3]:
        client.turn(prompt)
    answers = [message["content"] for message in client.history if message["role"] == "assistant"]
    assert [[block["type"] for block in blocks] for blocks in answers] == [
        ["thinking", "redacted_thinking", "text", "tool_use"],
        ["thinking", "redacted_thinking", "tool_use"],
        ["thinking", "redacted_thinking", "text"],
        ["thinking", "text"],
        ["thinking", "text", "tool_use", "tool_use"],
        ["thinking", "text"],
    ]
    assert [bool(blocks[0]["thinking"]) for blocks in answers] == [True] * 4 + [False] * 2
    assert all(blocks[0]["signature"] for blocks in answers)
    ids = [block["id"] for blocks in answers for block in blocks if block["type"] == "tool_use"]
    assert len(set(ids)) == len(ids) == 4


@streaming_or_not
def test_only_the_first_call_of_a_step_and_the_end_of_a_text_are_signed(up: Upstream, stream: bool) -> None:
    client, _ = start(up, "gemini", stream, call_ids=True)
    client.turn("Look. [steps:2][parallel:2]")
    parts = [part for content in client.history if content["role"] == "model" for part in content["parts"]]
    calls = [part for part in parts if "functionCall" in part]
    assert ["thoughtSignature" in part for part in calls] == [True, False] * 2
    assert len({part["functionCall"]["id"] for part in calls}) == 4
    assert parts[-1].keys() == {"text", "thoughtSignature"}
    assert bool(parts[-1]["text"]) is not stream


@streaming_or_not
@pytest.mark.parametrize(
    ("dialect", "mishap", "text"),
    [
        ("anthropic", edit_last_thinking, a.INVALID),
        ("anthropic", lose_signatures, "thinking.signature: Field required"),
        ("gemini", edit_last_thinking, g.CORRUPTED),
        ("gemini", lose_signatures, "missing a thought_signature"),
    ],
)
def test_edits_are_refused(
    up: Upstream, dialect: str, stream: bool, mishap: Callable[[list[dict[str, Any]]], None], text: str
) -> None:
    client, talking = start(up, dialect, stream)
    client.spoil = mishap
    with pytest.raises((anthropic.BadRequestError, errors.ClientError), match=text):
        client.turn(PROMPTS[0])
    assert len(talking.refused) == 1


@streaming_or_not
def test_another_system_prompt_is_refused_and_told_in_a_header_until_blocks_may_be_dropped(
    up: Upstream, stream: bool
) -> None:
    client, talking = start(up, "anthropic", stream, prefix_check=True)
    client.turn(PROMPTS[0])
    client.system = "Be very brief."
    with pytest.raises(anthropic.BadRequestError, match="bound to a different conversation") as refused:
        client.turn("And? [steps:0]")
    assert refused.value.response.headers["anthropic-thinking-prefix-mismatch"] == "true"

    asked: dict[str, Any] = {
        "model": client.model,
        "max_tokens": 100,
        "messages": client.history,
        "thinking": DROPPING,
        "extra_headers": {"anthropic-beta": a.BETA},
    }
    messages = anthropic_client(up.url).messages
    if stream:
        with messages.stream(**asked) as answer:
            message = answer.get_final_message()
    else:
        message = messages.create(**asked)
    dropped = [each["path"] for each in json.loads(message.to_json())["input_transformations"]]
    answers = [n for n, message in enumerate(client.history) if message["role"] == "assistant"]
    assert dropped == [f"messages.{n}.content.{place}" for n in answers for place in (0, 1)]
    assert [path for path, _ in talking.dropped[-1]] == dropped


@streaming_or_not
def test_the_sdk_s_own_chat_calls_functions_and_is_not_refused(up: Upstream, stream: bool) -> None:
    def look(at: int) -> str:
        """Looks."""
        return f"seen {at}"

    _, talking = start(up, "gemini", stream)
    client = gemini_client(up.url)
    chat = client.chats.create(model="gemini-3-pro-preview", config=types.GenerateContentConfig(tools=[look]))
    for prompt in PROMPTS:
        answers = list(chat.send_message_stream(prompt)) if stream else [chat.send_message(prompt)]
        assert answers[-1].candidates
    assert talking.refused == []
    assert len(talking.judged) == CALLS
    client.close()


@streaming_or_not
def test_a_missing_signature_may_be_told_by_a_finish_reason(up: Upstream, stream: bool) -> None:
    client, talking = start(up, "gemini", stream, missing_as_finish=True)
    client.spoil = lose_signatures
    assert client.turn(PROMPTS[0]) == ""
    assert ["missing a thought_signature" in text for text in talking.refused] == [True]


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_refusals_may_come_wrapped(up: Upstream, dialect: str) -> None:
    def wrap(reply: Reply) -> Reply:
        return Reply(429, reply.headers, b"[" + reply.whole + b"]")

    client, talking = start(up, dialect, stream=False, wrap=wrap)
    client.spoil = lose_signatures
    with pytest.raises((anthropic.RateLimitError, errors.ClientError), match="signature") as refused:
        client.turn(PROMPTS[0])
    assert "429" in str(refused.value)
    assert len(talking.refused) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {}),
        ("/v1/messages", {"model": "m", "messages": []}),
        ("/v1beta/models/gemini-3-pro:generateContent", {}),
        ("/v1beta/models/gemini-3-pro:generateContent", {"contents": []}),
        ("/v1beta/models/gemini-3-pro:generateContent", {"model": "m"}),
    ],
)
def test_what_is_no_request_is_a_plain_400(up: Upstream, path: str, body: dict[str, Any]) -> None:
    start(up, "anthropic", stream=False)
    response = raw.request("POST", up.url + path, body, {})
    assert response.status == 400
    assert "error" in json.loads(response.body)
