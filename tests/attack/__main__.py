"""Attacks a proxy in all the ways that are known, and writes a table of what came of it.

For each: whether it failed as it should, whether its honest neighbour still works, how much memory the proxy took, and
the longest pause that another client felt. Anything else that runs on the machine disturbs that last figure, so what
the same client felt with nobody attacking is measured first, and told at the foot.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.attack.attacks import ATTACKS
from tests.attack.steady import serve
from tests.attack.table import HEAD, idle_gap_s, run, table
from tests.bench.server import running


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line. The exit status says whether all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--only", default=[""], nargs="+", metavar="TEXT", help="with this in the name, or of this row")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--list", action="store_true", help="only tell which there are")
    options = parser.parse_args(arguments)
    chosen = [
        attack
        for attack in ATTACKS
        if any(only == str(attack.row) or (only in attack.name and not only.isdigit()) for only in options.only)
    ]
    if options.list:
        print("\n".join(f"{attack.row:3} {attack.name}: {attack.what}" for attack in chosen))
        return 0
    print(HEAD, flush=True)
    outcomes = []
    with running(serve) as steady:
        idle_s = idle_gap_s(steady)
        for attack in chosen:
            outcomes.append(run(attack, steady, idle_s))
            print(outcomes[-1].line, flush=True)
    told = table(outcomes, idle_s)
    print(told.partition("\n\n")[2])
    if options.out:
        options.out.write_text(told + "\n")
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
