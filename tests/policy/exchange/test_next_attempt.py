"""Which attempt comes next: which account is worth another try, what uses one up, and when."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from antigravity_healing.policy.judging.failures import NEVER_RESOLVED
from antigravity_healing.policy.routing.accounts import Account, Accounts, runtime_accounts
from antigravity_healing.policy.settings import schema

from tests.policy.exchange.stage import Script, Stage, accounts_named, cool, play
from tests.policy.exchange.test_exchange import (
    BAD_KEY,
    EMPTY,
    GOOD,
    LIMITED,
    OVERLOADED,
    REFUSED,
    SILENCE,
    limited_for,
    one_account,
    script,
    with_rules,
)
from tests.upstream import anthropic_error, anthropic_start

UNPAID = script(anthropic_error(402, "billing_error", "Your account has a past due invoice."))
DISABLED = script(anthropic_error(403, "permission_error", "Your API key has been disabled."))
BUSY_FOR_LONG = script(anthropic_error(529, "overloaded_error", "Overloaded", headers={"retry-after": "31"}))


def in_turn(names: str) -> list[Account]:
    """Accounts of one upstream, which are preferred in this order."""
    return [replace(account, priority=place) for place, account in enumerate(accounts_named(*names))]


def at_two_upstreams(names: str = "ab") -> list[Account]:
    """Accounts in this order, each but the first at a server of its own."""
    there = [schema.Upstream(dialect="anthropic", url=f"http://127.0.0.1:{port}") for port in range(1, 9)]
    first, *others = in_turn(names)
    return [first, *(replace(each, upstream_name=each.name, upstream=there.pop()) for each in others)]


def play_on(accounts: Sequence[Account], scripts: Sequence[Script], **more: object) -> Stage:
    return play(scripts, accounts=Accounts(accounts), **more)


# The account that is free when the wait is over.


def test_the_account_that_will_be_free_when_the_wait_is_over_is_asked() -> None:
    accounts = Accounts(in_turn("abc"))
    cool(accounts, "b", 0.5)
    played = play([LIMITED, GOOD], accounts=accounts)
    assert played.names == ["a", "b"]


def test_an_account_that_will_still_cool_when_the_wait_is_over_is_not_asked() -> None:
    accounts = Accounts(in_turn("abc"))
    cool(accounts, "b", 1.5)
    assert play([LIMITED, GOOD], accounts=accounts).names == ["a", "c"]


# A client that waits, whatever is tried for it meanwhile.


def test_the_time_to_the_first_sign_of_life_runs_on_from_attempt_to_attempt() -> None:
    held = Script(body=(anthropic_start(), 6.0), end="cut")
    played = play([held, held, SILENCE], rules=with_rules(max_attempts=4))
    assert len(played.played) >= 3
    assert played.responded_at == 1015.0


# Refusals that use up no try.


@pytest.mark.parametrize("refusal", [limited_for(3600), UNPAID, BAD_KEY, DISABLED], ids=["quota", "402", "401", "403"])
@pytest.mark.parametrize("tries", [1, 3])
def test_a_refusal_that_is_one_accounts_uses_up_no_try(refusal: Script, tries: int) -> None:
    played = play_on(in_turn("abcdef"), [refusal] * 5 + [GOOD], rules=with_rules(max_attempts=tries))
    assert played.names == list("abcdef")
    assert played.exchange.outcome == "healed"
    assert played.waited_s == 0


def test_what_is_nobodys_refusal_still_uses_up_a_try() -> None:
    assert play_on(in_turn("abcdef"), [EMPTY]).attempts == 3
    assert play_on(in_turn("abcdef"), [UNPAID, EMPTY]).attempts == 4


def test_each_account_is_asked_once_when_all_refuse() -> None:
    played = play_on(in_turn("abcd"), [UNPAID])
    assert played.names == list("abcd")
    assert played.body == UNPAID.whole


def test_accounts_that_are_known_to_refuse_use_up_tries() -> None:
    accounts = Accounts(in_turn("abcdef"))
    play([BAD_KEY], accounts=accounts)
    assert play([BAD_KEY], accounts=accounts).attempts == 3


def test_one_account_that_is_waited_for_uses_up_time() -> None:
    played = play_on(in_turn("a"), [limited_for(5)])
    assert 5 <= played.attempts <= 7
    assert 20 < played.waited_s <= 30


# Short limits.


def test_a_short_limit_moves_to_another_account_the_second_time_and_without_a_wait() -> None:
    played = play_on(in_turn("ab"), [limited_for(1), limited_for(1), GOOD])
    assert played.names == ["a", "a", "b"]
    assert 1.0 <= played.waited_s <= 1.2


def test_a_short_limit_is_waited_for_twice_where_there_is_no_other_account() -> None:
    played = play([limited_for(1), limited_for(1), GOOD], accounts=one_account())
    assert played.exchange.outcome == "healed"
    assert 2.0 <= played.waited_s <= 2.4


def test_a_short_limit_of_every_account_is_waited_for() -> None:
    played = play_on(in_turn("ab"), [limited_for(1)] * 3 + [GOOD], rules=with_rules(max_attempts=4))
    assert played.names == ["a", "a", "b", "a"]
    assert 2.0 <= played.waited_s <= 2.4


# Servers that are busy.


def test_a_busy_server_is_left_for_another_upstream_the_second_time() -> None:
    played = play_on(at_two_upstreams(), [OVERLOADED, OVERLOADED, GOOD])
    assert played.names == ["a", "a", "b"]
    assert 0.8 <= played.waited_s <= 1.2


def test_a_server_that_is_busy_for_longer_than_may_be_waited_is_left_at_once() -> None:
    played = play_on(at_two_upstreams(), [BUSY_FOR_LONG, GOOD])
    assert played.names == ["a", "b"]
    assert played.waited_s == 0


def test_another_account_at_the_same_busy_server_is_no_way_out() -> None:
    assert set(play_on(in_turn("ab"), [OVERLOADED]).names) == {"a"}
    played = play_on(in_turn("ab"), [BUSY_FOR_LONG])
    assert (played.names, played.body) == (["a"], BUSY_FOR_LONG.whole)


def test_no_account_that_cools_is_taken_for_a_way_out() -> None:
    accounts = Accounts(at_two_upstreams())
    cool(accounts, "b", 1000.0)
    assert set(play([OVERLOADED], accounts=accounts).names) == {"a"}


def test_where_every_upstream_is_busy_the_last_one_is_waited_for() -> None:
    played = play_on(at_two_upstreams(), [OVERLOADED])
    assert played.names[:5] == ["a", "a", "b", "b", "b"]


# Connections that can't be made.


def test_a_dead_connection_asks_each_other_account_before_it_waits() -> None:
    played = play_on(in_turn("abc"), [REFUSED] * 5 + [GOOD])
    assert played.names[:4] == ["a", "a", "b", "c"]
    assert all(each.started_at == 1000.0 for each in played.played[:4])
    assert played.played[4].started_at > 1001.0
    assert played.exchange.outcome == "healed"


# What upstream itself says of another try.


def told_not_to(status: int, kind: str, **headers: str) -> Script:
    return script(anthropic_error(status, kind, "No.", headers={"x-should-retry": "false", **headers}))


@pytest.mark.parametrize(
    "final",
    [
        told_not_to(500, "api_error"),
        told_not_to(529, "overloaded_error"),
        told_not_to(429, "rate_limit_error", **{"retry-after": "1"}),
        told_not_to(429, "rate_limit_error", **{"retry-after": "5"}),
    ],
    ids=["500", "529", "429 short", "429 long"],
)
def test_a_request_that_is_told_not_to_be_made_again_is_not(final: Script) -> None:
    played = play([final, GOOD], accounts=one_account())
    assert (played.attempts, played.body) == (1, final.whole)
    assert played.header("x-should-retry") == "false"


def test_what_was_refused_for_its_account_is_asked_of_another_all_the_same() -> None:
    for final in (
        told_not_to(429, "rate_limit_error", **{"retry-after": "999"}),
        told_not_to(401, "authentication_error"),
    ):
        assert play_on(in_turn("ab"), [final, GOOD]).names == ["a", "b"]


def test_the_word_of_an_answer_that_is_no_refusal_is_not_asked_for() -> None:
    cut = Script(headers=(*GOOD.headers, (b"x-should-retry", b"false")), body=(anthropic_start(),), end="cut")
    assert play([cut, GOOD]).exchange.outcome == "healed"


# Keys that can be renewed.


def with_command() -> Accounts:
    """Two accounts, of which the first has a key that a command prints."""
    table = [{"name": "a", "api_key": "cmd:print-key"}, {"name": "b", "api_key": "env:B", "priority": 1}]
    return Accounts(runtime_accounts(schema.Config.model_validate({"accounts": table})))


def test_an_account_whose_key_is_being_renewed_is_not_benched() -> None:
    accounts = with_command()
    seen: list[object] = []

    def script_for(number: int) -> Script:
        seen.append(accounts.report(1000.0)[0]["benches"])
        return BAD_KEY if number == 1 else GOOD

    played = Stage(script_for, accounts=accounts, rules=with_rules(max_attempts=1)).play()
    assert played.names == ["a", "a"]
    assert [each.attempt.renew for each in played.played] == [False, True]
    assert seen == [[], []]


def test_an_account_whose_renewed_key_is_refused_is_benched() -> None:
    accounts = with_command()
    assert play([BAD_KEY, BAD_KEY, GOOD], accounts=accounts).names == ["a", "a", "b"]
    assert play([GOOD], accounts=accounts).names == ["b"]


# When all are benched.


def test_when_all_are_benched_priority_still_counts() -> None:
    accounts = Accounts(in_turn("abc"))
    # The one to be free first is the one to be used last.
    for name in ("c", "b", "a"):
        refuse_key(accounts, name)
    assert play([GOOD], accounts=accounts).names == ["a"]


@pytest.mark.parametrize("session", ["s1", "s2", "s3", "s4", "s5", "s6"])
def test_when_all_are_benched_a_session_stays_where_it_is_at_home(session: str) -> None:
    accounts = Accounts(accounts_named("a", "b", "c"))
    home = accounts.choose(accounts.all, "the-model", session, 1000.0)
    for name in "abc":
        refuse_key(accounts, name)
    assert accounts.choose(accounts.all, "the-model", session, 1000.0) is home


def refuse_key(accounts: Accounts, name: str) -> None:
    """Let another request find that upstream refuses this account's key."""
    (account,) = (each for each in accounts.all if each.name == name)
    played = play([BAD_KEY], accounts=(only := Accounts([account], before=accounts)))
    assert played.names == [name]
    assert only.report(1000.0)[0]["benches"]


# Names that nobody knows.


@pytest.mark.parametrize("names", ["a", "abcde"])
def test_a_name_that_nobody_knows_is_tried_four_times_and_no_more_whoever_is_to_be_asked_there(names: str) -> None:
    there = schema.Upstream(dialect="anthropic", url="https://typo.example")
    accounts = [replace(account, upstream=there) for account in in_turn(names)]
    why = f"[Errno -2] Name or service not known: the name typo.example can't be resolved, {NEVER_RESOLVED}"
    played = play_on(accounts, [Script(None, why=why)] * 40)
    assert len(played.played) == 4
    assert played.waited_s <= 3
