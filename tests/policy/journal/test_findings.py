"""Every way to end has words for a person: what happened, what was done, what to do."""

import pytest
from antigravity_healing.policy.exchange.retry_table import RULES
from antigravity_healing.policy.journal.findings import WORDS, clock_time, finding, ordinal, refused, span
from antigravity_healing.policy.journal.records import NOTHING, AttemptFacts, Finding
from antigravity_healing.policy.judging.failures import FailureClass, one_line
from hypothesis import given
from hypothesis import strategies as st

NOON = 1795694400.0


def attempt(number: int = 1, account: str = "a", failure: FailureClass | None = None, **more: object) -> AttemptFacts:
    known = {"place": f"antigravity.toml, accounts[{number - 1}]", "detail": "the words of upstream", "over_s": 1.0}
    return AttemptFacts(number, account, "anthropic", "m", NOON, failure=failure, **(known | more))  # type: ignore[arg-type]


def test_each_class_has_words() -> None:
    assert WORDS.keys() == set(FailureClass)
    assert set(RULES) <= set(WORDS)


@pytest.mark.parametrize("failure", FailureClass)
@pytest.mark.parametrize("delivered", [False, True])
def test_each_class_says_what_and_what_to_do(failure: FailureClass, delivered: bool) -> None:
    told = finding("failed", [attempt(failure=failure, delivered=delivered)])
    assert "the words of upstream" in told.what or failure is FailureClass.SIGNATURE
    assert told.needs_a_hand
    healed = finding("healed", [attempt(failure=failure), attempt(2, "b", delivered=True)])
    assert healed.done == "b answered on the 2nd try"
    assert healed.do


def test_the_action_names_all_accounts_and_not_the_last() -> None:
    told = finding("failed", [attempt(failure=FailureClass.AUTH), attempt(2, "b", FailureClass.AUTH)])
    assert "accounts[0]" in told.do
    assert "accounts[1]" in told.do


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (FailureClass.QUOTA, "reset a or b if you know better"),
        (FailureClass.BILLING, "add credit to a and b, then reset them"),
        (FailureClass.FORBIDDEN, "give a and b the permission at the provider, then reset them"),
        (FailureClass.AUTH, "put new keys into antigravity.toml, accounts[0] and accounts[1]; they"),
        (FailureClass.NO_MODEL, "check the model's name; say in antigravity.toml, accounts[0] and accounts[1] by"),
        (FailureClass.LOCAL, "mend what it says (antigravity.toml, accounts[0] and accounts[1])"),
        (FailureClass.TRANSPORT, "the url of upstream anthropic: a and b are not at fault"),
    ],
)
def test_what_several_accounts_need_is_told_once_for_all_of_them(failure: FailureClass, told: str) -> None:
    do = finding("failed", [attempt(1, "a", failure), attempt(2, "b", failure), attempt(1, "a", failure)]).do
    assert told in do
    assert do.count("antigravity.account.reset") <= 1
    one = finding("failed", [attempt(1, "a", failure)]).do
    assert "them" not in one
    assert "accounts[1]" not in one


def test_of_very_many_accounts_the_first_are_named_and_the_others_counted() -> None:
    do = finding("failed", [attempt(number, f"a{number}", FailureClass.BILLING) for number in range(1, 41)]).do
    assert "add credit to a1, a2, a3, a4, a5, a6, a7 and 33 more, then reset them" in do
    do = finding("failed", [attempt(number, f"a{number}", FailureClass.BILLING) for number in range(1, 9)]).do
    assert "a7 and a8, then" in do


@pytest.mark.parametrize(
    ("key_from", "told"),
    [
        ("", "put a new key into antigravity.toml, accounts[0]; it is taken up by itself"),
        ("env:MY_KEY", "put a new key into MY_KEY of the environment (antigravity.toml, accounts[0]), and start the"),
        ("file:/keys/one", "put a new key into /keys/one (antigravity.toml, accounts[0]), then reset a"),
        ("cmd:", "see why the command of antigravity.toml, accounts[0] gives a key that is refused, then reset a"),
        ("adc:", "log in to Google anew, or mend the credentials that antigravity.toml, accounts[0] means, then reset"),
    ],
)
def test_what_helps_a_refused_key_depends_on_where_it_comes_from(key_from: str, told: str) -> None:
    assert finding("failed", [attempt(failure=FailureClass.AUTH, key_from=key_from)]).do.startswith(told)


def test_a_variable_that_is_not_set_is_not_tried_again_by_itself() -> None:
    detail = "no credential for account a: the environment variable MY_KEY is not set"
    unset = attempt(failure=FailureClass.LOCAL, detail=detail)
    told = "set MY_KEY in the environment (antigravity.toml, accounts[0]), and start the proxy again"
    assert finding("failed", [unset]).do == told
    other = attempt(2, "b", FailureClass.LOCAL, detail="no credential for account b: the file /x cannot be read")
    assert finding("failed", [unset, other]).do.endswith("it is tried again by itself")


@pytest.mark.parametrize(
    ("status", "do"), [(404, "change what it says"), (403, "[clients]"), (500, "report it"), (503, "start it again")]
)
def test_what_a_refusal_asks_for_depends_on_what_it_is(status: int, do: str) -> None:
    told = refused("This is not taken.", status)
    assert do in told.do
    assert told.what == "the proxy refused it: This is not taken"


def test_what_heals_by_itself_needs_no_hand_beside_what_does_not() -> None:
    both = [attempt(failure=FailureClass.EMPTY), attempt(2, "b", FailureClass.AUTH), attempt(3, "c", delivered=True)]
    assert finding("healed", both).do.startswith("put a new key into antigravity.toml, accounts[1]")
    assert finding("healed", [both[0], both[2]]).do == NOTHING
    assert not finding("clean", [both[2]]).needs_a_hand


def test_a_quota_says_until_when() -> None:
    used = attempt(failure=FailureClass.QUOTA, free_at=NOON + 3600)
    assert f"a is used up for m until {clock_time(NOON + 3600, NOON)}" in finding("failed", [used]).what


@given(
    st.sampled_from(["clean", "healed", "failed", "client_left"]),
    st.lists(
        st.builds(
            attempt,
            st.integers(1, 5),
            st.sampled_from(["a", "b", "client"]),
            st.none() | st.sampled_from(FailureClass),
            delivered=st.booleans(),
            status=st.none() | st.integers(100, 599),
            free_at=st.none() | st.floats(0, 2e9),
            first_content_s=st.none() | st.floats(0, 9),
        ),
        max_size=4,
    ),
)
def test_there_are_words_for_whatever_comes(outcome: str, attempts: list[AttemptFacts]) -> None:
    told = finding(outcome, attempts)  # type: ignore[arg-type]
    assert isinstance(told, Finding)
    assert told.what
    assert told.do
    assert one_line(told.what) == told.what


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (45, "45 s"),
        (600, "10 min"),
        (5400, "90 min"),
        (7500, "2 h 05"),
        (400000, "4 d"),
    ],
)
def test_a_span_is_told_as_people_say_it(seconds: float, told: str) -> None:
    assert span(seconds) == told


def test_ordinals() -> None:
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 21, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "112th",
    ]  # fmt: skip
