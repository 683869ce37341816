"""Where the clients are installed: a folder for each environment, outside of the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.npm import run
from tests.support.places import ROOT

INSTALL_SECONDS = 900
_INSTALLING = threading.Lock()
_NPM = ["npm", "install", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"]


class UnavailableError(Exception):
    """A client can't be had here; the text says why."""


@dataclass(frozen=True)
class Environment:
    """Packages that are installed together. of: the registry. versions: of which packages people are told."""

    name: str
    of: str
    packages: tuple[str, ...]

    def installed(self, folder: Path) -> Path:
        """The environment's folder, made at its first use. Raises UnavailableError."""
        home = folder / self.name
        done = home / "installed"
        # Clients that work at the same time may share an environment.
        with _INSTALLING:
            if not done.exists():
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir(parents=True)
                for command in self._commands(home):
                    _do(command, home if self.of == "npm" else ROOT)
                done.touch()
        return home

    def version(self, home: Path, package: str) -> str:
        """The version of an installed package."""
        if self.of == "npm":
            return str(json.loads((home / "node_modules" / package / "package.json").read_text())["version"])
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        asked: list[str | Path] = [home / "bin" / "python", "-c", code]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    def _commands(self, home: Path) -> list[list[str]]:
        if self.of == "npm":
            return [[*_NPM, "--prefix", str(home), *self.packages]]
        python = str(home / "bin" / "python")
        return [
            ["uv", "venv", "-q", "--allow-existing", "--python", "3.12", str(home)],
            ["uv", "pip", "install", "-q", "--python", python, *self.packages],
        ]


CLAUDE_CODE = Environment("claude-code", "npm", ("@anthropic-ai/claude-code",))
GEMINI_CLI = Environment("gemini-cli", "npm", ("@google/gemini-cli",))
OPENCODE = Environment("opencode", "npm", ("opencode-ai",))
CLINE = Environment("cline", "npm", ("cline",))
NODE_SDKS = Environment("node-sdks", "npm", ("@anthropic-ai/sdk", "@google/genai"))
VERCEL_6 = Environment("vercel-6", "npm", ("ai@6", "@ai-sdk/anthropic@3", "@ai-sdk/google@3"))
VERCEL_7 = Environment("vercel-7", "npm", ("ai@7", "@ai-sdk/anthropic@4", "@ai-sdk/google@4"))
PYTHON_SDKS = Environment("python-sdks", "PyPI", ("anthropic", "google-genai"))
# One each: together they would hold each other's versions back.
LANGCHAIN = Environment("langchain", "PyPI", ("langchain-anthropic", "langchain-google-genai"))
PYDANTIC_AI = Environment("pydantic-ai", "PyPI", ("pydantic-ai-slim[anthropic,google]",))
LITELLM = Environment("litellm", "PyPI", ("litellm",))
INSTRUCTOR = Environment("instructor", "PyPI", ("instructor[anthropic,google-genai]",))
AGNO = Environment("agno", "PyPI", ("agno", "anthropic", "google-genai"))
AIDER = Environment("aider", "PyPI", ("aider-chat",))


def _do(command: Sequence[str], cwd: Path) -> None:
    try:
        ran = run(command, INSTALL_SECONDS, cwd=cwd, env=os.environ)
    except OSError as error:
        raise UnavailableError(f"{command[0]}: {error.strerror}") from error
    if ran.status != 0:
        last = next(reversed(ran.stderr.strip().splitlines()), "it says nothing")
        raise UnavailableError(f"{' '.join(command[:3])}: {last}")
