"""Long JSON texts that are read in parts."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from antigravity_healing.wire.json import parts as jsonparts
from antigravity_healing.wire.json import value as jsonvalue
from antigravity_healing.wire.json.parts import parse_in_parts
from hypothesis import given
from hypothesis import strategies as st

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=40,
)
_DAMAGE = st.sampled_from([b"", b",", b"[", b"]", b"{", b"}", b'"', b":", b"1", b"\\", b"\xff", b" ", b'"a":', b"[]"])
_LONG = jsonparts._PART_BYTES + 1


def _in_small_parts(text: bytes, load: jsonparts.Load = jsonvalue._load) -> Any:
    with patch.multiple(jsonparts, _PART_BYTES=32, _STRING_BYTES=16):
        return parse_in_parts(text, load, 100_000)


@given(_VALUES, st.booleans(), st.sampled_from([None, 0, 3]))
def test_in_parts_a_text_says_what_it_says_in_one(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert _in_small_parts(text) == jsonvalue._load(text)


@given(_VALUES, _DAMAGE, st.integers(0), st.integers(0, 2))
def test_in_parts_a_damaged_text_is_refused_where_it_is_in_one(value: Any, damage: bytes, at: int, gone: int) -> None:
    text = bytearray(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    at %= len(text)
    text[at : at + gone] = damage
    assert _read_or_refused(_in_small_parts, bytes(text)) == _read_or_refused(jsonvalue._load, bytes(text))


def _read_or_refused(read: Any, text: bytes) -> Any:
    try:
        return read(text)
    except ValueError:
        return ValueError


@given(_VALUES)
def test_in_parts_the_members_of_objects_can_be_pairs(value: Any) -> None:
    text = b'{"a":1,"a":{"b":%b,"b":2},"a":[%b]}' % ((json.dumps(value).encode(),) * 2)

    def read(part: bytes) -> Any:
        return json.loads(part, object_pairs_hook=lambda pairs: list(pairs))

    assert _in_small_parts(text, read) == read(text)


@pytest.mark.parametrize("item", [b"0", b"{}", b'""', b"[]", b'{"a":[0]}', b"NaN", b'"\\ud83d"'])
def test_the_values_of_a_text_are_counted(item: bytes) -> None:
    text = b"[" + b",".join([item] * 20_000) + b"]"
    values = 60_000 if item == b'{"a":[0]}' else 20_000
    assert len(parse_in_parts(text, jsonvalue._load, values + 1)) == 20_000
    with pytest.raises(ValueError, match=f"more than {values - 1:,} values"):
        parse_in_parts(text, jsonvalue._load, values - 1)


@pytest.mark.parametrize(
    "said", ["a" * _LONG, "é😀" * _LONG, "\n" * _LONG, "\\" * _LONG, '"' * _LONG, "\ud83d" * _LONG, "x\\" * _LONG]
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_long_string_is_read_as_it_is(said: str, ascii_only: bool) -> None:
    text = json.dumps({"a": said, "b": [said, 1]}, ensure_ascii=ascii_only or "\ud83d" in said).encode()
    assert parse_in_parts(text, jsonvalue._load, 10) == json.loads(text)


def test_of_a_name_that_comes_twice_the_last_value_counts_however_long_they_are() -> None:
    text = b'{"a":"%b","b":1,"a":2,"b":"%b"}' % (b"x" * _LONG, b"y" * _LONG)
    assert parse_in_parts(text, jsonvalue._load, 10) == {"a": 2, "b": "y" * _LONG}


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 2000 + b"]" * 2000,
        b"1" * 3_000_000,
        b"[1" + b" " * 3_000_000 + b"]",
        b'{"%b":1}' % (b"a" * _LONG),
        b'["' + b"a" * _LONG,
        b'"%b\\"' % (b"a" * _LONG),
        b"[%b],[1]" % (b"1," * _LONG),
        b"[1]" * _LONG,
        b"",
    ],
)
def test_what_no_honest_client_writes_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_in_parts(text, jsonvalue._load, 1_000_000)
