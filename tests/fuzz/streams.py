"""Targets that read what an upstream sends: events, readers, gates, collectors, answers in another dialect."""

import contextlib
from collections.abc import Iterable
from functools import partial

from antigravity_healing.policy.judging.gate import Gate
from antigravity_healing.policy.settings.schema import Commit
from antigravity_healing.wire.collecting import LONGEST_WHOLE
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.json_array import ArrayDecoder
from antigravity_healing.wire.http.sse import SSEDecoder, SSEEvent
from antigravity_healing.wire.json.growing import weight
from antigravity_healing.wire.json.value import dump, parse
from antigravity_healing.wire.reading import Kind
from antigravity_healing.wire.translate.common import AnswerTranslator, anthropic_tool_names, gemini_tool_names
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer

from tests.fuzz.target import Target, cut, objects_in, value_in
from tests.support.protocol import check_anthropic_json, check_anthropic_stream, check_gemini_stream
from tests.support.recorded import RECORDED
from tests.upstream import (
    anthropic_error_event,
    anthropic_events,
    gemini_error_event,
    gemini_error_tail,
    gemini_events,
)

_OTHER = {"anthropic": "gemini", "gemini": "anthropic"}
_COMMITS: tuple[Commit, ...] = ("first_content", "first_visible", "first_event")


def _recorded_streams(dialect: str | None = None) -> list[bytes]:
    bodies = [each.response_body for each in RECORDED if each.is_stream and dialect in (None, each.dialect)]
    made = {"anthropic": [*anthropic_events("Some words."), anthropic_error_event()],
            "gemini": [*gemini_events("Some words."), gemini_error_event(), gemini_error_tail()]}  # fmt: skip
    return bodies + [b"".join(events) for name, events in made.items() if dialect in (None, name)]


def _stream_seeds(dialect: str | None = None) -> Iterable[bytes]:
    odd = b'\xef\xbb\xbf: hello\r\n\r\nevent: a\ndata: {"x": 1}\n\ndata:no space\r\rdata: two\r\ndata:  lines\r\n\r\n'
    return [bytes([size]) + body for body in [odd, *_recorded_streams(dialect)] for size in (0, 6, 255)]


def _decoded(chunks: Iterable[bytes]) -> list[SSEEvent]:
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.decode(chunk)]
    return events + decoder.flush()


def _said(events: list[SSEEvent]) -> list[tuple[str, bytes | None, bytes]]:
    return [(event.name, event.data, event.stray) for event in events if not event.blank]


def sse(data: bytes) -> None:
    """However a stream is cut, it says the same, and all its bytes come out again."""
    size, stream = data[0] + 1 if data else 1, data[1:]
    whole, pieces = _decoded([stream]), _decoded(cut(stream, size))
    for events in (whole, pieces):
        assert b"".join(event.raw for event in events) == stream
        assert all(event.complete for event in events[:-1])
        assert all(event.raw for event in events)
    assert _said(whole) == _said(pieces)


def _array_seeds() -> Iterable[bytes]:
    chunks = [event.data for stream in _recorded_streams("gemini") for event in _decoded([stream]) if event.data]
    odd = b'\xef\xbb\xbf [ {"a\\\\": "}]\\"[{"} \n,\r\n{}, [[{}]] \r\n\r\n] \n'
    return [bytes([size]) + body for body in (odd, b"[" + b"\n,\n".join(chunks) + b"\n]") for size in (0, 6, 255)]


def _elements(chunks: Iterable[bytes]) -> list[SSEEvent]:
    decoder = ArrayDecoder()
    events = [event for chunk in chunks for event in decoder.decode(chunk)]
    return events + decoder.flush()


def arrays(data: bytes) -> None:
    """However an array is cut, it says the same up to what is no element, and all its bytes come out again."""
    size, stream = data[0] + 1 if data else 1, data[1:]
    whole, pieces = _elements([stream]), _elements(cut(stream, size))
    for events in (whole, pieces):
        assert b"".join(event.raw for event in events) == stream
        assert all(event.complete for event in events[:-1])
        assert all(event.raw for event in events)
    said = [[event.data for event in events if event.data is not None] for events in (whole, pieces)]
    for one, other in zip(*said, strict=False):
        assert one[:1] == other[:1]
        if one[:1] not in (b"{", b"["):
            return
        assert one == other
    assert len(said[0]) == len(said[1])
    _frames(stream, size)


def _frames(stream: bytes, size: int) -> None:
    """What an array's client gets of an array is the same but for blanks, however it comes."""
    told = []
    for chunks in ([stream], cut(stream, size)):
        judged = Gate(DIALECTS["gemini"], "first_event", grace_s=2.0, wall_s=1.8e9, array=True)
        judged.take_array()
        judged.commit()
        out = b""
        for piece in chunks:
            if judged.failure is None:
                out += judged.feed(piece)
        told.append(out + judged.end_stream())
        assert not judged._passes_unseen
    one, other = (b"".join(each.split()) for each in told)
    assert one == other


def reader(dialect: Dialect, data: bytes) -> None:
    """Any event is understood as something, and what is passed on for it says the same to a decoder."""
    reader = dialect.reader()
    for event in _decoded([data[1:]]):
        reading = reader.read(event)
        assert isinstance(reading.kind, Kind)
        assert reading.kind is not Kind.ERROR or isinstance(reading.error, dict)
        made = dialect.clean(event, reading)
        if made and event.data is not None and reading.kind not in (Kind.HEARTBEAT, Kind.MALFORMED, Kind.ERROR):
            [again] = _decoded([made])
            assert parse(again.data or b"null") == parse(event.data) or "NaN" in str(parse(event.data))
        if reading.kind is Kind.ERROR and dialect.name == "anthropic":
            made = dialect.relayed_error(reading.error, event)
            # What passes as it came may have more names than one: the last counts, and is all that has to be right.
            assert [each.name for each in _decoded([made])] == ["error"]
            assert made == event.raw or check_anthropic_stream(made).ended == "error"
        elif reading.kind is Kind.ERROR:
            made = dialect.relayed_error(reading.error, event)
            assert made.startswith(b'{"error":')
            assert made.endswith(b"}\r\n\r\n")
            assert len(_decoded([made])) == 1
    assert all(isinstance(each, dict) for each in reader.content)


def gate(dialect: Dialect, data: bytes) -> None:
    """No stream breaks the gate, and what comes out of it is what came in, from the beginning."""
    flags, stream = data[0] if data else 0, data[1:]
    hold, commit = bool(flags & 1), _COMMITS[flags // 2 % 3]
    judged = Gate(dialect, commit, grace_s=2.0, wall_s=1.8e9)
    if not hold:
        judged.commit()
    out = [judged.feed(piece) for piece in cut(stream, flags + 1)] + [judged.end_stream()]
    assert judged.failure is None or judged.failure.detail.isprintable()
    assert judged.committed or not b"".join(out)
    assert not judged._passes_unseen


def collector(dialect: Dialect, data: bytes) -> None:
    """A collector takes anything, keeps no more than it may, and its answer says what it was made of."""
    longest = 4000
    small, large = dialect.collector(longest), dialect.collector(LONGEST_WHOLE)
    for event in objects_in(data):
        small.take(event)
        large.take(event)
    assert weight(small.content) < 3 * longest + 2 * max(map(weight, objects_in(data)), default=0)
    assert isinstance(small.flaw, str)
    if (answer := large.answer) is not None:
        dump(answer)
        again = dialect.collector(LONGEST_WHOLE)
        for event in dialect.events_of(answer):
            again.take(event)
        assert dialect.content_of(again.answer or {}) == dialect.content_of(answer) or dialect.name == "anthropic"


def _translator(dialect: Dialect) -> AnswerTranslator:
    """What makes another dialect's events of this one's."""
    if dialect.name == "gemini":
        return AnthropicAnswer(names=gemini_tool_names(["look"]), model="m", seed="seed", web_search=True)
    return GeminiAnswer(names=anthropic_tool_names(["look"]), model="m", seed="seed")


def translated_events(dialect: Dialect, data: bytes) -> None:
    """Whatever events come, what is made of them is a valid stream of another dialect."""
    other, translator = DIALECTS[_OTHER[dialect.name]], _translator(dialect)
    made = [each for event in objects_in(data) for each in translator.take(event)]
    made += translator.end()
    assert isinstance(translator.broken, str)
    assert isinstance(translator.continuation, str)
    if not translator.broken:
        check = check_anthropic_stream if other.name == "anthropic" else check_gemini_stream
        check(b"".join(map(other.encode, made)), allow_cut=other.name == "gemini" or not made)


def translated_answer(dialect: Dialect, data: bytes) -> None:
    """Whatever whole answer comes, it is refused or becomes a valid one of another dialect."""
    with contextlib.suppress(ValueError):
        events = list(dialect.events_of(value_in(data)))
        other, translator = DIALECTS[_OTHER[dialect.name]], _translator(dialect)
        collected = other.collector(LONGEST_WHOLE)
        for event in events:
            for each in translator.take(event):
                collected.take(each)
        for each in translator.end():
            collected.take(each)
        if collected.answer is not None and other.name == "anthropic" and not translator.broken:
            check_anthropic_json(dump(collected.answer))


def _events_seeds(dialect: str) -> list[bytes]:
    return [
        dump([parse(event.data) for event in _decoded([stream]) if event.data])
        for stream in _recorded_streams(dialect)
        if all(event.data is None or event.data.strip().startswith(b"{") for event in _decoded([stream]))
    ]


def _answer_seeds(dialect: str) -> list[bytes]:
    return [each.response_body for each in RECORDED if each.dialect == dialect and not each.is_stream]


def _of(dialect: Dialect) -> list[Target]:
    name = dialect.name
    return [
        Target(f"{name}-reader", partial(reader, dialect), partial(_stream_seeds, name)),
        Target(f"{name}-gate", partial(gate, dialect), partial(_stream_seeds, name)),
        Target(f"{name}-collector", partial(collector, dialect), partial(_events_seeds, name), json=True),
        Target(f"{name}-events", partial(translated_events, dialect), partial(_events_seeds, name), json=True),
        Target(f"{name}-answer", partial(translated_answer, dialect), partial(_answer_seeds, name), json=True),
    ]


STREAMS: list[Target] = [
    Target("sse", sse, _stream_seeds),
    Target("arrays", arrays, _array_seeds),
    *_of(DIALECTS["anthropic"]),
    *_of(DIALECTS["gemini"]),
]
