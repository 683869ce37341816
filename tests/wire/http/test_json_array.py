import json
from itertools import pairwise
from typing import Any

import pytest
from antigravity_healing.wire.http.json_array import ArrayDecoder
from antigravity_healing.wire.http.sse import SSEEvent
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(deadline=None, derandomize=True)
values = st.recursive(
    st.none() | st.integers() | st.text(alphabet='ab"\\{}[],é\n\x00', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a"\\{]', max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
elements = st.lists(st.dictionaries(st.sampled_from(["a", 'b"', "[", "\\"]), values, max_size=3), max_size=5)
separators = st.sampled_from([",", "\n,\n", ",\r\n", " , ", "\r\n\r\n,"])
ends = st.sampled_from(["", "\n", " \r\n", "\ufeff"])


def cut(text: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def decoded(pieces: list[bytes]) -> list[SSEEvent]:
    decoder = ArrayDecoder()
    events = [event for piece in pieces for event in decoder.decode(piece)]
    return events + decoder.flush()


def said(events: list[SSEEvent]) -> list[bytes]:
    return [event.data for event in events if event.data is not None]


@steady
@given(elements, separators, ends, st.sampled_from([None, 1, "\t"]), st.lists(st.integers(0, 999), max_size=12))
def test_however_an_array_is_cut_its_elements_come_whole_and_every_byte_comes_out(
    chunks: list[Any], separator: str, ends: str, indent: int | str | None, places: list[int]
) -> None:
    body = separator.join(json.dumps(chunk, indent=indent, ensure_ascii=False) for chunk in chunks)
    before, after = (ends, "") if ends == "\ufeff" else ("", ends)
    array = f"{before}{after}[{after}{body}{after}]{after}".encode()
    for pieces in ([array], cut(array, places), [array[at : at + 1] for at in range(len(array))]):
        events = decoded(pieces)
        assert b"".join(event.raw for event in events) == array
        assert [json.loads(data) for data in said(events)] == chunks
        assert all(event.complete and event.raw for event in events)
        assert all(event.data is not None or event.blank for event in events)


@steady
@given(st.binary(max_size=40) | st.text(alphabet='[]{},"\\ \n1').map(str.encode), st.lists(st.integers(0, 99)))
def test_whatever_comes_every_byte_comes_out(body: bytes, places: list[int]) -> None:
    assert b"".join(event.raw for event in decoded(cut(body, places))) == body


def test_an_element_is_told_with_its_last_byte_and_a_separator_with_the_element_behind_it() -> None:
    decoder = ArrayDecoder()
    assert decoder.decode(b'[{"a": "}') == []
    assert decoder.decode(b'"}') == [SSEEvent(b'[{"a": "}"}', b'{"a": "}"}')]
    assert decoder.decode(b"\n") == [SSEEvent(b"\n")]
    assert decoder.decode(b",\n") == []
    assert decoder.decode(b"{}]") == [SSEEvent(b",\n{}", b"{}"), SSEEvent(b"]")]
    assert decoder.pending == 0


@pytest.mark.parametrize(
    ("body", "element"), [(b'[{}\n,\n{"a', b'{"a'), (b"[{},", None), (b'[{},{"a\\', b'{"a\\'), (b"[", None)]
)
def test_what_is_cut_off_is_no_whole_event(body: bytes, element: bytes | None) -> None:
    *_, last = decoded([body])
    assert (last.data, last.complete) == (element, False)


@pytest.mark.parametrize("body", [b'["text"]', b"[1]", b"[null]", b"[{}]{", b"[{}] more", b"oops", b"[}"])
def test_what_is_no_element_is_told(body: bytes) -> None:
    assert any(data != b"{}" for data in said(decoded([body])))


def test_a_huge_element_in_small_pieces_takes_time_in_proportion_to_its_length() -> None:
    decoder, piece = ArrayDecoder(), b'x{\\"' * 4096
    decoder.decode(b'[{"a": "')
    seen = []
    for _ in range(512):
        decoder.decode(piece)
        seen.append(decoder._seen)
    [event] = decoder.decode(b'"}')
    assert len(event.raw) == 512 * len(piece) + len(b'[{"a": ""}')
    # What has been looked at is not looked at again.
    assert seen == [len(b'[{"a": "') + len(piece) * (at + 1) for at in range(512)]
