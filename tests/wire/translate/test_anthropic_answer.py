"""Gemini's answers in Anthropic's events."""

from typing import Any

import pytest
from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.gemini.history import signature_of
from antigravity_healing.wire.gemini.reader import GeminiReader
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.translate.common import GEMINI_TOOL_NAME, gemini_tool_names, own_id
from antigravity_healing.wire.translate.to_anthropic.answer import (
    LONGEST_DATA,
    AnthropicAnswer,
    as_given_back,
    in_words,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.collecting import taken
from tests.support.examples import examples
from tests.support.gemini_parts import PARTS, USAGE, chunk_of, chunked
from tests.support.protocol.anthropic import AnthropicReport, check_anthropic_stream
from tests.support.recorded import Exchange, recorded_params

DIALECT = Anthropic()
KNOWN_NAMES = [
    "candidates", "content", "parts", "text", "functionCall", "thought", "index", "finishReason", "usageMetadata",
    "promptFeedback", "blockReason", "groundingMetadata", "groundingChunks", "web", "name", "args", "executableCode",
    "codeExecutionResult", "inlineData", "thoughtSignature",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(KNOWN_NAMES),
        inner, max_size=4,
    ),
    max_leaves=30,
)  # fmt: skip


def answer(*, names: tuple[str, ...] = (), seed: str = "seed", web_search: bool = False) -> AnthropicAnswer:
    tools = gemini_tool_names(names)
    return AnthropicAnswer(names=tools, model="gemini-3-pro", seed=seed, web_search=web_search)


def told(chunks: list[dict[str, Any]], translator: AnthropicAnswer | None = None) -> AnthropicReport:
    """What a strict client reads from the translation."""
    translator = translator or answer()
    events = [event for chunk in chunks for event in translator.take(chunk)]
    events += translator.end()
    return check_anthropic_stream(b"".join(map(DIALECT.encode, events)))


def finished(*parts: dict[str, Any], finish: str = "STOP", **candidate: Any) -> list[dict[str, Any]]:
    return [chunk_of(list(parts), finishReason=finish, **candidate)]


@settings(max_examples=examples(150), deadline=None)
@given(st.data(), PARTS)
def test_whatever_gemini_says_is_a_valid_message_in_which_nothing_is_lost(
    data: st.DataObject, parts: list[dict[str, Any]]
) -> None:
    report = told(data.draw(chunked(parts)))

    assert report.ended == "complete"
    texts = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    assert _said(report.text, parts) == texts
    assert report.thinking == "".join(part["text"] for part in parts if part.get("thought"))
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    assert report.tools == [(call["name"], call["args"]) for call in calls]
    assert report.stop_reason == ("tool_use" if calls else "end_turn")
    assert [*filter(None, map(signature_of, as_given_back(parts)))] == [*filter(None, map(signature_of, parts))]
    assert report.usage["input_tokens"] == 60
    assert report.usage["cache_read_input_tokens"] == 40
    assert report.usage["output_tokens"] == 12


def _said(shown: str, parts: list[dict[str, Any]]) -> str:
    """The text that Gemini said, of the text that was shown: some of that stands for parts without a counterpart."""
    said, at, code = "", 0, False
    for part in parts:
        code = code or "executableCode" in part
        if part.get("thought") or "functionCall" in part or "executableCode" in part:
            continue
        if "text" in part:
            said += shown[at : at + len(part["text"])]
            at += len(part["text"])
        elif not ("codeExecutionResult" in part and code):
            words = in_words(part)
            assert words.startswith("[")
            assert shown.startswith(words, at)
            at += len(words)
    assert at == len(shown)
    return said


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(JSON.filter(lambda value: isinstance(value, dict)), max_size=4))
def test_no_json_whatever_breaks_it(chunks: list[dict[str, Any]]) -> None:
    translator = answer(web_search=True)
    for chunk in chunks:
        for event in translator.take(chunk):
            dump(event)
    translator.end()


def test_each_event_is_told_as_soon_as_it_has_come() -> None:
    translator = answer()
    first = translator.take(chunk_of([{"text": "Hel"}]))
    assert [event["type"] for event in first] == ["message_start", "content_block_start", "content_block_delta"]
    assert first[2]["delta"] == {"type": "text_delta", "text": "Hel"}
    (second,) = translator.take(chunk_of([{"text": "lo"}]))
    assert second["delta"] == {"type": "text_delta", "text": "lo"}


def test_a_call_has_an_id_of_its_own_that_leads_back_to_the_one_that_gemini_gave() -> None:
    calls = [
        {"functionCall": {"name": "look", "args": {}, **own}} for own in ({"id": "x1"}, {"id": "x1"}, {"id": "ü/+"}, {})
    ]
    report = told(finished(*calls))
    ids = [event["content_block"]["id"] for kind, event in report.events if kind == "content_block_start"]
    assert len(set(ids)) == 4
    assert all(id_.replace("-", "").replace("_", "").isalnum() and id_.isascii() for id_ in ids)
    assert [own_id(id_) for id_ in ids] == ["x1", "x1", "ü/+", ""]


def test_two_answers_never_give_the_same_id() -> None:
    call = {"functionCall": {"name": "look", "args": {}}}
    first, second = (told(finished(call), answer(seed=seed)) for seed in ("one", "two"))
    assert first.events[1][1]["content_block"]["id"] != second.events[1][1]["content_block"]["id"]
    assert first.message["id"] != second.message["id"]


def test_a_call_has_the_name_that_the_client_gave_its_tool() -> None:
    name = "mcp__server/tool with a space"
    there = gemini_tool_names([name]).there(name)
    assert GEMINI_TOOL_NAME.fullmatch(there)
    report = told(finished({"functionCall": {"name": there, "args": {}}}), answer(names=(name,)))
    assert report.tools == [(name, {})]


def test_the_signature_of_a_thought_stands_in_its_block_and_ends_it() -> None:
    thought = {"text": "one", "thought": True, "thoughtSignature": "A" * 60}
    report = told(finished(thought, {"text": "two", "thought": True}, {"text": "said"}))
    assert report.blocks == ["thinking", "thinking", "text"]
    deltas = [event["delta"] for kind, event in report.events if kind == "content_block_delta"]
    assert deltas[1] == {"type": "signature_delta", "signature": "A" * 60}


def test_text_goes_on_in_the_same_block_behind_a_signed_part_of_it() -> None:
    parts = [{"text": "one "}, {"text": "two", "thoughtSignature": "S" * 60}, {"text": " three"}]
    assert told(finished(*parts)).blocks == ["text"]
    assert as_given_back(parts) == parts


def test_a_signature_on_an_empty_last_part_is_given_back_on_a_part_of_its_own() -> None:
    parts = [{"text": "all"}, {"text": "", "thoughtSignature": "S" * 60}]
    assert told(finished(*parts)).blocks == ["text"]
    assert as_given_back(parts) == parts


def test_thoughts_that_are_not_signed_and_long_data_are_not_given_back() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBO" * LONGEST_DATA}, "thoughtSignature": "S" * 60}
    signed = {"text": "Hm.", "thought": True, "thoughtSignature": "T" * 60}
    given = as_given_back([{"text": "So", "thought": True}, signed, {"text": "a"}, {"text": "b"}, image])
    assert given[:2] == [signed, {"text": "ab"}]
    assert given[2:] == [{"text": in_words(image)}]


@pytest.mark.parametrize(
    ("finish", "stop"),
    [("STOP", "end_turn"), ("MAX_TOKENS", "max_tokens"), ("CONTINUATION", "max_tokens")]
    + [("TOO_MANY_TOOL_CALLS", "pause_turn")]
    + [(reason, "refusal") for reason in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "LANGUAGE",
                                          "MODEL_ARMOR", "IMAGE_SAFETY", "OTHER", "SOMETHING_NEW")],
)  # fmt: skip
def test_a_finish_reason_becomes_the_stop_reason(finish: str, stop: str) -> None:
    report = told(finished({"text": "so far"}, finish=finish, finishMessage="why so"))
    assert report.stop_reason == stop
    details = report.events[-2][1]["delta"]["stop_details"]
    if stop == "refusal":
        assert finish in details["explanation"]
        assert "why so" in details["explanation"]
    else:
        assert details is None


def test_a_blocked_prompt_is_a_refusal_that_says_why() -> None:
    ratings = [{"category": "HARM_CATEGORY_DANGEROUS", "probability": "HIGH", "blocked": True}]
    report = told(
        [{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": ratings}, "usageMetadata": USAGE}]
    )
    assert report.blocks == []
    assert report.stop_reason == "refusal"
    assert "PROHIBITED_CONTENT: HARM_CATEGORY_DANGEROUS" in report.events[-2][1]["delta"]["stop_details"]["explanation"]


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL"])
def test_a_broken_turn_is_no_good_answer(finish: str) -> None:
    translator = answer()
    translator.take(chunk_of([{"text": "so far"}], finishReason=finish, finishMessage="bad call"))
    assert translator.broken == f"Gemini stopped with {finish}: bad call"


def test_an_answer_that_is_continued_is_one_message_with_the_usage_of_all_its_pieces() -> None:
    translator = answer()
    events = translator.take(
        {
            **chunk_of([{"text": "one "}], finishReason="CONTINUATION", continuationToken="dG9rZW4="),
            "usageMetadata": USAGE,
        }
    )
    assert translator.continuation == "dG9rZW4="
    translator.go_on()
    assert translator.continuation == ""
    events += translator.take({**chunk_of([{"text": "two"}], finishReason="STOP"), "usageMetadata": USAGE})
    events += translator.end()
    report = check_anthropic_stream(b"".join(map(DIALECT.encode, events)))
    assert (report.blocks, report.text, report.stop_reason) == (["text"], "one two", "end_turn")
    assert (report.usage["input_tokens"], report.usage["output_tokens"]) == (120, 24)


def test_the_usage_that_comes_last_counts_also_when_it_is_less() -> None:
    chunks = [
        {**chunk_of([{"text": "x"}]), "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 50}},
        {**chunk_of([], finishReason="STOP"), "usageMetadata": {"candidatesTokenCount": 3}},
    ]
    report = told(chunks)
    assert (report.usage["input_tokens"], report.usage["output_tokens"]) == (9, 3)


GROUNDING = {
    "webSearchQueries": ["weather"],
    "groundingChunks": [{"web": {"title": "site", "uri": "https://a.example"}}, {"retrievedContext": {}}],
    "groundingSupports": [{"segment": {"text": "it is mild"}, "groundingChunkIndices": [0, 1, 7]}],
}


def test_what_an_answer_is_grounded_in_is_told_to_a_client_that_asked_for_web_search() -> None:
    report = told(finished({"text": "it is mild"}, groundingMetadata=GROUNDING), answer(web_search=True))
    assert report.blocks == ["text", "server_tool_use", "web_search_tool_result"]
    (citation,) = [
        event["delta"]["citation"]
        for kind, event in report.events
        if kind == "content_block_delta" and event["delta"]["type"] == "citations_delta"
    ]
    assert (citation["cited_text"], citation["url"], citation["title"]) == ("it is mild", "https://a.example", "site")
    result = report.events[-4][1]["content_block"]
    assert [found["url"] for found in result["content"]] == ["https://a.example"]
    assert report.usage["server_tool_use"]["web_search_requests"] == 1


SITES = [{"web": {"title": title, "uri": f"https://{title}.test"}} for title in ("a", "b", "c")]


def support(text: str, source: int, **segment: Any) -> dict[str, Any]:
    return {"segment": {"text": text, **segment}, "groundingChunkIndices": [source]}


def content_of(report: AnthropicReport) -> list[dict[str, Any]]:
    """The blocks of a message that was streamed."""
    return taken(AnthropicCollector(), [event for _, event in report.events]).content


def cited_in(report: AnthropicReport) -> list[list[str]]:
    """By the blocks of text, the titles of what each cites."""
    texts = [block for block in content_of(report) if block["type"] == "text"]
    return [[each["title"] for each in block.get("citations") or ()] for block in texts]


def test_a_citation_stands_at_the_block_in_which_its_passage_is() -> None:
    call: dict[str, Any] = {"functionCall": {"name": "look", "args": {}}}
    early = {"groundingChunks": SITES, "groundingSupports": [support("One.", 0)]}
    late = {"groundingSupports": [support("Two.", 1), support("One.", 0), support("Three.", 2)]}
    chunks = [
        chunk_of([{"text": "One."}], groundingMetadata=early),
        chunk_of([call]),
        chunk_of([{"text": "Two. "}]),
        chunk_of([{"text": "Three."}], groundingMetadata=late, finishReason="STOP"),
    ]
    assert cited_in(told(chunks, answer(web_search=True))) == [["a"], ["b", "c"]]


def test_a_citation_of_a_block_that_is_over_is_not_put_into_another_one() -> None:
    call: dict[str, Any] = {"functionCall": {"name": "look", "args": {}}}
    late = {"groundingChunks": SITES, "groundingSupports": [support("One.", 0), support("Yes.", 1, startIndex=5)]}
    late["groundingSupports"].append(support("Yes.", 2, startIndex=9))
    parts = [{"text": "One. Yes."}, call, {"text": "Yes."}]
    chunks = [chunk_of([part]) for part in parts]
    chunks.append(chunk_of([], groundingMetadata=late, finishReason="STOP"))
    report = told(chunks, answer(web_search=True))
    assert cited_in(report) == [[], ["c"]]
    found = [block for block in content_of(report) if block["type"] == "web_search_tool_result"]
    assert [each["title"] for each in found[0]["content"]] == ["a", "b", "c"]


def test_the_only_block_has_all_citations_whatever_their_passages_are() -> None:
    grounded = {"groundingChunks": SITES, "groundingSupports": [support("otherwise spelled", 1)]}
    chunks = finished({"text": "One."}, groundingMetadata=grounded)
    assert cited_in(told(chunks, answer(web_search=True))) == [["b"]]


def test_a_result_goes_with_the_code_that_has_its_id() -> None:
    codes: list[dict[str, Any]] = [{"executableCode": {"id": each, "code": each}} for each in ("x", "y")]
    results: list[dict[str, Any]] = [
        {"codeExecutionResult": {"id": each, "outcome": "OUTCOME_OK", "output": each}} for each in ("x", "y", "z")
    ]
    report = told(finished(*codes, *results))
    code = {block["id"]: block["input"]["code"] for block in content_of(report) if "input" in block}
    ran = [block for block in content_of(report) if block["type"] == "code_execution_tool_result"]
    assert [(code[block["tool_use_id"]], block["content"]["stdout"]) for block in ran] == [("x", "x"), ("y", "y")]
    # No code has the third one's id.
    assert '"z"' in report.text


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"args": {"path": "/x"}}, "called a tool without a name"),
        ({"name": "Read", "args": '{"path": "x"}'}, 'called "Read" with arguments that are no object'),
        ({"name": "Read", "args": ["x"]}, 'called "Read" with arguments that are no object'),
        ({"name": "Read", "willContinue": True}, 'called "Read" in pieces'),
        ({"name": "Read", "partialArgs": [{"jsonPath": "$.path", "stringValue": "B"}]}, 'called "Read" in pieces'),
    ],
)
def test_a_call_that_nobody_can_carry_out_is_no_good_answer(call: dict[str, Any], words: str) -> None:
    translator = answer()
    events = [event for chunk in finished({"functionCall": call}) for event in translator.take(chunk)]
    assert words in translator.broken
    assert not any(event["type"] == "content_block_start" for event in events)


@pytest.mark.parametrize("more", [{}, {"args": None}, {"willContinue": False, "args": {}}])
def test_a_call_without_arguments_is_one(more: dict[str, Any]) -> None:
    report = told(finished({"functionCall": {"name": "Read", **more}}), translator := answer())
    assert (report.tools, translator.broken) == ([("Read", {})], "")


def test_a_tool_that_is_called_with_its_namespace_is_the_tool() -> None:
    called: list[dict[str, Any]] = [
        {"functionCall": {"name": name}}
        for name in ("default_api:Read", "default_api.Read", "default_api:Own", "default_api:Else")
    ]
    report = told(finished(*called), answer(names=("Read", "default_api:Own")))
    assert [name for name, _ in report.tools] == ["Read", "Read", "default_api:Own", "default_api:Else"]


def test_a_signature_alone_makes_no_block_of_thinking() -> None:
    signed = {"text": "", "thought": True, "thoughtSignature": "EsoG"}
    assert content_of(told(finished(signed, {"text": "Hi"}))) == [{"type": "text", "text": "Hi"}]
    both = content_of(told(finished({"text": "Hm", "thought": True}, signed)))
    assert both == [{"type": "thinking", "thinking": "Hm", "signature": "EsoG"}]


def test_what_tools_found_is_input_too() -> None:
    usage = {
        "promptTokenCount": 91,
        "toolUsePromptTokenCount": 239,
        "candidatesTokenCount": 60,
        "thoughtsTokenCount": 160,
    }
    report = told([{**chunk_of([{"text": "Hi"}], finishReason="STOP"), "usageMetadata": usage}])
    assert (report.usage["input_tokens"], report.usage["output_tokens"]) == (330, 220)


def test_code_that_was_run_is_told_as_a_server_tool() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    report = told(finished(code, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}, {"text": "1"}))
    assert report.blocks == ["server_tool_use", "code_execution_tool_result", "text"]
    result = report.events[4][1]["content_block"]
    assert result["tool_use_id"] == report.events[1][1]["content_block"]["id"]
    assert result["content"]["stdout"] == "1\n"


def test_an_image_from_the_model_is_said_in_text_with_its_type_and_size() -> None:
    report = told(finished({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}))
    assert "image/png of 8 bytes" in report.text


@pytest.mark.parametrize(
    "recorded", recorded_params(lambda each: each.dialect == "gemini" and each.status == 200 and each.is_stream)
)
def test_recorded_streams_are_told_without_loss(recorded: Exchange) -> None:
    reader, translator = GeminiReader(), answer()
    chunks = []
    for event in SSEDecoder().decode(recorded.response_body):
        reader.read(event)
        if reader.body:
            chunks.append(reader.body)
    report = told(chunks, translator)
    parts = reader.content
    assert report.text == "".join(part.get("text", "") for part in parts if not part.get("thought"))
    assert report.thinking == "".join(part.get("text", "") for part in parts if part.get("thought"))
    assert report.tools == [
        (part["functionCall"]["name"], part["functionCall"]["args"]) for part in parts if "functionCall" in part
    ]
