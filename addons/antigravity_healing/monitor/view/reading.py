"""Reading bodies as far as people read them: work that is bounded, whatever the body is."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from antigravity_healing.policy.judging.body_form import Form, form_of
from antigravity_healing.wire.conversation import Answer, Asked, Turn
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.errors.parsing import find_error
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.json.outline import Outline, array_items, outline
from antigravity_healing.wire.json.skip import TOO_MANY
from antigravity_healing.wire.json.value import parse

_MOST_TURNS = 40
_LONGEST_TURNS = 256 * 1024
_LONG_TURN = 32 * 1024
_MOST_BYTES_OF_TURNS = 4 * 1024 * 1024
_LONGEST_MEMBER = 1024 * 1024
# Of a stream, or an array of chunks: the beginning and the end are read, as reading takes about 50 ns for each byte.
_HEAD_BYTES = 192 * 1024
_TAIL_BYTES = 96 * 1024
_MOST_LINES = 8000
_MOST_CHUNKS = 2000
_MOST_COMMAS = 200_000
_MOST_COMMAS_OF_MEMBER = 20_000
_MOST_BRACKETS = 250_000
_SHORT_BYTES = 64 * 1024


class Request(NamedTuple):
    """A request, as far as it has been read.

    turns: the last ones. earlier: how many stand before them; unseen: how many bytes of such, where they are not
    counted. flaw: why it could not be read to its end.
    """

    asked: Asked
    turns: Sequence[Turn]
    earlier: int
    unseen: int = 0
    flaw: str = ""


class Response(NamedTuple):
    """An answer, as far as it has been read.

    whole: whether it is not a stream, so that there is no more of it. skipped: bytes in the middle that were not read.
    """

    answer: Answer
    whole: bool
    skipped: int = 0
    flaw: str = ""


def read_request(dialect: Dialect, body: bytes) -> Request | None:
    """A request's body; None where nothing of it can be read."""
    conversation = dialect.conversation
    found = outline(body, conversation.turns_in)
    if found.flaw and not found.members and not found.items:
        return None
    asked = {name: _member(body, *span) for name, span in found.members.items()}
    turns = [conversation.turn(_value(body, *span)) for span in _last(found)]
    return Request(conversation.asked(asked), turns, len(found.items) - len(turns), found.unseen, found.flaw)


def _last(found: Outline) -> Sequence[tuple[int, int]]:
    """The last items, as many as are read."""
    room, bytes_left = _LONGEST_TURNS, _MOST_BYTES_OF_TURNS
    taken = 0
    for start, end in reversed(found.items[-_MOST_TURNS:]):
        # Of a long one most is an image or a document, which is quickly read.
        room -= min(end - start, _LONG_TURN)
        bytes_left -= end - start
        if taken and (room < 0 or bytes_left < 0):
            break
        taken += 1
    return found.items[len(found.items) - taken :]


def _member(body: bytes, start: int, end: int) -> Any:
    is_long = end - start > _LONGEST_MEMBER or body.count(b",", start, end) > _MOST_COMMAS_OF_MEMBER
    return f"({end - start:,} bytes)" if is_long else _value(body, start, end)


def _value(body: bytes, start: int, end: int) -> Any:
    try:
        return read_value(body[start:end])
    except ValueError as error:
        return f"({end - start:,} bytes: {error})"


def read_response(dialect: Dialect, body: bytes) -> Response | None:
    """An answer's body in any of its forms; None where nothing of it can be read."""
    if form_of(body[: 64 * 1024], Form.EVENTS, whole=True) is Form.EVENTS:
        return _stream(dialect, body)
    return _chunks(dialect, body) if body.lstrip()[:1] == b"[" else _one(dialect, body)


def read_value(body: bytes) -> Any:
    """What a JSON text says. Raises ValueError also for one with too many values to be read while others wait."""
    if len(body) > _SHORT_BYTES and (
        body.count(b"{") + body.count(b"[") > _MOST_BRACKETS or body.count(b",") > _MOST_COMMAS
    ):
        raise ValueError(TOO_MANY)
    return parse(body)


def _stream(dialect: Dialect, body: bytes) -> Response | None:
    head, tail, skipped = body, b"", 0
    if len(body) > _HEAD_BYTES + _TAIL_BYTES or _lines_of(body) > _MOST_LINES:
        head = body[: _event_end(body, _few(body[:_HEAD_BYTES]))]
        rest = body[len(head) :]
        tail = rest[_event_end(rest, max(0, len(rest) - _few(rest[-_TAIL_BYTES:]))) :]
        skipped = len(rest) - len(tail)
    reader = dialect.conversation.answer_reader()
    said = 0
    for piece in (head, tail):
        for event in _events(piece):
            said += 1
            reader.take(event)
    return Response(reader.answer, False, skipped) if said else None


def _lines_of(stream: bytes) -> int:
    return stream.count(b"\n") + stream.count(b"\r")


def _few(stream: bytes) -> int:
    """How many bytes of a stream are read, so that events are not too many, however short they are."""
    return min(len(stream), len(stream) * _MOST_LINES // max(1, _lines_of(stream)))


def _event_end(body: bytes, at: int) -> int:
    """Where the first event from here on begins."""
    ends = [place + len(end) for end in (b"\n\n", b"\r\n\r\n", b"\r\r") if (place := body.find(end, at)) >= 0]
    return min(ends, default=len(body))


def _events(stream: bytes) -> Iterator[dict[str, Any]]:
    decoder = SSEDecoder()
    for event in (*decoder.decode(stream), *decoder.flush()):
        # Google appends errors as plain JSON.
        for data in (event.data, event.stray):
            if data and isinstance(value := _event(data), dict):
                yield value


def _event(data: bytes) -> Any:
    try:
        return read_value(data)
    except ValueError:
        return None


def _chunks(dialect: Dialect, body: bytes) -> Response | None:
    """A stream that is one array, which may be cut."""
    found = array_items(body)
    reader = dialect.conversation.answer_reader()
    last = len(found.items) - 1
    room, skipped, said, number = _HEAD_BYTES, 0, 0, 0
    while number <= last:
        start, end = found.items[number]
        room -= end - start
        if said and number < last and (room < 0 or said >= _MOST_CHUNKS):
            number, skipped = last, found.items[last][0] - start
            continue
        number += 1
        if isinstance(value := _event(body[start:end]), dict):
            said += 1
            reader.take(value)
    return Response(reader.answer, not found.flaw, skipped, found.flaw) if said else None


def _one(dialect: Dialect, body: bytes) -> Response | None:
    value = read_value(body)
    if (error := find_error(value)) is not None:
        return Response(Answer(error=error), whole=True)
    reader = dialect.conversation.answer_reader()
    for event in dialect.events_of(value):
        reader.take(event)
    return Response(reader.answer, whole=True)
