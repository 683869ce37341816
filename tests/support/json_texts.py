"""JSON texts of objects as models write them: with numbers that no double holds, names that come twice, and space."""

import json
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.upstream.anthropic import TOOL_ID, anthropic_end, anthropic_event, anthropic_start

SPACE = st.sampled_from(["", "", "", " ", "  ", "\t"])
NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(2**63, 2**200).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "1.0", "1e400", "-1E+400", "0.1000000000000000055", "36893488147419103232"]),
)
STRINGS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(['"args":{"a":1}', '\\"input\\": {', "}", "{", "\\", "\ud83d", "\u2028", "a\nb"]),
)
NAMES = st.sampled_from(["a", "b", "args", "input", "response", "functionCall", "type", "", 'a"args', "\u00e9"])


def _string(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only or any("\ud800" <= letter <= "\udfff" for letter in text))


WRITTEN_STRINGS = st.builds(_string, STRINGS, st.booleans())


def _object(members: list[tuple[str, str]], space: str) -> str:
    said = f",{space}".join(f"{json.dumps(name)}{space}:{space}{value}" for name, value in members)
    return f"{{{space}{said}{space}}}"


def _array(items: list[str], space: str) -> str:
    return f"[{space}{f'{space},'.join(items)}]"


VALUES = st.recursive(
    st.one_of(NUMBERS, WRITTEN_STRINGS, st.sampled_from(["true", "false", "null", "{}", "[]"])),
    lambda inner: st.one_of(
        st.builds(_object, st.lists(st.tuples(NAMES, inner), max_size=3), SPACE),
        st.builds(_array, st.lists(inner, max_size=3), SPACE),
    ),
    max_leaves=8,
)
OBJECTS = st.builds(_object, st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4), SPACE)
"""Objects that are not empty, in one line."""
CASES = (
    '{"n": 36893488147419103232}', '{"n": 1e400}', '{"n": 1.0}', '{"n": -0.0}', '{"n": 0.1000000000000000055}',
    '{"a": 1, "a": 2}', '{"b": 1, "a": {"z": 1, "y": 2}}', '{"n":[1E5,18446744073709551616,-9223372036854775809]}',
)  # fmt: skip
"""Small ones, each with something that is easily lost."""


def claude_call(pieces: Sequence[str]) -> bytes:
    """The stream of a message that calls a tool with the input that comes in these pieces."""
    start = {"type": "tool_use", "id": TOOL_ID, "name": "look", "input": {}}
    events = [anthropic_start(), anthropic_event({"type": "content_block_start", "index": 0, "content_block": start})]
    for piece in pieces:
        # Half a surrogate pair can be written in ASCII only.
        delta = json.dumps({"type": "input_json_delta", "partial_json": piece})
        data = f'{{"type":"content_block_delta","index":0,"delta":{delta}}}'
        events.append(f"event: content_block_delta\ndata: {data}\n\n".encode())
    events += [anthropic_event({"type": "content_block_stop", "index": 0}), *anthropic_end("tool_use")]
    return b"".join(events)


def claude_message(text: str) -> bytes:
    """The same as a whole answer."""
    call = f'{{"type": "tool_use", "id": "{TOOL_ID}", "name": "look", "input": {text}}}'
    usage = '{"input_tokens": 12, "output_tokens": 9}'
    head = '"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"'
    return f'{{{head}, "content": [{call}], "stop_reason": "tool_use", "usage": {usage}}}'.encode()


def gemini_answer(text: str) -> bytes:
    """A whole answer that calls a function with these arguments."""
    call = f'{{"functionCall": {{"name": "look", "args": {text}}}}}'
    candidate = f'{{"content": {{"parts": [{call}], "role": "model"}}, "finishReason": "STOP", "index": 0}}'
    usage = '{"promptTokenCount": 12, "candidatesTokenCount": 9, "totalTokenCount": 21}'
    return f'{{"candidates": [{candidate}], "usageMetadata": {usage}}}'.encode()


def gemini_call(text: str) -> bytes:
    """The same as a stream."""
    return b"data: " + gemini_answer(text) + b"\r\n\r\n"
