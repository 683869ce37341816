from typing import Any

import pytest
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.to_gemini.request import count_tokens_to_gemini, to_gemini

from tests.support.gemini_request import check_gemini_request
from tests.support.recorded import Exchange, recorded_params
from tests.wire.translate.asking import (
    LOOK,
    NO_TEXT,
    PRO,
    Known,
    assistant,
    call,
    contents,
    refusal,
    request,
    result,
    user,
)


def test_a_request_is_translated_whole() -> None:
    body = {
        "model": "claude-opus-5-5",
        "stream": True,
        "max_tokens": 1000,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "What is there?"},
            assistant({"type": "thinking", "thinking": "Hm.", "signature": "s"}, "I look.", call("toolu_1", at="x")),
            user(result("toolu_1"), "And?"),
        ],
        "tools": [LOOK],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "medium"},
        "metadata": {"user_id": "u"},
    }
    own = {"functionCall": {"name": "look", "args": {"at": "x"}}, "thoughtSignature": "sig0"}
    assert to_gemini(body, "gemini-3.8-flash", Known(calls={"toolu_1": own})) == {
        "contents": [
            {"role": "user", "parts": [{"text": "What is there?"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "I look."},
                    {"functionCall": {"name": "look", "args": {"at": "x"}}, "thoughtSignature": "sig0"},
                ],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "look", "response": {"output": "seen"}}}, {"text": "And?"}],
            },
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "look", "description": "Looks.", "parametersJsonSchema": LOOK["input_schema"]}
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {
            "maxOutputTokens": 1000,
            "thinkingConfig": {"thinkingLevel": "medium", "includeThoughts": True},
        },
    }


@pytest.mark.parametrize("system", [None, "", [], [{"type": "text", "text": ""}]])
def test_an_empty_system_prompt_is_left_out(system: Any) -> None:
    assert "systemInstruction" not in request(user("x"), system=system)


def test_neighbouring_messages_of_one_side_are_one_turn() -> None:
    turns = contents(user("a"), user("b"), assistant("c"), assistant("d"), user("e"))
    assert [[part["text"] for part in turn["parts"]] for turn in turns] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_system_message_is_the_users_text_in_its_place() -> None:
    system = {"role": "system", "content": "note"}
    turns = contents(user("a"), system, assistant(call("t1")), system, user(result("t1"), "b"), tools=[LOOK])
    assert turns[0]["parts"] == [{"text": "a"}, {"text": "note"}]
    assert [next(iter(part)) for part in turns[2]["parts"]] == ["functionResponse", "text", "text"]
    assert turns[2]["parts"][1:] == [{"text": "note"}, {"text": "b"}]


def test_a_system_message_for_one_turn_is_not_shown_in_later_ones() -> None:
    system = {"role": "system", "content": "note", "clear_at": "next_user_message"}
    assert {"text": "note"} in contents(user("a"), system)[0]["parts"]
    assert contents(user("a"), system, assistant("b"), user("c"))[0]["parts"] == [{"text": "a"}]


@pytest.mark.parametrize("content", [[], "", [{"type": "text", "text": ""}]])
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_turn_of_which_nothing_is_left_says_so(role: str, content: Any) -> None:
    turns = contents(user("a"), assistant("b"), user("c"), {"role": role, "content": content}, user("d"), model=PRO)
    assert all(turn["parts"] for turn in turns)
    alone = contents(user("a"), {"role": "assistant", "content": content}, user("c"))
    assert alone[1]["parts"] == [NO_TEXT]


def test_thinking_is_left_out_with_its_foreign_signature() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
    ]
    assert contents(user("a"), assistant(*blocks), user("b"))[1]["parts"] == [NO_TEXT]
    assert contents(user("a"), assistant(*blocks, "c"), user("b"))[1]["parts"] == [{"text": "c"}]


def test_a_conversation_that_the_assistant_begins_gets_a_beginning() -> None:
    turns = contents(assistant({"type": "compaction", "content": "It was about x."}), user("go on"))
    assert turns[:2] == [
        {"role": "user", "parts": [NO_TEXT]},
        {"role": "model", "parts": [{"text": "It was about x."}]},
    ]


def test_the_beginning_of_an_answer_is_a_turn_of_the_model_which_gemini_4_refuses() -> None:
    assert contents(user("a"), assistant("b"))[-1] == {"role": "model", "parts": [{"text": "b"}]}
    assert "does not support assistant message prefill" in refusal(user("a"), assistant("b"), model="gemini-4-argon")


def test_counting_asks_for_the_whole_request() -> None:
    body = {"messages": [user("x"), assistant("y")], "system": "S", "tools": [LOOK], "tool_choice": {"type": "any"}}
    prompt = {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}, {"role": "model", "parts": [{"text": "y"}]}],
        "systemInstruction": {"parts": [{"text": "S"}]},
        "tools": request(user("x"), tools=[LOOK])["tools"],
    }
    model = "gemini-4-argon"
    whole = {"generateContentRequest": {"model": "models/gemini-4-argon", **prompt}}
    assert count_tokens_to_gemini(body, model, Known()) == whole
    assert count_tokens_to_gemini(body, f"models/{model}", Known()) == whole
    assert count_tokens_to_gemini(body, model, Known(), vertex=True) == prompt


@pytest.mark.parametrize(
    "recorded", recorded_params(lambda each: each.dialect == "anthropic" and isinstance(each.request_json, dict))
)
@pytest.mark.parametrize("model", ["gemini-2.5-flash", PRO, "gemini-4-argon"])
def test_a_recorded_request_becomes_a_valid_one(recorded: Exchange, model: str) -> None:
    body = recorded.request_json
    schemaless = [tool["name"] for tool in body.get("tools", ()) if tool.get("type", "").startswith("memory_")]
    if schemaless:
        with pytest.raises(UntranslatableError, match=schemaless[0]):
            to_gemini(body, model, Known())
    else:
        check_gemini_request(to_gemini(body, model, Known()))


BILLING = "x-anthropic-billing-header: cc_version=2.1.197.1f3; cc_entrypoint=cli; cch=ab12c;"


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ([{"type": "text", "text": BILLING}, {"type": "text", "text": "Be brief."}], ["Be brief."]),
        ([{"type": "text", "text": f"{BILLING}\nBe brief."}], ["Be brief."]),
        (f"{BILLING}\nBe brief.", ["Be brief."]),
        (BILLING, []),
        (f"Know: {BILLING}", [f"Know: {BILLING}"]),
    ],
)
def test_the_line_by_which_a_client_is_billed_is_no_prompt(system: Any, said: list[str]) -> None:
    for made in (request(user("x"), system=system), count_tokens_to_gemini_of(system)):
        instruction = made.get("systemInstruction", {"parts": []})
        assert [part["text"] for part in instruction["parts"]] == said


def count_tokens_to_gemini_of(system: Any) -> dict[str, Any]:
    body = {"system": system, "messages": [user("x")]}
    made: dict[str, Any] = count_tokens_to_gemini(body, PRO, Known())["generateContentRequest"]
    return made
