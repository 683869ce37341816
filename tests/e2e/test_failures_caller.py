"""What the caller alone can mend is delivered after one call, byte for byte: nothing is retried, nobody is benched."""

from typing import Any

import orjson
import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.failures import RETRY_WORDS, answer, ask, error, healthy_accounts, with_and_without_stream
from tests.upstream import (
    Reply,
    anthropic_error,
    anthropic_error_body,
    gemini_error,
    gemini_error_body,
    retry_info,
)

JSON = {"content-type": "application/json"}
BAD_REQUEST = {
    "@type": "type.googleapis.com/google.rpc.BadRequest",
    "fieldViolations": [{"field": "contents", "description": 'Invalid JSON payload received. Unknown name "role"'}],
}
ANTHROPIC = {
    "max_tokens": anthropic_error(
        400,
        "invalid_request_error",
        "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-5",
        headers={"x-should-retry": "false", "anthropic-organization-id": "org-1"},
    ),
    "too long": anthropic_error(400, "invalid_request_error", "prompt is too long: 205000 tokens > 200000 maximum"),
    "bare": anthropic_error(400, "invalid_request_error", "invalid request"),
    "thinking budget": anthropic_error(
        400,
        "invalid_request_error",
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    "tool use without result": anthropic_error(
        400,
        "invalid_request_error",
        "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01. Each "
        "`tool_use` block must have a corresponding `tool_result` block in the next message.",
    ),
    "409": anthropic_error(409, "conflict_error", "The resource was changed meanwhile."),
    "413": anthropic_error(413, "request_too_large", "Request exceeds the maximum size"),
    "413 of the front end": Reply(413, {"content-type": "text/html"}, b"<html>413 Request Entity Too Large</html>"),
    "422": Reply(422, JSON, b'{"detail":[{"loc":["body","messages"],"msg":"field required"}]}'),
    "spaces": Reply(400, JSON, b'{\n "error" : {"type":"invalid_request_error" , "message":"\\u00fc"}}\n\n'),
    "no json": Reply(400, {"content-type": "text/plain"}, b"Bad Request\n"),
    "nothing": Reply(400, {}, b""),
    "405": Reply(405, {"content-type": "text/plain", "allow": "GET"}, b"Method Not Allowed"),
}  # fmt: skip
GEMINI = {
    "bare": gemini_error(400, None, "Request contains an invalid argument."),
    "field": gemini_error(400, None, "Invalid JSON payload received.", details=[BAD_REQUEST]),
    "location": gemini_error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
    "two keys": gemini_error(400, None, "Multiple authentication credentials received. Please pass only one."),
    "tokens": gemini_error(400, None, "The input token count (1200000) exceeds the maximum number of tokens allowed"),
    "413": Reply(413, {"content-type": "text/html"}, b"<html>413. That's an error.</html>"),
    "422": Reply(422, JSON, b'{"error":{"code":422,"message":"Unprocessable","status":"INVALID_ARGUMENT"}}'),
    "array": Reply(400, JSON, orjson.dumps([gemini_error_body(400, None, "Request contains an invalid argument.")])),
    "nothing": Reply(400, {}, b""),
}
ANTHROPIC_SIGNATURES = [
    "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation.",
    "messages.1.content.0: Invalid `signature` in `thinking` block",
    "messages.3.content.0: Invalid `data` in `redacted_thinking` block",
    "messages.1.content.0.thinking.signature: Field required",
    "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be "
    "modified. These blocks must remain as they were in the original response.",
    "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is "
    "enabled, a final `assistant` message must start with a thinking block",
    "When thinking is disabled, an assistant message in the final position cannot contain thinking",
    "messages.1: The final block in an assistant message cannot be `thinking`.",
]
GEMINI_SIGNATURES = [
    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly. "
    "Additional data, function call `default_api:read_file` , position 2.",
    "function call `read_file` in the 2. content block is missing a `thought_signature`.",
    "Corrupted thought signature.",
    "Invalid thought signature.",
    "Thought signature is not valid",
    "Invalid value at 'contents[1].parts[0].thought_signature' (TYPE_BYTES), Base64 decoding failed for \"@@\"",
]


def wrapped(status: int, inner: dict[str, Any]) -> Reply:
    """An Anthropic error as a JSON string inside Google's `error.message`."""
    return gemini_error(status, None, orjson.dumps(inner).decode())


def assert_only_delivered(lane: Lane, reply: Reply, *, stream: bool = True) -> None:
    """One call, upstream's answer, and no trace of a retry."""
    asked = ask(lane, reply, stream=stream)
    asked.assert_delivered(reply, ["first"])
    for words in RETRY_WORDS:
        assert not asked.logged(words)
    assert asked.response.header("retry-after") == reply.headers.get("retry-after")


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in ANTHROPIC.items()])
def test_an_anthropic_refusal_is_delivered_byte_for_byte_after_one_call(lane: Lane, reply: Reply) -> None:
    assert_only_delivered(lane, reply)
    assert_only_delivered(lane, reply, stream=False)


@pytest.mark.parametrize(
    ("lane", "reply"),
    [pytest.param("gemini", reply, id=name) for name, reply in GEMINI.items()],
    indirect=["lane"],
)
def test_a_gemini_refusal_is_delivered_byte_for_byte_after_one_call(lane: Lane, reply: Reply) -> None:
    assert_only_delivered(lane, reply)
    assert_only_delivered(lane, reply, stream=False)


@both_dialects
def test_many_refusals_in_a_row_bench_nobody(lane: Lane) -> None:
    for _ in range(4):
        assert_only_delivered(lane, error(lane, 400, "invalid request"))
    assert healthy_accounts(lane) == {"first": True, "second": True}
    ask(lane, answer(lane)).assert_served("Hello", ["first"])


@pytest.mark.parametrize("text", ANTHROPIC_SIGNATURES)
def test_an_anthropic_signature_error_with_nothing_to_repair_is_delivered_after_one_call(lane: Lane, text: str) -> None:
    """Whatever its status: some resellers send it as a 429, and waiting would not help."""
    for reply in (
        anthropic_error(400, "invalid_request_error", text),
        anthropic_error(429, "rate_limit_error", text, headers={"retry-after": "1"}),
        Reply(500, JSON, orjson.dumps({"error": {"message": text, "type": "upstream_error"}})),
    ):
        assert_only_delivered(lane, reply)
    assert_only_delivered(lane, anthropic_error(400, "invalid_request_error", text), stream=False)


@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
@pytest.mark.parametrize("text", GEMINI_SIGNATURES)
def test_a_gemini_signature_error_with_nothing_to_repair_is_delivered_after_one_call(lane: Lane, text: str) -> None:
    for reply in (
        gemini_error(400, None, text),
        gemini_error(429, None, text, details=[retry_info("1s")]),
        gemini_error(500, None, text),
    ):
        assert_only_delivered(lane, reply)
    assert_only_delivered(lane, gemini_error(400, None, text), stream=False)


@both_dialects
@with_and_without_stream
def test_a_signature_error_that_a_gateway_wraps_in_a_429_is_delivered_unchanged(lane: Lane, stream: bool) -> None:
    inner = anthropic_error_body("invalid_request_error", ANTHROPIC_SIGNATURES[0])
    assert_only_delivered(lane, wrapped(429, inner), stream=stream)
    under = {"error": {"message": "upstream refused", "upstream_error": inner}}
    assert_only_delivered(lane, Reply(429, JSON, orjson.dumps(under)), stream=stream)


@both_dialects
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_callers_fault_that_a_gateway_wraps_in_another_status_is_not_retried(lane: Lane, status: int) -> None:
    inner = anthropic_error_body("invalid_request_error", "prompt is too long: 205000 tokens > 200000 maximum")
    assert_only_delivered(lane, wrapped(status, inner))
    under = {"error": {"message": "upstream refused", "upstream_error": inner}}
    assert_only_delivered(lane, Reply(status, JSON, orjson.dumps(under)))


@both_dialects
@pytest.mark.parametrize(
    "form",
    ["string", "string behind words", "upstream_error", "upstream_error string", "array"],
)
def test_a_wrapped_error_is_treated_as_what_the_real_upstream_said(lane: Lane, form: str) -> None:
    inner = anthropic_error_body("authentication_error", "invalid x-api-key")
    text = orjson.dumps(inner).decode()
    body: Any = {
        "string": gemini_error_body(500, None, text),
        "string behind words": gemini_error_body(500, None, f"The upstream said: {text}"),
        "upstream_error": {"error": {"message": "upstream refused", "upstream_error": inner}},
        "upstream_error string": {"error": {"message": "upstream refused", "upstream_error": text}},
        "array": [gemini_error_body(401, None, "Request had invalid authentication credentials.")],
    }[form]
    asked = ask(lane, Reply(500, JSON, orjson.dumps(body)), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert healthy_accounts(lane) == {"first": False, "second": True}


@both_dialects
def test_a_wrapped_overload_stays_on_the_account_and_waits(lane: Lane) -> None:
    inner = anthropic_error_body("overloaded_error", "Overloaded")
    asked = ask(lane, wrapped(400, inner), answer(lane))
    asked.assert_served("Hello", ["first", "first"])
    assert asked.waits[0] >= 0.8


@both_dialects
def test_an_error_in_an_array_has_its_hint_read(lane: Lane) -> None:
    body = [gemini_error_body(429, None, "You exceeded your current quota.", [retry_info("0.35s")])]
    asked = ask(lane, Reply(429, JSON, orjson.dumps(body)), answer(lane))
    asked.assert_served("Hello", ["first", "first"])
    assert asked.waits[0] >= 0.35
