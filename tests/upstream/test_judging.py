"""The faulty upstream judges signatures as the real APIs are said to: each legal change passes, each other one is
refused in the right words or dropped in silence."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from . import judging_anthropic as a
from . import judging_gemini as g
from .calls import Call
from .talking import Talking

OLD, NEW = "claude-sonnet-4-5", "claude-opus-5-5"
KEY, OTHER_KEY = "the key of one organization", "the key of another one"
type Body = dict[str, Any]


def ask(talking: Talking, body: Body, *, key: str = KEY, beta: str = "", model: str = "", path: str = "") -> Any:
    """The answer's JSON."""
    if "contents" in body:
        headers = {"x-goog-api-key": key}
        path = path or f"/v1beta/models/{model}:generateContent"
    else:
        headers, path = {"x-api-key": key, "anthropic-beta": beta}, "/v1/messages"
    reply = talking(
        Call(0, 0.0, "POST", path, "", headers, list(headers.items()), json.dumps(body).encode(), "HTTP/1.1")
    )
    return json.loads(reply.body or b"")


def talked(model: str, talking: Talking, turns: int = 3) -> Body:
    """A healthy Anthropic conversation in the middle of the last turn's tool round."""
    thinking = {"type": "adaptive"} if model == NEW else {"type": "enabled"}
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    body: Body = {"model": model, "system": "Be brief.", "tools": tools, "thinking": thinking, "messages": []}
    for turn in range(turns):
        body["messages"].append({"role": "user", "content": f"Turn {turn}. [steps:1]"})
        while True:
            content = ask(talking, body)["content"]
            body["messages"].append({"role": "assistant", "content": content})
            if content[-1]["type"] != "tool_use":
                break
            result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": "seen"}
            body["messages"].append({"role": "user", "content": [result]})
            if turn == turns - 1:
                return body
    return body


def thoughts(body: Body) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The messages with thinking, and its block."""
    return [
        (m, b) for m in body["messages"] if m["role"] == "assistant" for b in m["content"] if b["type"] == "thinking"
    ]


def without(body: Body, *numbers: int) -> None:
    for number in sorted(numbers, reverse=True):
        message, block = thoughts(body)[number]
        message["content"] = [each for each in message["content"] if each is not block]


def change(path: str) -> Callable[[Body], None]:
    def edit(body: Body) -> None:
        match path:
            case "cache marks":
                body["messages"][0]["content"] = [
                    {"type": "text", "text": body["messages"][0]["content"], "cache_control": {"type": "ephemeral"}}
                ]
            case "settings":
                body.update(max_tokens=7, metadata={"user_id": "x"}, tool_choice={"type": "auto"})
            case "no thinking":
                without(body, *range(len(thoughts(body))))
            case "system":
                body["system"] = "Be very brief."
            case "tools":
                body["tools"] = []
            case "message":
                body["messages"][0]["content"] = "Edited. [steps:1]"
            case "result":
                body["messages"][2]["content"][0]["content"] = "shortened"

    return edit


@pytest.mark.parametrize("path", ["cache marks", "settings", "no thinking"])
def test_what_does_not_change_the_prefix_passes(path: str) -> None:
    talking = Talking()
    body = talked(NEW, talking)
    change(path)(body)
    ask(talking, body)
    assert talking.refused == []


def test_thinking_may_be_removed_from_the_beginning_and_the_end_but_not_from_between() -> None:
    talking = Talking()
    body = talked(NEW, talking)
    count = len(thoughts(body))
    for numbers in ([0], [0, 1], [count - 1], range(count)):
        changed = deepcopy(body)
        without(changed, *numbers)
        ask(talking, changed)
        assert talking.refused == [], numbers
    without(body, 1)
    ask(talking, body)
    assert a.BOUND in talking.refused[0]


@pytest.mark.parametrize("path", ["system", "tools", "message", "result"])
def test_an_edit_before_a_block_is_refused_dropped_when_asked_for_and_nothing_to_older_models(path: str) -> None:
    for model, refusals in ((NEW, 1), (OLD, 0)):
        talking = Talking()
        body = talked(model, talking)
        change(path)(body)
        answer = ask(talking, body)
        assert len(talking.refused) == refusals
        if model == NEW:
            assert answer["error"]["message"].startswith("messages.")
            assert a.BOUND in answer["error"]["message"]
            body["thinking"]["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
            assert ask(talking, body, beta=a.BETA)["input_transformations"]
            assert len(talking.refused) == 1


def test_the_binding_control_needs_its_beta_and_an_api_that_knows_it() -> None:
    talking = Talking()
    body = talked(NEW, talking)
    body["thinking"]["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    assert "Extra inputs are not permitted" in ask(talking, body)["error"]["message"]
    old = Talking(knows_binding=False)
    assert "Unexpected value(s)" in ask(old, talked(NEW, old), beta=a.BETA)["error"]["message"]


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda b: b.update(thinking="edited"), a.INVALID),
        (lambda b: b.update(signature="Z2FyYmFnZQ=="), a.INVALID),
        (lambda b: b.update(signature=""), a.INVALID),
        (lambda b: b.pop("signature"), f"thinking.signature: {a.LOST}"),
    ],
)
def test_a_block_that_is_not_as_it_was_is_refused(edit: Callable[[dict[str, Any]], Any], text: str) -> None:
    talking = Talking()
    body = talked(OLD, talking)
    edit(thoughts(body)[0][1])
    ask(talking, body)
    assert text in talking.refused[0]
    assert talking.refused[0].startswith("messages.1.content.0")


def test_blocks_of_another_model_or_organization_are_dropped_in_silence() -> None:
    talking = Talking()
    body = talked(OLD, talking)
    ask(talking, body, key=OTHER_KEY)
    assert {reason for _, reason in talking.dropped[-1]} == {"another organization"}
    ask(talking, {**body, "model": "claude-sonnet-4-6"})
    assert {reason for _, reason in talking.dropped[-1]} == {"another model"}
    ask(talking, {**body, "model": f"{OLD}-20250929"})
    assert talking.dropped[-1] == []
    assert talking.refused == []


def test_the_latest_message_keeps_all_its_blocks_in_their_order() -> None:
    talking = Talking()
    body = talked(OLD, talking, turns=1)
    body["messages"] = body["messages"][:1]
    body["messages"][0]["content"] = "Turn. [steps:1][redacted]"
    content = ask(talking, body)["content"]
    result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": "seen"}
    for broken in ([content[1], content[0], *content[2:]], content[1:]):
        messages = [*body["messages"], {"role": "assistant", "content": broken}, {"role": "user", "content": [result]}]
        ask(talking, {**body, "messages": messages})
    assert [a.CHANGED in text for text in talking.refused] == [True, True]


def test_rounds_and_settings() -> None:
    talking = Talking()
    body = talked(OLD, talking)
    off = {**body, "thinking": {"type": "disabled"}}
    assert a.UNWANTED in ask(talking, off)["error"]["message"]
    without(body, len(thoughts(body)) - 1)
    assert "Expected `thinking` or `redacted_thinking`, but found `text`" in ask(talking, body)["error"]["message"]
    assert "error" not in ask(talking, {**body, "thinking": {"type": "disabled"}})
    last = {"role": "assistant", "content": [thoughts(body)[0][1]]}
    ended = [*body["messages"][:1], last, {"role": "user", "content": "go on"}]
    assert a.FINAL in ask(talking, {**body, "messages": ended})["error"]["message"]


# Gemini.

GEMINI = "gemini-3-pro-preview"


def called(talking: Talking, *, steps: int = 2, parallel: int = 2, key: str = KEY) -> Body:
    """A Gemini conversation whose turn has two steps and is not over."""
    contents: list[dict[str, Any]] = [
        {"role": "user", "parts": [{"text": f"Look. [steps:{steps}][parallel:{parallel}]"}]}
    ]
    body: Body = {"contents": contents, "tools": [{}]}
    for _ in range(steps):
        parts = ask(talking, body, model=GEMINI, key=key)["candidates"][0]["content"]["parts"]
        names = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
        responses = [{"functionResponse": {"name": name, "response": {}}} for name in names]
        contents += [{"role": "model", "parts": parts}, {"role": "user", "parts": responses}]
    return body


def refusal_of(talking: Talking, body: Body, **how: str) -> str:
    answer = ask(talking, body, **{"model": GEMINI, **how})
    return str(answer["error"]["message"]) if "error" in answer else ""


def calls(body: Body, content: int) -> list[dict[str, Any]]:
    return [part for part in body["contents"][content]["parts"] if "functionCall" in part]


def test_only_the_first_call_of_each_step_is_signed_and_has_to_be() -> None:
    talking = Talking()
    body = called(talking)
    assert ["thoughtSignature" in part for part in calls(body, 1) + calls(body, 3)] == [True, False, True, False]
    assert refusal_of(talking, body) == ""
    for content in (1, 3):
        broken = deepcopy(body)
        del calls(broken, content)[0]["thoughtSignature"]
        assert f"`default_api:look` , position {content + 1}." in refusal_of(talking, broken)
        none = deepcopy(broken)
        for part in calls(none, 1) + calls(none, 3):
            part.pop("thoughtSignature", None)
        assert refusal_of(talking, none, model="gemini-2.5-pro") == ""
        vertex = f"/v1/projects/p/locations/l/publishers/google/models/{GEMINI}:generateContent"
        assert f"in the {content + 1}. content block" in refusal_of(talking, broken, path=vertex)
        calls(broken, content)[0]["thoughtSignature"] = g.STAND_IN
        assert refusal_of(talking, broken) == ""


def test_what_is_over_is_not_checked() -> None:
    talking = Talking()
    body = called(talking)
    del calls(body, 1)[0]["thoughtSignature"]
    body["contents"] += [{"role": "model", "parts": [{"text": "so"}]}, {"role": "user", "parts": [{"text": "And?"}]}]
    assert refusal_of(talking, body) == ""


def test_a_signature_is_good_for_its_call_its_model_and_its_key_in_any_spelling() -> None:
    talking = Talking()
    body = called(talking)
    part = calls(body, 1)[0]
    part["thought_signature"] = part.pop("thoughtSignature").replace("+", "-").replace("/", "_").rstrip("=")
    part["function_call"] = part.pop("functionCall")
    assert refusal_of(talking, body) == ""
    assert refusal_of(talking, body, model="gemini-4") == g.CORRUPTED
    assert refusal_of(talking, body, key=OTHER_KEY) == g.CORRUPTED
    part["function_call"]["args"] = {"at": -1}
    assert refusal_of(talking, body) == g.CORRUPTED
    part["thought_signature"] = "not base64!"
    assert "Base64 decoding failed" in refusal_of(talking, body)


def test_structure_is_insisted_on() -> None:
    talking = Talking()
    body = called(talking)
    for broken in ({"role": "model", "parts": []}, {"role": "model", "parts": [{"thoughtSignature": "x"}]}):
        assert refusal_of(talking, {**body, "contents": [*body["contents"][:1], broken]})
    one_missing = deepcopy(body)
    one_missing["contents"][2]["parts"].pop()
    assert "function response parts" in refusal_of(talking, one_missing)


def test_a_missing_signature_may_be_told_by_a_finish_reason() -> None:
    talking = Talking(missing_as_finish=True)
    body = called(talking)
    del calls(body, 1)[0]["thoughtSignature"]
    answer = ask(talking, body, model=GEMINI)
    assert answer["candidates"][0]["finishReason"] == "MISSING_THOUGHT_SIGNATURE"
