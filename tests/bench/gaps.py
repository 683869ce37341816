"""Measures how long an event loop stands still: the longest silence that one client hears while another asks.

One client reads a steady stream, the other sends requests of 8 MB. Anything else that runs disturbs the figures.
"""

import argparse
import contextlib
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from antigravity_healing.wire.json.value import dump

from tests.bench.gaps_server import STEADY_S, serve
from tests.bench.server import running
from tests.bench.ways import STREAMING
from tests.e2e.harness import Proxy, account, upstream
from tests.support.raw import RawConnection, encode_request

SIZE = 8_000_000
CLAUDE, GEMINI = "claude-sonnet-4-5", "gemini-3-pro-preview"
_MODELS = """
[models]
"claude-*" = "one/claude-sonnet-4-5"
"mapped-claude" = "one/claude-sonnet-4-5"
"gemini-*" = "two/gemini-3-pro-preview"
"claude-on-gemini" = "two/gemini-3-pro-preview"
"gemini-on-claude" = "one/claude-sonnet-4-5"
"""


class Case(NamedTuple):
    """A kind of long request. model: what it asks for; plain: whether plain mitmproxy can serve it too."""

    title: str
    dialect: str
    model: str
    stream: bool = True
    plain: bool = False


CASES = (
    Case("Anthropic", "anthropic", CLAUDE, plain=True),
    Case("Anthropic, another model", "anthropic", "mapped-claude"),
    Case("Anthropic, as a stream", "anthropic", CLAUDE, stream=False),
    Case("Gemini", "gemini", GEMINI, plain=True),
    Case("Gemini, as a stream", "gemini", GEMINI, stream=False),
    Case("Anthropic to Gemini", "anthropic", "claude-on-gemini"),
    Case("Gemini to Anthropic", "gemini", "gemini-on-claude"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gaps", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="requests of each kind (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their titles only")
    parser.add_argument("--healing-arg", action="append", default=[], metavar="ARG",
                        help="one more argument for the healing proxy's mitmdump")  # fmt: skip
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gaps-")))
        port = stack.enter_context(running(serve))
        healing = stack.enter_context(healing_proxy(folder, port, options.healing_arg))
        plain = stack.enter_context(plain_proxy(folder, port))
        quiet = [worst_gap(healing.url, lambda: time.sleep(0.5)) for _ in range(options.rounds)]
        print(f"events each {STEADY_S * 1000:.0f} ms; longest silence in ms: median and most of {options.rounds}")
        print(f"  {'without load':44} {told(quiet)}")
        for kind, turns in BODIES.items():
            for case in CASES:
                title = f"{kind}, {case.title}"
                if options.only not in title:
                    continue
                ask = asking(case, turns)
                line = told([worst_gap(healing.url, partial(ask, healing.url)) for _ in range(options.rounds)])
                if case.plain:
                    gaps = [worst_gap(plain.url, partial(ask, plain.url)) for _ in range(options.rounds)]
                    line += f"  plain {told(gaps)}"
                print(f"  {title:44} {line}", flush=True)
    return 0


def told(gaps_s: list[float]) -> str:
    """The median and the worst, in milliseconds."""
    return f"{statistics.median(gaps_s) * 1000:6.0f} {max(gaps_s) * 1000:6.0f}"


def healing_proxy(folder: Path, port: int, args: Sequence[str]) -> Proxy:
    """The proxy with the addon, with an upstream of each dialect."""
    url = f"http://127.0.0.1:{port}"
    config = account("a", "one") + account("b", "two") + upstream("one", "anthropic", url)
    config += upstream("two", "gemini", url) + _MODELS
    return Proxy(folder / "healing", config, args=args)


def plain_proxy(folder: Path, port: int) -> Proxy:
    """Plain mitmproxy in reverse mode, which streams answers."""
    script = folder / "streaming.py"
    script.write_text(STREAMING)
    args = ["--mode", f"reverse:http://127.0.0.1:{port}", "-s", str(script)]
    return Proxy(folder / "plain", None, args=args, addon=False)


# The long requests: what a user and a model have said, in turn.


def _document() -> list[Any]:
    return [{"data": "QUJDREVGR0g" * (SIZE // 11)}, "A fine document.", "What does it say?"]


def _texts() -> list[Any]:
    return [
        f'{number}: he said "well", and\nso on. ' + "Many words more. " * (SIZE // 34_500) for number in range(2001)
    ]


def _small() -> list[Any]:
    return ["Go on.", {"rows": [{"at": at, "of": f"x{at}", "is": [1.5, None, True]} for at in range(100_000)]}, "So?"]


BODIES: dict[str, Callable[[], list[Any]]] = {"document": _document, "texts": _texts, "small values": _small}


def asking(case: Case, turns: Callable[[], list[Any]]) -> Callable[[str], None]:
    """What makes this request of a proxy and waits for the end of its answer."""
    make = anthropic_request if case.dialect == "anthropic" else gemini_request
    path, body = make(case, turns())
    data = dump(body)

    def ask(url: str) -> None:
        connection = RawConnection(url, timeout=60)
        try:
            connection.send_bytes(encode_request("POST", url + path, data, {"x-api-key": "key-of-the-client-012345"}))
            response = connection.read("POST")
        finally:
            connection.close()
        assert response.status == 200, response.body

    return ask


def anthropic_request(case: Case, turns: list[Any]) -> tuple[str, dict[str, Any]]:
    """The path and the body of this request in the Messages API."""

    def said(turn: Any) -> Any:
        if isinstance(turn, str):
            return [{"type": "text", "text": turn}]
        if "data" in turn:
            source = {"type": "base64", "media_type": "application/pdf", **turn}
            return [{"type": "document", "source": source}]
        return [{"type": "text", "text": "Look."}, {"type": "tool_use", "id": "toolu_1", "name": "rows", "input": turn}]

    messages = [{"role": ("user", "assistant")[at % 2], "content": said(turn)} for at, turn in enumerate(turns)]
    if "toolu_1" in str(messages[1])[:200]:
        messages[2]["content"] = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}]
    return "/v1/messages", {"max_tokens": 99, "messages": messages, "model": case.model, "stream": case.stream}


def gemini_request(case: Case, turns: list[Any]) -> tuple[str, dict[str, Any]]:
    """The same for the Gemini API."""

    def said(turn: Any) -> Any:
        if isinstance(turn, str):
            return {"text": turn}
        if "data" in turn:
            return {"inlineData": {"mimeType": "application/pdf", **turn}}
        return {"functionCall": {"name": "rows", "args": turn}}

    contents = [{"role": ("user", "model")[at % 2], "parts": [said(turn)]} for at, turn in enumerate(turns)]
    if "functionCall" in contents[1]["parts"][0]:
        contents[2]["parts"] = [{"functionResponse": {"name": "rows", "response": {"output": "seen"}}}]
    verb = "streamGenerateContent?alt=sse" if case.stream else "generateContent"
    return f"/v1beta/models/{case.model}:{verb}", {"contents": contents}


# The client that listens.


def worst_gap(url: str, load: Callable[[], None]) -> float:
    """The longest time between two pieces of a steady stream while a load runs, in seconds."""
    with listening(url) as arrivals:
        while len(arrivals) < 10:
            time.sleep(0.01)
        first = len(arrivals) - 1
        load()
        time.sleep(0.1)
        times = arrivals[first:]
    return max(after - before for before, after in pairwise(times))


@contextlib.contextmanager
def listening(url: str) -> Iterator[list[float]]:
    """A steady stream that is being read; gives the times at which pieces of it came, as they come."""
    connection = RawConnection(url, timeout=60)
    body = dump({"model": CLAUDE, "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    headers = {"x-api-key": "key-of-the-client-012345", "x-steady": "1"}
    connection.send_bytes(encode_request("POST", f"{url}/v1/messages", body, headers))
    arrivals: list[float] = []

    def read() -> None:
        with contextlib.suppress(OSError):
            while connection.socket.recv(65536):
                arrivals.append(time.perf_counter())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield arrivals
    finally:
        connection.socket.shutdown(socket.SHUT_RDWR)
        reader.join()
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
