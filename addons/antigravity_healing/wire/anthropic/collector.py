"""A Messages stream put together as the one message that a request without streaming would have got."""

from typing import Any

from antigravity_healing.wire.collecting import LONGEST, NOT_WHOLE, too_long
from antigravity_healing.wire.json.beginning import read_beginning
from antigravity_healing.wire.json.exact import read_input
from antigravity_healing.wire.json.growing import Pieces, merge, put, weight

# What a block weighs beside what it says.
_BLOCK = 256

# The field whose pieces a delta carries. Its other fields say how the stream goes on and are in no whole answer.
_PIECE_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
# Deltas that come once and say their fields whole.
_WHOLE_DELTAS = ("signature_delta", "compaction_delta")
# With these the model was stopped wherever it was, so the input of a call may end in the middle.
_CUTTING_STOPS = ("max_tokens", "refusal", "model_context_window_exceeded", "compaction")


class AnthropicCollector:
    """The message of one stream of the Messages API.

    longest: about how many bytes of it to keep; an answer that is longer is not collected.
    """

    def __init__(self, longest: int = LONGEST) -> None:
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
    def intact(self) -> bool:
        """Whether what is complete is all that has come."""
        return not self._open and not self._failed and not any(block.unread for block in self._closed)

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

    @property
    def overfull(self) -> bool:
        """Whether more has come than is kept."""
        return self._size > self._longest

    @property
    def flaw(self) -> str:
        """Why a stream that has come to its end is no answer."""
        if self.overfull:
            return f"{NOT_WHOLE}: {too_long(self._longest)}"
        unread = next((block for block in self._ordered() if block.unread), None)
        if unread is None:
            return NOT_WHOLE
        return f'the model called "{unread.fields.get("name")}" with an input that is no JSON object'

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
                self._grow(weight(message))
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
                self._grow(put(message, name, value))
        if "usage" in event:
            self._grow(merge(message, "usage", event["usage"]))

    def _start(self, index: int, start: Any) -> None:
        if isinstance(start, dict):
            self._close(index)
            self._open[index] = _Block(index, start)
            self._grow(_BLOCK + weight(start))

    def _close(self, index: int) -> None:
        block = self._open.pop(index, None)
        if block is not None:
            block.close()
            self._closed.append(block)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._longest:
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
        self._pieces: dict[str, Pieces] = {}
        self._items: dict[str, list[Any]] = {}

    def take(self, delta: dict[str, Any]) -> int:
        """Take the next delta. Gives by how much the block grew."""
        kind = delta.get("type")
        name = _PIECE_OF_DELTA.get(kind) if isinstance(kind, str) else None
        if name is not None:
            return self._add(name, delta.get(name))
        if kind == "citations_delta":
            if (citation := delta.get("citation")) is None:
                return 0
            self._items.setdefault("citations", []).append(citation)
            return weight(citation)
        return self._set(delta) if kind in _WHOLE_DELTAS else self._take_unknown(delta)

    def close(self) -> None:
        """Join what came in pieces."""
        for name, pieces in self._pieces.items():
            text = pieces.text
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
        if (pieces := self._pieces.get(name)) is None:
            pieces = self._pieces[name] = Pieces()
        return pieces.add(piece)

    def _set(self, delta: dict[str, Any]) -> int:
        return sum(put(self.fields, name, value) for name, value in delta.items() if name != "type")

    def _take_unknown(self, delta: dict[str, Any]) -> int:
        """Every delta so far adds to the field that it names: texts and lists go on, all else is said anew."""
        size = 0
        for name, value in delta.items():
            if name == "type":
                continue
            if isinstance(value, list):
                self._items.setdefault(name, []).extend(value)
                size += weight(value)
            elif isinstance(value, str):
                size += self._add(name, value)
            else:
                size += put(self.fields, name, value)
        return size

    def _read_input(self, text: str) -> None:
        # No pieces, or empty ones: the block's start has said the input, {}.
        if not text:
            return
        try:
            self.fields["input"] = read_input((text,))
        except ValueError:
            self.unread = text
