"""Lets clients come and go for minutes while everything fails in turn, and looks at what the proxy has left of it.

At the start and at each pause nothing runs: then memory, descriptors, tasks, objects and timers are told. The exit
status says whether the last pause is like the first one.
"""

import argparse
import contextlib
import random
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.e2e.h2_client import H2Client
from tests.e2e.harness import account, upstream
from tests.e2e.probed import Alive, ProbedProxy
from tests.support import raw
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_empty,
    anthropic_error,
    anthropic_error_event,
    anthropic_json,
    anthropic_stream,
)

CLIENTS = 8
MOST_GROWTH = 0.15
"""By how much of what it was after the first pause the memory may have grown by the last one."""
_MB = 1024 * 1024
_MESSAGE = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a story"}]}
_LIMITS = "[retry]\nspare_retries = 1000000\nmax_wait = 3\n[peek]\nsilence = 1\nidle = 1\n"

HEALTHY: tuple[Reply, ...] = (anthropic_stream("once upon a time"), anthropic_json("once"))
FAULTS: tuple[Reply, ...] = (
    anthropic_empty(),
    anthropic_error(529, "overloaded_error", "Overloaded", headers={"retry-after": "0"}),
    anthropic_error(500, "api_error", "Internal server error"),
    anthropic_error(400, "invalid_request_error", "max_tokens: must be a number"),
    anthropic_stream("cut in the middle of it").first(4, "cut"),
    anthropic_stream("reset in the middle of it").first(4, "reset"),
    anthropic_stream("silent in the middle of it").first(4, "stall"),
    Reply(chunks=[anthropic_error_event()], headers={"content-type": "text/event-stream"}),
    Reply(body=b"<html>502</html>", status=502),
)


class Soak:
    """Clients of one proxy. `outcomes` counts what came of what they asked."""

    def __init__(self, proxy: ProbedProxy, server: Upstream, seed: int) -> None:
        self.proxy, self.server = proxy, server
        self.outcomes: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        server.default = lambda _: self._reply()

    def run_for(self, seconds: float) -> None:
        """Have all clients ask for so long."""
        end = time.monotonic() + seconds
        seeds = [self._random.random() for _ in range(CLIENTS)]
        threads = [threading.Thread(target=self._client, args=(random.Random(seed), end)) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _reply(self) -> Reply:
        with self._lock:
            faulty = self._random.random() < 0.5
            return self._random.choice(FAULTS if faulty else HEALTHY)

    def _client(self, chance: random.Random, end: float) -> None:
        ways = (self._stream, self._whole, self._leave, self._count, self._on_one_connection, self._over_http2)
        while time.monotonic() < end:
            way: Callable[[random.Random], str] = chance.choice(ways)
            try:
                came = way(chance)
            except (OSError, EOFError) as error:
                came = type(error).__name__
            with self._lock:
                self.outcomes[f"{way.__name__.lstrip('_')}: {came}"] += 1
                self.server.calls.clear()

    def _ask(self, *, stream: bool = True, read: raw.Read = None, leave: bool = False) -> str:
        url = f"{self.proxy.url}/v1/messages"
        body = {**_MESSAGE, "stream": stream}
        response = raw.request("POST", url, body, read=read, leave="rst" if leave else "fin", timeout=60)
        return f"{response.status} {response.header('x-healing-outcome') or ''} {response.ended}"

    def _stream(self, chance: random.Random) -> str:
        return self._ask()

    def _whole(self, chance: random.Random) -> str:
        return self._ask(stream=False)

    def _leave(self, chance: random.Random) -> str:
        self._ask(read=chance.choice((0, 1, 100)), leave=chance.random() < 0.5)
        return "left"

    def _count(self, chance: random.Random) -> str:
        body = {"model": "m", "messages": _MESSAGE["messages"]}
        return str(raw.request("POST", f"{self.proxy.url}/v1/messages/count_tokens", body, timeout=60).status)

    def _on_one_connection(self, chance: random.Random) -> str:
        url = f"{self.proxy.url}/v1/messages"
        connection = raw.RawConnection(url, timeout=60)
        try:
            for _ in range(chance.randint(2, 6)):
                connection.send("POST", url, {**_MESSAGE, "stream": True})
                if connection.read("POST").ended != "complete":
                    return "ended early"
        finally:
            connection.close()
        return "whole"

    def _over_http2(self, chance: random.Random) -> str:
        url = self.proxy.url.replace("http:", "https:")
        ca = self.proxy.ca_file
        with contextlib.suppress(ssl.SSLError), H2Client(url, proxy=None, ca=ca, timeout=60) as client:
            streams = [client.post("/v1/messages", {**_MESSAGE, "stream": True}) for _ in range(chance.randint(1, 6))]
            read = streams[: chance.randint(0, len(streams))]
            client.read_until(lambda: all(stream in client.ended | client.reset for stream in read))
            return "whole" if client.ended.issuperset(read) else "ended early"
        return "closed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="(default: %(default)g)")
    parser.add_argument("--pauses", type=int, default=10, help="how often what is left is looked at (default: 10)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.pauses < 2 or options.minutes <= 0:
        parser.error("there have to be two pauses at least, and some time")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, Upstream() as server:
        config = _LIMITS + upstream("anthropic", "anthropic", server.url)
        config += "".join(account(f"a{number}", "anthropic", priority=number) for number in range(3))
        with ProbedProxy(Path(folder) / "proxy", config) as proxy:
            return _soak(
                proxy, Soak(proxy, server, options.seed), options.minutes * 60 / options.pauses, options.pauses
            )


def _soak(proxy: ProbedProxy, soak: Soak, seconds: float, pauses: int) -> int:
    print("minutes  requests  memory MB  descriptors  tasks", flush=True)
    began = time.monotonic()
    first: tuple[Alive, int] | None = None
    for number in range(pauses):
        soak.run_for(seconds)
        alive, descriptors = proxy.wait_until_clean(), len(list(Path(f"/proc/{proxy.pid}/fd").iterdir()))
        minutes, asked, tasks = (time.monotonic() - began) / 60, soak.outcomes.total(), sum(alive.tasks.values())
        print(f"{minutes:7.1f}  {asked:8}  {alive.resident / _MB:9.0f}  {descriptors:11}  {tasks:5}", flush=True)
        if first is None:
            first = alive, descriptors
        elif number == pauses - 1:
            print("\n".join(f"{count:6}  {what}" for what, count in soak.outcomes.most_common()))
            return _told(first, (alive, descriptors), "Traceback" in proxy.log)
    raise AssertionError


def _told(first: tuple[Alive, int], last: tuple[Alive, int], crashed: bool) -> int:
    wrong = ["the log has a traceback"] if crashed else []
    if last[0].resident > first[0].resident * (1 + MOST_GROWTH):
        wrong.append("memory has grown")
    if last[1] > first[1]:
        wrong.append("descriptors were left open")
    if last[0].tasks != first[0].tasks:
        wrong.append(f"other tasks: {first[0].tasks} before, {last[0].tasks} after")
    print("; ".join(wrong) or "as at the start")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
