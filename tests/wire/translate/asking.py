"""Messages requests, and what becomes of them."""

from copy import deepcopy
from typing import Any

import pytest
from antigravity_healing.wire.translate.common import Block, Body, Part, UntranslatableError
from antigravity_healing.wire.translate.to_gemini.request import to_gemini

from tests.support.gemini_request import check_gemini_request

PRO = "gemini-3-pro-preview"
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {"at": {}}}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
RUN = {"type": "code_execution_20250825", "name": "code_execution"}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}}
PNG_PART = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}
NO_TEXT = {"text": "(no text)"}


class Known:
    """A history. turn: Gemini's own parts of every turn. calls: Gemini's own calls by the client's ids."""

    def __init__(self, turn: list[Part] | None = None, calls: dict[str, Part] | None = None) -> None:
        self.asked: list[tuple[int, list[Block]]] = []
        self._turn = turn
        self._calls = calls or {}

    def turn(self, index: int, content: list[Body]) -> list[Body] | None:
        self.asked.append((index, content))
        return self._turn

    def call(self, shown: str) -> Body | None:
        return self._calls.get(shown)


def user(*content: Any) -> Body:
    """A message of the user: strings are blocks of text."""
    return {"role": "user", "content": blocks(content)}


def assistant(*content: Any) -> Body:
    """A message of the assistant."""
    return {"role": "assistant", "content": blocks(content)}


def blocks(content: tuple[Any, ...]) -> list[Any]:
    """The blocks of a content."""
    return [{"type": "text", "text": each} if isinstance(each, str) else each for each in content]


def call(shown: str, name: str = "look", **given: Any) -> Block:
    """A tool_use."""
    return {"type": "tool_use", "id": shown, "name": name, "input": given}


def result(shown: str, content: Any = "seen", **more: Any) -> Block:
    """A tool_result."""
    return {"type": "tool_result", "tool_use_id": shown, "content": content, **more}


def request(*messages: Body, model: str = PRO, known: Known | None = None, **fields: Any) -> Body:
    """The valid Gemini request for a Messages request; `vertex` and `without` are no fields of it."""
    options = {name: fields.pop(name) for name in ("vertex", "without") if name in fields}
    body = {"model": "claude", "max_tokens": 100, "messages": list(messages), **fields}
    before = deepcopy(body)
    translated = to_gemini(body, model, known or Known(), **options)
    assert body == before
    check_gemini_request(translated)
    return translated


def contents(*messages: Body, **options: Any) -> list[Body]:
    """The contents for these messages."""
    found: list[Body] = request(*messages, **options)["contents"]
    return found


def parts_of_user(*content: Any, **options: Any) -> list[Body]:
    """The parts of what the user says."""
    found: list[Body] = contents(user(*content), **options)[0]["parts"]
    return found


def config(model: str = PRO, **fields: Any) -> Body:
    """The generationConfig for these fields."""
    found: Body = request(user("x"), model=model, **fields)["generationConfig"]
    return found


def thinking(model: str = PRO, **fields: Any) -> Body | None:
    """The thinkingConfig for these fields."""
    return config(model, **fields).get("thinkingConfig")


def refusal(*messages: Any, model: str = PRO, **fields: Any) -> str:
    """Why this request is refused."""
    with pytest.raises(UntranslatableError) as refused:
        request(*(messages or [user("x")]), model=model, **fields)
    return str(refused.value)
