import json
from collections.abc import Callable

import pytest
from antigravity_healing.wire.json import skip as jsonskip
from antigravity_healing.wire.json.skip import contains, value_end
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.work import calls_made, memory_kept

steady = settings(deadline=None, derandomize=True)

# Quotes and backslashes in all orders, in strings shorter and longer than what is looked at in one go.
parts = st.sampled_from(
    ['\\"', "\\\\", "\\\\" * 5, "\\\\" * 9 + '\\"', "\\n", "{", "}]", ",", ":", "é", "x" * 4096, ""]
)
strings = st.lists(parts, max_size=6).map(lambda found: '"' + "".join(found) + '"')
scalars = strings | st.sampled_from(
    ["0", "-0", "12", "-1.5E-3", "1e400", "true", "false", "null", "NaN", "Infinity", "-Infinity"]
)
values: st.SearchStrategy[str] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[ " + " ,\n".join(items) + "]")
        | st.lists(st.tuples(strings, inner), max_size=3).map(
            lambda members: "{" + ",".join(f"{name}\t: {value}" for name, value in members) + " }"
        )
    ),
    max_leaves=12,
)


@steady
@given(values, st.sampled_from(["", " ", ",", "]", '"', "}", "[", ":"]))
@example("[" * 50 + '"]"' + "]" * 50, "]")
def test_a_value_ends_where_a_parser_says(value: str, behind: str) -> None:
    text = f"  {value}{behind}"
    _, end = json.JSONDecoder().raw_decode(text, 2)
    assert value_end(text.encode(), 2) == len(text[:end].encode())


@steady
@given(values)
def test_what_is_cut_off_is_no_value(value: str) -> None:
    text = value.encode()
    if text[:1] in (b"[", b"{", b'"'):
        with pytest.raises(ValueError, match="byte"):
            value_end(text[:-1], 0)


@pytest.mark.parametrize("text", [b"", b" 1", b"]", b"}", b",", b"x", b"[", b'{"a":[1,2]', b"[[1]", b'["]', b'"'])
def test_what_does_not_fit_is_no_value(text: bytes) -> None:
    with pytest.raises(ValueError, match="byte"):
        value_end(text, 0)


SHAPES: dict[str, Callable[[int], bytes]] = {
    "a long string": lambda size: b'["' + b"x" * (50 * size) + b'"]',
    "a string with many escapes": lambda size: b'["' + b'\\"a\\\\' * size + b'"]',
    "many strings": lambda size: b"[" + b'"a",' * size + b'"a"]',
    "many long strings": lambda size: b"[" + (b'"' + b"a" * 5000 + b'",') * (size // 10) + b"1]",
    "many objects": lambda size: b"[" + b'{"a":[1,{"b":[{"c":[]}]}]},' * size + b"1]",
    "deep nesting": lambda size: b'{"a":[' * size + b"]}" * size,
    "deep nesting behind much": lambda size: b"[" + b"1," * size + b"[" * size + b"]" * size + b"]",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_grows_with_the_text_and_nothing_is_made_of_it(shape: str) -> None:
    def work(size: int) -> int:
        text = SHAPES[shape](size)
        assert value_end(text, 0) == len(text)
        return calls_made(lambda: value_end(text, 0))

    assert work(2000) < 5 * work(500) + 50
    text = SHAPES[shape](5_000)
    _, peak = memory_kept(lambda: value_end(text, 0))
    assert peak < 20_000


def test_a_sign_is_found_wherever_it_stands_in_a_long_text() -> None:
    step = jsonskip._SEARCHED_AT_ONCE
    for at in (0, 1, step - 2, step - 1, step, 2 * step + 3):
        text = bytearray(2 * step + 6)
        text[at : at + 3] = b"abc"
        assert contains(bytes(text), b"abc")
    assert not contains(bytes(2 * step), b"abc")
