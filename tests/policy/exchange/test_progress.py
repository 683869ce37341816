from collections.abc import Callable

import pytest
from antigravity_healing.policy.exchange.attempt import Attempt, AttemptState, UpstreamEnd
from antigravity_healing.policy.exchange.progress import Progress, State
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.settings.schema import BUILT_IN

from tests.policy.exchange.stage import request_in


def attempt() -> Attempt:
    account = Account("work", "work", "anthropic", BUILT_IN["anthropic"])
    return Attempt(1, account, "m", request_in("anthropic").as_it_is(), 0.0)


def test_an_exchange_waits_or_has_an_attempt_under_way_until_it_is_over() -> None:
    progress, first = Progress(), attempt()
    assert (progress.state, progress.current, progress.outcome) == (State.WAITING, None, "")
    progress.turn_to(first)
    assert (progress.state, progress.current) == (State.UNDER_WAY, first)
    progress.wait()
    assert (progress.state, progress.current) == (State.WAITING, None)
    progress.turn_to(first)
    progress.close("clean")
    assert (progress.state, progress.current, progress.outcome) == (State.OVER, None, "clean")


@pytest.mark.parametrize(("after_a_bug", "state"), [(Progress.pass_on, State.PASSING), (Progress.crash, State.CRASHED)])
def test_a_bug_ends_the_healing_of_what_runs_and_changes_nothing_of_what_is_over(
    after_a_bug: Callable[[Progress], None], state: State
) -> None:
    running, over = Progress(), Progress()
    over.close("healed")
    after_a_bug(running)
    after_a_bug(over)
    assert (running.state, running.outcome) == (state, "")
    assert (over.state, over.outcome) == (State.OVER, "healed")


def test_what_an_attempt_sends_is_what_is_asked_until_that_is_repaired() -> None:
    made = attempt()
    assert made.body == made.asked.body
    assert (made.state, made.sent, made.delivering) == (AttemptState.PREPARING, False, False)


@pytest.mark.parametrize(
    ("first", "then", "end"),
    [
        (UpstreamEnd.BY_ITSELF, UpstreamEnd.ABORTED, UpstreamEnd.BY_ITSELF),
        (UpstreamEnd.BY_ITSELF, UpstreamEnd.KILLED, UpstreamEnd.KILLED),
        (UpstreamEnd.ABORTED, UpstreamEnd.BY_ITSELF, UpstreamEnd.ABORTED),
        (UpstreamEnd.ABORTED, UpstreamEnd.KILLED, UpstreamEnd.ABORTED),
        (UpstreamEnd.KILLED, UpstreamEnd.BY_ITSELF, UpstreamEnd.KILLED),
    ],
)
def test_an_attempt_ends_once_but_for_a_kill_of_what_has_ended_by_itself(
    first: UpstreamEnd, then: UpstreamEnd, end: UpstreamEnd
) -> None:
    made = attempt()
    made.has_ended(first)
    made.has_ended(then)
    assert made.ended
    assert made.upstream_end is end
