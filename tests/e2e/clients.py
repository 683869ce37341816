"""More clients, each with a habit that people's clients have."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from google.genai import chats, types

from tests.e2e.conversations import AnthropicTalker, GeminiTalker, History, Talker


@dataclass
class ChatTalker(GeminiTalker):
    """google-genai's own chats, which keep the history themselves: each chunk of a stream as a content of its own."""

    def steps(self, prompt: str) -> Iterator[str]:
        """One request at a time: what is said in each answer of a turn."""
        message: list[types.Part] = [types.Part(text=prompt)]
        while True:
            chat = self._chat
            length = len(chat.get_history())
            if self.stream:
                for _ in chat.send_message_stream(message):
                    pass
            else:
                chat.send_message(message)
            self.history = [
                json.loads(content.model_dump_json(by_alias=True, exclude_none=True)) for content in chat.get_history()
            ]
            parts = [part for content in chat.get_history()[length + 1 :] for part in content.parts or []]
            yield "".join(part.text or "" for part in parts if not part.thought)
            calls = [part.function_call for part in parts if part.function_call]
            if not calls:
                return
            seen = {"output": "seen"}
            responses = [types.FunctionResponse(id=call.id, name=call.name, response=seen) for call in calls]
            message = [types.Part(function_response=response) for response in responses]

    def point_at(self, url: str) -> None:
        """From now on ask there."""
        super().point_at(url)
        self.__dict__.pop("_chat", None)

    @cached_property
    def _chat(self) -> chats.Chat:
        config = types.GenerateContentConfig.model_validate(self._config())
        # A copy: what the chat keeps is its own.
        history: list[Any] = [*self.history]
        return self._client.chats.create(model=self.model, config=config, history=history)


@dataclass
class MergingTalker(GeminiTalker):
    """Keeps a turn as one content, and its neighbouring texts as one part. What is signed stays as it came."""

    def _ask(self) -> History:
        merged: list[dict[str, Any]] = []
        for part in (part for content in super()._ask() for part in content["parts"]):
            before = merged[-1] if merged else {}
            if all(each.keys() <= {"text", "thought"} for each in (before, part)) and _same_voice(before, part):
                before["text"] += part["text"]
            else:
                merged.append(dict(part))
        return [{"role": "model", "parts": merged}]


@dataclass
class RebuildingTalker(GeminiTalker):
    """Makes the history anew from what it understood: texts without the line ends around them, and calls.

    call_ids: whether it knows calls by their ids.
    """

    call_ids: bool = False

    def _ask(self) -> History:
        said, calls = "", []
        for part in (part for content in super()._ask() for part in content["parts"]):
            if "functionCall" in part:
                names = ("id", "name", "args") if self.call_ids else ("name", "args")
                calls.append({"functionCall": {name: part["functionCall"].get(name, {}) for name in names}})
            elif not part.get("thought"):
                said += part.get("text", "")
        said = said.strip("\n")
        return [{"role": "model", "parts": [*([{"text": said}] if said else []), *calls]}]


@dataclass
class SortingTalker(AnthropicTalker):
    """Writes the inputs of tools as JavaScript and sorted keys do: `1` for `1.0`."""

    def _ask(self) -> list[dict[str, Any]]:
        blocks = super()._ask()
        for block in blocks:
            if block["type"] == "tool_use":
                block["input"] = _as_in_javascript(block["input"])
        return blocks


@dataclass
class TrimmingTalker(AnthropicTalker):
    """Keeps no line ends at the end of a text, and no text that had nothing else."""

    def _ask(self) -> list[dict[str, Any]]:
        blocks = [
            {**block, "text": block["text"].rstrip("\n")} if block["type"] == "text" else block
            for block in super()._ask()
        ]
        return [block for block in blocks if block.get("text") != ""]


type Maker = Callable[..., Talker]
GEMINI_CLIENTS: dict[str, Maker] = {
    "chat": ChatTalker,
    "merging": MergingTalker,
    "rebuilding": RebuildingTalker,
    "rebuilding with ids": partial(RebuildingTalker, call_ids=True),
}
ANTHROPIC_CLIENTS: dict[str, Maker] = {"sorting": SortingTalker, "trimming": TrimmingTalker}


def _same_voice(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return "text" in one and one.get("thought") == other.get("thought")


def _as_in_javascript(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_in_javascript(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_as_in_javascript(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
