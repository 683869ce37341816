"""Anthropic's answers as Gemini's: events in, chunks out, each as soon as there is something to say."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from antigravity_healing.wire.anthropic.usage import AnthropicUsage
from antigravity_healing.wire.collecting import LONGEST_WHOLE, too_long
from antigravity_healing.wire.json.exact import read_input
from antigravity_healing.wire.json.growing import weight
from antigravity_healing.wire.json.value import digest
from antigravity_healing.wire.translate.common import Block, Body, ToolNames
from antigravity_healing.wire.translate.to_anthropic.property_names import PropertyNames
from antigravity_healing.wire.translate.to_gemini import server_tools as servers
from antigravity_healing.wire.translate.to_gemini.endings import Sources, finish_of, usage_told
from antigravity_healing.wire.usage import Usage

type Part = dict[str, Any]

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking"}
# What a block weighs beside what it says.
_BLOCK = 256
# Thinking can't be given back by the client, and the store keeps its signature.
_SILENT = ("thinking", "redacted_thinking")


@dataclass(slots=True)
class _Open:
    """A block that has begun.

    at: where it begins in the answer's text, in bytes. said: what its deltas said, by their member.
    """

    block: Block
    at: int
    said: dict[str, list[str]] = field(default_factory=dict)
    citations: list[Block] = field(default_factory=list)

    def text(self, name: str) -> str:
        """What the deltas said in this member."""
        return "".join(self.said.get(name, ()))


class GeminiAnswer:
    """One answer, made of one Anthropic message."""

    def __init__(
        self, *, names: ToolNames, model: str, seed: str, arguments: Callable[[str], PropertyNames] | None = None
    ) -> None:
        """names: of the request's tools. model: what upstream was asked for. seed: what makes ids unique.

        arguments: gives for the client's name of a tool how its arguments are called upstream; None: as by the client.
        """
        self._names = names
        self._arguments = arguments
        self._model = model
        self._id = f"msg_{digest(seed)[:24]}"
        self._usage = AnthropicUsage()
        self._sources = Sources()
        self._open: dict[Any, _Open] = {}
        self._started = False
        self._ended = False
        self._told = False
        self._stop = ""
        self._details: Any = None
        self._length = 0
        self._calls = 0
        self._cut = ""
        self._kept = 0

    @property
    def broken(self) -> str:
        """Why what came can't be told as a good answer, "" if it can."""
        if self._kept > LONGEST_WHOLE:
            return f"Anthropic's answer can't be told: {too_long(LONGEST_WHOLE)}"
        if not self._cut or finish_of(self._stop, self._details).reason == "MAX_TOKENS":
            return ""
        return f'Anthropic called "{self._cut}" with an input that is no JSON object'

    @property
    def continuation(self) -> str:
        """Always "": a message is never to be continued so."""
        return ""

    def go_on(self) -> None:
        """Never needed."""

    def take(self, event: Body) -> list[Body]:
        """The GenerateContentResponses that an event makes; none where it says nothing that can be seen."""
        if self._ended:
            return []
        self._usage.take(event)
        index = event.get("index")
        index = index if isinstance(index, int) else -1
        match event.get("type"):
            case "message_start" if isinstance(message := event.get("message"), dict):
                self._start(message)
            case "content_block_start" if isinstance(block := event.get("content_block"), dict):
                return self._shown(self._begin(index, block))
            case "content_block_delta" if isinstance(delta := event.get("delta"), dict):
                return self._shown(self._add(index, delta))
            case "content_block_stop" if (opened := self._open.pop(index, None)) is not None:
                return self._shown(self._finish(opened))
            case "message_delta":
                self._take_stop(event)
            case "message_stop":
                self._started = True
                return [] if self.broken else self.end()
        return []

    def end(self) -> list[Body]:
        """The last chunk: the finish reason, what the answer is grounded in, the usage."""
        if self._ended or not self._started:
            return []
        self._ended = True
        finish = finish_of(self._stop, self._details)
        candidate: Body = {"finishReason": finish.reason, "index": 0}
        if self._told:
            # google-genai's chats take a turn for a failed one whose last chunk has no part.
            candidate = {"content": {"role": "model", "parts": [{"text": ""}]}, **candidate}
        if finish.message:
            candidate["finishMessage"] = finish.message
        candidate |= self._sources.told()
        return [self._chunk(candidate, usageMetadata=usage_told(self._usage.usage or Usage()))]

    def _start(self, message: Body) -> None:
        if self._started:
            # An answer has the same names from its first chunk to its last.
            return
        self._started = True
        if isinstance(model := message.get("model"), str) and model:
            self._model = model
        if isinstance(own := message.get("id"), str) and own:
            self._id = own

    def _take_stop(self, event: Body) -> None:
        self._started = True
        delta = event.get("delta")
        if isinstance(delta, dict) and delta.get("stop_reason"):
            self._stop, self._details = str(delta["stop_reason"]), delta.get("stop_details")

    def _begin(self, index: int, block: Block) -> list[Part]:
        if not self._may_keep(_BLOCK + weight(block)):
            return []
        opened = self._open[index] = _Open(block, self._length)
        # Begun with some of its text already, in answers of gateways.
        for delta, name in _TEXTS.items():
            if block.get("type") == name and isinstance(text := block.get(name), str):
                return self._say(opened, delta, text)
        return []

    def _add(self, index: int, delta: Block) -> list[Part]:
        if not self._may_keep(0 if index in self._open else _BLOCK):
            return []
        opened = self._open.setdefault(index, _Open({}, self._length))
        kind = str(delta.get("type"))
        if kind in _TEXTS:
            text = delta.get(_TEXTS[kind])
            return self._say(opened, kind, text) if isinstance(text, str) else []
        if kind == "citations_delta":
            citation = delta.get("citation")
            if self._may_keep(weight(citation)):
                opened.citations.append(citation if isinstance(citation, dict) else {})
        elif kind != "signature_delta":
            for name, value in delta.items():
                if name != "type" and isinstance(value, str) and self._may_keep(len(value)):
                    opened.said.setdefault(name, []).append(value)
        return []

    def _say(self, opened: _Open, delta: str, text: str) -> list[Part]:
        if not text:
            return []
        if delta == "thinking_delta":
            return [{"text": text, "thought": True}]
        if not self._may_keep(len(text)):
            return []
        opened.said.setdefault("text", []).append(text)
        self._length += _size(text)
        return [{"text": text}]

    def _may_keep(self, size: int) -> bool:
        """Whether so many bytes more may be kept of the answer."""
        self._kept += size
        return self._kept <= LONGEST_WHOLE

    def _finish(self, opened: _Open) -> list[Part]:
        """What is left to say of a block at its end."""
        block = opened.block
        kind = str(block.get("type") or "text")
        if kind == "text":
            text = opened.text("text")
            self._sources.cite(opened.citations or block.get("citations"), opened.at, opened.at + _size(text), text)
            return []
        if kind in _SILENT:
            return []
        if kind == "tool_use":
            return self._call(opened)
        opened.said.pop("text", None)
        whole = servers.whole(block, opened.said)
        if self._sources.take(whole):
            return []
        part = servers.part_of(whole)
        self._length += _size(str(part.get("text", "")))
        return [part]

    def _call(self, opened: _Open) -> list[Part]:
        block = opened.block
        name = self._names.back(str(block.get("name") or ""))
        args, written = block.get("input"), opened.text("partial_json")
        if written:
            try:
                args = read_input(opened.said["partial_json"])
            except ValueError:
                args = None
        if not (isinstance(args, dict) or (args is None and not written)) or not name:
            # Cut off, most likely: whoever gets half a call would carry it out.
            self._cut = name or "a tool without a name"
            return []
        self._calls += 1
        own = block.get("id")
        call_id = own if isinstance(own, str) and own else f"call_{digest(self._id, str(self._calls))[:16]}"
        if args and self._arguments is not None:
            args = self._arguments(name).value_back(args)
        return [{"functionCall": {"id": call_id, "name": name, "args": args or {}}}]

    def _shown(self, parts: list[Part]) -> list[Body]:
        if not parts:
            return []
        self._started = self._told = True
        return [self._chunk({"content": {"role": "model", "parts": parts}, "index": 0})]

    def _chunk(self, candidate: Body, **members: Any) -> Body:
        return {"candidates": [candidate], **members, "modelVersion": self._model, "responseId": self._id}


def _size(text: str) -> int:
    """The length in bytes, which is what Gemini's segments are counted in."""
    return len(text.encode("utf-8", "surrogatepass"))
