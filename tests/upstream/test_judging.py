"""The faulty upstream judges signatures as the real APIs are said to: each legal change passes, each other one is
refused in the right words or dropped in silence."""

import base64
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from . import judging_anthropic as a
from . import judging_gemini as g
from .histories import (
    GEMINI,
    NEW,
    OLD,
    OTHER_KEY,
    VERTEX,
    Body,
    ask,
    called,
    calls,
    refusal_of,
    talked,
    thoughts,
    without,
)
from .talking import Talking


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
    for kind in ("disabled", "between_tools"):
        off = {**body, "model": OLD, "thinking": {**body["thinking"], "type": kind}}
        assert f"{kind}.block_binding: Extra inputs" in ask(talking, off, beta=a.BETA)["error"]["message"]


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
    body = talked(OLD, talking, ["Turn. [steps:1][redacted]"])
    content = body["messages"][1]["content"]
    for broken in ([content[1], content[0], *content[2:]], content[1:]):
        body["messages"][1]["content"] = broken
        ask(talking, body)
    assert [a.CHANGED in text for text in talking.refused] == [True, True]


def test_an_edit_of_the_latest_message_may_be_told_in_other_words() -> None:
    talking = Talking(strict_latest=True)
    body = talked(OLD, talking)
    for number, text in ((0, a.INVALID), (-1, a.CHANGED)):
        edited = deepcopy(body)
        thoughts(edited)[number][1]["thinking"] = "edited"
        assert text in ask(talking, edited)["error"]["message"]


def test_rounds_and_settings() -> None:
    talking = Talking()
    body = talked(OLD, talking)
    off = {**body, "thinking": {"type": "disabled"}}
    assert ask(talking, off)["error"]["message"] == f"messages.9.content.0: {a.UNWANTED}"
    without(body, len(thoughts(body)) - 1)
    assert "Expected `thinking` or `redacted_thinking`, but found `text`" in ask(talking, body)["error"]["message"]
    assert "error" not in ask(talking, {**body, "thinking": {"type": "disabled"}})
    last = {"role": "assistant", "content": [thoughts(body)[0][1]]}
    ended = [*body["messages"][:1], last, {"role": "user", "content": "go on"}]
    assert a.FINAL in ask(talking, {**body, "messages": ended})["error"]["message"]


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("claude-opus-4-6", []),
        ("claude-sonnet-4-7", ["enabled"]),
        ("claude-opus-5-4", ["enabled"]),
        ("claude-opus-5-5", ["enabled", "disabled"]),
        ("claude-sonnet-6-20270101", ["enabled", "disabled"]),
        ("claude-haiku-5-5", ["enabled"]),
        ("claude-fable-5", ["enabled", "disabled"]),
        ("any-name", []),
    ],
)
def test_some_models_refuse_settings_in_words_that_are_of_no_signature(model: str, refused: list[str]) -> None:
    talking = Talking()
    asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    answers = {kind: ask(talking, {**asked, "thinking": {"type": kind}}) for kind in ("enabled", "disabled")}
    assert [kind for kind, answer in answers.items() if "error" in answer] == refused
    assert all("signature" not in text and "final position" not in text for text in talking.refused)


def test_the_structure_of_messages_is_insisted_on() -> None:
    talking = Talking()
    body = talked(OLD, talking)
    messages = body["messages"]
    result, empty = messages[-1], {"type": "text", "text": ""}
    for broken in (
        [],
        messages[1:],
        messages[:-1],
        [*messages[:-1], {"role": "user", "content": "What of the tool?"}],
        [*messages, result],
        [{"role": "user", "content": []}, *messages[1:]],
        [*messages[:-1], {**result, "content": [*result["content"], empty]}],
    ):
        assert "error" in ask(talking, {**body, "messages": broken})
    assert len(talking.refused) == 7
    assert not any("signature" in text for text in talking.refused)


# Gemini.


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
        calls(broken, content)[0]["thoughtSignature"] = g.STAND_IN
        assert refusal_of(talking, broken) == ""


def test_vertex_says_it_in_its_own_words_and_takes_no_signature_of_the_other_api() -> None:
    talking = Talking()
    body = called(talking, path=VERTEX)
    assert refusal_of(talking, body, path=VERTEX) == ""
    assert refusal_of(talking, body) == g.CORRUPTED
    del calls(body, 3)[0]["thoughtSignature"]
    assert "call `look` in the 4. content block is missing" in refusal_of(talking, body, path=VERTEX)


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
    body["contents"] += [{"role": "model", "parts": [{"text": "so"}]}, {"role": "user", "parts": [{"text": "And?"}]}]
    assert "'contents[1].parts[1].thought_signature' (TYPE_BYTES), Base64 decoding failed" in refusal_of(talking, body)


def test_the_stand_in_stands_in_for_calls_only_and_not_on_older_models() -> None:
    talking = Talking()
    body = called(talking)
    encoded = base64.b64encode(g.STAND_IN.encode()).decode()
    for spelled in (g.STAND_IN, encoded):
        calls(body, 1)[0]["thoughtSignature"] = calls(body, 3)[0]["thoughtSignature"] = spelled
        assert refusal_of(talking, body) == ""
        assert "not valid" in refusal_of(talking, body, model="gemini-2.5-pro")
    body["contents"][2]["parts"][0]["thoughtSignature"] = g.STAND_IN
    assert "not valid" in refusal_of(talking, body)


def test_structure_is_insisted_on() -> None:
    talking = Talking()
    body = called(talking)
    for broken in ({"role": "model", "parts": []}, {"role": "model", "parts": [{"thoughtSignature": "eA=="}]}):
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
    assert "content" not in answer["candidates"][0]
    [piece] = ask(talking, body, path=f"/v1beta/models/{GEMINI}:streamGenerateContent")
    assert piece["candidates"] == answer["candidates"]
