import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from antigravity_healing.monitor.status import top
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.test_modes_helpers import free_port

NOW = 1_700_000_000.0
TOLD = {
    "exchanges": [
        {
            "id": "1a2b3c4d",
            "phase": "held",
            "seconds": 42.0,
            "attempt": 2,
            "account": "b",
            "model": "claude-opus-4-7",
            "mapped_model": "gemini-3-pro",
            "why": "no content came for 600 s",
            "ends_s": 412.0,
        },
        {"id": "5e6f7a8b", "phase": "streaming"},
    ],
    "accounts": [
        {"name": "a", "healthy": False, "active": 0, "benches": [{"until": NOW + 3600.0, "reason": "quota"}]},
        {"name": "b"},
    ],
    "conditions": [{"what": "a's key is refused", "do": "put a new key in", "since": NOW - 60, "count": 37}],
}


@contextmanager
def serving(*bodies: bytes, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A server whose answers have these bodies, the last one again and again; its URL, and the paths it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = bodies[min(len(asked), len(bodies)) - 1]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_runs_and_what_needs_a_hand_is_told_in_lines() -> None:
    text = "\n".join(top.lines_of(TOLD, NOW))
    assert "2 exchanges running" in text
    assert "a's key is refused (since" in text
    assert ", 37 times)" in text
    assert "→ put a new key in" in text
    [held] = [line.split() for line in text.splitlines() if "1a2b3c4d" in line]
    assert held[:6] == ["1a2b3c4d", "held", "42", "s", "2", "b"]
    ends = ["in", "7", "min:", "no", "content", "came", "for", "600", "s"]
    assert held[6:] == ["claude-opus-4-7", "→", "gemini-3-pro", *ends]
    assert "left alone" in text


def test_once_asks_once_and_prints_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # What it is about is often a proxy for others.
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with serving(json.dumps(TOLD).encode()) as (url, asked):
        assert top.run(url, 1.0, once=True) == 0
    assert asked == ["/antigravity/now"]
    told = capsys.readouterr().out
    assert "1a2b3c4d" in told
    assert "\x1b" not in told


def test_it_goes_on_while_there_is_no_answer_and_until_a_person_ends_it() -> None:
    out, looks = Terminal(), 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt

    answers = json.dumps(TOLD).encode(), b"gone", json.dumps({"exchanges": []}).encode()
    with serving(*answers) as (url, asked), pytest.raises(KeyboardInterrupt):
        top.show(url, out, every_s=7.0, once=False, sleep=sleep)
    assert len(asked) == 3
    first, second, third = out.getvalue().split(top._HOME)[1:]
    assert "1a2b3c4d" in first
    assert "is no JSON object there; it is asked again" in " ".join(second.replace(top._REST_OF_LINE, "").split())
    assert "nothing is running" in third
    assert third.endswith(top._FIRST_SCREEN)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: f"http://127.0.0.1:{free_port()}", "nothing listens at"),
        (lambda: "ftp://127.0.0.1", "is no address of a proxy"),
        (lambda: "http://127.0.0.1:port", "is no address of a proxy"),
        (lambda: "127.0.0.1:0", ""),
    ],
)
def test_no_answer_is_told_in_words(made: Callable[[], str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert top.run(made(), 1.0, once=True) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert expected in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [(b"[]", 200, "no JSON object"), (b"\xff", 200, "no JSON object"), (b"not here\x1b[2J", 404, "answers 404")],
)
def test_an_answer_of_another_kind_is_told_in_words(
    body: bytes, status: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(body, status=status) as (url, _):
        assert top.run(url, 1.0, once=True) == 1
    told = capsys.readouterr().err
    assert expected in told
    assert "\x1b" not in told


texts = st.text(max_size=5)
numbers = st.integers() | st.floats() | st.sampled_from([float("inf"), float("nan"), 10**400, -1e15, 1e11])
json_values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), numbers, texts, st.just([]), st.just({"a": 1})
)
NAMES = (
    *("id", "phase", "seconds", "attempt", "account", "model", "mapped_model", "why", "ends_s", "name", "healthy"),
    *("benches", "active", "over", "what", "do", "since", "count"),
)


def test_what_needs_a_hand_is_told_apart_from_what_ends_by_itself() -> None:
    quota = {"what": "b is used up", "do": "nothing", "needs_a_hand": False}
    lines = top.lines_of(
        {"conditions": [quota, {"what": "a's key is refused", "do": "put in", "needs_a_hand": True}]}, NOW
    )
    assert lines.index("NEEDS A HAND") < lines.index("  a's key is refused")
    assert lines.index("  a's key is refused") < lines.index("FOR A WHILE") < lines.index("  b is used up")
    assert "NEEDS A HAND" not in top.lines_of({"conditions": [quota]}, NOW)


things = st.lists(st.dictionaries(st.sampled_from(NAMES), json_values) | json_values, max_size=3)


@given(
    st.dictionaries(st.sampled_from(["exchanges", "accounts", "conditions"]), things | json_values), st.integers(1, 100)
)
def test_whatever_is_told_becomes_printable_lines(told: dict[str, Any], width: int) -> None:
    for line in top.lines_of(told, NOW, width):
        assert line.isprintable()
