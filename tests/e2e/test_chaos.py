"""The invariants hold for any schedule of faults, cut into pieces anyhow."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.harness import Proxy, account, upstream
from tests.support import raw
from tests.support.examples import examples
from tests.support.protocol import (
    AnthropicReport,
    GeminiReport,
    check_anthropic_error,
    check_anthropic_stream,
    check_gemini_error,
    check_gemini_stream,
)
from tests.upstream import (
    HEARTBEAT,
    PING,
    Reply,
    Upstream,
    anthropic_empty,
    anthropic_error,
    anthropic_error_event,
    anthropic_event,
    anthropic_stream,
    gemini_chunk,
    gemini_chunks,
    gemini_empty,
    gemini_error,
    gemini_error_event,
    gemini_event,
    gemini_reply,
    retry_info,
)
from tests.upstream.replies import End

MAX_ATTEMPTS = 3
BEFORE_CONTENT = (
    "empty", "nothing", "cut", "reset", "close", "reset at once", "error event", "malformed", "half an event",
    "json error", "overloaded",
)  # fmt: skip
AFTER_CONTENT = ("good", "late cut", "late reset", "late error event", "late malformed", "late half an event")
# A reset may overtake the content that was sent before it: the proxy may have seen some, or none.
LEADING_ON = (*BEFORE_CONTENT, "late reset")
HINT = "Try again, please retry in 0s."
MALFORMED = b"data: {not json}\n\n"

_numbers = count()


@dataclass(frozen=True)
class Chance:
    """What one attempt meets.

    fault: its kind. beats: heartbeats before the first content. split: bytes a piece. text: the answer's text.
    """

    fault: str
    beats: int
    split: int | None
    text: str

    def reply(self, dialect: str, key: str) -> Reply:
        """How upstream plays it; `key` becomes part of the answer's id."""
        made = _anthropic(self, key) if dialect == "anthropic" else _gemini(self, key)
        return made.but(split=self.split, name=self.fault)


CHANCES = st.builds(
    Chance,
    fault=st.sampled_from(BEFORE_CONTENT + AFTER_CONTENT),
    beats=st.integers(0, 3),
    split=st.none() | st.integers(1, 40),
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40),
)
# Faults before content are the ones that lead on: half of the schedules begin with two of them.
EARLY = st.builds(
    Chance,
    fault=st.sampled_from(BEFORE_CONTENT),
    beats=st.integers(0, 3),
    split=st.none() | st.integers(1, 40),
    text=st.just("never seen"),
)
SCHEDULES = st.tuples(CHANCES, CHANCES, CHANCES) | st.tuples(EARLY, EARLY, CHANCES)


def _anthropic(chance: Chance, key: str) -> Reply:
    ident = f"msg_{key}"
    good = anthropic_stream(chance.text, pieces=3, message_id=ident).inserted(1, *[PING] * chance.beats)
    held, begun = 2 + chance.beats, 3 + chance.beats
    match chance.fault:
        case "empty":
            return anthropic_empty()
        case "error event" | "late error event":
            error = anthropic_error_event("overloaded_error", HINT)
            return good.first(begun if "late" in chance.fault else held, "normal").inserted(99, error)
        case "json error":
            return anthropic_error(200, "overloaded_error", HINT)
        case "overloaded":
            return anthropic_error(529, "overloaded_error", HINT)
    bad = anthropic_event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "half"}})
    return _common(chance, good, held, begun, bad)


def _gemini(chance: Chance, key: str) -> Reply:
    ident = f"id-{key}"
    nothing = gemini_event(gemini_chunk([{"text": ""}], response_id=ident))
    chunks = [gemini_event(chunk) for chunk in gemini_chunks(chance.text, pieces=3, response_id=ident)]
    good = gemini_reply([nothing, *[HEARTBEAT] * chance.beats, *chunks])
    held, begun = 1 + chance.beats, 2 + chance.beats
    match chance.fault:
        case "empty":
            return gemini_empty()
        case "error event" | "late error event":
            error = gemini_error_event(503, None, HINT, [retry_info("0s")])
            return good.first(begun if "late" in chance.fault else held, "normal").inserted(99, error)
        case "json error":
            body = gemini_error(503, None, HINT, details=[retry_info("0s")])
            return Reply(200, body.headers, body.body)
        case "overloaded":
            return gemini_error(503, None, HINT, details=[retry_info("0s")])
    return _common(chance, good, held, begun, gemini_event(gemini_chunk([{"text": "half"}], response_id=ident)))


def _common(chance: Chance, good: Reply, held: int, begun: int, event: bytes) -> Reply:
    match chance.fault:
        case "good":
            return good
        case "nothing":
            return good.first(0, "normal")
        case "cut" | "reset":
            return good.first(held, "cut" if chance.fault == "cut" else "reset")
        case "late cut" | "late reset":
            end: End = "cut" if chance.fault == "late cut" else "reset"
            return good.first(begun, end)
        case "close" | "reset at once":
            return good.but(before="close" if chance.fault == "close" else "reset")
        case "malformed" | "late malformed":
            return good.first(begun if "late" in chance.fault else held, "normal").inserted(99, MALFORMED)
        case "half an event" | "late half an event":
            return good.first(begun if "late" in chance.fault else held, "cut").inserted(99, event[:-9])
    raise ValueError(chance.fault)


@pytest.fixture(scope="module")
def upstream_server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(upstream_server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    config = f"[retry]\nmax_attempts = {MAX_ATTEMPTS}\nmax_wait = 0\nspare_retries = 10000\n"
    for dialect in ("anthropic", "gemini"):
        config += upstream(dialect, dialect, upstream_server.url)
        config += "".join(account(f"{dialect}{number}", dialect) for number in range(3))
    with Proxy(tmp_path_factory.mktemp("chaos"), config) as running:
        yield running


def ask(proxy: Proxy, dialect: str, key: str) -> raw.RawResponse:
    """One request that streams."""
    if dialect == "anthropic":
        url = f"{proxy.url}/v1/messages"
        message = {"role": "user", "content": f"[plan:{key}]"}
        body: dict[str, Any] = {"model": "claude-x", "max_tokens": 9, "stream": True, "messages": [message]}
    else:
        url = f"{proxy.url}/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
        body = {"contents": [{"role": "user", "parts": [{"text": f"[plan:{key}]"}]}]}
    return raw.request("POST", url, body)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
# Without shrinking: each example is a real exchange, and the schedule of a failure is short as it is.
@settings(max_examples=examples(40), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(schedule=SCHEDULES)
def test_invariants_hold_for_any_schedule_of_faults(
    proxy: Proxy, upstream_server: Upstream, dialect: str, schedule: tuple[Chance, ...]
) -> None:
    key = f"c{next(_numbers)}"
    replies = [chance.reply(dialect, f"{key}-{number}") for number, chance in enumerate(schedule)]
    upstream_server.play(*replies, key=key)
    response = ask(proxy, dialect, key)

    made = [call for call in upstream_server.calls if f"[plan:{key}]".encode() in call.body]
    expected = len(made)
    assert 1 <= expected <= MAX_ATTEMPTS
    for chance in schedule[: expected - 1]:
        assert chance.fault in LEADING_ON
    assert schedule[expected - 1].fault not in BEFORE_CONTENT or expected == MAX_ATTEMPTS
    assert response.header("x-healing-attempts") == str(expected)
    chance, reply = schedule[expected - 1], replies[expected - 1]

    # A reset may overtake the content that was sent before it.
    if (chance.fault in BEFORE_CONTENT and chance.fault != "empty") or response.status >= 500:
        assert chance.fault in LEADING_ON
        assert (response.status >= 500, response.ended) == (True, "complete")
        check_error = check_anthropic_error if dialect == "anthropic" else check_gemini_error
        check_error(response.status, response.body)
        if chance.fault in ("json error", "overloaded"):
            assert response.body == reply.whole
        return
    assert response.status == 200
    check_answer(dialect, chance, reply, response)


def check_answer(dialect: str, chance: Chance, reply: Reply, response: raw.RawResponse) -> None:
    """What a client got of the attempt that was delivered: all of it, in order, and nothing else."""
    body, broken = response.body, response.ended in ("cut", "reset")
    report: AnthropicReport | GeminiReport
    if dialect == "anthropic":
        report = check_anthropic_stream(body, allow_cut=broken)
    else:
        report = check_gemini_stream(body, allow_cut=broken)
    if chance.fault in ("good", "empty"):
        assert (report.ended, response.ended) == ("complete", "complete")
        assert beats_joined(body) == beats_joined(reply.whole)
        return
    said = dialect == "anthropic" and "error event" in chance.fault
    assert (report.ended, broken) == ("error" if said or dialect == "gemini" else "cut", not said)
    own = body[: body.rindex(b"event: error" if said else b'{"error"')] if report.ended == "error" else body
    # What upstream sent well: everything but the fault itself, which is the last piece where it has one.
    faulty = any(word in chance.fault for word in ("error event", "malformed", "half an event"))
    well = b"".join(reply.chunks[:-1] if faulty else reply.chunks)
    if "reset" in chance.fault:
        # A reset may overtake the bytes before it.
        assert beats_joined(well).startswith(beats_joined(own))
    else:
        assert beats_joined(own) == beats_joined(well)


def beats_joined(body: bytes) -> bytes:
    """With each run of Gemini's heartbeats as one: how many arrive may depend on how they were cut."""
    return re.sub(rb"(?:\r\n\r\n)+", b"\r\n\r\n", body)
