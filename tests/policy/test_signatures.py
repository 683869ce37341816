from pathlib import Path

import pytest
from healing.policy import signatures
from healing.policy.config import Signatures
from healing.policy.model_names import family_of, has_prefix_check, takes_stand_in
from healing.policy.signatures import KeptRepair, Minted, Origin, SignatureStore, conversation_key

NOW = 1_795_000_000.0
ORIGIN = Origin("https://api.example", "claude-sonnet-4-5-20250929", "work")
SIGNATURE = "U0lHTkFUVVJF" * 6


def store(path: Path | None = None, **settings: object) -> SignatureStore:
    return SignatureStore(path, Signatures.model_validate(settings))


def repair(number: int, *, anchors: tuple[str, ...] = ("anchor",), at: float = NOW) -> KeptRepair:
    return KeptRepair("anthropic", "strip", {"number": number}, frozenset(anchors), at, at)


def test_a_signature_is_found_for_exactly_what_it_was_minted_for() -> None:
    kept = store()
    kept.keep("family", ORIGIN, ("thinking", "Hm."), SIGNATURE, NOW)
    assert kept.find("family", ORIGIN, ("thinking", "Hm."), NOW) == SIGNATURE
    assert kept.find("family", ORIGIN, ("thinking", "Hm"), NOW) is None
    assert kept.find("family", ORIGIN, ("text", "Hm."), NOW) is None
    assert kept.find("tool", ORIGIN, ("thinking", "Hm."), NOW) is None
    kept.forget("family", ORIGIN, ("thinking", "Hm."))
    assert kept.find("family", ORIGIN, ("thinking", "Hm."), NOW) is None


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
    kept.keep("family", ORIGIN, ("thinking", "Hm."), SIGNATURE, NOW)
    assert kept.find("family", other, ("thinking", "Hm."), NOW) == (SIGNATURE if same else None)


def test_a_conversation_tells_what_it_got_and_when() -> None:
    kept = store()
    for number in range(60):
        kept.note("session", ORIGIN, [f"call {number}"], NOW + number)
    told = kept.conversation(conversation_key("session"), NOW + 60)
    assert len(told) == signatures.SESSION_LENGTH
    assert told[-1] == Minted(NOW + 59, "call 59", "work", ORIGIN.model)
    assert kept.conversation(conversation_key("another"), NOW) == []


@pytest.mark.parametrize("persist", [True, False])
def test_a_restart_keeps_signatures_and_repairs_unless_told_otherwise(tmp_path: Path, persist: bool) -> None:
    file = tmp_path / "signatures.sqlite3"
    first = store(file, persist=persist)
    first.keep("tool", ORIGIN, ("id", "call_1"), SIGNATURE, NOW)
    first.keep_repair(repair(1))
    second = store(file, persist=persist)
    assert second.find("tool", ORIGIN, ("id", "call_1"), NOW) == (SIGNATURE if persist else None)
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
