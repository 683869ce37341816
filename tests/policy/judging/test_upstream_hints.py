"""Which quota a refusal names, and until when."""

from typing import Any

import pytest
from antigravity_healing.policy.judging.failures import FailureClass

from tests.policy.judging.test_failures import NOON, anthropic, exhausted, failed, quota, reason, retry_info

UNIFIED = "anthropic-ratelimit-unified-"
HOUR_S = 3600


def windows(*told: tuple[str, str, float], **general: str) -> dict[str, str]:
    """The unified headers of windows, each with its status and the hours until its reset."""
    found = {f"{UNIFIED}{name}": value for name, value in general.items()}
    for name, status, hours in told:
        found |= {f"{UNIFIED}{name}-status": status, f"{UNIFIED}{name}-reset": str(int(NOON + hours * HOUR_S))}
    return found


PLANS: dict[str, tuple[dict[str, str], tuple[bool, float]]] = {
    "one model's": (windows(("5h", "allowed", 2), ("7d", "allowed", 90), ("7d_oi", "rejected", 50)), (False, 50)),
    "one model's, claimed": (
        windows(("5h", "allowed", 2), ("7d", "allowed_warning", 90), ("7d_oi", "rejected", 50), status="rejected",
                reset=str(int(NOON + 690 * HOUR_S)), **{"representative-claim": "seven_day_overage_included"}),
        (False, 50),
    ),
    "five hours": (windows(("5h", "rejected", 2), ("7d", "allowed", 90), ("7d_oi", "allowed", 50)), (True, 2)),
    "the account's and a model's": (windows(("5h", "rejected", 2), ("7d_oi", "rejected", 50)), (True, 2)),
    "both of the account's": (windows(("5h", "rejected", 2), ("7d", "rejected", 90)), (True, 90)),
    "a model's of five hours": (windows(("5h", "allowed", 2), ("5h_opus", "rejected", 3)), (False, 3)),
    "the general reset": (
        {f"{UNIFIED}5h-status": "rejected", f"{UNIFIED}reset": str(int(NOON + HOUR_S))},
        (True, 1),
    ),
    "by use": (
        {f"{UNIFIED}7d_oi-utilization": "1.02", f"{UNIFIED}7d_oi-reset": str(int(NOON + HOUR_S))},
        (False, 1),
    ),
    "no windows, one model's claim": (
        {f"{UNIFIED}status": "rejected", f"{UNIFIED}reset": str(int(NOON + HOUR_S)),
         f"{UNIFIED}representative-claim": "seven_day_opus"},
        (False, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_used_up_window_is_the_accounts_or_one_models_until_its_own_reset(name: str) -> None:
    headers, (whole, hours) = PLANS[name]
    failure = failed(429, anthropic("rate_limit_error"), {**headers, "retry-after": "1"})
    assert (failure.kind, failure.whole_account, failure.wait_s) == (FailureClass.QUOTA, whole, hours * HOUR_S)
    assert failure.quota_named


@pytest.mark.parametrize(
    "headers",
    [
        windows(("5h", "allowed", 2), ("7d", "allowed_warning", 90)),
        {**windows(("5h", "allowed", 2)), f"{UNIFIED}5h-utilization": "1.0"},
        {f"{UNIFIED}overage-status": "rejected", f"{UNIFIED}overage-disabled-reason": "out_of_credits"},
        {f"{UNIFIED}5h-utilization": "0.99"},
    ],
)
def test_windows_that_allow_are_no_quota(headers: dict[str, str]) -> None:
    assert failed(429, anthropic("rate_limit_error"), headers).kind is FailureClass.RATE_LIMITED


@pytest.mark.parametrize("status", [400, 402, 403, 429, None])
def test_credit_that_one_model_needs_keeps_that_model_away_only(status: int | None) -> None:
    failure = failed(status, anthropic("rate_limit_error", "Credits are needed.", code="credits_required"))
    assert (failure.kind, failure.whole_account) == (FailureClass.QUOTA, False)


SAID = "You have exhausted your capacity on this model. Your quota will reset after 2h33m16s."
SAID_S = 2 * HOUR_S + 33 * 60 + 16


@pytest.mark.parametrize(
    ("body", "wait_s"),
    [
        (exhausted(SAID), SAID_S),
        (exhausted(SAID, retry_info("0.3s")), SAID_S),
        (exhausted(SAID, retry_info("3h")), 3 * HOUR_S),
        (exhausted(SAID, quota("RequestsPerDay")), SAID_S),
    ],
)
def test_a_quota_that_says_when_it_resets_lasts_until_then(body: Any, wait_s: float) -> None:
    failure = failed(429, body)
    assert (failure.kind, failure.wait_s, failure.quota_named) == (FailureClass.QUOTA, wait_s, True)
    assert not failure.whole_account


def test_a_daily_quota_that_only_its_metadata_names_lasts_until_midnight_in_california() -> None:
    named = reason("RATE_LIMIT_EXCEEDED", quota_limit="Gemini25ProRequestsPerDay")
    failure = failed(429, exhausted("m", named, retry_info("0.3s")))
    assert (failure.kind, failure.wait_s) == (FailureClass.QUOTA, 20 * HOUR_S)
    minute = reason("RATE_LIMIT_EXCEEDED", quota_limit="Gemini25ProRequestsPerMinute")
    assert failed(429, exhausted("m", minute, retry_info("0.3s"))).wait_s == 0.3
