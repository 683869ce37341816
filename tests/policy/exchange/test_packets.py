"""The outcome is that of the bytes, whatever their packets, and no end is clean that upstream did not make."""

import json
from itertools import pairwise
from typing import Any

import pytest
from antigravity_healing.policy.judging.gate import Gate
from antigravity_healing.policy.settings.schema import Commit
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.gemini.dialect import Gemini
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.upstream import HEARTBEAT, PING, anthropic_end, anthropic_event, anthropic_start, gemini_chunk, gemini_event

DIALECTS: dict[str, Dialect] = {"anthropic": Anthropic(), "gemini": Gemini()}
COMMITS = st.sampled_from(["first_content", "first_visible", "first_event", "end"])
BROKEN = st.sampled_from(["", "connection reset"])


def block(index: int, **fields: Any) -> bytes:
    return anthropic_event({"type": "content_block_start", "index": index, "content_block": fields})


def grow(index: int, **fields: Any) -> bytes:
    return anthropic_event({"type": "content_block_delta", "index": index, "delta": fields})


def close(index: int) -> bytes:
    return anthropic_event({"type": "content_block_stop", "index": index})


def gemini(*parts: dict[str, Any], stop: str | None = None, **more: Any) -> bytes:
    return gemini_event(gemini_chunk(parts, finish_reason=stop) | more)


TEXT = [block(0, type="text", text=""), grow(0, type="text_delta", text="Hi"), close(0)]
THOUGHT = [block(1, type="thinking", thinking="Hm"), close(1)]
CALL = [block(2, type="tool_use", id="t", name="f", input={}), close(2)]
SERVER = [block(3, type="server_tool_use", id="s", name="web_search", input={}), close(3)]
FOUND = [block(4, type="web_search_tool_result", tool_use_id="s", content=[]), close(4)]
STOPS = [anthropic_end(reason)[0] for reason in ("end_turn", "max_tokens", "tool_use")]
ANTHROPIC = st.sampled_from(
    [PING, b": c\n\n", anthropic_start(), *TEXT, *THOUGHT, *CALL, *SERVER, *FOUND, *STOPS, anthropic_end()[-1]]
)
GEMINI = st.sampled_from(
    [HEARTBEAT, b": c\r\n\r\n", gemini({"text": "Hi"}), gemini({"text": "Hm", "thought": True}), gemini(stop="STOP"),
     gemini({"text": "Hi"}, stop="STOP"), gemini(stop="MAX_TOKENS"),
     gemini({"functionCall": {"name": "f", "args": {}}}),
     gemini({"executableCode": {"code": "1", "language": "PYTHON"}}, stop="STOP"), gemini(stop="UNEXPECTED_TOOL_CALL"),
     gemini({"codeExecutionResult": {"outcome": "OUTCOME_OK"}}), gemini({"text": "Hi"}, responseId="another"),
     gemini_event({"usageMetadata": {"promptTokenCount": 1}})]
)  # fmt: skip
# Healthy beginnings are rare by chance.
BLOCKS = st.lists(st.sampled_from([TEXT, THOUGHT, CALL, SERVER, FOUND]), max_size=5, unique_by=lambda each: each[0])
BEGUN = BLOCKS.map(lambda blocks: [anthropic_start(), *(event for each in blocks for event in each)])
STREAMS = (
    st.tuples(st.just("anthropic"), st.lists(ANTHROPIC, max_size=10))
    | st.tuples(st.just("anthropic"), st.builds(list.__add__, BEGUN, st.lists(ANTHROPIC, max_size=3)))
    | st.tuples(st.just("gemini"), st.lists(GEMINI, max_size=8))
)


def outcome(dialect: Dialect, commit: Commit, pieces: list[bytes], broken: str) -> tuple[Any, ...]:
    gate = Gate(dialect, commit, grace_s=2.0, wall_s=0.0)
    out = b""
    for piece in pieces:
        out += gate.feed(piece)
        if gate.failure is not None or gate.closed:
            break
    out += gate.end_stream(broken)
    assert not gate._passes_unseen
    return gate.committed, gate.failure, gate.no_answer, gate.content, out


def pieces_of(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(edges)]


@settings(deadline=None, derandomize=True, max_examples=examples(150))
@given(STREAMS, st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 200), COMMITS, BROKEN)
@example(("gemini", [gemini(stop="STOP"), gemini({"text": "Hi"}, stop="STOP")]), [110], 0, "first_content", "")
def test_the_outcome_does_not_depend_on_the_packets(
    stream: tuple[str, list[bytes]], cuts: list[int], missing: int, commit: Commit, broken: str
) -> None:
    dialect, body = DIALECTS[stream[0]], b"".join(stream[1])
    body = body[: len(body) - missing] if missing < len(body) else body
    at_once = outcome(dialect, commit, [body], broken)
    assert outcome(dialect, commit, pieces_of(body, cuts), broken) == at_once


def is_complete(name: str, events: list[bytes]) -> bool:
    """Whether upstream has said all, by a reading of its own; of streams whose events are whole."""
    said = [json.loads(event.split(b"data: ")[1]) for event in events if b"data: " in event and event != PING]
    if name == "anthropic":
        for at, event in enumerate(said):
            if event["type"] == "message_stop":
                said = said[: at + 1]
                break
        else:
            stops = [at for at, each in enumerate(said) if each["type"] == "message_delta"]
            if not stops or any(each["type"] == "content_block_start" for each in said[stops[-1] :]):
                return False
            last = said[stops[-1]]["delta"]["stop_reason"]
            found = {each["content_block"].get("tool_use_id") for each in said if each["type"] == "content_block_start"}
            searched = any(b"server_tool_use" in event for event in events)
            return not (last == "end_turn" and searched and "s" not in found)
        return True
    reasons: list[str | None] = []
    code = 0
    for each in said:
        for candidate in each.get("candidates", []):
            parts = (candidate.get("content") or {}).get("parts", [])
            code += sum(("executableCode" in part) - ("codeExecutionResult" in part) for part in parts)
            if parts or candidate.get("finishReason"):
                reasons.append(candidate.get("finishReason"))
    stop = next((reason for reason in reversed(reasons) if reason), None)
    return bool(reasons) and reasons[-1] is not None and not (code > 0 and stop == "STOP")


@settings(deadline=None, derandomize=True, max_examples=examples(250))
@given(STREAMS, COMMITS)
def test_no_end_is_clean_that_upstream_did_not_make(stream: tuple[str, list[bytes]], commit: Commit) -> None:
    name, events = stream
    _, failure, _, _, _ = outcome(DIALECTS[name], commit, [b"".join(events)], "")
    if failure is None:
        assert is_complete(name, events)


@pytest.mark.parametrize("broken", ["", "connection reset"])
def test_a_whole_answer_is_a_clean_end(broken: str) -> None:
    for events in (
        [anthropic_start(), *TEXT, *CALL, *anthropic_end("tool_use")],
        [gemini({"text": "Hi"}, stop="STOP")],
    ):
        name = "anthropic" if b"message" in events[0] else "gemini"
        assert is_complete(name, events)
        committed, failure, no_answer, content, out = outcome(DIALECTS[name], "end", [b"".join(events)], broken)
        assert (committed, failure, no_answer, content, out) == (True, None, None, True, b"".join(events))
