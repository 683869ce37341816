"""A stream's events put together as the one JSON answer that a request without streaming would have got."""

from collections.abc import Iterable
from typing import Any

from healing.wire.errors import find_error
from healing.wire.jsonbeginning import read_beginning
from healing.wire.jsonvalue import parse

LONGEST = 2 * 1024 * 1024
"""Characters of an answer up to which it is collected where only its signatures are wanted."""

# The field whose pieces a delta carries. Its other fields say how the stream goes on and are in no whole answer.
_PIECE_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
# Deltas that come once and say their fields whole.
_WHOLE_DELTAS = ("signature_delta", "compaction_delta")
# With these the model was stopped wherever it was, so the input of a call may end in the middle.
_CUTTING_STOPS = ("max_tokens", "refusal", "model_context_window_exceeded", "compaction")
# How deep fields are merged one by one: usage has objects, and these have counts.
_MERGED_LEVELS = 4

# What says where a candidate's answer comes from, or how likely it was: more of it with each chunk, or all so far.
_GROWING = ("citationMetadata", "groundingMetadata", "urlContextMetadata", "logprobsResult")
_PLAIN_PART = {"text", "thought"}


class AnthropicCollector:
    """The message of one stream of the Messages API.

    longest: about how many characters of it to keep; an answer that is longer is not collected. None: any number.
    """

    def __init__(self, longest: int | None = LONGEST) -> None:
        self._longest = longest
        self._size = 0
        self._message: dict[str, Any] | None = None
        self._open: dict[int, _Block] = {}
        self._closed: list[_Block] = []
        self._ended = False
        self._failed = False

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks that are complete, in their order. A call whose input can't be read is none."""
        return [block.fields for block in self._ordered() if not block.unread]

    @property
    def answer(self) -> dict[str, Any] | None:
        """The message; None unless it has come to its end, whole.

        Its end is `message_stop`, or a stop reason with no block left open.
        """
        if self._message is None or self._failed or self._open:
            return None
        stop = self._message.get("stop_reason")
        if not (self._ended or stop):
            return None
        blocks = self._ordered()
        if stop not in _CUTTING_STOPS and any(block.unread for block in blocks):
            return None
        answer = {**self._message, "content": [block.whole() for block in blocks]}
        # The model that a whole message names is the one that answered in the end.
        for block in blocks:
            model = block.fields.get("to") if block.fields.get("type") == "fallback" else None
            if isinstance(model, dict) and isinstance(model.get("model"), str):
                answer["model"] = model["model"]
        return answer

    def take(self, event: dict[str, Any]) -> None:
        """Take the next event. Never raises: an odd event is no reason to lose a stream."""
        if self._failed:
            return
        index = event.get("index")
        match event.get("type"):
            case "content_block_delta" if isinstance(index, int) and isinstance(delta := event.get("delta"), dict):
                if (block := self._open.get(index)) is not None:
                    self._grow(block.take(delta))
            case "content_block_start" if isinstance(index, int):
                self._start(index, event.get("content_block"))
            case "content_block_stop" if isinstance(index, int):
                self._close(index)
            case "message_start" if self._message is None and isinstance(message := event.get("message"), dict):
                self._message = dict(message)
            case "message_delta" if self._message is not None:
                self._take_message_delta(self._message, event)
            case "message_stop":
                # Nothing can follow, so what a gateway left open is as long as it gets.
                for left in list(self._open):
                    self._close(left)
                self._ended = True
            case "error":
                self._fail()

    def _take_message_delta(self, message: dict[str, Any], event: dict[str, Any]) -> None:
        delta = event.get("delta")
        for name, value in (event | delta if isinstance(delta, dict) else event).items():
            if name not in ("type", "delta", "usage"):
                _put(message, name, value)
        if "usage" in event:
            _merge(message, "usage", event["usage"])

    def _start(self, index: int, start: Any) -> None:
        if isinstance(start, dict):
            self._close(index)
            self._open[index] = _Block(index, start)

    def _close(self, index: int) -> None:
        block = self._open.pop(index, None)
        if block is not None:
            block.close()
            self._closed.append(block)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._longest is not None and self._size > self._longest:
            self._fail()

    def _fail(self) -> None:
        self._failed = True
        self._open.clear()

    def _ordered(self) -> list["_Block"]:
        return sorted(self._closed, key=lambda block: block.index)


class _Block:
    """A content block that is coming.

    unread: the input of a call as it came, where it is no JSON; else "".
    """

    def __init__(self, index: int, start: dict[str, Any]) -> None:
        self.index = index
        self.fields = dict(start)
        self.unread = ""
        self._pieces: dict[str, list[str]] = {}
        self._items: dict[str, list[Any]] = {}

    def take(self, delta: dict[str, Any]) -> int:
        """Take the next delta. Gives about how many characters it added."""
        kind = delta.get("type")
        name = _PIECE_OF_DELTA.get(kind) if isinstance(kind, str) else None
        if name is not None:
            return self._add(name, delta.get(name))
        if kind == "citations_delta":
            if (citation := delta.get("citation")) is not None:
                self._items.setdefault("citations", []).append(citation)
        elif kind in _WHOLE_DELTAS:
            self._set(delta)
        else:
            return self._take_unknown(delta)
        return 0

    def close(self) -> None:
        """Join what came in pieces."""
        for name, pieces in self._pieces.items():
            text = _joined(pieces)
            if name == "partial_json":
                self._read_input(text)
            else:
                before = self.fields.get(name)
                self.fields[name] = before + text if isinstance(before, str) else text
        for name, items in self._items.items():
            before = self.fields.get(name)
            self.fields[name] = [*before, *items] if isinstance(before, list) else items
        self._pieces.clear()
        self._items.clear()

    def whole(self) -> dict[str, Any]:
        """The block; with as much of its input as can be read."""
        return {**self.fields, "input": read_beginning(self.unread)} if self.unread else self.fields

    def _add(self, name: str, piece: Any) -> int:
        if not isinstance(piece, str):
            return 0
        self._pieces.setdefault(name, []).append(piece)
        return len(piece)

    def _set(self, delta: dict[str, Any]) -> None:
        for name, value in delta.items():
            if name != "type":
                _put(self.fields, name, value)

    def _take_unknown(self, delta: dict[str, Any]) -> int:
        """Every delta so far adds to the field that it names: texts and lists go on, all else is said anew."""
        size = 0
        for name, value in delta.items():
            if name == "type":
                continue
            if isinstance(value, list):
                self._items.setdefault(name, []).extend(value)
            elif isinstance(value, str):
                size += self._add(name, value)
            else:
                _put(self.fields, name, value)
        return size

    def _read_input(self, text: str) -> None:
        # No pieces, or empty ones: the block's start has said the input, {}.
        if not text:
            return
        try:
            self.fields["input"] = parse(text.encode())
        except ValueError:
            self.unread = text


class GeminiParts:
    """The parts of one candidate of a stream as they came, up to about LONGEST characters: what may be signed."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self._size = 0

    def take(self, parts: list[dict[str, Any]]) -> None:
        """Take the parts of the next chunk."""
        self._size += sum(map(_size, parts))
        if self._size <= LONGEST:
            self.content += parts


class GeminiCollector:
    """The GenerateContentResponse of one streamGenerateContent stream.

    longest: about how many characters of it to keep; an answer that is longer is not collected. None: any number.
    """

    def __init__(self, longest: int | None = LONGEST) -> None:
        self._longest = longest
        self._size = 0
        self._candidates: dict[int, _Candidate] = {}
        self._fields: dict[str, Any] = {}
        self._failed = False

    @property
    def content(self) -> list[dict[str, Any]]:
        """The parts of the first candidate, as they came."""
        first = self._candidates.get(0)
        return first.parts if first is not None else []

    @property
    def answer(self) -> dict[str, Any] | None:
        """The response; None unless each candidate that began has finished, or the prompt was blocked."""
        candidates = [candidate for _, candidate in sorted(self._candidates.items())]
        feedback = self._fields.get("promptFeedback")
        blocked = isinstance(feedback, dict) and bool(feedback.get("blockReason"))
        finished = bool(candidates) and all(candidate.fields.get("finishReason") for candidate in candidates)
        if self._failed or not (blocked or finished):
            return None
        if not candidates:
            return dict(self._fields)
        return {"candidates": [candidate.whole() for candidate in candidates], **self._fields}

    def take(self, chunk: dict[str, Any]) -> None:
        """Take the next chunk, a GenerateContentResponse. Never raises: an odd one is no reason to lose a stream."""
        if self._failed:
            return
        if find_error(chunk):
            self._failed = True
            return
        for name, value in chunk.items():
            if name == "candidates":
                for candidate in value if isinstance(value, list) else ():
                    if isinstance(candidate, dict):
                        self._take_candidate(candidate)
            elif name == "usageMetadata":
                _merge(self._fields, name, value)
            else:
                _put(self._fields, name, value)

    def _take_candidate(self, said: dict[str, Any]) -> None:
        # Zeros are left out on some ways here.
        index = said.get("index", 0)
        index = index if isinstance(index, int) else 0
        if (candidate := self._candidates.get(index)) is None:
            candidate = self._candidates[index] = _Candidate()
        content = said.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        self._size += sum(map(_size, parts))
        if self._longest is not None and self._size > self._longest:
            self._failed = True
            return
        candidate.parts += parts
        candidate.take(said)


class _Candidate:
    """A candidate that is coming.

    parts: as they came.
    fields: all else that was said of it.
    """

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.fields: dict[str, Any] = {}
        self._content: dict[str, Any] = {}

    def take(self, said: dict[str, Any]) -> None:
        """Take what the next chunk says of it, but for its parts."""
        for name, value in said.items():
            if name == "content" and isinstance(value, dict):
                self.fields.setdefault(name, self._content)
                for field, content in value.items():
                    if field != "parts":
                        _put(self._content, field, content)
            elif name in _GROWING and isinstance(value, dict):
                known = self.fields.get(name)
                if not isinstance(known, dict):
                    known = self.fields[name] = {}
                for field, more in value.items():
                    _extend(known, field, more)
            elif name != "content":
                _put(self.fields, name, value)

    def whole(self) -> dict[str, Any]:
        """The candidate as it is in a whole answer."""
        if not self.parts:
            return self.fields
        return {**self.fields, "content": {"parts": _joined_parts(self.parts), **self._content}}


def _joined_parts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts with the pieces of each text in one; those that carry more than text stand as they came."""
    runs: list[tuple[dict[str, Any], list[str]]] = []
    for part in parts:
        text = part.get("text", "")
        if not isinstance(text, str) or not part.keys() <= _PLAIN_PART:
            runs.append((part, []))
        elif text and runs and runs[-1][1] and bool(runs[-1][0].get("thought")) == bool(part.get("thought")):
            runs[-1][1].append(text)
        elif text:
            runs.append((part, [text]))
    # An answer of nothing but empty text says so.
    return [{**part, "text": _joined(pieces)} if pieces else part for part, pieces in runs] or parts[:1]


def _size(part: dict[str, Any]) -> int:
    """About how many characters a part has."""
    image = part.get("inlineData")
    texts = (part.get("text"), image.get("data") if isinstance(image, dict) else None)
    return sum(len(text) for text in texts if isinstance(text, str))


def _put(fields: dict[str, Any], name: str, value: Any) -> None:
    """Set a field to what was said last; what says nothing takes nothing back."""
    if fields.get(name) is None or (value is not None and value != ""):
        fields[name] = value


def _extend(fields: dict[str, Any], name: str, value: Any) -> None:
    """As `_put`, but a list goes on, unless it repeats what has come: then it is the new total."""
    known = fields.get(name)
    if not isinstance(value, list):
        _put(fields, name, value)
    elif not isinstance(known, list) or _begins_with(value, known):
        fields[name] = list(value)
    else:
        known.extend(value)


def _begins_with(items: list[Any], start: list[Any]) -> bool:
    try:
        return len(items) >= len(start) and items[: len(start)] == start
    except RecursionError:
        return False


def _merge(fields: dict[str, Any], name: str, said: Any, levels: int = _MERGED_LEVELS) -> None:
    """As `_put`, but an object is merged field by field."""
    known = fields.get(name)
    if not (levels and isinstance(said, dict) and isinstance(known, dict)):
        _put(fields, name, said)
        return
    # A copy: the known one may belong to an event.
    merged = fields[name] = dict(known)
    for field, value in said.items():
        if isinstance(value, dict):
            _merge(merged, field, value, levels - 1)
        else:
            _put(merged, field, value)


def _joined(pieces: Iterable[str]) -> str:
    """The text of its pieces; an emoji may have been split between two of them, into halves of a surrogate pair."""
    text = "".join(pieces)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text
