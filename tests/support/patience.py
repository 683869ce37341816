"""How long the tests wait for what has to come."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""For a condition, an answer, the end of a process: of no concern to what works, even where much else is running."""


def wait_until(condition: Callable[[], object], what: str = "a condition", timeout_s: float = PATIENCE_S) -> None:
    """Ask again and again until a condition holds. Raises AssertionError where it never does."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)
