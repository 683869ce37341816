"""What the talking upstream says: every kind of turn that it can be asked for, the same words in each conversation,
and nothing else the same."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples

from . import judging_anthropic as a
from .histories import GEMINI, NEW, OLD, Body, RefusedTalkError, Send, Sent, Talk, side_by_side
from .replies import Reply
from .saying import ARGS, IMAGE_BYTES, TEXTS, THOUGHTS
from .talking import Talking

CLAUDE_TURNS: dict[str, tuple[list[str], list[str]]] = {
    "": (["thinking", "text", "tool_use"], ["thinking", "text"]),
    "[redacted]": (["thinking", "redacted_thinking", "text", "tool_use"], ["thinking", "redacted_thinking", "text"]),
    "[cited]": (["thinking", "text", "tool_use"], ["thinking", "text"]),
    "[blank]": (["thinking", "text", "tool_use"], ["thinking", "text"]),
    "[search]": (
        ["thinking", "text", "server_tool_use", "web_search_tool_result", "text", "tool_use"],
        ["thinking", "text", "server_tool_use", "web_search_tool_result", "text"],
    ),
    "[code]": (
        ["thinking", "text", "server_tool_use", "code_execution_tool_result", "text", "tool_use"],
        ["thinking", "text", "server_tool_use", "code_execution_tool_result", "text"],
    ),
    "[interleaved]": (["thinking", "text", "thinking", "tool_use"], ["thinking", "text", "thinking", "text"]),
    "[interleaved][redacted]": (
        ["thinking", "text", "thinking", "tool_use"],
        ["thinking", "text", "redacted_thinking", "text"],
    ),
    "[interleaved][search]": (
        ["thinking", "text", "server_tool_use", "web_search_tool_result", "text", "thinking", "tool_use"],
        ["thinking", "text", "server_tool_use", "web_search_tool_result", "text", "thinking", "text"],
    ),
}
GEMINI_TURNS = ("", "[silent]", "[code]", "[image]", "[signed]", "[tail]", "[blank]", "[code][image][signed]")
MARKS = ("", "[silent]", "[redacted]", "[interleaved]", "[cited]", "[search]", "[code]", "[blank]", "[image]",
         "[signed]", "[tail]", "[floats]", "[lines]", "[says:0]", "[parallel:2]")  # fmt: skip
prompts = st.lists(
    st.tuples(st.integers(0, 2), st.sets(st.sampled_from(MARKS), max_size=3)), min_size=1, max_size=4
).map(lambda turns: [f"Go on. [steps:{steps}]{''.join(sorted(marks))}" for steps, marks in turns])


def answers(talk: Talk) -> list[list[dict[str, Any]]]:
    return [m.get("content") or m["parts"] for m in talk.history if m["role"] in ("assistant", "model")]


@pytest.mark.parametrize("model", [OLD, NEW])
@pytest.mark.parametrize("marks", CLAUDE_TURNS)
def test_claude_s_turns_are_as_asked_for_and_come_back_unrefused(marks: str, model: str) -> None:
    talk = Talk("anthropic", model, Talking())
    talk.turn(f"Look. [steps:1]{marks}")
    talk.turn("Go on.")
    assert talk.talking.refused == []
    assert [[block["type"] for block in blocks] for blocks in answers(talk)[:2]] == list(CLAUDE_TURNS[marks])


@pytest.mark.parametrize("marks", GEMINI_TURNS)
def test_gemini_s_turns_come_back_unrefused(marks: str) -> None:
    talk = Talk("gemini", GEMINI, Talking(call_ids=True))
    talk.turn(f"Look. [steps:2]{marks}")
    parts = [part for parts in answers(talk) for part in parts]
    assert any("executableCode" in part for part in parts) is ("[code]" in marks)
    assert any("inlineData" in part for part in parts) is ("[image]" in marks)
    assert any(part.get("thought") for part in parts) is ("[silent]" not in marks)
    assert all(re.fullmatch(r"[a-z0-9]{8}", part["functionCall"]["id"]) for part in parts if "functionCall" in part)
    signed = [part["text"] for part in parts if "text" in part and "thoughtSignature" in part]
    assert len(signed) == (4 if "[signed]" in marks else 1)
    assert (signed[-1] == "") is (marks == "[tail]")
    assert talk.talking.refused == []


@settings(deadline=None, derandomize=True, max_examples=examples(80))
@given(st.sampled_from([("anthropic", OLD), ("anthropic", NEW), ("gemini", GEMINI)]), prompts, prompts,
       st.lists(st.integers(0, 1), max_size=6))  # fmt: skip
def test_conversations_side_by_side_are_what_they_are_alone(
    kind: tuple[str, str], first: list[str], second: list[str], order: list[int]
) -> None:
    def talks() -> list[Talk]:
        return [Talk(*kind, Talking(seed=name, call_ids=True), user=name) for name in ("one", "two")]

    alone, mixed = talks(), talks()
    for talk, said in zip(alone, (first, second), strict=True):
        side_by_side([(talk, said)])
    side_by_side(list(zip(mixed, (first, second), strict=True)), order)
    assert [talk.came for talk in mixed] == [talk.came for talk in alone]
    assert all(not talk.talking.refused and not talk.talking.strangers for talk in mixed)


def changing(old: bytes, new: bytes) -> Callable[[Sent, Send], Reply]:
    """Replaces bytes of each request on its way."""
    return lambda sent, send: send(Sent(sent.path, sent.body.replace(old, new), sent.headers))


def test_two_conversations_say_the_same_and_have_nothing_else_in_common() -> None:
    talking = Talking(call_ids=True)
    for dialect, model in (("anthropic", NEW), ("gemini", GEMINI)):
        talks = [Talk(dialect, model, talking, user=user) for user in ("one", "two")]
        side_by_side([(talk, ["Hi. [steps:1][parallel:2][search][image]"] * 4) for talk in talks])
        told = [json.dumps(talk.history) for talk in talks]
        own = [[value for value, owner in talking.owners.items() if owner == user] for user in ("one", "two")]
        for text, mine, other in zip(told, own, reversed(own), strict=True):
            assert not any(value in text for value in other)
            assert any(value in text for value in mine)
            assert all(any(said in text for text in told) for said in (*TEXTS, *THOUGHTS))
        assert not talking.refused
        assert not talking.strangers
        texts = [re.sub(r'"[A-Za-z0-9+/=_-]{8,}"', '""', text) for text in told]
        assert texts[0] == texts[1]


def swapped(dialect: str, model: str, talking: Talking, find: Callable[[Body], str], spell: bool = False) -> str:
    """What one conversation was given, sent by another one in place of its own."""
    one, two = (Talk(dialect, model, talking, user=user) for user in ("one", "two"))
    side_by_side([(one, ["Hi. [steps:1]"]), (two, ["Hi. [steps:1]"])])
    theirs, own = (next(filter(None, map(find, answers(talk)[0]))) for talk in (one, two))
    if spell:
        theirs = theirs.rstrip("=").replace("+", "-").replace("/", "_")
    two.through = changing(own.encode(), theirs.encode())
    with suppress(RefusedTalkError):
        two.turn("And? [steps:0]")
    return theirs


@pytest.mark.parametrize(("dialect", "model"), [("anthropic", OLD), ("gemini", GEMINI)])
def test_what_was_made_for_another_is_told_however_it_is_spelled(dialect: str, model: str) -> None:
    def signature(piece: Body) -> str:
        return piece.get("signature") or piece.get("thoughtSignature") or ""

    def thought(piece: Body) -> str:
        return piece.get("thinking") or piece.get("text") or ""

    talking = Talking()
    assert talking.strangers == []
    found = swapped(dialect, model, talking, signature, spell=True)
    assert talking.strangers == [("two", "one", found)]
    assert talking.refused == []
    talking = Talking(words="own thoughts")
    found = swapped(dialect, model, talking, thought)
    assert talking.strangers == [("two", "one", found)]


def test_images_are_of_one_size_and_never_the_same() -> None:
    talk = Talk("gemini", GEMINI, Talking())
    for _ in range(3):
        talk.turn("Draw. [steps:0][image]")
    images = [part["inlineData"]["data"] for parts in answers(talk) for part in parts if "inlineData" in part]
    assert {len(image) for image in images} == {IMAGE_BYTES * 4 // 3}
    assert len(set(images)) == 3


def test_arguments_are_few() -> None:
    talk = Talk("anthropic", OLD, Talking())
    talk.turn("Look. [steps:4]")
    given_ = [block["input"] for blocks in answers(talk) for block in blocks if block["type"] == "tool_use"]
    assert given_ == [*ARGS, ARGS[0]]
    talk.turn("Look. [steps:1][floats]")
    assert '"input": {"to": 1.0, "at": 2}' in json.dumps(talk.history)


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a citation": lambda block: block["citations"].pop(),
    "what was found": lambda block: block["content"][0].update(encrypted_content="AAAA"),
    "what was searched": lambda block: block["input"].update(query="c"),
    "the result of code": lambda block: block["content"].update(stdout="2\n"),
    "white space": lambda block: block.update(text="\n"),
}


@pytest.mark.parametrize(
    ("marks", "kind", "edit"),
    [
        ("[cited]", "text", "a citation"),
        ("[search]", "web_search_tool_result", "what was found"),
        ("[search]", "server_tool_use", "what was searched"),
        ("[code]", "code_execution_tool_result", "the result of code"),
        ("[blank]", "text", "white space"),
    ],
)
def test_what_stands_before_a_thought_is_all_that_is_no_thought(marks: str, kind: str, edit: str) -> None:
    for model, refusals in ((OLD, 0), (NEW, 1)):
        # In the same answer, and in one before.
        for prompt in (f"Look. [steps:1][interleaved]{marks}", f"Look. [steps:2]{marks}"):
            talk = Talk("anthropic", model, Talking())
            for _ in range(2):
                talk.step(prompt)
            block = next(block for block in answers(talk)[0] if block["type"] == kind)
            EDITS[edit](block)
            talk.history = talk.history[: 2 if "interleaved" in prompt else None]
            try:
                talk.step("Go on.")
            except RefusedTalkError:
                assert a.BOUND in talk.talking.refused[0]
            assert len(talk.talking.refused) == refusals, prompt


def test_numbers_may_be_written_in_another_way() -> None:
    for dialect, model in (("anthropic", NEW), ("gemini", GEMINI)):
        talk = Talk(dialect, model, Talking(), through=changing(b"1.0", b"1"))
        talk.turn("Look. [steps:2][floats]")
        assert talk.talking.refused == []
        assert b'{"to": 1, "at": 2}' in talk.came[-1].body


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda content: content.insert(1, {"type": "text", "text": ""}), a.EMPTY),
        (lambda content: content.insert(1, {"type": "text", "text": " \n"}), ""),
        (lambda content: content.__setitem__(slice(1, None), [{"type": "text", "text": "\n\n"}]), a.BLANK),
    ],
)
def test_a_text_of_white_space_passes_beside_another_text_or_a_call(
    edit: Callable[[list[Body]], object], text: str
) -> None:
    talk = Talk("anthropic", OLD, Talking())
    talk.turn("Hi. [steps:0]")
    edit(talk.history[-1]["content"])
    if not text:
        talk.turn("Go on. [blank]")
        assert talk.talking.refused == []
        return
    with pytest.raises(RefusedTalkError):
        talk.turn("Go on.")
    assert talk.talking.refused == [text]


def test_a_server_s_tool_keeps_its_result() -> None:
    talk = Talk("anthropic", OLD, Talking())
    talk.turn("Hi. [steps:0][search]")
    del talk.history[-1]["content"][3]
    with pytest.raises(RefusedTalkError, match="was found without a corresponding"):
        talk.turn("Go on.")


def test_signed_code_and_images_are_checked_in_the_current_turn() -> None:
    for old, new in ((b"print(", b"exit("), (b"PYTHON", b"RUBY")):
        talk = Talk("gemini", GEMINI, Talking(), through=changing(old, new))
        talk.step("Look. [steps:2][code]")
        with pytest.raises(RefusedTalkError, match="Corrupted"):
            talk.step("")


def test_ids_and_signatures_are_those_of_the_seed() -> None:
    told = []
    for seed in ("a", "a", "b"):
        talk = Talk("anthropic", NEW, Talking(seed=seed))
        talk.turn("Look. [steps:2][search]")
        told.append(talk.history)
    assert told[0] == told[1]
    assert all(mine != other for mine, other in pairwise([told[1][1], told[2][1]]))
