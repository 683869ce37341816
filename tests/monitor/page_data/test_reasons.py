"""Why there was no further attempt, and why nothing is kept."""

import pytest
from antigravity_healing.monitor.page_data.reasons import why_no_body, why_no_retry, why_not_kept
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.policy.settings.schema import CaptureSettings, Flows

NOW = 1_700_000_000.0
DAY_S = 86400.0


def failed(**last: object) -> dict[str, object]:
    return {"outcome": "failed", "attempts": [{"failure": "empty"}, last]}


@pytest.mark.parametrize("kind", list(FailureClass))
def test_each_failure_says_why_it_was_the_last(kind: FailureClass) -> None:
    assert why_no_retry(failed(failure=str(kind), delivered=True)).startswith("content had already reached the client")
    assert "after 2 attempts" in why_no_retry(failed(failure=str(kind)))


def test_what_served_or_is_not_over_says_nothing() -> None:
    for outcome in ("clean", "healed", None):
        assert why_no_retry({"outcome": outcome, "attempts": [{"delivered": True}]}) == ""
    assert why_no_retry({"outcome": "failed"}) == "nobody could be asked"
    assert "had left" in why_no_retry({"outcome": "client_left"})


@pytest.mark.parametrize(
    ("outcome", "age_s", "capture", "why"),
    [
        ("clean", 0.0, {}, "it was never captured because it succeeded"),
        ("healed", 9 * DAY_S, {}, "it was never captured because it succeeded"),
        ("client_left", 0.0, {}, "because the client left"),
        ("refused", 0.0, {}, "the proxy refused it by itself"),
        ("running", 0.0, {}, "it is still running"),
        ("unfinished", 0.0, {}, "the proxy ended before it did"),
        ("failed", 0.0, {"enabled": False}, "[capture] enabled is false"),
        ("failed", 9.5 * DAY_S, {}, "it is from 9 days ago (2023-11-05): what was captured is deleted after 7 days"),
        ("failed", 0.0, {}, "the first alone is kept, with a count"),
    ],
)
def test_what_is_not_kept_says_why(outcome: str, age_s: float, capture: dict[str, bool], why: str) -> None:
    settings = CaptureSettings.model_validate(capture)
    for listed in (True, False):
        assert why in why_not_kept(outcome, NOW - age_s, NOW, settings, listed=listed)


def test_a_body_that_is_not_whole_says_so() -> None:
    flows = Flows()
    assert "longer than 8 MiB" in why_no_body("answer", 10, True, flows)
    assert why_no_body("request", None, False, flows) == "the body of the request was not kept"
    assert why_no_body("answer", 0, False, flows) == ""
