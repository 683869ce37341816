"""`antigravity init`: writes a first configuration, and checks the accounts in it."""

import argparse
import os
import sys
from pathlib import Path

from antigravity_healing import private
from antigravity_healing.commands import check
from antigravity_healing.commands.first_configuration import first_configuration, variables_looked_at, vertex_flags
from antigravity_healing.policy.settings import file as config_file
from antigravity_healing.policy.settings.schema import FILE_NAME
from antigravity_healing.proxy.configuration import find, user_folder

_STATUSES = (
    "exit status: 0 if it is written and all accounts can be used, 1 if some account can't, 2 if nothing is written"
)


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add it to a command line."""
    parser = commands.add_parser("init", help="write a first configuration", epilog=_STATUSES)
    parser.description = (
        f"Writes a configuration with an account for each of {', '.join(variables_looked_at())} in the environment "
        "(and those with _2, _3, … behind them), or for Vertex AI where "
        f"{' or '.join(vertex_flags())} says so, and checks them. It names the variables and holds no key, and what is "
        "there is not overwritten."
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--here", action="store_true", help=f"write ./{FILE_NAME}, not in the user's folder")
    where.add_argument("--file", metavar="F", type=Path, help="write this file")
    parser.set_defaults(run=_run, parser=parser)


def _run(given: argparse.Namespace) -> int:
    path = Path(FILE_NAME).absolute() if given.here else given.file or user_folder() / FILE_NAME
    if path.is_dir():
        print(f"{path} is a folder; name the file in it, {path / FILE_NAME}", file=sys.stderr)
        return 2
    try:
        _write_new(path, first_configuration(os.environ))
    except FileExistsError:
        print(
            f"{path} is there already and stays as it is; `antigravity check --file {path}` checks it.", file=sys.stderr
        )
        return 2
    except OSError as error:
        print(f"{path} can't be written: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{path} is written.")
    _say_what_is_used_instead(path)
    config = config_file.load(path)
    if not config.accounts:
        print(f"No key was found in the environment ({', '.join(variables_looked_at())}): the file has examples.")
        return 0
    return check.print_checks(path, config)


def _write_new(path: Path, text: str) -> None:
    """Write a file that only its owner may read. Raises FileExistsError where there is one, and other OSErrors."""
    private.make_folder(path.absolute().parent)
    with open(path, "x", encoding="utf-8", opener=private.opener) as file:
        file.write(text)


def _say_what_is_used_instead(path: Path) -> None:
    try:
        used = find("")
    except config_file.ConfigError:
        return
    if used is None or not used.samefile(path):
        instead = f"{used} is used here without it" if used else "it is not found by itself"
        print(f"Start the proxy with --set antigravity_config={path}: {instead}.")
