"""The clients that there are, and how each is installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

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
from tests.clients.sessions import AgentSession, SdkSession, Session

DRIVERS = Path(__file__).parent / "drivers"


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
