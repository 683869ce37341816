import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import pytest
from antigravity_healing.policy.judging import gate as peek
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.judging.gate import HELD_BYTES, HELD_EVENTS, Gate
from antigravity_healing.policy.settings.schema import Commit
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.http.sse import SSEDecoder, SSEEvent
from antigravity_healing.wire.reading import Kind, Reading
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.protocol import check_anthropic_stream, check_gemini_stream
from tests.support.recorded import Exchange, recorded_params
from tests.support.work import assert_kept
from tests.upstream import (
    HEARTBEAT,
    PING,
    anthropic_end,
    anthropic_error_event,
    anthropic_event,
    anthropic_events,
    anthropic_start,
    gemini_chunk,
    gemini_event,
    gemini_events,
)


@pytest.fixture(autouse=True)
def _no_bug_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that can't read an event lets the rest pass unseen and logs it: here it is to fail the test."""

    def fail(*_: object) -> None:
        raise AssertionError("an event could not be read")

    monkeypatch.setattr(peek.logger, "exception", fail)


steady = settings(deadline=None, derandomize=True)
ANTHROPIC, GEMINI = Anthropic(), Gemini()
DIALECTS: dict[str, Dialect] = {"anthropic": ANTHROPIC, "gemini": GEMINI}


def gate(dialect: Dialect, commit: Commit = "first_content", *, hold: bool = True, **more: Any) -> Gate:
    made = Gate(dialect, commit, grace_s=2.0, wall_s=0.0, **more)
    if not hold:
        made.commit()
    return made


def start_block(index: int = 0, **block: Any) -> bytes:
    return anthropic_event({"type": "content_block_start", "index": index, "content_block": block})


def delta(index: int = 0, **change: Any) -> bytes:
    return anthropic_event({"type": "content_block_delta", "index": index, "delta": change})


def stop_block(index: int = 0) -> bytes:
    return anthropic_event({"type": "content_block_stop", "index": index})


def gemini(*parts: dict[str, Any], finish: str | None = None) -> bytes:
    return gemini_event(gemini_chunk(parts, finish_reason=finish))


TEXT = delta(type="text_delta", text="Hi")
OPEN = start_block(type="text", text="")
EMPTY_ANTHROPIC = b"".join([anthropic_start(), *anthropic_end("end_turn", output_tokens=0)])
EMPTY_GEMINI = gemini({"text": ""}, finish="STOP")
UNAVAILABLE = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    ("held", "content"),
    [
        ([anthropic_start(), start_block(type="text", text="")], TEXT),
        ([anthropic_start(), PING, b": hello\n\n", PING], start_block(type="redacted_thinking", data="x")),
        ([start_block(type="thinking", thinking="", signature="")], delta(type="thinking_delta", thinking="Hm")),
        ([start_block(type="thinking", thinking=""), delta(type="signature_delta", signature="x"), stop_block(),
          start_block(1, type="text", text="")], delta(1, type="text_delta", text="Hi")),
        ([start_block(type="tool_use", id="t", name="f", input={}), delta(type="input_json_delta", partial_json="")],
         stop_block()),
        ([start_block(type="tool_use", id="t", name="f", input={})], delta(type="input_json_delta", partial_json="{")),
        ([], start_block(type="web_search_tool_result", tool_use_id="t", content=[])),
        ([start_block(type="text", text="")], delta(type="never_heard_of")),
    ],
)  # fmt: skip
def test_all_is_held_until_the_first_content_and_then_sent_as_it_was(held: list[bytes], content: bytes) -> None:
    tested = gate(ANTHROPIC)
    assert [(tested.feed(event), tested.committed) for event in held] == [(b"", False)] * len(held)
    assert tested.feed(content) == b"".join(held) + content
    assert tested.committed
    assert tested.content
    more = start_block(9, type="text", text="Hi")
    assert tested.feed(more) == more


@pytest.mark.parametrize(
    ("held", "content"),
    [
        ([gemini({"text": ""}), HEARTBEAT, gemini({"text": "", "thoughtSignature": "x"})], gemini({"text": "Hi"})),
        ([gemini_event({"usageMetadata": {"promptTokenCount": 1}})], gemini({"text": "Hm", "thought": True})),
        ([gemini()], gemini({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "x"})),
        ([], gemini({"inlineData": {"mimeType": "image/png", "data": "x"}})),
        ([], gemini({"neverHeardOf": {}}, finish="STOP")),
    ],
)
def test_the_same_for_gemini(held: list[bytes], content: bytes) -> None:
    tested = gate(GEMINI)
    assert [tested.feed(event) for event in held] == [b""] * len(held)
    assert tested.feed(content) == b"".join(held) + content
    assert tested.committed


@pytest.mark.parametrize("commit", ["first_content", "first_visible", "first_event"])
def test_what_commit_waits_for(commit: Commit) -> None:
    stages = [anthropic_start(), start_block(type="thinking", thinking="")]
    stages += [delta(type="thinking_delta", thinking="Hm"), stop_block(), start_block(1, type="text", text="")]
    stages += [delta(1, type="text_delta", text="Hi")]
    commits_at = {"first_event": 0, "first_content": 2, "first_visible": 5}[commit]
    tested = gate(ANTHROPIC, commit)
    for at, event in enumerate(stages):
        out = tested.feed(event)
        assert out == (b"" if at < commits_at else b"".join(stages[: at + 1]) if at == commits_at else event)


def test_first_visible_holds_thinking_to_its_end_and_lets_it_through_where_that_says_why() -> None:
    thinking = [anthropic_start(), start_block(type="thinking", thinking="Hm"), stop_block()]
    stream = b"".join([*thinking, *anthropic_end("max_tokens")])
    tested = gate(ANTHROPIC, "first_visible")
    assert tested.feed(stream) == b""
    assert tested.end_stream() == stream
    assert tested.failure is None
    tested = gate(ANTHROPIC, "first_visible")
    assert tested.feed(b"".join([*thinking, *anthropic_end("end_turn")])) + tested.end_stream() == b""
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.EMPTY


def test_a_heartbeat_is_no_first_event() -> None:
    tested = gate(ANTHROPIC, "first_event")
    assert tested.feed(PING + b": x\n\n") == b""
    assert not tested.committed


@pytest.mark.parametrize(
    ("dialect", "meta"),
    [("anthropic", anthropic_event({"type": "message_delta", "delta": {}})), ("gemini", gemini({"text": ""}))],
)
def test_holding_is_bounded_by_events(dialect: str, meta: bytes) -> None:
    tested = gate(DIALECTS[dialect])
    out = [tested.feed(meta) for _ in range(HELD_EVENTS)]
    assert out[:-1] == [b""] * (HELD_EVENTS - 1)
    assert out[-1] == meta * HELD_EVENTS
    assert tested.committed
    assert not tested.content


@pytest.mark.parametrize(("dialect", "heartbeat"), [("anthropic", PING), ("gemini", HEARTBEAT)])
def test_heartbeats_alone_never_become_an_answer(dialect: str, heartbeat: bytes) -> None:
    tested = gate(DIALECTS[dialect])
    assert [tested.feed(heartbeat) for _ in range(4 * HELD_EVENTS)] == [b""] * (4 * HELD_EVENTS)
    assert not tested.committed


def test_holding_is_bounded_by_bytes() -> None:
    tested = gate(ANTHROPIC)
    ping = b": " + b"x" * (HELD_BYTES // 4) + b"\n\n"
    assert [tested.feed(ping) for _ in range(3)] == [b"", b"", b""]
    assert tested.feed(ping) == ping * 4


@pytest.mark.covering(1)
@pytest.mark.parametrize("line", [b"x", b"data: x\n", b"data\r\n", b": x\n", b"x\r"])
@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("hold", [True, False])
def test_an_event_without_an_end_is_not_kept_for_ever(line: bytes, size: int, hold: bool) -> None:
    longest = 10_000
    stream = b"data: " + line * longest
    pieces = [stream[at : at + size] for at in range(0, longest // size * size, size)]
    tested = gate(ANTHROPIC)

    def begin() -> Callable[[], object]:
        nonlocal tested
        tested = gate(ANTHROPIC, hold=hold, longest_event=longest)

        def feed() -> None:
            for piece in pieces:
                assert tested.feed(piece) == b""

        return feed

    assert_kept(begin, kept=1.5 * longest, peak=1.5 * longest)
    early = tested.failure
    assert early is None
    assert tested.unsent() == stream[: longest // size * size]
    tested.feed(stream[longest : longest + size])
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.MALFORMED


@pytest.mark.parametrize("stop", ["refusal", "max_tokens", "pause_turn", "model_context_window_exceeded"])
def test_a_meaningful_end_without_content_is_delivered(stop: str) -> None:
    stream = b"".join([anthropic_start(), *anthropic_end(stop)])
    tested = gate(ANTHROPIC)
    assert tested.feed(stream) + tested.end_stream() == stream
    assert tested.failure is None
    assert tested.complete


@pytest.mark.parametrize("finish", ["SAFETY", "MAX_TOKENS", "RECITATION", "CONTINUATION", "PROHIBITED_CONTENT"])
def test_a_meaningful_end_without_content_is_delivered_for_gemini(finish: str) -> None:
    stream = gemini(finish=finish)
    tested = gate(GEMINI)
    assert tested.feed(stream) + tested.end_stream() == stream
    assert tested.failure is None


def test_a_blocked_prompt_is_delivered() -> None:
    stream = gemini_event({"promptFeedback": {"blockReason": "SAFETY"}})
    tested = gate(GEMINI)
    assert tested.feed(stream) + tested.end_stream() == stream
    assert tested.failure is None


@pytest.mark.parametrize(
    ("dialect", "stream", "kind"),
    [
        ("anthropic", EMPTY_ANTHROPIC, FailureClass.EMPTY),
        ("anthropic", anthropic_start() + PING + b"".join(anthropic_end("tool_use")), FailureClass.MALFORMED),
        ("gemini", EMPTY_GEMINI, FailureClass.EMPTY),
        ("gemini", gemini(finish="MALFORMED_FUNCTION_CALL"), FailureClass.MALFORMED),
        ("gemini", gemini(finish="UNEXPECTED_TOOL_CALL"), FailureClass.MALFORMED),
        ("gemini", gemini(finish="MISSING_THOUGHT_SIGNATURE"), FailureClass.SIGNATURE),
    ],
)
def test_an_answer_of_0_tokens_is_a_failure_and_can_be_delivered_when_no_try_is_left(
    dialect: Literal["anthropic", "gemini"], stream: bytes, kind: FailureClass
) -> None:
    tested = gate(DIALECTS[dialect])
    assert tested.feed(stream) + tested.end_stream() == b""
    assert tested.failure is not None
    assert tested.failure.kind is kind
    assert not tested.committed
    assert tested.deliver_anyway() == stream
    assert tested.failure is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("beats", [0, 3])
def test_an_end_before_anything_was_said_is_empty(dialect: str, beats: int) -> None:
    tested = gate(DIALECTS[dialect])
    tested.feed(b": x\r\n\r\n" * beats)
    assert tested.end_stream() == b""
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.EMPTY
    assert tested.failure.detail.startswith("Stream ended immediately")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_connection_that_breaks_before_anything_was_said_says_nothing_of_the_conversation(dialect: str) -> None:
    tested = gate(DIALECTS[dialect])
    tested.feed(b": x\r\n\r\n")
    assert tested.end_stream("connection reset") == b""
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.CUT
    assert tested.failure.detail == "Stream ended immediately: connection reset"


@pytest.mark.parametrize("broken", ["", "connection reset"])
def test_an_end_after_something_was_said_is_a_cut(broken: str) -> None:
    tested = gate(ANTHROPIC)
    tested.feed(anthropic_start())
    assert tested.end_stream(broken) == b""
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.CUT
    assert tested.failure.detail.startswith("Stream ended during peek")
    assert broken in tested.failure.detail


def test_a_cut_after_commit_is_told_in_the_dialect() -> None:
    tested = gate(ANTHROPIC)
    body = tested.feed(b"".join(anthropic_events("Hello there", pieces=2))[:-150]) + tested.end_stream(
        "connection reset"
    )
    # The connection is broken behind this, which says it.
    assert body == b"".join(anthropic_events("Hello there", pieces=2))[: len(body)]
    assert check_anthropic_stream(body, allow_cut=True).ended == "cut"
    assert tested.failure is not None
    tested = gate(GEMINI)
    answer = check_gemini_stream(tested.feed(gemini({"text": "Hi"})) + tested.end_stream())
    assert (answer.text, answer.ended) == ("Hi", "error")


def test_a_missing_end_marker_is_added_only_behind_a_stop_reason() -> None:
    *before, _ = anthropic_events("Hello")
    tested = gate(ANTHROPIC)
    body = tested.feed(b"".join(before)) + tested.end_stream()
    assert body == b"".join(before) + ANTHROPIC.end_marker
    assert check_anthropic_stream(body).ended == "complete"


def test_nothing_follows_the_end() -> None:
    stream = b"".join(anthropic_events("Hello"))
    tested = gate(ANTHROPIC)
    assert tested.feed(stream + TEXT) + tested.feed(TEXT) + tested.end_stream() == stream
    assert tested.failure is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_last_event_without_its_blank_line_is_kept_whole(dialect: Literal["anthropic", "gemini"]) -> None:
    events = anthropic_events("Hello") if dialect == "anthropic" else gemini_events("Hello")
    stream = b"".join(events)
    tested = gate(DIALECTS[dialect])
    body = tested.feed(stream.rstrip(b"\r\n")) + tested.end_stream()
    assert body == stream
    assert tested.failure is None


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_cut_anywhere_is_complete_or_an_error(dialect: str, hold: bool) -> None:
    anthropic = dialect == "anthropic"
    stream = b"".join(anthropic_events("Hé") if anthropic else gemini_events("Hé"))
    for at in range(len(stream)):
        tested = gate(DIALECTS[dialect], hold=hold)
        body = tested.feed(stream[:at]) + tested.end_stream("connection reset")
        if not tested.committed:
            assert body == b""
            assert tested.failure is not None
            continue
        report = check_anthropic_stream(body, allow_cut=True) if anthropic else check_gemini_stream(body)
        failed = "cut" if anthropic else "error"
        assert report.ended == ("complete" if tested.failure is None else failed), stream[:at]
        assert report.text in ("", "H", "Hé")


@pytest.mark.parametrize("length", [3, 10, 30])
def test_a_piece_of_an_event_is_never_passed_on(length: int) -> None:
    first = gemini({"text": "Hi"})
    tested = gate(GEMINI)
    body = tested.feed(first + gemini({"text": "there"})[:length]) + tested.end_stream()
    assert body.startswith(first + b"{")
    assert check_gemini_stream(body).text == "Hi"


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (anthropic_error_event("overloaded_error", "Overloaded"), FailureClass.OVERLOADED),
        (anthropic_error_event("rate_limit_error", "Slow"), FailureClass.RATE_LIMITED),
        (anthropic_error_event("api_error", "Oops"), FailureClass.TRANSIENT),
        (anthropic_error_event("invalid_request_error", "Too long"), FailureClass.CALLER),
    ],
)
def test_an_error_in_the_stream_is_held_back_or_passed_on_as_it_came(
    data: bytes, kind: FailureClass, committed: bool
) -> None:
    tested = gate(ANTHROPIC)
    tested.feed(anthropic_start() + (start_block(type="text", text="Hi") if committed else b""))
    assert tested.feed(data + TEXT) == (data if committed else b"")
    assert tested.failure is not None
    assert tested.failure.kind is kind
    assert tested.relayed_error == json.loads(data.partition(b"data: ")[2])
    assert tested.end_stream() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"data: " + json.dumps(UNAVAILABLE).encode() + b"\r\n\r\n",
        json.dumps(UNAVAILABLE, indent=2).replace("\n", "\r\n").encode(),
        json.dumps([UNAVAILABLE], indent=2).encode() + b"\n",
    ],
)
def test_a_late_error_reaches_google_sdks_in_the_form_that_they_raise(data: bytes) -> None:
    tested = gate(GEMINI)
    body = tested.feed(gemini({"text": "Hi"}) + data) + tested.end_stream()
    report = check_gemini_stream(body)
    assert (report.text, report.error) == ("Hi", UNAVAILABLE["error"])
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.OVERLOADED


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"data: {oops\n\n", b"<html>\n<p>502</p>\n\n</html>", b"upstream error"])
def test_what_is_not_json_is_malformed(dialect: str, body: bytes) -> None:
    tested = gate(DIALECTS[dialect])
    assert tested.feed(body) + tested.end_stream() == b""
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.MALFORMED


def test_silence_after_all_was_said_is_an_end_and_before_it_a_failure() -> None:
    stalled = Failure(FailureClass.STALLED, "silence", 504)
    *before, _ = anthropic_events("Hello")
    tested = gate(ANTHROPIC)
    assert tested.feed(b"".join(before)) + tested.stop_short(stalled) == b"".join(before) + ANTHROPIC.end_marker
    assert tested.failure is None
    tested = gate(ANTHROPIC)
    tested.feed(anthropic_start())
    assert tested.stop_short(stalled) == b""
    assert tested.failure is stalled


@pytest.mark.parametrize("recorded", recorded_params(lambda exchange: exchange.is_stream))
@pytest.mark.parametrize("size", [1, 50, 100_000])
@pytest.mark.parametrize("hold", [True, False])
def test_a_recorded_stream_goes_through_unchanged(recorded: Exchange, size: int, hold: bool) -> None:
    tested = gate(DIALECTS[recorded.dialect], hold=hold)
    body = recorded.response_body
    out = b"".join(tested.feed(body[at : at + size]) for at in range(0, len(body), size)) + tested.end_stream()
    assert out == body
    assert tested.failure is None


anthropic_pool = st.sampled_from(
    [PING, anthropic_start(), start_block(type="text", text=""), TEXT, start_block(1, type="thinking", thinking=""),
     start_block(1, type="text", text="Hi"), stop_block(1), OPEN + TEXT,
     delta(type="thinking_delta", thinking="Hm"), delta(type="signature_delta", signature="x"), stop_block(),
     b": c\n\n", start_block(type="tool_use", id="t", name="f", input={}), b"event: x\r\ndata:{}\r\n\r\n", b"\n",
     *anthropic_end()]
)  # fmt: skip
gemini_pool = st.sampled_from(
    [HEARTBEAT, gemini({"text": "Hi é"}), gemini({"text": ""}), gemini({"text": "Hm", "thought": True}), b": c\r\n\r\n",
     gemini({"functionCall": {"name": "f"}}), gemini(finish="STOP"), b"event: x\ndata:{}\n\n", b"data: {}\n\n",
     gemini_event({"usageMetadata": {}}), b"data: [DONE]\n\n"]
)  # fmt: skip


def cleaned(dialect: Dialect, stream: bytes) -> bytes:
    """The whole stream as its dialect's clients bear it, up to its end: what the gate must come to in pieces."""
    decoder, reader, out = SSEDecoder(), dialect.reader(), b""
    for event in decoder.decode(stream) + decoder.flush():
        if reader.closed:
            break
        if not event.complete and not event.data and not event.stray:
            continue  # a piece that says nothing
        reading = reader.read(event)
        assert reading.kind is not Kind.ERROR
        if reading.kind is Kind.MALFORMED:
            break
        out += dialect.clean(event, reading)
    return out


@settings(steady, max_examples=examples(250))
@given(
    st.tuples(st.just("anthropic"), st.lists(anthropic_pool, max_size=12))
    | st.tuples(st.just("gemini"), st.lists(gemini_pool, max_size=12)),
    st.lists(st.integers(0, 3000), max_size=8),
    st.sampled_from(["first_content", "first_visible", "first_event", "end"]),
    st.booleans(),
)
def test_what_is_let_through_and_what_is_held_are_the_stream(
    stream: tuple[str, list[bytes]], cuts: list[int], commit: Commit, hold: bool
) -> None:
    dialect, body = DIALECTS[stream[0]], b"".join(stream[1])
    tested = gate(dialect, commit, hold=hold)
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    out = b""
    for start, end in pairwise(edges):
        released = tested.feed(body[start:end])
        assert tested.committed or not released
        out += released
        if tested.failure is not None:
            break  # what still comes of a failed attempt is not looked at
    held_before_end = tested.failure is not None
    last = tested.end_stream()
    expected = cleaned(dialect, body)
    if tested.failure is None:
        assert (out + last).removesuffix(dialect.end_marker) == expected.removesuffix(dialect.end_marker)
    elif tested.committed:
        told = dialect.cut_off(tested.failure.status, f"{tested.failure.detail}.")
        assert out + last == expected + told
    else:
        assert out + last == b""
        if not held_before_end:
            assert tested.commit() == expected


@pytest.mark.parametrize("bug_at", [0, 2, 5])
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_bug_of_ours_costs_the_client_nothing(bug_at: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[object] = []
    monkeypatch.setattr(peek.logger, "exception", lambda *words: logged.append(words))
    tested = gate(ANTHROPIC)
    read, count = tested._reader.read, 0

    def failing(event: SSEEvent) -> Reading:
        nonlocal count
        count += 1
        if count > bug_at:
            raise RuntimeError("a bug")
        return read(event)

    monkeypatch.setattr(tested._reader, "read", failing)
    body = b"".join(anthropic_events("Hello there", pieces=4))
    out = b"".join(tested.feed(body[at : at + size]) for at in range(0, len(body), size)) + tested.end_stream()
    assert out == body
    assert tested.failure is None
    assert len(logged) == 1


def test_what_is_held_is_bounded_by_what_came_and_not_by_what_a_client_gets_of_it() -> None:
    # A comment is a blank line to a Gemini client, however long it is.
    comment = b": " + b"x" * (HELD_BYTES // 4) + b"\r\n\r\n"
    tested = gate(GEMINI)
    assert [tested.feed(comment) for _ in range(3)] == [b""] * 3
    assert tested.feed(comment) == b"\r\n\r\n" * 4
    assert tested.unsent() == b""


def test_what_is_too_long_is_not_asked_for_again() -> None:
    tested = gate(ANTHROPIC, longest_event=1000)
    tested.feed(b"data: " + b"x" * 2000)
    assert tested.failure is not None
    assert not tested.failure.again


CHUNKS = [gemini_chunk([{"text": "Hm", "thought": True}]), gemini_chunk([{"text": 'a "}],\\n[{'}]),
          gemini_chunk([], finish_reason="STOP"), {"usageMetadata": {"promptTokenCount": 3}}]  # fmt: skip
EVENTS = b"".join(map(gemini_event, CHUNKS))
ARRAY = b"[" + b"\n,\r\n".join(json.dumps(each, indent=2).encode() for each in CHUNKS) + b"\n]\n"


@steady
@given(st.sampled_from([(EVENTS, False), (ARRAY, True)]), st.booleans(), st.lists(st.integers(0, 3000), max_size=8))
def test_a_stream_is_let_through_in_the_form_that_its_client_wants_however_it_is_cut(
    came: tuple[bytes, bool], array: bool, cuts: list[int]
) -> None:
    body, from_array = came
    tested = gate(GEMINI, array=array)
    if from_array:
        tested.take_array()
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    out = b"".join(tested.feed(body[start:end]) for start, end in pairwise(edges)) + tested.end_stream()
    assert tested.failure is None
    if from_array == array:
        assert out == body
    elif array:
        assert json.loads(out) == CHUNKS
    else:
        report = check_gemini_stream(out)
        assert (report.events, report.ended) == (CHUNKS, "complete")


@pytest.mark.parametrize("array", [True, False])
def test_of_an_array_nothing_is_let_through_before_content_and_a_cut_leaves_it_open(array: bool) -> None:
    tested = gate(GEMINI, array=array)
    tested.take_array()
    first, second = json.dumps({"usageMetadata": {}}).encode(), json.dumps(CHUNKS[1]).encode()
    assert tested.feed(b"[" + first + b"\n,\n" + second[:-1]) == b""
    out = tested.feed(second[-1:] + b"\n,")
    told = tested.end_stream("reset")
    assert tested.failure is not None
    assert tested.failure.kind is FailureClass.CUT
    if array:
        assert out == b"[" + first + b"\n,\n" + second
        assert list(json.loads(out + told + b"]")[-1]) == ["error"]
    else:
        assert told == GEMINI.cut_off(502, f"{tested.failure.detail}.")


@pytest.mark.parametrize(("length", "again"), [(900, None), (1010, False)])
def test_an_element_that_is_too_long_is_a_failure_that_is_not_tried_again(length: int, again: bool | None) -> None:
    tested = gate(GEMINI, longest_event=1000)
    tested.take_array()
    tested.feed(b'[{"a": "' + b"x" * length)
    assert (tested.failure.again if tested.failure else None) is again
