"""How clients are started, asked, and understood."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.clients import agents
from tests.clients.faults import FILE
from tests.e2e.npm import run


@dataclass(frozen=True)
class Got:
    """What a client made of its work.

    written: the contents that its tool was called with, one each. raised: what it said of a failure; "" for nothing.
    hung: it had not ended when its time was over.
    """

    said: str = ""
    written: tuple[str, ...] = ()
    raised: str = ""
    hung: bool = False


class Session(Protocol):
    """A client that is ready to work, one piece after the other."""

    def ask(self, url: str, prompt: str, *, tool: bool, seconds: float) -> Got:
        """Have it do one piece of work against an API at this URL, within so many seconds."""

    def close(self) -> None:
        """End all that it has started."""


@dataclass
class AgentSession:
    """An agent: each piece of work is a process of its own, in a folder of its own; the home stays."""

    agent: agents.Agent
    home: Path
    work: Path
    count: int = 0

    def ask(self, url: str, prompt: str, *, tool: bool, seconds: float) -> Got:
        self.count += 1
        files = self.work / f"files-{self.count}"
        files.mkdir()
        # A client may keep in its home where it was told to ask.
        own = self.work / f"home-{url.rpartition(':')[2]}"
        own.mkdir(exist_ok=True)
        started = self.agent.start(self.home, agents.Place(own, files, url), prompt)
        env = {"PATH": os.environ["PATH"], "HOME": str(own), **started.env}
        try:
            ran = run(started.command, seconds, cwd=files, env=env)
        finally:
            self.agent.tidy(own)
        said, raised = self.agent.read(ran)
        target = files / FILE
        written = (target.read_text(),) if target.exists() else ()
        return Got(said, written, raised, hung=ran.status is None)

    def close(self) -> None:
        # What an agent leaves running may have begun after its end.
        for own in self.work.glob("home-*"):
            self.agent.tidy(own)


@dataclass
class SdkSession:
    """An SDK: one process for all, which is started anew where it hangs."""

    command: list[str]
    work: Path
    process: subprocess.Popen[str] | None = None

    def ask(self, url: str, prompt: str, *, tool: bool, seconds: float) -> Got:
        first = self.process is None
        process = self.process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"url": url, "prompt": prompt, "tool": tool}) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            # Some take long to be imported.
            if not waiting.select(seconds + 60 * first):
                self.close()
                return Got(hung=True)
        line = process.stdout.readline()
        if not line:
            self.close()
            return Got(raised=f"its process ended: {(self.work / 'stderr').read_text()[-500:]}")
        found: dict[str, Any] = json.loads(line)
        written = tuple(str((given or {}).get("content")) for _, given in found["calls"])
        return Got(found["said"], written, found["raised"])

    def close(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def _start(self) -> subprocess.Popen[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.work), "AGNO_TELEMETRY": "false"}
        with (self.work / "stderr").open("a") as errors:
            return subprocess.Popen(
                self.command,
                cwd=self.work,
                env={**env, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
