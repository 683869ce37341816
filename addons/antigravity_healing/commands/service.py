"""`antigravity service`: has the user's systemd, or launchd on macOS, run the proxy."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from antigravity_healing import data_folder, private
from antigravity_healing.commands.units import LABEL, UNIT_NAME, Running, launchd_plist, systemd_unit
from antigravity_healing.policy.settings import file as config_file
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.policy.settings.source_notation import parse_source
from antigravity_healing.proxy.configuration import find, user_folder

_STATUSES = "exit status: 0 if it is done (status: if it runs), 1 if not, 2 if the configuration can't be read"
_ENVIRONMENT = "# Variables of the healing proxy's service, NAME=value, a line each. Start it again after a change.\n"
_TOOL_S = 30.0


class ServiceError(Exception):
    """It can't be done; the text says why."""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add it to a command line."""
    parser = commands.add_parser("service", help="have systemd or launchd run the proxy", epilog=_STATUSES)
    parser.description = "Has the user's systemd (launchd on macOS) start the proxy with the session, and keep it up."
    parts = parser.add_subparsers(dest="part", required=True, metavar="install | uninstall | status", prog=parser.prog)
    install = parts.add_parser("install", help="write the service's file, and start it", epilog=_STATUSES)
    install.add_argument("--print", action="store_true", dest="only_print", help="print the file, and do nothing")
    install.add_argument("--file", metavar="F", default="", help="the configuration; default: where the proxy looks")
    install.add_argument("arguments", nargs="*", metavar="-- OPTION", help="options for mitmdump, behind --")
    uninstall = parts.add_parser("uninstall", help="stop it, and remove its file", epilog=_STATUSES)
    status = parts.add_parser("status", help="tell whether it is installed, and runs", epilog=_STATUSES)
    for part, run in ((install, _install), (uninstall, _uninstall), (status, _status)):
        part.set_defaults(run=partial(_told, run), parser=part)


def _told(part: Callable[[argparse.Namespace], int], given: argparse.Namespace) -> int:
    try:
        status = part(given)
    except config_file.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (ServiceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or 'a file'} can't be written: {error.strerror}", file=sys.stderr)
        return 1
    return status


def _install(given: argparse.Namespace) -> int:
    path = find(given.file, "--file")
    config = config_file.load(path) if path else Config()
    running = Running(_command(path, given.arguments), user_folder() / "environment", config.shutdown.grace)
    file, text = _file(), _text(running)
    if given.only_print:
        print(text, end="")
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    print(f"{file} is written.")
    _tell_variables(running.environment, config)
    if "uv" in Path(sys.prefix).parts and "archive-v0" in Path(sys.prefix).parts:
        print("It runs from uv's cache, which may be emptied: `uv tool install` it, and install the service with that.")
    status = _run_all(_starting(file))
    if status == 0 and not _is_launchd():
        print("It runs while you are logged in; `loginctl enable-linger` has it run from the machine's start on.")
    return status


def _uninstall(_: argparse.Namespace) -> int:
    file = _file()
    if not file.exists():
        print(f"It is not installed: there is no {file}.")
        return 0
    before, after = _ending(file)
    status = _run_all([before])
    file.unlink()
    print(f"{file} is removed.")
    return _run_all(after) or status


def _status(_: argparse.Namespace) -> int:
    file = _file()
    if not file.exists():
        print(f"It is not installed: there is no {file}.")
        return 1
    trouble = _trouble(_asking())
    print(f"It is installed ({file}), {f'but does not run: {trouble}' if trouble else 'and runs'}.")
    return 1 if trouble else 0


def _command(path: Path | None, arguments: Sequence[str]) -> list[str]:
    """The same entry point as this one, by its whole path."""
    name = "antigravity.exe" if os.name == "nt" else "antigravity"
    entry = Path(sys.executable).parent / name
    command = [str(entry)] if entry.is_file() else [sys.executable, "-m", "antigravity_healing.commands"]
    # Only the user's folder is looked into wherever it is started.
    if path is not None and path.parent != user_folder():
        command += ["--set", f"antigravity_config={path.absolute()}"]
    return [*command, *arguments]


def _variables(config: Config) -> Iterator[str]:
    """The environment variables that a configuration names."""
    for account in config.accounts:
        for secret in (account.api_key, account.bearer, *account.headers.values()):
            if secret is not None and (source := parse_source(secret.get_secret_value())).kind == "env":
                yield source.value
    for key in config.clients.keys:
        if (source := parse_source(key.get_secret_value())).kind == "env":
            yield source.value


def _tell_variables(environment: Path, config: Config) -> None:
    """Say which variables the service needs: it does not have those of a shell."""
    if not (names := list(dict.fromkeys(_variables(config)))):
        return
    if not environment.exists():
        private.make_folder(environment.parent)
        with open(environment, "x", encoding="utf-8", opener=private.opener) as file:
            file.write(_ENVIRONMENT + "".join(f"#{name}=\n" for name in names))
    given = {line.partition("=")[0].strip() for line in environment.read_text("utf-8").splitlines() if "=" in line}
    if missing := [name for name in names if name not in given]:
        print(f"TO DO: write {', '.join(f'{name}=…' for name in missing)} into {environment}, then start it again.")


def _run_all(commands: Sequence[Sequence[str]]) -> int:
    """Run the service manager's commands, or say what to run where it does not work from here."""
    for number, command in enumerate(commands):
        trouble = _trouble(command)
        print(f"{'not done' if trouble else 'done'}: {' '.join(command)}{f' ({trouble})' if trouble else ''}")
        if trouble:
            if rest := commands[number + 1 :]:
                print(f"TO DO: run it in a session of yours, then {'; '.join(' '.join(each) for each in rest)}")
            return 1
    return 0


def _trouble(command: Sequence[str]) -> str:
    """Run one of the service manager's commands. Says what went wrong, "" if nothing did."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
    return said if done.returncode else ""


def _is_launchd() -> bool:
    """Whether launchd is what runs services here. Raises ServiceError where nothing known does."""
    if sys.platform == "darwin":
        return True
    if not sys.platform.startswith("linux"):
        raise ServiceError(f"a service can be installed for systemd (Linux) and launchd (macOS), not on {sys.platform}")
    if shutil.which("systemctl") is None:
        raise ServiceError("there is no systemctl: this machine has no systemd; `service install --print` needs none")
    return False


def _file() -> Path:
    if _is_launchd():
        return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(folder) if folder.startswith("/") else Path.home() / ".config") / "systemd" / "user" / UNIT_NAME


def _text(running: Running) -> str:
    if not _is_launchd():
        return systemd_unit(running)
    log = data_folder("") / "logs" / "service.log"
    private.make_folder(log.parent)
    return launchd_plist(running, log).decode("utf-8")


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _starting(file: Path) -> list[list[str]]:
    """What starts it as its file is now, whether it runs already or not."""
    if _is_launchd():
        # What is loaded can't be loaded again; that it was not is no trouble.
        gone = f'launchctl bootout {_domain()}/{LABEL} 2>/dev/null; exec launchctl bootstrap {_domain()} "$0"'
        return [["/bin/sh", "-c", gone, str(file)]]
    return [
        ["systemctl", "--user", *words] for words in (["daemon-reload"], ["enable", UNIT_NAME], ["restart", UNIT_NAME])
    ]


def _ending(file: Path) -> tuple[list[str], list[list[str]]]:
    """What is to be run before the file is removed, and after it."""
    if _is_launchd():
        return ["launchctl", "bootout", f"{_domain()}/{LABEL}"], []
    return ["systemctl", "--user", "disable", "--now", UNIT_NAME], [["systemctl", "--user", "daemon-reload"]]


def _asking() -> list[str]:
    if _is_launchd():
        return ["launchctl", "print", f"{_domain()}/{LABEL}"]
    return ["systemctl", "--user", "is-active", UNIT_NAME]
