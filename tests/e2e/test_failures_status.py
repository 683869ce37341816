"""Failures of the server and of the way to it: where the next try goes, after which wait, and when it is enough."""

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.failures import (
    answer,
    ask,
    error,
    healthy_accounts,
    other_model,
    overloaded,
    with_and_without_stream,
)
from tests.upstream import Reply

HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><hr>nginx</body>\r\n</html>\r\n"
NOT_FOUND = {
    "anthropic": "model: claude-sonnet-9",
    "gemini": "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent. "
    "Call ListModels to see the list of available models and their supported methods.",
}


def internal(lane: Lane, number: int = 1) -> Reply:
    """A 500 that can be told from others."""
    return error(lane, 500, f"An internal error has occurred. Reference {number}.")


@both_dialects
@pytest.mark.parametrize("status", [408, 499, 500, 502, 504])
def test_a_transient_status_rotates_after_half_a_second(lane: Lane, status: int) -> None:
    reply = error(lane, status, "The operation was cancelled." if status == 499 else "It went wrong.")
    asked = ask(lane, reply, answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.waits[0] >= 0.4
    assert healthy_accounts(lane) == {"first": True, "second": True}


@both_dialects
def test_a_transient_status_is_healed_for_a_request_that_does_not_stream(lane: Lane) -> None:
    asked = ask(lane, internal(lane), answer(lane, stream=False), stream=False)
    asked.assert_served("Hello", ["first", "second"])
    assert asked.waits[0] >= 0.4


@pytest.mark.parametrize(
    ("lane", "reply"),
    [
        pytest.param("anthropic", Reply(502, {"content-type": "text/html"}, HTML), id="html"),
        pytest.param("gemini", Reply(502, {"content-type": "text/html"}, HTML), id="html to gemini"),
        pytest.param("anthropic", Reply(520, {"content-type": "text/html"}, b"error code: 520"), id="520"),
        pytest.param("gemini", Reply(504, {"content-type": "text/plain"}, b"upstream request timeout"), id="text"),
        pytest.param("gemini", Reply(500, {}, b""), id="nothing"),
    ],
    indirect=["lane"],
)
def test_a_gateways_error_that_is_no_json_is_transient_too(lane: Lane, reply: Reply) -> None:
    asked = ask(lane, reply, answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.waits[0] >= 0.4


@both_dialects
@with_and_without_stream
def test_an_overloaded_server_is_asked_again_on_the_same_account(lane: Lane, stream: bool) -> None:
    asked = ask(lane, overloaded(lane), answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "first"])
    assert asked.waits[0] >= 0.8


def test_503_and_529_are_the_same_to_the_anthropic_dialect(lane: Lane) -> None:
    unavailable = Reply(503, {"content-type": "text/plain"}, b"no healthy upstream")
    asked = ask(lane, unavailable, answer(lane))
    asked.assert_served("Hello", ["first", "first"])
    assert asked.waits[0] >= 0.8


def test_failures_of_two_kinds_each_have_their_own_wait_and_place(lane: Lane) -> None:
    asked = ask(lane, internal(lane), overloaded(lane), answer(lane))
    asked.assert_served("Hello", ["first", "second", "second"])
    assert asked.waits[0] >= 0.4
    assert asked.waits[1] >= 0.8


@both_dialects
@pytest.mark.parametrize("before", ["close", "reset"])
def test_a_connection_that_ends_before_the_headers_is_tried_again_on_the_same_account(lane: Lane, before: str) -> None:
    broken = Reply(before="close" if before == "close" else "reset")
    asked = ask(lane, broken, answer(lane))
    asked.assert_served("Hello", ["first", "first"])


@both_dialects
@with_and_without_stream
def test_a_connection_that_breaks_twice_is_tried_on_the_other_account(lane: Lane, stream: bool) -> None:
    asked = ask(lane, Reply(before="reset"), Reply(before="close"), answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "first", "second"])


@both_dialects
@with_and_without_stream
def test_a_model_that_an_account_lacks_is_asked_of_the_other_and_remembered(lane: Lane, stream: bool) -> None:
    missing = error(lane, 404, NOT_FOUND[lane.dialect])
    asked = ask(lane, missing, answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    # Now it is known that there is such a model.
    ask(lane, missing, answer(lane, "again")).assert_served("again", ["first", "second"])
    ask(lane, answer(lane, "more")).assert_served("more", ["second"])
    ask(lane, answer(lane, "other"), model=other_model(lane)).assert_served("other", ["first"])


@both_dialects
def test_a_model_that_no_account_has_is_a_404_after_one_call_each(lane: Lane) -> None:
    missing = error(lane, 404, NOT_FOUND[lane.dialect])
    asked = ask(lane, missing, missing)
    asked.assert_delivered(missing, ["first", "second"])
    # Nobody else can know better, so the next request hears it from upstream too.
    again = ask(lane, missing, missing)
    assert again.status == 404
    assert again.body == missing.body


@both_dialects
def test_a_404_that_is_not_about_the_model_is_delivered_after_one_call(lane: Lane) -> None:
    missing = error(lane, 404, "Requested entity was not found.")
    asked = ask(lane, missing)
    asked.assert_delivered(missing, ["first"])
