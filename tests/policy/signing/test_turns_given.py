"""Upstream's own turns, given back by a client of another dialect."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from antigravity_healing.policy.judging.client_error import client_error
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.signing import turns_given as turns
from antigravity_healing.policy.signing.store import conversation_key
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.gemini.history import STAND_IN, signature_of
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.exchange.stage import FakeClock
from tests.policy.translating.border import GEMINI, NEW, OLD, Border
from tests.support.examples import examples
from tests.support.gemini_parts import PARTS
from tests.wire.translate.asking import assistant, result, user
from tests.wire.translate.test_to_gemini_any import normal

type Body = dict[str, Any]

SIGNED = [f"c2lnbmVk{number:060}" for number in range(9)]
ARGS = b'{"at":1.0,"big":36893488147419103232,"far":1e400,"deep":{"z":-0.0,"a":[1.50]}}'


def asked(*messages: Body) -> Body:
    return {"max_tokens": 9, "messages": list(messages)}


def parts_at(border: Border, *messages: Body, index: int = 1) -> list[Body]:
    """The parts that Gemini gets for the turn at this index."""
    parts: list[Body] = border.asked(asked(*messages))["contents"][index]["parts"]
    return parts


def text(said: str) -> Body:
    return {"type": "text", "text": said}


# A client of the Messages API.

OWN: list[Body] = [
    {"text": "Let me "},
    {"text": "see.", "thoughtSignature": SIGNED[0]},
    {"functionCall": {"name": "look", "args": {"at": 1.5}}, "thoughtSignature": SIGNED[1]},
    {"functionCall": {"name": "look", "args": {"at": 2}}},
]
ASKED = user("Look.")


def answered(border: Border) -> list[Body]:
    content = border.answer(asked(ASKED), OWN)
    assert [block["type"] for block in content] == ["text", "tool_use", "tool_use"]
    return content


def given_back(border: Border, content: list[Body]) -> list[Body]:
    """The parts of a turn that comes back with this content."""
    results = [result(block["id"]) for block in content if block["type"] == "tool_use"]
    return parts_at(border, ASKED, {"role": "assistant", "content": content}, user(*results, "Go on."))


def test_a_turn_comes_back_as_it_came() -> None:
    border = Border(GEMINI)
    assert given_back(border, answered(border)) == OWN


def test_a_turn_comes_back_also_where_its_ids_or_its_place_are_lost() -> None:
    border = Border(GEMINI)
    content = answered(border)
    for number, block in enumerate(content[1:]):
        block["id"] = f"call_{number}"
    assert given_back(border, content) == OWN, "by its place"
    content = answered(border)
    elsewhere = parts_at(
        border, user("Compacted."), {"role": "assistant", "content": content},
        user(*(result(block["id"]) for block in content[1:])),
    )  # fmt: skip
    assert elsewhere == OWN, "by its ids"


def test_what_changes_nothing_still_gets_the_own_turn_back() -> None:
    border = Border(GEMINI)
    content = answered(border)
    cut = [text("Let "), text("me see.\n"), *content[1:]]
    marked = [{**block, "cache_control": {"type": "ephemeral"}} for block in content]
    thought = [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, *content]
    for same in (cut, marked, thought):
        assert given_back(border, same) == OWN


def edited(content: list[Body], index: int, **members: Any) -> list[Body]:
    changed = deepcopy(content)
    changed[index] |= members
    return changed


CHANGES: list[tuple[Callable[[list[Body]], list[Body]], list[str]]] = [
    (lambda content: [*content[:1], text("More."), *content[1:]], ["Let me see.", "More."]),
    (lambda content: [*content, text("More.")], ["Let me see.", "More."]),
    (lambda content: [text("More."), *content], ["More.", "Let me see."]),
    (lambda content: content[1:], []),
    (lambda content: edited(content, 0, text="Let me sea."), ["Let me sea."]),
    (lambda content: edited(content, 0, text=""), []),
]


@pytest.mark.parametrize(("change", "texts"), CHANGES)
def test_a_turn_with_other_words_is_the_clients_but_its_calls_keep_their_signatures(
    change: Callable[[list[Body]], list[Body]], texts: list[str]
) -> None:
    border = Border(GEMINI)
    parts = given_back(border, change(answered(border)))
    assert [part["text"] for part in parts if part.get("text")] == texts
    assert not any(signature_of(part) for part in parts if "text" in part)
    assert [part for part in parts if "functionCall" in part] == OWN[2:]


def test_a_call_that_the_client_changed_gets_the_stand_in_and_its_neighbours_keep_their_own() -> None:
    border = Border(GEMINI)
    parts = given_back(border, edited(answered(border), 1, input={"at": 3}))
    assert parts[1] == {"functionCall": {"name": "look", "args": {"at": 3}}, "thoughtSignature": STAND_IN}
    parts = given_back(border, edited(answered(border), 2, input={"at": 3}))
    assert parts[1:] == [OWN[2], {"functionCall": {"name": "look", "args": {"at": 3}}}]


def test_numbers_of_calls_come_back_as_they_were_written() -> None:
    border = Border(GEMINI)
    own = exact.parse(b'[{"functionCall":{"name":"look","args":%b}}]' % ARGS)
    own[0]["thoughtSignature"] = SIGNED[1]
    content = border.answer(asked(ASKED), own)
    assert ARGS in dump(content)
    changed = {"at": 1, "big": 36893488147419103232, "far": None, "deep": {"z": 0, "a": [1.5]}}
    for block in (content[0], {**content[0], "input": changed}):
        assert dump(given_back(border, [block])) == dump(own)


@given(PARTS)
@settings(max_examples=examples(60), deadline=None, derandomize=True)
def test_whatever_gemini_said_comes_back_as_it_was_said(parts: list[Body]) -> None:
    border = Border(GEMINI)
    content = border.answer(asked(ASKED), parts)
    results = [result(block["id"]) for block in content if block["type"] == "tool_use"]
    # Only in an earlier turn nothing has to be signed that was not.
    later = (user(*results, "Go on."), assistant("So."), user("Go on."))
    came_back = parts_at(border, ASKED, {"role": "assistant", "content": content}, *later)
    assert normal(came_back) == (normal(parts) or [{"text": "(no text)"}])


def test_two_clients_that_say_and_hear_the_same_get_each_their_own_back() -> None:
    first, second = Border(GEMINI), Border(GEMINI, client="another")
    second.store = first.store
    told = []
    for number, border in enumerate((first, second)):
        own = [{"text": "Hello!", "thoughtSignature": SIGNED[number]}]
        told.append((border, own, border.answer(asked(ASKED), own)))
    for border, own, content in told:
        assert parts_at(border, ASKED, {"role": "assistant", "content": content}, user("Go on.")) == own


def test_a_client_that_got_two_answers_to_the_same_gets_neither_back_for_its_words() -> None:
    border = Border(GEMINI)
    for number in range(2):
        border.answer(asked(ASKED), [{"text": "Hello!", "thoughtSignature": SIGNED[number]}])
    assert parts_at(border, ASKED, assistant("Hello!"), user("Go on.")) == [{"text": "Hello!"}]
    sessions = [Border(GEMINI, session=name, store=border.store) for name in "ab"]
    for number, each in enumerate(sessions):
        each.answer(asked(ASKED), [{"text": "Hello!", "thoughtSignature": SIGNED[number]}])
    for number, each in enumerate(sessions):
        [part] = parts_at(each, ASKED, assistant("Hello!"), user("Go on."))
        assert signature_of(part) == SIGNED[number], "its session tells them apart"


def test_an_image_of_a_turn_is_not_kept_and_the_next_request_says_it_in_words() -> None:
    border = Border(GEMINI)
    data = "iVBORw0KGgo=" * 1000
    own: list[Body] = [{"text": "There."}, {"inlineData": {"mimeType": "image/png", "data": data}}, *OWN[2:3]]
    content = border.answer(asked(ASKED), own)
    assert border.store.report()["bytes"] < len(data)
    parts = given_back(border, content)
    assert (parts[0], parts[2]) == (own[0], own[2])
    assert parts[1]["text"].startswith("[The model gave image/png")


def test_a_turn_that_is_too_long_is_not_kept() -> None:
    for border, own in (
        (Border(GEMINI), [{"text": "x" * turns.LONGEST_TURN, "thoughtSignature": SIGNED[0]}]),
        (Border(NEW), [text("x" * turns.LONGEST_TURN)]),
    ):
        ask = asked(ASKED) if border.model == GEMINI else {"contents": [USER]}
        for _ in range(9):
            border.answer(ask, own)
        assert border.store.entries == 0


def test_what_a_translated_answer_signed_is_told_of_its_own_conversation_only() -> None:
    border = Border(GEMINI, session="s")
    call = {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": SIGNED[1]}
    border.answer(asked(ASKED), [{"text": "So.", "thoughtSignature": SIGNED[0]}, call])
    now = FakeClock().wall()
    told = border.store.conversation(conversation_key("a client", "s"), now)
    assert [(each.what, each.account) for each in told] == [("text", "work"), ("call look", "work")]
    assert border.store.conversation(conversation_key("another client", "s"), now) == []


def test_an_answer_that_goes_on_with_the_clients_words_is_not_kept() -> None:
    border = Border("gemini-2.5-pro")
    border.answer(asked(ASKED, assistant("He")), [{"text": "llo", "thoughtSignature": SIGNED[0]}])
    assert border.store.entries == 0


# A client of the Gemini API.

USER: Body = {"role": "user", "parts": [{"text": "Look."}]}
CLAUDES: list[Body] = [
    {"type": "thinking", "thinking": "Hm.", "signature": SIGNED[0]},
    text("Let me see."),
    {"type": "redacted_thinking", "data": SIGNED[1]},
    text("\n"),
    {"type": "thinking", "thinking": "", "signature": SIGNED[2]},
    {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "look", "input": {"at": 1.5}},
]


def blocks_for(border: Border, parts: list[Body], *, contents: int = 1, more: str = "") -> list[Body]:
    """The blocks that Claude gets for a turn that comes back with these parts, cut into so many contents."""
    responses: list[Body] = [
        {"functionResponse": {**part["functionCall"], "response": {"output": "seen"}}}
        for part in parts
        if "functionCall" in part
    ]
    for response in responses:
        del response["functionResponse"]["args"]
    size = -(-len(parts) // contents)
    turn: list[Body] = [{"role": "model", "parts": parts[at : at + size]} for at in range(0, len(parts), size)]
    asks = [{"text": more}] if more or not responses else []
    body = {"contents": [USER, *turn, {"role": "user", "parts": [*responses, *asks]}]}
    blocks: list[Body] = border.asked({**body, **THINKS})["messages"][1]["content"]
    return blocks


THINKS = {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2000}}}
FIRST = {"contents": [USER], **THINKS}


@pytest.mark.parametrize("model", [OLD, NEW])
@pytest.mark.parametrize("contents", [1, 2, 9])
def test_claudes_turn_comes_back_as_it_came_however_it_is_cut(model: str, contents: int) -> None:
    border = Border(model)
    parts = border.answer(FIRST, CLAUDES)
    assert blocks_for(border, parts, contents=contents) == CLAUDES
    unthought = [part for part in parts if not part.get("thought")]
    assert blocks_for(border, unthought, contents=contents) == CLAUDES


SAID = st.sampled_from(["Done.", "\n", " OK", "hi"])
THOUGHTS = st.sampled_from([{"type": "thinking", "thinking": "Hm."}, {"type": "thinking", "thinking": ""}, {}])
CITED = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "Done."}
SEARCHED = {"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "E" * 20}
SERVER: list[Body] = [
    {"type": "server_tool_use", "id": "srvtoolu_01A09q90qw90lq91", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01A09q90qw90lq91", "content": [SEARCHED]},
]


@st.composite
def turns_of_claude(draw: st.DrawFn) -> list[Body]:
    """Thinking of all kinds between texts, citations, calls and what the servers did."""
    own: list[Body] = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from("tcutsr"), min_size=1, max_size=5))):
        match kind:
            case "t":
                thought = draw(THOUGHTS)
                signed = {"signature": SIGNED[number]}
                own.append({**thought, **signed} if thought else {"type": "redacted_thinking", "data": SIGNED[number]})
            case "c":
                own.append({**text("Done."), "citations": [CITED]})
            case "u":
                given = draw(st.sampled_from([{}, {"at": 1}]))
                own.append(
                    {"type": "tool_use", "id": f"toolu_01A09q90qw90lq91783{number}", "name": "look", "input": given}
                )
            case "s":
                own += SERVER
            case _:
                own.append(text(draw(SAID)))
    return own if own[-1]["type"] in ("text", "tool_use") else [*own, text("Done.")]


@given(turns_of_claude(), st.sampled_from([1, 2, 9]))
@settings(max_examples=examples(100), deadline=None, derandomize=True)
def test_whatever_claude_said_comes_back_as_it_was_said(own: list[Body], contents: int) -> None:
    border = Border(NEW)
    parts = border.answer(FIRST, own)
    assert blocks_for(border, parts, contents=contents) == own


def test_text_that_a_gemini_client_added_is_not_dropped() -> None:
    border = Border(NEW)
    parts = border.answer(FIRST, CLAUDES)
    for added in ([*parts, {"text": "More."}], [{"text": "More."}, *parts]):
        blocks = blocks_for(border, added)
        assert "More." in "".join(block.get("text", "") for block in blocks)
        assert not [block for block in blocks if "thinking" in block["type"]]


def test_numbers_of_claudes_calls_come_back_as_they_were_written() -> None:
    border = Border(NEW)
    own = exact.parse(b'[{"type":"tool_use","id":"toolu_01A09q90qw90lq917835lq9","name":"look","input":%b}]' % ARGS)
    parts = border.answer(FIRST, own)
    assert ARGS in dump(parts)
    loose = deepcopy(parts)
    loose[0]["functionCall"]["args"] = {"at": 1, "big": 2**65, "far": None, "deep": {"z": 0, "a": [1.5]}}
    for each in (parts, loose):
        assert dump(blocks_for(border, each)) == dump(own)


def test_thinking_goes_where_the_words_before_it_have_changed_and_the_model_checks_them() -> None:
    for model, thinks in ((NEW, False), (OLD, True)):
        border = Border(model)
        parts = border.answer({**FIRST, "systemInstruction": {"parts": [{"text": "Be brief."}]}}, CLAUDES)
        blocks = blocks_for(border, parts)
        expected = CLAUDES if thinks else [block for block in CLAUDES if "thinking" not in str(block["type"])]
        assert blocks == expected


def test_an_overload_is_told_as_one_whatever_its_status_was() -> None:
    assert client_error(Failure(FailureClass.OVERLOADED, "busy", 200), None, Gemini()).status == 529
