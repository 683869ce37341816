from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
from antigravity_healing.wire.anthropic import history as anthropic_history
from antigravity_healing.wire.gemini import history as gemini_history
from antigravity_healing.wire.requests.places import Places, is_unguessable
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples

type Body = dict[str, Any]

steady = settings(deadline=None, derandomize=True, max_examples=examples(100))
# So few words that turns repeat each other all the time.
WORDS = st.sampled_from(["Done.", "OK", "hi", "a b", "1"])
IDS = st.sampled_from(["toolu_1", "toolu_01A09q90qw90lq917835lq9", "8gk2xq0z"])
ARGS = st.sampled_from([{}, {"at": 1}, {"at": 1.5, "deep": {"b": [1, 2], "a": "x"}}])
IMAGES = st.sampled_from(["AAAA", "BBBB"])


def exact(places: Places) -> list[str]:
    return [*(side.place.exact for side in places.sides), places.end.exact]


def loose(places: Places) -> list[str]:
    return [*(side.place.loose for side in places.sides), places.end.loose]


def turned(value: Any) -> Any:
    """The same JSON with the members of every object in the other order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


# Anthropic.


def text(said: str) -> Body:
    return {"type": "text", "text": said}


def use(call_id: str, given: Body) -> Body:
    return {"type": "tool_use", "id": call_id, "name": "look", "input": given}


def tool_result(call_id: str, said: str) -> Body:
    return {"type": "tool_result", "tool_use_id": call_id, "content": said}


def image(data: str) -> Body:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


USERS_BLOCKS = st.builds(text, WORDS) | st.builds(tool_result, IDS, WORDS) | st.builds(image, IMAGES)
MODELS_BLOCKS = st.builds(text, WORDS) | st.builds(use, IDS, ARGS)


@st.composite
def messages(draw: st.DrawFn) -> list[Body]:
    turns = draw(st.integers(1, 5))
    made = []
    for number in range(turns):
        blocks = draw(st.lists(MODELS_BLOCKS if number % 2 else USERS_BLOCKS, min_size=1, max_size=3))
        made.append({"role": "assistant" if number % 2 else "user", "content": blocks})
    return made


def anthropic(said: list[Body], *, client: str = "a client", **frame: Any) -> Places:
    body = {"system": "Be brief.", "tools": [{"name": "look", "input_schema": {}}], "messages": said, **frame}
    return anthropic_history.places_of(body, client)


def without_meaning(said: list[Body]) -> list[Body]:
    """The same messages with everything that means nothing."""
    made = deepcopy(said)
    for message in made:
        message["content"][-1]["cache_control"] = {"type": "ephemeral"}
        for block in message["content"]:
            if block["type"] == "tool_result":
                block["content"] = [text(block["content"])]
        if message["role"] == "assistant":
            message["content"].insert(0, {"type": "thinking", "thinking": "Hm.", "signature": "s" * 60})
            message["content"].append({"type": "redacted_thinking", "data": "d" * 60})
    made_turned: list[Body] = turned(made)
    return made_turned


@given(messages())
@steady
def test_what_means_nothing_changes_no_place(said: list[Body]) -> None:
    billing = text("x-anthropic-billing-header: cc_version=2.1; cch=00000;")
    system = [billing, {**text("Be brief."), "cache_control": {"type": "ephemeral"}}]
    tools = [{"input_schema": {}, "name": "look", "cache_control": {"type": "ephemeral"}}]
    places = anthropic(said)
    assert exact(anthropic(without_meaning(said), system=system, tools=tools)) == exact(places)
    assert loose(anthropic(without_meaning(said))) == loose(places)


@given(messages())
@steady
def test_a_message_of_one_text_may_be_a_string(said: list[Body]) -> None:
    plain = [
        {**each, "content": "".join(block["text"] for block in each["content"])}
        if all("text" in block for block in each["content"])
        else each
        for each in said
    ]
    assert exact(anthropic(plain)) == exact(anthropic(said))


def changed_at(value: Any) -> list[Any]:
    """The value with each of its strings and numbers changed in turn, and with each item of its lists gone."""
    if isinstance(value, dict):
        return [{**value, name: each} for name, item in value.items() for each in changed_at(item)]
    if isinstance(value, list):
        each_changed = [
            [*value[:at], each, *value[at + 1 :]] for at, item in enumerate(value) for each in changed_at(item)
        ]
        return each_changed + [value[:at] + value[at + 1 :] for at in range(len(value))]
    return [value + "!"] if isinstance(value, str) else [value + 1]


def edits(said: list[Body], kinds: tuple[str, ...]) -> list[tuple[int, list[Body]]]:
    """Each way to change one message, with its index: all its words, but not what kinds of things it is made of."""

    def kinds_of(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [(name, value[name]) for name in kinds if name in value] + [
                kind for item in value.values() for kind in kinds_of(item)
            ]
        return [kind for item in value for kind in kinds_of(item)] if isinstance(value, list) else []

    return [
        (index, [*said[:index], each, *said[index + 1 :]])
        for index, message in enumerate(said)
        for each in changed_at(message)
        if set(kinds_of(each)) <= set(kinds_of(message))
    ]


@given(messages())
@steady
def test_whatever_is_changed_moves_all_that_comes_after_it_and_nothing_before(said: list[Body]) -> None:
    before = exact(anthropic(said))
    for index, edited in edits(said, ("type", "role")):
        after = exact(anthropic(edited))
        assert after[: index + 1] == before[: index + 1]
        if _spoken(said[index]) != _spoken(edited[index]):
            assert not set(after[index + 1 :]) & set(before[index + 1 :])


def _spoken(message: Body) -> list[Any]:
    """What a message says, in which neighbouring texts are one."""
    spoken: list[Any] = []
    for block in message.get("content") or message.get("parts") or []:
        said = block.get("text")
        if said is not None and spoken and isinstance(spoken[-1], str):
            spoken[-1] += said
        else:
            spoken.append(block if said is None else said)
    return [message.get("role"), *spoken]


@pytest.mark.parametrize(
    "frame",
    [
        {"system": "Be brief!"},
        {"system": ""},
        {"tools": []},
        {"tools": [{"name": "look", "input_schema": {"a": 1}}]},
        {"system": [text("Be "), text("brief.")]},
    ],
)
def test_another_system_prompt_or_tool_is_another_place_but_loosely_the_same(frame: Body) -> None:
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "OK"}]
    one, other = anthropic(said), anthropic(said, **frame)
    assert not set(exact(one)) & set(exact(other))
    assert loose(one) == loose(other)


@given(messages(), st.sampled_from(["another", ""]))
@steady
def test_two_clients_never_share_a_place(said: list[Body], client: str) -> None:
    one, other = anthropic(said), anthropic(said, client=client)
    assert not set(exact(one) + loose(one)) & set(exact(other) + loose(other))


@given(messages())
@steady
def test_the_same_words_said_again_stand_elsewhere(said: list[Body]) -> None:
    places = anthropic(said * 2)
    assert len(set(exact(places))) == len(places.sides) + 1
    assert len(set(loose(places))) == len(places.sides) + 1


def test_white_space_and_spelled_numbers_and_system_messages_are_loosely_nothing() -> None:
    ask: Body = {"role": "user", "content": [text("a b")]}
    system: Body = {"role": "system", "content": "note"}
    said = [ask, {"role": "assistant", "content": [text("OK\n"), use("toolu_1", {"at": 1.0})]}, ask]
    same = [
        {"role": "user", "content": [text("ab\n")]}, system,
        {"role": "assistant", "content": [text("O"), text("K"), use("toolu_2", {"at": 1})]}, ask,
    ]  # fmt: skip
    assert loose(anthropic(said)) == loose(anthropic(same))
    assert exact(anthropic(said))[1:] != exact(anthropic(same))[1:]
    for other in (use("toolu_1", {"at": 2}), use("toolu_1", {"at": "1"}), use("toolu_1", {"at": True}), text("KO")):
        told = [ask, {"role": "assistant", "content": [text("OK\n"), other]}, ask]
        assert not set(loose(anthropic(said))[2:]) & set(loose(anthropic(told))[2:])
    assert loose(anthropic([ask, ask]))[-1] != loose(anthropic([ask]))[-1]


def test_a_system_message_counts_exactly_where_it_stands() -> None:
    system = {"role": "system", "content": "note"}
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "OK"}]
    found = {tuple(exact(anthropic([*said[:at], system, *said[at:]]))[-1:]) for at in range(3)}
    assert len(found | {tuple(exact(anthropic(said))[-1:])}) == 4


# Gemini.


def part(said: str) -> Body:
    return {"text": said}


def call(call_id: str, given: Body) -> Body:
    return {"functionCall": {"id": call_id, "name": "look", "args": given}}


def response(said: str) -> Body:
    return {"functionResponse": {"name": "look", "response": {"output": said}}}


def data(said: str) -> Body:
    return {"inlineData": {"mimeType": "image/png", "data": said}}


USERS_PARTS = st.builds(part, WORDS) | st.builds(response, WORDS) | st.builds(data, IMAGES)
MODELS_PARTS = st.builds(part, WORDS) | st.builds(call, IDS, ARGS) | st.builds(data, IMAGES)


@st.composite
def contents(draw: st.DrawFn) -> list[Body]:
    made = []
    for number in range(draw(st.integers(1, 5))):
        parts = draw(st.lists(MODELS_PARTS if number % 2 else USERS_PARTS, min_size=1, max_size=3))
        made.append({"role": "model" if number % 2 else "user", "parts": parts})
    return made


def gemini(said: list[Body], *, client: str = "a client", **frame: Any) -> Places:
    body = {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "tools": [{}], "contents": said, **frame}
    return gemini_history.places_of(body, client)


@given(contents(), st.data())
@steady
def test_however_geminis_turns_are_cut_they_stand_at_the_same_places(said: list[Body], data: st.DataObject) -> None:
    cut: list[Body] = []
    for content in said:
        pieces: list[Body] = []
        for each in content["parts"]:
            at = data.draw(st.integers(0, len(each["text"]))) if "text" in each else None
            pieces += [each] if at is None else [part(each["text"][:at]), part(each["text"][at:])]
            if content["role"] == "model" and data.draw(st.booleans()):
                pieces.append({"text": "Hm.", "thought": True, "thoughtSignature": "s" * 60})
        at = data.draw(st.integers(0, len(pieces)))
        cut += [{**content, "parts": some} for some in (pieces[:at], pieces[at:]) if some]
    cut = turned(cut)
    for one, other in ((exact(gemini(said)), exact(gemini(cut))), (loose(gemini(said)), loose(gemini(cut)))):
        assert one == other


@given(contents())
@steady
def test_signatures_and_the_spelling_of_members_change_no_place(said: list[Body]) -> None:
    snakes = {"functionCall": "function_call", "functionResponse": "function_response", "inlineData": "inline_data"}

    def spelled(each: Body) -> Body:
        return {**{snakes.get(name, name): item for name, item in each.items()}, "thought_signature": "s" * 60}

    snake = [{**each, "parts": [spelled(one) for one in each["parts"]]} for each in said]
    for each in snake:
        for one in each["parts"]:
            if "inline_data" in one:
                one["inline_data"] = {"mime_type": "image/png", "data": one["inline_data"]["data"]}
    assert exact(gemini(snake)) == exact(gemini(said))
    assert loose(gemini(snake)) == loose(gemini(said))


@given(contents())
@steady
def test_whatever_is_changed_in_geminis_contents_moves_all_that_comes_after_it(said: list[Body]) -> None:
    before = exact(gemini(said))
    for index, edited in edits(said, ("role",)):
        after = exact(gemini(edited))
        assert after[: index + 1] == before[: index + 1]
        if edited[index]["parts"] and _spoken(said[index]) != _spoken(edited[index]):
            assert not set(after[index + 1 :]) & set(before[index + 1 :])


@given(contents())
@steady
def test_two_clients_of_gemini_never_share_a_place(said: list[Body]) -> None:
    one, other = gemini(said), gemini(said, client="another")
    assert not set(exact(one) + loose(one)) & set(exact(other) + loose(other))


@pytest.mark.parametrize("frame", [{"systemInstruction": {"parts": [{"text": "Be!"}]}}, {"tools": []}])
def test_another_frame_of_geminis_is_loosely_the_same(frame: Body) -> None:
    said = [{"role": "user", "parts": [part("hi")]}]
    assert not set(exact(gemini(said))) & set(exact(gemini(said, **frame)))
    assert loose(gemini(said)) == loose(gemini(said, **frame))


# Both.


@pytest.mark.parametrize("places", [anthropic([]), gemini([]), anthropic_history.places_of(None, "x")])
def test_a_conversation_without_words_has_an_end(places: Places) -> None:
    assert (places.sides, places.at(0), places.last_is_users) == ([], None, False)
    assert places.end.exact


@given(st.lists(st.sampled_from(["user", "assistant", "system"]), max_size=8))
@steady
def test_each_message_is_of_the_side_that_it_stands_in(roles: list[str]) -> None:
    places = anthropic([{"role": role, "content": "hi"} for role in roles])
    for one, other in pairwise(places.sides):
        assert one.is_model is not other.is_model
        assert one.last < other.first
    for index, role in enumerate(roles):
        side = places.at(index)
        assert side is not None or role == "system"
        if side is not None and role != "system":
            assert side.is_model is (role == "assistant")
    spoken = [role for role in roles if role != "system"]
    assert places.last_is_users is (spoken[-1:] == ["user"])


@pytest.mark.parametrize(
    ("identifier", "sure"),
    [
        ("toolu_01A09q90qw90lq917835lq9", True), ("8gk2xq0z", True), ("toolu_9f86d081884c7d65", True),
        ("toolu_9f86d081884c7d65r_8gk2xq0z", True), ("toolu_vrtx_01A09q90qw90lq917835lq9", True),
        ("call_1", False), ("call_1_0", False), ("toolu_1", False), ("toolu_00010", False), ("call0001", False),
        ("function-call-1", False), ("call-1-0", False), ("file.py_1", False), ("look", False), ("", False),
        ("toolu_", False), ("toolu_00000000", False), ("read_file_contents", False),
        ("function-call-17020298049392993", True), ("look-1719999999123-9f2c", True),
        ("550e8400-e29b-41d4-a716-446655440000", True),
    ],
)  # fmt: skip
def test_an_id_counts_only_if_nobody_can_guess_it(identifier: str, sure: bool) -> None:
    assert is_unguessable(identifier) is sure
