"""Whose fault a refusal is: the caller's, the account's, one model's, or nobody's."""

import time
from collections.abc import Callable, Mapping

import orjson
import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.failures import (
    answer,
    ask,
    error,
    healthy_accounts,
    other_model,
    with_and_without_stream,
)
from tests.support import raw
from tests.upstream import (
    Reply,
    anthropic_error,
    anthropic_error_event,
    anthropic_start,
    error_info,
    gemini_error,
    quota_failure,
    retry_info,
)

only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)
JSON = {"content-type": "application/json"}
INPUT_TOKENS = "GenerateContentPaidTierInputTokensPerModelPerMinute"
HOUR_S = 3600
UNIFIED = "anthropic-ratelimit-unified-"
UNKNOWN = orjson.dumps({"error": {"code": 422, "message": "It can't be read.", "status": "UNKNOWN"}})
CALLERS: dict[str, tuple[str, Reply]] = {
    "413": ("anthropic", anthropic_error(413, "api_error", "Payload too large")),
    "422": ("anthropic", anthropic_error(422, "api_error", "Unprocessable entity")),
    "400": ("anthropic", anthropic_error(400, "api_error", "tools.0: this is no tool")),
    "422 UNKNOWN": ("gemini", Reply(422, JSON, UNKNOWN)),
    "429 too large": (
        "anthropic",
        anthropic_error(429, "rate_limit_error", "Request too large for claude-x", headers={"retry-after": "48"}),
    ),
    "429 too large of Google": ("gemini", gemini_error(429, None, "Request too large.", details=[retry_info("48s")])),
}
THINGS: dict[str, tuple[str, Reply]] = {
    "file": ("anthropic", anthropic_error(404, "not_found_error", "File not found: file_011CNha8iCJcU1wX")),
    "specified resource": (
        "anthropic",
        anthropic_error(
            403, "permission_error", "Your API key does not have permission to use the specified resource."
        ),
    ),
    "Google's file": (
        "gemini",
        gemini_error(403, None, "You do not have permission to access the File abc or it may not exist."),
    ),
    "cache": ("gemini", gemini_error(403, None, "CachedContent not found (or permission denied)")),
}


def of_lane(cases: Mapping[str, tuple[str, Reply]]) -> pytest.MarkDecorator:
    """The cases, each in a lane of its dialect."""
    return pytest.mark.parametrize(
        ("lane", "reply"),
        [pytest.param(dialect, reply, id=name) for name, (dialect, reply) in cases.items()],
        indirect=["lane"],
    )


@of_lane(CALLERS)
@with_and_without_stream
def test_what_is_the_callers_is_delivered_after_one_call_and_benches_nobody(
    lane: Lane, reply: Reply, stream: bool
) -> None:
    asked = ask(lane, reply, stream=stream)
    asked.assert_delivered(reply, ["first"])
    assert healthy_accounts(lane) == {"first": True, "second": True}


@both_dialects
@with_and_without_stream
def test_words_that_say_more_than_a_4xx_are_tried_again(lane: Lane, stream: bool) -> None:
    busy = anthropic_error(400, "overloaded_error", "Overloaded")
    if lane.dialect == "gemini":
        busy = gemini_error(400, "UNAVAILABLE", "The model is overloaded.")
    asked = ask(lane, busy, answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "first"])


def tokens_a_minute(value: int) -> Reply:
    """A refusal for more input tokens than the account has a minute."""
    quota = quota_failure(INPUT_TOKENS)
    quota["violations"][0]["quotaValue"] = str(value)
    return gemini_error(429, None, "You exceeded your current quota.", details=[quota, retry_info("48s")])


def limit_of(value: int) -> Reply:
    headers = {"anthropic-ratelimit-input-tokens-limit": str(value), "retry-after": "48"}
    return anthropic_error(429, "rate_limit_error", "This request would exceed your rate limit.", headers=headers)


LIMITS: dict[str, Callable[[int], Reply]] = {"anthropic": limit_of, "gemini": tokens_a_minute}


@both_dialects
@with_and_without_stream
def test_a_request_that_alone_exceeds_the_limit_is_the_callers_and_a_small_one_beside_it_is_served(
    lane: Lane, stream: bool
) -> None:
    refusal = LIMITS[lane.dialect](10)
    asked = ask(lane, refusal, stream=stream)
    asked.assert_delivered(refusal, ["first"])
    assert healthy_accounts(lane) == {"first": True, "second": True}
    ask(lane, answer(lane, "small", stream=stream), stream=stream).assert_served("small", ["first"])


@both_dialects
@with_and_without_stream
def test_a_limit_that_others_have_used_up_moves_a_request_that_would_fit(lane: Lane, stream: bool) -> None:
    asked = ask(lane, LIMITS[lane.dialect](1_000_000), answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    assert healthy_accounts(lane) == {"first": False, "second": True}


@only_gemini
def test_a_picture_does_not_make_a_request_larger_than_the_limit(lane: Lane) -> None:
    lane.upstream.play(tokens_a_minute(1000), answer(lane))
    picture = {"inlineData": {"mimeType": "image/png", "data": "A" * 40_000}}
    body = {"contents": [{"role": "user", "parts": [picture, {"text": "What is it?"}]}]}
    url = f"{lane.proxy.url}/v1beta/models/{lane.model}:streamGenerateContent?alt=sse"
    response = raw.request("POST", url, body, {})
    assert response.status == 200
    assert [lane.account_of(call) for call in lane.calls] == list(lane.accounts)


@pytest.mark.covering(1)
@of_lane(THINGS)
@with_and_without_stream
def test_what_is_not_theirs_goes_to_the_next_account_and_benches_nobody(lane: Lane, reply: Reply, stream: bool) -> None:
    for _ in range(4):
        asked = ask(lane, reply, answer(lane, stream=stream), stream=stream)
        asked.assert_served("Hello", ["first", "second"])
        assert healthy_accounts(lane) == {"first": True, "second": True}


@of_lane(THINGS)
def test_what_is_nobodys_is_told_in_upstreams_last_words(lane: Lane, reply: Reply) -> None:
    asked = ask(lane, reply, reply)
    asked.assert_delivered(reply, ["first", "second"])
    assert healthy_accounts(lane) == {"first": True, "second": True}


@both_dialects
def test_a_403_about_the_organization_or_project_is_the_accounts(lane: Lane) -> None:
    message = "Your organization has disabled this." if lane.dialect == "anthropic" else "Project 7 has been suspended."
    ask(lane, error(lane, 403, message), answer(lane)).assert_served("Hello", ["first", "second"])
    assert healthy_accounts(lane) == {"first": False, "second": True}


@both_dialects
def test_a_403_that_says_nothing_moves_on_and_only_the_third_in_a_row_keeps_away(lane: Lane) -> None:
    for number in range(3):
        asked = ask(lane, error(lane, 403, "No."), answer(lane))
        asked.assert_served("Hello", ["first", "second"])
        assert healthy_accounts(lane)["first"] is (number < 2)


def windows(**told: str) -> dict[str, str]:
    """The unified headers of a refusal: the status of each window, and resets in an hour."""
    found = {f"{UNIFIED}status": "rejected", f"{UNIFIED}representative-claim": "seven_day_overage_included"}
    found[f"{UNIFIED}reset"] = str(int(time.time()) + 29 * 24 * HOUR_S)
    for name, status in told.items():
        window = name.removeprefix("w")
        found[f"{UNIFIED}{window}-status"] = status
        found[f"{UNIFIED}{window}-reset"] = str(int(time.time()) + HOUR_S)
        found[f"{UNIFIED}{window}-utilization"] = "1.0" if status == "rejected" else "0.3"
    return found


@with_and_without_stream
def test_a_rejected_window_of_one_model_keeps_that_model_away_until_its_own_reset(lane: Lane, stream: bool) -> None:
    refusal = error(lane, 429, "Used up.", headers=windows(w5h="allowed", w7d="allowed", w7d_oi="rejected"))
    asked = ask(lane, refusal, answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    assert_cools(lane, "first", HOUR_S)
    ask(lane, answer(lane, "same")).assert_served("same", ["second"])
    ask(lane, answer(lane, "other"), model=other_model(lane)).assert_served("other", ["first"])


def test_a_rejected_window_of_the_account_keeps_all_models_away(lane: Lane) -> None:
    refusal = error(lane, 429, "Used up.", headers=windows(w5h="rejected", w7d="allowed", w7d_oi="allowed"))
    ask(lane, refusal, answer(lane)).assert_served("Hello", ["first", "second"])
    assert_cools(lane, "first", HOUR_S)
    ask(lane, answer(lane, "other"), model=other_model(lane)).assert_served("other", ["second"])


@pytest.mark.parametrize("status", [400, 429])
@with_and_without_stream
def test_credit_that_a_model_needs_keeps_that_model_away_only(lane: Lane, status: int, stream: bool) -> None:
    details = {"error_code": "credits_required"}
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    refusal = anthropic_error(status, kind, "Extra usage is required.", details=details)
    asked = ask(lane, refusal, answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    ask(lane, answer(lane, "same")).assert_served("same", ["second"])
    ask(lane, answer(lane, "other"), model=other_model(lane)).assert_served("other", ["first"])


SAID = "You have exhausted your capacity on this model. Your quota will reset after 2h33m16s."


@only_gemini
@with_and_without_stream
def test_a_quota_that_says_when_it_resets_is_waited_for_elsewhere(lane: Lane, stream: bool) -> None:
    asked = ask(lane, error(lane, 429, SAID), answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    assert_cools(lane, "first", 2 * HOUR_S + 33 * 60 + 16)


@only_gemini
def test_a_daily_quota_that_the_metadata_names_outlasts_the_short_hint_beside_it(lane: Lane) -> None:
    named = error_info("RATE_LIMIT_EXCEEDED", quota_limit="Gemini25ProRequestsPerDay")
    refusal = error(lane, 429, "Quota exceeded.", details=[named, retry_info("0.2s")])
    ask(lane, refusal, answer(lane)).assert_served("Hello", ["first", "second"])
    minute = error_info("RATE_LIMIT_EXCEEDED", quota_limit="Gemini25ProRequestsPerMinute")
    asked = ask(
        lane,
        error(lane, 429, "Quota exceeded.", details=[minute, retry_info("0.2s")]),
        answer(lane),
        model=other_model(lane),
    )
    asked.assert_served("Hello", ["first", "first"])


def test_a_limit_that_a_stream_tells_before_its_content_is_read_as_well(lane: Lane) -> None:
    told = anthropic_error_event("rate_limit_error", "your rate limit of 5 input tokens per minute")
    refusal = Reply(200, {"content-type": "text/event-stream"}, chunks=[anthropic_start(), told])
    asked = ask(lane, refusal)
    assert asked.accounts == ["first"]
    assert healthy_accounts(lane) == {"first": True, "second": True}


def assert_cools(lane: Lane, place: str, seconds: float) -> None:
    """The account of this place is kept away for so long, but for the time that the test has taken."""
    name = lane.accounts[("first", "second").index(place)]
    [found] = [each for each in lane.proxy.health()["accounts"] if each["name"] == name]
    [bench] = found["benches"]
    assert seconds - 600 < bench["seconds_left"] <= seconds + 1
