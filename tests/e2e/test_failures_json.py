"""Answers that don't stream: a 200 that holds no answer is a failure too, and nothing is hidden from the client."""

from typing import Any

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.failures import RETRY_WORDS, answer, ask, empty, error, healthy_accounts
from tests.upstream import Reply, anthropic_json, gemini_json, gemini_stream

only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)
JSON = {"content-type": "application/json"}


def json_answer(lane: Lane, text: str = "Hello") -> Reply:
    """A good answer."""
    return answer(lane, text, stream=False)


@both_dialects
def test_a_healthy_answer_is_one_call_and_the_log_tells_of_no_trouble(lane: Lane) -> None:
    asked = ask(lane, json_answer(lane, "all is well"), stream=False)
    asked.assert_served("all is well", ["first"])
    for words in RETRY_WORDS:
        assert not asked.logged(words)


@both_dialects
def test_a_0_token_answer_is_retried_at_once_on_the_other_account(lane: Lane) -> None:
    asked = ask(lane, empty(lane, stream=False), json_answer(lane), stream=False)
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged("0 tokens")
    assert asked.logged("[Gemini] Empty first chunk received, retrying...") == (lane.dialect == "gemini")
    assert healthy_accounts(lane) == {"first": True, "second": True}


@both_dialects
def test_an_answer_whose_only_text_is_empty_is_retried(lane: Lane) -> None:
    if lane.dialect == "anthropic":
        blank = Reply(200, JSON, json_answer(lane, "T").whole.replace(b'"text":"T"', b'"text":""'))
        assert b'"text":""' in blank.whole
    else:
        blank = gemini_json("", finish_reason="STOP", signature="c2lnbmF0dXJlIG9mIG5vdGhpbmc=")
    asked = ask(lane, blank, json_answer(lane), stream=False)
    asked.assert_served("Hello", ["first", "second"])


@both_dialects
def test_when_every_try_is_empty_the_client_gets_upstreams_own_empty_answer(lane: Lane) -> None:
    last = empty(lane, stream=False)
    asked = ask(lane, empty(lane, stream=False), empty(lane, stream=False), last, stream=False)
    assert asked.accounts[:2] == ["first", "second"]
    asked.assert_delivered(last, asked.accounts)
    assert len(asked.calls) == 3


@both_dialects
def test_a_meaningful_end_without_content_is_an_answer(lane: Lane) -> None:
    if lane.dialect == "anthropic":
        plan = anthropic_json("", stop_reason="refusal")
    else:
        plan = gemini_json("", finish_reason="SAFETY")
    asked = ask(lane, plan, stream=False)
    asked.assert_served("", ["first"])


@only_gemini
def test_a_malformed_call_without_content_is_retried(lane: Lane) -> None:
    plan = gemini_json("", finish_reason="MALFORMED_FUNCTION_CALL")
    asked = ask(lane, plan, json_answer(lane), stream=False)
    asked.assert_served("Hello", ["first", "second"])


@both_dialects
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (JSON, b""),
        (JSON, b'{"id": "msg_1", "con'),
        ({"content-type": "text/html"}, b"<html>Welcome to the hotel</html>"),
        (JSON, b"null"),
    ],
    ids=["no body", "half", "html", "null"],
)
def test_a_200_that_is_no_answer_is_retried_at_once(lane: Lane, headers: dict[str, str], body: bytes) -> None:
    asked = ask(lane, Reply(200, headers, body), json_answer(lane), stream=False)
    asked.assert_served("Hello", ["first", "second"])


@both_dialects
@pytest.mark.parametrize("end", ["cut", "reset"])
@pytest.mark.parametrize("counted", [True, False], ids=["content-length", "chunked"])
def test_an_answer_that_is_cut_is_retried_at_once(lane: Lane, end: Any, counted: bool) -> None:
    whole = json_answer(lane)
    half = Reply(200, whole.headers, chunks=[whole.whole[:100]], content_length=counted, end=end)
    asked = ask(lane, half, json_answer(lane), stream=False)
    asked.assert_served("Hello", ["first", "second"])


@only_gemini
def test_a_stream_as_one_array_is_healed_by_its_status(lane: Lane) -> None:
    array = gemini_stream("Hello", sse=False)
    asked = ask(lane, error(lane, 401, "invalid key"), array, sse=False)
    assert asked.status == 200
    assert asked.body == array.whole
    assert asked.accounts == ["first", "second"]


@only_gemini
def test_an_error_in_an_array_is_delivered_as_it_came(lane: Lane) -> None:
    body = b'[{\n  "error": {\n    "code": 400,\n    "message": "Bad.",\n    "status": "INVALID_ARGUMENT"\n  }\n}\n]'
    refusal = Reply(400, JSON, body)
    asked = ask(lane, refusal, sse=False)
    asked.assert_delivered(refusal, ["first"])
    asked.error()


@both_dialects
def test_an_error_whose_body_is_cut_never_passes_for_the_whole_error(lane: Lane) -> None:
    refusal = error(lane, 400, "max_tokens: too many")
    half = Reply(400, refusal.headers, chunks=[refusal.whole[:30]], content_length=True, end="cut")
    asked = ask(lane, half, refusal, stream=False)
    asked.assert_delivered(refusal, ["first", "second"])


@both_dialects
def test_a_200_whose_body_is_an_error_is_no_success(lane: Lane) -> None:
    denied = error(lane, 403, "Your account has been disabled.")
    asked = ask(lane, Reply(200, denied.headers, denied.body), json_answer(lane), stream=False)
    asked.assert_served("Hello", ["first", "second"])
    assert healthy_accounts(lane) == {"first": False, "second": True}


@both_dialects
def test_a_200_whose_body_is_a_callers_error_is_delivered_with_the_status_that_it_means(lane: Lane) -> None:
    refusal = error(lane, 400, "max_tokens: too many")
    asked = ask(lane, Reply(200, refusal.headers, refusal.body), stream=False)
    asked.assert_failed(["first"])
    assert asked.status == 400
    assert asked.body == refusal.body
    asked.error()
