"""What the talking upstream says: a few words over and over, as models do, and ids that nobody can guess."""

from __future__ import annotations

import base64
import re
import string
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from .judging_anthropic import blocks_of
from .judging_gemini import member, merged

THOUGHTS = ("The user greets me.", "I should look first.", "Hm.")
TEXTS = ("Done.", "OK", "Hello! How can I help you today?")
ARGS: tuple[dict[str, Any], ...] = ({}, {"at": 1}, {"at": 2})
FLOATS: dict[str, Any] = {"to": 1.0, "at": 2}
BLANK = "\n\n"
SHORT = 8
IMAGE_BYTES = 48
"""How long each image is."""
_MARK = re.compile(r"\[(\w+)(?::(\d+))?\]")

type Block = dict[str, Any]
type Words = Literal["few", "own thoughts", "numbered"]


def is_said(text: str) -> bool:
    """Whether it is what the talking upstream says."""
    return any(said in text for said in TEXTS)


@dataclass(frozen=True)
class Plan:
    """What the last real user message asks for, in marks such as `[steps:2]`.

    steps, parallel: tool rounds before the end (1 where there are tools), and calls in each. says: which text is said.
    silent: thoughts without words. redacted: `redacted_thinking`. interleaved: thinking between texts, too.
    cited, search, code: a text with citations, Claude's web search, code execution of either model.
    blank: a text of nothing but line ends before calls. lines: texts end in line ends. floats: arguments with 1.0.
    image: an image, another one each time. signed: each piece of a text is signed, and a text before calls.
    tail: a signature on an empty part.
    done: tool rounds that are over. at: the answers that came before this one.
    """

    marks: dict[str, int]
    has_tools: bool
    done: int
    at: int

    def __contains__(self, mark: str) -> bool:
        return mark in self.marks

    @property
    def calls(self) -> int:
        """How many calls come now."""
        steps = self.marks.get("steps", 1) if self.has_tools else 0
        return self.marks.get("parallel", 1) if self.done < steps else 0

    def args(self, each: int) -> dict[str, Any]:
        """The arguments of one of the calls."""
        return dict(FLOATS if "floats" in self else ARGS[(self.at + each) % len(ARGS)])


class Ids:
    """What differs in answers that say the same: random, and the same again for the same seed."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def claude(self, prefix: str) -> str:
        """An id as the Messages API has them: `toolu_01…`."""
        return f"{prefix}_01" + self._letters(string.ascii_letters + string.digits, 22)

    def call(self) -> str:
        """The id of a call of Gemini, which begins so that it can be told from a word with a number."""
        return self._letters(string.digits, 1) + self._letters(string.ascii_lowercase, 6) + self._letters("2468", 1)

    def response(self) -> str:
        """The id of an answer of Gemini."""
        return self._letters(string.ascii_letters + string.digits, 22)

    def data(self) -> str:
        """An image, or what is encrypted: base64 of bytes that nobody has seen."""
        return base64.b64encode(self._random.randbytes(IMAGE_BYTES)).decode()

    def _letters(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))


class Speaker:
    """Puts answers into words. words: whether thoughts, or texts too, are told apart by a number."""

    def __init__(self, ids: Ids, words: Words = "few") -> None:
        self._ids = ids
        self._words = words
        self._number = 0

    def blocks(self, plan: Plan, *, thinks: bool) -> list[Block]:
        """The blocks of an answer of Claude, without signatures."""
        self._number += 1
        thought = {"type": "thinking", "thinking": self._thought(plan)}
        spoken, calls = self._spoken(plan), self._tool_uses(plan)
        if not thinks:
            return [*spoken, *calls] or [self._text(plan)]
        if "interleaved" not in plan:
            return [thought, *([{"type": "redacted_thinking"}] if "redacted" in plan else []), *spoken, *calls]
        if calls:
            return [thought, *(spoken or [self._text(plan)]), {**thought}, *calls]
        between = {"type": "redacted_thinking"} if "redacted" in plan else {"type": "thinking", "thinking": ""}
        return [thought, *spoken, between, self._text(plan, 1)]

    def parts(self, plan: Plan, *, stream: bool) -> list[Block]:
        """The parts of an answer of Gemini; those that are to be signed have an empty signature."""
        self._number += 1
        thought = [] if "silent" in plan else [{"text": self._thought(plan), "thought": True}]
        if "code" in plan:
            code = {"language": "PYTHON", "code": f"print({plan.at % len(TEXTS)})"}
            result = {"outcome": "OUTCOME_OK", "output": "seen\n"}
            thought += [{"executableCode": code, "thoughtSignature": ""}, {"codeExecutionResult": result}]
        if plan.calls:
            return [*thought, *self._before_calls(plan), *function_calls(self._called(plan))]
        if "image" in plan:
            image = {"mimeType": "image/png", "data": self._ids.data()}
            thought.append({"inlineData": image, "thoughtSignature": ""})
        how: How = "signed" if "signed" in plan else "tail" if stream or "tail" in plan else "whole"
        return [*thought, *text_parts(self._text(plan)["text"], how, pieces=2 if stream else 1)]

    def _before_calls(self, plan: Plan) -> list[Block]:
        if "signed" in plan:
            return [{"text": self._text(plan)["text"], "thoughtSignature": ""}]
        return [{"text": BLANK}] if "blank" in plan else []

    def _called(self, plan: Plan) -> list[Block]:
        return [{"name": "look", "args": plan.args(each)} for each in range(plan.calls)]

    def _tool_uses(self, plan: Plan) -> list[Block]:
        return [
            {"type": "tool_use", "id": self._ids.claude("toolu"), "name": "look", "input": plan.args(each)}
            for each in range(plan.calls)
        ]

    def _thought(self, plan: Plan) -> str:
        if "silent" in plan:
            return ""
        said = THOUGHTS[plan.at % len(THOUGHTS)]
        return said if self._words == "few" else f"{said} (Thought number {self._number}.)"

    def _text(self, plan: Plan, after: int = 0) -> Block:
        said = TEXTS[(plan.marks.get("says", plan.at) + after) % len(TEXTS)]
        numbered = f"Words number {self._number}: " if self._words == "numbered" else ""
        return {"type": "text", "text": numbered + said + (BLANK if "lines" in plan else "")}

    def _spoken(self, plan: Plan) -> list[Block]:
        """What is said before the calls, or at the end."""
        text = self._text(plan)
        if "cited" in plan:
            return [{**text, "citations": self._citations()}]
        if "search" in plan:
            return [text, *self._searched(), self._text(plan, 1)]
        if "code" in plan:
            return [text, *self._executed(), self._text(plan, 1)]
        if "blank" in plan and plan.calls:
            return [{"type": "text", "text": BLANK}]
        return [] if plan.calls and plan.done else [text]

    def _citations(self) -> list[Block]:
        found = {"url": "https://a.example/b", "title": "B", "encrypted_index": self._ids.data(), "cited_text": "b"}
        place = {"document_index": 0, "document_title": None, "start_char_index": 0, "end_char_index": 1}
        return [
            {"type": "web_search_result_location", **found},
            {"type": "char_location", "cited_text": "b", **place, "file_id": None},
        ]

    def _searched(self) -> list[Block]:
        use = {"type": "server_tool_use", "id": self._ids.claude("srvtoolu"), "name": "web_search"}
        found = {"type": "web_search_result", "url": "https://a.example/b", "title": "B", "page_age": None}
        content = [{**found, "encrypted_content": self._ids.data()}]
        result = {"type": "web_search_tool_result", "tool_use_id": use["id"], "content": content}
        return [{**use, "input": {"query": "b"}}, result]

    def _executed(self) -> list[Block]:
        use = {"type": "server_tool_use", "id": self._ids.claude("srvtoolu"), "name": "code_execution"}
        content = {"type": "code_execution_result", "stdout": "1\n", "stderr": "", "return_code": 0, "content": []}
        result = {"type": "code_execution_tool_result", "tool_use_id": use["id"], "content": content}
        return [{**use, "input": {"code": "print(1)"}}, result]


type How = Literal["whole", "signed", "tail"]


def text_parts(said: str, how: How, *, pieces: int) -> list[Block]:
    """A text of Gemini in pieces: signed as it is, or each of two pieces, or on a part of its own at the end."""
    if how == "signed":
        return [{"text": said[:1], "thoughtSignature": ""}, {"text": said[1:], "thoughtSignature": ""}]
    if how == "whole":
        return [{"text": said, "thoughtSignature": ""}]
    # What is short comes in one piece.
    cut = [said] if pieces == 1 or len(said) < SHORT else [said[: len(said) // 2], said[len(said) // 2 :]]
    return [*({"text": piece} for piece in cut), {"text": "", "thoughtSignature": ""}]


def function_calls(calls: list[Block]) -> list[Block]:
    """Calls of Gemini as parts; the first is to be signed."""
    first, *more = ({"functionCall": call} for call in calls)
    return [{**first, "thoughtSignature": ""}, *more]


def anthropic_plan(body: dict[str, Any]) -> Plan:
    """What a request of the Messages API asks for."""
    turns, answers = [], 0
    for message in body["messages"]:
        if message["role"] == "user":
            blocks = blocks_of(message)
            text = "".join(block["text"] for block in blocks if block.get("type") == "text")
            turns.append((text, any(block.get("type") == "tool_result" for block in blocks)))
        answers += message["role"] == "assistant"
    return _plan(turns, answers, bool(body.get("tools")))


def gemini_plan(body: dict[str, Any]) -> Plan:
    """What a request of the Gemini API asks for."""
    turns = merged(body["contents"])
    asked = [
        ("".join(part.get("text", "") for part in parts), any(member(part, "functionResponse") for part in parts))
        for role, parts in turns
        if role == "user"
    ]
    return _plan(asked, len(turns) - len(asked), bool(body.get("tools")))


def _plan(turns: list[tuple[str, bool]], answers: int, has_tools: bool) -> Plan:
    """The plan for a history, told as its user turns: the text of each, and whether it brings results of tools."""
    done = 0
    for text, brings_results in reversed(turns):
        if not brings_results:
            marks = {name: int(value or 1) for name, value in _MARK.findall(text)}
            return Plan(marks, has_tools, done, answers)
        done += 1
    return Plan({}, False, done, answers)
