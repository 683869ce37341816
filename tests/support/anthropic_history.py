"""Strategies for the histories that an Anthropic client sends."""

from typing import Any

from hypothesis import strategies as st

type Body = dict[str, Any]

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
NAMES = st.sampled_from(["look", "mcp__a__b", "9 lives", "ünï", "x" * 100])
INPUTS = st.dictionaries(
    st.sampled_from(["a", "type", "text"]),
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
        max_leaves=3,
    ),
    max_size=2,
)
TEXTS = TEXT.map(lambda text: {"type": "text", "text": text})
IMAGES = st.sampled_from(
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}},
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.webp"}},
    ]
)
DOCUMENTS = st.builds(
    lambda text: {
        "type": "document",
        "title": "T",
        "source": {"type": "text", "media_type": "text/plain", "data": text},
    },
    TEXT,
)
FOUND = st.builds(
    lambda text: {
        "type": "search_result",
        "title": "T",
        "source": "https://x.test",
        "content": [{"type": "text", "text": text}],
    },
    TEXT,
)
MARKED = TEXTS.map(lambda block: {**block, "cache_control": {"type": "ephemeral"}})
SAID = st.one_of(TEXTS, TEXTS, MARKED, IMAGES, DOCUMENTS, FOUND)
"""What a user says or a tool gives."""
THINKING = st.sampled_from(
    [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2ln"},
    ]
)
SERVERS = st.sampled_from(
    [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {"stdout": "1"}},
    ]
)
SYSTEM = st.builds(
    lambda text, more: {"role": "system", "content": text, **more},
    TEXT,
    st.sampled_from([{}, {"clear_at": "never"}, {"output_config": {"effort": "low"}}]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Body]:
    """Messages that the Messages API takes: every call answered, in any order, however the messages are split."""
    messages: list[Body] = []
    calls = 0
    waiting: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        _say(draw, messages, waiting)
        content: list[Body] = draw(st.lists(st.one_of(THINKING, TEXTS, SERVERS), max_size=3))
        waiting = []
        for _ in range(draw(st.integers(0, 3))):
            calls += 1
            waiting.append(f"toolu_{calls}")
            content.append({"type": "tool_use", "id": waiting[-1], "name": draw(NAMES), "input": draw(INPUTS)})
        content += draw(st.lists(TEXTS, max_size=1))
        messages += _split(draw, "assistant", content)
    if draw(st.booleans()):
        _say(draw, messages, waiting)
    return messages


def _say(draw: st.DrawFn, messages: list[Body], waiting: list[str]) -> None:
    """Add the user's turn, which answers these calls."""
    results = [_result(draw, shown) for shown in draw(st.permutations(waiting))]
    said = draw(st.lists(SAID, min_size=0 if results else 1, max_size=3))
    content = draw(st.permutations([*results, *said])) if draw(st.booleans()) else [*results, *said]
    turn = _split(draw, "user", list(content))
    for system in draw(st.lists(SYSTEM, max_size=2)):
        turn.insert(draw(st.integers(0, len(turn))), system)
    messages += turn


def _result(draw: st.DrawFn, shown: str) -> Body:
    content = draw(st.none() | TEXT | st.lists(SAID, max_size=2))
    more = draw(st.sampled_from([{}, {"is_error": True}, {"is_error": False}]))
    return {"type": "tool_result", "tool_use_id": shown, "content": content, **more}


def _split(draw: st.DrawFn, role: str, content: list[Body]) -> list[Body]:
    """The content in one message of this side, or in two."""
    if len(content) == 1 and content[0].keys() == {"type", "text"} and draw(st.booleans()):
        return [{"role": role, "content": content[0]["text"]}]
    at = draw(st.integers(0, len(content)))
    return [{"role": role, "content": half} for half in (content[:at], content[at:]) if half] or [
        {"role": role, "content": []}
    ]
