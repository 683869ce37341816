"""Faults after commit: told in the form that the dialect's SDKs raise, with nothing added and nothing tried again."""

import json
from collections.abc import Mapping

import httpx2
import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.streaming import BROKEN, END_MARKER, SDK_ERRORS, TEXT, ask, ask_sdk, begun, reply_of, seen, stream_for
from tests.upstream import (
    PING,
    Reply,
    anthropic_error_event,
    anthropic_event,
    anthropic_events,
    gemini_chunk,
    gemini_error_body,
    gemini_error_event,
    gemini_error_tail,
    gemini_event,
    gemini_events,
)
from tests.upstream.replies import End

only_anthropic = pytest.mark.parametrize("lane", ["anthropic"], indirect=True)
only_gemini = pytest.mark.parametrize("lane", ["gemini"], indirect=True)


def check_cut_off(lane: Lane, reply: Reply) -> None:
    """The client's connection breaks behind what came before the fault; toward Gemini's behind an error, too."""
    if lane.dialect == "gemini":
        check_told(lane, reply, code=503, status="UNAVAILABLE")
        return
    lane.upstream.play(reply, reply)
    response = ask(lane)
    assert (response.status, response.ended, response.body) == (200, "cut", begun(lane).whole)
    with pytest.raises((httpx2.TransportError, *SDK_ERRORS)):
        ask_sdk(lane)
    assert len(lane.calls) == 2


def check_told(lane: Lane, reply: Reply, **expected: object) -> None:
    """The client, raw and by its SDK, gets what came before the fault and an error; upstream is not asked again."""
    lane.upstream.play(reply, reply)
    response = ask(lane)
    assert response.status == 200
    assert response.ended in (("complete",) if lane.dialect == "anthropic" else BROKEN)
    assert response.body.startswith(begun(lane).whole)
    view = seen(lane.dialect, response.body)
    assert (view.ended, view.text, view.stop) == ("error", TEXT, None)
    assert view.error is not None
    assert {name: view.error[name] for name in expected} == expected
    assert len(lane.calls) == 1
    with pytest.raises(SDK_ERRORS) as raised:
        ask_sdk(lane)
    assert view.error["message"].split(": ")[-1].rstrip(".") in str(raised.value)
    assert len(lane.calls) == 2


def check_healed(lane: Lane, fault: bytes) -> None:
    """The fault, before which only meta came, stays hidden: the next try's stream goes to the client."""
    good = stream_for(lane, TEXT)
    start = anthropic_events()[:2] if lane.dialect == "anthropic" else [gemini_event(gemini_chunk([]))]
    # A refused key instead of an overload: the next try needs no wait.
    at_once = ((b"overloaded_error", b"authentication_error"), (b"503", b"401"), (b"UNAVAILABLE", b"UNAUTHENTICATED"))
    for busy, refused in at_once:
        fault = fault.replace(busy, refused)
    lane.upstream.play(reply_of(lane, [*start, fault]).but(split=7), good)
    response = ask(lane)
    assert (response.status, response.body) == (200, good.whole)
    assert len(lane.calls) == 2


@pytest.mark.parametrize("end", ["normal", "cut", "reset"])
@both_dialects
def test_an_end_without_a_stop_reason_breaks_the_connection(lane: Lane, end: End) -> None:
    check_cut_off(lane, begun(lane).but(end=end))


@both_dialects
def test_a_content_length_that_is_not_kept_breaks_the_connection(lane: Lane) -> None:
    check_cut_off(lane, begun(lane).but(content_length=True, end="cut"))


@pytest.mark.parametrize("end", ["normal", "cut"])
@both_dialects
def test_half_an_event_does_not_reach_the_client(lane: Lane, end: End) -> None:
    whole = anthropic_events("x")[2] if lane.dialect == "anthropic" else gemini_events("x")[0]
    for length in (20, len(whole) - 10):
        reply = begun(lane).inserted(9, whole[:length]).but(end=end)
        lane.upstream.play(reply)
        response = ask(lane)
        assert response.ended in BROKEN
        assert seen(lane.dialect, response.body, allow_cut=True).ended != "complete"
        assert whole[:length] not in response.body.removeprefix(begun(lane).whole)
    assert len(lane.calls) == 2


JUNK = {
    "broken JSON": b"data: {not json\n\n",
    "no JSON": b"data: nonsense\n\n",
    "no object": b"data: [1, 2]\n\n",
    "no SSE": b"<html>502 Bad Gateway</html>\n\n",
    "half a character": b'data: {"type": "\xe4\xb8"}\n\n',
}


@pytest.mark.parametrize("junk", JUNK)
@both_dialects
def test_a_malformed_event_breaks_the_connection_and_does_not_reach_the_client(lane: Lane, junk: str) -> None:
    check_cut_off(lane, begun(lane).inserted(9, JUNK[junk], *begun(lane).chunks[-1:]))


@pytest.mark.parametrize("junk", JUNK)
@both_dialects
def test_a_malformed_event_before_content_is_healed(lane: Lane, junk: str) -> None:
    check_healed(lane, JUNK[junk])


@only_anthropic
def test_anthropics_error_event_goes_on_unchanged(lane: Lane) -> None:
    error = anthropic_error_event()
    reply = begun(lane).inserted(9, error)
    check_told(lane, reply, type="overloaded_error", message="Overloaded")
    lane.upstream.reset()
    lane.upstream.play(reply)
    assert ask(lane).body == begun(lane).whole + error


GOOGLES = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
ANTHROPICS = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
ANTHROPIC_FORMS = {
    "without a name": b"data: " + json.dumps(ANTHROPICS).encode() + b"\n\n",
    "under another name": b"event: message\ndata: " + json.dumps(ANTHROPICS).encode() + b"\n\n",
    "without a type": b'event: error\ndata: {"error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
    "raw": json.dumps(ANTHROPICS, indent=2).encode() + b"\n",
    "raw without a line end": json.dumps(ANTHROPICS).encode(),
    "with CRLF": anthropic_error_event().replace(b"\n", b"\r\n"),
    "without its blank line": anthropic_error_event().rstrip(b"\n"),
}


@pytest.mark.parametrize("form", ANTHROPIC_FORMS)
@only_anthropic
def test_anthropics_error_is_told_whatever_form_it_comes_in(lane: Lane, form: str) -> None:
    check_told(lane, begun(lane).inserted(9, ANTHROPIC_FORMS[form]), type="overloaded_error", message="Overloaded")


@pytest.mark.parametrize("before", [b"event: error\n", b""], ids=["named", "without a name"])
@only_anthropic
def test_googles_error_from_a_gateway_is_told_in_anthropics_form(lane: Lane, before: bytes) -> None:
    event = before + b"data: " + json.dumps(GOOGLES).encode() + b"\n\n"
    check_told(lane, begun(lane).inserted(9, event), message="The model is overloaded.")


TAIL = gemini_error_tail()
GEMINI_FORMS: dict[str, bytes] = {
    "as an event": gemini_error_event(),
    "as an event without its blank line": gemini_error_event().rstrip(b"\r\n"),
    "raw": TAIL,
    "raw without a line end": TAIL.rstrip(b"\n"),
    "raw with a blank line": TAIL + b"\r\n",
    "raw with CRLF": TAIL.replace(b"\n", b"\r\n"),
    "raw in one line": json.dumps(gemini_error_body(503, None, "Busy.")).encode(),
    "raw, as an array": b"[" + TAIL + b"]\n",
    "as an event, as an array": b"data: [" + json.dumps(GOOGLES).encode() + b"]\r\n\r\n",
}


@pytest.mark.parametrize("form", GEMINI_FORMS)
@only_gemini
def test_googles_error_is_told_whatever_form_it_comes_in(lane: Lane, form: str) -> None:
    check_told(lane, begun(lane).inserted(9, GEMINI_FORMS[form]).but(split=7), code=503, status="UNAVAILABLE")


@only_gemini
def test_anthropics_error_from_a_gateway_is_told_in_googles_form(lane: Lane) -> None:
    check_told(lane, begun(lane).inserted(9, gemini_event(ANTHROPICS)), message="Overloaded")


@pytest.mark.parametrize("form", ANTHROPIC_FORMS)
@only_anthropic
def test_anthropics_error_before_content_is_healed_whatever_form_it_comes_in(lane: Lane, form: str) -> None:
    check_healed(lane, ANTHROPIC_FORMS[form])


@pytest.mark.parametrize("form", GEMINI_FORMS)
@only_gemini
def test_googles_error_before_content_is_healed_whatever_form_it_comes_in(lane: Lane, form: str) -> None:
    check_healed(lane, GEMINI_FORMS[form])


@only_gemini
def test_a_candidate_without_its_finish_reason_is_a_cut_whatever_the_others_have(lane: Lane) -> None:
    def both(first: Mapping[str, object], second: Mapping[str, object]) -> bytes:
        candidates = [{"index": 0, **first}, {"index": 1, **second}]
        return gemini_event({**gemini_chunk([]), "candidates": [c for c in candidates if len(c) > 1]})

    said = {"content": {"role": "model", "parts": [{"text": "one"}]}}
    lane.upstream.play(reply_of(lane, [both(said, said), both({"finishReason": "STOP"}, {})]))
    view = seen("gemini", ask(lane).body)
    assert (view.ended, view.text) == ("error", "one")
    assert len(lane.calls) == 1


@pytest.mark.parametrize("end", ["normal", "cut", "reset"])
@only_anthropic
def test_after_the_stop_reason_only_the_bare_end_is_added(lane: Lane, end: End) -> None:
    events = anthropic_events("Hello", stop_reason="stop_sequence")[:-1]
    lane.upstream.play(reply_of(lane, events).but(end=end))
    response = ask(lane)
    assert response.body == b"".join(events) + END_MARKER
    assert response.ended == "complete"
    view = seen("anthropic", response.body)
    assert (view.ended, view.text, view.stop) == ("complete", "Hello", "stop_sequence")
    assert len(lane.calls) == 1


@only_anthropic
def test_a_stop_reason_without_its_blank_line_gets_that_and_the_bare_end(lane: Lane) -> None:
    whole = b"".join(anthropic_events("Hello")[:-1])
    for missing in (1, 2):
        lane.upstream.play(reply_of(lane, [whole[:-missing]]).but(end="cut"))
        assert ask(lane).body == whole + END_MARKER


@only_anthropic
def test_a_meaningful_stop_without_content_that_then_closes_gets_the_bare_end(lane: Lane) -> None:
    events = anthropic_events("", stop_reason="refusal")[:-1]
    lane.upstream.play(reply_of(lane, events).but(end="cut"))
    assert ask(lane).body == b"".join(events) + END_MARKER
    assert len(lane.calls) == 1


@only_anthropic
def test_nothing_reaches_the_client_behind_the_end(lane: Lane) -> None:
    events = anthropic_events("Hello")
    for more in ([PING], [events[2]], [events[-1]], [b": bye\n\n"], [anthropic_error_event()], events):
        for together in (True, False):
            chunks = [b"".join([*events, *more])] if together else [*events, *more]
            lane.upstream.play(reply_of(lane, chunks))
            assert ask(lane).body == b"".join(events)


@only_anthropic
def test_an_error_after_the_stop_reason_is_told(lane: Lane) -> None:
    events = [*anthropic_events("Hello")[:-1], anthropic_error_event()]
    lane.upstream.play(reply_of(lane, events))
    response = ask(lane)
    assert response.body == b"".join(events)
    assert seen("anthropic", response.body).ended == "error"


@pytest.mark.parametrize("end", ["normal", "cut", "reset"])
@only_gemini
def test_after_the_finish_reason_an_end_is_an_end(lane: Lane, end: End) -> None:
    events = gemini_events("Hello")
    usage = gemini_event({"usageMetadata": {"totalTokenCount": 9}, "responseId": "FaultyUpstreamResponse"})
    for chunks in (events, [*events, usage]):
        lane.upstream.play(reply_of(lane, chunks).but(end=end))
        response = ask(lane)
        assert (response.ended, response.body) == ("complete", b"".join(chunks))
    assert len(lane.calls) == 2


@only_anthropic
def test_unknown_events_blocks_and_deltas_go_on_as_they_are(lane: Lane) -> None:
    start = anthropic_events("Hello")[0]
    news = [
        anthropic_event({"type": "future_event", "anything": [1, {"deep": None}]}),
        anthropic_event({"type": "content_block_start", "index": 0, "content_block": {"type": "hologram", "of": 1}}),
        anthropic_event({"type": "content_block_delta", "index": 0, "delta": {"type": "hologram_delta", "beam": "x"}}),
        anthropic_event({"type": "content_block_stop", "index": 0}),
    ]
    chunks = [start, *news, *anthropic_events("")[-2:]]
    lane.upstream.play(reply_of(lane, chunks))
    response = ask(lane)
    assert response.body == b"".join(chunks)
    assert seen("anthropic", response.body).ended == "complete"
    assert len(lane.calls) == 1


@only_gemini
def test_unknown_fields_and_parts_go_on_as_they_are(lane: Lane) -> None:
    chunk = {**gemini_chunk([{"hologram": {"beam": "x"}}], finish_reason="STOP"), "future": [1, {"deep": None}]}
    lane.upstream.play(reply_of(lane, [gemini_event({"future": True}), gemini_event(chunk)]))
    response = ask(lane)
    assert response.body == gemini_event({"future": True}) + gemini_event(chunk)
    assert seen("gemini", response.body).ended == "complete"
    assert len(lane.calls) == 1
