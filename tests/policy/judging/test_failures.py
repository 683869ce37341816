import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from antigravity_healing.policy.judging.failures import (
    NEVER_RESOLVED,
    Failure,
    FailureClass,
    bounded,
    classify,
    connection_failure,
)
from antigravity_healing.policy.judging.upstream_hints import header_wait_s
from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.http.headers import Headers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.recorded import Exchange, recorded_params

steady = settings(deadline=None, derandomize=True)
PACIFIC = ZoneInfo("America/Los_Angeles")
NOON = datetime(2026, 11, 22, 12, tzinfo=ZoneInfo("UTC")).timestamp()
GRACE_S = 2.0


def pairs(headers: dict[str, str]) -> Headers:
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def failed(
    status: int | None, body: Any = None, headers: dict[str, str] | None = None, *, wall_s: float = NOON
) -> Failure:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return classify(status, pairs(headers or {}), parse_error(data), grace_s=GRACE_S, wall_s=wall_s)


def anthropic(kind: str, message: str = "m", code: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"type": kind, "message": message}
    return {"type": "error", "error": {**error, "details": {"error_code": code}} if code else error}


def google(code: int, status: str, message: str = "m", *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def exhausted(message: str = "m", *details: Any) -> dict[str, Any]:
    return google(429, "RESOURCE_EXHAUSTED", message, *details)


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota(quota_id: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]}


def reason(name: str, **metadata: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "metadata": metadata}


BAD_SIGNATURE = anthropic("invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block")
BAD_KEY = google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", reason("API_KEY_INVALID"))
EXPIRED_KEY = "API key expired. Please renew the API key."

CLASSES: list[tuple[int | None, Any, FailureClass]] = [
    # The error's own words come before the status.
    (400, BAD_SIGNATURE, FailureClass.SIGNATURE),
    (429, BAD_SIGNATURE, FailureClass.SIGNATURE),
    (500, google(500, "INTERNAL", json.dumps(BAD_SIGNATURE)), FailureClass.SIGNATURE),
    (None, BAD_SIGNATURE, FailureClass.SIGNATURE),
    (400, BAD_KEY, FailureClass.AUTH),
    (400, google(400, "INVALID_ARGUMENT", EXPIRED_KEY, reason("API_KEY_INVALID")), FailureClass.AUTH),
    (400, google(400, "INVALID_ARGUMENT", EXPIRED_KEY), FailureClass.AUTH),
    (400, google(400, "INVALID_ARGUMENT", json.dumps(anthropic("overloaded_error"))), FailureClass.OVERLOADED),
    (502, {"error": {"upstream_error": anthropic("rate_limit_error")}}, FailureClass.RATE_LIMITED),
    (502, {"error": {"upstream_error": anthropic("invalid_request_error")}}, FailureClass.CALLER),
    (200, [google(503, "UNAVAILABLE")], FailureClass.OVERLOADED),
    # Transient.
    *((status, None, FailureClass.TRANSIENT) for status in (408, 499, 500, 502, 504, 520, 599)),
    (499, google(499, "CANCELLED", "The operation was cancelled."), FailureClass.TRANSIENT),
    (500, google(500, "INTERNAL", "An internal error has occurred."), FailureClass.TRANSIENT),
    (504, google(504, "DEADLINE_EXCEEDED"), FailureClass.TRANSIENT),
    (500, anthropic("api_error"), FailureClass.TRANSIENT),
    (504, anthropic("timeout_error"), FailureClass.TRANSIENT),
    (None, anthropic("api_error"), FailureClass.TRANSIENT),
    (None, {"error": {"message": "something broke"}}, FailureClass.TRANSIENT),
    (502, b"<html>Bad Gateway</html>", FailureClass.TRANSIENT),
    # Overloaded.
    (529, anthropic("overloaded_error"), FailureClass.OVERLOADED),
    (None, anthropic("overloaded_error"), FailureClass.OVERLOADED),
    (503, google(503, "UNAVAILABLE", "The model is overloaded."), FailureClass.OVERLOADED),
    (503, None, FailureClass.OVERLOADED),
    (529, None, FailureClass.OVERLOADED),
    # Limits.
    (429, None, FailureClass.RATE_LIMITED),
    (429, anthropic("rate_limit_error"), FailureClass.RATE_LIMITED),
    (429, exhausted("Resource has been exhausted (e.g. check quota)."), FailureClass.RATE_LIMITED),
    (None, anthropic("rate_limit_error"), FailureClass.RATE_LIMITED),
    (429, anthropic("rate_limit_error", code="ramp_limit_exceeded"), FailureClass.RATE_LIMITED),
    (429, exhausted("m", reason("QUOTA_EXHAUSTED")), FailureClass.QUOTA),
    (429, exhausted("m", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")), FailureClass.QUOTA),
    (429, exhausted("Quota exceeded for metric: m, limit: 0, model: gemini-3-pro"), FailureClass.QUOTA),
    (429, exhausted("Quota exceeded for metric: m, limit: 0\nPlease retry in 2s."), FailureClass.QUOTA),
    (429, exhausted("Quota exceeded for metric: m, limit: 50, model: gemini-3-pro"), FailureClass.RATE_LIMITED),
    (429, exhausted("Quota exceeded for metric: m, limit: 0.5"), FailureClass.RATE_LIMITED),
    # Money.
    (402, google(402, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), FailureClass.BILLING),
    (402, None, FailureClass.BILLING),
    (402, anthropic("billing_error"), FailureClass.BILLING),
    (429, anthropic("rate_limit_error", code="enforced_spend_limit_reached"), FailureClass.BILLING),
    (429, anthropic("rate_limit_error", code="contract_spend_limit_reached"), FailureClass.BILLING),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to go on."), FailureClass.BILLING),
    # Who may ask.
    (401, anthropic("authentication_error", "invalid x-api-key"), FailureClass.AUTH),
    (401, google(401, "UNAUTHENTICATED"), FailureClass.AUTH),
    (401, None, FailureClass.AUTH),
    (403, anthropic("permission_error", "Your account has been disabled."), FailureClass.FORBIDDEN),
    (403, anthropic("permission_error"), FailureClass.NOT_THEIRS),
    (403, google(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), FailureClass.FORBIDDEN),
    (403, google(403, "PERMISSION_DENIED", "m", reason("VALIDATION_REQUIRED")), FailureClass.FORBIDDEN),
    (403, b"denied", FailureClass.NOT_THEIRS),
    # The model.
    (404, google(404, "NOT_FOUND", "models/m is not found for API version v1beta"), FailureClass.NO_MODEL),
    (404, anthropic("not_found_error", "model: claude-none"), FailureClass.NO_MODEL),
    # The caller.
    (404, anthropic("not_found_error", "Not found"), FailureClass.CALLER),
    (400, google(400, "INVALID_ARGUMENT", "Request contains an invalid argument."), FailureClass.CALLER),
    (400, google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), FailureClass.CALLER),
    (400, anthropic("invalid_request_error", "max_tokens: Field required"), FailureClass.CALLER),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), FailureClass.CALLER),
    *((status, None, FailureClass.CALLER) for status in (400, 405, 409, 410, 413, 415, 422, 418, 451)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), CLASSES)
def test_the_class_of_each_error(status: int | None, body: Any, kind: FailureClass) -> None:
    assert failed(status, body).kind is kind


@pytest.mark.parametrize("recorded", recorded_params(lambda exchange: exchange.status >= 400))
def test_a_recorded_error_was_the_callers(recorded: Exchange) -> None:
    expected = FailureClass.NO_MODEL if recorded.status == 404 else FailureClass.CALLER
    failure = failed(recorded.status, recorded.response_body, recorded.response_headers)
    assert (failure.kind, failure.status) == (expected, recorded.status)


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (429, None, 429),
        (400, BAD_SIGNATURE, 400),
        (429, BAD_SIGNATURE, 429),
        (400, BAD_KEY, 400),
        (None, anthropic("overloaded_error"), 529),
        (None, anthropic("rate_limit_error"), 429),
        (200, [google(503, "UNAVAILABLE")], 503),
        (None, {"error": {}}, 502),
    ],
)
def test_the_status_told_is_upstreams_else_the_errors(status: int | None, body: Any, shown: int) -> None:
    assert failed(status, body).status == shown


def test_the_detail_says_what_upstream_said_in_one_line() -> None:
    assert failed(529, anthropic("overloaded_error", "Overloaded")).detail == "529 overloaded_error: Overloaded"
    assert failed(None, None).detail


@pytest.mark.parametrize(
    ("headers", "body", "kind", "wait_s"),
    [
        ({"retry-after": "1"}, None, FailureClass.RATE_LIMITED, 1.0),
        ({"retry-after": "2"}, None, FailureClass.RATE_LIMITED, 2.0),
        ({"retry-after": "2.5"}, None, FailureClass.QUOTA, 2.5),
        ({"retry-after": "0"}, None, FailureClass.RATE_LIMITED, 0.0),
        ({"retry-after-ms": "300", "retry-after": "60"}, None, FailureClass.RATE_LIMITED, 0.3),
        ({"retry-after": "Sun, 22 Nov 2026 12:01:00 GMT"}, None, FailureClass.QUOTA, 60.0),
        ({}, exhausted("m", retry_info("1.5s")), FailureClass.RATE_LIMITED, 1.5),
        ({}, exhausted("m", retry_info("45.837906927s")), FailureClass.QUOTA, 45.837906927),
        ({}, exhausted("Please retry in 45.8s."), FailureClass.QUOTA, 45.8),
        ({"retry-after": "1"}, exhausted("Please retry in 45.8s."), FailureClass.RATE_LIMITED, 1.0),
        ({}, exhausted("m", reason("QUOTA_EXHAUSTED", quotaResetDelay="1h"), retry_info("9s")), FailureClass.QUOTA, 9),
        ({}, exhausted("m", reason("QUOTA_EXHAUSTED", quotaResetDelay="108h48m20.795762633s")), FailureClass.QUOTA,
         391700.795762633),
        ({}, exhausted("m", retry_info("391609.795772632s")), FailureClass.QUOTA, 391609.795772632),
    ],
)  # fmt: skip
def test_a_limit_up_to_the_grace_is_waited_for_and_a_longer_one_is_a_quota(
    headers: dict[str, str], body: Any, kind: FailureClass, wait_s: float
) -> None:
    failure = failed(429, body, headers)
    assert failure.kind is kind
    assert failure.wait_s == pytest.approx(wait_s)
    assert failure.stay is (kind is FailureClass.RATE_LIMITED)


def test_a_limit_without_a_hint_neither_names_a_wait_nor_stays() -> None:
    failure = failed(429, exhausted("Resource has been exhausted (e.g. check quota)."))
    assert (failure.wait_s, failure.stay) == (None, False)


def test_a_ramp_is_waited_for_on_the_same_account_however_long() -> None:
    failure = failed(429, anthropic("rate_limit_error", code="ramp_limit_exceeded"), {"retry-after": "7"})
    assert (failure.kind, failure.wait_s, failure.stay) == (FailureClass.RATE_LIMITED, 7.0, True)


def test_a_model_outside_of_the_tier_is_never_waited_for() -> None:
    failure = failed(429, exhausted("Quota exceeded, limit: 0. Please retry in 1s.", retry_info("1s")))
    assert (failure.kind, failure.wait_s) == (FailureClass.QUOTA, None)


@pytest.mark.parametrize(
    ("claim", "whole_account"), [("five_hour", True), ("seven_day", True), ("7d_oi", False), ("", True)]
)
def test_a_rejected_plan_is_out_until_its_reset(claim: str, whole_account: bool) -> None:
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(NOON) + 5400),
        "retry-after": "1",
    }
    if claim:
        headers["anthropic-ratelimit-unified-representative-claim"] = claim
    failure = failed(429, anthropic("rate_limit_error"), headers)
    assert (failure.kind, failure.wait_s, failure.whole_account) == (FailureClass.QUOTA, 5400.0, whole_account)


def test_a_plan_that_allows_is_no_quota() -> None:
    headers = {"anthropic-ratelimit-unified-status": "allowed", "anthropic-ratelimit-unified-reset": "9999999999"}
    assert failed(429, anthropic("rate_limit_error"), headers).kind is FailureClass.RATE_LIMITED


@pytest.mark.parametrize("status", [503, 529])
def test_an_overload_with_a_hint_keeps_it(status: int) -> None:
    assert failed(status, None, {"retry-after": "5"}).wait_s == 5.0
    assert failed(status, google(503, "UNAVAILABLE", "m", retry_info("3s"))).wait_s == 3.0
    assert failed(status).wait_s is None


DAYS = [
    # What the clock in California says, and how long until its next midnight.
    (datetime(2026, 11, 22, 4, 0, tzinfo=PACIFIC), 20 * 3600),
    (datetime(2026, 11, 22, 0, 0, 1, tzinfo=PACIFIC), 24 * 3600 - 1),
    (datetime(2026, 11, 22, 23, 59, 59, tzinfo=PACIFIC), 1),
    (datetime(2026, 7, 1, 12, 0, tzinfo=PACIFIC), 12 * 3600),
    # An hour is missing on this day, and one is twice on the other.
    (datetime(2026, 3, 8, 1, 0, tzinfo=PACIFIC), 22 * 3600),
    (datetime(2026, 11, 1, 0, 30, tzinfo=PACIFIC), 24.5 * 3600),
    (datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=PACIFIC), 22.5 * 3600 + 0),
    (datetime(2026, 12, 31, 23, 0, tzinfo=PACIFIC), 3600),
]


@pytest.mark.parametrize(("at", "seconds"), DAYS)
def test_a_daily_quota_lasts_until_midnight_in_california(at: datetime, seconds: float) -> None:
    body = exhausted("m", quota("GenerateRequestsPerDayPerProjectPerModel"), retry_info("0.3s"))
    failure = failed(429, body, wall_s=at.timestamp())
    assert failure.kind is FailureClass.QUOTA
    assert failure.wait_s == pytest.approx(seconds)


@steady
@given(st.floats(1.6e9, 2.2e9))
def test_the_next_midnight_is_at_most_25_hours_away(wall_s: float) -> None:
    wait_s = failed(429, exhausted("m", quota("PerDay")), wall_s=wall_s).wait_s
    assert wait_s is not None
    assert 0 < wait_s <= 25 * 3600
    # A microsecond more, for what a float of seconds since 1970 can't say.
    there = datetime.fromtimestamp(wall_s + wait_s + 1e-6, PACIFIC)
    assert (there.hour, there.minute, there.second) == (0, 0, 0)


RESET = "anthropic-ratelimit-{}-reset"
LEFT = "anthropic-ratelimit-{}-remaining"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"Retry-After": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "4"}, 4.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 04:00:30 -0800"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
        ({LEFT.format("tokens"): "0", RESET.format("tokens"): "2026-11-22T12:00:20Z"}, 20.0),
        ({LEFT.format("tokens"): "0", RESET.format("tokens"): "2026-11-22T13:00:20+01:00"}, 20.0),
        ({LEFT.format("tokens"): "5", RESET.format("tokens"): "2026-11-22T12:00:20Z"}, None),
        ({LEFT.format("tokens"): "0", RESET.format("tokens"): "later"}, None),
        ({LEFT.format("tokens"): "0"}, None),
        (
            {
                LEFT.format("tokens"): "0",
                RESET.format("tokens"): "2026-11-22T12:00:20Z",
                LEFT.format("requests"): "0",
                RESET.format("requests"): "2026-11-22T12:00:50Z",
                LEFT.format("input-tokens"): "9",
                RESET.format("input-tokens"): "2026-11-22T12:09:00Z",
            },
            50.0,
        ),
        ({"retry-after": "1", LEFT.format("tokens"): "0", RESET.format("tokens"): "2026-11-22T12:00:20Z"}, 1.0),
    ],
)
def test_the_wait_that_headers_ask_for(headers: dict[str, str], wait_s: float | None) -> None:
    assert header_wait_s(pairs(headers), NOON) == (None if wait_s is None else pytest.approx(wait_s, abs=1e-6))


values = st.text(max_size=12) | st.sampled_from(
    ["Mon, 01 Jan 0001 00:00:00 -2359", "31 Dec 9999 23:59:59 -0000", "Thu, 01 Jan 1970 00:00:00 -0000", "1e308",
     "-1e308", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59", "0", "99999999999999999999", "1_0", "2026-W01"]
)  # fmt: skip
limit_headers = st.dictionaries(
    st.sampled_from(
        ["retry-after", "retry-after-ms", "anthropic-ratelimit-unified-status", "anthropic-ratelimit-unified-reset",
         "anthropic-ratelimit-unified-representative-claim", LEFT.format("tokens"), RESET.format("tokens")]
    ),
    values | st.just("rejected"),
)  # fmt: skip


@settings(steady, max_examples=examples(200))
@given(st.sampled_from([400, 429, 503]), limit_headers, st.sampled_from([None, exhausted("m", quota("PerDay"))]))
def test_no_header_makes_it_raise_and_every_wait_is_finite(status: int, headers: dict[str, str], body: Any) -> None:
    encoded = tuple((name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items())
    error = parse_error(json.dumps(body).encode())
    wait_s = classify(status, encoded, error, grace_s=GRACE_S, wall_s=NOON).wait_s
    assert wait_s is None or 0 <= wait_s < float("inf")


def test_a_signature_that_upstream_quotes_is_in_no_message_of_ours() -> None:
    signature = "c2lnbmF0dXJl" * 10
    field = "contents[1].parts[0].thought_signature"
    message = f"Invalid value at '{field}' (TYPE_BYTES), Base64 decoding failed for \"{signature}\""
    failure = failed(400, google(400, "INVALID_ARGUMENT", message))
    assert failure.kind is FailureClass.SIGNATURE
    assert "[signature]" in failure.detail
    assert "c2lnbmF0" not in failure.detail


HOUR_S = 3600.0
YEAR_S = 365 * 24 * HOUR_S
LIMITS = Limits()
FAR = [
    {"retry-after": "99999999999"},
    {"retry-after": "1e300"},
    {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"},
    {"retry-after": str(int(NOON + YEAR_S))},
    {"retry-after-ms": "1e300"},
    {"retry-after-ms": str(int((NOON + YEAR_S) * 1000))},
    {LEFT.format("tokens"): "0", RESET.format("tokens"): "9999-12-31T23:59:59Z"},
]
UNIFIED = {
    "anthropic-ratelimit-unified-status": "rejected",
    "anthropic-ratelimit-unified-representative-claim": "seven_day",
}


@pytest.mark.parametrize("headers", FAR, ids=str)
def test_a_header_may_not_ask_for_more_than_a_day(headers: dict[str, str]) -> None:
    assert bounded(failed(429, None, headers), LIMITS).wait_s == LIMITS.hint_seconds
    assert bounded(failed(503, None, headers), LIMITS).wait_s == LIMITS.hint_seconds


@pytest.mark.parametrize("text", ["999999999999999s", "999999999999999h", "8760h"])
def test_a_body_may_not_ask_for_more_than_a_day_or_where_it_names_the_quota_a_week(text: str) -> None:
    for body in (retry_info(text), reason("RATE_LIMIT_EXCEEDED", quotaResetDelay=text)):
        assert bounded(failed(429, exhausted("m", body)), LIMITS).wait_s == LIMITS.hint_seconds
        named = exhausted("m", quota("PerWeek"), body)
        assert bounded(failed(429, named), LIMITS).wait_s == LIMITS.quota_hint_seconds
    said = exhausted(f"Please retry in {text}.")
    assert bounded(failed(429, said), LIMITS).wait_s == LIMITS.hint_seconds
    used_up = exhausted("m", reason("QUOTA_EXHAUSTED", quotaResetDelay=text))
    assert bounded(failed(429, used_up), LIMITS).wait_s == LIMITS.quota_hint_seconds


@pytest.mark.parametrize("reset", ["99999999999", "1e300", str(int(NOON + YEAR_S))])
def test_a_plan_may_not_be_out_for_more_than_a_week(reset: str) -> None:
    headers = {**UNIFIED, "anthropic-ratelimit-unified-reset": reset}
    assert bounded(failed(429, None, headers), LIMITS).wait_s == LIMITS.quota_hint_seconds


def test_honest_waits_of_days_stay_as_they_are() -> None:
    headers = {**UNIFIED, "anthropic-ratelimit-unified-reset": str(int(NOON + 100 * HOUR_S))}
    assert bounded(failed(429, None, headers), LIMITS).wait_s == 100 * HOUR_S
    assert bounded(failed(429, None, {"retry-after": "86400"}), LIMITS).wait_s == 86400.0


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": str(int(NOON) + 90)}, 90.0),
        ({"retry-after": str(int(NOON) - 90)}, 0.0),
        ({"retry-after-ms": str((int(NOON) + 90) * 1000)}, 90.0),
        ({"retry-after": "999999999"}, 999999999.0),
        # The clock of upstream is an hour behind ours, and then a year before it.
        ({"date": "Sun, 22 Nov 2026 11:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 11:00:30 GMT"}, 30.0),
        ({"date": "Mon, 22 Nov 2027 12:00:00 GMT", "retry-after": "Mon, 22 Nov 2027 12:00:30 GMT"}, 30.0),
        ({"date": "Sun, 22 Nov 2026 11:00:00 GMT", "retry-after": str(int(NOON - HOUR_S) + 30)}, 30.0),
        (
            {
                "date": "Sun, 22 Nov 2026 11:00:00 GMT",
                LEFT.format("tokens"): "0",
                RESET.format("tokens"): "2026-11-22T11:00:30Z",
            },
            30.0,
        ),
        # What is no clock is not believed.
        ({"date": "Fri, 31 Dec 9999 23:59:59 GMT", "retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"date": "Thu, 01 Jan 1970 00:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"date": "yesterday", "retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
    ],
)
def test_dates_are_meant_by_the_clock_of_who_names_them(headers: dict[str, str], wait_s: float) -> None:
    assert failed(429, None, headers).wait_s == pytest.approx(wait_s)


def test_a_daily_quota_ends_by_upstreams_clock() -> None:
    body = exhausted("m", quota("PerDay"))
    # An hour before midnight in California, as upstream says; here it is noon in London.
    assert failed(429, body, {"date": "Sun, 22 Nov 2026 07:00:00 GMT"}).wait_s == HOUR_S


@settings(steady, max_examples=examples(200))
@given(st.sampled_from([429, 503, 529]), limit_headers, st.sampled_from(["", "Fri, 31 Dec 9999 23:59:59 GMT"]))
def test_whatever_an_upstream_asks_for_is_between_nothing_and_a_week(
    status: int, headers: dict[str, str], at: str
) -> None:
    encoded = tuple((name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items())
    encoded += ((b"date", at.encode()),)
    failure = classify(status, encoded, parse_error(b""), grace_s=GRACE_S, wall_s=NOON)
    wait_s = bounded(failure, LIMITS).wait_s
    assert wait_s is None or 0 <= wait_s <= LIMITS.quota_hint_seconds


@steady
@given(st.text(max_size=40))
def test_a_connection_fails_for_some_reason_whatever_is_said_of_it(why: str) -> None:
    assert connection_failure(why).kind is FailureClass.TRANSPORT
    assert connection_failure(f"[Errno 24] {why.replace('[', '')}").kind is FailureClass.LOCAL


def test_a_name_that_was_never_resolved_is_waited_for_a_few_times_where_a_person_has_written_it() -> None:
    why = f"[Errno -2] Name or service not known: the name typo.example can't be resolved, {NEVER_RESOLVED}"
    found = connection_failure(why, "typo.example", "upstreams.u.url")
    assert (found.kind, found.most_waits) == (FailureClass.TRANSPORT, 3)
    assert found.detail == f"{why}: check the name in upstreams.u.url"
    for host, setting in (("typo.example", ""), ("another.example", "upstreams.u.url")):
        assert connection_failure(why, host, setting) == Failure(FailureClass.TRANSPORT, why)
