"""Strategies for what Gemini says: parts of every kind, split over chunks anyhow."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SIGNATURES = st.integers(0, 10**9).map(lambda number: f"c2lnbmF0dXJl{number:050}")
ARGUMENTS = st.dictionaries(st.sampled_from(["at", "path", "deep"]), st.recursive(
    st.none() | st.booleans() | st.integers(-10**6, 10**6) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=4,
), max_size=2)  # fmt: skip


def _signed(part: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(part, st.none() | SIGNATURES).map(
        lambda pair: {**pair[0], "thoughtSignature": pair[1]} if pair[1] else pair[0]
    )


def _call(name: str, args: dict[str, Any], own: str | None) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args, **({"id": own} if own else {})}}


_NAMES = st.sampled_from(["look", "read_file", "a.b:c"])
CALLS = _signed(st.builds(_call, _NAMES, ARGUMENTS, st.none() | st.sampled_from(["id1", "fc_2", "ü ö"])))
TEXTS = _signed(TEXT.map(lambda text: {"text": text}))
THOUGHTS = _signed(TEXT.map(lambda text: {"text": text, "thought": True}))
CODE = _signed(st.sampled_from([
    {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "no"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_DEADLINE_EXCEEDED"}},
    {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
    {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["x"]}, "id": "t1"}},
    {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "response": {}, "id": "t1"}},
    {"somethingNew": {"a": 1}},
]))  # fmt: skip
PARTS = st.lists(st.one_of(TEXTS, TEXTS, THOUGHTS, CALLS, CODE), max_size=8)
"""The parts of one answer."""


@st.composite
def chunked(draw: st.DrawFn, parts: list[dict[str, Any]], finish: str = "STOP") -> list[dict[str, Any]]:
    """The chunks of a stream that says these parts, cut anywhere between them."""
    chunks = []
    rest = list(parts)
    while rest:
        size = draw(st.integers(1, len(rest)))
        chunks.append(chunk_of(rest[:size]))
        rest = rest[size:]
    beside = draw(st.booleans())
    if chunks and beside:
        chunks[-1]["candidates"][0]["finishReason"] = finish
    else:
        chunks.append({"candidates": [{"finishReason": finish, "index": 0}]})
    if draw(st.booleans()):
        # The usage comes after the end at times.
        chunks.append({"usageMetadata": USAGE})
    else:
        chunks[-1]["usageMetadata"] = USAGE
    return chunks


USAGE = {"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 7, "thoughtsTokenCount": 5}


def chunk_of(parts: list[dict[str, Any]], **candidate: Any) -> dict[str, Any]:
    """A chunk with these parts."""
    content = {"role": "model", "parts": parts}
    return {
        "candidates": [{"content": content, "index": 0, **candidate}],
        "modelVersion": "gemini-3-pro",
        "responseId": "r",
    }
