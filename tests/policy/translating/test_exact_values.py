"""A call's input reaches the client as the text that the model wrote, in each way that an answer can take."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

import pytest
from antigravity_healing.policy.judging.gate import Gate
from antigravity_healing.policy.judging.written import Framing, Rewriting
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.translate.common import AnswerTranslator, anthropic_tool_names, gemini_tool_names
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.json_texts import CASES, OBJECTS, claude_call, gemini_call

"""In each of the five ways, so that there are a million."""


def pieces_of(text: str, places: Sequence[int] = ()) -> list[str]:
    """The text, parted at these places."""
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(bounds)]


def translator_for(client: str) -> AnswerTranslator:
    if client == "anthropic":
        return AnthropicAnswer(names=gemini_tool_names(), model="gemini-3-pro", seed="seed")
    return GeminiAnswer(names=anthropic_tool_names(), model="claude-sonnet-4-5", seed="seed")


def given_to(client: str, upstream: str, body: bytes, *, whole: bool) -> bytes:
    """What a client gets of upstream's stream."""
    dialect = DIALECTS[client]
    translator = translator_for(client) if client != upstream else None
    rewrites = whole or translator is not None
    writer = Rewriting(dialect, translator, whole=whole, framing=Framing(dialect)) if rewrites else None
    gate = Gate(DIALECTS[upstream], "first_content", grace_s=2.0, wall_s=0.0, writer=writer)
    out = gate.feed(body) + gate.end_stream()
    assert gate.failure is None
    if not whole:
        return out
    assert writer is not None
    assert writer.answer is not None
    return dump(writer.answer)


def inputs_said(stream: bytes) -> str:
    """The pieces of a call's input, joined."""
    events = [json.loads(event.data) for event in SSEDecoder().decode(stream) if event.data]
    return "".join(event["delta"]["partial_json"] for event in events if "partial_json" in event.get("delta", {}))


def passed(text: str, places: Sequence[int]) -> bool:
    stream = claude_call(pieces_of(text, places))
    return given_to("anthropic", "anthropic", stream, whole=False) == stream


def collected(text: str, places: Sequence[int]) -> bool:
    own = given_to("anthropic", "anthropic", claude_call(pieces_of(text, places)), whole=True)
    geminis_own = given_to("gemini", "gemini", gemini_call(text), whole=True)
    return f'"input":{text}'.encode() in own and f'"args":{text}'.encode() in geminis_own


def to_anthropic_stream(text: str, places: Sequence[int]) -> bool:
    return inputs_said(given_to("anthropic", "gemini", gemini_call(text), whole=False)) == text


def to_anthropic_whole(text: str, places: Sequence[int]) -> bool:
    return f'"input":{text}'.encode() in given_to("anthropic", "gemini", gemini_call(text), whole=True)


def to_gemini(text: str, places: Sequence[int]) -> bool:
    stream = claude_call(pieces_of(text, places))
    told = [given_to("gemini", "anthropic", stream, whole=whole) for whole in (False, True)]
    return all(f'"args":{text}'.encode() in each for each in told)


type Way = Callable[[str, Sequence[int]], bool]
WAYS: dict[str, Way] = {
    "passed": passed,
    "collected": collected,
    "Gemini to Anthropic, streamed": to_anthropic_stream,
    "Gemini to Anthropic, whole": to_anthropic_whole,
    "Anthropic to Gemini": to_gemini,
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@each_way
@pytest.mark.parametrize("text", CASES)
def test_a_small_input_arrives_as_it_was_written(way: Way, text: str) -> None:
    assert way(text, (3, 9))


@each_way
@settings(max_examples=examples(60), deadline=None)
@given(text=OBJECTS, places=st.lists(st.integers(0, 200), max_size=5))
def test_any_input_arrives_as_it_was_written(way: Way, text: str, places: list[int]) -> None:
    assert way(text, places)


def many_numbers(count: int) -> str:
    """An object with so many integers and floats, of all sizes."""
    random = Random(7)
    made = []
    for _ in range(count // 2):
        made.append(str(random.getrandbits(random.randrange(1, 200)) * random.choice((1, -1))))
        whole, fraction = random.getrandbits(random.randrange(1, 80)), random.getrandbits(random.randrange(1, 60))
        made.append(f"{whole}.{fraction:012}" + random.choice(("", "", f"e{random.randrange(-400, 400)}", "E+7")))
    return f'{{"numbers": [{", ".join(made)}]}}'


@pytest.fixture(scope="module", params=[40_000, pytest.param(200_000, marks=pytest.mark.long)])
def many(request: pytest.FixtureRequest) -> str:
    """Those of one way."""
    return many_numbers(request.param)


@each_way
def test_a_million_numbers_arrive_as_they_were_written(way: Way, many: str) -> None:
    assert way(many, range(0, len(many), 10_000))


@pytest.mark.parametrize("text", ['{"x": NaN}', '{"x": [-Infinity]}', '{"x": 1', "[1.0]"])
@pytest.mark.parametrize("client", ["anthropic", "gemini"])
def test_what_is_no_object_in_json_is_no_input(client: str, text: str) -> None:
    dialect = DIALECTS[client]
    translator = translator_for(client) if client != "anthropic" else None
    writer = Rewriting(dialect, translator, whole=True, framing=Framing(dialect))
    gate = Gate(DIALECTS["anthropic"], "first_content", grace_s=2.0, wall_s=0.0, writer=writer)
    gate.feed(claude_call([text]))
    gate.end_stream()
    said = gate.failure.detail if gate.failure is not None else writer.flaw
    assert gate.failure is not None or writer.answer is None
    assert "no JSON object" in said
    assert "look" in said


def test_arguments_that_are_no_json_are_malformed() -> None:
    gate = Gate(DIALECTS["gemini"], "first_content", grace_s=2.0, wall_s=0.0)
    gate.feed(gemini_call('{"x": NaN}'))
    assert gate.failure is not None
    assert gate.failure.detail == "Stream error during peek: data that is not JSON"


@settings(max_examples=examples(60), deadline=None)
@given(OBJECTS)
def test_a_whole_answer_says_the_same_as_its_stream(text: str) -> None:
    message = f'{{"id":"msg_1","content":[{{"type":"tool_use","id":"toolu_1","name":"look","input":{text}}}]}}'
    events = DIALECTS["anthropic"].events_of(exact.parse(message.encode()))
    said = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert said == [text]
