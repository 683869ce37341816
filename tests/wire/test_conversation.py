"""What requests and answers say is told alike in every dialect, and nothing that is sent raises."""

from functools import cache
from typing import Any

import orjson
import pytest
from antigravity_healing.wire.conversation import Answer, Asked, NoConversation, Part, Turn
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.sse import SSEDecoder
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded import Exchange, recorded_params
from tests.upstream import anthropic_stream, gemini_stream

steady = settings(deadline=None, derandomize=True)
ANTHROPIC, GEMINI = (DIALECTS[name].conversation for name in ("anthropic", "gemini"))
SIGNATURE = "A" * 300


@cache
def names_in(dialect: str) -> st.SearchStrategy[str]:
    known = {
        "anthropic": "type role content text thinking tool_use tool_result input id name source data media_type delta "
        "index content_block content_block_start content_block_delta message_start message_delta message usage image "
        "stop_reason text_delta input_json_delta partial_json error system tools thinking_delta",
        "gemini": "candidates content parts text thought functionCall functionResponse args response name inlineData "
        "mimeType data fileData index finishReason usageMetadata promptFeedback blockReason error system_instruction "
        "tools functionDeclarations generationConfig executableCode codeExecutionResult role",
    }
    return st.sampled_from(known[dialect].split()) | st.text(max_size=3)


@cache
def values_in(dialect: str) -> st.SearchStrategy[Any]:
    names = names_in(dialect)
    return st.recursive(
        names | st.integers(-2, 3) | st.sampled_from([None, True, 1.5, "\ud800"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=15,
    )


@cache
def members_in(dialect: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names_in(dialect), values_in(dialect), max_size=5)


@pytest.mark.parametrize("name", DIALECTS)
@steady
@given(st.data())
def test_nothing_that_is_sent_raises(name: str, data: st.DataObject) -> None:
    conversation, members = DIALECTS[name].conversation, members_in(name)
    turn = conversation.turn(data.draw(values_in(name)))
    assert isinstance(turn.role, str)
    asked = conversation.asked(data.draw(members))
    assert all(isinstance(each, str) for each in asked.tools)
    reader = conversation.answer_reader()
    for event in data.draw(st.lists(members, max_size=5)):
        reader.take(event)
    answer = reader.answer
    assert isinstance(answer.stop, str)
    for part in [*turn.parts, *(part for each in answer.turns for part in each.parts)]:
        assert isinstance(part.text, str)
        assert isinstance(part.name, str)
        assert isinstance(part.id, str)


@pytest.mark.parametrize(
    ("conversation", "item"),
    [
        (
            ANTHROPIC,
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "thinking", "thinking": "Hm", "signature": SIGNATURE},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                    {"type": "document", "source": {"type": "url", "url": "https://docs.example/a"}},
                    {"type": "new_kind", "n": 1},
                ],
            },
        ),
        (
            GEMINI,
            {
                "role": "user",
                "parts": [
                    {"text": "Look"},
                    {"text": "Hm", "thought": True, "thought_signature": SIGNATURE},
                    {"function_call": {"id": "t1", "name": "look", "args": {"at": 1}}},
                    {"inline_data": {"mime_type": "image/png", "data": "QUJD"}},
                    {"fileData": {"mimeType": "document", "fileUri": "https://docs.example/a"}},
                    {"new_kind": {"n": 1}},
                ],
            },
        ),
    ],
    ids=DIALECTS,
)
def test_turns_are_told_alike(conversation: Any, item: Any) -> None:
    turn = conversation.turn(item)
    assert turn.role == "user"
    assert list(turn.parts[:-1]) == [
        Part("text", "Look"),
        Part("thinking", "Hm", size=300),
        Part("call", name="look", id="t1", value={"at": 1}),
        Part("data", name="image/png", size=3),
        Part("data", "https://docs.example/a", "document"),
    ]
    assert turn.parts[-1].kind == "other"


def test_results_are_told_with_what_is_in_them() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    block = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [image]}
    [part] = ANTHROPIC.turn({"role": "user", "content": [block]}).parts
    assert part == Part("result", id="t1", failed=True, parts=[Part("data", name="image/png", size=3)])
    response = {"name": "look", "id": "t1", "response": {"error": "no"}}
    [part] = GEMINI.turn({"parts": [{"functionResponse": response}]}).parts
    assert part == Part("result", name="look", id="t1", value={"error": "no"}, failed=True, parts=[])


def test_a_text_alone_is_a_turn() -> None:
    assert ANTHROPIC.turn({"role": "user", "content": "Hi"}) == Turn("user", [Part("text", "Hi")])
    assert GEMINI.turn({"parts": [{"text": "Hi"}]}) == Turn("user", [Part("text", "Hi")])


def test_what_is_asked_beside_the_turns_is_told_alike() -> None:
    told = ANTHROPIC.asked({"model": "m", "max_tokens": 5, "system": "Be kind", "tools": [{"name": "look"}]})
    assert told == Asked([Part("text", "Be kind")], ["look"], {"max_tokens": 5})
    told = GEMINI.asked(
        {
            "system_instruction": {"parts": [{"text": "Be kind"}]},
            "generation_config": {"max_output_tokens": 5},
            "tools": [{"functionDeclarations": [{"name": "look"}]}, {"googleSearch": {}}],
            "cachedContent": "cachedContents/a",
        }
    )
    settings = {"maxOutputTokens": 5, "cachedContent": "cachedContents/a"}
    assert told == Asked([Part("text", "Be kind")], ["look", "googleSearch"], settings)


def answer_of(name: str, stream: bytes) -> Answer:
    """What a stream says."""
    reader = DIALECTS[name].conversation.answer_reader()
    decoder = SSEDecoder()
    for event in (*decoder.decode(stream), *decoder.flush()):
        if event.data:
            reader.take(orjson.loads(event.data))
    return reader.answer


@pytest.mark.parametrize(
    ("name", "stream", "stop"),
    [("anthropic", anthropic_stream, "end_turn"), ("gemini", gemini_stream, "STOP")],
    ids=DIALECTS,
)
def test_stream_is_one_answer(name: str, stream: Any, stop: str) -> None:
    answer = answer_of(name, stream("Some words that come in pieces.", pieces=5).whole)
    [turn] = answer.turns
    assert [part.text for part in turn.parts if part.kind == "text"] == ["Some words that come in pieces."]
    assert answer.stop == stop
    assert answer.usage


@pytest.mark.parametrize(("name", "stream"), [("anthropic", anthropic_stream), ("gemini", gemini_stream)], ids=DIALECTS)
def test_stream_that_breaks_off_says_what_has_come(name: str, stream: Any) -> None:
    whole = stream("Some words that come in pieces.", pieces=5).whole
    end = b"\n\n" if name == "anthropic" else b"\r\n\r\n"
    events = whole.split(end)
    cut = end.join(events[: len(events) // 2]) + end
    answer = answer_of(name, cut)
    [turn] = answer.turns
    [text] = [part.text for part in turn.parts if part.kind == "text"]
    assert text
    assert "Some words that come in pieces.".startswith(text)
    assert answer.stop == ""


def test_call_of_which_the_input_breaks_off_says_it_as_it_came() -> None:
    reader = ANTHROPIC.answer_reader()
    start = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    reader.take({"type": "content_block_start", "index": 0, "content_block": start})
    for piece in ('{"at":', ' "he'):
        delta = {"type": "input_json_delta", "partial_json": piece}
        reader.take({"type": "content_block_delta", "index": 0, "delta": delta})
    [turn] = reader.answer.turns
    assert list(turn.parts) == [Part("call", '{"at": "he', "look", "t1")]


def test_deltas_without_their_start_are_told() -> None:
    reader = ANTHROPIC.answer_reader()
    reader.take({"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "the end"}})
    assert list(reader.answer.turns) == [Turn("assistant", [Part("text", "the end")])]


@pytest.mark.parametrize("exchange", recorded_params(lambda exchange: exchange.is_stream))
def test_every_recorded_answer_is_told_as_the_collector_has_it(exchange: Exchange) -> None:
    dialect = DIALECTS[exchange.dialect]
    collector, reader = dialect.collector(10**8), dialect.conversation.answer_reader()
    decoder = SSEDecoder()
    for event in (*decoder.decode(exchange.response_body), *decoder.flush()):
        if event.data and isinstance(value := orjson.loads(event.data), dict):
            collector.take(value)
            reader.take(value)
    if collector.answer is None:
        return
    whole = dialect.conversation.answer_reader()
    for said in dialect.events_of(collector.answer):
        whole.take(said)
    assert [turn.parts for turn in reader.answer.turns] == [turn.parts for turn in whole.answer.turns]
    assert reader.answer.stop == whole.answer.stop


def test_dialect_that_says_nothing_of_its_conversations_is_shown_as_it_is() -> None:
    assert NoConversation().turn({"a": 1}) == Turn("", [Part("other", value={"a": 1})])
    assert NoConversation().asked({"text": "Hi"}).settings == {"text": "Hi"}
    assert NoConversation().answer_reader().answer == Answer()
