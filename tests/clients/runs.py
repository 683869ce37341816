"""Clients at work through faults: what came of each, direct and through the proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.clients.clients import Client
from tests.clients.faults import CONTENT, IN_A_CALL, TEXT, Case, Fault, Faulty
from tests.clients.sessions import Got, Session
from tests.e2e.harness import Proxy, account, upstream
from tests.upstream import Upstream

type Outcome = Literal["well", "loud", "SILENT", "hung"]
"""The work was done; the failure was told; neither, so that a part is taken for the whole; it did not end in time."""

IDLE_S = 3
"""After which the proxy takes a silent upstream for dead. Direct, only the client's own patience counts."""
SDK_SECONDS = 20
"""What an SDK's one question may take: without a fault, a moment."""
# As many as there are faults in a row that an account may be blamed for.
ACCOUNTS = 12


@dataclass(frozen=True)
class Cell:
    """What came of one piece of work. way: direct or proxied. calls: how many upstream got. told: of the failure."""

    client: str
    dialect: str
    fault: str
    way: str
    outcome: Outcome
    calls: int
    seconds: float
    told: str


def outcome_of(got: Got, *, tool: bool, whole: bool, agent: bool) -> Outcome:
    """Whether the work was done, by what there is of it."""
    if got.hung:
        return "hung"
    if tool or whole:
        done = bool(got.written) and set(got.written) <= ({CONTENT, CONTENT.rstrip("\n")} if agent else {CONTENT})
    else:
        # An agent may show what it got before it began anew.
        done = TEXT in " ".join(got.said.split()) if agent else got.said == TEXT
    if agent and done:
        return "well"
    return "loud" if got.raised else "well" if done else "SILENT"


def configuration(dialect: str, url: str) -> str:
    """The proxy's."""
    accounts = "".join(account(f"a{number}", dialect) for number in range(ACCOUNTS))
    rest = f"[peek]\nidle = {IDLE_S}\nsilence = {IDLE_S}\n[retry]\nspare_retries = 100000\nmax_wait = 3.0\n"
    return accounts + rest + upstream(dialect, dialect, url)


@dataclass(frozen=True)
class Runs:
    """A client's runs. folder: of the environments. work: a new one. seconds: for one piece of an agent's work."""

    client: Client
    folder: Path
    work: Path
    seconds: float

    def cells(self, faults: Mapping[str, Fault], ways: Sequence[str]) -> Iterator[Cell]:
        """All faults, in each way. Raises UnavailableError."""
        session = self.client.session(self.folder, self.work / "client")
        served = Faulty()
        try:
            with Upstream() as server:
                server.default = served
                if "direct" in ways:
                    yield from self._through(session, served, faults, "direct", server.url)
                if "proxied" in ways:
                    config = configuration(self.client.dialect, server.url)
                    with Proxy(self.work / "proxy", config) as proxy:
                        yield from self._through(session, served, faults, "proxied", proxy.url)
        finally:
            session.close()

    def _through(
        self, session: Session, served: Faulty, faults: Mapping[str, Fault], way: str, url: str
    ) -> Iterator[Cell]:
        for name, fault in faults.items():
            tool = name.endswith(IN_A_CALL) or self.client.whole
            if tool and not self.client.tools:
                continue
            agent = self.client.agent
            key = f"{way} {name}"
            case = served.cases[key] = Case(fault, tool, self.client.whole, agent and self.client.tools)
            prompt = f"{'Write the file.' if tool else 'Tell me a story.'} [case:{key}]"
            began = time.monotonic()
            got = session.ask(url, prompt, tool=tool, seconds=self.seconds if agent else SDK_SECONDS)
            outcome = outcome_of(got, tool=tool, whole=self.client.whole, agent=agent)
            told = got.raised or ("" if outcome == "well" else f"said {got.said!r}, wrote {got.written!r}")
            seconds = round(time.monotonic() - began, 1)
            yield Cell(self.client.name, self.client.dialect, name, way, outcome, case.calls, seconds, told)
