"""One upstream and few proxies for all tests of a worker; each test gets accounts that nobody has used before it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.upstream import Call, Upstream

LANES = 60
"""Of one proxy: what it does for all of its accounts is a matter of their number."""


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


class Lanes:
    """Lanes for one test after the other; there is another proxy when those of one are used up."""

    def __init__(self, upstream: Upstream, folder: Callable[[], Path]) -> None:
        self._upstream, self._folder = upstream, folder
        self._proxy: Proxy | None = None
        self._taken = 0

    def take(self, dialect: str) -> Lane:
        """The next one. Raises AssertionError where something has crashed in the proxy that is used up."""
        if self._proxy is None or self._taken == LANES:
            self.close()
            self._proxy, self._taken = Proxy(self._folder(), self._config()).start(), 0
        number, self._taken = self._taken, self._taken + 1
        names = (f"{dialect[0]}{number}first", f"{dialect[0]}{number}second")
        return Lane(self._proxy, self._upstream, dialect, f"{dialect}-lane{number:03}-x", names)

    def close(self) -> None:
        """End the proxy. Raises AssertionError where something has crashed in it."""
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            assert proxy.stop() == 0, proxy.log

    def _config(self) -> str:
        # Many tests in one process: the budget against storms is for tests of its own.
        config = "[retry]\nspare_retries = 1000000\n"
        for dialect in ("anthropic", "gemini"):
            config += "".join(
                account(f"{dialect[0]}{number}{place}", dialect, models=[f"{dialect}-lane{number:03}-*"], priority=rank)
                for number in range(LANES)
                for rank, place in enumerate(("first", "second"))
            )
            config += upstream(dialect, dialect, self._upstream.url)
        return config


@pytest.fixture(scope="session")
def shared_lanes(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lanes]:
    """The worker's lanes."""
    lanes = Lanes(shared_upstream, lambda: tmp_path_factory.mktemp("proxy"))
    yield lanes
    lanes.close()


@pytest.fixture
def lane(request: pytest.FixtureRequest, shared_lanes: Lanes, shared_upstream: Upstream) -> Iterator[Lane]:
    """A lane in the dialect that the test is parametrized with (indirectly), or the Anthropic one."""
    shared_upstream.reset()
    yield shared_lanes.take(getattr(request, "param", "anthropic"))
    shared_upstream.reset()


both_dialects = pytest.mark.parametrize("lane", ["anthropic", "gemini"], indirect=True)
