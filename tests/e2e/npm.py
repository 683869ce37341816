"""Claude Code and Gemini CLI from npm: installed once for all runs of the tests, and started from there."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.caching import CACHE

CLAUDE_CODE = "@anthropic-ai/claude-code"
GEMINI_CLI = "@google/gemini-cli"
INSTALL_SECONDS = 180


@dataclass(frozen=True)
class Clients:
    """The executables. versions: what they are, for people."""

    claude: Path
    gemini: Path
    versions: str


@dataclass(frozen=True)
class Ran:
    """What came of a command. status: None if it had to be killed."""

    status: int | None
    stdout: str
    stderr: str

    def __str__(self) -> str:
        ended = "was killed, for it did not end" if self.status is None else f"ended with {self.status}"
        return f"It {ended}.\n--- stdout\n{self.stdout[-4000:]}\n--- stderr\n{self.stderr[-4000:]}"


def clients() -> Clients:
    """The newest clients at the time of the first run; delete the folder `npm` of the cache for newer ones.

    Where they can't be had the test is skipped; on CI it fails.
    """
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        _unavailable(f"{' and '.join(missing)} not found")
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / "npm"
    # Other workers and other runs want them, too.
    with (CACHE / "npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _install(folder)
    modules = folder / "node_modules"
    versions = [
        f"{name} {json.loads((modules / name / 'package.json').read_text())['version']}"
        for name in (CLAUDE_CODE, GEMINI_CLI)
    ]
    return Clients(modules / ".bin" / "claude", modules / ".bin" / "gemini", ", ".join(versions))


def run(command: Sequence[str | Path], seconds: float, *, cwd: Path, env: Mapping[str, str]) -> Ran:
    """Run a command without input, and kill it with all that it has started when the time is over."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    status: int | None = None
    try:
        stdout, stderr = process.communicate(timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
    except BaseException:
        # A session of its own gets no Ctrl-C.
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Ran(status, stdout, stderr)


def _install(folder: Path) -> None:
    """Install into the folder, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as made:
        staged = Path(made) / "npm"
        staged.mkdir()
        modules = staged / "node_modules"
        options = ["--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"]
        options += ["--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000"]
        _do(["npm", "install", "--prefix", staged, *options, CLAUDE_CODE, GEMINI_CLI], Path(made), os.environ)
        # Of all the packages' scripts only this one is needed; others fetch or compile what can be done without.
        env = {"PATH": os.environ["PATH"], "HOME": made}
        _do(["node", modules / CLAUDE_CODE / "install.cjs"], Path(made), env)
        for name in ("claude", "gemini"):
            _do([modules / ".bin" / name, "--version"], Path(made), env)
        staged.rename(folder)


def _do(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str]) -> None:
    ran = run(command, INSTALL_SECONDS, cwd=cwd, env=env)
    if ran.status != 0:
        first = next(iter(ran.stderr.splitlines()), "it says nothing")
        _unavailable(f"{' '.join(map(str, command))}: {first}\n{ran}")


def _unavailable(why: str) -> NoReturn:
    """Skip with the first line of the reason, or fail with all of it."""
    why = f"the clients from npm can't be had: {why}"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why.splitlines()[0])
