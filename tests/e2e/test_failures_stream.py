"""Streams that fail before their first content: the client gets another attempt's answer and no byte of theirs."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.failures import RETRY_WORDS, answer, ask, empty, error, healthy_accounts
from tests.upstream import (
    PING,
    Reply,
    anthropic_empty,
    anthropic_error_event,
    anthropic_event,
    anthropic_events,
    anthropic_reply,
    anthropic_start,
    anthropic_stream,
    gemini_blocked,
    gemini_chunk,
    gemini_empty,
    gemini_error_body,
    gemini_error_event,
    gemini_error_tail,
    gemini_event,
    gemini_events,
    gemini_reply,
    retry_info,
)

only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)


def stream_of(lane: Lane, *chunks: bytes) -> Reply:
    """A 200 stream of these chunks, that ends in the regular way."""
    return anthropic_reply(chunks) if lane.dialect == "anthropic" else gemini_reply(chunks)


def start(lane: Lane) -> bytes:
    """What comes before any content."""
    if lane.dialect == "anthropic":
        return anthropic_start() + PING
    return gemini_event(gemini_chunk([{"text": ""}]))


@both_dialects
def test_a_healthy_stream_is_one_call_and_the_log_tells_of_no_trouble(lane: Lane) -> None:
    asked = ask(lane, answer(lane, "all is well"))
    asked.assert_served("all is well", ["first"])
    for words in RETRY_WORDS:
        assert not asked.logged(words)


@both_dialects
def test_a_0_token_stream_is_retried_at_once_on_the_other_account(lane: Lane) -> None:
    asked = ask(lane, empty(lane), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged("retrying...") == 1
    assert asked.logged("[Gemini] Empty first chunk received, retrying...") == (lane.dialect == "gemini")
    assert not asked.logged("Stream error during peek")
    assert not asked.logged("Stream ended")
    assert healthy_accounts(lane) == {"first": True, "second": True}


@pytest.mark.parametrize(
    "reply",
    [
        anthropic_reply(anthropic_events("", thinking="")),
        anthropic_reply(anthropic_events("")),
        anthropic_reply([anthropic_start(), PING, PING, *anthropic_empty().chunks[1:]]),
        anthropic_empty(split=3),
    ],
    ids=["omitted thinking", "no block", "pings", "split"],
)
def test_an_anthropic_stream_that_says_nothing_is_empty_whatever_surrounds_it(lane: Lane, reply: Reply) -> None:
    asked = ask(lane, reply, answer(lane))
    asked.assert_served("Hello", ["first", "second"])


@only_gemini
@pytest.mark.parametrize(
    "reply",
    [
        gemini_empty(parts=False),
        gemini_empty(split=3),
        gemini_reply(gemini_events("", signature="c2lnbmF0dXJlIG9mIG5vdGhpbmc=")),
        gemini_reply([gemini_event(gemini_chunk([])), *gemini_empty().chunks]),
        gemini_empty(finish_reason="MALFORMED_FUNCTION_CALL", parts=False),
        gemini_empty(finish_reason="MALFORMED_RESPONSE"),
        gemini_empty(finish_reason="UNEXPECTED_TOOL_CALL"),
    ],
    ids=["no parts", "split", "signature only", "empty parts", "malformed call", "malformed response", "tool call"],
)
def test_a_gemini_stream_that_says_nothing_is_retried_at_once(lane: Lane, reply: Reply) -> None:
    asked = ask(lane, reply, answer(lane))
    asked.assert_served("Hello", ["first", "second"])


@both_dialects
def test_when_every_try_is_empty_the_client_gets_upstreams_own_empty_answer(lane: Lane) -> None:
    asked = ask(lane, empty(lane), empty(lane), empty(lane))
    report = asked.report()
    assert report.text == ""
    assert asked.body == empty(lane).whole
    assert asked.accounts[:2] == ["first", "second"]
    assert asked.retries == 2
    assert asked.response.header("x-healing-attempts") == "3"


@pytest.mark.parametrize("stop", ["refusal", "max_tokens", "pause_turn", "stop_sequence", "compaction"])
def test_a_meaningful_anthropic_end_without_content_is_an_answer(lane: Lane, stop: str) -> None:
    asked = ask(lane, anthropic_empty(stop_reason=stop))
    asked.assert_served("", ["first"])


@only_gemini
@pytest.mark.parametrize(
    "reply",
    [
        gemini_blocked(),
        gemini_empty(finish_reason="SAFETY", parts=False),
        gemini_empty(finish_reason="MAX_TOKENS"),
        gemini_empty(finish_reason="CONTINUATION"),
        gemini_empty(finish_reason="TOO_MANY_TOOL_CALLS", parts=False),
        gemini_empty(finish_reason="MISSING_THOUGHT_SIGNATURE", parts=False),
    ],
    ids=["blocked", "safety", "max tokens", "continuation", "too many calls", "nothing to repair"],
)
def test_a_meaningful_gemini_end_without_content_is_delivered_after_one_call(lane: Lane, reply: Reply) -> None:
    asked = ask(lane, reply)
    assert asked.report().text == ""
    assert asked.body == reply.whole
    assert asked.accounts == ["first"]
    assert not asked.retries


@both_dialects
@pytest.mark.parametrize("end", ["normal", "cut", "reset"])
def test_a_stream_that_ends_immediately_is_retried_at_once(lane: Lane, end: Any) -> None:
    asked = ask(lane, stream_of(lane).but(end=end), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged("Stream ended immediately") == 1
    assert not asked.logged("Stream ended during peek")
    assert not asked.logged("Empty first chunk")


@both_dialects
@pytest.mark.parametrize("end", ["normal", "cut", "reset"])
def test_a_stream_that_ends_before_content_is_retried_at_once(lane: Lane, end: Any) -> None:
    asked = ask(lane, stream_of(lane, start(lane)).but(end=end), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged("Stream ended during peek") == 1
    assert not asked.logged("Stream ended immediately")
    assert not asked.logged("Stream error during peek")


@both_dialects
def test_a_stream_that_is_cut_inside_its_first_content_event_is_retried(lane: Lane) -> None:
    whole = answer(lane).whole
    half = whole[: whole.index(b"Hel") + 2]
    asked = ask(lane, stream_of(lane, half).but(end="cut"), answer(lane))
    asked.assert_served("Hello", ["first", "second"])


@both_dialects
def test_data_that_is_not_json_before_content_is_retried_at_once(lane: Lane) -> None:
    broken = b'event: content_block_delta\ndata: {"type": oops\n\n'
    if lane.dialect == "gemini":
        broken = b'data: {"candidates": oops\r\n\r\n'
    asked = ask(lane, stream_of(lane, start(lane), broken), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged("Stream error during peek") == 1


@both_dialects
def test_a_page_in_html_instead_of_a_stream_is_retried_at_once(lane: Lane) -> None:
    page = Reply(
        200, {"content-type": "text/html"}, b"<html><body>Please sign in to the hotel's network.</body></html>"
    )
    asked = ask(lane, page, answer(lane))
    asked.assert_served("Hello", ["first", "second"])


@both_dialects
def test_a_200_whose_json_body_is_an_error_is_no_success(lane: Lane) -> None:
    denied = error(lane, 403, "Your account has been disabled.")
    asked = ask(lane, Reply(200, denied.headers, denied.body), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert healthy_accounts(lane) == {"first": False, "second": True}


@pytest.mark.parametrize(
    ("kind", "accounts", "wait"),
    [
        ("overloaded_error", ["first", "first"], 0.8),
        ("rate_limit_error", ["first", "second"], 0.8),
        ("api_error", ["first", "second"], 0.4),
        ("timeout_error", ["first", "second"], 0.4),
        ("authentication_error", ["first", "second"], 0.0),
    ],
)
def test_an_error_event_before_content_is_retried_as_its_type_demands(
    lane: Lane, kind: str, accounts: list[str], wait: float
) -> None:
    asked = ask(lane, stream_of(lane, start(lane), anthropic_error_event(kind, "It went wrong")), answer(lane))
    asked.assert_served("Hello", accounts)
    assert asked.waits[0] >= wait
    assert asked.logged("Stream error during peek") == 1
    assert not asked.logged("Stream ended")


@only_gemini
@pytest.mark.parametrize(
    ("form", "code", "details", "accounts", "wait"),
    [
        (gemini_error_event, 503, [], ["first", "first"], 0.8),
        (gemini_error_event, 429, [], ["first", "second"], 0.8),
        (gemini_error_event, 429, [retry_info("0.3s")], ["first", "first"], 0.3),
        (gemini_error_event, 429, [retry_info("300s")], ["first", "second"], 0.0),
        (gemini_error_event, 500, [], ["first", "second"], 0.4),
        (gemini_error_event, 401, [], ["first", "second"], 0.0),
        (gemini_error_tail, 429, [retry_info("0.3s")], ["first", "first"], 0.3),
        (gemini_error_tail, 500, [], ["first", "second"], 0.4),
        (gemini_error_tail, 401, [], ["first", "second"], 0.0),
    ],
    ids=["503", "429", "429 short", "429 long", "500", "401", "tail 429 short", "tail 500", "tail 401"],
)
def test_an_error_object_before_content_is_retried_as_its_code_demands(
    lane: Lane, form: Any, code: int, details: list[Any], accounts: list[str], wait: float
) -> None:
    asked = ask(lane, stream_of(lane, start(lane), form(code, None, "It went wrong", details)), answer(lane))
    asked.assert_served("Hello", accounts)
    assert asked.waits[0] >= wait
    assert asked.logged("Stream error during peek") == 1
    assert not asked.logged("Stream ended")


@pytest.mark.parametrize("first", [True, False], ids=["first event", "after the start"])
@pytest.mark.parametrize(("kind", "status"), [("invalid_request_error", 400), ("request_too_large", 413)])
def test_an_error_event_that_is_the_callers_fault_comes_with_its_http_status(
    lane: Lane, first: bool, kind: str, status: int
) -> None:
    chunks = [] if first else [start(lane)]
    asked = ask(lane, stream_of(lane, *chunks, anthropic_error_event(kind, "messages: too odd")))
    asked.assert_failed(["first"])
    assert asked.status == status
    assert asked.error() == {"type": kind, "message": "messages: too odd"}
    assert asked.logged("Stream error during peek") == 1
    assert (asked.response.header("content-type") or "").startswith("application/json")


@only_gemini
@pytest.mark.parametrize("form", [gemini_error_event, gemini_error_tail], ids=["data", "raw tail"])
@pytest.mark.parametrize("first", [True, False], ids=["first event", "after the start"])
def test_an_error_object_that_is_the_callers_fault_comes_with_its_http_status(
    lane: Lane, form: Any, first: bool
) -> None:
    chunks = [] if first else [start(lane)]
    message = "Request contains an invalid argument."
    asked = ask(lane, stream_of(lane, *chunks, form(400, None, message)))
    asked.assert_failed(["first"])
    assert asked.status == 400
    assert json.loads(asked.body) == gemini_error_body(400, None, message)
    asked.error()
    # What begins as JSON is no stream that had an error.
    assert asked.logged("Stream error during peek") == int(form is gemini_error_event or not first)


def test_what_came_before_a_failure_never_reaches_the_client(lane: Lane) -> None:
    poisoned = anthropic_event(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    )
    failing = anthropic_reply(
        [anthropic_start(message_id="msg_first"), PING, poisoned, anthropic_error_event("api_error")]
    )
    asked = ask(lane, failing, anthropic_stream("second", message_id="msg_second"))
    asked.assert_served("second", ["first", "second"])
    assert b"msg_first" not in asked.body


@both_dialects
def test_a_callers_error_that_came_with_status_200_is_delivered_with_the_status_that_it_means(lane: Lane) -> None:
    refusal = error(lane, 400, "max_tokens: too many")
    asked = ask(lane, Reply(200, refusal.headers, refusal.body))
    asked.assert_failed(["first"])
    assert asked.status == 400
    assert asked.body == refusal.body
