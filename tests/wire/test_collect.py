"""What a stream's events collect to is what the SDKs and the whole answers say."""

import json
from typing import Any

import pytest
from healing.wire.anthropic import Anthropic
from healing.wire.dialect import Dialect
from healing.wire.gemini import Gemini
from healing.wire.sse import SSEDecoder

from tests.support.recorded import Exchange, recorded_params
from tests.support.sdk import anthropic_client
from tests.upstream import (
    Upstream,
    anthropic_event,
    anthropic_events,
    anthropic_reply,
    gemini_chunks,
    gemini_event,
    gemini_events,
    gemini_json,
)


def collected(dialect: Dialect, stream: bytes) -> list[dict[str, Any]]:
    reader, decoder = dialect.reader(), SSEDecoder()
    for event in [*decoder.decode(stream), *decoder.flush()]:
        reader.read(event)
    return reader.content


def accumulated(stream: bytes) -> list[dict[str, Any]]:
    """What the SDK's own accumulator builds."""
    with Upstream() as server, anthropic_client(server.url) as client:
        server.play(anthropic_reply([stream]))
        with client.messages.stream(
            model="claude-sonnet-4-5", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        ) as answer:
            message = answer.get_final_message()
    blocks: list[dict[str, Any]] = json.loads(message.to_json())["content"]
    return blocks


@pytest.mark.parametrize("exchange", recorded_params(lambda each: each.dialect == "anthropic" and each.is_stream))
def test_a_recorded_stream_collects_to_what_the_sdk_builds(exchange: Exchange) -> None:
    ours, theirs = collected(Anthropic(), exchange.response_body), accumulated(exchange.response_body)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        for name in ("type", "text", "thinking", "signature", "data", "id", "name", "input"):
            assert one.get(name) == other.get(name), name


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
