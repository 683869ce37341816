"""A proxy whose every route leads to an upstream of another dialect."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.streaming import OwnLanes

OTHER = {"anthropic": "gemini", "gemini": "anthropic"}
CROSSED = ("anthropic", "gemini")
"""The clients' dialects."""
each_client = pytest.mark.parametrize("client", CROSSED)


class CrossedLanes(OwnLanes):
    """Lanes whose client speaks one dialect and whose upstream speaks the other.

    A lane's model is DIALECT-laneNNN-ROUTE, and OTHER-laneNNN-ROUTE at its upstream.
    """

    def __init__(self, folder: Path, settings: str = "", lanes: int = 40, routes: tuple[str, ...] = ("x",)) -> None:
        names = [f"lane{number:03}-{route}" for number in range(lanes) for route in routes]
        models = "".join(
            f'"{client}-{name}" = "{other}/{other}-{name}"\n' for client, other in OTHER.items() for name in names
        )
        super().__init__(folder, f"{settings}\n[models]\n{models}", lanes)

    def lane(self, dialect: str, route: str = "x", *, reset: bool = True) -> Lane:
        """A fresh lane for a client of this dialect."""
        other = OTHER[dialect]
        there = super().lane(other, route, reset=reset)
        return replace(
            there, dialect=dialect, model=there.model.replace(other, dialect, 1), spoken=other, mapped=there.model
        )
