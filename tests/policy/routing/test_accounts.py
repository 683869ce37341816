from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.accounts import (
    MOST_KNOWN,
    Account,
    Accounts,
    runtime_accounts,
)
from antigravity_healing.policy.settings import schema
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(deadline=None, derandomize=True)
UPSTREAM = schema.BUILT_IN["anthropic"]
MODEL = "claude-opus-5"


def account(name: str, priority: int = 0, weight: float = 1.0, **more: Any) -> Account:
    return Account(name, name, "anthropic", UPSTREAM, priority, weight, **more)


def failure(kind: FailureClass, wait_s: float | None = None, *, whole: bool = False) -> Failure:
    return Failure(kind, "why", wait_s=wait_s, whole_account=whole)


def pick(
    accounts: Accounts, session: str = "s", now: float = 0.0, model: str = MODEL, **more: Any
) -> str | float | None:
    """The chosen account's name, or what else `choose` says."""
    chosen = accounts.choose(accounts.all, model, session, now, **more)
    return chosen.name if isinstance(chosen, Account) else chosen


def use(
    accounts: Accounts,
    name: str,
    now: float,
    kind: FailureClass | None = None,
    wait_s: float | None = None,
    **more: Any,
) -> None:
    """One attempt on an account, ended in a moment."""
    (used,) = (each for each in accounts.all if each.name == name)
    accounts.end_use(accounts.begin_use(used, MODEL, now), failure(kind, wait_s, **more) if kind else None, now)


def active(accounts: Accounts) -> dict[str, object]:
    return {str(each["name"]): each["active"] for each in accounts.report(0.0)}


# Choosing.


def test_the_lowest_priority_is_used_first() -> None:
    accounts = Accounts([account("c", 5), account("a", 1), account("b", 1)])
    assert {pick(accounts, f"s{n}") for n in range(50)} == {"a", "b"}
    assert pick(accounts, exclude=["a", "b"]) == "c"


def test_the_next_priority_serves_while_the_first_is_out() -> None:
    accounts = Accounts([account("a", 0), account("b", 1)])
    use(accounts, "a", 0.0, FailureClass.QUOTA, 100.0)
    assert pick(accounts, now=1.0) == "b"
    assert pick(accounts, now=100.0) == "a"


def test_what_is_to_be_avoided_is_used_only_if_no_other_is_healthy() -> None:
    accounts = Accounts([account("a", 0), account("b", 9)])
    assert pick(accounts, avoid=["a"]) == "b"
    assert pick(accounts, avoid=["a", "b"]) == "a"
    use(accounts, "b", 0.0, FailureClass.QUOTA, 100.0)
    assert pick(accounts, avoid=["a"], now=1.0) == "a"


def test_nothing_is_left_when_all_are_excluded() -> None:
    assert pick(Accounts([account("a")]), exclude=["a"]) is None
    assert pick(Accounts([])) is None


names = st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=6, unique=True)
sessions = [f"session-{n}" for n in range(60)]


@steady
@given(names, st.data())
def test_sessions_stay_when_another_account_comes_or_goes(chosen: list[str], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=len(chosen), max_size=len(chosen)))
    everyone = [account(name, weight=weight) for name, weight in zip(chosen, weights, strict=True)]
    gone = data.draw(st.sampled_from(everyone))
    with_it, without_it = Accounts(everyone), Accounts([each for each in everyone if each is not gone])
    for session in sessions:
        if (before := pick(with_it, session)) != gone.name:
            assert pick(without_it, session) == before


@steady
@given(names, st.text(max_size=10))
def test_a_sessions_account_depends_on_nothing_but_names_and_weights(chosen: list[str], session: str) -> None:
    forward, backward = ([account(name) for name in order] for order in (chosen, chosen[::-1]))
    accounts = Accounts(forward)
    assert pick(accounts, session) == pick(Accounts(backward), session)
    assert pick(accounts, session) == pick(accounts, session, now=1e6)


def test_a_session_that_moved_away_comes_back() -> None:
    accounts = Accounts([account("a"), account("b"), account("c")])
    home = pick(accounts)
    use(accounts, str(home), 0.0, FailureClass.QUOTA, 60.0)
    assert pick(accounts, now=30.0) != home
    assert pick(accounts, now=60.0) == home


@pytest.mark.parametrize("strategy", ["affinity", "round_robin", "least_used"])
def test_accounts_are_used_by_their_weight(strategy: str) -> None:
    accounts = Accounts([account("a", weight=1), account("b", weight=3), account("c", weight=6)], strategy)
    used = Counter[str]()
    for number in range(3000):
        name = str(pick(accounts, f"session {number}"))
        use(accounts, name, 0.0)
        used[name] += 1
    slack = 100 if strategy == "affinity" else 2
    assert used["a"] == pytest.approx(300, abs=slack)
    assert used["b"] == pytest.approx(900, abs=slack)
    assert used["c"] == pytest.approx(1800, abs=slack)


def test_round_robin_takes_turns() -> None:
    accounts = Accounts([account("a"), account("b"), account("c")], "round_robin")
    assert [pick(accounts, "the same") for _ in range(6)] == ["a", "b", "c"] * 2


def test_every_text_can_be_a_session() -> None:
    accounts = Accounts([account("a"), account("b")])
    assert pick(accounts, "\ud800") in ("a", "b")
    assert pick(accounts, "") in ("a", "b")


# Reload and report.


def configured(name: str, key: str, **more: Any) -> Account:
    """An account with a credential, as the configuration gives it."""
    settings_ = schema.Config.model_validate({"accounts": [{"name": name, "api_key": key, **more}]})
    (made,) = runtime_accounts(settings_)
    return made


@pytest.mark.parametrize(
    "edited",
    [
        configured("a", "env:KEY", email="new@x.example"),
        configured("a", "env:KEY", weight=5.0),
        configured("a", "env:KEY", priority=3),
        configured("a", "env:KEY", models=["claude-*"], ttl=5),
        configured("renamed", "env:KEY"),
    ],
    ids=["email", "weight", "priority", "models", "name"],
)
def test_editing_what_is_ours_of_an_account_forgets_no_quota(edited: Account) -> None:
    before = Accounts([configured("a", "env:KEY"), configured("other", "env:OTHER", priority=9)])
    use(before, "a", 0.0, FailureClass.QUOTA, 1000.0)
    after = Accounts([configured("d", "env:D", priority=7), edited], before=before)
    assert pick(after, now=1.0) == "d"
    assert pick(after, now=1.0, exclude=["d"]) == pytest.approx(999.0)


@pytest.mark.parametrize(
    "edited",
    [configured("a", "env:NEW"), configured("a", "env:KEY", headers={"x-team": "b"})],
    ids=["key", "headers"],
)
def test_another_credential_is_another_account_whatever_its_name(edited: Account) -> None:
    before = Accounts([configured("a", "env:KEY")])
    use(before, "a", 0.0, FailureClass.QUOTA, 1000.0)
    assert pick(Accounts([edited], before=before), now=1.0) == "a"


def test_an_account_of_another_upstream_is_another_account() -> None:
    before = Accounts([configured("a", "env:KEY")])
    use(before, "a", 0.0, FailureClass.QUOTA, 1000.0)
    moved = replace(before.all[0], upstream=schema.Upstream(dialect="anthropic", url="http://127.0.0.1:9"))
    assert pick(Accounts([moved], before=before), now=1.0) == "a"


def test_two_accounts_with_one_credential_keep_a_state_each() -> None:
    before = Accounts([configured("a", "env:KEY"), configured("b", "env:KEY")])
    use(before, "a", 0.0, FailureClass.QUOTA, 1000.0)
    after = Accounts([configured("b", "env:KEY"), configured("a", "env:KEY", email="a@x.example")], before=before)
    assert pick(after, now=1.0, exclude=["a"]) == "b"
    assert isinstance(pick(after, now=1.0, exclude=["b"]), float)


def shares(accounts: Accounts, count: int, now: float = 0.0) -> Counter[str]:
    """How often each account gets one of so many requests."""
    used = Counter[str]()
    for _ in range(count):
        name = str(pick(accounts, now=now))
        use(accounts, name, now)
        used[name] += 1
    return used


def test_least_used_gives_a_new_account_its_share_and_not_everything() -> None:
    before = Accounts([account("a"), account("b")], "least_used")
    shares(before, 100)
    after = Accounts([account("a"), account("b"), account("new", weight=2.0)], "least_used", before)
    assert shares(after, 40) == {"a": 10, "b": 10, "new": 20}


def test_least_used_gives_an_account_that_comes_back_its_share_and_not_everything() -> None:
    accounts = Accounts([account("a"), account("b")], "least_used")
    use(accounts, "a", 0.0, FailureClass.QUOTA, 1000.0)
    assert shares(accounts, 100, now=1.0) == {"b": 100}
    assert shares(accounts, 20, now=1000.0)["a"] == pytest.approx(10, abs=1)


def test_an_attempt_under_way_during_a_reload_is_settled_in_the_new_state() -> None:
    before = Accounts([account("a")])
    under_way = before.begin_use(before.all[0], MODEL, 0.0)
    after = Accounts([account("a"), account("b", 1)], "affinity", before)
    assert active(after) == {"a": 1, "b": 0}
    before.end_use(under_way, failure(FailureClass.QUOTA, 100.0), 1.0)
    assert active(after) == {"a": 0, "b": 0}
    assert pick(after, now=2.0) == "b"


def test_what_is_not_configured_has_no_state() -> None:
    accounts = Accounts([])
    client = account("client")
    for _ in range(10):
        accounts.end_use(accounts.begin_use(client, MODEL, 0.0), failure(FailureClass.AUTH), 0.0)
    assert accounts.choose([client], MODEL, "s", 1.0) is client


def test_what_is_said_of_a_clients_own_key_holds_for_that_key_and_outlives_a_reload() -> None:
    accounts = Accounts([])
    mine, yours = (replace(account("client"), owner=owner) for owner in ("mine", "yours"))
    accounts.end_use(accounts.begin_use(mine, MODEL, 0.0), failure(FailureClass.QUOTA, 1000.0), 0.0)
    for known in (accounts, Accounts([account("new")], before=accounts)):
        assert known.choose([mine], MODEL, "s", 1.0) == pytest.approx(999.0)
        assert known.choose([mine], MODEL, "s", 1000.0) is mine
        assert known.choose([yours], MODEL, "s", 1.0) is yours
    assert accounts.report(1.0) == []


def test_keys_of_clients_never_fill_the_memory_and_the_latest_stay() -> None:
    accounts = Accounts([])
    for number in range(2 * MOST_KNOWN):
        own = replace(account("client"), owner=f"digest {number}")
        accounts.end_use(accounts.begin_use(own, MODEL, 0.0), failure(FailureClass.QUOTA, 1000.0), 0.0)
    assert len(accounts._own) == MOST_KNOWN
    assert isinstance(accounts.choose([own], MODEL, "s", 1.0), float)


def test_the_report_says_how_each_account_is_and_no_secret() -> None:
    settings_ = schema.Config.model_validate(
        {"accounts": [{"name": "a", "email": "a@x.example", "api_key": "sk-very-secret"}]}
    )
    accounts = Accounts(runtime_accounts(settings_))
    use(accounts, "a", 0.0, FailureClass.QUOTA, 100.0)
    use(accounts, "a", 0.0, FailureClass.AUTH)
    (report,) = accounts.report(10.0)
    assert (report["name"], report["email"], report["attempts"], report["active"]) == ("a", "a@x.example", 2, 0)
    assert report["healthy"] is False
    benches = report["benches"]
    assert isinstance(benches, list)
    assert [(bench["model"], bench["seconds_left"]) for bench in benches] == [(MODEL, 90.0), (None, 590.0)]
    assert "secret" not in repr(accounts.report(10.0))


def is_healthy(accounts: Accounts, now: float) -> bool:
    (report,) = accounts.report(now)
    return report["healthy"] is True


def test_an_account_is_healthy_until_it_is_benched_and_again_when_that_is_over() -> None:
    accounts = Accounts([account("a")])
    assert is_healthy(accounts, 0.0)
    use(accounts, "a", 0.0, FailureClass.CUT)
    use(accounts, "a", 0.0, FailureClass.CUT)
    assert is_healthy(accounts, 0.0)
    use(accounts, "a", 0.0, FailureClass.CUT)
    assert not is_healthy(accounts, 29.9)
    assert is_healthy(accounts, 30.1)


def test_an_account_whose_only_known_model_is_benched_is_not_healthy() -> None:
    for models in ((MODEL,), ("*",), ("the-*", "other")):
        accounts = Accounts([account("a", models=models)])
        use(accounts, "a", 0.0, FailureClass.QUOTA, 100.0)
        assert is_healthy(accounts, 99.0) is ("other" in models)
        assert is_healthy(accounts, 101.0)


def test_an_account_that_has_served_another_model_is_healthy_while_one_is_benched() -> None:
    accounts = Accounts([account("a")])
    other = accounts.begin_use(accounts.all[0], "another-model", 0.0)
    accounts.end_use(other, None, 0.0)
    use(accounts, "a", 0.0, FailureClass.QUOTA, 100.0)
    assert is_healthy(accounts, 50.0)


def test_a_bench_that_is_being_probed_still_makes_its_account_unhealthy() -> None:
    accounts = Accounts([account("a")])
    use(accounts, "a", 0.0, FailureClass.QUOTA, 7200.0, whole=True)
    assert accounts.free(accounts.all[0], MODEL, 1000.0)
    assert not is_healthy(accounts, 1000.0)


def test_the_first_to_be_free_is_what_clients_are_told_unless_one_may_be_asked_now() -> None:
    accounts = Accounts([account("a"), account("b")])
    use(accounts, "a", 0.0, FailureClass.QUOTA, 100.0)
    assert accounts.free_in_s(accounts.all, MODEL, 10.0) is None
    use(accounts, "b", 0.0, FailureClass.QUOTA, 60.0)
    assert accounts.free_in_s(accounts.all, MODEL, 10.0) == 50.0
    assert accounts.free_in_s(accounts.all, "another-model", 10.0) is None
    assert accounts.free_in_s(accounts.all, MODEL, 60.0) is None


@pytest.mark.parametrize(
    ("source", "renewable"),
    [
        ({"api_key": "cmd:print-key"}, True),
        ({"bearer": "cmd:print-token"}, True),
        ({"api_key": "sk-1", "headers": {"x-a": "cmd:print"}}, True),
        ({"api_key": "env:KEY"}, False),
        ({"api_key": "sk-cmd:1"}, False),
    ],
)
def test_only_what_a_command_prints_can_be_renewed(source: dict[str, object], renewable: bool) -> None:
    settings_ = schema.Config.model_validate({"accounts": [{"name": "a", **source}]})
    (made,) = runtime_accounts(settings_)
    assert made.renewable is renewable
    assert not account("client").renewable
