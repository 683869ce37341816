"""Odd streams from upstream: all of them are understood, and none of them is odd any more for the client."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.streaming import ask, ask_sdk, reply_of, seen, seen_broken, stream_for
from tests.upstream import Reply, anthropic_events, anthropic_json, gemini_chunks, gemini_json
from tests.upstream.coding import Encoding

# More than one byte a character, so that a split in the middle of one would show.
TEXT = "Grüße, 世界 🌍!"

type Event = tuple[str, dict[str, Any]]
type Write = Callable[[Sequence[Event]], bytes]


def compact(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def events_of(dialect: str, text: str = TEXT) -> list[Event]:
    """The events of a healthy stream, each with its name ("" in Gemini, which has none) and its data."""
    if dialect == "gemini":
        return [("", chunk) for chunk in gemini_chunks(text, pieces=3)]
    found = []
    for event in anthropic_events(text, pieces=3, pings=1):
        head, _, data = event.decode().partition("\ndata: ")
        found.append((head.removeprefix("event: "), json.loads(data)))
    return found


def lines_of(event: Event) -> list[str]:
    """The lines of an event as its API writes them."""
    name, data = event
    return [*([f"event: {name}"] if name else []), f"data: {compact(data)}"]


def written(
    events: Sequence[Event],
    *,
    eol: str = "\n",
    before: str = "",
    lines: Callable[[Event], list[str]] = lines_of,
    end: str | None = None,
    after: str = "",
) -> bytes:
    """The events as bytes.

    eol: what ends each line. before: put in front of each event. end: what the last event ends with, if not by its
    line end and a blank line. after: put behind everything.
    """
    blocks = [before + eol.join(lines(event)) + eol + eol for event in events]
    if end is not None:
        blocks[-1] = blocks[-1].removesuffix(eol + eol) + end
    return ("".join(blocks) + after).encode()


def pretty(event: Event) -> list[str]:
    name, data = event
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return [*([f"event: {name}"] if name else []), *(f"data: {line}" for line in text.split("\n"))]


def comment_inside(event: Event) -> list[str]:
    first, *rest = lines_of(event)
    return [first, ": in the middle", *rest]


def without_space(event: Event) -> list[str]:
    return [line.replace(": ", ":", 1) for line in lines_of(event)]


def more_fields(event: Event) -> list[str]:
    return ["id: 7", "retry: 3000", *lines_of(event)]


def unnamed(event: Event) -> list[str]:
    return [f"data: {compact(event[1])}"]


def padded(event: Event) -> list[str]:
    *first, data = lines_of(event)
    return [*first, data + "     "]


def named(event: Event) -> list[str]:
    name, data = event
    return [f"event: {name or 'message'}", f"data: {compact(data)}"]


def data_first(event: Event) -> list[str]:
    return list(reversed(named(event)))


FORMS: dict[str, Write] = {
    "comment lines": lambda events: written(events, before=": keep-alive\n\n"),
    "comments inside events": lambda events: written(events, lines=comment_inside),
    "event names": lambda events: written(events, lines=named),
    "no event names": lambda events: written(events, lines=unnamed),
    "data before its event name": lambda events: written(events, lines=data_first),
    "ids and retry times": lambda events: written(events, lines=more_fields),
    "data without space": lambda events: written(events, lines=without_space),
    "padding behind data": lambda events: written(events, lines=padded),
    "a DONE at the end": lambda events: written(events, after="data: [DONE]\n\n"),
    "a lone CRLF before data": lambda events: written(events, eol="\r\n", before="\r\n"),
    "a lone LF before data": lambda events: written(events, before="\n"),
    "CRLF": lambda events: written(events, eol="\r\n"),
    "LF": written,
    "CR": lambda events: written(events, eol="\r"),
    "data over several lines": lambda events: written(events, lines=pretty),
    "data over several lines with CRLF": lambda events: written(events, eol="\r\n", lines=pretty),
    "a byte order mark": lambda events: b"\xef\xbb\xbf" + written(events),
    "a comment first": lambda events: b": hello\n" + written(events),
    "keep-alives between events": lambda events: written(events, eol="\r\n", before="\r\n\r\n"),
    "many keep-alives": lambda events: written(events, eol="\r\n", before="\r\n\r\n" * 3),
    "no blank line at the end": lambda events: written(events, end="\n"),
    "no line end at the end": lambda events: written(events, end=""),
    "no blank line at the end with CRLF": lambda events: written(events, eol="\r\n", end="\r\n"),
    "no blank line at the end with CR": lambda events: written(events, eol="\r", end="\r"),
    "many blank lines at the end": lambda events: written(events, after="\n\r\n\n"),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("form", FORMS)
@both_dialects
def test_an_odd_form_of_a_good_stream_is_understood(lane: Lane, form: str) -> None:
    lane.upstream.play(reply_of(lane, [FORMS[form](events_of(lane.dialect))]))
    response = ask(lane)
    view = seen(lane.dialect, response.body)
    assert (view.ended, view.text, view.error) == ("complete", TEXT, None)
    assert response.header("x-healing-outcome") == "clean"
    assert len(lane.calls) == 1


@pytest.mark.parametrize("form", FORMS)
@both_dialects
def test_an_odd_form_of_a_good_stream_goes_on_in_a_form_that_clients_bear(lane: Lane, form: str) -> None:
    lane.upstream.play(reply_of(lane, [FORMS[form](events_of(lane.dialect))]).but(split=5))
    assert ask_sdk(lane) == TEXT
    assert len(lane.calls) == 1


@both_dialects
def test_odd_forms_are_the_same_when_they_come_byte_by_byte(lane: Lane) -> None:
    for form in ("CR", "CRLF", "a lone CRLF before data", "a byte order mark", "no line end at the end"):
        whole = reply_of(lane, [FORMS[form](events_of(lane.dialect))])
        lane.upstream.play(whole, whole.but(split=1))
        at_once, slowly = ask(lane).body, ask(lane).body
        assert at_once == slowly, form
        assert seen(lane.dialect, slowly).text == TEXT


@pytest.mark.covering(1)
@pytest.mark.parametrize("form", FORMS)
@both_dialects
def test_an_odd_form_of_an_empty_stream_is_known_as_empty(lane: Lane, form: str) -> None:
    good = stream_for(lane, TEXT)
    empty = reply_of(lane, [FORMS[form](events_of(lane.dialect, ""))])
    lane.upstream.play(empty.but(split=5), good)
    assert ask(lane).body == good.whole
    assert len(lane.calls) == 2


def test_what_is_a_plain_anthropic_stream_already_is_not_touched(lane: Lane) -> None:
    """Comments, padding and CRLF are within what these clients bear, so they stay."""
    for form in ("comment lines", "padding behind data", "CRLF", "data over several lines", "data without space"):
        body = FORMS[form](events_of("anthropic"))
        lane.upstream.play(reply_of(lane, [body]))
        assert ask(lane).body == body, form


@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
def test_what_is_a_plain_gemini_stream_already_is_not_touched(lane: Lane) -> None:
    for form in ("LF", "CRLF", "padding behind data", "keep-alives between events", "many keep-alives"):
        body = FORMS[form](events_of("gemini"))
        for split in (None, 1, 4):
            lane.upstream.play(reply_of(lane, [body]).but(split=split))
            assert ask(lane).body == body, (form, split)


@both_dialects
def test_a_split_inside_a_character_is_no_harm(lane: Lane) -> None:
    """Two reads, with the border at each byte of some characters."""
    body = FORMS["LF"](events_of(lane.dialect))
    start = body.index("世".encode())
    for border in range(start - 1, start + 8):
        lane.upstream.play(reply_of(lane, [body[:border], body[border:]]).but(gap=0.01))
        response = ask(lane)
        assert response.body == body
        assert seen(lane.dialect, response.body).text == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@both_dialects
def test_a_compressed_stream_is_peeked_at_and_goes_on_plain(lane: Lane, encoding: Encoding) -> None:
    empty = events_of(lane.dialect, "")
    good = FORMS["LF"](events_of(lane.dialect))
    for split in (None, 3):
        lane.upstream.play(
            reply_of(lane, [FORMS["LF"](empty)]).but(encoding=encoding, split=split),
            reply_of(lane, [good]).but(encoding=encoding, split=split),
        )
        response = ask(lane)
        assert response.header("content-encoding") is None
        assert response.body == good
        assert response.header("x-healing-attempts") == "2"
    assert [call.headers["accept-encoding"] for call in lane.calls] == ["identity"] * 4


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@both_dialects
def test_a_compressed_answer_that_does_not_stream_is_judged_and_goes_on_plain(lane: Lane, encoding: Encoding) -> None:
    make = anthropic_json if lane.dialect == "anthropic" else gemini_json
    lane.upstream.play(make("").but(encoding=encoding), make(TEXT).but(encoding=encoding))
    response = ask(lane, stream=False)
    assert response.header("content-encoding") is None
    assert response.body == make(TEXT).body
    assert len(lane.calls) == 2


@both_dialects
def test_a_body_that_is_not_what_its_coding_says_is_tried_again(lane: Lane) -> None:
    body = FORMS["LF"](events_of(lane.dialect))
    good = reply_of(lane, [body])
    broken = Reply(headers={**good.headers, "content-encoding": "gzip"}, chunks=[body])
    unknown = Reply(headers={**good.headers, "content-encoding": "compress"}, chunks=[body])
    lane.upstream.play(broken, unknown, good)
    assert ask(lane).body == body
    assert len(lane.calls) == 3


@both_dialects
def test_a_compressed_stream_that_is_cut_is_told_as_cut(lane: Lane) -> None:
    body = FORMS["LF"](events_of(lane.dialect)[:-2])
    lane.upstream.play(reply_of(lane, [body]).but(encoding="gzip", end="cut"))
    response = ask(lane)
    assert response.body.startswith(body)
    seen_broken(lane.dialect, response)
    assert len(lane.calls) == 1


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/octet-stream", "TEXT/EVENT-STREAM"])
@both_dialects
def test_a_stream_is_known_by_what_was_asked_not_by_its_content_type(lane: Lane, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    body = FORMS["LF"](events_of(lane.dialect))
    lane.upstream.play(
        Reply(headers=headers, chunks=[FORMS["LF"](events_of(lane.dialect, ""))]),
        Reply(headers=headers, chunks=[body]),
    )
    response = ask(lane)
    assert response.body == body
    assert len(lane.calls) == 2


@both_dialects
def test_a_stream_of_unknown_length_that_ends_with_the_connection_is_whole(lane: Lane) -> None:
    body = FORMS["LF"](events_of(lane.dialect))
    lane.upstream.play(reply_of(lane, [body]).but(http10=True))
    response = ask(lane)
    assert (response.ended, response.body) == ("complete", body)


@both_dialects
def test_a_stream_with_a_content_length_passes(lane: Lane) -> None:
    body = FORMS["LF"](events_of(lane.dialect))
    lane.upstream.play(reply_of(lane, [body]).but(content_length=True))
    response = ask(lane)
    assert (response.ended, response.body) == ("complete", body)
