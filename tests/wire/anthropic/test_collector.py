"""What a stream's events collect to is the answer that they were made of."""

import json
from collections.abc import Callable
from typing import Any

import jiter
import pytest
from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.collecting import LONGEST_WHOLE
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.gemini.collector import GeminiCollector
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.http.sse import SSEDecoder
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.anthropic_messages import CUTTING_STOPS, INPUTS, MESSAGES, Fields, events_of
from tests.support.collecting import block_events, call_events, started, stopping, taken
from tests.support.examples import examples
from tests.support.gemini_parts import PARTS, USAGE, chunk_of, chunked
from tests.support.work import calls_made
from tests.upstream import (
    anthropic_event,
    anthropic_events,
    gemini_chunks,
    gemini_event,
    gemini_events,
    gemini_json,
)

steady = settings(max_examples=examples(100), deadline=None)


# Names that mean something to the collectors, so that odd values stand where they look.
KNOWN_NAMES = [
    "type", "index", "message", "content_block", "delta", "usage", "stop_reason", "text", "partial_json", "citation",
    "citations", "signature", "content", "input", "to", "model", "candidates", "parts", "thought", "finishReason",
    "usageMetadata", "promptFeedback", "blockReason", "groundingMetadata", "groundingChunks", "inlineData", "data",
    "error", "thoughtSignature",
]  # fmt: skip
KNOWN_VALUES = [
    0, 1, "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop", "text_delta", "input_json_delta", "citations_delta", "compaction_delta", "new_delta", "max_tokens",
    "fallback", "STOP", '{"a', "\ud83d",
]  # fmt: skip
ODD_JSON = st.recursive(
    st.sampled_from(KNOWN_VALUES) | st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN_NAMES), inner, max_size=5),
    max_leaves=20,
)


def collected(dialect: Dialect, stream: bytes) -> list[dict[str, Any]]:
    reader, decoder = dialect.reader(), SSEDecoder()
    for event in [*decoder.decode(stream), *decoder.flush()]:
        reader.read(event)
    return reader.content


def test_blocks_that_are_not_whole_are_left_out() -> None:
    events = anthropic_events("Hello", thinking="Hm, well.", tool=("look", {"at": ["it"]}))
    whole = collected(Anthropic(), b"".join(events))
    assert [block["type"] for block in whole] == ["thinking", "text", "tool_use"]
    assert whole[0]["thinking"] == "Hm, well."
    assert whole[0]["signature"]
    assert whole[2]["input"] == {"at": ["it"]}
    stops = [number for number, event in enumerate(events) if b"content_block_stop" in event]
    for count, at in enumerate(stops, 1):
        assert collected(Anthropic(), b"".join(events[:at])) == whole[: count - 1]
        assert collected(Anthropic(), b"".join(events[: at + 1])) == whole[:count]


@steady
@given(st.data(), MESSAGES)
def test_a_message_that_is_told_in_events_collects_to_itself(data: st.DataObject, message: Fields) -> None:
    events = data.draw(events_of(message))
    told = json.dumps(events)
    answer = taken(AnthropicCollector(LONGEST_WHOLE), events).answer
    assert answer == message
    assert json.dumps(events) == told, "the events belong to others too"


@steady
@given(st.data(), MESSAGES)
def test_a_message_without_its_end_is_no_answer(data: st.DataObject, message: Fields) -> None:
    collector = AnthropicCollector(LONGEST_WHOLE)
    events = data.draw(events_of(message))
    for event in events:
        assert collector.answer is None
        collector.take(event)
        if event["type"] == "message_delta" and event["delta"]["stop_reason"]:
            break
    assert collector.answer == message


def test_a_stop_reason_is_no_end_while_a_block_is_open_but_message_stop_is() -> None:
    opened = block_events(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})[:-1]
    assert started(*opened, stopping()).answer is None
    answer = started(*opened, stopping(), {"type": "message_stop"}).answer
    assert answer is not None
    assert answer["content"] == [{"type": "text", "text": "Hi"}]


def test_a_stream_that_ends_in_an_error_is_no_answer() -> None:
    assert started(stopping()).answer is not None
    assert started(stopping(), {"type": "error", "error": {"type": "overloaded_error"}}).answer is None


def test_a_stream_without_its_start_is_no_answer() -> None:
    events = [*block_events(0, {"type": "text", "text": "Hi"}), stopping(), {"type": "message_stop"}]
    assert taken(AnthropicCollector(LONGEST_WHOLE), events).answer is None


def test_the_last_of_several_usages_counts_field_by_field() -> None:
    collector = started(
        stopping("end_turn", usage={"output_tokens": 5, "server_tool_use": {"web_search_requests": 1}, "x": 1}),
        stopping("end_turn", usage={"output_tokens": 3, "server_tool_use": {"web_fetch_requests": 2}, "x": None}),
    )
    assert collector.answer is not None
    server_tools = {"web_search_requests": 1, "web_fetch_requests": 2}
    assert collector.answer["usage"] == {"output_tokens": 3, "server_tool_use": server_tools, "x": 1}


def test_a_message_names_the_model_that_it_fell_back_to() -> None:
    fallback = {"type": "fallback", "from": {"model": "claude-a"}, "to": {"model": "claude-b"}}
    collector = started(*block_events(0, fallback), stopping())
    assert collector.answer is not None
    assert collector.answer["model"] == "claude-b"
    assert collector.answer["content"] == [fallback]


def test_blocks_stand_in_the_order_of_their_indexes_and_none_replaces_another() -> None:
    texts = [(1, "b"), (0, "a"), (1, "c")]
    events = [event for index, text in texts for event in block_events(index, {"type": "text", "text": text})]
    assert [block["text"] for block in started(*events).content] == ["a", "b", "c"]


def test_an_emoji_that_was_split_between_deltas_is_whole_again() -> None:
    halves = [{"type": "text_delta", "text": half} for half in ("\ud83d", "\ude00")]
    events = block_events(0, {"type": "text", "text": ""}, *halves)
    assert started(*events).content == [{"type": "text", "text": "\U0001f600"}]


@pytest.mark.parametrize("stop", CUTTING_STOPS)
def test_a_call_that_was_cut_has_what_came_of_its_input(stop: str) -> None:
    collector = started(*call_events('{"path": "a", "lines": [1, {"b": tr'), stopping(stop))
    assert collector.content == []
    assert collector.answer is not None
    assert collector.answer["content"][0]["input"] == {"path": "a", "lines": [1, {}]}


@pytest.mark.parametrize("stop", ["tool_use", "end_turn", "pause_turn"])
@pytest.mark.parametrize("text", ['{"path": "a', "nonsense", "{} {}"])
def test_a_call_that_can_not_be_read_and_was_not_cut_is_no_answer(stop: str, text: str) -> None:
    collector = started(*call_events(text), stopping(stop), {"type": "message_stop"})
    assert collector.answer is None


@steady
@given(st.data(), INPUTS)
def test_of_a_cut_input_as_much_is_read_as_the_sdk_reads(data: st.DataObject, value: Fields) -> None:
    whole = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    text = whole[: data.draw(st.integers(1, len(whole)))]
    collector = started(*call_events(text), stopping("max_tokens"))
    assert collector.answer is not None
    assert collector.answer["content"][0]["input"] == jiter.from_json(text.encode(), partial_mode=True)


@pytest.mark.parametrize(
    "text", ["]", "12 3", "[1", '{"a" 1', '{"a": 01', '{"a": "\\x", "b', "[" * 100_000, '{"a":' * 100_000]
)
def test_an_input_that_is_no_beginning_of_an_object_is_empty(text: str) -> None:
    collector = started(*call_events(text), stopping("max_tokens"))
    assert collector.answer is not None
    assert collector.answer["content"][0]["input"] == {}


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "content_block_start", "index": "0", "content_block": {"type": "text"}},
        {"type": "content_block_start", "index": 0, "content_block": None},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta"}},
        {"type": "content_block_stop", "index": [1]},
    ],
)
def test_odd_events_cost_nothing_but_themselves(odd: dict[str, Any]) -> None:
    events = anthropic_events("Hello")
    stream = b"".join([events[0], anthropic_event(odd), *events[1:]])
    assert [block["text"] for block in collected(Anthropic(), stream)] == ["Hello"]


def test_a_gemini_stream_collects_to_its_parts() -> None:
    stream = b"".join(gemini_events("Hello", thinking="Hm.", signature="c2ln" * 20, tool=("look", {"at": 1})))
    parts = collected(Gemini(), stream)
    assert "".join(part["text"] for part in parts if "text" in part and not part.get("thought")) == "Hello"
    assert parts[-1] == {"functionCall": {"name": "look", "args": {"at": 1}}, "thoughtSignature": "c2ln" * 20}


def test_a_gemini_array_collects_as_its_stream_does() -> None:
    chunks = gemini_chunks("Hello", signature="c2ln" * 20)
    streamed = collected(Gemini(), b"".join(map(gemini_event, chunks)))
    assert Gemini().content_of(chunks) == streamed
    whole = gemini_json("Hello", signature="c2ln" * 20)
    [part] = Gemini().content_of(json.loads(whole.body or b""))
    assert part == {"text": "Hello", "thoughtSignature": "c2ln" * 20}


def joined(parts: list[Fields]) -> list[tuple[str, Any]]:
    """What parts say: the texts joined, all else one by one."""
    said: list[tuple[str, Any]] = []
    for part in parts:
        kind = "" if part.keys() - {"text", "thought"} else "thought" if part.get("thought") else "text"
        if kind and said and said[-1][0] == kind:
            said[-1] = (kind, said[-1][1] + part["text"])
        elif not kind or part["text"]:
            said.append((kind, part["text"] if kind else part))
    return said


@steady
@given(st.data(), PARTS)
def test_gemini_parts_that_are_told_in_chunks_collect_to_one_answer(data: st.DataObject, parts: list[Fields]) -> None:
    chunks = data.draw(chunked(parts))
    told = json.dumps(chunks)
    collector = taken(GeminiCollector(LONGEST_WHOLE), chunks)
    assert collector.content == parts
    answer = collector.answer
    assert answer is not None
    assert answer["usageMetadata"] == USAGE
    [candidate] = answer["candidates"]
    assert (candidate["finishReason"], candidate["index"]) == ("STOP", 0)
    whole = candidate["content"]["parts"] if parts else []
    said = [("text" if kind == "thought" and not value else kind, value) for kind, value in joined(parts)]
    assert [(kind, value) for kind, value in joined(whole)] == said
    assert len(whole) == max(len(said), min(len(parts), 1)), "no text is left in pieces"
    signed = [part for part in parts if "thoughtSignature" in part]
    assert [part for part in whole if "thoughtSignature" in part] == signed
    assert json.dumps(chunks) == told, "the chunks belong to others too"


@steady
@given(st.data(), PARTS)
def test_gemini_chunks_without_their_end_are_no_answer(data: st.DataObject, parts: list[Fields]) -> None:
    collector = GeminiCollector(LONGEST_WHOLE)
    for chunk in data.draw(chunked(parts)):
        assert collector.answer is None
        collector.take(chunk)
        if any("finishReason" in candidate for candidate in chunk.get("candidates", ())):
            break
    assert collector.answer is not None


def test_a_signature_stays_on_its_part_and_an_empty_text_without_one_goes() -> None:
    parts: list[Fields] = [
        {"text": "Hm", "thought": True}, {"text": ""}, {"text": ".", "thought": True}, {"text": "a"}, {"text": "b"},
        {"text": "c", "thoughtSignature": "S1"}, {"text": "d"}, {"text": "", "thoughtSignature": "S2"},
    ]  # fmt: skip
    collector = taken(GeminiCollector(), [chunk_of([part]) for part in parts] + [chunk_of([], finishReason="STOP")])
    assert collector.answer is not None
    assert collector.answer["candidates"][0]["content"] == {
        "parts": [
            {"text": "Hm.", "thought": True},
            {"text": "ab"},
            {"text": "c", "thoughtSignature": "S1"},
            {"text": "d"},
            {"text": "", "thoughtSignature": "S2"},
        ],
        "role": "model",
    }


def test_an_answer_of_empty_text_keeps_one() -> None:
    collector = taken(GeminiCollector(), [chunk_of([{"text": ""}]), chunk_of([{"text": ""}], finishReason="STOP")])
    assert collector.answer is not None
    assert collector.answer["candidates"][0]["content"]["parts"] == [{"text": ""}]


def test_an_answer_without_content_has_none() -> None:
    collector = taken(GeminiCollector(), [{"candidates": [{"finishReason": "SAFETY", "index": 0}]}])
    assert collector.answer == {"candidates": [{"finishReason": "SAFETY", "index": 0}]}


def test_each_candidate_has_to_finish_and_stands_at_its_index() -> None:
    chunks: list[Fields] = [
        {"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]},
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}]},
        {"candidates": [{"finishReason": "MAX_TOKENS"}]},
    ]
    assert taken(GeminiCollector(), chunks[:2]).answer is None
    collector = taken(GeminiCollector(), chunks)
    assert collector.content == [{"text": "a"}]
    assert collector.answer == {
        "candidates": [
            {"content": {"parts": [{"text": "a"}]}, "finishReason": "MAX_TOKENS"},
            {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"},
        ]
    }


def test_a_blocked_prompt_is_an_answer_without_candidates() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    assert taken(GeminiCollector(), [blocked]).answer == blocked


def test_a_gemini_stream_that_ends_in_an_error_is_no_answer() -> None:
    collector = taken(GeminiCollector(), [chunk_of([{"text": "a"}], finishReason="STOP")])
    assert collector.answer is not None
    collector.take({"error": {"code": 503, "status": "UNAVAILABLE"}})
    assert collector.answer is None


def test_sources_go_on_from_chunk_to_chunk_unless_they_are_told_again() -> None:
    def chunk(**candidate: Any) -> Fields:
        return {"candidates": [{"index": 0, **candidate}]}

    def sources(*numbers: int) -> Fields:
        return {
            "groundingMetadata": {"groundingChunks": [{"web": {"uri": str(n)}} for n in numbers], "last": numbers[-1]},
            "citationMetadata": {"citationSources": [{"startIndex": n} for n in numbers]},
            "logprobsResult": {"chosenCandidates": [{"logProbability": n} for n in numbers]},
        }

    for said in (
        [sources(1), sources(2), sources(3)],
        [sources(1), sources(1, 2), sources(1, 2, 3)],
        [sources(1), sources(1, 2), sources(3)],
    ):
        events = [*(chunk(**each) for each in said), chunk(finishReason="STOP")]
        told = json.dumps(events)
        assert taken(GeminiCollector(), events).answer == chunk(**sources(1, 2, 3), finishReason="STOP")
        assert json.dumps(events) == told, "the chunks belong to others too"


def test_what_says_nothing_takes_nothing_back() -> None:
    said: list[Fields] = [
        {"modelVersion": "gemini-3-pro", "responseId": "r1", "candidates": [{"finishMessage": "Why.", "index": 0}]},
        {"modelVersion": "", "responseId": None, "candidates": [{"finishMessage": "", "finishReason": "STOP"}]},
    ]
    answer = taken(GeminiCollector(), said).answer
    assert answer is not None
    assert (answer["modelVersion"], answer["responseId"]) == ("gemini-3-pro", "r1")
    assert answer["candidates"] == [{"finishMessage": "Why.", "index": 0, "finishReason": "STOP"}]

    message = started(
        *block_events(0, {"type": "thinking", "thinking": "", "signature": "S1"},
                      {"type": "signature_delta", "signature": ""}),
        stopping("stop_sequence", usage={"service_tier": "standard"}),
        {"type": "message_delta", "delta": {"stop_reason": "", "stop_sequence": None}, "usage": {"service_tier": ""}},
    ).answer  # fmt: skip
    assert message is not None
    assert (message["stop_reason"], message["usage"]) == ("stop_sequence", {"service_tier": "standard"})
    assert message["content"][0]["signature"] == "S1"


def test_of_what_is_no_list_the_last_counts_and_unknown_fields_are_kept() -> None:
    first = {
        "candidates": [{"index": 0, "safetyRatings": [{"category": "A"}], "avgLogprobs": -1.0, "new": {"a": [1]}}],
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 20, "promptTokensDetails": [1]},
        "modelVersion": "gemini-3-pro",
        "newer": {"a": 1},
    }
    last = {
        "candidates": [{"index": 0, "safetyRatings": [{"category": "B"}], "new": {"a": [2]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": None, "promptTokensDetails": [2]},
        "modelVersion": None,
        "newer": {"b": 1},
    }
    assert taken(GeminiCollector(), [first, last]).answer == {
        "candidates": [
            {
                "index": 0,
                "safetyRatings": [{"category": "B"}],
                "avgLogprobs": -1.0,
                "new": {"a": [2]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 20, "promptTokensDetails": [2]},
        "modelVersion": "gemini-3-pro",
        "newer": {"b": 1},
    }


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KNOWN_NAMES), ODD_JSON, max_size=6), max_size=6))
def test_no_json_whatever_raises(events: list[Fields]) -> None:
    start = {"type": "message_start", "message": {}}
    for collector in (AnthropicCollector(), AnthropicCollector(3), GeminiCollector(), GeminiCollector(3)):
        for event in [start, *events] if isinstance(collector, AnthropicCollector) else events:
            collector.take(event)
            assert isinstance(collector.content, list)
            assert collector.answer is None or isinstance(collector.answer, dict)


def test_no_depth_of_nesting_raises() -> None:
    def nested(bottom: Any) -> Any:
        objects = lists = bottom
        for _ in range(11_000):
            objects, lists = {"a": objects}, [lists]
        return {"a": objects, "b": lists}

    # Two that differ only at the bottom, so that a comparison would go down there.
    one, other = nested(1), nested(2)
    events: list[Fields] = []
    for deep in (one, other):
        deltas = [{"type": kind, "citation": deep, "new": [deep], "text": deep} for kind in ("citations_delta", "new")]
        events += [*block_events(0, deep, *deltas), {"type": deep, "index": deep}, stopping(deep, usage=deep, x=deep)]
        events += block_events(0, {"type": deep, "text": deep}, {"type": deep, "text": deep})
    assert started(*events, {"type": "message_stop"}).answer is not None

    chunks: list[Fields] = []
    for deep in (one, other):
        sources = {"groundingMetadata": {"groundingChunks": [deep]}, "index": deep, "content": {"parts": [deep]}}
        chunks.append(
            {"candidates": [{**sources, "finishReason": deep}], "usageMetadata": deep, "promptFeedback": deep}
        )
    assert taken(GeminiCollector(LONGEST_WHOLE), chunks).answer is not None


def anthropic_work(size: int) -> int:
    citations = [{"type": "citations_delta", "citation": {"cited_text": "x"}}] * size
    texts = [{"type": "text_delta", "text": "x"}] * size
    events = [*block_events(0, {"type": "text", "text": ""}, *texts, *citations), *call_events("[1, " * size)]
    return calls_made(lambda: started(*events, stopping("max_tokens")).answer)


def gemini_work(size: int) -> int:
    grounded: Fields = {"groundingMetadata": {"groundingChunks": [{"web": {}}]}}
    chunks = [chunk_of([{"text": "x"}], **grounded)] * size
    end = chunk_of([], finishReason="STOP")
    return calls_made(lambda: taken(GeminiCollector(), [*chunks, end]).answer)


@pytest.mark.parametrize("work", [anthropic_work, gemini_work])
def test_the_work_grows_with_the_number_of_events(work: Callable[[int], int]) -> None:
    assert work(2000) < 2.2 * work(1000)
