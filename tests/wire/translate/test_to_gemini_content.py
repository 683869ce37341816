from typing import Any

import pytest
from antigravity_healing.wire.translate.common import Block, Body, tool_use_id

from tests.wire.translate.asking import (
    LOOK,
    PNG,
    PNG_PART,
    Known,
    assistant,
    blocks,
    call,
    contents,
    parts_of_user,
    refusal,
    request,
    result,
    user,
)

# Blocks.


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ({"type": "base64", "media_type": "image/png", "data": "AA=="},
         {"inlineData": {"mimeType": "image/png", "data": "AA=="}}),
        ({"type": "url", "url": "https://x.test/a/B.JPG?c=d.png"},
         {"fileData": {"fileUri": "https://x.test/a/B.JPG?c=d.png", "mimeType": "image/jpeg"}}),
        ({"type": "url", "url": "https://x.test/a"}, {"fileData": {"fileUri": "https://x.test/a"}}),
    ],
)  # fmt: skip
def test_images(source: Body, part: Body) -> None:
    assert parts_of_user({"type": "image", "source": source}) == [part]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"type": "base64", "media_type": "application/pdf", "data": "AA=="},
         [{"inlineData": {"mimeType": "application/pdf", "data": "AA=="}}]),
        ({"type": "url", "url": "https://x.test/a"},
         [{"fileData": {"fileUri": "https://x.test/a", "mimeType": "application/pdf"}}]),
        ({"type": "text", "media_type": "text/plain", "data": "words"}, [{"text": "words"}]),
        ({"type": "content", "content": "words"}, [{"text": "words"}]),
        ({"type": "content", "content": [{"type": "text", "text": "words"}, PNG]}, [{"text": "words"}, PNG_PART]),
    ],
)  # fmt: skip
def test_documents_with_their_titles(source: Body, expected: list[Body]) -> None:
    assert parts_of_user({"type": "document", "source": source}) == expected
    titled = {"type": "document", "source": source, "title": "T", "context": "C"}
    assert parts_of_user(titled) == [{"text": "T\nC"}, *expected]


def test_search_results_and_texts_with_citations_are_text() -> None:
    found = {"type": "search_result", "title": "T", "source": "https://x.test", "content": blocks(("a", "b"))}
    cited = {"type": "text", "text": "said", "citations": [{"type": "char_location"}]}
    assert [part["text"] for part in parts_of_user(found, cited)] == ["T\nhttps://x.test", "a", "b", "said"]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x", "id": 7}},
         '[server_tool_use: {"name":"web_search","input":{"query":"x","id":7}}]'),
        ({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
            {"type": "web_search_result", "title": "T", "url": "u", "encrypted_content": "E", "page_age": None}]},
         '[web_search_tool_result: {"content":[{"title":"T","url":"u"}]}]'),
        ({"type": "code_execution_tool_result", "tool_use_id": "s", "content": {
            "type": "code_execution_result", "stdout": "1", "stderr": "", "return_code": 0, "content": []}},
         '[code_execution_tool_result: {"content":{"stdout":"1","stderr":"","return_code":0,"content":[]}}]'),
        ({"type": "web_fetch_tool_result", "tool_use_id": "s", "content": {"type": "web_fetch_result", "url": "u",
            "content": {"type": "document", "source": {"type": "base64", "media_type": "m", "data": "AA"}}}},
         '[web_fetch_tool_result: {"content":{"url":"u","content":{"source":{"media_type":"m"}}}}]'),
        ({"type": "mcp_tool_use", "id": "m", "name": "n", "server_name": "s", "input": {}},
         '[mcp_tool_use: {"name":"n","server_name":"s","input":{}}]'),
    ],
)  # fmt: skip
def test_what_the_servers_tools_did_is_kept_as_text(block: Block, words: str) -> None:
    assert contents(user("a"), assistant("b", block, "c"), user("d"))[1]["parts"] == [
        {"text": "b"},
        {"text": words},
        {"text": "c"},
    ]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"type": "container_upload", "file_id": "f"},
         'messages.0.content.1: a block of type "container_upload" has no counterpart in the Gemini API'),
        ({"type": "brand_new"},
         'messages.0.content.1: a block of type "brand_new" has no counterpart in the Gemini API'),
        ({"type": "compaction", "content": None, "encrypted_content": "E"},
         'messages.0.content.1: a block of type "compaction" has no counterpart in the Gemini API'),
        ({"type": "image", "source": {"type": "file", "file_id": "file_7"}},
         'messages.0.content.1.source: the file "file_7" is in Anthropic\'s Files API; send its content'),
        ({"type": "image", "source": {"type": "url", "url": "http://x.test/a.png"}},
         "messages.0.content.1.source.url: the Gemini API takes https URLs only; send the content as base64"),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "document"}]}},
         'messages.0.content.1.source.content.0: a block of type "document" has no counterpart in the Gemini API'),
        ({"type": "text", "text": 5}, "messages.0.content.1.text: Input should be a valid string"),
        (call("t1"), "messages.0.content.1: `tool_use` blocks can only be in `assistant` messages"),
        ("no block", "messages.0.content.1: Input should be an object"),
    ],
)  # fmt: skip
def test_a_block_without_a_counterpart_is_refused_with_its_place(block: Any, message: str) -> None:
    assert refusal({"role": "user", "content": [{"type": "text", "text": "x"}, block]}) == message


def test_tools_that_come_and_go_with_messages_are_refused() -> None:
    change = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "look"}}
    assert 'messages.1.content.0: a block of type "tool_removal"' in refusal(
        user("x"), {"role": "system", "content": [change]}
    )


# Calls and their results.


def test_responses_come_first_and_in_the_order_of_the_calls() -> None:
    turns = contents(
        user("a"),
        assistant(call("t1", "one"), "b", call("t2", "two")),
        user("c", result("t2", "2")),
        user(result("t1", "1"), "d"),
        tools=[LOOK],
    )
    assert turns[2]["parts"] == [
        {"functionResponse": {"name": "one", "response": {"output": "1"}}},
        {"functionResponse": {"name": "two", "response": {"output": "2"}}},
        {"text": "c"},
        {"text": "d"},
    ]


def test_geminis_own_id_comes_back_unless_it_is_not_taken() -> None:
    shown = tool_use_id("seed", "fc_2 ü")
    turn = (user("a"), assistant(call(shown)), user(result(shown)))
    [_, asked, answered] = contents(*turn)
    assert asked["parts"][0]["functionCall"]["id"] == answered["parts"][0]["functionResponse"]["id"] == "fc_2 ü"
    [_, asked, answered] = contents(*turn, without=frozenset({"call_id"}))
    assert "id" not in asked["parts"][0]["functionCall"]
    assert "id" not in answered["parts"][0]["functionResponse"]


@pytest.mark.parametrize(
    ("given", "response"),
    [
        (result("t"), {"output": "seen"}),
        (result("t", '{"a": 1}'), {"output": '{"a": 1}'}),
        (result("t", ""), {"output": ""}),
        (result("t", None), {"output": ""}),
        ({"type": "tool_result", "tool_use_id": "t"}, {"output": ""}),
        (result("t", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), {"output": "a\nb"}),
        (result("t", "no", is_error=True), {"error": "no"}),
        (result("t", [{"type": "tool_reference", "tool_name": "look"}]), {"output": "[tool: look]"}),
    ],
)
def test_results(given: Block, response: Body) -> None:
    answered = contents(user("a"), assistant(call("t")), user(given))[2]["parts"]
    assert answered == [{"functionResponse": {"name": "look", "response": response}}]


def test_images_in_results_are_parts_of_the_response_from_3_on_and_behind_the_responses_before() -> None:
    seen = result("t1", [{"type": "text", "text": "a"}, PNG])
    turn = (user("a"), assistant(call("t1"), call("t2")), user("b", seen, result("t2")))
    response = {"name": "look", "response": {"output": "a"}}
    other = {"functionResponse": {"name": "look", "response": {"output": "seen"}}}
    assert contents(*turn)[2]["parts"] == [
        {"functionResponse": {**response, "parts": [PNG_PART]}},
        other,
        {"text": "b"},
    ]
    assert contents(*turn, model="gemini-2.5-pro")[2]["parts"] == [
        {"functionResponse": response},
        other,
        PNG_PART,
        {"text": "b"},
    ]


def test_a_call_without_a_result_is_refused_in_anthropics_words() -> None:
    message = refusal(user("a"), assistant(call("t1"), call("t2"), call("t3")), user("b", result("t2")))
    assert message.startswith(
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1, t3."
    )


def test_calls_at_the_end_need_no_result() -> None:
    assert contents(user("a"), assistant(call("t1")))[1]["parts"] == [{"functionCall": {"name": "look", "args": {}}}]


def test_results_of_no_call_and_second_ones_are_refused() -> None:
    turn = (user("a"), assistant(call("t1")))
    assert refusal(*turn, user(result("t1")), assistant("b"), user(result("t1"))).startswith(
        "messages.4.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1."
    )
    assert refusal(*turn, user(result("t1"), result("t1"))).startswith(
        "messages.2.content.1: each tool_use must have a single result."
    )
    assert "must be unique: t1" in refusal(user("a"), assistant(call("t1"), call("t1")))
    assert "only be in `user` messages" in refusal(user("a"), assistant(result("t1")))


def test_a_name_that_gemini_does_not_take_is_the_same_everywhere() -> None:
    tool = {**LOOK, "name": "9 lives"}
    body = request(
        user("a"),
        assistant(call("t1", "9 lives")),
        user(result("t1")),
        tools=[tool],
        tool_choice={"type": "tool", "name": "9 lives"},
    )
    names = {
        body["tools"][0]["functionDeclarations"][0]["name"],
        body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"][0],
        body["contents"][1]["parts"][0]["functionCall"]["name"],
        body["contents"][2]["parts"][0]["functionResponse"]["name"],
    }
    assert len(names) == 1


# What is known of Gemini's own turns.

OWN_CALL: Body = {"functionCall": {"name": "look", "args": {"at": 1}}, "thoughtSignature": "sig2"}


def test_a_known_turn_is_given_back_as_it_came() -> None:
    own: list[Body] = [
        {"text": "Hm.", "thought": True, "thoughtSignature": "sig0"},
        {"text": "abc", "thoughtSignature": "sig1"},
        {"text": "de"},
        OWN_CALL,
        {"functionCall": {"name": "look", "args": {}}},
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "sig4"},
        {"text": "last"},
        {"text": "", "thoughtSignature": "sig3"},
    ]
    said = blocks(("abcde", call("t1", at=1), call("t2"), "last"))
    turns = contents(user("a"), assistant(*said), user(result("t1"), result("t2")), known=Known(own))
    assert turns[1] == {"role": "model", "parts": own}


def test_a_known_turns_calls_have_their_ids_only_where_the_model_takes_them() -> None:
    shown = tool_use_id("seed", "fc_2")
    own = {"functionCall": {"id": "fc_2", "name": "look", "args": {}}, "thoughtSignature": "sig2"}
    bare = {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "sig2"}
    turn = (user("a"), assistant(call(shown)), user(result(shown)))
    for without, expected in ((frozenset[str](), own), (frozenset({"call_id"}), bare)):
        assert contents(*turn, known=Known([own]), without=without)[1]["parts"] == [expected]


@pytest.mark.parametrize(
    ("given", "signature"),
    [
        (call("t1", at=1), "sig2"),
        (call("t1", at=2), None),
        (call("t1", at="1"), None),
        (call("t1"), None),
        (call("t1", "see", at=1), None),
        (call("t2", at=1), None),
    ],
)
def test_in_a_turn_that_is_not_known_a_call_gets_its_own_signature_if_it_still_says_the_same(
    given: Block, signature: str | None
) -> None:
    known = Known(None, {"t1": OWN_CALL})
    text, part = contents(user("a"), assistant("abcde", given), user(result(given["id"])), known=known)[1]["parts"]
    assert text == {"text": "abcde"}
    assert part["functionCall"] == {"name": given["name"], "args": given["input"]}
    assert part.get("thoughtSignature") == signature


def test_a_call_that_came_without_a_signature_gets_none() -> None:
    own = {"functionCall": OWN_CALL["functionCall"]}
    [part] = contents(user("a"), assistant(call("t1", at=1)), user(result("t1")), known=Known(None, {"t1": own}))[1][
        "parts"
    ]
    assert part == own


def test_a_turn_is_asked_for_by_the_last_of_its_messages_and_by_all_of_its_blocks() -> None:
    known = Known()
    system = {"role": "system", "content": "note"}
    contents(user("a"), system, assistant("b"), assistant("B"), user("c"), assistant("d"), user("e"), known=known)
    assert known.asked == [(3, blocks(("b", "B"))), (5, blocks(("d",)))]
    known = Known()
    contents(assistant("b"), user("c"), known=known)
    assert known.asked == [(0, blocks(("b",)))]


# Names in Gemini's namespace.


def names_in(made: list[Body]) -> list[str]:
    """The names of calls and responses, in their order."""
    parts = [part for content in made for part in content["parts"]]
    found = [part.get("functionCall") or part.get("functionResponse") for part in parts]
    return [each["name"] for each in found if each]


def test_a_tool_that_was_called_with_its_namespace_is_that_tool_in_the_history() -> None:
    turns = [
        user("Hi"),
        assistant(call("t1", "default_api:look"), call("t2", "default_api:other")),
        user(result("t1"), result("t2")),
    ]
    assert names_in(contents(*turns, tools=[LOOK])) == ["look", "default_api:other"] * 2


@pytest.mark.parametrize("whole", [True, False])
def test_a_call_of_geminis_own_keeps_the_name_that_it_gave_and_so_does_the_response(whole: bool) -> None:
    own = {"functionCall": {"name": "default_api:look", "args": {"at": 1}}, "thoughtSignature": "sig"}
    history = Known(turn=[own]) if whole else Known(calls={"t1": own})
    turns = [user("Hi"), assistant(call("t1", "look", at=1)), user(result("t1"))]
    made = contents(*turns, known=history, tools=[LOOK])
    assert names_in(made) == ["default_api:look"] * 2
    assert made[1]["parts"][0]["thoughtSignature"] == "sig"
