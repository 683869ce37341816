"""How many examples a property test takes."""

from hypothesis import settings

QUICK, WHOLE = "quick", "whole"
# A machine that is busy is no failure, and what a default run says is the same each time: others are for long runs.
settings.register_profile(QUICK, max_examples=25, deadline=None, derandomize=True)
settings.register_profile(WHOLE, max_examples=100, deadline=None)


def examples(count: int) -> int:
    """So many in a long run, a quarter otherwise."""
    return count * settings().max_examples // 100
