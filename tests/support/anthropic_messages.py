"""Strategies for what Claude says: messages of every kind of block, told in events that are cut anywhere."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Fields = dict[str, Any]

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
INPUTS = st.dictionaries(TEXT, JSON, max_size=3)
CUTTING_STOPS = ["max_tokens", "refusal", "model_context_window_exceeded", "compaction"]
"""Stops that may come in the middle of a call's input."""


def _block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Fields]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


BLOCKS = st.one_of(
    _block("text", text=TEXT),
    _block("text", text=TEXT, citations=st.lists(st.fixed_dictionaries({"cited_text": TEXT}), min_size=1, max_size=3)),
    _block("thinking", thinking=TEXT, signature=TEXT),
    _block("redacted_thinking", data=TEXT),
    *(
        _block(kind, id=st.just("toolu_1"), name=TEXT, input=INPUTS)
        for kind in ("tool_use", "server_tool_use", "mcp_tool_use")
    ),
    _block("web_search_tool_result", tool_use_id=TEXT, content=st.lists(INPUTS, max_size=2)),
    _block("container_upload", file_id=TEXT),
    _block("compaction", content=st.none() | TEXT, encrypted_content=st.none() | TEXT),
    _block("audio_of_the_future", audio=TEXT, words=st.lists(JSON, max_size=3), seconds=st.integers()),
)
USAGES = st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 99), "output_tokens": st.integers(0, 99), "service_tier": st.just("standard")},
    optional={
        "cache_creation": st.just({"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}),
        "server_tool_use": st.just({"web_search_requests": 1}),
        "iterations": st.lists(INPUTS, max_size=2),
        "unheard_of": JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {
        "id": st.just("msg_1"),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": st.just("claude-sonnet-4-5"),
        "content": st.lists(BLOCKS, max_size=5),
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "pause_turn", *CUTTING_STOPS]),
        "stop_sequence": st.none() | st.just("END"),
        "stop_details": st.none() | st.just({"type": "refusal", "category": "cyber"}),
        "usage": USAGES,
    },
    optional={
        "container": st.just({"id": "container_1", "expires_at": "2026-11-25T00:00:00Z"}),
        "context_management": st.just({"applied_edits": []}),
        "input_transformations": st.just([]),
    },
)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """The text in pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def deltas_of(draw: st.DrawFn, block: Fields) -> tuple[Fields, list[Fields]]:
    """A block as the payload of its start, and the deltas that say the rest."""

    def pieces(kind: str, name: str, text: str) -> list[Fields]:
        return [{"type": kind, name: piece} for piece in draw(cut(text))]

    match block:
        case {"type": "text"}:
            cites = [{"type": "citations_delta", "citation": citation} for citation in block.get("citations", ())]
            start = {**block, "text": "", **({"citations": draw(st.sampled_from([None, []]))} if cites else {})}
            return start, [*cites, *pieces("text_delta", "text", block["text"])]
        case {"type": "thinking"}:
            signing = {"type": "signature_delta", "signature": block["signature"]}
            thinking = pieces("thinking_delta", "thinking", block["thinking"])
            return {**block, "thinking": "", "signature": ""}, [*thinking, signing]
        case {"input": {}}:
            whole = json.dumps(block["input"], ensure_ascii=draw(st.booleans()))
            said = "" if not block["input"] and draw(st.booleans()) else whole
            return {**block, "input": {}}, pieces("input_json_delta", "partial_json", said)
        case {"type": "compaction"}:
            said_once = {"type": "compaction_delta", **{name: block[name] for name in ("content", "encrypted_content")}}
            return {"type": "compaction", "content": None, "encrypted_content": None}, [said_once]
        case {"type": "audio_of_the_future"}:
            audio = pieces("audio_delta", "audio", block["audio"])
            words = [{"type": "word_delta", "words": [word]} for word in block["words"]]
            seconds = [{"type": "time_delta", "seconds": seconds} for seconds in (0, block["seconds"])]
            return {**block, "audio": "", "words": [], "seconds": None}, [*audio, *words, *seconds]
    return block, []


@st.composite
def events_of(draw: st.DrawFn, message: Fields) -> list[Fields]:
    """The events of a stream that says this message, its texts cut anywhere."""
    late = ["stop_reason", "stop_sequence", "stop_details", "container"]
    beside = ["context_management", "input_transformations"]
    usage = message["usage"]
    early = {**message, "content": [], **dict.fromkeys(late[:3])}
    early["usage"] = {**{name: usage[name] for name in ("input_tokens", "service_tier")}, "output_tokens": 1}
    for name in [late[3], *beside]:
        early.pop(name, None)
    events: list[Fields] = [{"type": "message_start", "message": early}]
    for index, block in enumerate(message["content"]):
        start, deltas = draw(deltas_of(block))
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
        if draw(st.booleans()):
            events.append({"type": "ping"})
    ending: Fields = {"type": "message_delta", **{name: message[name] for name in beside if name in message}}
    ending["delta"] = {name: message[name] for name in late if name in message}
    ending["usage"] = {name: value for name, value in usage.items() if name != "service_tier"}
    if draw(st.booleans()):
        events.append({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 2}})
    if draw(st.booleans()):
        ending["usage"]["service_tier"] = None  # Says nothing, so takes nothing back.
    return [*events, ending, {"type": "message_stop"}]
