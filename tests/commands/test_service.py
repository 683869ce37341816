"""`antigravity service`, with a stand-in for systemctl: the user's own is not to be touched."""

import os
import stat
import sys
from pathlib import Path

import pytest
from antigravity_healing.commands.main import main

from tests.e2e.harness import account

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
UNIT = Path("config/systemd/user/antigravity.service")
ENVIRONMENT = Path("config/antigravity/environment")
STARTED = ["--user daemon-reload", "--user enable antigravity.service", "--user restart antigravity.service"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where all of it goes; what systemctl was called with is in the file `calls`."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    systemctl('echo "$*" >>' + str(tmp_path / "calls"))
    return tmp_path


def systemctl(script: str) -> None:
    Path("bin/systemctl").write_text(f"#!/bin/sh\n{script}\n")
    Path("bin/systemctl").chmod(0o755)


def calls() -> list[str]:
    return Path("calls").read_text().splitlines() if Path("calls").exists() else []


def configure(text: str) -> None:
    Path("antigravity.toml").write_text(text)


def test_it_is_installed_started_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "status"]) == 1
    assert main(["service", "install", "--", "-p", "8081"]) == 0
    assert calls() == STARTED
    command = UNIT.read_text().partition("ExecStart=")[2].splitlines()[0]
    program, *rest = command.split()
    assert os.access(program, os.X_OK)
    assert rest == ["-p", "8081"]
    assert main(["service", "status"]) == 0
    assert main(["service", "uninstall"]) == 0
    assert not UNIT.exists()
    assert calls()[3:] == [
        "--user is-active antigravity.service",
        "--user disable --now antigravity.service",
        "--user daemon-reload",
    ]
    assert main(["service", "uninstall"]) == 0
    assert len(calls()) == 6
    assert "TO DO" not in capsys.readouterr().out


def test_where_systemctl_does_not_work_it_says_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    systemctl("echo 'Failed to connect to bus' >&2; exit 1")
    assert main(["service", "install"]) == 1
    told = capsys.readouterr().out
    assert "not done: systemctl --user daemon-reload (Failed to connect to bus)" in told
    assert "then systemctl --user enable antigravity.service; systemctl" in told
    assert "It runs" not in told
    assert UNIT.exists()


def test_its_state_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "install"]) == 0
    assert "It runs while you are logged in" in capsys.readouterr().out
    assert main(["service", "status"]) == 0
    assert capsys.readouterr().out == f"It is installed ({UNIT.absolute()}), and runs.\n"
    systemctl("echo inactive; exit 3")
    assert main(["service", "status"]) == 1
    assert capsys.readouterr().out == f"It is installed ({UNIT.absolute()}), but does not run: inactive.\n"


def test_print_shows_the_file_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "install", "--print"]) == 0
    assert capsys.readouterr().out.startswith("[Unit]\n")
    assert not UNIT.exists()
    assert not calls()


def test_the_unit_uses_this_folders_configuration_and_its_grace(folder: Path) -> None:
    configure("[shutdown]\ngrace = 90\n")
    assert main(["service", "install"]) == 0
    unit = UNIT.read_text()
    assert f"--set antigravity_config={folder / 'antigravity.toml'}" in unit
    assert "TimeoutStopSec=105" in unit


def test_the_users_own_configuration_is_found_without_being_named() -> None:
    Path("config/antigravity").mkdir(parents=True)
    Path("config/antigravity/antigravity.toml").touch()
    assert main(["service", "install"]) == 0
    assert "antigravity_config" not in UNIT.read_text()


def test_variables_that_the_service_lacks_are_named_and_never_copied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "some-secret-0123456789")
    configure(account("a", "anthropic", api_key="env:SOME_KEY") + '[clients]\nkeys = ["env:OTHER_KEY"]\n')
    assert main(["service", "install"]) == 0
    assert f"TO DO: write SOME_KEY=…, OTHER_KEY=… into {ENVIRONMENT.absolute()}" in capsys.readouterr().out
    assert stat.S_IMODE(ENVIRONMENT.stat().st_mode) == 0o600
    assert "some-secret" not in ENVIRONMENT.read_text() + UNIT.read_text()
    ENVIRONMENT.write_text("SOME_KEY=a\nOTHER_KEY=b\n")
    assert main(["service", "install"]) == 0
    assert "TO DO" not in capsys.readouterr().out
    assert ENVIRONMENT.read_text() == "SOME_KEY=a\nOTHER_KEY=b\n"


def test_a_broken_configuration_installs_nothing() -> None:
    configure("[shutdown]\ngrace = 'long'\n")
    assert main(["service", "install"]) == 2
    assert not UNIT.exists()


def test_other_platforms_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["service", "install"]) == 1
    assert "not on win32" in capsys.readouterr().err
