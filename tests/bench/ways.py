"""The ways from the client to the upstream that are compared."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import account, upstream
from tests.support.places import ADDON

_LISTENING = re.compile(r"listening at \S*?:(\d+)")
STREAMING = """
def responseheaders(flow):
    flow.response.stream = True
"""


@dataclass(frozen=True)
class Way:
    """One way.

    peer: the way that it must keep up with, if any.
    """

    name: str
    title: str
    port: int
    peer: str = ""

    @property
    def url(self) -> str:
        """The base URL for the client."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def all_ways(folder: Path, upstream_port: int, more_args: Sequence[str] = ()) -> Iterator[tuple[Way, ...]]:
    """Start every proxy; their files go to `folder`. `more_args` are for the healing proxies."""
    target = f"reverse:http://127.0.0.1:{upstream_port}"
    script = folder / "streaming.py"
    script.write_text(STREAMING)
    config = folder / "bench.toml"
    config.write_text(
        account("one", "bench") + account("two", "bench") + upstream("bench", "anthropic", target.partition(":")[2])
    )
    reverse = ["--mode", target]
    healing = ["-s", str(ADDON), "--set", f"antigravity_config={config}", *more_args]
    with contextlib.ExitStack() as stack:

        def start(name: str, *args: str) -> int:
            return stack.enter_context(mitmdump(folder / name, args))[0]

        yield (
            Way("direct", "direct", upstream_port),
            Way("plain", "plain, stream_large_bodies=1", start("plain", *reverse, "--set", "stream_large_bodies=1")),
            Way("script", "plain, responses streamed", start("script", *reverse, "-s", str(script))),
            Way("healing", "healing, base URL", start("healing", *healing), peer="plain"),
            Way("healing_reverse", "healing, reverse mode", start("healing_reverse", *reverse, *healing), peer="plain"),
        )


@contextlib.contextmanager
def mitmdump(folder: Path, args: Sequence[str], *, at_home: bool = False) -> Iterator[tuple[int, int]]:
    """A mitmdump with its usual log: its port and its process's id.

    It writes to a file, so that reading it costs the measuring process nothing. at_home: whether it gets a data folder.
    """
    folder.mkdir()
    confdir, home = folder / "mitmproxy", folder / "home"
    command = [str(Path(sys.executable).parent / "mitmdump"), "-p", "0", "--set", f"confdir={confdir}", *args]
    if at_home or str(ADDON) in args:
        command += ["--set", f"antigravity_home={home}"]
    env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "xdg")}
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield _port(process, log), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if match := _LISTENING.search(log.read_text("utf-8", "replace")):
            return int(match.group(1))
        time.sleep(0.05)
    raise RuntimeError(f"mitmdump does not listen:\n{log.read_text('utf-8', 'replace')}")
