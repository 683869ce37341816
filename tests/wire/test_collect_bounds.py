"""Collectors keep no more than so many bytes, whatever upstream sends."""

import json
import tracemalloc

import pytest
from antigravity_healing.wire.anthropic.collector import AnthropicCollector
from antigravity_healing.wire.collecting import LONGEST_WHOLE, NOT_WHOLE
from antigravity_healing.wire.gemini.collector import GeminiCollector, GeminiParts

from tests.support.collecting import Fields, block_events, started, stopping, taken
from tests.support.gemini_parts import chunk_of


def test_an_answer_that_is_longer_than_wanted_is_not_collected() -> None:
    text = "x" * 6000
    said: list[Fields] = [{"type": "text_delta", "text": text}] * 2
    events = [*block_events(0, {"type": "text", "text": ""}, *said), stopping()]
    start: Fields = {"type": "message_start", "message": {"id": "msg_1"}}
    assert taken(AnthropicCollector(13_000), [start, *events]).answer is not None
    short = taken(AnthropicCollector(12_000), [start, *events])
    assert (short.answer, short.content, short.flaw) == (None, [], f"{NOT_WHOLE}: it has more than 12,000 bytes")
    chunks = [chunk_of([{"text": text}]), chunk_of([{"text": text}], finishReason="STOP")]
    assert taken(GeminiCollector(13_000), chunks).answer is not None
    cut_off = taken(GeminiCollector(12_000), chunks)
    assert (cut_off.answer, cut_off.content) == (None, [{"text": text}])
    assert cut_off.flaw == f"{NOT_WHOLE}: it has more than 12,000 bytes"


PAYLOAD = "x" * 1000
DEEP_PAYLOAD = {"a": [{"b": PAYLOAD}]}
LONG_PAYLOAD = {"a": [{"b": PAYLOAD * 10}]}
CLAUDES_PAYLOADS: dict[str, Fields] = {
    "text": {"type": "text_delta", "text": PAYLOAD},
    "thinking": {"type": "thinking_delta", "thinking": PAYLOAD},
    "input": {"type": "input_json_delta", "partial_json": PAYLOAD},
    "citation": {"type": "citations_delta", "citation": DEEP_PAYLOAD},
    "unknown text": {"type": "new_delta", "new": PAYLOAD},
    "unknown list": {"type": "new_delta", "new": [DEEP_PAYLOAD]},
}


@pytest.mark.parametrize("delta", CLAUDES_PAYLOADS.values(), ids=CLAUDES_PAYLOADS.keys())
def test_all_that_a_block_can_say_counts_towards_its_bound(delta: Fields) -> None:
    events = block_events(0, {"type": "text"}, *[delta] * 10)
    start: Fields = {"type": "message_start", "message": {}}
    assert taken(AnthropicCollector(9_000), [start, *events]).flaw == f"{NOT_WHOLE}: it has more than 9,000 bytes"
    assert "bytes" not in taken(AnthropicCollector(20_000), [start, *events]).flaw


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "new_result", "content": LONG_PAYLOAD}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": LONG_PAYLOAD}},
    ],
)
def test_what_a_block_begins_with_counts_too(event: Fields) -> None:
    collector = started(*[event] * 10_000)
    assert (collector.answer, len(collector.content) < 7_000) == (None, True)
    assert collector.flaw == f"{NOT_WHOLE}: it has more than {LONGEST_WHOLE:,} bytes"


@pytest.mark.parametrize("delta", [{"stop_reason": "end_turn", "container": {"x": PAYLOAD * 20}}, {"y" * 20_000: 1}])
def test_what_a_message_ends_with_counts_too(delta: Fields) -> None:
    events = [{"type": "message_start", "message": {}}, {"type": "message_delta", "delta": delta}, stopping()]
    assert taken(AnthropicCollector(30_000), events).answer is not None
    assert taken(AnthropicCollector(19_000), events).answer is None


GEMINIS_PAYLOADS: dict[str, Fields] = {
    "text": chunk_of([{"text": PAYLOAD}]),
    "arguments": chunk_of([{"functionCall": {"name": "look", "args": DEEP_PAYLOAD}}]),
    "code": chunk_of([{"executableCode": {"code": PAYLOAD}}]),
    "result": chunk_of([{"codeExecutionResult": {"output": PAYLOAD}}]),
    "image": chunk_of([{"inlineData": {"data": PAYLOAD}}]),
    "signature": chunk_of([{"text": "", "thoughtSignature": PAYLOAD}]),
    "unknown part": chunk_of([{"new": DEEP_PAYLOAD}]),
}


@pytest.mark.parametrize("chunk", GEMINIS_PAYLOADS.values(), ids=GEMINIS_PAYLOADS.keys())
def test_all_that_a_part_can_say_counts_towards_the_bounds(chunk: Fields) -> None:
    end = chunk_of([], finishReason="STOP")
    assert taken(GeminiCollector(9_000), [*[chunk] * 10, end]).answer is None
    assert taken(GeminiCollector(20_000), [*[chunk] * 10, end]).answer is not None
    kept = GeminiParts()
    for _ in range(4_000):
        kept.take(chunk["candidates"][0]["content"]["parts"])
    assert 1_000 < len(kept.content) < 2_100


@pytest.mark.parametrize("name", ["groundingMetadata", "citationMetadata", "logprobsResult", "urlContextMetadata"])
def test_what_an_answer_is_based_on_counts_unless_it_is_said_again(name: str) -> None:
    def chunk(*sources: int) -> Fields:
        items = [{"uri": f"{number}", "text": PAYLOAD} for number in sources]
        return {"candidates": [{"index": 0, name: {"groundingChunks": items}}]}

    end = chunk_of([], finishReason="STOP")
    again = [chunk(*range(count)) for count in range(10)]
    assert taken(GeminiCollector(20_000), [*again, end]).answer is not None
    assert taken(GeminiCollector(9_000), [*again, end]).answer is None
    anew = [chunk(number) for number in range(10)]
    assert taken(GeminiCollector(9_000), [*anew, end]).answer is None


def test_fields_of_a_response_and_candidates_without_end_count() -> None:
    for chunks in (
        [{f"field{number}": PAYLOAD} for number in range(30)],
        [{"usageMetadata": {f"field{number}": PAYLOAD}} for number in range(30)],
        [{"candidates": [{f"field{number}": PAYLOAD}]} for number in range(30)],
        [{"candidates": [{"index": number} for number in range(1000)]}],
    ):
        collector = taken(GeminiCollector(20_000), chunks)
        assert collector.flaw


def test_small_pieces_are_not_kept_as_so_many() -> None:
    piece: Fields = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ab"}}
    events = [json.loads(json.dumps(piece)) for _ in range(1000)]
    collector = started({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    tracemalloc.start()
    for _ in range(50):
        for event in events:
            collector.take({**event, "delta": {**event["delta"], "text": "".join(("a", "b"))}})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 * 100_000
