import pytest
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.policy.routing.account_health import MOST_MODELS
from antigravity_healing.policy.routing.accounts import (
    FIRST_BENCH_S,
    LONGEST_BENCH_S,
    MOST_KNOWN,
    STRIKES,
    Accounts,
    named_models,
)
from antigravity_healing.policy.settings import schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.routing.test_accounts import MODEL, account, active, failure, pick, use

steady = settings(deadline=None, derandomize=True)
OWN_FAILURES = [
    FailureClass.TRANSPORT,
    FailureClass.TRANSIENT,
    FailureClass.EMPTY,
    FailureClass.STALLED,
    FailureClass.CUT,
    FailureClass.MALFORMED,
]


def test_a_quota_cools_one_model_on_one_account_until_its_end() -> None:
    accounts = Accounts([account("a")])
    use(accounts, "a", 10.0, FailureClass.QUOTA, 50.0)
    assert pick(accounts, now=20.0) == pytest.approx(40.0)
    assert pick(accounts, now=20.0, model="another") == "a"
    assert pick(accounts, now=60.0) == "a"


def test_a_quota_of_the_account_cools_all_models() -> None:
    accounts = Accounts([account("a")])
    use(accounts, "a", 10.0, FailureClass.QUOTA, 50.0, whole=True)
    assert pick(accounts, now=20.0, model="another") == pytest.approx(40.0)


def test_the_shortest_wait_is_told_when_all_are_cooling() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    use(accounts, "a", 0.0, FailureClass.QUOTA, 500.0)
    use(accounts, "b", 0.0, FailureClass.QUOTA, 20.0)
    assert pick(accounts, now=5.0) == pytest.approx(15.0)
    assert pick(accounts, now=5.0, exclude=["b"]) == pytest.approx(495.0)


@pytest.mark.parametrize(
    ("kind", "seconds", "one_model"),
    [
        (FailureClass.BILLING, 3600.0, False),
        (FailureClass.AUTH, 600.0, False),
        (FailureClass.FORBIDDEN, 600.0, False),
        (FailureClass.NO_MODEL, 300.0, True),
        (FailureClass.QUOTA, 600.0, True),
    ],
)
def test_how_long_a_failure_without_a_time_keeps_an_account_away(
    kind: FailureClass, seconds: float, one_model: bool
) -> None:
    accounts = Accounts([account("a"), account("b", 1)], named=[MODEL])
    use(accounts, "a", 0.0, kind)
    assert pick(accounts, now=seconds - 1) == "b"
    assert pick(accounts, now=seconds - 1, model="another") == ("a" if one_model else "b")
    assert pick(accounts, now=seconds) == "a"
    # Our own caution: with no other account, it is asked all the same.
    assert pick(accounts, now=1.0, exclude=["b"]) == "a"


def test_what_only_our_caution_keeps_away_is_asked_before_the_client_is_sent_away() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    use(accounts, "a", 0.0, FailureClass.FORBIDDEN)
    use(accounts, "b", 0.0, FailureClass.QUOTA, 100_000.0)
    assert pick(accounts, now=1.0) == "a"


def test_a_success_ends_what_is_known_of_the_account_and_that_model_only() -> None:
    accounts = Accounts([account("a")])
    use(accounts, "a", 0.0, FailureClass.QUOTA, 50.0)
    accounts.end_use(accounts.begin_use(accounts.all[0], "another", 1.0), None, 1.0)
    assert pick(accounts, now=2.0) == pytest.approx(48.0)
    use(accounts, "a", 3.0)
    assert pick(accounts, now=4.0) == "a"


@pytest.mark.parametrize("kind", OWN_FAILURES)
def test_three_failures_in_a_row_bench_an_account_and_two_do_not(kind: FailureClass) -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    for _ in range(STRIKES - 1):
        use(accounts, "a", 0.0, kind)
        assert pick(accounts) == "a"
    use(accounts, "a", 0.0, kind)
    assert pick(accounts, now=FIRST_BENCH_S - 1) == "b"
    assert pick(accounts, now=FIRST_BENCH_S) == "a"


@pytest.mark.parametrize(
    "kind",
    [
        FailureClass.LOCAL,
        FailureClass.OVERLOADED,
        FailureClass.RATE_LIMITED,
        FailureClass.CALLER,
        FailureClass.SIGNATURE,
    ],
)
def test_what_is_not_the_accounts_own_failure_never_benches_it(kind: FailureClass) -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    for _ in range(20):
        use(accounts, "a", 0.0, kind, 1.0)
    assert pick(accounts) == "a"


def test_a_success_between_failures_starts_the_count_anew() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    for _ in range(5):
        use(accounts, "a", 0.0, FailureClass.CUT)
        use(accounts, "a", 0.0, FailureClass.CUT)
        use(accounts, "a", 0.0)
    assert pick(accounts) == "a"


def test_a_bench_doubles_while_its_probes_fail_up_to_ten_minutes_and_starts_anew_after_success() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    now = 0.0
    for _ in range(STRIKES):
        use(accounts, "a", now, FailureClass.TRANSIENT)
    for seconds in (30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0):
        assert pick(accounts, now=now + seconds - 1) == "b"
        now += seconds
        assert pick(accounts, now=now) == "a"
        use(accounts, "a", now, FailureClass.TRANSIENT)
    use(accounts, "a", now + LONGEST_BENCH_S)
    for _ in range(STRIKES):
        use(accounts, "a", now, FailureClass.TRANSIENT)
    assert pick(accounts, now=now + FIRST_BENCH_S) == "a"


def test_an_account_that_has_failed_for_days_is_borne() -> None:
    accounts = Accounts([account("a")])
    for number in range(3000):
        use(accounts, "a", 1000.0 * number, FailureClass.TRANSPORT)
    assert pick(accounts, now=3_000_000.0) == "a"


def test_attempts_that_were_under_way_when_it_was_benched_do_not_lengthen_the_bench() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    (first, _) = accounts.all
    for use_ in [accounts.begin_use(first, MODEL, 0.0) for _ in range(10)]:
        accounts.end_use(use_, failure(FailureClass.TRANSPORT), 1.0)
    assert pick(accounts, now=1.0 + FIRST_BENCH_S) == "a"


def test_one_request_probes_and_the_others_wait_for_what_it_finds() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    for _ in range(STRIKES):
        use(accounts, "a", 0.0, FailureClass.CUT)
    (first, _) = accounts.all
    assert pick(accounts, now=40.0) == "a"
    probe = accounts.begin_use(first, MODEL, 40.0)
    assert probe.probed
    assert [pick(accounts, f"s{n}", now=41.0) for n in range(5)] == ["b"] * 5
    beside = accounts.begin_use(first, MODEL, 42.0)
    assert not beside.probed
    accounts.end_use(beside, None, 43.0, judged=False)
    assert pick(accounts, now=44.0) == "b"
    accounts.end_use(probe, None, 50.0)
    assert pick(accounts, now=50.0) == "a"


def test_a_probe_whose_client_left_leaves_the_next_one_to_probe() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    for _ in range(STRIKES):
        use(accounts, "a", 0.0, FailureClass.CUT)
    (first, _) = accounts.all
    accounts.end_use(accounts.begin_use(first, MODEL, 40.0), None, 41.0, judged=False)
    assert pick(accounts, now=42.0) == "a"
    assert accounts.begin_use(first, MODEL, 42.0).probed
    assert pick(accounts, now=43.0) == "b"


def test_an_older_attempt_that_ends_does_not_end_the_probe() -> None:
    accounts = Accounts([account("a"), account("b", 1)])
    (first, _) = accounts.all
    older = accounts.begin_use(first, MODEL, 0.0)
    for _ in range(STRIKES):
        use(accounts, "a", 0.0, FailureClass.CUT)
    assert accounts.begin_use(first, MODEL, 40.0).probed
    accounts.end_use(older, None, 41.0, judged=False)
    assert pick(accounts, now=42.0) == "b"


def test_only_account_is_asked_even_while_it_is_probed() -> None:
    accounts = Accounts([account("a")])
    for _ in range(STRIKES):
        use(accounts, "a", 0.0, FailureClass.CUT)
    accounts.begin_use(accounts.all[0], MODEL, 40.0)
    assert pick(accounts, now=41.0) == "a"


PROBE_S = 900.0
DAY_S = 24 * 3600.0


def test_a_long_bench_is_probed_now_and_then_by_one_request_at_a_time() -> None:
    accounts = Accounts([account("a")], probe_s=PROBE_S)
    use(accounts, "a", 0.0, FailureClass.QUOTA, DAY_S)
    assert pick(accounts, now=PROBE_S - 1) == pytest.approx(DAY_S - PROBE_S + 1)
    assert pick(accounts, now=PROBE_S, model="another") == "a"
    assert pick(accounts, now=PROBE_S) == "a"
    probe = accounts.begin_use(accounts.all[0], MODEL, PROBE_S)
    assert probe.probed
    assert isinstance(pick(accounts, now=PROBE_S + 1), float), "one at a time"
    # It is still meant.
    accounts.end_use(probe, failure(FailureClass.QUOTA, DAY_S), PROBE_S + 2)
    assert isinstance(pick(accounts, now=2 * PROBE_S + 1), float)
    assert pick(accounts, now=2 * PROBE_S + 2) == "a"
    # It is over.
    probe = accounts.begin_use(accounts.all[0], MODEL, 2 * PROBE_S + 2)
    accounts.end_use(probe, None, 2 * PROBE_S + 3)
    assert pick(accounts, now=2 * PROBE_S + 3) == "a"
    assert accounts.report(2 * PROBE_S + 3)[0]["benches"] == []


@pytest.mark.parametrize("seconds", [3600.0, 60.0])
def test_a_bench_of_an_hour_is_not_probed_before_its_end(seconds: float) -> None:
    accounts = Accounts([account("a")], probe_s=10.0)
    use(accounts, "a", 0.0, FailureClass.QUOTA, seconds)
    assert isinstance(pick(accounts, now=seconds - 1), float)
    assert pick(accounts, now=seconds) == "a"


@pytest.mark.parametrize("kind", [None, FailureClass.LOCAL])
def test_a_probe_that_finds_nothing_out_leaves_the_next_request_to_probe(kind: FailureClass | None) -> None:
    accounts = Accounts([account("a")], probe_s=PROBE_S)
    use(accounts, "a", 0.0, FailureClass.QUOTA, DAY_S)
    probe = accounts.begin_use(accounts.all[0], MODEL, PROBE_S)
    ended = failure(kind) if kind else None
    accounts.end_use(probe, ended, PROBE_S + 1, judged=kind is not None)
    assert pick(accounts, now=PROBE_S + 1) == "a"


def test_a_probe_that_fails_otherwise_leaves_the_bench_as_it_is_until_the_next_probe() -> None:
    accounts = Accounts([account("a")], probe_s=PROBE_S)
    use(accounts, "a", 0.0, FailureClass.QUOTA, DAY_S)
    use(accounts, "a", PROBE_S, FailureClass.OVERLOADED)
    assert pick(accounts, now=PROBE_S + 1) == pytest.approx(DAY_S - PROBE_S - 1)
    assert pick(accounts, now=2 * PROBE_S) == "a"


def test_a_probe_that_never_ends_is_followed_by_another() -> None:
    accounts = Accounts([account("a")], probe_s=PROBE_S)
    use(accounts, "a", 0.0, FailureClass.QUOTA, DAY_S)
    accounts.begin_use(accounts.all[0], MODEL, PROBE_S)
    assert pick(accounts, now=2 * PROBE_S) == "a"


def names_of_benches(accounts: Accounts, now: float = 1.0) -> list[str | None]:
    benches = accounts.report(now)[0]["benches"]
    assert isinstance(benches, list)
    return [bench["model"] for bench in benches]


def refuse(accounts: Accounts, model: str, kind: FailureClass, wait_s: float | None = None) -> None:
    accounts.end_use(accounts.begin_use(accounts.all[0], model, 0.0), failure(kind, wait_s), 0.0)


def test_only_models_that_there_are_get_a_bench_of_their_own_when_upstream_does_not_know_them() -> None:
    accounts = Accounts([account("a", models=("exact", "some-*"))], named=["routed"])
    for model in ("exact", "routed", "", "some-nonsense", "served"):
        refuse(accounts, model, FailureClass.NO_MODEL)
    assert names_of_benches(accounts) == ["exact", "routed"]
    accounts.end_use(accounts.begin_use(accounts.all[0], "served", 0.0), None, 0.0)
    refuse(accounts, "served", FailureClass.NO_MODEL)
    assert names_of_benches(accounts) == ["exact", "routed", "served"]


def test_names_of_models_never_fill_the_memory_and_the_longest_benches_stay() -> None:
    accounts = Accounts([account("a")])
    refuse(accounts, MODEL, FailureClass.QUOTA, DAY_S)
    for number in range(10 * MOST_MODELS):
        refuse(accounts, f"nonsense-{number}", FailureClass.QUOTA, 600.0)
    assert len(names_of_benches(accounts)) == MOST_MODELS
    assert MODEL in names_of_benches(accounts)
    for number in range(2 * MOST_KNOWN):
        accounts.end_use(accounts.begin_use(accounts.all[0], f"{number}", 0.0), None, 0.0)
    assert len(accounts._served) == MOST_KNOWN


def test_a_changed_configuration_keeps_what_is_known_of_accounts_that_stay() -> None:
    before = Accounts([account("a")])
    use(before, "a", 0.0, FailureClass.QUOTA, DAY_S)
    assert pick(Accounts([account("a")], before=before, probe_s=5.0), now=1.0) == pytest.approx(DAY_S - 1)


def test_the_models_that_the_configuration_names() -> None:
    models = {"x": "gemini/y", "exact": {"peek": {"idle": 1}}, "some-*": {"peek": {"idle": 1}}, "z-*": "models/z"}
    assert named_models(schema.Config.model_validate({"models": models})) == {"y", "exact", "models/z"}


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([None, *FailureClass]),
        st.sampled_from([None, 0.0, 1.0, 500.0]),
        st.booleans(),
        st.floats(0, 200),
    ),
    max_size=40,
)


@steady
@given(steps)
def test_whatever_happens_there_is_an_account_or_a_wait_that_ends_in_one(
    happened: list[tuple[str, FailureClass | None, float | None, bool, float]],
) -> None:
    accounts = Accounts([account("a"), account("b"), account("c", 1)])
    now = 0.0
    for name, kind, wait_s, whole, later in happened:
        now += later
        use(accounts, name, now, kind, wait_s, **({"whole": whole} if kind else {}))
        chosen = pick(accounts, now=now)
        assert chosen is not None
        if isinstance(chosen, float):
            assert chosen >= 0
            assert isinstance(pick(accounts, now=now + chosen + 1e-6), str)
    assert set(active(accounts).values()) == {0}
