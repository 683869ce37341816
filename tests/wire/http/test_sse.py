import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from antigravity_healing.wire.http.sse import SSEDecoder, SSEEvent, encode
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.recorded import Exchange, recorded_params
from tests.support.work import assert_kept, calls_made, memory_taken

BOM = b"\xef\xbb\xbf"
FIELDS = (b"data", b"event", b"id", b"retry")
ODD = (
    BOM + b": hello\r\n\r\nevent: a\ndata: {\"x\": 1}\n\ndata:no space\r\rdata: two\r\ndata:  lines\r\n\r\n"
    b"\n\n\r\n\r\nid: 7\nretry: 10\n\n{\n \"error\": {}\n}\r\n\r\n"
    b"event: \xc3\xa9\ndata: \xf0\x9f\x98\x80\n\ndata\n\ndata: last"
)  # fmt: skip

steady = settings(deadline=None, derandomize=True)


@dataclass(frozen=True)
class Block:
    """What a reader of the whole stream finds between two blank lines."""

    name: str
    data: bytes | None
    stray: bytes


def naive(stream: bytes) -> list[Block]:
    """The HTML standard's rules, applied to the whole stream at once."""
    blocks = []
    name, data, stray = "", list[bytes](), list[bytes]()
    # The empty line at the end stands for the blank line that a last event may lack.
    for line in [*re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM)), b""]:
        if not line:
            if name or data or stray:
                blocks.append(Block(name, b"\n".join(data) if data else None, b"\n".join(stray)))
            name, data, stray = "", [], []
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
            elif field not in FIELDS:
                stray.append(line)
    return blocks


def decoded(chunks: Sequence[bytes]) -> list[SSEEvent]:
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.decode(chunk)]
    return events + decoder.flush()


def said(events: Sequence[SSEEvent]) -> list[Block]:
    return [Block(event.name, event.data, event.stray) for event in events if not event.blank]


def cut(stream: bytes, points: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(point % (len(stream) + 1) for point in points)})
    return [stream[start:end] for start, end in pairwise(edges)]


def assert_decodes(stream: bytes, chunks: Sequence[bytes]) -> None:
    events = decoded(chunks)
    assert b"".join(event.raw for event in events) == stream
    assert said(events) == naive(stream)
    assert all(event.raw for event in events)
    assert all(event.complete for event in events[:-1])


tokens = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"data: ", b"data:", b"data", b"data : x", b"event: ", b"event:ping",
     b"event", b"id: 1", b"retry: 5", b": comment", b":", b" ", b"  ", b"x", b'{"a": 1}', b"{", b"}", b"[DONE]",
     b'"error": {', BOM, "é😀".encode(), "é😀".encode()[:1], b"\x00", b"\xff", b"\x0b", b"\xe2\x80\xa8"]
)  # fmt: skip
streams = st.lists(tokens, max_size=30).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=12)


@settings(steady, max_examples=examples(400))
@given(streams, cuts)
@example(b"data: a\r\n\r", [])
@example(b"data: a\r\r\ndata: b\r\r\n", [9])
@example(BOM + b"\n\ndata: x", [1, 2])
@example(b"\n" + BOM + b"data: x\n\n", [1])
def test_any_split_of_any_stream_is_what_the_standard_says(stream: bytes, points: list[int]) -> None:
    assert_decodes(stream, cut(stream, points))


@steady
@given(streams)
def test_byte_by_byte_is_what_the_standard_says(stream: bytes) -> None:
    assert_decodes(stream, [stream[at : at + 1] for at in range(len(stream))])


@steady
@given(
    st.lists(st.sampled_from([b"data: x", b"event: y", b": z", b""])),
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n"])),
)
def test_any_mixture_of_line_ends_is_what_the_standard_says(lines: list[bytes], ends: list[bytes]) -> None:
    stream = b"".join(line + ends[at % len(ends)] if ends else line for at, line in enumerate(lines))
    assert_decodes(stream, [stream])
    assert_decodes(stream, [stream[at : at + 1] for at in range(len(stream))])


def test_a_cut_anywhere_changes_nothing() -> None:
    for at in range(len(ODD) + 1):
        assert_decodes(ODD, [ODD[:at], ODD[at:]])


@pytest.mark.parametrize("recorded", recorded_params(lambda exchange: exchange.is_stream))
@pytest.mark.parametrize("size", [1, 3, 100, 1_000_000])
def test_a_recorded_stream_in_pieces_of_any_size_is_the_same(recorded: Exchange, size: int) -> None:
    body = recorded.response_body
    assert_decodes(body, [body[at : at + size] for at in range(0, len(body), size)])
    assert said(decoded([body]))


@pytest.mark.parametrize("recorded", recorded_params(lambda exchange: exchange.is_stream))
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_recorded_stream_with_other_line_ends_says_the_same(recorded: Exchange, end: bytes) -> None:
    body = re.sub(rb"\r\n|\n|\r", end, recorded.response_body)
    assert_decodes(body, [body])
    assert said(decoded([body])) == said(decoded([recorded.response_body]))


@pytest.mark.parametrize("recorded", recorded_params(lambda exchange: exchange.is_stream))
def test_a_recorded_stream_without_its_last_line_ends_keeps_its_last_event(recorded: Exchange) -> None:
    body = recorded.response_body
    events = decoded([body.rstrip(b"\r\n")])
    assert said(events) == said(decoded([body]))
    assert not events[-1].complete


@steady
@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20), min_size=1),
    cuts,
)
def test_what_was_encoded_is_decoded(texts: list[str], points: list[int]) -> None:
    stream = b"".join(encode(text.encode(), f"n{at}") for at, text in enumerate(texts))
    events = decoded(cut(stream, points))
    assert [(event.name, event.data) for event in events] == [(f"n{at}", t.encode()) for at, t in enumerate(texts)]
    assert all(event.complete for event in events)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r", b"\r\n\n"])
def test_an_event_comes_out_with_its_blank_line_and_not_later(end: bytes) -> None:
    decoder = SSEDecoder()
    assert decoder.decode(b"data: x" + end[:-1]) == []
    (event,) = decoder.decode(end[-1:])
    assert event == SSEEvent(b"data: x" + end, b"x")
    assert decoder.pending == 0


@pytest.mark.parametrize(
    ("block", "blank"),
    [
        (b"\r\n\r\n", True),
        (b"\n", True),
        (b": hello\n\n", True),
        (b"id: 3\n\n", True),
        (b"retry: 3\n: x\n\n", True),
        (b"data\n\n", False),
        (b"event: ping\n\n", False),
        (b"oops\n\n", False),
    ],
)
def test_comments_ids_and_empty_lines_say_nothing(block: bytes, blank: bool) -> None:
    (event,) = decoded([block])
    assert event.blank is blank


def test_a_pretty_printed_tail_is_kept_line_by_line() -> None:
    tail = b'{\n  "error": {\n    "code": 503\n  }\n}'
    *_, last = decoded([b"data: {}\r\n\r\n", tail.replace(b"\n", b"\r\n")])
    assert last.data is None
    assert last.stray == tail
    assert not last.complete


def test_pending_counts_the_bytes_that_wait() -> None:
    decoder = SSEDecoder()
    decoder.decode(b"data: a\n\ndata: bc")
    assert decoder.pending == len(b"data: bc")
    decoder.flush()
    assert decoder.pending == 0


MANY: dict[str, Callable[[int], bytes]] = {
    "lines without a blank line": lambda size: b"some text\n" * (size // 10),
    "CRLF lines without a blank line": lambda size: b"some text\r\n" * (size // 11),
    "CR lines without a blank line": lambda size: b"some text\r" * (size // 10),
    "a giant data line": lambda size: b"data: " + b"x" * size,
    "many data lines": lambda size: b"data: some more\n" * (size // 16),
    "many empty data lines": lambda size: b"data\n" * (size // 5),
    "many comments": lambda size: b": more\r\n" * (size // 8),
}
shapes = pytest.mark.parametrize("shape", MANY)
sizes = pytest.mark.parametrize("size", [1, 100])


def in_pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def in_one_event(shape: str, length: int) -> bytes:
    """A stream of about this length, all of which is one event, and the beginning of the next one."""
    body = MANY[shape](length)
    end = b"\r" if body.endswith(b"\r") else b"\r\n" if b"\r" in body else b"\n"
    return body + end * (1 if body.endswith(end) else 2) + b"x"


def memory_taken_by(stream: bytes, size: int) -> int:
    decoder = SSEDecoder()
    taken = memory_taken(decoder.decode, in_pieces(stream, size))
    assert decoder.pending == 1
    return taken


def calls_made_by(stream: bytes, size: int) -> int:
    return calls_made(lambda: decoded(in_pieces(stream, size)))


@pytest.mark.covering(1)
@shapes
@sizes
def test_an_event_is_copied_in_proportion_to_its_length(shape: str, size: int) -> None:
    short, long = (in_one_event(shape, length) for length in (1_500, 6_000))
    assert memory_taken_by(long, size) < 5 * memory_taken_by(short, size)
    assert calls_made_by(long, size) < 5 * calls_made_by(short, size)


@sizes
def test_many_events_are_copied_in_proportion_to_their_number(size: int) -> None:
    short, long = (b"data: a word\n\n: more\r\n\r\n\r\r" * count + b"x" for count in (100, 400))
    assert memory_taken_by(long, size) < 5 * memory_taken_by(short, size)
    assert calls_made_by(long, size) < 5 * calls_made_by(short, size)


@pytest.mark.covering(1)
@shapes
@sizes
def test_an_event_that_waits_takes_little_more_than_its_bytes(shape: str, size: int) -> None:
    stream = MANY[shape](20_000)

    def begin() -> Callable[[], object]:
        pieces, decoder = in_pieces(stream, size), SSEDecoder()

        def feed() -> None:
            for piece in pieces:
                assert decoder.decode(piece) == []
            assert decoder.pending == len(stream)

        return feed

    # It is kept as long as its decoder, which is as long as what feeds it.
    assert_kept(begin, kept=1.25 * len(stream), peak=1.35 * len(stream))


@shapes
def test_one_long_event_of_any_form_is_what_the_standard_says(shape: str) -> None:
    # Longer than what is split into lines at once.
    stream = in_one_event(shape, 200_000)
    assert_decodes(stream, in_pieces(stream, 1000))
    assert len(decoded([stream])) == 2


many_lines = st.tuples(
    st.sampled_from([b"data: x", b"data:", b": c", b"y", b"event: e"]),
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\r\n"]),
    st.integers(1, 300),
).map(lambda parts: (parts[0] + parts[1]) * parts[2])


@steady
@given(st.lists(many_lines | tokens, max_size=5).map(b"".join), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_many_lines_is_what_the_standard_says(stream: bytes, points: list[int]) -> None:
    assert_decodes(stream, cut(stream, points))


@steady
@given(streams, cuts)
def test_what_waits_is_what_has_come_and_is_no_event_yet(stream: bytes, points: list[int]) -> None:
    decoder, fed, given = SSEDecoder(), b"", b""
    for chunk in cut(stream, points):
        given += b"".join(event.raw for event in decoder.decode(chunk))
        fed += chunk
        assert given + decoder.rest == fed
        assert decoder.pending == len(decoder.rest)
