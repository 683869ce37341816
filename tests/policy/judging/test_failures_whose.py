"""Whose fault a refusal is: the caller's, the account's, or nobody's, as the thing lies with another account."""

from typing import Any

import pytest
from antigravity_healing.policy.judging.failures import FailureClass, about_things, outgrown

from tests.policy.judging.test_failures import anthropic, exhausted, failed, google, quota, reason, retry_info

INPUT_TOKENS = "GenerateContentPaidTierInputTokensPerModelPerMinute"
CALLERS = {
    "413 with a gateway's type": (413, anthropic("api_error", "Payload too large")),
    "422 with a gateway's type": (422, anthropic("api_error", "Unprocessable")),
    "422 UNKNOWN": (422, {"error": {"code": 422, "message": "m", "status": "UNKNOWN"}}),
    "400 with a gateway's type": (400, anthropic("api_error", "tools.0: bad")),
    "too large for a minute": (429, anthropic("rate_limit_error", "Request too large for m on tokens per min")),
}
THINGS = {
    "a file of another project": (
        403,
        google(403, "PERMISSION_DENIED", "You do not have permission to access the File abc or it may not exist."),
    ),
    "a file": (404, anthropic("not_found_error", "File not found: file_011CNha8iCJcU1wXNR6q4V8w")),
    "a cache": (403, google(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)")),
    "a cache that mentions a model": (404, google(404, "NOT_FOUND", "CachedContent of models/m not found")),
    "a container": (404, anthropic("not_found_error", "Container container_011CNha8iCJ was not found")),
    "a batch": (404, anthropic("not_found_error", "Message batch with id msgbatch_013Zva2CMHLN not found.")),
    "something": (
        403,
        anthropic("permission_error", "Your API key does not have permission to use the specified resource."),
    ),
    "a file in a 400": (400, anthropic("invalid_request_error", "messages.0: file_011CNha8iCJcU1w does not exist")),
}
ACCOUNTS = {
    "project": google(403, "PERMISSION_DENIED", "Your project has been denied access. Please contact support."),
    "organization": anthropic("permission_error", "OAuth authentication is not allowed for this organization."),
    "consumer": google(403, "PERMISSION_DENIED", "Permission denied: Consumer 'api_key:x' has been suspended."),
    "reason": google(403, "PERMISSION_DENIED", "File not found", reason("SERVICE_DISABLED")),
}


@pytest.mark.parametrize("name", CALLERS)
def test_an_explicit_4xx_whose_words_say_nothing_else_is_the_callers(name: str) -> None:
    status, body = CALLERS[name]
    failure = failed(status, body)
    assert (failure.kind, failure.status) == (FailureClass.CALLER, status)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, anthropic("overloaded_error"), FailureClass.OVERLOADED),
        (413, google(503, "UNAVAILABLE"), FailureClass.OVERLOADED),
        (400, anthropic("timeout_error"), FailureClass.TRANSIENT),
        (401, anthropic("api_error"), FailureClass.AUTH),
        (429, anthropic("api_error"), FailureClass.RATE_LIMITED),
        (408, anthropic("api_error"), FailureClass.TRANSIENT),
        (500, anthropic("api_error"), FailureClass.TRANSIENT),
        (None, anthropic("api_error"), FailureClass.TRANSIENT),
        (422, anthropic("rate_limit_error"), FailureClass.RATE_LIMITED),
    ],
)
def test_words_that_say_more_than_a_status_count(status: int | None, body: Any, kind: FailureClass) -> None:
    assert failed(status, body).kind is kind


@pytest.mark.parametrize("name", THINGS)
def test_what_lies_with_another_account_says_nothing_of_this_one(name: str) -> None:
    status, body = THINGS[name]
    failure = failed(status, body)
    assert (failure.kind, failure.status, failure.blameless) == (FailureClass.NOT_THEIRS, status, True)


@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_403_about_key_project_or_organization_is_the_accounts(name: str) -> None:
    assert failed(403, ACCOUNTS[name]).kind is FailureClass.FORBIDDEN


@pytest.mark.parametrize(
    "message",
    [
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01",
        "tools.0.input_schema: property 'file' not found in 'required'",
        "File type is not supported",
    ],
)
def test_a_400_that_has_the_word_for_a_thing_stays_the_callers(message: str) -> None:
    assert failed(400, anthropic("invalid_request_error", message)).kind is FailureClass.CALLER


def test_a_404_of_few_words_is_about_the_things_that_the_request_names() -> None:
    bare = failed(404, google(404, "NOT_FOUND", "Requested entity was not found."))
    assert bare.kind is FailureClass.CALLER
    assert about_things(bare).kind is FailureClass.NOT_THEIRS
    model = failed(404, google(404, "NOT_FOUND", "models/m is not found for API version v1beta"))
    bad = failed(400, anthropic("invalid_request_error", "max_tokens: Field required"))
    for other in (model, bad, failed(401), failed(403, ACCOUNTS["project"])):
        assert about_things(other) is other


def violation(quota_id: str, value: Any) -> dict[str, Any]:
    return {
        "violations": [
            {"quotaId": "GenerateRequestsPerMinute", "quotaValue": "5"},
            {"quotaId": quota_id, "quotaValue": value},
        ]
    }


LIMITS: dict[str, tuple[Any, dict[str, str]]] = {
    "QuotaFailure": (exhausted("m", violation(INPUT_TOKENS, "1000000"), retry_info("48s")), {}),
    "QuotaFailure with a number": (exhausted("m", violation(INPUT_TOKENS, 1000000)), {}),
    "ErrorInfo": (exhausted("m", reason("X", quota_limit="InputTokensPerMinute", quota_limit_value="1000000")), {}),
    "Google's words": (
        exhausted("* Quota exceeded for metric: x.com/generate_content_paid_tier_input_token_count, limit: 1000000"),
        {},
    ),
    "Anthropic's words": (anthropic("rate_limit_error", "your rate limit of 1,000,000 input tokens per minute."), {}),
    "Anthropic's header": (anthropic("rate_limit_error"), {"anthropic-ratelimit-input-tokens-limit": "1000000"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_a_request_that_alone_is_more_than_the_limit_is_the_callers_and_a_smaller_one_is_not(name: str) -> None:
    failure = failed(429, *LIMITS[name])
    assert failure.kind is not FailureClass.CALLER
    assert outgrown(failure, lambda: 1_000_000) is failure
    caller = outgrown(failure, lambda: 1_000_001)
    assert (caller.kind, caller.status) == (FailureClass.CALLER, 429)


@pytest.mark.parametrize(
    "body",
    [
        exhausted("m", quota(INPUT_TOKENS)),
        exhausted("m", violation("GenerateRequestsPerMinute", "5")),
        exhausted("m", violation(INPUT_TOKENS, "0")),
        exhausted("m", violation(INPUT_TOKENS, "9" * 5000)),
        exhausted("m", violation(INPUT_TOKENS, ["1"])),
        None,
    ],
)
def test_what_limits_no_input_tokens_makes_no_request_too_large(body: Any) -> None:
    failure = failed(429, body)
    assert outgrown(failure, lambda: 10**12) is failure


def test_a_plan_that_is_used_up_is_no_matter_of_the_requests_size() -> None:
    headers = {"anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-input-tokens-limit": "5"}
    failure = failed(429, anthropic("rate_limit_error"), headers)
    assert outgrown(failure, lambda: 10**9) is failure
