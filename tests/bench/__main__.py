"""Measures the healing proxy against plain mitmproxy and prints a table."""

import argparse
import gc
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench import server
from tests.bench.client import Client, check
from tests.bench.loads import LOADS, Load
from tests.bench.ways import Way, all_ways

FIRST_CONTENT_TARGET_MS = 2.0
_WARM_UP_ROUNDS = 10

type Samples = dict[tuple[str, str], list[float]]
"""Milliseconds by the names of the load and the way."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Time to the first content and for a burst of events: direct, through plain mitmproxy, and through "
        "the healing proxy, in turn. All run on this machine, so anything else that runs disturbs the figures: "
        "compare medians of many rounds.",
    )
    parser.add_argument("--rounds", type=int, default=200, help="measurements of each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="30 rounds only")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the proxies' logs in this new folder")
    parser.add_argument("--healing-arg", action="append", default=[], metavar="ARG", help="one more argument for the "
                        "healing proxies' mitmdump, may be repeated: --healing-arg=-s --healing-arg=FILE")  # fmt: skip
    options = parser.parse_args(arguments)
    rounds = 30 if options.quick else options.rounds
    if rounds < 1:
        parser.error("--rounds must be at least 1")

    with ExitStack() as stack:
        if options.keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        else:
            folder = options.keep.resolve()
            folder.mkdir(parents=True)
        port = stack.enter_context(server.running())
        ways = stack.enter_context(all_ways(folder, port, options.healing_arg))
        for way in ways:
            for load in LOADS:
                check(way, load)
        samples = measure(ways, rounds)
    report(ways, samples, rounds)
    return 0


def measure(ways: Sequence[Way], rounds: int) -> Samples:
    """Take turns: what disturbs the machine disturbs every way alike."""
    samples: Samples = {(load.name, way.name): [] for load in LOADS for way in ways}
    with ExitStack() as stack:
        clients = [(way, stack.enter_context(Client(way))) for way in ways]
        for _ in range(_WARM_UP_ROUNDS):
            for load in LOADS:
                for _, client in clients:
                    client.measure(load)
        gc.collect()
        gc.disable()
        try:
            for number in range(rounds):
                # Nobody is always the one that comes after the same neighbour.
                first = number % len(clients)
                for load in LOADS:
                    for way, client in (*clients[first:], *clients[:first]):
                        samples[load.name, way.name].append(client.measure(load))
        finally:
            gc.enable()
    return samples


def report(ways: Sequence[Way], samples: Samples, rounds: int) -> None:
    """Print a table for each load, and whether the targets are met."""
    width = max(len(way.title) for way in ways)
    load_average = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{rounds} rounds; milliseconds; load average {load_average} on {os.cpu_count()} cores (these take about 1)")
    for load in LOADS:
        print(f"\n{load.title}")
        print(f"  {'':{width}}  median     p90     min  over plain   ratio")
        plain = statistics.median(samples[load.name, "plain"])
        for way in ways:
            taken = samples[load.name, way.name]
            median = statistics.median(taken)
            p90 = statistics.quantiles(taken, n=10)[-1] if len(taken) > 1 else taken[0]
            print(
                f"  {way.title:{width}}  {median:6.2f}  {p90:6.2f}  {min(taken):6.2f}  "
                f"{median - plain:+10.2f}  {median / plain:6.2f}"
            )
    print()
    for way in ways:
        if way.peer:
            for load in LOADS:
                print(verdict(way, load, samples))


def verdict(way: Way, load: Load, samples: Samples) -> str:
    """One line: is the target met?"""
    more_ms = statistics.median(samples[load.name, way.name]) - statistics.median(samples[load.name, way.peer])
    allowed_ms = FIRST_CONTENT_TARGET_MS if load.name == "first" else 0.0
    target = f"at most {allowed_ms:g} ms more than plain" if allowed_ms else "no slower than plain"
    return f"{'met   ' if more_ms <= allowed_ms else 'MISSED'}  {way.title}: {load.title}: {target} ({more_ms:+.2f} ms)"


if __name__ == "__main__":
    sys.exit(main())
