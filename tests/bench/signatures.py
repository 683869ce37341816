"""The signature store with 100,000 captured blocks: `uv run python -m tests.bench.signatures`.

Says what a capture and a lookup cost, how much memory and disk the store takes, and that a restart keeps it.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.settings.schema import Signatures
from antigravity_healing.policy.signing import anthropic_signed
from antigravity_healing.policy.signing.by_place import Known
from antigravity_healing.policy.signing.store import Origin, SignatureStore
from antigravity_healing.wire.anthropic.history import Block, Body, places_of

NOW = 1_795_000_000.0
ORIGIN = Origin("https://api.anthropic.com", "claude-sonnet-4-5", "work")
LOOKUPS = 5000


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.signatures", description=__doc__)
    parser.add_argument("--blocks", type=int, default=100_000, help="how many, from 5000 on (default: %(default)s)")
    blocks: int = parser.parse_args(arguments).blocks
    # An answer makes four entries: itself, and one for each way in which its place is told.
    settings = Signatures(max_entries=4 * blocks, max_bytes=1024 * 1024 * 1024)
    bounded = Signatures()
    with tempfile.TemporaryDirectory(prefix="bench-signatures-") as folder:
        for name, each in (("room for all", settings), ("as configured by default", bounded)):
            _measure(name, Path(folder) / f"{name}.sqlite3", each, blocks)
    return 0


def _measure(name: str, file: Path, settings: Signatures, blocks: int) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = SignatureStore(file, settings)
    capture_s = _timed(lambda number: _capture(store, number), range(blocks))
    lookups = range(blocks - LOOKUPS, blocks)
    lookup_s = _timed(lambda number: _restored(store, number), lookups)
    entries, size = store.entries, store.report()["bytes"]
    store.close()
    store = SignatureStore(file, settings)
    found = sum(
        _restored(store, number)["messages"][1]["content"][0].get("signature") is not None for number in lookups
    )
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    print(
        f"{name}: {entries} entries, {size / 2**20:.0f} MiB, {file.stat().st_size / 2**20:.0f} MiB on disk; "
        f"process grew by {grown_mib:.0f} MiB\n"
        f"  capture {_us(capture_s)}, one signature restored {_us(lookup_s)}\n"
        f"  after a restart {store.entries} entries, {found} of {LOOKUPS} of the newest restored"
    )


def _timed(action: Callable[[int], object], numbers: Iterable[int]) -> list[float]:
    times = []
    for number in numbers:
        started = time.perf_counter()
        action(number)
        times.append(time.perf_counter() - started)
    return times


def _us(times: list[float]) -> str:
    return f"median {statistics.median(times) * 1e6:.1f} µs, p99 {statistics.quantiles(times, n=100)[98] * 1e6:.1f} µs"


def _answer(number: int, *, signed: bool = True) -> list[Block]:
    thinking = {"type": "thinking", "thinking": f"What I think of number {number}. " * 10}
    signature = {"signature": f"{number:08d}" + "c2lnbmVk" * 40} if signed else {}
    return [{**thinking, **signature}, {"type": "text", "text": f"That is {number}."}]


def _question(number: int) -> Block:
    return {"role": "user", "content": f"What about {number}?"}


def _known(store: SignatureStore, number: int, body: Body, now: float) -> Known:
    owner = Owner("a client", f"session {number // 10}")
    return Known(store, ORIGIN, owner, places_of(body, owner.client), now)


def _capture(store: SignatureStore, number: int) -> None:
    with store.writing():
        known = _known(store, number, {"messages": [_question(number)]}, NOW + number / 1000)
        anthropic_signed.capture(known, _answer(number))


def _restored(store: SignatureStore, number: int) -> Body:
    lost = {"role": "assistant", "content": _answer(number, signed=False)}
    body = {"messages": [_question(number), lost, {"role": "user", "content": "Go on."}]}
    return anthropic_signed.restore_lost(body, _known(store, number, body, NOW + 200))


if __name__ == "__main__":
    sys.exit(main())
