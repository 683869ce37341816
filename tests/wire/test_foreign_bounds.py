"""What others say, however much of it there is, is understood in time and room that grow no faster than it does."""

import json
from contextlib import suppress
from typing import Any

import pytest
from antigravity_healing.policy.signing.anthropic_signed import Spots
from antigravity_healing.policy.signing.prefix_check import family_of
from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.anthropic.history import places_of, turns_of
from antigravity_healing.wire.anthropic.reader import AnthropicReader
from antigravity_healing.wire.collecting import LONGEST_WHOLE
from antigravity_healing.wire.errors.parsing import read_error
from antigravity_healing.wire.errors.signature_refusals import refuses_binding
from antigravity_healing.wire.gemini.history import spots_of
from antigravity_healing.wire.gemini.reader import GeminiReader
from antigravity_healing.wire.http.sse import SSEEvent
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json import value as json_value
from antigravity_healing.wire.json.exact import parse as parse_exactly
from antigravity_healing.wire.json.value import MOST_VALUES, dump, parse, parse_strictly
from antigravity_healing.wire.reading import Kind
from antigravity_healing.wire.translate.common import UntranslatableError, anthropic_tool_names, gemini_tool_names
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer
from antigravity_healing.wire.translate.to_anthropic.request import to_anthropic
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer

from tests.support.collecting import Fields, started, stopping, taken
from tests.support.gemini_parts import chunk_of
from tests.support.work import calls_made, memory_kept, memory_taken


def event(value: Any) -> SSEEvent:
    data = json.dumps(value).encode()
    return SSEEvent(b"data: " + data + b"\n\n", data)


def test_only_so_much_of_an_error_is_looked_at() -> None:
    error = {"error": [0] * 300_000}
    _, most = memory_kept(lambda: read_error(error))
    assert most < 2_000_000
    assert read_error({"error": ["x"] * 9000}).text.count("x") == 4998


def test_words_of_a_refusal_that_are_far_apart_are_not_of_one_sentence() -> None:
    assert refuses_binding("Unexpected value(s) `block` for the `anthropic-beta` header")
    assert not refuses_binding("Unexpected value(s) " + "x" * 300 + " anthropic-beta")


def test_a_name_that_is_no_models_has_no_family() -> None:
    assert family_of("claude-x" + "-001" * 50) == "claude-x"
    assert family_of("claude-x" + "-001" * 70) == "claude-x" + "-001" * 70


def test_usage_with_very_many_fields_costs_nothing_when_little_is_said_again() -> None:
    many: Fields = {"usage": {f"field{number}": number for number in range(20_000)}}
    collector = started(stopping(**many), stopping(usage={"output_tokens": 2}))
    assert calls_made(lambda: collector.take(stopping(usage={"output_tokens": 3}))) < 1000


def test_usage_is_still_put_together_field_by_field() -> None:
    first = stopping(usage={"input_tokens": 1, "cache": {"read": 2, "made": 3}})
    collector = started(first, stopping(usage={"output_tokens": 4, "cache": {"read": 5}}))
    assert collector.answer is not None
    assert collector.answer["usage"] == {"input_tokens": 1, "cache": {"read": 5, "made": 3}, "output_tokens": 4}


def test_what_grows_by_a_change_counts_and_what_shrinks_is_given_back() -> None:
    def usage(size: int) -> Fields:
        return stopping(usage={"cache": {"read": "x" * size}})

    start: Fields = {"type": "message_start", "message": {}}
    for sizes, is_too_long in (((900, 900), False), ((900, 1300), True), ((900, 1, 900, 1, 900), False)):
        collector = taken(AnthropicCollector(1200), [start, *map(usage, sizes)])
        assert collector.overfull is is_too_long, sizes


def test_calls_that_begin_and_never_end_are_not_all_remembered() -> None:
    reader = AnthropicReader()

    def begin(number: int) -> None:
        block = {"type": "tool_use", "name": "look", "input": {}}
        reader.read(event({"type": "content_block_start", "index": f"{number:01000}", "content_block": block}))

    def begin_all() -> None:
        for number in range(4000):
            begin(number)

    kept, _ = memory_kept(begin_all)
    assert kept < 3_000_000


def test_a_call_without_input_is_content_when_it_ends_whatever_its_index_is() -> None:
    for index in (0, 7, "1", None):
        reader = AnthropicReader()
        start = {"type": "content_block_start", "index": index, "content_block": {"type": "tool_use", "input": {}}}
        assert reader.read(event(start)).kind is Kind.META
        assert reader.read(event({"type": "content_block_stop", "index": index})).kind is Kind.CONTENT
        assert reader.read(event({"type": "content_block_stop", "index": index})).kind is Kind.META


def test_an_answer_has_no_more_candidates_than_an_api_can_give() -> None:
    reader = GeminiReader()
    kinds = [reader.read(event({"candidates": [{"index": number}]})).kind for number in range(200)]
    assert kinds[:100] == [Kind.META] * 100
    assert kinds[-1] is Kind.MALFORMED


def test_each_candidate_that_began_has_to_finish() -> None:
    reader = GeminiReader()
    reader.read(event({"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1}]}))
    assert not reader.stopped
    reader.read(event({"candidates": [{"index": 1, "finishReason": "STOP"}, {"index": 0}]}))
    assert reader.stopped


def test_the_spots_of_a_long_text_in_many_parts_are_told_part_by_part() -> None:
    def taken_by(count: int) -> int:
        spots = spots_of([{"text": "a word or two "}] * count)
        return memory_taken(lambda _: next(spots), range(count))

    taken_by(10)
    assert taken_by(4000) < 2.5 * taken_by(2000)


def test_the_spots_of_a_turn_in_many_messages_are_made_once() -> None:
    def work(count: int) -> int:
        thinking = [{"type": "thinking", "thinking": "so", "signature": ""}]
        said = [{"role": "assistant", "content": [*thinking, {"type": "text", "text": "x"}]} for _ in range(count)]
        body = {"messages": [{"role": "user", "content": "hi"}, *json.loads(json.dumps(said))]}
        side = places_of(body, "client").sides[-1]
        spots = Spots(body)

        def look() -> None:
            for turn in turns_of(body):
                assert len(list(spots.among(side, turn.content))) == 1

        return calls_made(look)

    assert work(400) < 2.5 * work(200)


class _Compared(dict[str, Any]):
    """A response that counts how often it is compared."""

    times = 0

    def __eq__(self, other: object) -> bool:
        _Compared.times += 1
        return super().__eq__(other)

    __hash__ = None


def test_very_many_responses_to_one_call_are_not_compared_with_each_other() -> None:
    responses = [
        {"functionResponse": {"id": "a", "name": "look", "response": _Compared(number=number)}} for number in range(300)
    ]
    hello = {"role": "user", "parts": [{"text": "hi"}]}
    call = {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "look", "args": {}}}]}
    twice = {"contents": [hello, call, {"role": "user", "parts": [responses[0], responses[0]]}]}
    assert to_anthropic(twice, "claude-sonnet-4-5", stream=True)["messages"][-1]["content"][0]["tool_use_id"] == "a"
    _Compared.times = 0
    often = {"contents": [hello, call, {"role": "user", "parts": responses}]}
    with suppress(UntranslatableError):
        to_anthropic(often, "claude-sonnet-4-5", stream=True)
    assert _Compared.times < 900


def test_a_call_without_a_name_breaks_the_answer() -> None:
    translator = AnthropicAnswer(names=gemini_tool_names(), model="m", seed="seed")
    events = translator.take(chunk_of([{"functionCall": {"args": {}}}], finishReason="STOP"))
    assert [each["type"] for each in events] == ["message_start"]
    assert translator.broken == "Gemini called a tool without a name"


def test_a_translated_answer_keeps_no_more_than_so_much_of_blocks_that_are_open() -> None:
    translator = GeminiAnswer(names=anthropic_tool_names(), model="m", seed="seed")
    start: Fields = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    translator.take({"type": "content_block_start", "index": 0, "content_block": start})
    piece = {"type": "input_json_delta", "partial_json": "x" * 1024 * 1024}
    for _ in range(LONGEST_WHOLE // (1024 * 1024) - 1):
        translator.take({"type": "content_block_delta", "index": 0, "delta": piece})
    assert translator.broken == ""
    for _ in range(3):
        translator.take({"type": "content_block_delta", "index": 0, "delta": piece})
    assert "more than 67,108,864 bytes" in translator.broken


def test_of_usage_and_sources_no_more_is_kept_than_can_be_told() -> None:
    gemini = AnthropicAnswer(names=gemini_tool_names(), model="m", seed="seed", web_search=True)
    anthropic = GeminiAnswer(names=anthropic_tool_names(), model="m", seed="seed")

    def tell(number: int) -> None:
        names = [f"{name}{number:01000}" for name in "abcd"]
        grounded = [{"groundingMetadata": {"webSearchQueries": [names[0]]}}]
        gemini.take({"usageMetadata": {names[1]: 1}, "candidates": grounded})
        anthropic.take({"type": "message_delta", "usage": {names[2]: 1}})
        search = {"type": "server_tool_use", "name": "web_search", "input": {"query": names[3]}}
        anthropic.take({"type": "content_block_start", "index": 0, "content_block": search})
        anthropic.take({"type": "content_block_stop", "index": 0})

    def tell_all() -> None:
        for number in range(4000):
            tell(number)

    kept, _ = memory_kept(tell_all)
    assert kept < 8_000_000


def test_of_a_long_error_only_the_beginning_is_read() -> None:
    error = read_error({"error": {"type": "invalid_request_error", "message": "no " * 1_000_000 + "thinking_level"}})
    assert (error.status, len(error.text)) == (400, 32 * 1024)


def test_a_text_has_no_more_values_than_can_be_made_of_it_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="more than 1,000,000 values"):
        parse(b'{"a":[' + b"0," * MOST_VALUES + b"0]}")
    most = 40_000
    monkeypatch.setattr(json_value, "MOST_VALUES", most)
    for item in (b"0,", b"{},", b'"",', b'"\\\\",', b'"\\",",'):
        with pytest.raises(ValueError, match="more than 40,000 values"):
            parse(b'{"a":[' + item * most + b"0]}")
    for read in (parse_strictly, parse_exactly):
        with pytest.raises(ValueError, match="more than 40,000 values"):
            read(b'{"input":{"a":[' + b"0," * most + b"0]}}")


def test_commas_in_texts_are_no_values() -> None:
    for said in ("," * (MOST_VALUES + 1), '",' * (MOST_VALUES + 1), "\\," * (MOST_VALUES + 1)):
        text = json.dumps({"a": said}).encode()
        assert parse(text) == {"a": said}
        assert parse(bytearray(text)) == {"a": said}
    assert len(parse(b"[" + b"0," * (MOST_VALUES - 2) + b"0]")) == MOST_VALUES - 1


def test_of_very_many_calls_none_is_read_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_MOST_OBJECTS", 1000)
    call = '{"functionCall":{"args":{"n":1.00}}}'
    few, many = (parse_exactly(f"[{','.join([call] * count)}]".encode()) for count in (1000, 1001))
    assert b"1.00" in dump(few[0])
    assert b"1.00" not in dump(many[0])
    endless = b"[" + b'{"args":{"n":1.00}},' * 10_000

    def read() -> None:
        with pytest.raises(ValueError, match=r"^"):
            parse_exactly(endless)

    assert calls_made(read) < 40_000
