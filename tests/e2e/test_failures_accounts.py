"""What an account is refused for: it is benched, and the other one serves."""

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.failures import answer, ask, empty, error, healthy_accounts, other_model, with_and_without_stream
from tests.upstream import Reply, anthropic_error, error_info, gemini_error

only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)
REFUSALS = {
    "401": ("anthropic", anthropic_error(401, "authentication_error", "invalid x-api-key")),
    "402": ("anthropic", anthropic_error(402, "billing_error", "Your account has a past due invoice.")),
    "403": ("anthropic", anthropic_error(403, "permission_error", "Your account has been disabled.")),
    "enforced spend limit": (
        "anthropic",
        anthropic_error(
            429, "rate_limit_error", "Spend limit reached.", details={"error_code": "enforced_spend_limit_reached"}
        ),
    ),
    "contract spend limit": (
        "anthropic",
        anthropic_error(
            429,
            "rate_limit_error",
            "Spend limit reached.",
            headers={"retry-after": "1"},
            details={"error_code": "contract_spend_limit_reached"},
        ),
    ),
    "google 401": ("gemini", gemini_error(401, None, "Request had invalid authentication credentials.")),
    "google 402": ("gemini", gemini_error(402, None, "Your prepaid credit is used up.")),
    "google 403": (
        "gemini",
        gemini_error(403, None, "Your API key was reported as leaked. Please use another API key."),
    ),
    "VALIDATION_REQUIRED": (
        "gemini",
        gemini_error(403, None, "Verify your account.", details=[error_info("VALIDATION_REQUIRED")]),
    ),
    "API_KEY_INVALID": (
        "gemini",
        gemini_error(
            400,
            None,
            "API key not valid. Please pass a valid API key.",
            details=[error_info("API_KEY_INVALID", service="generativelanguage.googleapis.com")],
        ),
    ),
    "expired key": (
        "gemini",
        gemini_error(400, None, "API key expired. Please renew the API key.", details=[error_info("API_KEY_INVALID")]),
    ),
}
each_refusal = pytest.mark.parametrize(
    ("lane", "refusal"),
    [pytest.param(dialect, reply, id=name) for name, (dialect, reply) in REFUSALS.items()],
    indirect=["lane"],
)


@pytest.mark.covering(1)
@each_refusal
@with_and_without_stream
def test_an_account_that_is_refused_is_benched_and_the_other_serves_at_once(
    lane: Lane, refusal: Reply, stream: bool
) -> None:
    asked = ask(lane, refusal, answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    assert " in " not in asked.retry_lines()[0].rpartition("retrying...")[2]
    assert healthy_accounts(lane) == {"first": False, "second": True}
    ask(lane, answer(lane, "again")).assert_served("again", ["second"])
    # It is the account that was refused, not the model.
    ask(lane, answer(lane, "other"), model=other_model(lane)).assert_served("other", ["second"])


@each_refusal
def test_when_every_account_is_refused_the_client_gets_upstreams_own_answer(lane: Lane, refusal: Reply) -> None:
    asked = ask(lane, refusal, refusal)
    asked.assert_delivered(refusal, ["first", "second"])


@both_dialects
def test_accounts_that_were_refused_are_asked_again_when_there_is_no_other(lane: Lane) -> None:
    """Only upstream's own hints make asking pointless: a key may have been mended meanwhile."""
    refusal = error(lane, 401, "invalid key")
    ask(lane, refusal, refusal)
    assert healthy_accounts(lane) == {"first": False, "second": False}
    again = ask(lane, answer(lane, "mended"))
    assert again.report().text == "mended"
    assert len(again.calls) == 1


@both_dialects
def test_three_failures_in_a_row_bench_an_account(lane: Lane) -> None:
    for _ in range(3):
        asked = ask(lane, empty(lane, stream=False), answer(lane, stream=False), stream=False)
        asked.assert_served("Hello", ["first", "second"])
    assert healthy_accounts(lane) == {"first": False, "second": True}
    ask(lane, answer(lane, "other"), model=other_model(lane)).assert_served("other", ["second"])


@both_dialects
def test_a_success_between_failures_starts_the_count_anew(lane: Lane) -> None:
    for _ in range(2):
        ask(lane, empty(lane, stream=False), answer(lane, stream=False), stream=False)
    ask(lane, answer(lane)).assert_served("Hello", ["first"])
    for _ in range(2):
        asked = ask(lane, empty(lane, stream=False), answer(lane, stream=False), stream=False)
        asked.assert_served("Hello", ["first", "second"])
    assert healthy_accounts(lane) == {"first": True, "second": True}


@both_dialects
def test_what_is_not_the_accounts_fault_never_benches_it(lane: Lane) -> None:
    for _ in range(4):
        ask(lane, error(lane, 400, "max_tokens: too many"))
        ask(lane, error(lane, 429, "Slow down.", headers={"retry-after": "0"}), answer(lane))
    assert healthy_accounts(lane) == {"first": True, "second": True}
    ask(lane, answer(lane, "again")).assert_served("again", ["first"])


@both_dialects
def test_accounts_that_all_failed_too_often_are_asked_all_the_same(lane: Lane) -> None:
    for _ in range(3):
        asked = ask(lane, *[empty(lane, stream=False)] * 3, stream=False)
        assert asked.status == 200
    assert healthy_accounts(lane) == {"first": False, "second": False}
    again = ask(lane, answer(lane, "at last"))
    assert again.report().text == "at last"
    assert len(again.calls) == 1


@only_gemini
def test_a_key_that_upstream_repeats_is_not_shown_to_the_client(lane: Lane) -> None:
    def suspended(place: int) -> Reply:
        key = f"key-of-{lane.accounts[place]}-0123456789"
        return gemini_error(403, None, f"Permission denied: Consumer 'api_key:{key}' has been suspended.")

    asked = ask(lane, suspended(0), suspended(1))
    asked.assert_failed(["first", "second"])
    assert asked.status == 403
    assert "has been suspended" in asked.error()["message"]
    assert b"0123456789" not in asked.body
    assert not asked.logged("0123456789")
