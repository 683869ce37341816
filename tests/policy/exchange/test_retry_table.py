from random import Random

import pytest
from antigravity_healing.policy.exchange.retry_table import RULES, RetryBudget, at_least, stays, wait_before_retry_s
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(deadline=None, derandomize=True)
seeds = st.integers(0, 2**32).map(Random)
AT_ONCE = [
    FailureClass.QUOTA,
    FailureClass.BILLING,
    FailureClass.AUTH,
    FailureClass.FORBIDDEN,
    FailureClass.NOT_THEIRS,
    FailureClass.NO_MODEL,
    FailureClass.EMPTY,
    FailureClass.STALLED,
    FailureClass.CUT,
    FailureClass.MALFORMED,
]
TABLE = [
    *((FailureClass.LOCAL, nth, wait_s) for nth, wait_s in enumerate((0.2, 0.5, 1, 2, 4, 8, 8), 1)),
    *((FailureClass.TRANSPORT, nth, wait_s) for nth, wait_s in enumerate((0, 0.5, 1, 2, 4, 8, 8), 1)),
    *((FailureClass.TRANSIENT, nth, wait_s) for nth, wait_s in enumerate((0.5, 1, 2, 4, 8, 8), 1)),
    *((FailureClass.OVERLOADED, nth, wait_s) for nth, wait_s in enumerate((1, 2, 4, 8, 8, 8), 1)),
    *((FailureClass.RATE_LIMITED, nth, wait_s) for nth, wait_s in enumerate((1, 2, 4, 8, 8, 8), 1)),
    *((kind, nth, 0.0) for kind in AT_ONCE for nth in (1, 2, 9)),
]


def failure(kind: FailureClass, wait_s: float | None = None, *, stay: bool = False) -> Failure:
    return Failure(kind, "why", wait_s=wait_s, stay=stay)


@pytest.mark.parametrize(("kind", "nth", "wait_s"), TABLE)
def test_the_wait_before_each_retry_with_a_fifth_of_jitter(kind: FailureClass, nth: int, wait_s: float) -> None:
    waits = [wait_before_retry_s(failure(kind), nth, Random(seed)) for seed in range(200)]
    assert all(0.8 * wait_s <= wait <= 1.2 * wait_s for wait in waits)
    if wait_s:
        assert min(waits) < 0.85 * wait_s
        assert max(waits) > 1.15 * wait_s


@steady
@given(
    st.sampled_from([FailureClass.RATE_LIMITED, FailureClass.OVERLOADED]),
    st.floats(0, 1e6),
    st.integers(1, 1000),
    seeds,
)
def test_a_hint_is_never_undercut_and_at_most_a_fifth_longer_while_it_is_believed(
    kind: FailureClass, hint_s: float, nth: int, random: Random
) -> None:
    wait_s = wait_before_retry_s(failure(kind, hint_s), nth, random)
    assert hint_s <= wait_s <= max(hint_s, 0.0 if nth <= 2 else 8.0) * 1.2 + 1e-9


@pytest.mark.parametrize("kind", [FailureClass.RATE_LIMITED, FailureClass.OVERLOADED])
def test_a_hint_that_has_proved_too_short_does_not_keep_the_waits_from_growing(kind: FailureClass) -> None:
    waits = [wait_before_retry_s(failure(kind, 0.1), nth, Random(1)) for nth in range(1, 7)]
    assert all(0.1 <= wait_s <= 0.12 for wait_s in waits[:2])
    assert [round(wait_s / own) for wait_s, own in zip(waits[2:], (1, 2, 4, 8), strict=True)] == [1, 1, 1, 1]


@steady
@given(st.floats(0, 1e6), seeds)
def test_at_least_is_never_less(seconds: float, random: Random) -> None:
    assert seconds <= at_least(seconds, random) <= seconds * 1.2 + 1e-9


@steady
@given(st.sampled_from(list(RULES)), st.integers(1, 100), seeds)
def test_every_wait_is_finite_after_many_tries(kind: FailureClass, nth: int, random: Random) -> None:
    assert 0 <= wait_before_retry_s(failure(kind), nth, random) < float("inf")


def test_what_no_retry_can_mend_has_no_rule() -> None:
    assert set(FailureClass) - set(RULES) == {FailureClass.CALLER, FailureClass.SIGNATURE}


@pytest.mark.parametrize(
    ("kind", "nth", "expected"),
    [
        (FailureClass.TRANSPORT, 1, True),
        (FailureClass.TRANSPORT, 2, False),
        (FailureClass.OVERLOADED, 1, True),
        (FailureClass.OVERLOADED, 5, True),
        *((kind, 1, False) for kind in RULES if kind not in (FailureClass.TRANSPORT, FailureClass.OVERLOADED)),
    ],
)
def test_where_the_next_try_goes(kind: FailureClass, nth: int, expected: bool) -> None:
    assert stays(failure(kind), nth) is expected
    # A short limit moves on the second time, where there is a place to move to.
    assert stays(failure(kind, stay=True), nth) is (expected or nth == 1)


@pytest.mark.parametrize("kind", list(RULES))
def test_an_account_is_left_for_good_only_where_asking_again_is_pointless(kind: FailureClass) -> None:
    pointless = (
        FailureClass.BILLING,
        FailureClass.AUTH,
        FailureClass.FORBIDDEN,
        FailureClass.NOT_THEIRS,
        FailureClass.NO_MODEL,
    )
    assert RULES[kind].leave is (kind in pointless)


def budget(requests: int, retries: int, at: float = 100.0) -> RetryBudget:
    made = RetryBudget()
    for _ in range(requests):
        made.request(at)
    for _ in range(retries):
        made.retry(at)
    return made


@pytest.mark.parametrize(
    ("requests", "retries", "left"),
    [(0, 0, 20), (1, 0, 20), (2, 0, 21), (100, 0, 70), (100, 69, 1), (100, 70, 0), (0, 20, 0), (0, 30, 0)],
)
def test_retries_are_half_of_the_requests_and_twenty(requests: int, retries: int, left: int) -> None:
    assert budget(requests, retries).left(100.0) == left


def test_only_the_last_minute_counts() -> None:
    made = budget(100, 70, at=100.0)
    assert made.left(159.9) == 0
    assert made.left(160.1) == 20
    made.request(161.0)
    made.retry(161.0)
    assert made.left(161.0) == 19


times = st.lists(st.tuples(st.floats(0, 300), st.booleans()), max_size=60).map(sorted)


@steady
@given(times)
def test_the_budget_is_what_counting_the_last_minute_gives(happened: list[tuple[float, bool]]) -> None:
    made = RetryBudget()
    for at, is_retry in happened:
        made.retry(at) if is_retry else made.request(at)
        made.left(at)
    if happened:
        at = happened[-1][0]
        requests = sum(at - 60 < when and not retry for when, retry in happened)
        retries = sum(at - 60 < when and retry for when, retry in happened)
        assert made.left(at) == max(0, requests // 2 + 20 - retries)
