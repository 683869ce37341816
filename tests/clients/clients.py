"""The clients: how each is installed, started, asked, and understood."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.clients import agents
from tests.clients.environments import (
    AGNO,
    AIDER,
    CLAUDE_CODE,
    CLINE,
    GEMINI_CLI,
    INSTRUCTOR,
    LANGCHAIN,
    LITELLM,
    NODE_SDKS,
    OPENCODE,
    PYDANTIC_AI,
    PYTHON_SDKS,
    VERCEL_6,
    VERCEL_7,
    Environment,
)
from tests.clients.faults import FILE
from tests.e2e.npm import run

DRIVERS = Path(__file__).parent / "drivers"


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


@dataclass(frozen=True)
class Client:
    """A client. driver: the name of what drives it. package: the one whose version is told.

    agent: it is a program, not a library. tools: the program has some of its own. whole: it asks for whole answers, by
    a forced tool.
    """

    name: str
    dialect: str
    environment: Environment
    driver: str
    package: str
    agent: bool = False
    tools: bool = True
    whole: bool = False

    def session(self, folder: Path, work: Path) -> Session:
        """Install it in its environment below a folder, and get it ready in a new one. Raises UnavailableError."""
        home = self.environment.installed(folder)
        work.mkdir(parents=True)
        if self.agent:
            return AgentSession(agents.AGENTS[self.driver], home, work)
        return SdkSession(self._command(home), work)

    def version(self, folder: Path) -> str:
        """What is installed."""
        return self.environment.version(folder / self.environment.name, self.package)

    def _command(self, home: Path) -> list[str]:
        if self.environment.of == "PyPI":
            return [str(home / "bin" / "python"), "-W", "ignore", str(DRIVERS / "sdks.py"), self.driver]
        # Node looks for packages beside the script.
        script = shutil.copy(DRIVERS / "sdks.mjs", home)
        return ["node", str(script), self.driver]


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


CLIENTS = [
    Client("Claude Code", "anthropic", CLAUDE_CODE, "claude", "@anthropic-ai/claude-code", agent=True),
    Client("opencode", "anthropic", OPENCODE, "opencode", "opencode-ai", agent=True),
    Client("Cline", "anthropic", CLINE, "cline", "cline", agent=True),
    Client("aider", "anthropic", AIDER, "aider", "aider-chat", agent=True, tools=False),
    Client("anthropic (Python)", "anthropic", PYTHON_SDKS, "anthropic", "anthropic"),
    Client("anthropic (JS)", "anthropic", NODE_SDKS, "anthropic", "@anthropic-ai/sdk"),
    Client("Vercel AI SDK 6", "anthropic", VERCEL_6, "vercel_anthropic", "ai"),
    Client("Vercel AI SDK 7", "anthropic", VERCEL_7, "vercel_anthropic", "ai"),
    Client("LangChain", "anthropic", LANGCHAIN, "langchain_anthropic", "langchain-anthropic"),
    Client("pydantic-ai", "anthropic", PYDANTIC_AI, "pydantic_ai_anthropic", "pydantic-ai-slim"),
    Client("litellm", "anthropic", LITELLM, "litellm_anthropic", "litellm"),
    Client("instructor", "anthropic", INSTRUCTOR, "instructor_anthropic", "instructor", whole=True),
    Client("agno", "anthropic", AGNO, "agno_anthropic", "agno"),
    Client("Gemini CLI", "gemini", GEMINI_CLI, "gemini", "@google/gemini-cli", agent=True),
    Client("opencode", "gemini", OPENCODE, "opencode_google", "opencode-ai", agent=True),
    # It declares Google's search there, and with that none of its own tools.
    Client("Cline", "gemini", CLINE, "cline_google", "cline", agent=True, tools=False),
    Client("aider", "gemini", AIDER, "aider_google", "aider-chat", agent=True, tools=False),
    Client("google-genai (Python)", "gemini", PYTHON_SDKS, "google", "google-genai"),
    Client("google-genai (JS)", "gemini", NODE_SDKS, "google", "@google/genai"),
    Client("Vercel AI SDK 6", "gemini", VERCEL_6, "vercel_google", "ai"),
    Client("Vercel AI SDK 7", "gemini", VERCEL_7, "vercel_google", "ai"),
    Client("LangChain", "gemini", LANGCHAIN, "langchain_google", "langchain-google-genai"),
    Client("pydantic-ai", "gemini", PYDANTIC_AI, "pydantic_ai_google", "pydantic-ai-slim"),
    Client("litellm", "gemini", LITELLM, "litellm_google", "litellm"),
    Client("instructor", "gemini", INSTRUCTOR, "instructor_google", "instructor", whole=True),
    Client("agno", "gemini", AGNO, "agno_google", "agno"),
]
