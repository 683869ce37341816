"""What each process of a test run does first: keep bytecode, share compiling, leave out what is long."""

import contextlib
import gc
import importlib
import os
import sys
from collections import defaultdict
from collections.abc import Generator
from typing import cast

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.support.caching import keep_bytecode
from tests.support.covering import covering
from tests.support.examples import QUICK, WHOLE

keep_bytecode(os.environ)
sys.dont_write_bytecode = False
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples a property test takes."""
    settings.load_profile(WHOLE if _is_long(config) else QUICK)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without looking for garbage: what is made stays until the end, and is not looked at in any test."""
    gc.disable()
    try:
        _import_tests(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _import_tests(config: pytest.Config) -> None:
    """Have every other worker import the tests from the last to the first before it collects them in order.

    Each worker collects all tests. So two of them with an empty cache compile each one half and read the other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if int(worker.removeprefix("gw")) % 2 == 0 or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    for file in sorted((config.rootpath / "tests").rglob("test_*.py"), reverse=True):
        # Collection meets it again, and reports it.
        with contextlib.suppress(BaseException):
            importlib.import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as long what a choice of each test's cases leaves out, and in a long run the tests of properties."""
    crossed: defaultdict[str, list[pytest.Function]] = defaultdict(list)
    for item in cast(list[pytest.Function], items):
        crossed[item.nodeid.partition("[")[0]].append(item)
        if _is_long(config) and is_hypothesis_test(item.obj):
            item.add_marker(pytest.mark.long)
    for cases in crossed.values():
        # What is long by itself covers nothing in a default run.
        cases = [case for case in cases if hasattr(case, "callspec") and not case.get_closest_marker("long")]
        mark = cases[0].get_closest_marker("covering") if cases else None
        # By list of parameters, what pytest calls the one of the case.
        chosen = covering([case.callspec._idlist for case in cases], mark.args[0] if mark else 2)
        for index in set(range(len(cases))).difference(chosen):
            cases[index].add_marker(pytest.mark.long)


def _is_long(config: pytest.Config) -> bool:
    return "not long" not in config.option.markexpr
