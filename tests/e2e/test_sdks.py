"""The real SDKs behind the proxy: they get answers when all is well or could be healed, and else their own errors."""

import asyncio
import json
from collections.abc import Callable

import anthropic
import httpx2
import pytest
from google.genai import errors, types

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.streaming import ask, google, reply_of, stream_for, text_of
from tests.support.protocol import check_gemini_error, check_gemini_json
from tests.support.sdk import anthropic_async_client, anthropic_client, gemini_client
from tests.upstream import (
    Reply,
    anthropic_empty,
    anthropic_error,
    anthropic_events,
    anthropic_json,
    anthropic_stream,
    gemini_empty,
    gemini_error,
    gemini_events,
    gemini_json,
    gemini_stream,
    retry_info,
)
from tests.upstream.anthropic import SIGNATURE
from tests.upstream.gemini import error_info
from tests.upstream.replies import End

TOOL = ("weather", {"city": "Köln", "days": 3})
QUESTION: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Hi"}]

only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)


def anthropic_text(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def anthropic_sync(lane: Lane, stream: bool) -> str:
    with anthropic_client(lane.proxy.url) as client:
        if not stream:
            return anthropic_text(client.messages.create(model=lane.model, max_tokens=9, messages=QUESTION))
        with client.messages.stream(model=lane.model, max_tokens=9, messages=QUESTION) as answer:
            said = "".join(answer.text_stream)
            final = answer.get_final_message()
        assert final.stop_reason == "end_turn"
        assert anthropic_text(final) == said
        return said


def anthropic_async(lane: Lane, stream: bool) -> str:
    async def run() -> str:
        async with anthropic_async_client(lane.proxy.url) as client:
            if not stream:
                return anthropic_text(await client.messages.create(model=lane.model, max_tokens=9, messages=QUESTION))
            async with client.messages.stream(model=lane.model, max_tokens=9, messages=QUESTION) as answer:
                return "".join([text async for text in answer.text_stream])

    return asyncio.run(run())


def gemini_sync(lane: Lane, stream: bool) -> str:
    models = google(lane.proxy.url).models
    if not stream:
        return text_of(models.generate_content(model=lane.model, contents="Hi"))
    return "".join(map(text_of, models.generate_content_stream(model=lane.model, contents="Hi")))


def gemini_async(lane: Lane, stream: bool) -> str:
    async def run() -> str:
        async with gemini_client(lane.proxy.url).aio as client:
            if not stream:
                return text_of(await client.models.generate_content(model=lane.model, contents="Hi"))
            chunks = await client.models.generate_content_stream(model=lane.model, contents="Hi")
            return "".join([text_of(chunk) async for chunk in chunks])

    return asyncio.run(run())


ASKERS: dict[str, dict[str, Callable[[Lane, bool], str]]] = {
    "anthropic": {"sync": anthropic_sync, "async": anthropic_async},
    "gemini": {"sync": gemini_sync, "async": gemini_async},
}


def good(lane: Lane, stream: bool, text: str) -> Reply:
    if stream:
        return stream_for(lane, text)
    return anthropic_json(text) if lane.dialect == "anthropic" else gemini_json(text)


def empty(lane: Lane, stream: bool) -> Reply:
    if lane.dialect == "anthropic":
        return anthropic_empty() if stream else anthropic_json("")
    return gemini_empty() if stream else gemini_json("")


def limited(lane: Lane, stream: bool) -> Reply:
    """A rate limit that is over in a moment."""
    if lane.dialect == "anthropic":
        return anthropic_error(429, "rate_limit_error", "Slow down.", headers={"retry-after-ms": "20"})
    return gemini_error(429, None, "Slow down.", details=[retry_info("0.02s")])


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
@pytest.mark.parametrize("how", ["sync", "async"])
@both_dialects
def test_an_sdk_gets_its_answer_clean_or_healed(lane: Lane, how: str, stream: bool) -> None:
    asker = ASKERS[lane.dialect][how]
    lane.upstream.play(good(lane, stream, "Grüße, 世界"))
    assert asker(lane, stream) == "Grüße, 世界"
    assert len(lane.calls) == 1
    lane.upstream.play(empty(lane, stream), limited(lane, stream), good(lane, stream, "Healed"))
    assert asker(lane, stream) == "Healed"
    assert len(lane.calls) == 4


ANTHROPIC_ERRORS: list[tuple[int, str, type[anthropic.APIStatusError], int]] = [
    (400, "invalid_request_error", anthropic.BadRequestError, 1),
    (401, "authentication_error", anthropic.AuthenticationError, 2),
    (402, "billing_error", anthropic.APIStatusError, 2),
    (403, "permission_error", anthropic.PermissionDeniedError, 2),
    (404, "not_found_error", anthropic.NotFoundError, 2),
    (413, "request_too_large", anthropic.APIStatusError, 1),
    (429, "rate_limit_error", anthropic.RateLimitError, 2),
    (529, "overloaded_error", anthropic.InternalServerError, 3),
]


@pytest.mark.parametrize(("status", "kind", "raises", "calls"), ANTHROPIC_ERRORS)
def test_anthropics_sdk_raises_upstreams_own_error(
    lane: Lane, status: int, kind: str, raises: type[anthropic.APIStatusError], calls: int
) -> None:
    # A limit that outlasts every budget, an overload that is over in a moment.
    hint = {429: {"retry-after": "7200"}, 529: {"retry-after-ms": "1"}}.get(status, {})
    error = anthropic_error(status, kind, f"The model says {status}.", headers=hint)
    # An overload would be waited out for longer than is good for a test.
    last = anthropic_error(status, kind, f"The model says {status}.", headers={**hint, "x-should-retry": "false"})
    lane.upstream.play(*[error] * (calls - 1), last)
    with pytest.raises(raises) as raised:
        anthropic_sync(lane, stream=True)
    assert raised.value.status_code == status
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["error"] == {"type": kind, "message": f"The model says {status}."}
    assert raised.value.response.headers["x-healing-outcome"] == "failed"
    assert len(lane.calls) == calls


GEMINI_ERRORS: list[tuple[int, str, type[errors.APIError], int]] = [
    (400, "INVALID_ARGUMENT", errors.ClientError, 1),
    (400, "FAILED_PRECONDITION", errors.ClientError, 1),
    (401, "UNAUTHENTICATED", errors.ClientError, 2),
    (402, "RESOURCE_EXHAUSTED", errors.ClientError, 2),
    (403, "PERMISSION_DENIED", errors.ClientError, 2),
    (404, "NOT_FOUND", errors.ClientError, 2),
    (429, "RESOURCE_EXHAUSTED", errors.ClientError, 2),
    (503, "UNAVAILABLE", errors.ServerError, 3),
]


@pytest.mark.parametrize(("status", "kind", "raises", "calls"), GEMINI_ERRORS)
@only_gemini
def test_googles_sdk_raises_upstreams_own_error(
    lane: Lane, status: int, kind: str, raises: type[errors.APIError], calls: int
) -> None:
    hint = {429: [retry_info("7200s")], 503: [retry_info("0.001s")]}.get(status, [])
    error = gemini_error(status, kind, f"The model says {status}.", details=hint)
    # An overload would be waited out for longer than is good for a test.
    no_more = {"x-should-retry": "false"}
    last = gemini_error(status, kind, f"The model says {status}.", details=hint, headers=no_more)
    lane.upstream.play(*[error] * (calls - 1), last)
    with pytest.raises(raises) as raised:
        gemini_sync(lane, stream=True)
    assert (raised.value.code, raised.value.status) == (status, kind)
    assert raised.value.message == f"The model says {status}."
    assert len(lane.calls) == calls


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
@pytest.mark.parametrize("how", ["sync", "async"])
@both_dialects
def test_each_side_of_an_sdk_raises_upstreams_own_error(lane: Lane, how: str, stream: bool) -> None:
    anthropics = anthropic_error(400, "invalid_request_error", "No.")
    lane.upstream.play(anthropics if lane.dialect == "anthropic" else gemini_error(400, None, "No."))
    with pytest.raises((anthropic.BadRequestError, errors.ClientError), match="No\\."):
        ASKERS[lane.dialect][how](lane, stream)
    assert len(lane.calls) == 1


@only_gemini
def test_an_invalid_google_key_is_told_as_it_came(lane: Lane) -> None:
    """A 400 that is no mistake of the caller's: both accounts are tried."""
    message = "API key not valid. Please pass a valid API key."
    error = gemini_error(400, "INVALID_ARGUMENT", message, details=[error_info("API_KEY_INVALID")])
    lane.upstream.play(error, error)
    with pytest.raises(errors.ClientError) as raised:
        gemini_sync(lane, stream=True)
    assert (raised.value.code, raised.value.message) == (400, message)
    assert len(lane.calls) == 2


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
@both_dialects
def test_an_upstream_that_does_not_answer_is_an_error_of_the_servers_kind(lane: Lane, stream: bool) -> None:
    closed = Reply(before="close")
    lane.upstream.play(closed, closed, Reply(503, {"x-should-retry": "false"}))
    with pytest.raises((anthropic.InternalServerError, errors.ServerError)):
        ASKERS[lane.dialect]["sync"](lane, stream)
    assert len(lane.calls) == 3


def test_anthropics_sdk_gets_thinking_and_tools(lane: Lane) -> None:
    stream = anthropic_stream("Let me look.", thinking="Hmm, Köln.", redacted="EmwKAhgB", tool=TOOL, pings=2)
    whole = anthropic_json("Let me look.", thinking="Hmm, Köln.", tool=TOOL)
    lane.upstream.play(anthropic_empty(), stream, whole)
    with anthropic_client(lane.proxy.url) as client:
        with client.messages.stream(model=lane.model, max_tokens=9, messages=QUESTION) as events:
            streamed = events.get_final_message()
        plain = client.messages.create(model=lane.model, max_tokens=9, messages=QUESTION)
    assert [block.type for block in streamed.content] == ["thinking", "redacted_thinking", "text", "tool_use"]
    for message in (streamed, plain):
        thinking, tool = message.content[0], message.content[-1]
        assert thinking.type == "thinking"
        assert (thinking.thinking, thinking.signature) == ("Hmm, Köln.", SIGNATURE)
        assert tool.type == "tool_use"
        assert (tool.name, tool.input) == TOOL
        assert message.stop_reason == "tool_use"
        assert message.usage.output_tokens == 9


@only_gemini
def test_googles_sdk_gets_thoughts_and_function_calls(lane: Lane) -> None:
    stream = gemini_stream("Let me look.", thinking="Hmm, Köln.", tool=TOOL, signature=SIGNATURE)
    whole = gemini_json("Let me look.", thinking="Hmm, Köln.", tool=TOOL, signature=SIGNATURE)
    lane.upstream.play(gemini_empty(), stream, whole)
    models = google(lane.proxy.url).models
    streamed = list(models.generate_content_stream(model=lane.model, contents="Hi"))
    plain = models.generate_content(model=lane.model, contents="Hi")
    for answers in (streamed, [plain]):
        parts = [part for answer in answers for part in parts_of(answer)]
        assert "".join(part.text or "" for part in parts if part.thought) == "Hmm, Köln."
        assert "".join(map(text_of, answers)) == "Let me look."
        (called,) = [part for part in parts if part.function_call]
        assert called.function_call is not None
        assert (called.function_call.name, called.function_call.args) == TOOL
        assert called.thought_signature
        assert answers[-1].usage_metadata is not None
        assert answers[-1].usage_metadata.candidates_token_count == 9


def parts_of(answer: types.GenerateContentResponse) -> list[types.Part]:
    return [part for each in answer.candidates or [] for part in (each.content or types.Content()).parts or []]


@both_dialects
def test_tokens_are_counted_also_after_a_healed_failure(lane: Lane) -> None:
    lane.upstream.play(limited(lane, stream=False))
    if lane.dialect == "anthropic":
        with anthropic_client(lane.proxy.url) as client:
            assert client.messages.count_tokens(model=lane.model, messages=QUESTION).input_tokens == 12
    else:
        counted = google(lane.proxy.url).models.count_tokens(model=lane.model, contents="Hi")
        assert counted.total_tokens == 12
    assert len(lane.calls) == 2
    assert [lane.account_of(call) for call in lane.calls] == [lane.accounts[0]] * 2


@both_dialects
def test_models_are_listed_and_looked_up(lane: Lane) -> None:
    if lane.dialect == "anthropic":
        with anthropic_client(lane.proxy.url) as client:
            listed = [model.id for model in client.models.list()]
            found: str | None = client.models.retrieve(lane.model).id
        assert "claude-opus-4-5" in listed
        assert found == lane.model
    else:
        models = google(lane.proxy.url).models
        names = [model.name for model in models.list()]
        found = models.get(model=lane.model).name
        assert "models/gemini-2.5-pro" in names
        assert found == f"models/{lane.model}"
    (call,) = lane.calls
    assert lane.account_of(call) == lane.accounts[0]


@only_gemini
def test_a_stream_as_an_array_passes_and_is_healed_by_its_status(lane: Lane) -> None:
    array = gemini_stream("Hello", sse=False)
    lane.upstream.play(array.but(split=5), limited(lane, stream=True), array)
    for attempts in ("1", "2"):
        response = ask(lane, sse=False)
        assert (response.status, response.ended, response.body) == (200, "complete", array.whole)
        assert response.header("content-type") == "application/json; charset=UTF-8"
        assert response.header("x-healing-attempts") == attempts
        assert check_gemini_json(response.body).text == "Hello"


@pytest.mark.parametrize("end", ["cut", "reset"])
@only_gemini
def test_an_array_that_is_cut_breaks_the_connection(lane: Lane, end: End) -> None:
    """Its last element is the error, and nothing may make it look whole."""
    array = gemini_stream("Hello", sse=False)
    lane.upstream.play(array.first(1, end))
    response = ask(lane, sse=False)
    assert response.status == 200
    assert response.ended in ("cut", "reset")
    assert array.whole.startswith(response.body[: response.body.index(b'{"error"')].rstrip(b",\r\n "))
    with pytest.raises(ValueError, match=r"Expecting|Extra data|Unterminated"):
        json.loads(response.body)
    assert len(lane.calls) == 1


@only_gemini
def test_an_error_for_an_array_comes_as_upstream_sends_it(lane: Lane) -> None:
    """Google wraps it in an array of one then; it is understood all the same."""
    mistake = gemini_error(400, None, "Invalid value.")
    wrapped = Reply(400, mistake.headers, b"[" + mistake.whole + b"]")
    expired = gemini_error(401, None, "Expired.")
    lane.upstream.play(Reply(401, expired.headers, b"[" + expired.whole + b"]"), wrapped)
    response = ask(lane, sse=False)
    assert (response.status, response.body) == (400, wrapped.body)
    check_gemini_error(response.status, response.body)
    assert len(lane.calls) == 2


@both_dialects
def test_an_sdk_is_not_fooled_by_a_stream_that_just_ends(lane: Lane) -> None:
    """By itself it would take the beginning for the whole."""
    begun = anthropic_events("Hello")[:3] if lane.dialect == "anthropic" else gemini_events("Hello")[:1]
    for how in ("sync", "async"):
        lane.upstream.play(reply_of(lane, begun))
        with pytest.raises((httpx2.TransportError, anthropic.APIError, errors.APIError)):
            ASKERS[lane.dialect][how](lane, True)
    assert len(lane.calls) == 2
