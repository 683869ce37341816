"""What recorded streams collect to is what the SDKs read from them."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic as AnthropicSDK
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.collecting import LONGEST_WHOLE
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.json.value import dump
from google import genai
from google.genai import types

from tests.support.recorded import Exchange, recorded_params

ANTHROPIC_STREAMS = recorded_params(lambda each: each.dialect == "anthropic" and each.is_stream)
GEMINI_STREAMS = recorded_params(lambda each: each.dialect == "gemini" and each.is_stream)


def collected(dialect: Dialect, stream: bytes) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The whole answer of a stream, and the blocks or parts that its reader keeps for their signatures."""
    reader, decoder, collector = dialect.reader(), SSEDecoder(), dialect.collector(LONGEST_WHOLE)
    for event in [*decoder.decode(stream), *decoder.flush()]:
        reader.read(event)
        if reader.body:
            collector.take(reader.body)
    return collector.answer, reader.content


def serving(body: bytes, content_type: str) -> httpx2.MockTransport:
    return httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": content_type}, stream=httpx2.ByteStream(body))
    )


def accumulated(stream: bytes) -> dict[str, Any]:
    """The message that the SDK's own accumulator builds."""
    with (
        httpx2.Client(transport=serving(stream, "text/event-stream")) as http_client,
        AnthropicSDK(api_key="test", http_client=http_client, max_retries=0) as client,
        client.beta.messages.stream(
            model="claude-sonnet-4-5", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        ) as answer,
    ):
        message: dict[str, Any] = answer.get_final_message().to_dict(mode="json")
    return message


def without_nulls(value: Any) -> Any:
    """The SDK sets fields of its own that were not sent, to None."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("exchange", ANTHROPIC_STREAMS)
def test_a_recorded_stream_collects_to_the_message_that_the_sdk_builds(exchange: Exchange) -> None:
    answer, content = collected(Anthropic(), exchange.response_body)
    assert answer is not None
    assert without_nulls(answer) == without_nulls(accumulated(exchange.response_body))
    assert content == answer["content"] != []


@pytest.mark.parametrize("exchange", ANTHROPIC_STREAMS)
def test_a_recorded_message_has_the_fields_that_a_whole_one_has(exchange: Exchange) -> None:
    answer, _ = collected(Anthropic(), exchange.response_body)
    assert answer is not None
    assert answer.keys() >= {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
    assert answer["stop_reason"] == "end_turn"
    # Those of message_start that message_delta doesn't say again.
    assert answer["usage"].keys() >= {"cache_creation", "service_tier", "input_tokens", "output_tokens"}


@pytest.mark.parametrize("exchange", [*ANTHROPIC_STREAMS, *GEMINI_STREAMS])
def test_a_recorded_stream_is_no_answer_before_its_end(exchange: Exchange) -> None:
    dialect: Dialect = Anthropic() if exchange.dialect == "anthropic" else Gemini()
    reader, decoder, collector = dialect.reader(), SSEDecoder(), dialect.collector(LONGEST_WHOLE)
    for event in [*decoder.decode(exchange.response_body), *decoder.flush()]:
        reader.read(event)
        collector.take(reader.body)
        assert (collector.answer is not None) == reader.stopped
    assert reader.stopped


class GeminiRead:
    """What google-genai reads from one or more responses."""

    def __init__(self, responses: Iterator[types.GenerateContentResponse]) -> None:
        self.text = ""
        self.thoughts = ""
        self.others: list[dict[str, Any]] = []
        """Parts that are no text, whole."""
        self.signatures: list[bytes] = []
        self.last: types.GenerateContentResponse | None = None
        for response in responses:
            self.last = response
            content = (response.candidates or [types.Candidate()])[0].content
            for part in (content.parts if content else None) or ():
                if part.thought_signature:
                    self.signatures.append(part.thought_signature)
                if part.text is None:
                    self.others.append(part.model_dump(exclude_none=True))
                elif part.thought:
                    self.thoughts += part.text
                else:
                    self.text += part.text

    @property
    def end(self) -> dict[str, Any]:
        """What the last response says beside its parts."""
        assert self.last is not None
        said = self.last.model_dump(
            exclude_none=True, exclude={"sdk_http_response", "automatic_function_calling_history"}
        )
        for candidate in said.get("candidates", ()):
            candidate.pop("content", None)
        return said


def gemini_client(body: bytes, content_type: str) -> genai.Client:
    options = types.HttpOptions(client_args={"transport": serving(body, content_type)})
    return genai.Client(api_key="test", enterprise=False, http_options=options)


@pytest.mark.parametrize("exchange", GEMINI_STREAMS)
def test_google_reads_the_same_from_the_answer_as_from_the_recorded_stream(exchange: Exchange) -> None:
    answer, content = collected(Gemini(), exchange.response_body)
    assert answer is not None

    streaming = gemini_client(exchange.response_body, "text/event-stream")
    theirs = GeminiRead(streaming.models.generate_content_stream(model="gemini-3-pro", contents="Hi"))
    asking = gemini_client(dump(answer), "application/json")
    ours = GeminiRead(iter([asking.models.generate_content(model="gemini-3-pro", contents="Hi")]))

    assert (ours.text, ours.thoughts) == (theirs.text, theirs.thoughts)
    assert ours.others == theirs.others
    assert ours.signatures == theirs.signatures
    assert ours.end == theirs.end
    parts = answer["candidates"][0]["content"]["parts"]
    assert [part for part in parts if "thoughtSignature" in part] == [
        part for part in content if "thoughtSignature" in part
    ]
