import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest
from antigravity_healing.commands.units import Running, launchd_plist, systemd_unit

ODD = ["--set", 'antigravity_config=/home/a b/100%/it\'s $HOME "x"\\.toml']


def written(text: str, name: str) -> str:
    return next(line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}="))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("arguments", [[], ODD])
def test_systemd_takes_the_unit(tmp_path: Path, arguments: list[str]) -> None:
    unit = tmp_path / "antigravity.service"
    program = tmp_path / "a program"
    program.touch(0o755)
    unit.write_text(systemd_unit(Running([str(program), *arguments], tmp_path / "100%", 30)))
    runtime = tmp_path / "runtime"
    runtime.mkdir(0o700)
    found = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert unit.name not in found.stderr


def test_a_unit_ends_later_than_answers_under_way_may() -> None:
    running = Running(["/bin/antigravity", *ODD], Path("/e"), 100)
    assert int(written(systemd_unit(running), "TimeoutStopSec")) > 100
    assert plistlib.loads(launchd_plist(running, Path("/log")))["ExitTimeOut"] > 100


def test_what_means_something_to_systemd_is_said_so_that_it_does_not() -> None:
    unit = systemd_unit(Running(["/bin/antigravity", *ODD], Path("/100%/e"), 30))
    told = '/bin/antigravity --set "antigravity_config=/home/a b/100%%/it\'s $$HOME \\"x\\"\\\\.toml"'
    assert written(unit, "ExecStart") == told
    assert written(unit, "EnvironmentFile") == "-/100%%/e"


def test_launchd_runs_the_same_command_with_the_variables_of_the_file(tmp_path: Path) -> None:
    environment = tmp_path / "environment file"
    environment.write_text("# a comment\nSOME_KEY=value\n")
    show = ["/bin/sh", "-c", 'echo "$SOME_KEY $1"', "sh", ODD[1]]
    settings = plistlib.loads(launchd_plist(Running(show, environment, 30), tmp_path / "log"))
    assert settings["KeepAlive"] == {"SuccessfulExit": False}
    for there, value in ((True, "value"), (False, "")):
        if not there:
            environment.unlink()
        done = subprocess.run(settings["ProgramArguments"], capture_output=True, text=True, env={}, check=True)
        # `echo` of some shells reads backslashes.
        assert done.stdout.startswith(f"{value} {ODD[1].partition(chr(92))[0]}")


def test_a_line_break_can_not_get_into_a_unit() -> None:
    for make in (systemd_unit, lambda running: launchd_plist(running, Path("/log"))):
        with pytest.raises(ValueError, match="can't stand"):
            make(Running(["/bin/a", "b\nExecStart=/bin/c"], Path("/e"), 30))
