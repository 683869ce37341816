"""What a stream of events has said, put together as the blocks or parts that a whole answer would hold."""

from typing import Any

from healing.wire.jsonvalue import parse

LONGEST = 2 * 1024 * 1024
"""Characters of an answer up to which it is collected."""
_TEXT_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "input"}


class AnthropicCollector:
    """The content blocks of one Messages stream. `take` never raises: an odd event is no reason to lose a stream."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, dict[str, list[str]]] = {}
        self._size = 0
        self._done: dict[int, dict[str, Any]] = {}

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks that are complete, in their order."""
        return [block for _, block in sorted(self._done.items())]

    def take(self, body: dict[str, Any]) -> None:
        """Take the next event."""
        index = body.get("index")
        if not isinstance(index, int) or self._size > LONGEST:
            return
        match body.get("type"):
            case "content_block_start" if isinstance(block := body.get("content_block"), dict):
                self._blocks[index] = dict(block)
                self._pieces[index] = {}
            case "content_block_delta" if isinstance(delta := body.get("delta"), dict) and index in self._blocks:
                self._add(index, delta)
            case "content_block_stop" if index in self._blocks:
                self._finish(index)

    def _add(self, index: int, delta: dict[str, Any]) -> None:
        kind = str(delta.get("type"))
        name = _TEXT_OF_DELTA.get(kind)
        if name is not None:
            text = delta.get("partial_json" if name == "input" else name)
            if isinstance(text, str):
                self._size += len(text)
                if self._size > LONGEST:
                    self._blocks.clear()
                    self._pieces.clear()
                    return
                self._pieces[index].setdefault(name, []).append(text)
        elif kind == "signature_delta":
            self._blocks[index]["signature"] = delta.get("signature")
        elif kind == "citations_delta":
            block = self._blocks[index]
            block["citations"] = [*(block.get("citations") or ()), delta.get("citation")]

    def _finish(self, index: int) -> None:
        block = self._blocks.pop(index)
        for name, pieces in self._pieces.pop(index).items():
            text = "".join(pieces)
            if name != "input":
                block[name] = str(block.get(name) or "") + text
            elif text:
                try:
                    block["input"] = parse(text.encode("utf-8", "surrogatepass"))
                except ValueError:
                    return  # a call that can't be read is no whole block
        self._done[index] = block


class GeminiCollector:
    """The parts of the first candidate of one streamGenerateContent stream, as they came."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self._size = 0

    def take(self, parts: list[dict[str, Any]]) -> None:
        """Take the parts of the next chunk."""
        self._size += sum(_size(part) for part in parts)
        if self._size <= LONGEST:
            self.content += parts


def _size(part: dict[str, Any]) -> int:
    """About how many characters a part has."""
    image = part.get("inlineData")
    texts = (part.get("text"), image.get("data") if isinstance(image, dict) else None)
    return sum(len(text) for text in texts if isinstance(text, str))
