from pathlib import Path
from typing import Any

import pytest
from antigravity_healing.policy.settings.schema import Signatures
from antigravity_healing.policy.signing import store as signatures
from antigravity_healing.policy.signing.prefix_check import family_of, has_prefix_check, takes_stand_in
from antigravity_healing.policy.signing.store import (
    SPOTS_OF_A_ROW,
    Address,
    KeptRepair,
    Minted,
    Origin,
    SignatureStore,
    conversation_key,
)
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump

NOW = 1_795_000_000.0
ORIGIN = Origin("https://api.example", "claude-sonnet-4-5-20250929", "work")
SIGNATURE = "U0lHTkFUVVJF" * 6


def store(path: Path | None = None, **settings: object) -> SignatureStore:
    return SignatureStore(path, Signatures.model_validate(settings))


def repair(number: int, *, anchors: tuple[str, ...] = ("anchor",), at: float = NOW) -> KeptRepair:
    return KeptRepair("anthropic", "strip", {"number": number}, frozenset(anchors), at, at)


def kept_at(kept: SignatureStore, address: Address, now: float = NOW) -> Any:
    """What the store has at an address."""
    name = kept.spots(address.row, now).get(address.spot)
    return None if name is None else kept.thing(name, now)


def test_a_thing_is_found_at_exactly_its_addresses_until_it_is_forgotten() -> None:
    kept = store()
    here, there = Address("row", "spot"), Address("row", "another")
    kept.keep([(here, None), (Address("id", "spot"), None)], SIGNATURE, NOW)
    assert kept_at(kept, here) == kept_at(kept, Address("id", "spot")) == SIGNATURE
    assert kept_at(kept, there) is None
    assert kept_at(kept, Address("another", "spot")) is None
    kept.forget([here, there, Address("none", "spot")], NOW)
    assert kept_at(kept, here) is None
    assert kept_at(kept, Address("id", "spot")) == SIGNATURE


def test_a_row_is_written_once_however_many_of_its_spots_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, written = store(), list[str]()
    put = kept._table.put

    def counted(key: str, value: bytes, now: float) -> None:
        written.append(key)
        put(key, value, now)

    monkeypatch.setattr(kept._table, "put", counted)
    spots = [Address(f"row {number % 2}", str(number)) for number in range(200)]
    kept.keep([(address, place) for place, address in enumerate(spots)], list(range(200)), NOW)
    assert len(written) == 3
    assert [kept_at(kept, address) for address in spots] == list(range(200))


def test_an_address_may_have_one_item_of_what_is_kept() -> None:
    kept = store()
    kept.keep([(Address("row", "all"), None), (Address("row", "second"), 1)], ["one", "two"], NOW)
    assert (kept_at(kept, Address("row", "all")), kept_at(kept, Address("row", "second"))) == (["one", "two"], "two")


@pytest.mark.parametrize("restart", [False, True])
def test_where_two_things_are_kept_nothing_is_known(tmp_path: Path, restart: bool) -> None:
    file = tmp_path / "signatures.sqlite3"
    kept, address, other = store(file), Address("row", "spot"), Address("row", "other")
    kept.keep([(address, None), (other, None)], "one", NOW)
    if restart:
        kept.close()
        kept = store(file)
    kept.keep([(address, None)], "two", NOW)
    if restart:
        kept.close()
        kept = store(file)
    assert kept_at(kept, address) is None
    assert kept_at(kept, other) == "one"
    kept.keep([(address, None)], "two", NOW)
    kept.keep([(address, None)], "one", NOW)
    assert kept_at(kept, address) is None, "neither is right from now on"
    kept.forget([address], NOW)
    kept.keep([(address, None)], "three", NOW)
    assert kept_at(kept, address) == "three", "what was forgotten is in nobody's way"


def test_two_items_of_one_thing_are_two_things() -> None:
    kept, address = store(), Address("row", "spot")
    kept.keep([(address, 0), (address, 1)], ["one", "two"], NOW)
    assert kept_at(kept, address) is None


def test_the_same_thing_twice_is_known() -> None:
    kept, address = store(), Address("row", "spot")
    for number in range(3):
        kept.keep([(address, 0)], ["one", "two"], NOW + number)
    assert kept_at(kept, address) == "one"
    assert kept.entries == 2


def test_a_row_keeps_its_newest_spots() -> None:
    kept = store()
    for number in range(SPOTS_OF_A_ROW + 40):
        if number % 20 == 0:
            kept.keep([(Address("row", "used"), None)], "same", NOW)
        kept.keep([(Address("row", f"{number}"), None)], number, NOW)
    spots = kept.spots("row", NOW)
    assert len(spots) == SPOTS_OF_A_ROW
    assert kept_at(kept, Address("row", f"{SPOTS_OF_A_ROW + 39}")) == SPOTS_OF_A_ROW + 39
    assert kept_at(kept, Address("row", "used")) == "same", "what is kept again is new again"
    assert kept_at(kept, Address("row", "0")) is None


def test_of_a_thing_that_had_to_make_room_nothing_is_known_and_it_can_be_kept_again() -> None:
    kept, address = store(max_entries=100), Address("row", "spot")
    kept.keep([(address, None)], "one", NOW)
    for number in range(150):
        assert kept.spots("row", NOW + 100 * number), "its row is in use"
        kept.keep([(Address(f"{number}", "spot"), None)], number, NOW + 100 * number + 1)
    assert kept.spots("row", NOW + 15_000)
    assert kept_at(kept, address, NOW + 15_000) is None
    kept.keep([(address, None)], "one", NOW + 15_000)
    assert kept_at(kept, address, NOW + 15_000) == "one"


def test_the_bytes_are_bounded_and_large_things_push_out_no_more_than_they_take() -> None:
    kept = store(max_bytes=20 * 1024 * 1024)
    for number in range(9):
        kept.keep([(Address(f"{number}", "spot"), None)], f"{number}" * (6 * 1024 * 1024), NOW + number)
        assert kept.report()["bytes"] <= 20 * 1024 * 1024
    assert kept_at(kept, Address("8", "spot"), NOW + 9) == "8" * (6 * 1024 * 1024)
    assert kept_at(kept, Address("0", "spot"), NOW + 9) is None


def test_numbers_in_calls_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = b'{"type":"tool_use","input":{"a":1.0,"b":36893488147419103232,"c":1e400,"b":-0.0}}'
    address, file = Address("row", "spot"), tmp_path / "signatures.sqlite3"
    kept = store(file)
    kept.keep([(address, 0)], [exact.parse(written)], NOW)
    kept.close()
    assert dump(kept_at(store(file), address)) == written


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Origin("https://api.example", "claude-sonnet-4-5", "home"), True),
        (Origin("https://api.example", "claude-sonnet-4-5-latest", "work"), True),
        (Origin("https://api.example", "claude-sonnet-4-6", "work"), False),
        (Origin("https://other.example", "claude-sonnet-4-5", "work"), False),
    ],
)
def test_it_serves_the_upstream_and_the_model_family_that_minted_it_on_any_account(other: Origin, same: bool) -> None:
    kept = store()
    kept.keep([(Address(ORIGIN.row("exact", "place"), "spot"), None)], SIGNATURE, NOW)
    assert kept_at(kept, Address(other.row("exact", "place"), "spot")) == (SIGNATURE if same else None)
    assert kept_at(kept, Address(other.row("loose", "place"), "spot")) is None


def test_a_conversation_tells_what_it_got_and_when() -> None:
    kept = store()
    key = conversation_key("client", "session")
    for number in range(60):
        kept.note(key, ORIGIN, [f"call {number}"], NOW + number)
    told = kept.conversation(key, NOW + 60)
    assert len(told) == signatures.SESSION_LENGTH
    assert told[-1] == Minted(NOW + 59, "call 59", "work", ORIGIN.model)
    for client, session in (("client", "another"), ("another", "session"), ("clientsession", "")):
        assert kept.conversation(conversation_key(client, session), NOW) == []


@pytest.mark.parametrize("persist", [True, False])
def test_a_restart_keeps_signatures_and_repairs_unless_told_otherwise(tmp_path: Path, persist: bool) -> None:
    file = tmp_path / "signatures.sqlite3"
    first = store(file, persist=persist)
    first.keep([(Address("row", "spot"), None)], SIGNATURE, NOW)
    first.keep_repair(repair(1))
    second = store(file, persist=persist)
    assert kept_at(second, Address("row", "spot")) == (SIGNATURE if persist else None)
    assert [each.change for _, each in second.repairs_for("anthropic", ["anchor"], NOW)] == [{"number": 1}] * persist
    assert file.exists() is persist


def test_repairs_are_found_by_any_of_their_anchors_in_the_order_of_their_making() -> None:
    kept = store()
    kept.keep_repair(repair(2, anchors=("b", "c"), at=NOW + 2))
    kept.keep_repair(repair(1, anchors=("a", "b"), at=NOW + 1))
    kept.keep_repair(repair(1, anchors=("a", "b"), at=NOW + 9))

    def found(*anchors: str, dialect: str = "anthropic") -> list[int]:
        return [each.change["number"] for _, each in kept.repairs_for(dialect, anchors, NOW)]

    assert (found("a"), found("b", "c"), found("c"), found("d")) == ([1], [1, 2], [2], [])
    assert found("a", "b", dialect="gemini") == []
    [(key, _)] = kept.repairs_for("anthropic", ["c"], NOW)
    kept.forget_repair(key, NOW)
    assert (found("b"), found("c")) == ([1], [])


def test_the_number_of_repairs_is_bounded_and_the_unused_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "MAX_REPAIRS", 3)
    kept = store()
    for number in range(3):
        kept.keep_repair(repair(number, anchors=(f"{number}",), at=NOW + number))
    assert kept.repairs_for("anthropic", ["0"], NOW + 3)
    kept.keep_repair(repair(3, anchors=("3",), at=NOW + 3))
    assert [bool(kept.repairs_for("anthropic", [f"{number}"], NOW + 4)) for number in range(4)] == [
        True,
        False,
        True,
        True,
    ]


def test_the_bytes_of_repairs_are_bounded_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(signatures, "MAX_REPAIRS_BYTES", 1000)
    file = tmp_path / "signatures.sqlite3"
    kept = store(file)
    for number in range(50):
        kept.keep_repair(repair(number, anchors=(f"{number}", "all"), at=NOW + number))
    left = [each.change["number"] for _, each in kept.repairs_for("anthropic", ["all"], NOW + 50)]
    assert left == list(range(50 - len(left), 50))
    assert 3 < len(left) < 10
    again = [each.change["number"] for _, each in store(file).repairs_for("anthropic", ["all"], NOW + 50)]
    assert again == left


def test_repairs_outlive_signatures_but_not_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "signatures.sqlite3"
    store(file).keep_repair(repair(1))
    late = NOW + signatures.REPAIRS_TTL_S - 1
    assert store(file).repairs_for("anthropic", ["anchor"], late), "its use is noted"
    assert store(file).repairs_for("anthropic", ["anchor"], late + signatures.REPAIRS_TTL_S - 1)
    assert not store(file).repairs_for("anthropic", ["anchor"], late + 3 * signatures.REPAIRS_TTL_S)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5"),
        ("models/gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("gemini-3-pro-preview", "gemini-3-pro-preview"),
        ("claude-opus-5-5", "claude-opus-5-5"),
    ],
)
def test_a_models_family_is_its_name_without_the_release(model: str, family: str) -> None:
    assert family_of(model) == family


@pytest.mark.parametrize(
    ("model", "checks"),
    [
        ("claude-opus-5-5", True), ("claude-sonnet-5-5-20260801", True), ("claude-haiku-6", True),
        ("claude-fable-5-1", True), ("claude-mythos-5-2", True), ("claude-opus-5-4", False),
        ("claude-fable-5", False), ("claude-sonnet-4-5-20250929", False), ("claude-opus-4-20250514", False),
        ("claude-3-7-sonnet-latest", False), ("claude-3-opus-20240229", False), ("anthropic-lane001-x", None),
    ],
)  # fmt: skip
def test_which_models_check_what_comes_before_a_block(model: str, checks: bool | None) -> None:
    assert has_prefix_check(model) is checks


@pytest.mark.parametrize(
    ("model", "takes"),
    [("gemini-2.5-pro", False), ("gemini-3-pro-preview", True), ("gemini-4", True), ("gemini-lane001-x", True)],
)
def test_which_models_take_the_stand_in(model: str, takes: bool) -> None:
    assert takes_stand_in(model) is takes


def test_who_has_a_thing_is_known_over_a_restart_and_the_last_word_counts(tmp_path: Path) -> None:
    kept = store(tmp_path / "kept.sqlite3")
    kept.keep_owner(["a", "b"], "work", NOW)
    kept.keep_owner(["b"], "home", NOW + 1)
    kept.close()
    again = store(tmp_path / "kept.sqlite3")
    assert again.owners(["a", "b", "c"], NOW + 2) == {"a": "work", "b": "home"}
    again.close()


def test_who_has_a_thing_is_known_as_long_as_that_is_used_now_and_then() -> None:
    kept = store()
    kept.keep_owner(["a", "b"], "work", NOW)
    half = NOW + 0.6 * signatures.OWNERS_TTL_S
    kept.keep_owner(["a"], "work", half)
    assert kept.owners(["a", "b"], half + 0.6 * signatures.OWNERS_TTL_S) == {"a": "work"}


def test_so_many_things_are_known_and_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "MAX_OWNERS", 20)
    kept = store()
    for number in range(100):
        kept.keep_owner([f"thing {number}"], "work", NOW + number)
        found = kept.owners([f"thing {each}" for each in range(100)], NOW + number)
        assert len(found) <= 20
        assert number >= 20 or len(found) == number + 1
        assert f"thing {number}" in found
        assert number < 20 or f"thing {number - 15}" in found
