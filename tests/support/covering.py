"""Choosing few of many combinations so that nothing is left out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

type Part = tuple[tuple[int, str], ...]


def covering(cases: Sequence[Sequence[str]], together: int) -> list[int]:
    """The indices, in order, of cases in which each combination of `together` values occurs that occurs in any.

    With 1 each value of each parameter is there once at least, with 2 each pair of values.
    """
    if all(len(case) <= together for case in cases):
        # Each is a combination of its own.
        return sorted({tuple(case): index for index, case in reversed(list(enumerate(cases)))}.values())
    bits: dict[Part, int] = {}
    masks = [sum(1 << bits.setdefault(part, len(bits)) for part in set(_parts(case, together))) for case in cases]
    waiting = (1 << len(bits)) - 1
    used: Counter[tuple[int, str]] = Counter()
    chosen: list[int] = []
    while waiting:
        gains = [(waiting & mask).bit_count() for mask in masks]
        most = max(gains)
        # Among the best the one whose values were used least: else one of a short list goes with all of a long one.
        best = min(
            (index for index, gain in enumerate(gains) if gain == most),
            key=lambda index: sum(used[value] for value in enumerate(cases[index])),
        )
        waiting &= ~masks[best]
        used.update(enumerate(cases[best]))
        chosen.append(best)
    return sorted(chosen)


def _parts(case: Sequence[str], together: int) -> Iterable[Part]:
    return combinations(enumerate(case), min(together, len(case)))
