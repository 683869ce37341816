"""How much work something is, whatever the machine."""

import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


def calls_made(action: Callable[[], object]) -> int:
    """How many functions, Python's own among them, an action calls."""
    calls = 0

    def count(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(before)
    return calls


def memory_taken[T](action: Callable[[T], object], inputs: Iterable[T]) -> int:
    """How many bytes an action takes for each of its inputs in turn, beyond what there was before, in all.

    What copies all that it has for each input shows in it, even if it keeps no copy.
    """
    taken = 0
    with _traced():
        for each in inputs:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            action(each)
            taken += tracemalloc.get_traced_memory()[1] - before
    return taken


def memory_kept(action: Callable[[], object]) -> tuple[int, int]:
    """How many bytes there are more after an action than before, and at most in between."""
    with _traced():
        before, _ = tracemalloc.get_traced_memory()
        action()
        after, peak = tracemalloc.get_traced_memory()
    return after - before, peak - before


def assert_kept(begin: Callable[[], Callable[[], object]], *, kept: float, peak: float) -> None:
    """Assert that fewer bytes than these are kept after an action, and taken at most in between.

    begin: makes the action anew. Other threads of this process may take some meanwhile: one of three tries is enough.
    """
    for is_last in (False, False, True):
        now_kept, most = memory_kept(begin())
        if now_kept < kept and most < peak:
            return
        assert not is_last, f"{now_kept:,} bytes are kept, {most:,} were taken"


@contextmanager
def _traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
