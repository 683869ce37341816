import pytest
from antigravity_healing.wire.errors.parsing import parse_duration_s, read_error
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5s", 1.5),
        ("200ms", 0.2),
        ("1h16m0.667s", 4560.667),
        ("45.837906927s", 45.837906927),
        ("391609.795772632s", 391609.795772632),
        ("108h48m20.795762633s", 391700.795762633),
        ("0s", 0.0),
        ("3m", 180.0),
        ("1m500ms", 60.5),
        *(
            (text, None)
            for text in ("", "s", "5", "-1s", "1.s", ".5s", "1 s", "1s later", "in 1s", "1d", "1e3s", "1,5s")
        ),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    parsed = parse_duration_s(text)
    assert parsed == (None if seconds is None else pytest.approx(seconds))


UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
terms = st.tuples(
    st.integers(0, 100_000), st.none() | st.text("0123456789", min_size=1, max_size=9), st.sampled_from(list(UNITS_S))
)


@steady
@given(st.lists(terms, min_size=1, max_size=6))
def test_a_duration_is_the_sum_of_its_terms(parts: list[tuple[int, str | None, str]]) -> None:
    numbers = [f"{whole}.{fraction}" if fraction else str(whole) for whole, fraction, _ in parts]
    text = "".join(number + unit for number, (_, _, unit) in zip(numbers, parts, strict=True))
    wanted = sum(float(number) * UNITS_S[unit] for number, (_, _, unit) in zip(numbers, parts, strict=True))
    assert parse_duration_s(text) == pytest.approx(wanted)
    assert read_error({"error": {"message": f"Quota. Please retry in {text}."}}).delay_s == pytest.approx(wanted)


@steady
@given(st.text("0123456789.hms -e", max_size=12))
def test_a_duration_is_finite_and_never_negative_or_none(text: str) -> None:
    seconds = parse_duration_s(text)
    assert seconds is None or 0 <= seconds < float("inf")


def test_a_duration_of_too_many_digits_is_none() -> None:
    # An endless wait is nothing that anybody could act on, and breaks whoever computes with it.
    assert parse_duration_s("9" * 400 + "s") is None
