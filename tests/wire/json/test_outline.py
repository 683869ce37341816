"""A long JSON object is looked into without being read."""

import json
from typing import Any

import pytest
from antigravity_healing.wire.json.ending import ending
from antigravity_healing.wire.json.outline import Outline, array_items, outline
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.work import calls_made

steady = settings(deadline=None, derandomize=True, max_examples=examples(60))

letters = st.sampled_from(["a", '"', "\\", "{", "}", "[", "]", ",", ":", "é", "😀", "\n", "\0"])
strings = st.lists(letters, max_size=8).map("".join)
values: st.SearchStrategy[Any] = st.recursive(
    strings | st.integers() | st.sampled_from([None, True, 1.5, "", [], {}]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(strings | st.just("turns"), values, max_size=4)
indents = st.sampled_from([None, 1])
LONG: dict[str, Any] = {
    "model": "m",
    "turns": [{"role": "user", "n": n, "text": 'so "quoted" \\' * 400} for n in range(600)],
    "tools": [{"name": "Bash"}],
    "stream": True,
}


def read(text: bytes, found: Outline) -> tuple[dict[str, Any], list[Any]]:
    """What stands in the places that were found."""
    members = {name: json.loads(text[start:end]) for name, (start, end) in found.members.items()}
    return members, [json.loads(text[start:end]) for start, end in found.items]


@steady
@given(objects, st.lists(values, max_size=4), indents, st.booleans())
def test_members_and_items_are_found_wherever_they_stand(
    others: dict[str, Any], turns: list[Any], indent: int | None, is_ascii: bool
) -> None:
    value = {**others, "turns": turns, "last": 1}
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode()
    found = outline(text, "turns")
    assert found.flaw == ""
    assert read(text, found) == ({name: each for name, each in value.items() if name != "turns"}, turns)


@steady
@given(st.lists(values, max_size=5), indents)
def test_items_of_an_array_are_found(items: list[Any], indent: int | None) -> None:
    text = json.dumps(items, indent=indent).encode()
    found = array_items(text)
    assert (found.flaw, read(text, found)) == ("", ({}, items))


@steady
@given(objects, st.lists(values, min_size=1, max_size=6), objects, st.integers(0, 200), indents)
def test_ends_say_nothing_else_than_wholes(
    before: dict[str, Any], turns: list[Any], behind: dict[str, Any], size: int, indent: int | None
) -> None:
    value = {**{f"<{name}": each for name, each in before.items()}, "turns": turns}
    value |= {f">{name}": each for name, each in behind.items()}
    text = json.dumps(value, indent=indent).encode()
    if (found := ending(text, size)) is None:
        return
    _, items = read(text, Outline({}, found.items))
    members, _ = read(text, Outline(found.members, []))
    names = list(value)
    lists = [name for name, each in value.items() if isinstance(each, list) and each[-len(items) :] == items]
    assert members in [{behind: value[behind] for behind in names[names.index(name) + 1 :]} for name in lists]


@pytest.mark.parametrize("indent", [None, 2])
def test_end_of_a_long_object_is_read_without_its_middle(indent: int | None) -> None:
    text = json.dumps(LONG, indent=indent).encode()
    found = outline(text, "turns")
    members, items = read(text, found)
    assert members == {name: each for name, each in LONG.items() if name != "turns"}
    assert items == LONG["turns"][-len(items) :]
    assert len(text) > found.unseen > len(text) / 2


def test_list_that_lies_in_one_end_is_read_whole() -> None:
    value = {"system": "x" * 3_000_000, "turns": [{"n": n} for n in range(5)]}
    text = json.dumps(value).encode()
    found = outline(text, "turns")
    assert found.unseen == 0
    assert read(text, found) == ({"system": value["system"]}, value["turns"])


@steady
@given(objects, st.integers(0, 300))
def test_what_is_cut_says_what_has_come(value: dict[str, Any], size: int) -> None:
    value = {**value, "turns": [1, {"a": "b"}, "c"]}
    text = json.dumps(value).encode()
    members, items = read(text, outline(text[:size], "turns"))
    assert members.items() <= value.items()
    assert items == value["turns"][: len(items)]


@steady
@given(st.binary(max_size=200) | st.text('{}[],:"\\ ab1', max_size=60).map(str.encode), st.integers(0, 100))
def test_what_is_no_json_raises_nothing(text: bytes, size: int) -> None:
    outline(text, "turns")
    array_items(text)
    ending(text, size)


@pytest.mark.parametrize(
    "unit",
    [b"[", b"{", b'"a":', b'"",', b"1,", b"[],", b"[" * 20 + b"]" * 20 + b",", b'{"a":1},', b"\\", b'\\"', b'"'],
)
def test_work_is_bounded_whatever_the_text_is(unit: bytes) -> None:
    text = b'{"turns":[' + unit * (2_200_000 // len(unit))
    assert calls_made(lambda: outline(text, "turns")) < 400_000
    assert calls_made(lambda: ending(text + b"]}", 500_000)) < 400_000


def test_newest_of_very_many_items_are_found() -> None:
    value = {"model": "m", "turns": [{"n": n} for n in range(50_000)], "last": 1}
    text = json.dumps(value).encode()
    members, items = read(text, outline(text, "turns"))
    assert items[-1] == {"n": 49_999}
    assert members == {"model": "m", "last": 1}
