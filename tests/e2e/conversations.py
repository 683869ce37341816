"""Whole conversations with tools through the real SDKs, and the mishaps that clients have with their histories."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import anthropic
from google import genai

from tests.support.sdk import anthropic_client, gemini_client

PROMPTS = (
    "One. [steps:1]", "Two. [steps:0]", "Three. [steps:2]", "Four. [steps:1][parallel:2]", "5. [steps:2][parallel:3]",
    "Six. [silent]", "Seven. [steps:2]", "Eight. [redacted]", "Nine. [steps:1][parallel:2]", "Ten. [steps:1]",
)  # fmt: skip
FEW_PROMPTS = (*PROMPTS[:3], PROMPTS[5], *PROMPTS[7:9])
"""Turns of each kind. What clients send of a history grows with its square: it is a third of the work."""
CLIENT_KEY = "test-client-key"
type History = list[dict[str, Any]]


def keep_all(history: History) -> None:
    """What a good client does to its history."""


def last(said: Iterator[str]) -> str:
    """The last of what is said."""
    *_, text = said
    return text


@dataclass
class AnthropicTalker:
    """The `anthropic` SDK."""

    url: str
    model: str
    stream: bool
    thinking: dict[str, Any] | None
    system: str = "Be brief."
    history: list[dict[str, Any]] = field(default_factory=list)
    spoil: Callable[[list[dict[str, Any]]], None] = keep_all
    key: str = CLIENT_KEY

    def turn(self, prompt: str) -> str:
        """What is said at last, after as many requests as it takes."""
        return last(self.steps(prompt))

    def steps(self, prompt: str) -> Iterator[str]:
        """One request at a time: what is said in each answer of a turn."""
        self.history.append({"role": "user", "content": prompt})
        while True:
            blocks = self._ask()
            self.history.append({"role": "assistant", "content": blocks})
            self.spoil(self.history)
            yield "".join(block["text"] for block in blocks if block["type"] == "text")
            calls = [block for block in blocks if block["type"] == "tool_use"]
            if not calls:
                return
            results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "seen"} for call in calls]
            # As Claude Code does on newer models.
            self.history += [{"role": "user", "content": results}, {"role": "system", "content": "Go on."}]

    def point_at(self, url: str) -> None:
        """From now on ask there."""
        self.url = url
        self.__dict__.pop("_client", None)

    @cached_property
    def _client(self) -> anthropic.Anthropic:
        return anthropic_client(self.url, self.key)

    def _ask(self) -> list[dict[str, Any]]:
        schema = {"type": "object", "properties": {"at": {"type": "integer"}}}
        asked: dict[str, Any] = {
            "model": self.model,
            "max_tokens": 4000,
            "system": self.system,
            "messages": self.history,
            "tools": [{"name": "look", "description": "Looks.", "input_schema": schema}],
            **({"thinking": self.thinking} if self.thinking else {}),
        }
        if self.stream:
            with self._client.messages.stream(**asked) as answer:
                message = answer.get_final_message()
        else:
            message = self._client.messages.create(**asked)
        blocks: list[dict[str, Any]] = json.loads(message.to_json())["content"]
        return blocks


@dataclass
class GeminiTalker:
    """The `google-genai` SDK."""

    url: str
    model: str
    stream: bool
    system: str = "Be brief."
    history: list[dict[str, Any]] = field(default_factory=list)
    spoil: Callable[[list[dict[str, Any]]], None] = keep_all
    key: str = CLIENT_KEY

    def turn(self, prompt: str) -> str:
        """What is said at last, after as many requests as it takes."""
        return last(self.steps(prompt))

    def steps(self, prompt: str) -> Iterator[str]:
        """One request at a time: what is said in each answer of a turn."""
        self.history.append({"role": "user", "parts": [{"text": prompt}]})
        while True:
            contents = self._ask()
            self.history += contents
            self.spoil(self.history)
            parts = [part for content in contents for part in content["parts"]]
            yield "".join(part.get("text", "") for part in parts if not part.get("thought"))
            calls = [part["functionCall"] for part in parts if "functionCall" in part]
            if not calls:
                return
            names = [{key: call[key] for key in ("id", "name") if key in call} for call in calls]
            results = [{"functionResponse": {**name, "response": {"output": "seen"}}} for name in names]
            self.history.append({"role": "user", "parts": results})

    def point_at(self, url: str) -> None:
        """From now on ask there."""
        self.url = url
        self.__dict__.pop("_client", None)

    @cached_property
    def _client(self) -> genai.Client:
        return gemini_client(self.url, self.key)

    def _config(self) -> dict[str, Any]:
        schema = {"type": "OBJECT", "properties": {"at": {"type": "INTEGER"}}}
        tool = {"function_declarations": [{"name": "look", "description": "Looks.", "parameters": schema}]}
        return {
            "system_instruction": self.system,
            "tools": [tool],
            "thinking_config": {"include_thoughts": True},
            "automatic_function_calling": {"disable": True},
        }

    def _ask(self) -> list[dict[str, Any]]:
        asked: dict[str, Any] = {"model": self.model, "contents": self.history, "config": self._config()}
        if self.stream:
            answers = list(self._client.models.generate_content_stream(**asked))
        else:
            answers = [self._client.models.generate_content(**asked)]
        found = [
            answer.candidates[0].content for answer in answers if answer.candidates and answer.candidates[0].content
        ]
        contents = [json.loads(each.model_dump_json(by_alias=True, exclude_none=True)) for each in found]
        # As the SDK's own chats keep them: each chunk is a content of its own.
        return [content for content in contents if content.get("parts")]


type Talker = AnthropicTalker | GeminiTalker


def talker(
    url: str, dialect: str, prefix: str, *, stream: bool, prefix_check: bool = False, key: str = CLIENT_KEY
) -> Talker:
    """A client in a dialect, on a model with or without the prefix check whose name begins with `prefix`."""
    if dialect == "gemini":
        return GeminiTalker(url, f"{prefix}x", stream, key=key)
    model = prefix + ("opus-5-5" if prefix_check else "sonnet-4-5")
    thinking = {"type": "adaptive"} if prefix_check else {"type": "enabled", "budget_tokens": 2000}
    return AnthropicTalker(url, model, stream, thinking, key=key)


# Mishaps: each does to a history what some client does.


def lose_signatures(history: list[dict[str, Any]]) -> None:
    """The client keeps no signatures at all."""
    for message in history:
        for piece in _pieces(message):
            for name in ("signature", "thoughtSignature", "thought_signature"):
                piece.pop(name, None)
    # What the client keeps of a block whose only content is its signature is nothing, and of a chunk with nothing else.
    for message in history:
        if "parts" in message and message["role"] == "model":
            message["parts"] = [part for part in message["parts"] if part != {"text": ""}]
    history[:] = [message for message in history if message.get("parts") != []]


def edit_last_thinking(history: list[dict[str, Any]]) -> None:
    """The client shortens a thought, or rewrites a call."""
    for message in reversed(history):
        for piece in _pieces(message):
            if piece.get("type") == "thinking" and piece.get("thinking"):
                piece["thinking"] = piece["thinking"][:-3] + "…"
                return
            if "thoughtSignature" in piece and "functionCall" in piece:
                piece["functionCall"]["args"] = {"at": -1}
                return
    raise AssertionError("there is no thinking in this history")


def store_aborted_answer(history: list[dict[str, Any]]) -> None:
    """The client stores an answer that it broke off in the middle of the thinking."""
    thought = "I was just about to"
    if "parts" in history[0]:
        history += [
            {"role": "user", "parts": [{"text": "Wait."}]},
            {"role": "model", "parts": [{"text": thought, "thought": True}]},
        ]
    else:
        block = {"type": "thinking", "thinking": thought, "signature": ""}
        history += [{"role": "user", "content": "Wait."}, {"role": "assistant", "content": [block]}]


def _pieces(message: dict[str, Any]) -> list[dict[str, Any]]:
    pieces = message.get("parts", message.get("content"))
    return pieces if isinstance(pieces, list) else []
