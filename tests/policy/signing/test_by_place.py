"""How what is kept is found again: from where nobody else can be to where many stand."""

from dataclasses import replace
from typing import Any

import pytest
from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.settings.schema import Signatures
from antigravity_healing.policy.signing.by_place import Known
from antigravity_healing.policy.signing.store import Origin, SignatureStore
from antigravity_healing.wire.anthropic.history import places_of
from antigravity_healing.wire.requests.places import Place, Spot

NOW = 1_795_000_000.0
ORIGIN = Origin("https://api.example", "claude-sonnet-4-5", "work")
SPOT = Spot(Place("exact", "loose"), ("what",))


def spot_of(exact: str, loose: str) -> Spot:
    """A spot behind what was said so."""
    return Spot(Place(exact, loose), ("what",))


SURE, UNSURE = "toolu_01A09q90qw90lq917835lq9", "call_1"


@pytest.fixture
def store() -> SignatureStore:
    return SignatureStore(None, Signatures())


def known(store: SignatureStore, *said: str, client: str = "a client", session: str = "", system: str = "") -> Known:
    """What is known of a conversation in which this was said, from the user's first words on."""
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said or ("hi",))]
    owner = Owner(client, session)
    return Known(store, ORIGIN, owner, places_of({"system": system, "messages": messages}, client), NOW)


def keep(asked: Known, value: Any, *, spot: Spot = SPOT, ids: tuple[str, ...] = ()) -> None:
    asked.keep(value, asked.places.end, [(spot, None)], [(each, "call", None) for each in ids])


def found(asked: Known, spot: Spot = SPOT) -> Any:
    return asked.find(asked.places.end, spot)


def test_what_was_kept_is_found_where_it_stands_and_nowhere_else(store: SignatureStore) -> None:
    keep(known(store), "kept")
    assert found(known(store)) == "kept"
    assert found(known(store), spot_of("other", "other")) is None
    for other in (known(store, "ho"), known(store, "hi", "OK", "hi"), known(store, client="another")):
        assert found(other) is None


def test_a_session_counts_more_than_the_words_and_these_more_than_what_is_loosely_the_same(
    store: SignatureStore,
) -> None:
    for value, asked in (
        ("of the session", known(store, session="s")),
        ("of another session", known(store, session="t")),
        ("without a session", known(store, system="Be brief.")),
    ):
        keep(asked, value)
    assert found(known(store, session="s")) == "of the session"
    assert found(known(store, session="t")) == "of another session"
    assert found(known(store, system="Be brief.")) == "without a session"
    assert found(known(store, session="u", system="Be brief.")) == "without a session"
    assert found(known(store)) is None, "two sessions got different things for it"
    assert found(known(store, system="Be long.")) is None, "and three did loosely"


def test_what_was_kept_once_is_found_loosely(store: SignatureStore) -> None:
    keep(known(store, "h i", session="s", system="Be brief."), "kept")
    asked = known(store, "hi\n", session="t", system="Be long.")
    assert found(asked, Spot(Place("another spelling", "loose"), SPOT.what)) == "kept"
    assert asked.find_exactly(asked.places.end, SPOT) is None


def test_a_conflict_is_not_got_round_by_looking_more_loosely(store: SignatureStore) -> None:
    first, second = known(store), known(store)
    first.keep("one", first.places.end, [(spot_of("exact", "one"), None)])
    second.keep("two", second.places.end, [(spot_of("exact", "two"), None)])
    for rung in ("one", "two"):
        assert found(known(store), spot_of("exact", rung)) is None
        assert found(known(store), spot_of("elsewhere", rung)) == rung
    in_session = known(store, session="s")
    keep(in_session, "three", spot=spot_of("session", "session"))
    keep(in_session, "four", spot=spot_of("session", "session"))
    assert found(known(store, session="s"), spot_of("session", "session")) is None


def test_an_id_that_nobody_can_guess_helps_where_the_place_does_not(store: SignatureStore) -> None:
    keep(known(store), "one", ids=(SURE, UNSURE))
    keep(known(store), "two")
    asked = known(store)
    assert found(asked) is None
    assert asked.find_by_id(SURE, "call") == "one"
    assert known(store, "else", client="another").find_by_id(SURE, "call") == "one"
    assert asked.find_by_id(SURE, "another") is None
    assert asked.find_by_id(UNSURE, "call") is None
    keep(known(store), "two", ids=(SURE,))
    assert known(store).find_by_id(SURE, "call") is None


def test_ids_that_all_conversations_have_are_not_kept_at_all(store: SignatureStore) -> None:
    asked = known(store)
    asked.keep("kept", asked.places.end, [], [(UNSURE, "call", None), ("", "call", None)])
    assert store.entries == 0


@pytest.mark.parametrize("session", ["", "s"])
def test_what_is_forgotten_is_forgotten_on_every_rung(store: SignatureStore, session: str) -> None:
    asked = known(store, session=session)
    keep(asked, "kept", ids=(SURE,))
    assert found(asked) == "kept"
    asked.forget(asked.places.end, [SPOT], [(SURE, "call")])
    assert found(asked) is None
    assert asked.find_by_id(SURE, "call") is None
    for other in (known(store), known(store, session=session), known(store, system="Be long.")):
        assert found(other) is None


def test_what_another_model_or_upstream_made_is_not_found(store: SignatureStore) -> None:
    keep(known(store), "kept", ids=(SURE,))
    for origin in (replace(ORIGIN, model="claude-opus-5-5"), replace(ORIGIN, upstream="https://other.example")):
        asked = known(store)
        asked.origin = origin
        assert found(asked) is None
        assert asked.find_by_id(SURE, "call") is None


def test_a_key_is_of_one_client_one_session_and_one_place(store: SignatureStore) -> None:
    said = ("hi", "OK", "hi", "OK", "hi")
    asks = [
        known(store, *said),
        known(store, *said, client="another"),
        known(store, *said, session="s"),
        known(store, *said, system="Be brief."),
        known(store, "ho", *said[1:]),
    ]
    keys = [each.key(index, *what) for each in asks for index in range(5) for what in ((), ("call",), ("call", "x"))]
    # The first words of a conversation that begins differently stand where those of the first one do.
    same = [asks[0].key(0, *what) for what in ((), ("call",), ("call", "x"))]
    assert len(set(keys)) == len(keys) - len(same)
    assert keys == [
        each.key(index, *what)
        for each in (
            known(store, *said), known(store, *said, client="another"), known(store, *said, session="s"),
            known(store, *said, system="Be brief."), known(store, "ho", *said[1:]),
        )
        for index in range(5) for what in ((), ("call",), ("call", "x"))
    ]  # fmt: skip
    assert asks[0].key(9) != asks[0].key(8)


def test_a_key_stays_when_the_conversation_goes_on(store: SignatureStore) -> None:
    assert known(store, "hi", "OK").key(1, "x") == known(store, "hi", "OK", "hi").key(1, "x")


def test_of_very_many_pieces_of_one_turn_the_first_are_kept(store: SignatureStore) -> None:
    asked = known(store)
    spots = [spot_of(f"{number}", f"{number}") for number in range(3000)]
    asked.keep("kept", asked.places.end, [(spot, None) for spot in spots], [(SURE, "call", None)])
    assert store.entries < 1000
    assert found(known(store), spots[200]) == "kept"
    assert found(known(store), spots[-1]) is None
    assert known(store).find_by_id(SURE, "call") == "kept"
