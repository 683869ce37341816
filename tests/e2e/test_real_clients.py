"""Claude Code and Gemini CLI themselves, from npm, at work with their own tools through the proxy."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.npm import Clients, Ran, clients, run
from tests.support.anthropic_request import check_anthropic_request
from tests.support.gemini_request import check_gemini_request
from tests.upstream import Upstream
from tests.upstream.healthy import asked
from tests.upstream.working import MARKER, Working

SECONDS = 45
"""What one run of a client may take. It takes two or three."""
# Claude Code numbers the lines that it reads, and takes white space off the ends of those that it writes, in its
# history, too: of the call of which an empty line is a part it sends back another one than it got.
SOURCE = 'first\n\tsecond: "quoted", back\\slash, Übung, 世界, 🦜\n\nlast\n'
STEPS = 2


@dataclass(frozen=True)
class Case:
    """A client, the model that it is told to use, and what is upstream.

    spoken: upstream's dialect. mapped: the model there, "" for the one that the client asks for.
    prompts: how many prompts the conversation has, each in a process of its own.
    """

    client: str
    model: str
    spoken: str
    mapped: str = ""
    prompts: int = 1

    @property
    def routes(self) -> str:
        """The configuration that leads all models of the client's vendor there."""
        return f'[models]\n"{self.client}-*" = "{self.spoken}/{self.mapped}"\n' if self.mapped else ""


@dataclass(frozen=True)
class Desk:
    """Where a client works: a home of its own, and a folder with files."""

    clients: Clients
    home: Path
    files: Path
    url: str

    def run(self, command: list[str | Path], env: Mapping[str, str]) -> Ran:
        """Run a client; of this process's environment it gets the search path only."""
        whole = {"PATH": os.environ["PATH"], "HOME": str(self.home), **env}
        return run(command, SECONDS, cwd=self.files, env=whole)


def ask_claude_code(desk: Desk, model: str, prompt: str, *, again: bool) -> tuple[Ran, str]:
    """`claude -p`, `again` in the same conversation: what came of it, and the JSON's member with the text."""
    env = {
        "ANTHROPIC_BASE_URL": desk.url,
        "ANTHROPIC_API_KEY": "client-key-0123456789",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",
    }
    options = ["--output-format", "json", "--permission-mode", "bypassPermissions", "--max-turns", "8"]
    more = ["--continue"] if again else []
    return desk.run([desk.clients.claude, "-p", prompt, "--model", model, *options, *more], env), "result"


def ask_gemini_cli(desk: Desk, model: str, prompt: str, *, again: bool) -> tuple[Ran, str]:
    """`gemini -p`, `again` in the same conversation, in which 0.61 sends each tool's result twice."""
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "model": {"maxSessionTurns": 8},
    }
    file = desk.home / ".gemini" / "settings.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(settings))
    env = {
        "GOOGLE_GEMINI_BASE_URL": desk.url,
        "GEMINI_API_KEY": "client-key-0123456789",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_CLI_NO_RELAUNCH": "true",
    }
    options = ["--output-format", "json", "--approval-mode", "yolo", *(["--resume", "latest"] if again else [])]
    return desk.run([desk.clients.gemini, "-p", prompt, "-m", model, *options], env), "response"


ASKERS: dict[str, Callable[..., tuple[Ran, str]]] = {"claude": ask_claude_code, "gemini": ask_gemini_cli}
CASES = [
    Case("claude", "claude-opus-5-5", "anthropic", prompts=2),
    Case("claude", "claude-opus-5-5", "gemini", "gemini-3-pro-preview", prompts=2),
    Case("claude", "claude-sonnet-4-5", "gemini", "gemini-2.5-pro", prompts=2),
    # With `auto` a small model is asked which one to take.
    Case("gemini", "auto", "gemini"),
    Case("gemini", "auto", "anthropic", "claude-sonnet-4-5", prompts=2),
    Case("gemini", "gemini-3-pro-preview", "anthropic", "claude-opus-5-5"),
]
BY_DEFAULT = [replace(CASES[1], prompts=1), CASES[3]]
"""One of each client, one of them translated. Node takes long to start, and does so for each prompt."""


@pytest.fixture(scope="module")
def installed() -> Clients:
    """The clients' executables."""
    return clients()


@pytest.mark.parametrize(
    "case",
    [*BY_DEFAULT, *(pytest.param(case, marks=pytest.mark.long) for case in CASES if case not in BY_DEFAULT)],
    ids=lambda case: f"{case.client} with {case.model} on {case.spoken}, {case.prompts} prompts",
)
def test_an_agent_reads_and_writes_files_and_no_signature_is_refused(
    installed: Clients, tmp_path: Path, case: Case
) -> None:
    home, files = tmp_path / "home", tmp_path / "files"
    for folder in (home, files):
        folder.mkdir()
    (files / "0.txt").write_text(SOURCE, "utf-8")
    config = account("only", case.spoken) + case.routes
    with (
        Upstream() as server,
        Proxy(tmp_path / "proxy", config + upstream(case.spoken, case.spoken, server.url)) as proxy,
    ):
        working = Working(call_ids=True)
        server.default = working
        desk = Desk(installed, home, files, proxy.url)
        for number in range(case.prompts):
            source, target = files / f"{number}.txt", files / f"{number + 1}.txt"
            prompt = f"Copy [read:{source}] to [write:{target}], please."
            ran, member = ASKERS[case.client](desk, case.model, prompt, again=number > 0)
            what = f"{installed.versions}\n{ran}\n{server.describe()}"
            assert ran.status == 0, what
            assert working.refused == [], what
            assert target.exists(), what
            written = target.read_text("utf-8")
            # Claude Code numbers the lines that it reads.
            assert all(line in written for line in SOURCE.splitlines()), what
            assert written.endswith(f"\n{MARKER}\n"), what
            assert written.rstrip() in json.loads(ran.stdout)[member], what

        generated = [call for call in server.calls if asked(call).action == "generate"]
        assert len(generated) >= case.prompts * (STEPS + 1)
        assert {asked(call).dialect for call in generated} == {case.spoken}
        if case.mapped:
            assert {asked(call).model for call in generated} == {case.mapped}
            check = check_gemini_request if case.spoken == "gemini" else check_anthropic_request
            for call in generated:
                check(call.json)
        assert [call.describe() for call in generated if call.reply is None or call.reply.status != 200] == []
        # One call upstream for each request of the client, and nothing to heal.
        proxy.wait_for_log("delivered, clean", len(generated))
