"""When an answer is over, and what it is worth: judged at its end, whatever its labels and its packets say."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.streaming import OwnLanes, ask, reply_of, seen, stream_for
from tests.support.protocol import check_anthropic_json, check_anthropic_stream, check_gemini_json
from tests.support.raw import RawResponse
from tests.upstream import (
    HEARTBEAT,
    PING,
    Reply,
    anthropic_error_event,
    anthropic_event,
    anthropic_events,
    anthropic_json,
    gemini_chunk,
    gemini_error_event,
    gemini_event,
    gemini_events,
    gemini_json,
)
from tests.upstream.anthropic import anthropic_end, anthropic_start
from tests.upstream.replies import End

only_anthropic = pytest.mark.parametrize("lane", ["anthropic"], indirect=True)
only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)
EVENTS, JSON = {"content-type": "text/event-stream"}, {"content-type": "application/json"}


def gemini(*parts: dict[str, Any], stop: str | None = None, **more: Any) -> bytes:
    return gemini_event(gemini_chunk(parts, finish_reason=stop) | more)


def block(index: int, **fields: Any) -> bytes:
    return anthropic_event({"type": "content_block_start", "index": index, "content_block": fields})


def grow(index: int, **fields: Any) -> bytes:
    return anthropic_event({"type": "content_block_delta", "index": index, "delta": fields})


def close(index: int) -> bytes:
    return anthropic_event({"type": "content_block_stop", "index": index})


def whole_of(lane: Lane, response: RawResponse) -> str:
    report = (check_anthropic_json if lane.dialect == "anthropic" else check_gemini_json)(response.body)
    return report.text


def wait_for_line(lane: Lane, response: RawResponse, text: str) -> None:
    """The exchange's id, which its client has, leads to a line of the log that says this."""
    found = f"[{response.header('x-healing-id')}]"
    lane.proxy.wait_for(lambda: any(found in line and text in line for line in lane.proxy.lines), f"{found} … {text}")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLanes]:
    """Lanes whose clocks are short, and some that hold to the end."""
    folder: Path = tmp_path_factory.mktemp("verdicts")
    settings = "[peek]\nidle = 3.0\nprogress = 1.5\n"
    for route, commit in (("end", "end"), ("visible", "first_visible")):
        settings += f'[models."*-{route}"]\npeek = {{ commit = "{commit}" }}\n'
    settings += '[models."*-soft"]\npeek = { commit = "end", soft_commit = 0.3, keep_alive = 0.2 }\n'
    with OwnLanes(folder, settings) as lanes:
        yield lanes


# A stop is a claim.

CODE = gemini({"executableCode": {"code": "print(1)", "language": "PYTHON"}}, stop="STOP")
RESULT = gemini({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}})
END = gemini({"text": "It is 1."}, stop="STOP")


@only_gemini
@pytest.mark.parametrize("end", ["normal", "cut", "reset"])
@pytest.mark.parametrize("begun", [b"", RESULT[:60]])
def test_what_stops_in_the_middle_of_its_code_and_goes_no_further_is_cut(lane: Lane, end: End, begun: bytes) -> None:
    lane.upstream.play(reply_of(lane, [CODE, begun]).but(end=end))
    response = ask(lane)
    assert seen("gemini", response.body, allow_cut=True).ended == "error"
    assert response.ended != "complete"
    lane.upstream.play(reply_of(lane, [CODE, begun]).but(end=end), stream_for(lane))
    assert whole_of(lane, ask(lane, stream=False)) == "Hello"
    assert len(lane.calls) == 3


@only_gemini
def test_what_stops_in_the_middle_and_goes_on_is_one_answer(lane: Lane) -> None:
    reply = reply_of(lane, [CODE, RESULT, END]).but(gap=0.05)
    lane.upstream.play(reply, reply)
    assert ask(lane).body == reply.whole
    assert ask(lane, stream=False).header("x-healing-outcome") == "clean"
    assert len(lane.calls) == 2


@only_gemini
@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_an_empty_stop_in_front_is_no_answer_of_0_tokens(lane: Lane, gap: float) -> None:
    reply = reply_of(lane, [gemini(stop="STOP"), *gemini_events("Hello")]).but(gap=gap)
    lane.upstream.play(reply)
    assert ask(lane).body == reply.whole
    assert len(lane.calls) == 1


@only_anthropic
@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_connection_that_breaks_after_the_stop_is_an_end_only_if_nothing_is_open(lane: Lane, end: End) -> None:
    *before, stopped, _ = anthropic_events("Hello")
    lane.upstream.play(reply_of(lane, [*before, stopped]).but(end=end))
    assert seen("anthropic", ask(lane).body).ended == "complete"
    left_open = [each for each in before if b"content_block_stop" not in each]
    lane.upstream.play(reply_of(lane, [*left_open, stopped]).but(end=end))
    assert ask(lane).ended != "complete"


@only_anthropic
def test_a_server_tool_that_was_not_run_to_its_end_is_no_end(lane: Lane) -> None:
    search = [block(0, type="server_tool_use", id="srvtoolu_1", name="web_search", input={}), close(0)]
    stop = anthropic_end("end_turn")[0]
    lane.upstream.play(reply_of(lane, [anthropic_start(), *search, stop]))
    assert ask(lane).ended != "complete"
    found = [block(1, type="web_search_tool_result", tool_use_id="srvtoolu_1", content=[]), close(1)]
    lane.upstream.play(reply_of(lane, [anthropic_start(), *search, *found, stop]))
    assert ask(lane).ended == "complete"


# The event's own stop.


@only_gemini
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("part", "stop"),
    [
        ({"functionCall": {"name": "undeclared", "args": {"a": 1}}}, "UNEXPECTED_TOOL_CALL"),
        ({"text": "call:default_api.Read{"}, "MALFORMED_FUNCTION_CALL"),
    ],
)
def test_a_stop_that_says_the_turn_is_none_counts_beside_a_part(
    lane: Lane, part: dict[str, Any], stop: str, stream: bool
) -> None:
    lane.upstream.play(reply_of(lane, [gemini(part, stop=stop)]), stream_for(lane))
    response = ask(lane, stream=stream)
    assert (seen("gemini", response.body).text if stream else whole_of(lane, response)) == "Hello"
    assert response.header("x-healing-outcome") == "healed"
    assert len(lane.calls) == 2


# Thoughts alone.


def thoughts_of(lane: Lane, stop: str) -> Reply:
    """A stream of nothing but thoughts."""
    if lane.dialect == "gemini":
        return reply_of(lane, [gemini({"text": "hm", "thought": True}), gemini(stop=stop)])
    thinking = [block(0, type="thinking", thinking="", signature=""), grow(0, type="thinking_delta", thinking="hm")]
    return reply_of(lane, [anthropic_start(), *thinking, close(0), *anthropic_end(stop)])


@both_dialects
def test_thoughts_alone_are_no_whole_answer(lane: Lane) -> None:
    for stop in ("STOP", "MALFORMED_FUNCTION_CALL") if lane.dialect == "gemini" else ("end_turn",):
        before = len(lane.calls)
        lane.upstream.play(thoughts_of(lane, stop), stream_for(lane))
        assert whole_of(lane, ask(lane, stream=False)) == "Hello"
        assert len(lane.calls) == before + 2
    json = (
        anthropic_json("").body.replace(b'"content":[]', b'"content":[{"type":"thinking","thinking":"hm"}]')  # type: ignore[union-attr]
        if lane.dialect == "anthropic"
        else gemini_json("hm").body.replace(b'"text"', b'"thought":true,"text"')  # type: ignore[union-attr]
    )
    assert json is not None
    assert b"hm" in json
    lane.upstream.play(Reply(200, JSON, json), stream_for(lane))
    assert whole_of(lane, ask(lane, stream=False)) == "Hello"


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_thoughts_alone_are_tried_again_where_text_is_waited_for(own: OwnLanes, dialect: str) -> None:
    lane = own.lane(dialect, "visible")
    lane.upstream.play(thoughts_of(lane, "STOP" if dialect == "gemini" else "end_turn"), stream_for(lane))
    response = ask(lane)
    assert seen(dialect, response.body).text == "Hello"
    assert len(lane.calls) == 2


@both_dialects
def test_a_stream_that_has_begun_with_its_thoughts_is_passed_on_and_called_failed(lane: Lane) -> None:
    reply = thoughts_of(lane, "STOP" if lane.dialect == "gemini" else "end_turn")
    lane.upstream.play(reply)
    response = ask(lane)
    assert response.body == reply.whole
    wait_for_line(lane, response, "nothing but thoughts")
    # One that a limit has cut off is an answer.
    limited = thoughts_of(lane, "MAX_TOKENS" if lane.dialect == "gemini" else "max_tokens")
    lane.upstream.play(limited)
    assert ask(lane, stream=False).header("x-healing-outcome") == "clean"


# Over is over.


@only_anthropic
@pytest.mark.parametrize("beat", [None, PING])
@pytest.mark.parametrize("stream", [True, False])
def test_after_message_stop_the_answer_is_over_whatever_upstream_does(
    lane: Lane, beat: bytes | None, stream: bool
) -> None:
    reply = reply_of(lane, anthropic_events("Hello")).but(end="stall", heartbeat=beat)
    lane.upstream.play(reply)
    response = ask(lane, stream=stream)
    assert response.ended == "complete"
    assert response.ended_at < 60  # not by the clock of a silent stream
    assert response.header("x-healing-outcome") == "clean"


@both_dialects
@pytest.mark.parametrize("beats", [True, False])
def test_a_stop_without_an_end_of_its_own_is_the_end_a_moment_later(lane: Lane, beats: bool) -> None:
    beat = PING if lane.dialect == "anthropic" else HEARTBEAT
    chunks = anthropic_events("Hello")[:-1] if lane.dialect == "anthropic" else gemini_events("Hello")
    lane.upstream.play(reply_of(lane, chunks).but(end="stall", heartbeat=beat if beats else None))
    response = ask(lane)
    assert (response.ended, seen(lane.dialect, response.body).text) == ("complete", "Hello")


@both_dialects
def test_a_whole_answer_whose_connection_stays_open_is_over_a_moment_later(lane: Lane) -> None:
    made = anthropic_json("Hello") if lane.dialect == "anthropic" else gemini_json("Hello")
    assert made.body is not None
    half = len(made.body) // 2
    lane.upstream.play(Reply(200, JSON, chunks=(made.body[:half], made.body[half:])).but(end="stall"))
    assert whole_of(lane, ask(lane, stream=False)) == "Hello"
    assert len(lane.calls) == 1


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_signs_of_life_alone_are_no_progress(own: OwnLanes, dialect: str) -> None:
    lane = own.lane(dialect)
    chunks = anthropic_events("Hello", pieces=2)[:3] if dialect == "anthropic" else gemini_events("Hello", pieces=2)[:1]
    beat = PING if dialect == "anthropic" else HEARTBEAT
    lane.upstream.play(reply_of(lane, chunks).but(end="stall", heartbeat=beat))
    response = ask(lane)
    assert response.ended != "complete"
    wait_for_line(lane, response, "nothing but signs of life")


# One message is one message.

CALL = [
    block(0, type="tool_use", id="toolu_A", name="run", input={}),
    grow(0, type="input_json_delta", partial_json='{"a":1}'),
    close(0),
]
SPLICED = {
    "a second start": [anthropic_start(), *CALL, *anthropic_events("again")],
    "a block twice": [anthropic_start(), *CALL, *CALL, *anthropic_end("tool_use")],
    "a delta for no block": [anthropic_start(), *CALL, grow(3, type="text_delta", text="x"), *anthropic_end()],
}


@only_anthropic
@pytest.mark.parametrize("how", SPLICED)
def test_two_answers_in_one_are_told_apart(lane: Lane, how: str) -> None:
    lane.upstream.play(reply_of(lane, SPLICED[how]))
    response = ask(lane)
    assert response.ended != "complete"
    assert response.body.startswith(b"".join(SPLICED[how][:3]))
    assert len(check_anthropic_stream(response.body, allow_cut=True).tools) == 1
    lane.upstream.play(reply_of(lane, SPLICED[how]), stream_for(lane))
    assert whole_of(lane, ask(lane, stream=False)) == "Hello"
    assert len(lane.calls) == 3


@only_anthropic
def test_what_follows_the_end_is_another_answer_and_nobodys(lane: Lane) -> None:
    first = b"".join(anthropic_events("Hello"))
    lane.upstream.play(reply_of(lane, [first, *anthropic_events("again")]))
    assert ask(lane).body == first


@only_gemini
def test_content_after_the_stop_of_another_answer_is_told_apart(lane: Lane) -> None:
    first, second = (
        gemini({"text": "Hello"}, stop="STOP", responseId="one"),
        gemini({"text": "again"}, responseId="two"),
    )
    lane.upstream.play(reply_of(lane, [first, second]).but(gap=0.02))
    assert ask(lane).body.startswith(first + b'{"error"')


# Bytes before labels.


@both_dialects
@pytest.mark.parametrize("blank", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_stream_is_one_whatever_its_label_says(lane: Lane, blank: bytes) -> None:
    good = stream_for(lane)
    mislabelled = Reply(200, JSON, chunks=(blank, *good.chunks))
    lane.upstream.play(mislabelled, mislabelled)
    response = ask(lane)
    assert seen(lane.dialect, response.body).text == "Hello"
    assert response.header("content-type") == "text/event-stream"
    assert whole_of(lane, ask(lane, stream=False)) == "Hello"
    assert len(lane.calls) == 2


@both_dialects
@pytest.mark.parametrize("label", [EVENTS, JSON])
def test_a_whole_answer_is_one_whatever_its_label_says(lane: Lane, label: dict[str, str]) -> None:
    body = (anthropic_json("Hello") if lane.dialect == "anthropic" else gemini_json("Hello")).body
    lane.upstream.play(Reply(200, label, body), Reply(200, label, body))
    response = ask(lane)
    assert (response.ended, seen(lane.dialect, response.body).text) == ("complete", "Hello")
    response = ask(lane, stream=False)
    assert (whole_of(lane, response), response.header("content-type")) == ("Hello", "application/json")
    assert len(lane.calls) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what of a connection has arrived")
@only_gemini
def test_a_gemini_client_is_reset_behind_the_error(lane: Lane) -> None:
    lane.upstream.play(stream_for(lane).first(1))
    response = ask(lane)
    assert response.ended == "reset"
    assert seen("gemini", response.body, allow_cut=True).ended == "error"


# The last try, and what is said of it.


@both_dialects
@pytest.mark.parametrize("fault", ["error", "nothing"])
def test_a_client_that_streams_gets_the_status_that_one_that_does_not_gets(lane: Lane, fault: str) -> None:
    if lane.dialect == "anthropic":
        chunks = [anthropic_start(), anthropic_error_event("authentication_error", "No")] if fault == "error" else []
    else:
        chunks = [gemini(), gemini_error_event(401, "UNAUTHENTICATED", "No")] if fault == "error" else []
    replies: Sequence[Reply] = [reply_of(lane, chunks)] * 6
    lane.upstream.play(*replies)
    streamed, whole = ask(lane), ask(lane, stream=False)
    assert streamed.status == whole.status >= 400
    assert streamed.json()["error"].get("type") == whole.json()["error"].get("type")
    assert streamed.header("x-healing-outcome") == whole.header("x-healing-outcome") == "failed"


# Holding to the end.


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
@pytest.mark.parametrize("end", ["cut", "normal"])
def test_a_cut_anywhere_is_healed_unseen_where_the_whole_stream_is_held(own: OwnLanes, dialect: str, end: End) -> None:
    lane = own.lane(dialect, "end")
    good = stream_for(lane, "Hello world")
    pieces = len(good.chunks)
    for at in {1, pieces - 1}:
        before = len(lane.calls)
        lane.upstream.play(good.first(at, end), good)
        response = ask(lane)
        if dialect == "anthropic" and at == pieces - 1:
            assert seen(dialect, response.body).ended == "complete"
            lane.upstream.reset()
            continue
        assert response.body == good.whole
        assert response.header("x-healing-outcome") == "healed"
        assert len(lane.calls) == before + 2


def test_what_is_held_to_the_end_shows_signs_of_life(own: OwnLanes) -> None:
    lane = own.lane("anthropic", "soft")
    good = stream_for(lane, "Hello world")
    lane.upstream.play(good.but(gap=0.25))
    response = ask(lane)
    assert response.header("x-healing-outcome") == "pending"
    assert response.body.startswith(PING)
    assert response.body.replace(PING, b"") == good.whole
