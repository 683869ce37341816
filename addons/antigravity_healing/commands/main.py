"""The command line of `antigravity`."""

import argparse
import re
import sys
from collections.abc import Sequence

from antigravity_healing.commands import check, init, looking, service, tools

_DESCRIPTION = """\
The healing proxy for LLM APIs.

  antigravity [OPTION …]      start it in mitmdump, which gets all options (-p 8081, --mode …, --set …)
  antigravity web [OPTION …]  start it in mitmweb, which shows each request in a browser
"""
_EPILOG = "`antigravity -- --help` shows mitmdump's own options, `antigravity web --help` those of mitmweb."
# As commands are called. A mitmproxy filter of one bare word is rare, and a misspelt command must start nothing.
_WORD = re.compile(r"[A-Za-z][\w-]*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and give the exit status. arguments: those of the process if None."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given:
        case ["web", *rest]:
            return tools.start("mitmweb", rest)
        case ["--", *rest]:
            return tools.start("mitmdump", rest)
        case ["-h" | "--help" | "--version", *_]:
            return _own(given)
        case [str(first), *_] if _WORD.fullmatch(first):
            return _own(given)
        case _:
            return tools.start("mitmdump", given)


def _own(arguments: Sequence[str]) -> int:
    given, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # By the command's own parser: that shows what it does take.
        given.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        status: int = given.run(given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="antigravity",
        usage="antigravity [COMMAND | OPTION …]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=tools.versions())
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND", prog=parser.prog
    )
    # For the list alone: what starts a tool of mitmproxy's does not come here.
    commands.add_parser("web", help="start it in mitmweb", add_help=False)
    for part in (init, check, service, looking):
        part.add_to(commands)
    return parser
