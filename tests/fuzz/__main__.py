"""Fuzzes one target: `uv run --with atheris python -m tests.fuzz TARGET --seconds 600`.

What fails does not end the run: of each place that fails the shortest input is kept, and told at the end.
"""

import argparse
import logging
import os
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["antigravity_healing"]):
    from tests.fuzz.mutating import mutated
    from tests.fuzz.targets import TARGETS


class Findings:
    """Of each place that fails, the shortest input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = 0
        self._found: dict[str, tuple[bytes, str]] = {}

    def add(self, data: bytes, error: BaseException) -> None:
        """An input that fails with this error."""
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/antigravity_healing/" in frame.filename] or frames
        place = f"{type(error).__name__}-{Path(ours[-1].filename).stem}-{ours[-1].lineno}-{frames[-1].lineno}"
        known = self._found.get(place)
        if known is None or len(data) < len(known[0]):
            shown = "".join(traceback.format_exception(error, limit=-6))
            self._found[place] = (data, shown)
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / place).write_bytes(data)
            if known is None:
                print(f"FOUND {place}: {len(data)} bytes\n{shown}", flush=True)

    def tell(self) -> None:
        """All of them, a line each."""
        print(f"{self.inputs} inputs, {len(self._found)} findings in {self.folder}")
        for place, (data, shown) in self._found.items():
            print(f"  {place}: {len(data)} bytes: {data[:200]!r}: {shown.strip().splitlines()[-1][:200]}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--longest", type=int, default=8192, metavar="BYTES", help="of an input")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fuzz", help="for what is found")
    options = parser.parse_args()
    target, folder = TARGETS[options.target], options.folder / options.target
    findings = Findings(folder / "findings")
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    logging.disable(logging.WARNING)

    def ended() -> None:
        findings.tell()
        sys.stdout.flush()
        os._exit(0)

    def one(data: bytes) -> None:
        findings.inputs += 1
        try:
            target.run(data)
        except Exception as error:
            findings.add(data, error)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        made = mutated(data, longest, seed) if seed % 4 else None
        return atheris.Mutate(data, longest) if made is None else made

    arguments = [sys.argv[0], f"-max_len={options.longest}", "-timeout=20", "-rss_limit_mb=3000", "-verbosity=0",
                 "-print_final_stats=1", f"-artifact_prefix={folder}/", str(corpus)]  # fmt: skip
    # libFuzzer has the signals, and ends the process without Python's own end.
    timer = threading.Timer(options.seconds, ended)
    timer.daemon = True
    timer.start()
    if target.json:
        atheris.Setup(arguments, one, custom_mutator=mutate)
    else:
        atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
