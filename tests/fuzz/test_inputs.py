"""What fuzzing once found stays mended."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

INPUTS = sorted(path for path in (Path(__file__).parent / "inputs").rglob("*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=[f"{path.parent.name}/{path.name}" for path in INPUTS])
def test_what_once_failed_holds(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


# Those of `repeats` measure time: they are for runs by hand.
@pytest.mark.parametrize("name", [name for name in TARGETS if name != "repeats"])
def test_the_seeds_hold(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)
