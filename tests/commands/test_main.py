"""The command line of `antigravity` itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from antigravity_healing.commands.main import main

from tests.e2e.harness import account, upstream
from tests.support.patience import PATIENCE_S
from tests.upstream import Reply, Upstream


@pytest.mark.parametrize(
    "given",
    ["init --wrong", "init more", "check a.toml", "log --wrong", "top now", "service install -p", "service status x"],
)
def test_what_a_command_does_not_take_is_told_with_what_it_does(capsys: pytest.CaptureFixture[str], given: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given.split())
    told = capsys.readouterr().err
    command = " ".join(given.split()[: 2 if given.startswith("service") else 1])
    assert ended.value.code == 2
    assert told.startswith(f"usage: antigravity {command} [-h]")
    assert f"antigravity {command}: error: unrecognized arguments: {given.split()[-1]}" in told


@pytest.mark.parametrize("given", ["chekc", "chekc -p 8081"])
def test_a_misspelt_command_starts_nothing(capsys: pytest.CaptureFixture[str], given: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given.split())
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_ctrl_c_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    with Upstream() as server:
        server.default = Reply(end="stall")
        file = tmp_path / "antigravity.toml"
        file.write_text(account("a", "there") + upstream("there", "gemini", server.url))
        command = [sys.executable, "-m", "antigravity_healing.commands", "check", "--file", str(file)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        try:
            server.wait_for(lambda server: server.calls)
            process.send_signal(signal.SIGINT)
            told, trouble = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert (process.returncode, trouble) == (130, "interrupted\n")
    assert "Traceback" not in told
