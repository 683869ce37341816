"""What is left out of a default run: nothing that occurs in no other case."""

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from tests.support.covering import covering

sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(sizes, st.integers(1, 3))
def test_each_combination_that_occurs_is_covered(sizes: list[int], together: int) -> None:
    cases = list(product(*("vwxyz"[:size] for size in sizes)))
    chosen = [cases[index] for index in covering(cases, together)]
    for part in combinations(range(len(sizes)), min(together, len(sizes))):
        wanted = {tuple(case[place] for place in part) for case in cases}
        assert {tuple(case[place] for place in part) for case in chosen} == wanted


def test_few_of_many_are_chosen_and_short_lists_take_turns() -> None:
    cases = list(product("ab", "0123456789"))
    chosen = [cases[index] for index in covering(cases, 1)]
    assert len(chosen) == 10
    assert sum(first == "a" for first, _ in chosen) == 5
    assert len(covering(cases, 2)) == 20
    assert len(covering(list(product("abcd", repeat=3)), 2)) < 24


def test_cases_without_parameters_are_chosen() -> None:
    assert covering([()], 1) == [0]
    assert covering([], 1) == []
