"""The files by which systemd and launchd run the proxy."""

import plistlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

UNIT_NAME = "antigravity.service"
LABEL = "local.antigravity-healing-proxy"
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_ENDING_S = 15
"""What it may take to end beyond the grace of answers under way."""

_UNIT = """\
[Unit]
Description=Healing proxy for LLM APIs

[Service]
ExecStart={command}
# NAME=value lines, for the env: sources of the configuration.
EnvironmentFile=-{environment}
Restart=on-failure
RestartSec=5
# More than [shutdown] grace in the configuration.
TimeoutStopSec={stop_s}
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""
# launchd has no such setting. The file's lines are read as a shell's, which for NAME=value is the same.
_WITH_ENVIRONMENT = 'set -a; [ ! -f "$0" ] || . "$0"; set +a; exec "$@"'


class Running(NamedTuple):
    """How the proxy is to be run.

    command: the program, by its whole path, and its arguments. environment: the file with its variables. grace_s: for
    how long answers under way may go on when it is to end, in seconds.
    """

    command: Sequence[str]
    environment: Path
    grace_s: float


def systemd_unit(running: Running) -> str:
    """The text of a unit for systemd. Raises ValueError for what can't be written in one."""
    _check(running)
    return _UNIT.format(
        command=" ".join(map(_quoted, running.command)),
        environment=str(running.environment).replace("%", "%%"),
        stop_s=_stop_s(running),
    )


def launchd_plist(running: Running, log: Path) -> bytes:
    """A property list for launchd. log: what takes its output. Raises ValueError for what can't be written in one."""
    _check(running)
    settings = {
        "Label": LABEL,
        "ProgramArguments": ["/bin/sh", "-c", _WITH_ENVIRONMENT, str(running.environment), *running.command],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": _stop_s(running),
        "Umask": 0o077,
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
    }
    return plistlib.dumps(settings)


def _check(running: Running) -> None:
    for word in (*running.command, str(running.environment)):
        if not word.isprintable():
            raise ValueError(f"{word!r} has characters that can't stand in a service's file")


def _stop_s(running: Running) -> int:
    return int(running.grace_s) + _ENDING_S


def _quoted(word: str) -> str:
    """A word of a command line, as systemd reads it."""
    word = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
