"""Any history: each change that the real APIs bear passes, each other one is refused in its words."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples

from . import judging_anthropic as a
from . import judging_gemini as g
from .histories import GEMINI, KEY, Body, ask, called, calls, go_on, refusal_of, talked
from .minting import Claims, Signer, has_prefix_check, key_of
from .talking import Talking

type Edit = Callable[[Body, int], object]
MODELS = ["claude-opus-4-6", "claude-opus-5-5", "claude-haiku-6", "claude-fable-5-2-20260901"]
steady = settings(deadline=None, derandomize=True, max_examples=examples(60))
numbers = st.integers(0, 20)
prompts = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 2), st.sampled_from(["", "[silent]", "[redacted]"])),
    min_size=2,
    max_size=3,
).map(lambda turns: [f"Turn {n}. [steps:{s}][parallel:{p}]{mark}" for n, (s, p, mark) in enumerate(turns)])


def answers(body: Body) -> list[dict[str, Any]]:
    """The messages that have thinking."""
    return [m for m in body["messages"] if m["role"] == "assistant" and m["content"][0]["type"] in a.THINKING]


def thinks(body: Body) -> list[tuple[str, dict[str, Any]]]:
    """All thinking, and where it is."""
    return [
        (f"messages.{number}.content.{place}", block)
        for number, message in enumerate(body["messages"])
        for place, block in enumerate(a.blocks_of(message))
        if block["type"] in a.THINKING
    ]


def strip(*messages: dict[str, Any]) -> None:
    for message in messages:
        message["content"] = [block for block in message["content"] if block["type"] not in a.THINKING]


def backwards(value: Any) -> Any:
    """The same JSON with all its keys in another order."""
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


# What changes nothing.


def mark_a_message(body: Body, which: int) -> None:
    message = body["messages"][which % len(body["messages"])]
    message["content"] = a.blocks_of(message)
    message["content"][-1]["cache_control"] = {"type": "ephemeral"}


def mark_system_and_tools(body: Body, which: int) -> None:
    body["system"] = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    body["tools"][-1]["cache_control"] = {"type": "ephemeral", "ttl": "1h"}


def write_results_as_blocks(body: Body, which: int) -> None:
    for message in body["messages"]:
        for block in a.blocks_of(message):
            if block["type"] == "tool_result":
                block["content"] = [{"type": "text", "text": "seen", "cache_control": {"type": "ephemeral"}}]


def reorder_keys(body: Body, which: int) -> None:
    changed = backwards(body)
    body.clear()
    body.update(changed)


def change_settings(body: Body, which: int) -> None:
    body.update(max_tokens=which, metadata={"user_id": "x"}, tool_choice={"type": "auto"}, temperature=1)
    body["output_config"] = {"effort": "low"}


def strip_from_the_beginning(body: Body, which: int) -> None:
    strip(*answers(body)[: which % (len(answers(body)) + 1)])


def strip_from_the_end(body: Body, which: int) -> None:
    strip(*answers(body)[which % (len(answers(body)) + 1) :])


def strip_all(body: Body, which: int) -> None:
    strip(*answers(body))


LEGAL: list[Edit] = [
    mark_a_message, mark_system_and_tools, write_results_as_blocks, reorder_keys, change_settings,
    strip_from_the_beginning, strip_from_the_end, strip_all,
]  # fmt: skip


# What changes what stands before a block. Each changes something before the last answer that has thinking.


def edit_system(body: Body, which: int) -> None:
    body["system"] += " Please."


def edit_tools(body: Body, which: int) -> None:
    body["tools"][0]["input_schema"]["properties"] = {"cache_control": {"type": "string"}}


def edit_a_message(body: Body, which: int) -> None:
    message = body["messages"][which % last_thinking(body)]
    message["content"] = a.blocks_of(message)
    for block in message["content"]:
        match block["type"]:
            case "text":
                block["text"] += " Edited."
            case "tool_use":
                block["input"]["more"] = 1
            case "tool_result":
                block["content"] = "shortened"


def add_a_text(body: Body, which: int) -> None:
    message = body["messages"][which % last_thinking(body)]
    message["content"] = [*a.blocks_of(message), {"type": "text", "text": "A note."}]


def insert_a_turn(body: Body, which: int) -> None:
    said = {"role": "user", "content": "Before all."}, {"role": "assistant", "content": "Yes."}
    body["messages"][:0] = said


def drop_a_turn(body: Body, which: int) -> None:
    second = next(n for n, m in enumerate(body["messages"]) if str(m["content"]).startswith("Turn 1"))
    del body["messages"][:second]


def strip_between(body: Body, which: int) -> None:
    found = answers(body)
    assume(len(found) > 2)
    strip(found[1 + which % (len(found) - 2)])


PREFIX: list[Edit] = [
    edit_system, edit_tools, edit_a_message, add_a_text, insert_a_turn, drop_a_turn, strip_between
]  # fmt: skip


def last_thinking(body: Body) -> int:
    return max(n for n, message in enumerate(body["messages"]) if message in answers(body))


# What makes a block another one.


def edit_block(block: dict[str, Any]) -> None:
    if block["type"] == "thinking":
        block["thinking"] += " Edited."
    else:
        tamper(block)


def tamper(block: dict[str, Any]) -> None:
    name = "data" if block["type"] == "redacted_thinking" else "signature"
    at = len(block[name]) // 2
    block[name] = block[name][:at] + ("B" if block[name][at] == "A" else "A") + block[name][at + 1 :]


def empty(block: dict[str, Any]) -> None:
    block["data" if block["type"] == "redacted_thinking" else "signature"] = ""


def of_another_vendor(block: dict[str, Any]) -> None:
    claims = Claims("gemini", "f", "c", a.signed_by(block))
    block["data" if block["type"] == "redacted_thinking" else "signature"] = Signer().mint(claims)


def of_nobody(block: dict[str, Any]) -> None:
    block["data" if block["type"] == "redacted_thinking" else "signature"] = "Z2FyYmFnZQ" * 9


@steady
@given(prompts, st.sampled_from(MODELS), st.lists(st.tuples(st.sampled_from(LEGAL), numbers), max_size=4))
def test_what_changes_nothing_passes_and_so_do_the_answers_to_it(
    said: list[str], model: str, edits: list[tuple[Edit, int]]
) -> None:
    talking = Talking()
    body = talked(model, talking, said, thinking="adaptive")
    for edit, which in edits:
        edit(body, which)
    while go_on(talking, body):
        pass
    body["messages"].append({"role": "user", "content": "And? [steps:1]"})
    go_on(talking, body)
    go_on(talking, body)
    assert talking.refused == []
    assert not any(talking.dropped)


@steady
@given(prompts, st.sampled_from(MODELS), st.sampled_from(PREFIX), numbers)
def test_what_changes_the_prefix_is_refused_or_dropped_when_asked_for_by_models_that_check_it(
    said: list[str], model: str, edit: Edit, which: int
) -> None:
    talking = Talking()
    body = talked(model, talking, said, thinking="adaptive")
    edit(body, which)
    answer = ask(talking, body)
    if not has_prefix_check(model):
        assert talking.refused == []
        return
    where, _, text = answer["error"]["message"].partition(": ")
    assert text == a.BOUND
    at = [path for path, _ in thinks(body)].index(where)
    body["thinking"]["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    dropped = [each["path"] for each in ask(talking, body, beta=a.BETA)["input_transformations"]]
    assert dropped == [path for path, _ in thinks(body)][at:]
    # The answers to it stand after what was dropped, as long as that is dropped again.
    go_on(talking, body, beta=a.BETA)
    go_on(talking, body, beta=a.BETA)
    assert [path for path, _ in talking.dropped[-1]] == dropped
    assert len(talking.refused) == 1
    del body["thinking"]["block_binding"]
    assert a.BOUND in ask(talking, body)["error"]["message"]


@steady
@given(prompts, st.sampled_from(MODELS[1:]), numbers)
def test_a_block_that_was_removed_may_not_come_back(said: list[str], model: str, which: int) -> None:
    talking = Talking()
    body = talked(model, talking, said, thinking="adaptive")
    message = answers(body)[which % len(answers(body))]
    whole = deepcopy(message["content"])
    first = answers(body).index(message) == 0
    strip(message) if first else strip(*answers(body)[answers(body).index(message) :])
    go_on(talking, body)
    assert talking.refused == []
    message["content"] = whole
    assert a.BOUND in ask(talking, body)["error"]["message"]


@steady
@given(
    prompts,
    st.sampled_from(MODELS),
    st.sampled_from([edit_block, tamper, empty, of_another_vendor, of_nobody]),
    numbers,
    st.booleans(),
)
def test_a_block_that_is_another_one_is_named(
    said: list[str], model: str, edit: Callable[[dict[str, Any]], None], which: int, lost: bool
) -> None:
    talking = Talking()
    body = talked(model, talking, said, thinking="adaptive")
    where, block = thinks(body)[which % len(thinks(body))]
    if lost and block["type"] == "thinking":
        del block["signature"]
        expected = f"{where}.thinking.signature: Field required"
    else:
        edit(block)
        expected = f"{where}: {a.INVALID if block['type'] == 'thinking' else a.INVALID_DATA}"
    assert ask(talking, body)["error"]["message"] == expected


# Gemini.


def one_content_per_part(body: Body, which: int) -> None:
    body["contents"] = [
        {"role": content["role"], "parts": [part]} for content in body["contents"] for part in content["parts"]
    ]


def spell_anew(body: Body, which: int) -> None:
    snake = {"functionCall": "function_call", "functionResponse": "function_response"}
    for content in body["contents"]:
        content["parts"] = [{snake.get(name, name): part[name] for name in part} for part in content["parts"]]
        for part in content["parts"]:
            if "thoughtSignature" in part:
                plain = part.pop("thoughtSignature")
                part["thought_signature"] = plain.rstrip("=") if which % 2 else plain.translate({43: "-", 47: "_"})


def drop_thoughts(body: Body, which: int) -> None:
    for content in body["contents"]:
        content["parts"] = [part for part in content["parts"] if not part.get("thought")]


def change_all_but_contents(body: Body, which: int) -> None:
    body.update(systemInstruction={"parts": [{"text": "Be brief."}]}, tools=[], generationConfig={"topK": which})


def edit_the_question(body: Body, which: int) -> None:
    body["contents"][0]["parts"].append({"text": "Please."})


def stand_in(body: Body, which: int) -> None:
    first = calls(body, 1 + 2 * (which % (len(body["contents"]) // 2)))[0]
    first["thoughtSignature"] = g.STAND_IN


steps = st.tuples(st.integers(1, 3), st.integers(1, 3))


@steady
@given(
    steps,
    st.lists(
        st.tuples(st.sampled_from([stand_in, edit_the_question, change_all_but_contents, drop_thoughts]), numbers)
    ),
    st.lists(st.tuples(st.sampled_from([spell_anew, one_content_per_part, reorder_keys]), numbers), max_size=1),
)
def test_what_gemini_bears_passes(
    plan: tuple[int, int], edits: list[tuple[Edit, int]], forms: list[tuple[Edit, int]]
) -> None:
    talking = Talking(call_ids=True)
    body = called(talking, steps=plan[0], parallel=plan[1])
    for edit, which in [*edits, *forms]:
        edit(body, which)
    assert refusal_of(talking, body) == ""


@steady
@given(
    steps,
    numbers,
    st.sampled_from(["lost", "edited", "tampered", "of another call", "of nobody", "of another key", "of Vertex"]),
)
def test_what_gemini_refuses(plan: tuple[int, int], which: int, how: str) -> None:
    talking = Talking()
    body = called(talking, steps=plan[0], parallel=plan[1])
    content = 1 + 2 * (which % plan[0])
    part = calls(body, content)[0]
    signature = part.pop("thoughtSignature")
    if how == "lost":
        assert f"`default_api:look` , position {content + 1}. Please" in refusal_of(talking, body)
    else:
        claims = Claims("gemini", key_of(GEMINI), key_of(f"x-goog-api-key:{KEY}"), g.call_key(part["functionCall"]))
        assert Signer().read(signature) == claims
        part["thoughtSignature"] = signature
        match how:
            case "edited":
                part["functionCall"]["args"]["at"] = 7
            case "tampered":
                part["thoughtSignature"] = ("B" if signature[0] == "A" else "A") + signature[1:]
            case "of another call":
                assume(plan[0] > 1)
                part["thoughtSignature"] = calls(body, 1 if content > 1 else 3)[0]["thoughtSignature"]
            case "of nobody":
                part["thoughtSignature"] = "Z2FyYmFnZSBv" * 9
            case "of another key":
                part["thoughtSignature"] = Signer().mint(replace(claims, credential=key_of("another key")))
            case "of Vertex":
                part["thoughtSignature"] = Signer().mint(replace(claims, vendor="vertex"))
        assert refusal_of(talking, body) == g.CORRUPTED
    # What is over is looked at no more.
    body["contents"] += [{"role": "model", "parts": [{"text": "so"}]}, {"role": "user", "parts": [{"text": "And?"}]}]
    assert refusal_of(talking, json.loads(json.dumps(body))) == ""
