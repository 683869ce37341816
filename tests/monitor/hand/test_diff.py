import hashlib
from typing import Any

import orjson
import pytest
from antigravity_healing.monitor.hand.diff import MOST_CHANGES, Sent, as_line, json_changes, request_changes
from hypothesis import given, settings
from hypothesis import strategies as st

SIGNATURE = "EqQBCgIYAhIkYTBi" * 20
THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": SIGNATURE}
TEXT = {"type": "text", "text": "Hello"}
SECRET = "sk-ant-hush-hush-0123456789"


def short(text: str) -> str:
    """How a long text is told."""
    return f"({len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()[:8]}…)"


def changes(before: Any, after: Any) -> list[str]:
    return [str(change) for change in json_changes(before, after)]


def request(
    body: Any = None, *, origin: str = "https://a", path: str = "/v1/messages", raw: bytes = b"", **headers: str
) -> Sent:
    pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Sent("POST", origin, path, pairs, raw or orjson.dumps(body))


def conversation(*content: Any) -> dict[str, Any]:
    return {
        "model": "claude-sonnet-4-5",
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": list(content)}],
    }


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"model": "a"}, {"model": "b"}, ['model: "a" → "b"']),
        ({"a": 1}, {"a": 1.5}, ["a: 1 → 1.5"]),
        ({"a": 1}, {"a": True}, ["a: 1 → true"]),
        ({"a": [1]}, {"a": {"b": 1}}, ['a: [1] → {"b": 1}']),
        ({"a": None}, {}, ["a: removed null"]),
        ({}, {"a": {}}, ["a: added {}"]),
        ({"a b": 1}, {"a b": 2}, ['["a b"]: 1 → 2']),
        ({"x": {"a.b": 1}}, {"x": {}}, ['x["a.b"]: removed 1']),
        ([1, 2, 3], [1, 3], ["[1]: removed 2"]),
        ([1, 3], [1, 2, 3], ["[1]: added 2"]),
        (1, 2, ["the body: 1 → 2"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ],
)
def test_each_change_is_told_with_its_path(before: Any, after: Any, expected: list[str]) -> None:
    assert changes(before, after) == expected


def test_a_block_that_is_taken_out_moves_no_other_one() -> None:
    [line] = changes(conversation(THINKING, TEXT), conversation(TEXT))
    assert line == (
        'messages[1].content[0]: removed {"type": "thinking", "thinking": "Let me see.", '
        f'"signature": {short(SIGNATURE)}}}'
    )


def test_a_block_that_changes_beside_one_that_is_taken_out_is_told_as_changed() -> None:
    other = {"type": "text", "text": "Hello there"}
    removed, changed = changes(conversation(THINKING, TEXT), conversation(other))
    assert removed.startswith("messages[1].content[0]: removed")
    assert changed == 'messages[1].content[0].text: "Hello" → "Hello there"'


def test_what_is_added_at_the_end_is_told_as_added() -> None:
    note = {"type": "text", "text": "(Note)"}
    assert changes(conversation(TEXT), conversation(TEXT, note)) == [
        'messages[1].content[1]: added {"type": "text", "text": "(Note)"}'
    ]


def test_a_block_that_becomes_another_is_told_by_its_members() -> None:
    assert changes(conversation(THINKING), conversation({"type": "text", "text": "Let me see."})) == [
        'messages[1].content[0].type: "thinking" → "text"',
        'messages[1].content[0].thinking: removed "Let me see."',
        f"messages[1].content[0].signature: removed {short(SIGNATURE)}",
        'messages[1].content[0].text: added "Let me see."',
    ]


@pytest.mark.parametrize("key", ["signature", "thoughtSignature", "thought_signature"])
def test_a_signature_is_never_told_however_short(key: str) -> None:
    assert changes({"parts": [{key: "abc"}]}, {"parts": [{key: "abd"}]}) == [
        f"parts[0].{key}: {short('abc')} → {short('abd')}"
    ]


def test_what_is_long_is_told_by_length_and_hash() -> None:
    text = "word " * 100
    assert changes({"text": "word"}, {"text": text}) == [f'text: "word" → {short(text)}']
    [line] = changes({}, {"messages": [{"role": "user", "content": "hi"}] * 50})
    assert line.startswith("messages: added [50 items] (")
    [line] = changes({}, {"tool": {"type": "custom", **{f"member{number}": number for number in range(50)}}})
    assert line.startswith('tool: added "custom" with 51 members (')


def test_secrets_are_not_told() -> None:
    before = request({"api_key": SECRET, "mcp": {"authorization_token": SECRET}, "password": {"a": [SECRET]}})
    after = request({"mcp": {"authorization_token": SECRET + "2"}, "password": {"a": ["other"]}, "apiKey": SECRET})
    lines = request_changes(before, after)
    assert lines == [
        "api_key: removed (hidden)",
        "mcp.authorization_token: (hidden) → (hidden)",
        "password: (hidden) → (hidden)",
        "apiKey: added (hidden)",
    ]
    before = request({}, path=f"/v1/models?key={SECRET}&alt=sse", x_api_key=SECRET, Cookie=SECRET)
    after = request({}, path=f"/v1/models?key={SECRET}2", Authorization=f"Bearer {SECRET}", cookie="c")
    assert request_changes(before, after) == [
        "path: /v1/models?key=(hidden)&alt=sse → /v1/models?key=(hidden)",
        "header x-api-key: removed (hidden)",
        "header cookie: (hidden) → (hidden)",
        "header authorization: added (hidden)",
    ]


def test_a_request_is_told_from_its_address_to_its_body() -> None:
    before = request({"model": "a"}, host="a", accept="*/*", x_old="1", content_length="13")
    after = request({"model": "b"}, origin="https://b:8443", path="/p/v1/messages", Accept="text/plain", x_new="2")
    assert request_changes(before, after) == [
        "host: https://a → https://b:8443",
        "path: /v1/messages → /p/v1/messages",
        "header accept: */* → text/plain",
        "header x-old: removed 1",
        "header x-new: added 2",
        'model: "a" → "b"',
    ]
    assert request_changes(before, before) == []


def test_nothing_in_a_request_breaks_a_line() -> None:
    before = request({"a\nb": "c\x1b[31m"}, x="1")
    after = request({"a\nb": "d\re"}, x="2\x1b[0m")
    assert all(line.isprintable() for line in request_changes(before, after))


def test_bodies_that_are_not_json_or_only_spelt_differently() -> None:
    assert request_changes(request(raw=b"{"), request(raw=b"[]")) == [
        "body: 1 bytes → 2 bytes, at least one of them is not JSON"
    ]
    assert request_changes(request(raw=b'{"a":1}'), request(raw=b'{ "a": 1 }')) == [
        "body: the same JSON, spelt differently (7 bytes → 10 bytes)"
    ]


def test_there_is_an_end_to_it() -> None:
    lines = request_changes(request({str(n): n for n in range(1000)}), request({}))
    assert len(lines) == MOST_CHANGES + 1
    assert lines[-1] == f"… and {1000 - MOST_CHANGES} more"
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    assert len(changes(deep, [deep])) == 1
    many = [{"role": "user", "content": str(number % 3)} for number in range(5000)]
    assert len(changes(many, many[1:])) > 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=20,
)


@given(_json, _json)
@settings(deadline=None, derandomize=True)
def test_there_are_changes_if_and_only_if_two_values_differ(before: Any, after: Any) -> None:
    same = orjson.dumps(before, option=orjson.OPT_SORT_KEYS) == orjson.dumps(after, option=orjson.OPT_SORT_KEYS)
    assert (not changes(before, after)) == same
    assert changes(before, before) == []
    for line in changes(before, after):
        assert line.isprintable()


@given(_json)
@settings(deadline=None, derandomize=True)
def test_a_value_is_told_in_one_line(value: Any) -> None:
    assert as_line(value).isprintable()
    assert len(as_line(value)) < 200
