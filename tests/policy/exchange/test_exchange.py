import json
import math
from dataclasses import replace
from typing import cast
from unittest.mock import patch

import pytest
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.exchange.next_attempt import Next, Planner
from antigravity_healing.policy.exchange.retry_table import LOCAL_WAITS_S, RetryBudget
from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.policy.settings.schema import Peek, Retry

from tests.policy.exchange.stage import JSON, MODEL, SSE, Mode, Script, Stage, accounts_named, cool, play
from tests.support.protocol import check_anthropic_error, check_anthropic_json, check_anthropic_stream
from tests.upstream import (
    PING,
    anthropic_empty,
    anthropic_error,
    anthropic_error_event,
    anthropic_events,
    anthropic_json,
    anthropic_start,
    gemini_chunk,
    gemini_empty,
    gemini_error,
    gemini_event,
    quota_failure,
    retry_info,
)
from tests.upstream.replies import Reply


def script(reply: Reply, **more: str) -> Script:
    """What an upstream's reply is for an exchange."""
    headers = tuple((name.encode(), value.encode()) for name, value in {**dict(reply.headers), **more}.items())
    return Script(reply.status, headers, tuple(reply.chunks) or (reply.body or b"",))


EVENTS = anthropic_events("Hello there")
STREAM = b"".join(EVENTS)
GOOD = Script(body=(STREAM,))
EMPTY = script(anthropic_empty())
REFUSED = Script(None, end="cut")
OVERLOADED = script(anthropic_error(529, "overloaded_error", "Overloaded"))
INTERNAL = script(anthropic_error(500, "api_error", "Oops"))
LIMITED = script(anthropic_error(429, "rate_limit_error", "Slow down"))
CALLER = script(anthropic_error(400, "invalid_request_error", "max_tokens: Field required"))
BAD_KEY = script(anthropic_error(401, "authentication_error", "invalid x-api-key"))
HEARTBEATS = Script(body=(anthropic_start(), *(PING, 20.0) * 60), end="hang")
SILENCE = Script(body=(anthropic_start(),), end="hang")


def limited_for(seconds: float) -> Script:
    return script(anthropic_error(429, "rate_limit_error", "Slow down", headers={"retry-after": f"{seconds:g}"}))


def with_rules(**settings: object) -> Rules:
    return Rules(Retry.model_validate(settings))


def one_account() -> Accounts:
    return Accounts(accounts_named("a"))


def test_without_a_fault_there_is_one_attempt_and_its_bytes() -> None:
    played = play([GOOD])
    assert (played.attempts, played.body, played.exchange.outcome) == (1, STREAM, "clean")
    assert played.steps() == ["received", "attempt", "commit", "attempt_over", "delivered", "over"]
    assert (played.header("x-healing-outcome"), played.header("x-healing-attempts")) == ("clean", "1")
    assert played.header("x-mapped-model") == MODEL
    assert played.header("x-account-email") == f"{played.names[0]}@x.example"
    assert played.exchange.comment == ""


def test_the_first_byte_goes_out_with_the_first_content_and_not_later() -> None:
    content_at = next(at for at, event in enumerate(EVENTS) if b"text_delta" in event)
    spaced = tuple(part for event in EVENTS for part in (event, 1.0))
    played = play([Script(body=spaced)])
    assert played.body == STREAM
    assert played.sent[0] == (1000.0 + content_at, b"".join(EVENTS[: content_at + 1]))
    assert played.responded_at == 1000.0 + content_at


@pytest.mark.parametrize(
    "bad", [EMPTY, REFUSED, OVERLOADED, INTERNAL, LIMITED, BAD_KEY, limited_for(60), limited_for(1)]
)
def test_one_failure_is_healed_and_nothing_of_it_shows(bad: Script) -> None:
    played = play([bad, GOOD])
    assert (played.attempts, played.body, played.exchange.outcome) == (2, STREAM, "healed")
    assert (played.header("x-healing-outcome"), played.header("x-healing-attempts")) == ("healed", "2")
    assert played.header("x-account-email") == f"{played.names[1]}@x.example"
    assert played.exchange.comment.startswith("healed: ")


@pytest.mark.parametrize(
    ("bad", "elsewhere"),
    [
        (EMPTY, True),
        (INTERNAL, True),
        (LIMITED, True),
        (BAD_KEY, True),
        (limited_for(60), True),
        (Script(body=(anthropic_start(),), end="cut"), True),
        (Script(body=(b"data: {oops\n\n",)), True),
        (REFUSED, False),
        (OVERLOADED, False),
        (limited_for(1), False),
    ],
)
def test_where_the_second_attempt_goes(bad: Script, elsewhere: bool) -> None:
    played = play([bad, GOOD])
    assert (played.names[0] != played.names[1]) is elsewhere


def test_a_dead_connection_is_tried_once_more_where_it_was_and_then_elsewhere() -> None:
    played = play([REFUSED, REFUSED, GOOD])
    assert played.names[0] == played.names[1] != played.names[2]
    assert played.waited_s == 0


@pytest.mark.parametrize(
    ("bad", "least_s", "most_s"),
    [
        (EMPTY, 0, 0),
        (REFUSED, 0.4, 0.6),
        (INTERNAL, 0.4 + 0.8, 0.6 + 1.2),
        (OVERLOADED, 0.8 + 1.6, 1.2 + 2.4),
        (LIMITED, 0.8 + 1.6, 1.2 + 2.4),
        (limited_for(1.5), 3.0, 3.6),
        (limited_for(5), 10.0, 12.0),
    ],
)
def test_how_long_is_waited_between_three_attempts(bad: Script, least_s: float, most_s: float) -> None:
    played = play([bad, bad, GOOD], accounts=one_account())
    assert played.attempts == 3
    assert least_s - 1e-9 <= played.waited_s <= most_s + 1e-9


@pytest.mark.parametrize("bad", [REFUSED, OVERLOADED, LIMITED, limited_for(0.4)])
@pytest.mark.parametrize("tries", [1, 3])
def test_what_upstream_turns_away_is_tried_until_the_time_is_used_up(bad: Script, tries: int) -> None:
    played = play([bad], accounts=one_account(), rules=with_rules(max_attempts=tries))
    assert 29.5 <= played.waited_s <= 30
    assert 7 <= played.attempts <= 12
    assert played.finished_at == played.played[-1].ended_at


@pytest.mark.parametrize(
    "bad", [EMPTY, SILENCE, Script(body=(b"data: {oops\n\n",)), Script(body=(STREAM[:1],), end="cut")]
)
def test_what_upstream_has_worked_for_is_tried_three_times_however_much_time_there_is(bad: Script) -> None:
    played = play([OVERLOADED, bad, OVERLOADED, OVERLOADED, bad, REFUSED, bad])
    assert (played.attempts, played.exchange.outcome) == (7, "failed")


def test_an_error_that_follows_content_which_was_held_is_none_that_cost_nothing() -> None:
    rules = Rules(Retry(), Peek(commit="end"))
    late = Script(body=(b"".join(EVENTS[:4]), anthropic_error_event("overloaded_error", "Overloaded")))
    assert play([late], accounts=one_account(), rules=rules).attempts == 3
    early = Script(body=(EVENTS[0], anthropic_error_event("overloaded_error", "Overloaded")))
    assert play([early], accounts=one_account(), rules=rules).attempts > 3


def test_a_try_that_fails_after_a_long_time_is_none_that_cost_nothing() -> None:
    slow, quick = (script(anthropic_error(529, "overloaded_error", "Too slow")) for _ in range(2))
    slow = replace(slow, before_head=10.5)
    assert play([slow], accounts=one_account()).attempts == 3
    assert play([quick], accounts=one_account()).attempts > 3


@pytest.mark.parametrize("bad", [REFUSED, INTERNAL, OVERLOADED, EMPTY, limited_for(0)])
def test_without_time_to_wait_the_number_of_tries_bounds_them_all(bad: Script) -> None:
    for tries in (1, 3):
        played = play([bad], accounts=one_account(), rules=with_rules(max_attempts=tries, max_wait=0))
        assert played.attempts <= tries
        assert played.waited_s == 0


@pytest.mark.parametrize(
    ("bad", "settings", "spare", "named"),
    [
        (EMPTY, {}, 20, "its tries are used up (max_attempts = 3)"),
        (OVERLOADED, {}, 20, "beyond max_wait = 30 s"),
        (REFUSED, {"max_wait": 2}, 20, "beyond max_wait = 2 s"),
        (limited_for(3600), {}, 20, "beyond max_wait = 30 s"),
        (OVERLOADED, {}, 2, "the proxy's budget of retries is used up (spare_retries = 2)"),
        (EMPTY, {}, 0, "the proxy's budget of retries is used up (spare_retries = 0)"),
        (CALLER, {}, 20, ""),
    ],
)
def test_the_budget_that_allowed_no_other_try_is_named(
    bad: Script, settings: dict[str, float], spare: int, named: str
) -> None:
    played = play([bad], accounts=one_account(), rules=with_rules(**settings), budget=RetryBudget(spare))
    (told,) = (record.text for record in played.records if record.step == "gave_up")
    end = played.records[-1].end
    assert end is not None
    if named:
        assert named in told
        assert named in end.finding.done
    else:
        assert (told, "used up" in end.finding.done) == ("", False)


def test_a_budget_that_was_spent_for_a_moment_is_not_named_after_an_answer_that_broke() -> None:
    played = play([OVERLOADED, Script(body=(b"".join(EVENTS[:4]),), end="cut")])
    end = played.records[-1].end
    assert end is not None
    assert (end.outcome, "used up" in end.finding.done) == ("failed", False)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_a_client_that_has_begun_to_wait_gets_signs_of_life_between_tries_too(dialect: str) -> None:
    start, bad = (
        (anthropic_start(), anthropic_error(529, "overloaded_error", "Overloaded"))
        if dialect == "anthropic"
        else (gemini_event(gemini_chunk([{"text": ""}])), gemini_error(503, None, "The model is overloaded."))
    )
    accounts = Accounts(accounts_named("a", dialect=dialect))
    played = play([Script(body=(start,), end="cut"), script(bad)], accounts=accounts, dialect=dialect)
    assert played.responded_at == 1015.0
    # The waits by then are of 8 s; a sign of life comes all the same.
    assert len([at for at, data in played.sent if data == played.exchange.request.dialect.keep_alive]) >= 2


def test_a_callers_error_is_delivered_as_it_came_the_first_time() -> None:
    played = play([CALLER])
    assert played.attempts == 1
    assert played.respond is not None
    assert (played.respond.status, played.body) == (400, CALLER.whole)
    assert played.exchange.outcome == "failed"
    assert played.header("x-healing-outcome") == "failed"


@pytest.mark.parametrize("bad", [OVERLOADED, INTERNAL, LIMITED, BAD_KEY, limited_for(1)])
def test_the_last_answer_of_upstream_is_the_clients(bad: Script) -> None:
    played = play([bad])
    assert played.attempts > 1
    assert played.respond is not None
    assert (played.respond.status, played.body) == (bad.status, bad.whole)
    assert check_anthropic_error(played.respond.status, played.body)


def test_a_hint_that_does_not_fit_goes_to_the_client_at_once_and_intact() -> None:
    played = play([limited_for(3600)], accounts=one_account())
    assert (played.attempts, played.waited_s) == (1, 0)
    assert played.respond is not None
    assert (played.respond.status, played.body) == (429, limited_for(3600).whole)
    assert played.header("retry-after") == "3600"


def used_up(told_s: float | None = None) -> Script:
    """Google's refusal when a day's quota is used up: in its body it names a wait that is far too short."""
    details = [quota_failure("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), retry_info("45s")]
    headers = {} if told_s is None else {"retry-after": f"{told_s:g}", "retry-after-ms": f"{1000 * told_s:g}"}
    return script(gemini_error(429, None, "You exceeded your current quota.", headers=headers, details=details))


def first_free_in_s(played: Stage) -> float:
    """Seconds until the first account is free, as the report has it at the end."""
    return min(
        cast("float", bench["seconds_left"])
        for report in played.accounts.report(played.clock.at)
        for bench in cast("list[dict[str, object]]", report["benches"])
    )


@pytest.mark.parametrize("told_s", [None, 45.0])
@pytest.mark.parametrize("mode", ["sse", "json"])
def test_the_first_client_is_told_the_wait_that_the_proxy_knows_and_the_next_one_the_same(
    told_s: float | None, mode: Mode
) -> None:
    accounts = Accounts(accounts_named("a", dialect="gemini"))
    bad = used_up(told_s)
    first = play([bad], accounts=accounts, dialect="gemini", mode=mode)
    assert (first.attempts, first.body) == (1, bad.whole)
    assert int(first.header("retry-after") or 0) == math.ceil(first_free_in_s(first)) > 45
    assert first.header("retry-after-ms") is None
    second = play([bad], accounts=accounts, dialect="gemini", mode=mode)
    assert (second.attempts, second.header("retry-after")) == (0, first.header("retry-after"))


def test_a_client_is_told_of_the_account_that_is_free_first() -> None:
    accounts = Accounts(accounts_named("a", "b"))
    played = play([limited_for(90), limited_for(3600)], accounts=accounts)
    assert (played.body, played.header("retry-after")) == (limited_for(3600).whole, "90")


def test_a_wait_that_upstream_names_in_its_body_needs_no_header() -> None:
    details = [quota_failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), retry_info("45s")]
    bad = script(gemini_error(429, None, "You exceeded your current quota.", details=details))
    played = play([bad], accounts=Accounts(accounts_named("a", dialect="gemini")), dialect="gemini")
    assert (played.body, played.header("retry-after")) == (bad.whole, None)


def test_upstreams_word_stands_where_it_asks_for_longer_than_is_believed() -> None:
    played = play([limited_for(900_000)], accounts=one_account())
    assert played.header("retry-after") == "900000"


def test_when_every_account_is_cooling_it_is_waited_for_if_that_fits() -> None:
    accounts = one_account()
    (only,) = accounts.all
    cool(accounts, only.name, 10.0)
    played = play([GOOD], accounts=accounts)
    assert 10 <= played.played[0].started_at - 1000.0 <= 12
    assert played.exchange.outcome == "clean"


def test_when_every_account_is_cooling_for_longer_the_client_is_told_for_how_long() -> None:
    accounts = Accounts(accounts_named("a", "b"))
    for account, wait_s in zip(accounts.all, (500.0, 90.5), strict=True):
        cool(accounts, account.name, wait_s)
    played = play([GOOD], accounts=accounts)
    assert (played.attempts, played.waited_s) == (0, 0)
    assert played.respond is not None
    error = check_anthropic_error(played.respond.status, played.body)
    assert error["type"] == "rate_limit_error"
    assert played.header("retry-after") == "91"
    assert played.header("x-healing-attempts") == "0"


def home_and_other() -> tuple[Accounts, str, str]:
    """Two accounts, and which of them the session is at home on."""
    accounts = Accounts(accounts_named("a", "b"))
    home = play([GOOD], accounts=accounts).names[0]
    return accounts, home, "b" if home == "a" else "a"


def test_upstreams_own_answer_is_not_lost_when_the_other_account_cools_for_longer_than_was_planned() -> None:
    accounts, home, other = home_and_other()
    cool(accounts, other, 5.0)
    played = play([BAD_KEY], accounts=accounts, meanwhile=lambda: cool(accounts, other, 86_400.0))
    assert played.names == [home]
    assert played.respond is not None
    assert (played.respond.status, played.body) == (401, BAD_KEY.whole)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_a_stream_without_content_is_delivered_when_no_account_can_be_waited_for_after_all(dialect: str) -> None:
    answers = iter([Next(Accounts(accounts_named("a", dialect=dialect)).all[0]), 86_400.0])
    empty = script(anthropic_empty() if dialect == "anthropic" else gemini_empty())
    with (
        patch.object(Planner, "first", lambda *_: next(answers)),
        patch.object(Planner, "after", lambda *_: Next(None, 1.0)),
    ):
        stage = Stage(lambda _: empty, dialect=dialect, accounts=Accounts(accounts_named("a", dialect=dialect)))
        stage.leave_at = 60.0
        stage.play()
    assert not stage.left
    assert stage.finish is not None


@pytest.mark.parametrize("seed", range(10))
def test_a_wait_for_another_account_is_long_enough_for_it_to_be_free(seed: int) -> None:
    accounts, home, other = home_and_other()
    cool(accounts, other, 5.0)

    def script_for(number: int) -> Script:
        if number == 1:
            cool(accounts, home, 100.0)
        return INTERNAL if number == 1 else GOOD

    played = Stage(script_for, accounts=accounts, seed=seed).play()
    assert played.names == [home, other]
    assert "wait" not in played.steps()
    assert 5.0 <= played.waited_s <= 1.2 * 5.6


@pytest.mark.parametrize("left", [0, 1])
def test_the_processs_budget_bounds_retries(left: int) -> None:
    budget = RetryBudget(left)
    played = play([EMPTY], budget=budget)
    assert played.attempts == 1 + left
    assert played.body == EMPTY.whole
    assert played.exchange.outcome == "failed"


def test_the_last_0_token_answer_is_delivered_and_called_failed() -> None:
    played = play([EMPTY])
    assert (played.attempts, played.body) == (3, EMPTY.whole)
    assert played.respond is not None
    assert played.respond.status == 200
    assert played.exchange.outcome == "failed"
    assert check_anthropic_stream(played.body).ended == "complete"


def test_the_last_attempt_is_held_like_any_other() -> None:
    played = play([EMPTY, EMPTY, Script(body=(anthropic_start(), 5.0, *EVENTS[1:]))])
    assert played.sent[0][0] == 1005.0
    assert played.body == STREAM
    overloaded = Script(body=(anthropic_start(), anthropic_error_event("overloaded_error", "Overloaded")))
    played = play([overloaded], rules=with_rules(max_wait=10))
    assert played.respond is not None
    assert (played.respond.status, played.header("x-healing-outcome")) == (529, "failed")
    assert check_anthropic_error(529, played.body)


@pytest.mark.parametrize("commit_first", [False, True])
def test_an_error_in_the_stream_is_healed_before_commit_and_told_after(commit_first: bool) -> None:
    begun = b"".join(EVENTS[:4]) if commit_first else EVENTS[0]
    played = play([Script(body=(begun, anthropic_error_event())), GOOD])
    if commit_first:
        assert played.body == begun + anthropic_error_event()
        assert (played.attempts, played.exchange.outcome) == (1, "failed")
        assert played.exchange.comment.startswith("failed: ")
        assert played.steps()[-2:] == ["broke", "over"]
    else:
        assert (played.body, played.exchange.outcome) == (STREAM, "healed")


def test_an_error_in_the_stream_that_no_retry_mends_comes_with_the_status_it_means() -> None:
    event = anthropic_error_event("invalid_request_error", "prompt is too long")
    played = play([Script(body=(EVENTS[0], event))])
    assert played.respond is not None
    assert check_anthropic_error(played.respond.status, played.body)["message"] == "prompt is too long"
    assert (played.respond.status, played.attempts) == (400, 1)


def test_a_200_whose_json_is_an_error_is_no_success() -> None:
    body = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).encode()
    played = play([Script(headers=JSON, body=(body,)), GOOD])
    assert (played.exchange.outcome, played.body) == ("healed", STREAM)
    played = play([Script(headers=JSON, body=(body,))], rules=with_rules(max_wait=10))
    assert played.respond is not None
    assert (played.respond.status, played.body) == (529, body)


@pytest.mark.parametrize("late", [HEARTBEATS, SILENCE])
def test_a_client_that_waits_is_kept_waiting_and_then_served(late: Script) -> None:
    played = play([late, GOOD])
    assert played.responded_at == 1015.0
    report = check_anthropic_stream(played.body)
    assert (report.text, report.ended, played.exchange.outcome) == ("Hello there", "complete", "healed")
    keep_alives = [at for at, data in played.sent if data == played.exchange.request.dialect.keep_alive]
    assert keep_alives == [1015.0 + 10 * n for n in range(len(keep_alives))]
    assert played.header("x-healing-attempts") == "1"


def test_pings_do_not_hide_that_no_content_comes() -> None:
    played = play([HEARTBEATS, GOOD])
    assert played.played[0].aborted
    assert played.played[0].ended_at == 1600.0


def test_silence_is_found_sooner_where_upstream_pings() -> None:
    assert play([SILENCE, GOOD]).played[0].ended_at == 1120.0


def test_a_failure_after_a_soft_commit_is_told_in_band() -> None:
    played = play([SILENCE, CALLER])
    assert played.respond is not None
    assert played.respond.status == 200
    report = check_anthropic_stream(played.body)
    assert report.error == json.loads(CALLER.whole)["error"]
    assert played.exchange.outcome == "failed"


def test_no_soft_commit_if_it_is_turned_off() -> None:
    played = play([SILENCE, GOOD], rules=Rules(Retry(), Peek(soft_commit=None)))
    assert played.responded_at == 1120.0
    assert played.body == STREAM


def test_a_response_that_never_comes_is_given_up() -> None:
    played = play([Script(None, end="hang"), GOOD])
    assert (played.played[0].ended_at, played.exchange.outcome) == (1300.0, "healed")
    for upgrade, ended_at in ((False, 1600.0), (True, 1300.0)):
        rules = Rules(Retry(upgrade=upgrade))
        played = play([Script(None, end="hang"), script(anthropic_json("Hi"))], mode="json", rules=rules)
        assert played.played[0].ended_at == ended_at
        assert check_anthropic_json(played.body).text == "Hi"


def test_a_stall_after_commit_is_told_and_never_retried() -> None:
    played = play([Script(body=(b"".join(EVENTS[:4]),), end="hang"), GOOD])
    assert (played.attempts, played.finished_at) == (1, 1300.0)
    assert check_anthropic_stream(played.body, allow_cut=True).ended == "cut"
    assert played.finish is not None
    assert played.finish.broken
    assert played.exchange.outcome == "failed"


@pytest.mark.parametrize("leave_at", [0.0, 5.0, 20.0])
@pytest.mark.parametrize("running", [Script(None, end="hang"), SILENCE, limited_for(30)])
def test_when_the_client_leaves_upstream_is_ended_at_once(running: Script, leave_at: float) -> None:
    played = play([running], accounts=one_account(), leave_at=leave_at, rules=with_rules(max_wait=100))
    assert played.left
    assert played.clock.at == 1000.0 + leave_at
    assert played.exchange.outcome == "client_left"
    assert played.steps()[-2:] == ["client_left", "over"]
    (report,) = played.accounts.report(1000.0)
    assert report["benches"] == [] or running.status == 429


def test_a_killed_attempt_is_not_retried_and_no_fault_of_its_account() -> None:
    accounts = one_account()
    for _ in range(5):
        played = play([Script(end="killed"), GOOD], accounts=accounts)
        assert (played.attempts, played.exchange.outcome) == (1, "failed")
        assert played.respond is not None
        check_anthropic_error(played.respond.status, played.body)
    assert accounts.report(1000.0)[0]["healthy"] is True


NO_CREDENTIAL = Script(end="no_credential")
NO_CREDENTIAL_EVER = Script(end="never_a_credential")


def test_an_account_without_its_credential_is_left_for_another_at_once() -> None:
    played = play([NO_CREDENTIAL, GOOD])
    assert played.names[0] != played.names[1]
    assert (played.exchange.outcome, played.waits) == ("healed", [])


def test_every_account_is_tried_where_credentials_are_missing_whatever_the_budgets() -> None:
    accounts = Accounts(accounts_named(*"abcdef"))
    stage = Stage(
        lambda number: GOOD if number == 6 else NO_CREDENTIAL,
        accounts=accounts,
        budget=RetryBudget(0),
        rules=Rules(Retry(max_attempts=1)),
    )
    played = stage.play()
    assert (sorted(played.names), played.exchange.outcome) == (list("abcdef"), "healed")


def test_a_credential_that_is_missing_for_a_moment_is_waited_for_and_its_account_not_blamed() -> None:
    accounts = one_account()
    played = play([NO_CREDENTIAL, NO_CREDENTIAL, GOOD], accounts=accounts)
    assert played.exchange.outcome == "healed"
    assert [0.16 <= wait <= 0.24 for wait in [played.waits[0][1] - played.waits[0][0]]] == [True]
    assert played.waited_s <= 0.84
    assert accounts.report(played.clock.at)[0]["benches"] == []


def test_a_credential_that_can_not_come_is_not_waited_for() -> None:
    played = play([NO_CREDENTIAL_EVER], accounts=one_account())
    assert (played.attempts, played.waits) == (1, [])
    assert played.respond is not None
    assert played.respond.status == 401


def test_beside_one_that_can_not_come_one_that_can_is_waited_for() -> None:
    accounts = Accounts(accounts_named("a", "b"))
    played = play([NO_CREDENTIAL_EVER, NO_CREDENTIAL, GOOD], accounts=accounts)
    assert (played.exchange.outcome, len(played.waits)) == ("healed", 1)
    assert played.names[0] not in played.names[1:]
    assert play([NO_CREDENTIAL, NO_CREDENTIAL_EVER, GOOD], accounts=accounts).exchange.outcome == "healed"


def test_a_credential_that_stays_missing_is_told_and_asked_for_anew_by_the_next_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    accounts = one_account()
    for _ in range(5):
        played = play([NO_CREDENTIAL], accounts=accounts)
        assert played.respond is not None
        assert played.respond.status == 401
        assert "no credential" in check_anthropic_error(played.respond.status, played.body)["message"]
        assert played.waited_s <= 1.2 * sum(LOCAL_WAITS_S)
    assert accounts.report(played.clock.at)[0]["benches"] == []
    assert len(caplog.messages) == 1
    caplog.set_level("INFO")
    assert play([GOOD], accounts=accounts).exchange.outcome == "clean"
    assert len(caplog.messages) == 2
    assert "is over" in caplog.messages[1]


@pytest.mark.parametrize(
    ("why", "benched"),
    [
        ("[Errno 24] Too many open files", False),
        ("[Errno 101] Connect call failed ('192.0.2.1', 443)", False),
        ("[Errno -3] Temporary failure in name resolution", False),
        ("[Errno 111] Connect call failed ('192.0.2.1', 443)", True),
        ("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] Connect call failed", True),
        ("HTTP/1 protocol error: [Errno 24] Too many open files", True),
    ],
)
def test_only_what_is_not_this_machines_trouble_is_held_against_an_account(why: str, benched: bool) -> None:
    accounts = one_account()
    for _ in range(3):
        played = play([Script(None, end="end", why=why)], accounts=accounts)
    assert played.respond is not None
    assert played.respond.status == 500
    assert bool(accounts.report(played.clock.at)[0]["benches"]) is benched


def test_upstream_that_says_all_and_does_not_close_is_ended() -> None:
    played = play([Script(body=(b"".join(EVENTS[:-1]),), end="hang")])
    assert played.played[0].aborted
    assert played.exchange.outcome == "clean"
    assert check_anthropic_stream(played.body).ended == "complete"


def test_a_coding_that_is_not_known_is_a_failure_and_not_passed_on() -> None:
    played = play([Script(headers=(*SSE, (b"content-encoding", b"rot13")), body=(STREAM,)), GOOD])
    assert (played.exchange.outcome, played.body) == ("healed", STREAM)


def test_a_failure_of_our_own_names_what_was_tried() -> None:
    played = play([REFUSED])
    assert played.respond is not None
    message = check_anthropic_error(played.respond.status, played.body)["message"]
    assert f"Tried {played.attempts} times" in message
    assert played.attempts > 3
    assert played.respond.status >= 500


def test_the_account_can_be_kept_from_the_client() -> None:
    played = play([GOOD], rules=Rules(account_header=False))
    assert played.header("x-account-email") is None
