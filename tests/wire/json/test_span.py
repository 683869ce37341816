import json
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.json.span import has_twice, remove_member, replace_member, respell
from antigravity_healing.wire.operation import Operation
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.recorded import Exchange, recorded_params

steady = settings(deadline=None, derandomize=True)
GENERATE = Operation("generate", streams=None)

# JSON as text, written in all the ways in which it may be.
spaces = st.sampled_from(["", "", " ", "\n  ", "\t", "\r\n"])
characters = st.sampled_from(
    ["a", "model", "é", "😀", "\\n", '\\"', "\\\\", "\\/", "\\u00e9", "\\ud83d\\ude00", "\\ud800", "{", "}", "[", ",",
     ":", "\u2028", "\x7f"]
)  # fmt: skip
strings = st.lists(characters, max_size=5).map(lambda parts: '"' + "".join(parts) + '"')
numbers = st.sampled_from(["0", "-0", "1.50", "1e5", "-1.5E-3", "12345678901234567890123", "1.0000000000000000001"])
names = st.sampled_from(['"model"', '"\\u006dodel"', '"mod\\u0065l"'])
other_names = st.sampled_from(['"messages"', '"Model"', '"model "', '"é"', '"a\\"model"', '""'])


@st.composite
def members(draw: st.DrawFn, values: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> str:
    """The members of an object, without its braces."""
    count = draw(st.integers(0, 3))
    return ",".join(draw(member(keys, values)) for _ in range(count))


@st.composite
def member(draw: st.DrawFn, keys: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> str:
    return "".join(draw(part) for part in (spaces, keys, spaces, st.just(":"), spaces, values, spaces))


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    inside = ",".join(draw(spaces) + draw(values) + draw(spaces) for _ in range(draw(st.integers(0, 3))))
    return "[" + (inside or draw(spaces)) + "]"


texts: st.SearchStrategy[str] = st.recursive(
    strings | numbers | st.sampled_from(["null", "true", "false"]),
    lambda inner: arrays(inner) | members(inner, names | other_names).map(lambda inside: "{" + inside + "}"),
    max_leaves=5,
)


@st.composite
def bodies(draw: st.DrawFn) -> list[str]:
    """An object that names a model at least once: its text in pieces, each second one the value of a `model`."""
    before = draw(st.lists(member(other_names, texts), max_size=2))
    pieces = [draw(spaces) + "{" + "".join(each + "," for each in before)]
    for number in range(draw(st.integers(1, 3))):
        head = "".join(draw(part) for part in (spaces, names, spaces, st.just(":"), spaces))
        pieces[-1] += ("," if number else "") + head
        pieces += [draw(strings if number == 0 else texts), draw(spaces)]
    after = draw(st.lists(member(other_names, texts), max_size=2))
    pieces[-1] += "".join("," + each for each in after) + "}" + draw(spaces)
    return pieces


new_names = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(steady, max_examples=examples(100))
@given(bodies(), new_names)
def test_another_model_changes_the_bytes_of_the_model_and_no_other(pieces: list[str], model: str) -> None:
    body = "".join(pieces).encode()
    path, changed = Anthropic().with_model("/v1/messages", body, GENERATE, model)
    expected = list(pieces)
    expected[1::2] = [json.dumps(model, ensure_ascii=False)] * len(pieces[1::2])
    assert path == "/v1/messages"
    assert changed == "".join(expected).encode()
    assert json.loads(changed) == {**json.loads(body), "model": model}


@settings(steady, max_examples=examples(40))
@given(bodies(), new_names, new_names)
def test_changing_twice_is_changing_once(pieces: list[str], first: str, second: str) -> None:
    body = "".join(pieces).encode()
    once = replace_member(body, "model", second)
    assert replace_member(replace_member(body, "model", first), "model", second) == once


@settings(steady, max_examples=60)
@given(bodies(), new_names)
def test_what_was_added_is_taken_away_again_to_the_byte(pieces: list[str], value: str) -> None:
    body = "".join(pieces).encode()
    assert remove_member(replace_member(body, "added", value, add=True), "added") == body


@settings(steady, max_examples=60)
@given(bodies())
def test_without_a_member_all_others_are_there_in_their_bytes(pieces: list[str]) -> None:
    body = "".join(pieces).encode()
    left = remove_member(body, "model")
    assert json.loads(left) == {name: value for name, value in json.loads(body).items() if name != "model"}
    assert remove_member(left, "model") is left


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"model":1}', b"{}"),
        (b'{ "model":1, "a": 2 }', b'{ "a": 2 }'),
        (b'{"a":1, "model":2,\n"b":3}', b'{"a":1,\n"b":3}'),
        (b'{"a":{"model":1} ,"model":2 }', b'{"a":{"model":1} }'),
    ],
)
def test_what_is_left_without_a_member(body: bytes, left: bytes) -> None:
    assert remove_member(body, "model") == left


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model"}'])
def test_of_what_is_no_object_nothing_can_be_taken(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        remove_member(body, "model")


@pytest.mark.parametrize(
    "recorded",
    recorded_params(lambda exchange: exchange.dialect == "anthropic" and "model" in (exchange.request_json or {})),
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_recorded_request_for_another_model_is_the_same_but_for_it(recorded: Exchange, indent: int | None) -> None:
    wanted: Any = {**recorded.request_json, "model": "other/model-1"}
    body = json.dumps(recorded.request_json, indent=indent).encode()
    _, changed = Anthropic().with_model("/v1/messages", body, GENERATE, "other/model-1")
    assert changed == json.dumps(wanted, indent=indent).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"model"',
        b"{}",
        b'{"Model": "x"}',
        b'{"inner": {"model": "x"}}',
        b'[{"model": "x"}]',
        b'{"model": }',
        b'{"model": "x"',
        b'{"model" "x"}',
        b"{model: 'x'}",
        b'{"model": "x" "y"}',
        b'{"model": "\xff"}',
        b'\xef\xbb\xbf{"model": "x"}',
    ],
)
def test_a_body_that_names_no_model_can_not_name_another(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"member|object|Expecting|decode|value|colon|comma"):
        replace_member(body, "model", "new")


def test_a_model_of_its_own_endpoint_is_named_by_the_path() -> None:
    changed = Anthropic().with_model("/v1/models/a", b"", Operation("get_model", "a"), "x/y z")
    assert changed == ("/v1/models/x%2Fy%20z", b"")


def test_deep_nesting_beside_the_model_is_borne() -> None:
    # orjson, which reads requests, takes 1024 levels: what it has read must be changeable.
    deep = b"[" * 1000 + b"]" * 1000
    body = b'{"a": ' + deep + b', "model": "x"}'
    assert replace_member(body, "model", "y") == b'{"a": ' + deep + b', "model": "y"}'


@st.composite
def edits(draw: st.DrawFn, value: Any) -> Any:
    """A value made from this one, sharing with it what is not changed."""
    match draw(st.sampled_from(["same", "same", "deeper", "deeper", "new"])), value:
        case "deeper", dict():
            changed = {name: draw(edits(item)) for name, item in value.items() if draw(st.integers(0, 5))}
            return {**changed, "added": 1} if draw(st.booleans()) else changed
        case "deeper", list():
            changed_items = [draw(edits(item)) for item in value if draw(st.integers(0, 5))]
            return [*changed_items, {"added": "é"}] if draw(st.booleans()) else changed_items
        case "new", _:
            return draw(st.sampled_from([None, "\ud800", "é", 7, [], {}, {"a": [1]}]))
    return value


@steady
@given(texts, st.data())
def test_a_changed_value_is_spelled_as_it_should_and_nothing_else_is_touched(text: str, data: st.DataObject) -> None:
    old = json.loads(text)
    new = data.draw(edits(old))
    spelled = respell(text.encode("utf-8", "surrogatepass"), old, new)
    assert json.loads(spelled) == new
    assert respell(text.encode("utf-8", "surrogatepass"), old, old) == text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("text", "change", "expected"),
    [
        ('{"a": [1,  2 , 3], "b":"\\u00e9"}', lambda v: {**v, "a": [v["a"][0], 9, v["a"][2]]},
         '{"a": [1,  9 , 3], "b":"\\u00e9"}'),
        ('[ {"x": 1.50} , {"y":2} ]', lambda v: [v[1]], '[{"y":2} ]'),
        ('{"a": 1.50, "b": 2}', lambda v: {"a": v["a"], "b": v["b"], "c": {"d": [1]}},
         '{"a": 1.50, "b": 2,"c":{"d":[1]}}'),
        ('{"a": 1.50, "b": 2}', lambda v: {"b": v["b"]}, '{"b": 2}'),
        ('{"m":[{"c":[{"t":1},{"t":2}]}]}', lambda v: {"m": [{"c": [v["m"][0]["c"][1]]}]}, '{"m":[{"c":[{"t":2}]}]}'),
    ],
)  # fmt: skip
def test_what_stays_keeps_its_bytes(text: str, change: Any, expected: str) -> None:
    old = json.loads(text)
    assert respell(text.encode(), old, change(old)).decode() == expected


def test_what_is_no_json_can_not_be_respelled() -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        respell(b"\xff{}", {}, {"a": 1})
    with pytest.raises(ValueError):  # noqa: PT011
        respell(b"nothing", {}, {"a": 1})


@pytest.mark.parametrize(
    ("body", "twice"),
    [
        (b'{"model": 1}', False),
        (b'{"model": 1, "model": 2}', True),
        (b'{"model": 1, "a": {"model": 2}, "b": [{"model": 3}]}', False),
        (b'{"a": {"model": 2}, "b": [{"model": 3}], "model": 1}', False),
        (b'{"a": {"model": 2}, "model": 1, "b": [{"model": 3}]}', False),
        (b'{"model": 1, "a": {"model": 2}, "model": 1}', True),
        (b'{"a": {"model": 2}, "model" \t: 1, "model"\r\n:1} ', True),
        (b'{"model": 1, "mod\\u0065l": 2}', True),
        (b'{"\\u006Dodel": 1, "mod\\u0065l": 2}', True),
        (b'{"mod\\u0065l": 1, "x": "\\u006d"}', False),
        (b'{"model": "model", "x\\"model": "\\"model\\": "}', False),
        (b'{"model": 1, "x": ["model", "}", "model"], "model2": 2}', False),
        (b'{"model": {"model": {"model": "]"}}}', False),
        (b'{"model": 1, "a": [' + b'{"model": 2},' * 3000 + b'0], "model": 3}', True),
        (b'{"model": 1, "a": [' + b'{"model": 2},' * 3000 + b"0]}", False),
    ],
)
def test_whether_a_name_comes_twice_at_the_top(body: bytes, twice: bool) -> None:
    assert has_twice(body, "model") is twice


NAMES = st.sampled_from(['"model"', '"mod\\u0065l"', '"Model"', '"x\\"model"', '"a"'])
TREES = st.recursive(
    st.sampled_from(['"model"', '"\\"model\\": "', "1", '"}"', '"["']),
    lambda inner: (
        st.lists(st.tuples(NAMES, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{name} : {value}" for name, value in pairs) + "}"
        )
        | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(NAMES, TREES), max_size=6))
def test_a_name_that_comes_twice_is_found_among_any_members(pairs: list[tuple[str, str]]) -> None:
    text = "{" + ", ".join(f"{name}: {value}" for name, value in [('"model"', "0"), *pairs]) + "}"
    names = [name for name, _ in json.loads(text, object_pairs_hook=lambda found: found)]
    assert has_twice(text.encode(), "model") is (names.count("model") > 1)
