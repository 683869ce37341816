"""Measures translation: of a request by its size, and of a stream by its events, both against parsing the same JSON."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump, parse
from antigravity_healing.wire.translate.common import NO_HISTORY, anthropic_tool_names, gemini_tool_names
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer
from antigravity_healing.wire.translate.to_anthropic.request import to_anthropic
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer
from antigravity_healing.wire.translate.to_gemini.request import to_gemini

from tests.upstream import anthropic_stream, gemini_stream

EVENTS = 2000
GEMINI, CLAUDE = "gemini-3-pro-preview", "claude-sonnet-4-5"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.translation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each (default: %(default)s)")
    rounds = parser.parse_args(arguments).rounds
    print(f"medians of {rounds} rounds")
    for title, history, translate in (
        ("Anthropic request to Gemini", anthropic_history, lambda value: to_gemini(value, GEMINI, NO_HISTORY)),
        ("Gemini request to Anthropic", gemini_history, lambda value: to_anthropic(value, CLAUDE, stream=True)),
    ):
        print(f"\n{title}\n  {'size':>10}  {'translate':>10}  {'times parsing':>14}")
        for turns in (20, 200, 2000):
            body = dump(history(turns))
            value = parse(body)
            took = median_ms(partial(read_and, translate, value, body), rounds)
            parsing = median_ms(partial(parse, body), rounds)
            print(f"  {len(body) / 1000:7.0f} kB  {took:7.2f} ms  {took / parsing:14.1f}")
    print(f"\nStream of {EVENTS} events\n  {'':18}  {'an event':>10}  {'times decoding and parsing':>28}")
    for title, took, reading in (
        ("Gemini to Anthropic", *stream_of(gemini_stream("word " * EVENTS, pieces=EVENTS).whole, "anthropic", rounds)),
        ("Anthropic to Gemini", *stream_of(anthropic_stream("word " * EVENTS, pieces=EVENTS).whole, "gemini", rounds)),
    ):
        print(f"  {title:18}  {took / EVENTS * 1000:7.2f} µs  {took / reading:28.1f}")
    return 0


def stream_of(stream: bytes, client: str, rounds: int) -> tuple[float, float]:
    """Milliseconds to translate and encode a stream's events, and to decode and parse them."""
    encode = DIALECTS[client].encode

    def read() -> list[Any]:
        return [exact.parse(event.data) for event in SSEDecoder().decode(stream) if event.data]

    def translate(events: list[Any]) -> None:
        translator = translator_to(client)
        for event in events:
            for made in translator.take(event):
                encode(made)
        translator.end()

    events = read()
    return median_ms(lambda: translate(events), rounds), median_ms(read, rounds)


def translator_to(client: str) -> AnthropicAnswer | GeminiAnswer:
    """What translates an answer for a client of this dialect."""
    if client == "anthropic":
        return AnthropicAnswer(names=gemini_tool_names(), model=GEMINI, seed="seed")
    return GeminiAnswer(names=anthropic_tool_names(), model=CLAUDE, seed="seed")


def read_and(translate: Callable[[Any], object], value: Any, body: bytes) -> None:
    """What becomes of a request that has been parsed already."""
    translate(exact.made_exact(value, body))


def anthropic_history(turns: int) -> dict[str, Any]:
    """A conversation with a tool call in each turn, about 500 bytes long."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Look around."}]
    for turn in range(turns):
        call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "look", "input": {"at": turn, "how": "closely"}}
        said = {"type": "text", "text": f"Words number {turn}."}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": "seen it " * 30}
        messages += [{"role": "assistant", "content": [said, call]}, {"role": "user", "content": [result]}]
    return {"model": CLAUDE, "max_tokens": 1000, "messages": messages}


def gemini_history(turns: int) -> dict[str, Any]:
    """The same for Gemini."""
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": "Look around."}]}]
    for turn in range(turns):
        call = {"functionCall": {"id": f"c{turn}", "name": "look", "args": {"at": turn, "how": "closely"}}}
        result = {"functionResponse": {"id": f"c{turn}", "name": "look", "response": {"output": "seen it " * 30}}}
        said = {"text": f"Words number {turn}."}
        contents += [{"role": "model", "parts": [said, call]}, {"role": "user", "parts": [result]}]
    return {"contents": contents}


def median_ms(action: Callable[[], object], rounds: int) -> float:
    """Milliseconds that an action takes."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main())
