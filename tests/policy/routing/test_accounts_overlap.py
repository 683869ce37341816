"""Attempts that overlap in time: what each one's end says of the account, and what it does not."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.policy.routing.accounts import STRIKES, Accounts, Use
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.routing.test_accounts import MODEL, account, failure, pick, use
from tests.support.examples import examples

HOUR_S = 3600.0
PROBE_S = 900.0
MODELS = ("one", "two")


def two_accounts() -> tuple[Accounts, Use]:
    """`a` before `b`, and an attempt that is under way on `a`."""
    accounts = Accounts([account("a"), account("b", 1)], named=[MODEL], probe_s=PROBE_S)
    return accounts, accounts.begin_use(accounts.all[0], MODEL, 0.0)


@pytest.mark.parametrize(
    ("kind", "wait_s", "whole"),
    [
        (FailureClass.QUOTA, 5 * HOUR_S, True),
        (FailureClass.QUOTA, 100.0, False),
        (FailureClass.QUOTA, None, False),
        (FailureClass.BILLING, None, False),
        (FailureClass.AUTH, None, False),
        (FailureClass.FORBIDDEN, None, False),
        (FailureClass.NO_MODEL, None, False),
    ],
)
def test_a_success_that_began_before_a_bench_leaves_it_and_one_that_began_after_it_ends_it(
    kind: FailureClass, wait_s: float | None, whole: bool
) -> None:
    accounts, early = two_accounts()
    use(accounts, "a", 1.0, kind, wait_s, whole=whole)
    late = accounts.begin_use(accounts.all[0], MODEL, 2.0)
    accounts.end_use(early, None, 3.0)
    assert pick(accounts, now=4.0) == "b"
    accounts.end_use(late, None, 5.0)
    assert pick(accounts, now=6.0) == "a"


def test_an_early_success_does_not_end_the_bench_for_failures_in_a_row() -> None:
    accounts, early = two_accounts()
    for _ in range(STRIKES):
        use(accounts, "a", 1.0, FailureClass.TRANSPORT)
    accounts.end_use(early, None, 2.0)
    assert pick(accounts, now=3.0) == "b"
    # Its probe fails: the next bench is longer, as if nothing had come between.
    use(accounts, "a", 31.0, FailureClass.TRANSPORT)
    assert pick(accounts, now=31.0 + 59.0) == "b"


def test_a_short_limit_that_is_said_late_does_not_shorten_a_long_one() -> None:
    accounts, early = two_accounts()
    use(accounts, "a", 1.0, FailureClass.QUOTA, HOUR_S)
    accounts.end_use(early, failure(FailureClass.QUOTA, 10.0), 2.0)
    assert pick(accounts, now=20.0) == "b"
    assert pick(accounts, now=HOUR_S + 1.0) == "a"


def test_a_refusal_for_another_reason_does_not_end_a_limit() -> None:
    accounts, _ = two_accounts()
    use(accounts, "a", 0.0, FailureClass.QUOTA, 24 * HOUR_S, whole=True)
    use(accounts, "a", PROBE_S, FailureClass.AUTH)
    assert isinstance(pick(accounts, now=PROBE_S + 700.0, exclude=["b"]), float)


def test_what_a_probe_is_told_takes_the_place_of_what_was_said_before() -> None:
    accounts, _ = two_accounts()
    use(accounts, "a", 0.0, FailureClass.QUOTA, 24 * HOUR_S)
    use(accounts, "a", PROBE_S, FailureClass.QUOTA, 60.0)
    assert pick(accounts, now=PROBE_S + 59.0) == "b"
    assert pick(accounts, now=PROBE_S + 60.0) == "a"


def test_a_limit_is_over_at_its_time_for_all_and_not_for_one_that_finds_out() -> None:
    accounts, _ = two_accounts()
    use(accounts, "a", 0.0, FailureClass.QUOTA, 60.0)
    accounts.begin_use(accounts.all[0], MODEL, 60.0)
    assert pick(accounts, now=61.0) == "a"


# Any history.


@dataclass
class Attempt:
    """An attempt of the model below: `known` is how many words had been said when it began."""

    use: Use
    model: str
    began_at: float
    known: int


@dataclass
class Word:
    """What upstream said against the account: for which model (None: all), until when. taken_back: no more."""

    kind: FailureClass
    model: str | None
    said_at: float
    until: float
    named_end: bool
    taken_back: bool = False

    def about(self, model: str) -> bool:
        return not self.taken_back and self.model in (None, model)


@dataclass
class World:
    """All that upstream ever said, and what of it holds: nothing is merged, nothing is dropped."""

    accounts: Accounts
    now: float = 0.0
    words: list[Word] = field(default_factory=list)
    running: list[Attempt] = field(default_factory=list)

    def begin(self, model: str) -> None:
        used = self.accounts.begin_use(self.accounts.all[0], model, self.now)
        self.running.append(Attempt(used, model, self.now, len(self.words)))

    def end(self, which: int, kind: FailureClass | None, wait_s: float | None, whole: bool) -> None:
        if not self.running:
            return
        attempt = self.running.pop(which % len(self.running))
        found = failure(kind, wait_s, whole=whole) if kind else None
        self.accounts.end_use(attempt.use, found, self.now)
        before = self.words[: attempt.known]
        if kind is None:
            for word in before:
                word.taken_back |= word.about(attempt.model)
        elif kind in CAUTION_S:
            named_end = kind is FailureClass.QUOTA and wait_s is not None
            one_model = kind is FailureClass.NO_MODEL or (kind is FailureClass.QUOTA and not whole)
            until = self.now + (wait_s if named_end and wait_s is not None else CAUTION_S[kind])
            new = Word(kind, attempt.model if one_model else None, self.now, until, named_end)
            for word in before:
                # Asked again, upstream says something else for the same reason.
                ended = word.named_end and word.until <= attempt.began_at
                word.taken_back |= word.kind is kind and word.model == new.model and not ended
            self.words.append(new)

    def forbids(self, model: str) -> bool:
        return any(word.about(model) and word.until > self.now and not self.may_probe(word) for word in self.words)

    def may_probe(self, word: Word) -> bool:
        return word.named_end and word.until - word.said_at > HOUR_S and self.now >= word.said_at + PROBE_S

    def is_in_doubt(self, model: str) -> bool:
        """Whether one request may be finding out, and the others wait for it."""
        return any(
            word.about(model) and (self.may_probe(word) or (not word.named_end and word.until <= self.now))
            for word in self.words
        )  # fmt: skip


CAUTION_S = {
    FailureClass.QUOTA: 600.0,
    FailureClass.BILLING: 3600.0,
    FailureClass.AUTH: 600.0,
    FailureClass.FORBIDDEN: 600.0,
    FailureClass.NO_MODEL: 300.0,
}
SAYS_NOTHING = (FailureClass.CALLER, FailureClass.OVERLOADED, FailureClass.RATE_LIMITED, FailureClass.LOCAL)
begins = st.tuples(st.just("begin"), st.sampled_from(MODELS))
ends = st.tuples(
    st.just("end"),
    st.integers(0, 5),
    st.one_of(st.just(FailureClass.QUOTA), st.none(), st.sampled_from(list(CAUTION_S)), st.sampled_from(SAYS_NOTHING)),
    st.sampled_from([700.0, 5.0, 60.0, None, 20_000.0]),
    st.booleans(),
)
passes = st.tuples(st.just("pass"), st.sampled_from([10.0, 1.0, 100.0, 400.0, 1000.0]))


@settings(deadline=None, derandomize=True, max_examples=examples(400))
@given(st.lists(st.one_of(begins, ends, ends, passes), min_size=10, max_size=30))
def test_an_account_is_used_if_and_only_if_nothing_that_upstream_said_forbids_it(
    history: list[tuple[Any, ...]],
) -> None:
    world = World(Accounts([account("a"), account("spare", 1)], named=MODELS, probe_s=PROBE_S))
    for step in history:
        match step:
            case "begin", model:
                world.begin(model)
            case "end", which, kind, wait_s, whole:
                world.end(which, kind, wait_s, whole and kind is FailureClass.QUOTA)
            case "pass", seconds:
                world.now += seconds
        for model in MODELS:
            chosen = pick(world.accounts, now=world.now, model=model)
            if world.forbids(model):
                assert chosen == "spare"
            elif not world.is_in_doubt(model):
                assert chosen == "a"
