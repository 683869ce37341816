"""What each process of a test run does first: keep bytecode, and share the work of compiling the tests."""

import contextlib
import importlib
import os
import sys

import pytest

from tests.support.caching import keep_bytecode

keep_bytecode(os.environ)
sys.dont_write_bytecode = False
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]


def pytest_collection(session: pytest.Session) -> None:
    """Have every other worker import the tests from the last to the first before it collects them in order.

    Each worker collects all tests. So two of them with an empty cache compile each one half and read the other.
    """
    config = session.config
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if int(worker.removeprefix("gw")) % 2 == 0 or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    for file in sorted((config.rootpath / "tests").rglob("test_*.py"), reverse=True):
        # Collection meets it again, and reports it.
        with contextlib.suppress(BaseException):
            importlib.import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))
