"""How much work something is, whatever the machine."""

import sys
from collections.abc import Callable
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
