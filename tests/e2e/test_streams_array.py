"""Gemini's stream without `alt=sse`, one JSON array: held, healed and told like one of events, and else as it came."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.streaming import BROKEN, OwnLanes, ask
from tests.upstream import Reply, gemini_error_body, gemini_json, gemini_stream
from tests.upstream.replies import End

SETTINGS = """
max_wait = 2
[models."*-soft"]
peek = { soft_commit = 0.3, keep_alive = 0.1 }
"""
BUSY = gemini_error_body(503, "UNAVAILABLE", "The model is overloaded.")
JSON = {"content-type": "application/json; charset=UTF-8"}


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLanes]:
    folder: Path = tmp_path_factory.mktemp("arrays")
    with OwnLanes(folder, SETTINGS) as own:
        yield own


@pytest.fixture
def lane(lanes: OwnLanes) -> Lane:
    return lanes.lane("gemini")


def array(*elements: Any, closed: bool = True) -> Reply:
    """These as Google writes them."""
    body = b"[" + b"\n,\r\n".join(json.dumps(each, indent=2).encode() for each in elements) + b"\n"
    return Reply(200, JSON, chunks=(body + b"]" * closed,))


def text_of(elements: list[dict[str, Any]]) -> str:
    parts = [part for each in elements for part in each["candidates"][0].get("content", {}).get("parts", [])]
    return "".join(part.get("text", "") for part in parts)


HELLO = gemini_stream("Hello world", pieces=3, sse=False)


@pytest.mark.parametrize("split", [None, 1, 7])
def test_a_healthy_array_passes_byte_for_byte(lane: Lane, split: int | None) -> None:
    lane.upstream.play(HELLO if split is None else HELLO.but(split=split))
    response = ask(lane, sse=False)
    assert (response.status, response.body, response.ended) == (200, HELLO.whole, "complete")
    assert response.header("content-type") == dict(HELLO.headers)["content-type"]
    assert response.header("x-healing-outcome") == "clean"
    assert len(lane.calls) == 1
    assert "alt" not in lane.calls[0].query


FAULTS = {
    "no element": Reply(200, JSON, b"[]"),
    "nothing": Reply(200, JSON, b""),
    "0 tokens": gemini_stream("", sse=False),
    "an overload": array({"error": BUSY["error"]}),
    "an overload behind usage": array({"usageMetadata": {"promptTokenCount": 3}}, {"error": BUSY["error"]}),
    "a cut in its first element": Reply(200, JSON, chunks=[HELLO.whole[:40]], end="cut"),
    "an end in its first element": Reply(200, JSON, chunks=[HELLO.whole[:40]]),
    "no JSON": Reply(200, JSON, b"[oops]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_before_content_is_healed_and_leaves_no_trace(lane: Lane, fault: str) -> None:
    lane.upstream.play(FAULTS[fault], HELLO)
    response = ask(lane, sse=False)
    assert (response.status, response.body, response.ended) == (200, HELLO.whole, "complete")
    assert response.header("x-healing-outcome") == "healed"


def test_when_no_try_is_left_an_error_in_a_200_is_told_with_its_status(lane: Lane) -> None:
    oops = gemini_error_body(500, "INTERNAL", "An internal error has occurred.")
    lane.upstream.play(*[array({"error": oops["error"]})] * 3)
    response = ask(lane, sse=False)
    assert response.status == 500
    assert response.json() == [{"error": oops["error"]}]


def test_a_safety_stop_is_an_answer(lane: Lane) -> None:
    stop = gemini_stream("", finish_reason="SAFETY", sse=False)
    lane.upstream.play(stop)
    assert ask(lane, sse=False).body == stop.whole
    assert len(lane.calls) == 1


@pytest.mark.parametrize("end", ["cut", "normal", "reset"])
def test_a_cut_after_content_is_told_as_an_element_and_breaks_the_connection(lane: Lane, end: End) -> None:
    lane.upstream.play(HELLO.first(2).but(end=end), HELLO)
    response = ask(lane, sse=False)
    assert response.ended in BROKEN
    assert response.body.startswith(HELLO.first(2).whole)
    elements = json.loads(response.body + b"]")
    assert [list(each) for each in elements[2:]] == [["error"]]
    assert len(lane.calls) == 1


def test_upstreams_error_after_content_is_told_and_breaks_the_connection(lane: Lane) -> None:
    first = json.loads(HELLO.first(1).whole + b"]")
    lane.upstream.play(array(*first, {"error": BUSY["error"]}))
    response = ask(lane, sse=False)
    assert response.ended in BROKEN
    *content, last = json.loads(response.body + b"]")
    assert (content, last) == (first, {"error": BUSY["error"]})


def test_what_has_stopped_and_lacks_its_bracket_gets_it(lane: Lane) -> None:
    open_array = Reply(200, JSON, chunks=[HELLO.whole[:-1]])
    lane.upstream.play(open_array)
    response = ask(lane, sse=False)
    assert (response.body, response.ended) == (HELLO.whole, "complete")


def test_a_client_that_waits_long_gets_blanks_within_the_array_and_the_healed_answer(lanes: OwnLanes) -> None:
    lane = lanes.lane("gemini", "soft")
    usage = array({"usageMetadata": {"promptTokenCount": 3}}, closed=False)
    # Its first element comes at once, and a second try after it.
    lane.upstream.play(Reply(200, JSON, chunks=[*usage.chunks, b"\n"], gap=1.0, end="cut"), HELLO)
    response = ask(lane, sse=False)
    assert response.json() == json.loads(HELLO.whole)
    assert response.body.startswith(b"[\r\n")
    assert (response.ended, response.header("x-healing-outcome")) == ("complete", "pending")


def test_a_client_that_waits_long_in_vain_gets_the_error_as_the_only_element(lanes: OwnLanes) -> None:
    lane = lanes.lane("gemini", "soft")
    usage = array({"usageMetadata": {"promptTokenCount": 3}}, closed=False)
    failing = Reply(200, JSON, chunks=[*usage.chunks, b"\n"], gap=1.0, end="cut")
    lane.upstream.play(failing, *[array({"error": BUSY["error"]})] * 9)
    response = ask(lane, sse=False)
    assert (response.status, response.json()) == (200, [{"error": BUSY["error"]}])


def test_events_for_a_client_that_asked_for_an_array_become_one(lane: Lane) -> None:
    lane.upstream.play(gemini_stream("Hello world", pieces=3))
    response = ask(lane, sse=False)
    assert (response.header("content-type") or "").startswith("application/json")
    assert response.json() == json.loads(HELLO.whole)


def test_a_whole_answer_for_a_client_that_asked_for_an_array_becomes_its_only_element(lane: Lane) -> None:
    lane.upstream.play(gemini_json("Hello world"))
    assert ask(lane, sse=False).json() == [json.loads(gemini_json("Hello world").whole)]


def test_an_array_for_a_client_that_asked_for_events_becomes_events(lane: Lane) -> None:
    lane.upstream.play(HELLO)
    response = ask(lane)
    assert (response.header("content-type") or "").startswith("text/event-stream")
    events = [line.removeprefix(b"data: ") for line in response.body.split(b"\r\n\r\n") if line]
    assert [json.loads(event) for event in events] == json.loads(HELLO.whole)


def test_an_array_that_fails_for_a_client_that_asked_for_events_is_healed(lane: Lane) -> None:
    good = gemini_stream("Hello world")
    lane.upstream.play(gemini_stream("", sse=False), good)
    assert ask(lane).body == good.whole


def test_its_tokens_are_counted(lane: Lane) -> None:
    lane.upstream.play(gemini_stream("Hello world", sse=False, prompt_tokens=4321, output_tokens=765))
    ask(lane, sse=False)
    lane.proxy.wait_for_log("4,321 → 765 tokens")
