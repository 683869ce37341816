"""Measures the content view: how long the event loop waits for a long request or answer to be shown."""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from antigravity_healing.monitor.view.content_view import LLMExchange
from antigravity_healing.wire.json.value import dump
from mitmproxy.contentviews import Metadata
from mitmproxy.test import tflow

from tests.upstream import anthropic_stream, gemini_stream

ANTHROPIC, GEMINI = "/v1/messages", "/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse"
MEGABYTE = 1_000_000
_PROSE = 'Some prose, and "code": if x { return [1, 2]; }\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.view", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each (default: %(default)s)")
    rounds = parser.parse_args(arguments).rounds
    print(f"CPU, medians of {rounds} rounds; targets: 20 ms for 1 MB, 50 ms for 8 MB\n{'':28}{'size':>10}{'takes':>12}")
    for size in (MEGABYTE, 8 * MEGABYTE):
        for title, path, body, is_request in (
            ("Anthropic request", ANTHROPIC, anthropic_request(size), True),
            ("Gemini request", GEMINI, gemini_request(size), True),
            ("request with an image", ANTHROPIC, image_request(size), True),
            ("Anthropic stream", ANTHROPIC, anthropic_answer(size), False),
            ("Gemini stream", GEMINI, gemini_answer(size), False),
        ):
            took = median_ms(path, body, is_request, rounds)
            print(f"{title:28}{len(body) / MEGABYTE:7.1f} MB{took:9.1f} ms")
    return 0


def median_ms(path: str, body: bytes, is_request: bool, rounds: int) -> float:
    """Milliseconds of CPU for one page that has not been shown before, choosing the view included."""
    flow = tflow.tflow(resp=True)
    assert flow.response is not None
    flow.request.method, flow.request.path = "POST", path
    metadata = Metadata(flow=flow, http_message=flow.request if is_request else flow.response)
    took = []
    for _ in range(rounds):
        view = LLMExchange()
        # A copy: the hash of the other is known by now.
        shown = bytes(bytearray(body))
        start = time.thread_time()
        view.render_priority(shown, metadata)
        view.prettify(shown, metadata)
        took.append(time.thread_time() - start)
    return statistics.median(took) * 1000


def anthropic_request(size: int) -> bytes:
    """A long session of an agent."""
    output = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": _PROSE * 60}]}]
    call = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": _PROSE * 4}}
    said = [
        {"type": "thinking", "thinking": _PROSE * 6, "signature": "A" * 400},
        {"type": "text", "text": _PROSE},
        call,
    ]
    turns = [{"role": "user", "content": output}, {"role": "assistant", "content": said}]
    return dump({"model": "m", "max_tokens": 1000, "messages": turns * (size // len(dump(turns)))})


def gemini_request(size: int) -> bytes:
    """The same in the other API."""
    result = {"functionResponse": {"name": "Bash", "response": {"output": _PROSE * 60}}}
    call = {"functionCall": {"name": "Bash", "args": {"command": _PROSE * 4}}, "thoughtSignature": "A" * 400}
    turns = [{"role": "user", "parts": [result]}, {"role": "model", "parts": [{"text": _PROSE}, call]}]
    return dump({"contents": turns * (size // len(dump(turns)))})


def image_request(size: int) -> bytes:
    """One question about one image."""
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD" * (size // 4)}
    return dump({"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]})


def anthropic_answer(size: int) -> bytes:
    """A stream of short pieces."""
    words = size // 140
    return anthropic_stream("word " * words, pieces=words).whole


def gemini_answer(size: int) -> bytes:
    """A stream of short chunks."""
    words = size // 240
    return gemini_stream("word " * words, pieces=words).whole


if __name__ == "__main__":
    sys.exit(main())
