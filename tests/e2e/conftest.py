"""One upstream and one proxy for many tests of a worker; each test gets accounts that nobody has used before it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.upstream import Call, Upstream

LANES = 700
_numbers = count()


@dataclass(frozen=True)
class Lane:
    """A test's own piece of the shared proxy: two accounts `first` and `second` that only its model names lead to.

    model: a model name that only these accounts serve. accounts: their names.
    spoken, mapped: upstream's dialect and its model, where they are not the client's.
    """

    proxy: Proxy
    upstream: Upstream
    dialect: str
    model: str
    accounts: tuple[str, str]
    spoken: str = ""
    mapped: str = ""

    @property
    def upstream_dialect(self) -> str:
        """What upstream speaks."""
        return self.spoken or self.dialect

    @property
    def upstream_model(self) -> str:
        """What upstream is asked for."""
        return self.mapped or self.model

    def account_of(self, call: Call) -> str:
        """The account whose key a call presented."""
        found = [name for name in self.accounts if f"key-of-{name}-" in call.credential]
        assert len(found) == 1, call.credential
        return found[0]

    @property
    def calls(self) -> list[Call]:
        """The upstream's calls for this lane's model."""
        return [call for call in self.upstream.calls if self.upstream_model.encode() in call.path.encode() + call.body]

    @property
    def log(self) -> list[str]:
        """The log lines of the exchanges of this lane."""
        ids = {line.split("[", 2)[2][:8] for line in self.proxy.lines if self.model in line and line.count("[") >= 2}
        return [line for line in self.proxy.lines if any(f"[{exchange}]" in line for exchange in ids)]


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """The worker's faulty upstream."""
    with Upstream() as server:
        yield server


@pytest.fixture(scope="session")
def shared_proxy(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The worker's mitmdump."""
    folder: Path = tmp_path_factory.mktemp("proxy")
    # Many tests in one process: the budget against storms is for tests of its own.
    config = "[retry]\nspare_retries = 1000000\n"
    for dialect in ("anthropic", "gemini"):
        config += "".join(
            account(f"{dialect[0]}{number}{place}", dialect, models=[f"{dialect}-lane{number:03}-*"], priority=priority)
            for number in range(LANES)
            for priority, place in enumerate(("first", "second"))
        )
    for dialect in ("anthropic", "gemini"):
        config += upstream(dialect, dialect, shared_upstream.url)
    with Proxy(folder, config) as proxy:
        yield proxy


@pytest.fixture
def lane(request: pytest.FixtureRequest, shared_proxy: Proxy, shared_upstream: Upstream) -> Iterator[Lane]:
    """A lane in the dialect that the test is parametrized with (indirectly), or the Anthropic one."""
    dialect = getattr(request, "param", "anthropic")
    number = next(_numbers)
    shared_upstream.reset()
    model = f"{dialect}-lane{number:03}-x"
    names = (f"{dialect[0]}{number}first", f"{dialect[0]}{number}second")
    yield Lane(shared_proxy, shared_upstream, dialect, model, names)
    shared_upstream.reset()


both_dialects = pytest.mark.parametrize("lane", ["anthropic", "gemini"], indirect=True)
