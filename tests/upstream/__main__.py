"""The faulty upstream by hand: `uv run python -m tests.upstream --play 429:hint=1.5 --play ok`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from .calls import Call
from .healthy import asked, healthy
from .replies import Reply
from .scenarios import UnknownScenarioError, known, scenario
from .server import Upstream
from .talking import Talking


class Show:
    """Plays scenarios in their order, for calls that ask for an answer, then `default`; prints what happens."""

    def __init__(self, scenarios: list[str], loop: bool, default: Callable[[Call], Reply] = healthy) -> None:
        self._plays = deque(scenario(text) for text in scenarios)
        self._loop = loop
        self._default = default

    def __call__(self, call: Call) -> Reply:
        # A client's HEAD or list of models must not use a scenario up.
        if asked(call).action != "generate" or not self._plays:
            return self._default(call).but(name="ok")
        play = self._plays.popleft()
        if self._loop:
            self._plays.append(play)
        return play(call)


def began(call: Call) -> None:
    say(call.describe())


def ended(call: Call) -> None:
    seconds = (call.ended_at or call.at) - call.at
    say(f"#{call.index} {call.ended} after {seconds:.3f} s, {call.sent} bytes")


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.upstream",
        description="An Anthropic and Gemini API that fails as it is told to.",
        epilog=f"Scenarios, each also as NAME:hint=S, NAME:gap=S, NAME:delay=S (seconds):\n{known()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="port; 0 is any free one (default: %(default)s)")
    parser.add_argument("--tls", action="store_true", help="serve https, with a CA made for this run")
    parser.add_argument("--http2", action="store_true", help="offer HTTP/2 (implies --tls)")
    parser.add_argument(
        "--play",
        metavar="SCENARIO",
        action="append",
        default=[],
        help="what the next call gets; again for the call after it. Then, or without --play: ok",
    )
    parser.add_argument(
        "--talk", action="store_true", help="talk, mint signatures and check those that come back, instead of ok"
    )
    parser.add_argument("--loop", action="store_true", help="begin anew when all scenarios are played")
    options = parser.parse_args(arguments)

    try:
        show = Show(options.play, options.loop, Talking() if options.talk else healthy)
    except UnknownScenarioError as unknown:
        print(f"--play: {unknown}", file=sys.stderr)
        return 2
    upstream = Upstream(tls=options.tls or options.http2, http2=options.http2, host=options.host, port=options.port)
    upstream.default = show
    upstream.on_begin, upstream.on_end = began, ended
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        upstream.start()
    except OSError as problem:
        print(f"Cannot listen on {options.host}:{options.port}: {problem.strerror}", file=sys.stderr)
        return 1
    say(f"Listening on {upstream.url}")
    if options.tls or options.http2:
        say(f"Clients must trust {upstream.ca_file}")
    stop.wait()
    upstream.close()
    say(f"Stopped after {len(upstream.calls)} calls")
    return 0


if __name__ == "__main__":
    sys.exit(main())
