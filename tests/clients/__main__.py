"""Real clients through faults: `uv run python -m tests.clients --out clients.md`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.clients.clients import CLIENTS, Client
from tests.clients.environments import UnavailableError
from tests.clients.faults import FAULTS, forms_of
from tests.clients.runs import Cell, Runs
from tests.clients.table import tables
from tests.support.caching import CACHE


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.clients",
        description="Installs agents and SDKs from npm and PyPI, has each work through faults of its API, direct and "
        "through the proxy, and writes what came of it: well (done), loud (told), SILENT (a part taken for the whole), "
        "hung. Behind each the number of calls that upstream got. Takes an hour.",
    )
    parser.add_argument("--out", type=Path, default=CACHE / "clients.md", help="the table (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=CACHE / "clients", help="of the installed clients")
    only = "only those with this text in the name; again for more"
    parser.add_argument("--client", action="append", default=[], metavar="TEXT", help=only)
    parser.add_argument("--dialect", choices=("anthropic", "gemini"), help="only the clients of this one")
    parser.add_argument("--fault", action="append", default=[], metavar="TEXT", help=only)
    parser.add_argument("--ways", default="direct,proxied", help="direct, proxied, or both (default: %(default)s)")
    parser.add_argument("--forms", action="store_true", help="instead of faults, the forms in which one may be told")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=90, help="for one run of an agent (default: %(default)s)")
    parser.add_argument("--together", type=int, default=2, help="clients at a time (default: %(default)s)")
    options = parser.parse_args(arguments)

    clients = [each for each in CLIENTS if _wanted(each.name, options.client)]
    clients = [each for each in clients if options.dialect in (None, each.dialect)]
    results = Results(options.out)
    with (
        tempfile.TemporaryDirectory(prefix="clients-", ignore_cleanup_errors=True) as work,
        ThreadPoolExecutor(options.together) as pool,
    ):
        for client in clients:
            pool.submit(results.add, client, options, Path(work))
    return 0


def _wanted(name: str, parts: list[str]) -> bool:
    return not parts or any(part.lower() in name.lower() for part in parts)


class Results:
    """What came of all, written anew after each client; each cell is printed as it comes."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._cells: list[Cell] = []
        self._versions: dict[str, str] = {}
        self._missing: dict[str, str] = {}

    def add(self, client: Client, options: argparse.Namespace, work: Path) -> None:
        """Have a client work."""
        name = f"{client.name}, {client.dialect}"
        known = forms_of(client.dialect) if options.forms else FAULTS
        faults = {each: known[each] for each in known if _wanted(each, options.fault)}
        ways = ["direct"] if options.forms else options.ways.split(",")
        try:
            for number in range(options.repeat):
                folder = work / f"{client.driver}-{client.environment.name}-{number}"
                for cell in Runs(client, options.folder, folder, options.seconds).cells(faults, ways):
                    print(json.dumps(asdict(cell)), flush=True)
                    self._cells.append(cell)
            self._versions[name] = client.version(options.folder)
        except UnavailableError as why:
            self._missing[name] = str(why)
        except Exception as error:
            # One that can't be driven is no reason to lose what the others showed.
            self._missing[name] = f"{type(error).__name__}: {error}"
            print(f"{name}: {error!r}", file=sys.stderr)
        self._write()

    def _write(self) -> None:
        """Write the table."""
        order = [(client.name, client.dialect) for client in CLIENTS]
        cells = sorted(self._cells, key=lambda cell: order.index((cell.client, cell.dialect)))
        self._out.write_text(tables(cells, self._versions, self._missing))


if __name__ == "__main__":
    sys.exit(main())
