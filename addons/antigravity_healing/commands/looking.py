"""`antigravity log` and `antigravity top`: what a proxy on this machine did, and what it is doing now."""

import argparse
import os
import sys
import time
from contextlib import suppress

from antigravity_healing import data_folder
from antigravity_healing.monitor.request_log.filters import MOST, NAMES, STATES, FilterError, filter_from
from antigravity_healing.monitor.request_log.printing import Printed, as_csv, as_json, as_lines
from antigravity_healing.monitor.request_log.reader import Reader, UnreadableError
from antigravity_healing.monitor.request_log.schema import FILE_NAME
from antigravity_healing.monitor.status import top
from antigravity_healing.policy.judging.failures import FailureClass

_STATUSES = "exit status: 0 if it could be told, 1 if not (it says why), 2 if the command makes no sense"
# A person waits for so long.
_SEARCH_S = 10.0
_TIMES = "90s, 15m, 1h, 2d, 1w ago; 14:05; 2026-01-31; 2026-01-31T14:05"


def _look(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Do what the command line says, and give the exit status."""
    try:
        if given.command == "log":
            return _log(given, parser)
        return top.run(given.url, given.every, once=given.once)
    except BrokenPipeError:
        # Whoever reads has enough, as `head` has. Python must not try to write the rest at its end.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _log(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    words = {name: value for name in NAMES if (value := getattr(given, name)) is not None}
    try:
        wanted = filter_from(words, time.time())
    except FilterError as error:
        parser.error(str(error))
    try:
        page = Reader(data_folder(given.home) / FILE_NAME).page(wanted, _SEARCH_S)
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return 1
    printed: Printed = as_json if given.json else as_csv if given.csv else as_lines
    # What is printed for people is read from its end.
    ordered = reversed(page.exchanges) if printed is as_lines else page.exchanges
    for line in printed(ordered):
        print(line)
    sys.stdout.flush()
    if page.searched_back:
        found = "nothing like that was found" if not page.exchanges else "there may be more"
        print(f"{found}, {page.searched_back}; --after {page.after} goes on from there", file=sys.stderr)
    elif not page.exchanges:
        print("nothing like that is in the log", file=sys.stderr)
    elif page.after is not None:
        print(f"there may be more; --after {page.after} gives what is older", file=sys.stderr)
    return 0


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both to a command line."""
    log = commands.add_parser("log", help="what became of requests", epilog=_STATUSES)
    _add_log(log)
    log.set_defaults(run=lambda given: _look(given, log), parser=log)
    now = commands.add_parser("top", help="what is running now, and how the accounts are", epilog=_STATUSES)
    now.description = "What is running now, and how the accounts are."
    now.set_defaults(run=lambda given: _look(given, now), parser=now)
    now.add_argument("--url", default=top.DEFAULT_URL, help="the proxy's address (default: %(default)s)")
    now.add_argument("--every", type=_seconds, default=1.0, help="seconds between two looks (default: 1)")
    now.add_argument("--once", action="store_true", help="look once, for scripts")


def _add_log(log: argparse.ArgumentParser) -> None:
    log.description = "Exchanges of the request log: the newest that all of these hold for."
    log.add_argument("--since", metavar="TIME", help=f"began at or after: {_TIMES}")
    log.add_argument("--until", metavar="TIME", help="began before")
    log.add_argument("--outcome", help=f"one of {', '.join(STATES)}")
    log.add_argument("--exchange", metavar="ID", help="by its id, as X-Healing-Id has it")
    log.add_argument("--account", metavar="NAME", help="asked this account")
    log.add_argument(
        "--failure", metavar="CLASS", help=f"an attempt (on --account) failed so: {', '.join(map(str, FailureClass))}"
    )
    log.add_argument("--model", help="as the client or as upstream calls it; * stands for anything")
    log.add_argument("--conversation", metavar="ID", help="by its id, as --json shows it")
    log.add_argument("--client", metavar="ID", help="by its id, as --json shows it")
    log.add_argument("--attempts", metavar="N", help="had at least so many attempts")
    log.add_argument("--text", help="has this somewhere in its ids, models, path or finding")
    log.add_argument("--limit", metavar="N", help=f"how many at most (default: 100, at most {MOST})")
    log.add_argument("--after", metavar="CURSOR", help="those behind the last one of an earlier answer")
    log.add_argument("--home", metavar="FOLDER", default="", help="the data folder, if it is not the platform's")
    kind = log.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="a JSON object a line, with all attempts; the newest first")
    kind.add_argument("--csv", action="store_true", help="CSV with a line of names; the newest first")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"has to be a number of seconds from 0.1 to 3600, not {text}")
    return value
