"""What calls are given is written again as it was read."""

import copy
import json
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.beginning import read_beginning
from antigravity_healing.wire.json.value import JsonText, dump, dump_text, parse
from antigravity_healing.wire.translate.common import NO_HISTORY
from antigravity_healing.wire.translate.to_anthropic.request import to_anthropic
from antigravity_healing.wire.translate.to_gemini.request import to_gemini
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.json_texts import CASES, OBJECTS, VALUES

steady = settings(max_examples=examples(150), deadline=None)


def claudes(given: str, more: str = "1") -> bytes:
    """A history with a call; `more` is the value of an unknown member."""
    call = f'{{"type":"tool_use","id":"toolu_1","name":"look","input":{given}}}'
    result = '{"type":"tool_result","tool_use_id":"toolu_1","content":"seen"}'
    said = f'{{"role":"assistant","content":[{call}]}},{{"role":"user","content":[{result}]}}'
    return f'{{"x":{more},"max_tokens":9,"messages":[{{"role":"user","content":"Hi"}},{said}]}}'.encode()


def geminis(args: str, response: str, more: str = "1") -> bytes:
    call = f'{{"functionCall":{{"name":"look","args":{args}}}}}'
    result = f'{{"functionResponse":{{"name":"look","response":{response}}}}}'
    said = f'{{"role":"model","parts":[{call}]}},{{"role":"user","parts":[{result}]}}'
    return f'{{"contents":[{{"role":"user","parts":[{{"text":"Hi"}}]}},{said}],"x":{more}}}'.encode()


def is_held_by_doubles(text: str) -> bool:
    """Whether none of its numbers is too large for a double."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def value_of(text: str) -> Any:
    """The value as nothing of ours reads it; the exactness of numbers apart."""
    return json.loads(text)


@steady
@given(OBJECTS, VALUES)
def test_an_input_is_written_as_it_was_read_and_all_else_as_ever(text: str, more: str) -> None:
    body = claudes(text, more)
    value = exact.parse(body)
    assert f'"input":{text}'.encode() in dump(value)
    # What no double holds has all else read by the slower parser, which keeps whole numbers that orjson does not.
    if is_held_by_doubles(more):
        assert dump({**value, "messages": []}) == dump({**parse(claudes("{}", more)), "messages": []})
    # It reads as what it says, as a dict.
    assert repr(value["messages"][1]["content"][0]["input"]) == repr(exact.read_input([text]))
    made = exact.made_exact(parse(body), body)
    assert f'"input":{text}'.encode() in dump(made)


@steady
@given(OBJECTS, OBJECTS, VALUES)
def test_arguments_and_responses_are_written_as_they_were_read(args: str, response: str, more: str) -> None:
    written = dump(exact.parse(geminis(args, response, more)))
    assert f'"args":{args}'.encode() in written
    assert f'"response":{response}'.encode() in written


@steady
@given(OBJECTS)
def test_it_is_kept_where_something_else_is_written_slowly(text: str) -> None:
    value = {"s": "\ud83d", "n": 2**70, "deep": [{"call": exact.read_input([text])}, "\udc00"]}
    assert dump_text(value) == f'{{"s":"\\ud83d","n":{2**70},"deep":[{{"call":{text}}},"\\udc00"]}}'
    assert dump_text(copy.deepcopy(value)) == dump_text(value)


def test_a_copy_is_a_plain_object_and_one_that_needs_no_text_has_none() -> None:
    assert type(exact.read_input(['{"a":1,"b":[1.5,"x"]}'])) is dict
    given = exact.read_input(['{"a": 1e400}'])
    assert dump({**given, "a": 1}) == b'{"a":1}'


def test_line_breaks_between_tokens_do_not_break_lines() -> None:
    assert dump(exact.read_input(['{\n  "a":\r\n1.0,\n "b": "\\n"}'])) == b'{   "a":  1.0,  "b": "\\n"}'


def test_an_emoji_in_two_halves_is_whole_and_half_of_one_stays() -> None:
    assert exact.read_input(['{"a": "\ud83d', '\ude00"}']) == {"a": "\U0001f600"}
    assert dump(exact.read_input(['{"a": "\ud83d"}'])) == b'{"a": "\\ud83d"}'


@pytest.mark.parametrize(
    "text", ['{"x": NaN}', '{"x": -Infinity}', '{"x": 1', "[1]", "1", "", '{"x": 1}}', '{"x": 01}']
)
def test_what_is_no_object_in_json_is_no_input(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        exact.read_input([text])


@pytest.mark.parametrize("text", ['{"x": NaN}', '{"x": [{"y": Infinity}]}', '{"x": 01}', '{"x"}'])
def test_a_body_with_such_a_call_is_no_json(text: str) -> None:
    for body in (claudes(text), geminis(text, "{}"), geminis("{}", text)):
        with pytest.raises(ValueError, match=r".*"):
            exact.parse(body)
    assert exact.parse(b'{"candidates":[{"avgLogprobs":NaN}]}')["candidates"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"input":{"a":1.0e1}', b'{"input":{"a":1.0e1', b'{"input":{"a":1.0e1}}}', b'{"input":{"a":1.0e1}"b":1}',
        b'{"input":{"a":1.0e1}]}',
    ],
)  # fmt: skip
def test_what_is_no_json_around_a_call_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        exact.parse(body)


def test_members_of_these_names_that_are_no_calls_are_plain() -> None:
    schema = '{"properties":{"input":{"minimum":1.0e1},"args":{"x":1.0e1},"response":{"":7,"y":1.0e1}}}'
    value = exact.parse(f'{{"tools":[{schema}],"input":{{}},"args":"{{"}}'.encode())
    assert value == {"tools": [value_of(schema)], "input": {}, "args": "{"}
    assert all(type(each) is dict for each in value["tools"][0]["properties"].values())
    longer = b'{"my \\"args":{"x":1.0e1},"input":{"x":2.0e1}}'
    assert exact.parse(longer) == {'my "args': {"x": 10.0}, "input": {"x": 20.0}}


def test_members_that_come_twice_lead_to_no_other_call() -> None:
    body = b'{"a":1,"functionCall":{"args":{"n":1.0e1}},"z":{"functionCall":{"args":{"n":2.0e1}}},"functionCall":{}}'
    assert dump(exact.parse(body)) == b'{"a":1,"functionCall":{},"z":{"functionCall":{"args":{"n":2.0e1}}}}'


@pytest.mark.parametrize("text", CASES)
def test_requests_cross_with_what_their_calls_say(text: str) -> None:
    crossed = dump(to_gemini(exact.parse(claudes(text)), "gemini-3-pro-preview", NO_HISTORY))
    assert f'"args":{text}'.encode() in crossed
    back = to_anthropic(exact.parse(geminis(text, text)), "claude-sonnet-4-5", stream=False)
    assert f'"input":{text}'.encode() in dump(back)
    assert back["messages"][-1]["content"][0]["content"] == text
    told = to_anthropic(exact.parse(geminis(text, f'{{"error": {text} }}')), "claude-sonnet-4-5", stream=False)
    result = told["messages"][-1]["content"][0]
    assert (result["content"], result["is_error"]) == (text, True)


def test_an_error_that_comes_twice_is_told_as_the_last() -> None:
    response = '{"error":{"code":1},"error":{"code":2}}'
    told = to_anthropic(exact.parse(geminis("{}", response)), "claude-sonnet-4-5", stream=False)
    assert told["messages"][-1]["content"][0]["content"] == '{"code":2}'


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"n": 36893488147419103232, "m": "cut', '{"n": 36893488147419103232}'),
        ('{"n": 1e400, "a": [-0.0, 1.0', '{"n": 1e400, "a": [-0.0, 1.0]}'),
        ('{"a": 1, "a": 2', '{"a": 1, "a": 2}'),
        ('{"a": 1, "x": NaN, "b": 2', '{"a":1}'),
        ('{"a": 1, "x": [2, -Infinity', '{"a": 1, "x": [2]}'),
    ],
)
def test_of_a_cut_input_the_numbers_are_what_was_written(text: str, read: str) -> None:
    assert dump_text(read_beginning(text)).replace(" ", "") == read.replace(" ", "")


@steady
@given(st.data(), OBJECTS)
def test_a_cut_input_is_always_an_object_in_json(data: st.DataObject, text: str) -> None:
    read = read_beginning(text[: data.draw(st.integers(0, len(text)))])
    assert b"Infinity" not in dump(read) or "Infinity" in text
    assert exact.read_input([dump_text(read)]) == read
    assert isinstance(read, JsonText | dict)


@steady
@given(OBJECTS, VALUES, st.integers(11, 40))
def test_a_long_text_is_read_in_steps_as_it_is_at_once(text: str, more: str, step: int) -> None:
    body = claudes(text, more)
    at_once = dump(exact.parse(body))
    with patch.object(exact, "_STEP_BYTES", step):
        assert dump(exact.parse(body)) == at_once


def test_an_object_with_many_strings_ends_where_it_ends() -> None:
    many = "{" + ",".join(f'"{number}":1.0' for number in range(5000)) + "}"
    assert f'"input":{many}'.encode() in dump(exact.parse(claudes(many)))
    with pytest.raises(ValueError, match="without an end"):
        exact.parse(claudes(many)[:20_000])
