"""Choosing few of many combinations so that nothing is left out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

type Part = tuple[tuple[int, str], ...]


def covering(cases: Sequence[Sequence[str]], together: int) -> list[int]:
    """The indices, in order, of cases in which each combination of `together` values occurs that occurs in any.

    With 1 each value of each parameter is there once at least, with 2 each pair of values.
    """
    waiting = {part for case in cases for part in _parts(case, together)}
    used: Counter[Part] = Counter()
    chosen: list[int] = []
    while waiting:
        # Among the best the one whose values were used least: else one of a short list goes with all of a long one.
        best = max(
            range(len(cases)),
            key=lambda index: (
                len(waiting.intersection(_parts(cases[index], together))),
                -sum(used[part] for part in _parts(cases[index], 1)),
            ),
        )
        waiting.difference_update(_parts(cases[best], together))
        used.update(_parts(cases[best], 1))
        chosen.append(best)
    return sorted(chosen)


def _parts(case: Sequence[str], together: int) -> Iterable[Part]:
    return combinations(enumerate(case), min(together, len(case)))
