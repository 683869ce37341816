from typing import get_args

import pytest
from antigravity_healing.monitor.log.steps import line_of
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.journal.records import AttemptFacts, ExchangeEnd, ExchangeFacts, Finding, Record, Step
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.policy.settings.schema import Retry
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.exchange.stage import Script, accounts_named, play
from tests.upstream import (
    anthropic_end,
    anthropic_error_event,
    anthropic_events,
    anthropic_start,
    gemini_chunk,
    gemini_event,
    gemini_events,
)

steady = settings(deadline=None, derandomize=True)
EMPTY_GEMINI = Script(body=(gemini_event(gemini_chunk([{"text": ""}], finish_reason="STOP")),))
EMPTY_ANTHROPIC = Script(body=(b"".join([anthropic_start(), *anthropic_end()]),))
NOTHING = Script()
SILENCE = Script(body=(anthropic_start(),), end="hang")
ERROR = Script(body=(anthropic_start(), anthropic_error_event()))
GOOD = {"anthropic": Script(body=tuple(anthropic_events())), "gemini": Script(body=tuple(gemini_events()))}
STEPS = get_args(Step)

EMPTY_WORDS = "[Gemini] Empty first chunk received, retrying..."
TIMEOUT_WORDS = "Timeout waiting for first data"
ENDED_WORDS = "Stream ended immediately"
PEEK_WORDS = "Stream error during peek"
WORDS = [EMPTY_WORDS, TIMEOUT_WORDS, ENDED_WORDS, PEEK_WORDS]


def lines(bad: Script, dialect: str = "anthropic", *, attempts: int = 2, healed: bool = True) -> list[str]:
    """The log of an exchange whose first attempt, or all of them, went like this."""
    accounts = Accounts(accounts_named("a", "b", dialect=dialect))
    scripts = [bad, GOOD[dialect]] if healed else [bad]
    played = play(scripts, dialect=dialect, accounts=accounts, rules=Rules(Retry(max_attempts=attempts)))
    return [line_of(record) for record in played.records if record.step != "over"]


@pytest.mark.parametrize(
    ("bad", "dialect", "words"),
    [
        (EMPTY_GEMINI, "gemini", EMPTY_WORDS),
        (SILENCE, "anthropic", TIMEOUT_WORDS),
        (Script(None, end="hang"), "gemini", TIMEOUT_WORDS),
        (NOTHING, "anthropic", ENDED_WORDS),
        (NOTHING, "gemini", ENDED_WORDS),
        (ERROR, "anthropic", PEEK_WORDS),
    ],
)
def test_the_words_that_people_search_for_stand_where_it_happened(bad: Script, dialect: str, words: str) -> None:
    log = lines(bad, dialect)
    (line,) = (line for line in log if words in line)
    assert "attempt 1 on" in line
    assert "retrying..." in line
    assert not any(other in line for other in WORDS if other != words)
    assert sum("retrying..." in line for line in log) == 1


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_a_good_exchange_says_none_of_them(dialect: str) -> None:
    log = lines(GOOD[dialect], dialect)
    assert not any(word in line for line in log for word in (*WORDS, "retrying"))


def test_an_empty_answer_of_the_other_dialect_is_not_geminis() -> None:
    log = lines(EMPTY_ANTHROPIC)
    assert not any("[Gemini]" in line for line in log)
    assert any("0 tokens" in line and "retrying..." in line for line in log)


@pytest.mark.parametrize("bad", [EMPTY_GEMINI, NOTHING])
def test_nothing_is_said_to_be_retried_that_is_not(bad: Script) -> None:
    log = lines(bad, "gemini", attempts=1, healed=False)
    assert not any("retrying" in line for line in log)
    assert sum("no other try" in line or "the client has been told" in line for line in log) == 1


def test_what_breaks_after_commit_is_not_called_peek_nor_retried() -> None:
    broken = Script(body=(b"".join(anthropic_events()[:4]), anthropic_error_event()))
    log = lines(broken)
    assert not any("peek" in line or "retrying" in line for line in log)
    assert "the client has been told" in log[-1]
    assert "Overloaded" in log[-1]


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_a_line_that_names_its_exchange(step: Step) -> None:
    line = line_of(record(step, "some words", AttemptFacts(2, "work", "anthropic", "m", 0.0, failure=FailureClass.CUT)))
    assert line.startswith("[e7] ")
    assert "None" not in line


def record(step: Step, text: str, attempt: AttemptFacts) -> Record:
    end = ExchangeEnd("failed", Finding(text, text, text)) if step == "over" else None
    return Record(step, 0.0, 0.0, ExchangeFacts("e7", "gemini", 0.0), text, attempt, 1.5, end)


texts = st.text(st.sampled_from("a \n\r\t\x1b[e7é"), max_size=12)


@steady
@given(st.sampled_from(STEPS), st.sampled_from(list(FailureClass)), st.integers(0, 3), texts)
def test_a_record_is_one_line_and_can_not_pose_as_another(
    step: Step, kind: FailureClass, attempt: int, text: str
) -> None:
    # What upstream says, and the model that a client asks for, are others' words.
    facts = AttemptFacts(attempt, "work", "gemini", text, 0.0, failure=kind, detail=f"500 api_error: {text}")
    line = line_of(record(step, f"POST /{text}", facts))
    assert not {"\n", "\r", "\x1b"}.intersection(line)
