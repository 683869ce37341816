"""What is wrong for a while: when it begins, how often it is met, when it is over, and what to do."""

from collections.abc import Callable

import pytest
from antigravity_healing.monitor.status.conditions import Conditions
from antigravity_healing.monitor.status.finding_conditions import Found, found_in
from antigravity_healing.monitor.status.health import status_of
from antigravity_healing.policy.journal.records import NOTHING, AttemptFacts, ExchangeFacts, Journal, Record
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.settings.schema import AccountSettings, Config
from antigravity_healing.policy.trouble import Trouble
from antigravity_healing.proxy.claiming.state import State

KEY = Found("auth", "a", "the key of a is refused", "put a new key in")
QUOTA = Found("quota", "b m", "b is used up for m until 16:40", f"{NOTHING}; add an account", 5000.0)


class Clock:
    at = 1000.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at + 1_000_000.0


def state_of(*names: str) -> State:
    state = State(Config(accounts=tuple(AccountSettings(name=name, api_key="x") for name in names)), Journal())  # type: ignore[arg-type]
    state.clock = Clock()  # type: ignore[assignment]
    return state


def fail(state: State, name: str, failure: Failure | None, model: str = "claude-x") -> None:
    (account,) = (each for each in state.accounts.all if each.name == name)
    use = state.accounts.begin_use(account, model, state.clock.now())
    state.accounts.end_use(use, failure, state.clock.now())


def test_it_begins_once_is_counted_and_ends_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = Journal()
    conditions = Conditions(journal, lambda: None)
    conditions.look([KEY], 100.0)
    conditions.look([KEY, QUOTA], 101.0)
    facts = AttemptFacts(1, "a", "anthropic", "m", 0.0, failure=FailureClass.AUTH)
    for _ in range(3):
        journal.tell(Record("attempt_over", 0.0, 0.0, ExchangeFacts("e", "anthropic", 0.0), attempt=facts))
    key, quota = conditions.now()
    assert (key.what, key.since, key.count, key.needs_a_hand) == (KEY.what, 100.0, 3, True)
    assert (quota.until, quota.needs_a_hand) == (5000.0, False)
    conditions.look([QUOTA], 102.0)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["needs a hand", "for a while", "over"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO"]
    assert "met 3 times" in caplog.records[2].getMessage()


FAILURES: dict[str, tuple[Failure, str, str]] = {
    "auth": (Failure(FailureClass.AUTH, "401 invalid"), "the key of a is refused: 401 invalid", "put a new key into"),
    "billing": (Failure(FailureClass.BILLING, "no credit"), "a has no credit", "add credit to a"),
    "forbidden": (Failure(FailureClass.FORBIDDEN, "no"), "a may not do this: no", "the permission"),
    "quota": (Failure(FailureClass.QUOTA, "429", wait_s=900.0), "a is used up for claude-x until", NOTHING),
}


@pytest.mark.parametrize("kind", [kind for kind in FAILURES if kind != "quota"])
def test_what_a_person_has_to_mend_is_told_until_a_request_has_found_that_it_is(kind: str) -> None:
    state = state_of("a", "b")
    conditions = Conditions(Journal(), lambda: state)
    failure, what, do = FAILURES[kind]
    fail(state, "a", failure)
    (found,) = conditions.now()
    assert (found.kind, found.what.startswith(what), found.do.startswith(do) or do in found.do) == (kind, True, True)
    assert (found.until, found.account) == (None, "a")
    for _ in range(3):
        state.clock.at += 5000.0  # type: ignore[attr-defined]
        (still,) = conditions.now()
        assert (still.since, still.what) == (found.since, found.what)
        fail(state, "a", failure)
    fail(state, "a", None)
    assert conditions.now() == []


@pytest.mark.parametrize("kind", ["quota"])
def test_what_keeps_an_account_away_is_told_until_it_is_over(kind: str) -> None:
    state = state_of("a", "b")
    failure, what, do = FAILURES[kind]
    assert not list(found_in(state))
    fail(state, "a", failure)
    (found,) = found_in(state)
    assert (found.kind, found.what.startswith(what), found.do.startswith(do) or do in found.do) == (kind, True, True)
    assert found.until is not None
    state.clock.at += found.until - state.clock.wall() + 1  # type: ignore[attr-defined]
    assert not list(found_in(state))


def test_an_account_is_reset_by_hand() -> None:
    state = state_of("a")
    fail(state, "a", Failure(FailureClass.QUOTA, "429", wait_s=9000.0))
    assert list(found_in(state))
    assert state.accounts.reset("a")
    assert not state.accounts.reset("nobody")
    assert not list(found_in(state))


def test_failures_in_a_row_are_told() -> None:
    state = state_of("a", "b")
    for _ in range(3):
        fail(state, "a", Failure(FailureClass.TRANSIENT, "500 oops"))
    (found,) = found_in(state)
    assert found.kind == "strikes"
    assert "3 failures in a row" in found.what


def broken(state: State) -> None:
    state.config_trouble = "line 3"


def keyless(state: State) -> None:
    state.credential_troubles["a"] = "environment variable X is not set"


def alone(state: State) -> None:
    for name in ("a", "b"):
        fail(state, name, Failure(FailureClass.AUTH, "401"))


@pytest.mark.parametrize(
    ("breaks", "status", "kinds"),
    [
        (lambda _: None, "ok", []),
        (broken, "degraded", ["configuration"]),
        (keyless, "degraded", ["no_key"]),
        (alone, "down", ["auth", "auth", "no_account"]),
    ],
)
def test_the_status_means_what_it_says(breaks: Callable[[State], None], status: str, kinds: list[str]) -> None:
    state = state_of("a", "b")
    breaks(state)
    conditions = Conditions(Journal(), lambda: state)
    assert [each.kind for each in conditions.now()] == kinds
    assert status_of(state, conditions.now()) == status


def test_what_this_machine_lacks_is_told_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(__import__("logging").getLogger("x"), "no log file: %s", "there is one", do="make room")
    state = state_of("a")
    trouble.met("disk full")
    assert [(each.what, each.do) for each in found_in(state)] == [("no log file: disk full", "make room")]
    trouble.over()
    assert not list(found_in(state))
