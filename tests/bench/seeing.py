"""What it costs to be seen: log, request log, metrics and an open page, against the same proxy without any of them."""

import argparse
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench import server
from tests.bench.__main__ import Samples, measure
from tests.bench.client import check
from tests.bench.loads import LOADS
from tests.bench.ways import Way, mitmdump
from tests.e2e.harness import account, upstream
from tests.support import raw
from tests.support.places import ADDON

UNSEEN = """
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.connections.accepting import Accepting
from antigravity_healing.proxy.own_pages.pages import Pages

addons = [Antigravity(Journal(), lambda state: {}, Pages()), Accepting()]
"""
PAGE_EVERY_S = 1.0
SCRAPE_EVERY = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.seeing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=400, help="measurements of each (default: %(default)s)")
    rounds = parser.parse_args(arguments).rounds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port = stack.enter_context(server.running())
        url = f"http://127.0.0.1:{port}"
        config, script = folder / "bench.toml", folder / "unseen.py"
        config.write_text(account("one", "bench") + account("two", "bench") + upstream("bench", "anthropic", url))
        script.write_text(UNSEEN)
        own = ["--set", f"antigravity_config={config}", "--set", "flow_detail=0"]
        unseen, unseen_pid = stack.enter_context(mitmdump(folder / "unseen", ["-s", str(script), *own], at_home=True))
        seen, seen_pid = stack.enter_context(mitmdump(folder / "seen", ["-s", str(ADDON), *own]))
        ways = (Way("unseen", "nobody looks", unseen), Way("seen", "log, page, metrics", seen, peer="unseen"))
        for way in ways:
            for load in LOADS:
                check(way, load)
        stack.enter_context(_page_open(ways[1].url))
        before = {pid: _cpu_s(pid) for pid in (unseen_pid, seen_pid)}
        samples = measure(ways, rounds)
        exchanges = (rounds + 10) * len(LOADS)
        spent_ms = [(_cpu_s(pid) - before[pid]) / exchanges * 1000 for pid in (unseen_pid, seen_pid)]
    _report(samples, rounds, spent_ms)
    return 0


def _report(samples: Samples, rounds: int, spent_ms: Sequence[float]) -> None:
    print(f"{rounds} rounds, in turn; medians, milliseconds")
    for load in LOADS:
        without, seen = (statistics.median(samples[load.name, name]) for name in ("unseen", "seen"))
        print(
            f"  {load.title}: {without:.2f} unseen, {seen:.2f} seen ({seen - without:+.2f}, {seen / without - 1:+.1%})"
        )
    without, seen = spent_ms
    more = f"({seen / without - 1:+.1%}, the page's and the scrapes' share in it)"
    print(f"  CPU an exchange: {without:.2f} unseen, {seen:.2f} seen {more}")


@contextmanager
def _page_open(url: str) -> Iterator[None]:
    """A page that asks each second, and a scrape of the metrics now and then."""
    over = threading.Event()

    def look() -> None:
        number = 0
        while not over.wait(PAGE_EVERY_S):
            number += 1
            assert raw.request("GET", f"{url}/antigravity/now").status == 200
            if number % SCRAPE_EVERY == 0:
                raw.request("GET", f"{url}/metrics")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)


def _cpu_s(pid: int) -> float:
    """The processor time of a process so far, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
