"""Healthy histories, made by asking an API that talks, without a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .calls import Call
from .minting import has_prefix_check
from .replies import Reply
from .talking import Talking

OLD, NEW = "claude-sonnet-4-5", "claude-opus-5-5"
KEY, OTHER_KEY = "the key of one organization", "the key of another one"
GEMINI = "gemini-3-pro-preview"
VERTEX = f"/v1/projects/p/locations/l/publishers/google/models/{GEMINI}:generateContent"
PROMPTS = ("Turn 0. [steps:1]", "Turn 1. [steps:1]", "Turn 2. [steps:1]")
type Body = dict[str, Any]


def ask(talking: Talking, body: Body, *, key: str = KEY, beta: str = "", model: str = "", path: str = "") -> Any:
    """The answer's JSON."""
    if "contents" not in body:
        path = "/v1/messages"
    path = path or f"/v1beta/models/{model}:generateContent"
    return json.loads(reply_to(talking, path, json.dumps(body).encode(), key=key, beta=beta).whole)


def reply_to(talking: Talking, path: str, body: bytes, *, key: str = KEY, beta: str = "") -> Reply:
    """The reply to a request with this body."""
    anthropic = path == "/v1/messages"
    headers = {"x-api-key": key, "anthropic-beta": beta} if anthropic else {"x-goog-api-key": key}
    return talking(Call(0, 0.0, "POST", path, "", headers, list(headers.items()), body, "HTTP/1.1"))


def talked(model: str, talking: Talking, prompts: Sequence[str] = PROMPTS, *, thinking: str = "") -> Body:
    """A healthy Anthropic conversation in the middle of the last prompt's tool round."""
    kind = thinking or ("adaptive" if has_prefix_check(model) else "enabled")
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    body: Body = {"model": model, "system": "Be brief.", "tools": tools, "thinking": {"type": kind}, "messages": []}
    for prompt in prompts:
        body["messages"].append({"role": "user", "content": prompt})
        while go_on(talking, body) and prompt is not prompts[-1]:
            pass
    return body


def go_on(talking: Talking, body: Body, **how: str) -> bool:
    """Asks once more and does what is asked for; whether there was anything to do."""
    content = ask(talking, body, **how)["content"]
    body["messages"].append({"role": "assistant", "content": content})
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "seen"}
        for block in content
        if block["type"] == "tool_use"
    ]
    body["messages"].extend([{"role": "user", "content": results}] if results else [])
    return bool(results)


def thoughts(body: Body) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The messages with thinking, and its block."""
    return [
        (m, b) for m in body["messages"] if m["role"] == "assistant" for b in m["content"] if b["type"] == "thinking"
    ]


def without(body: Body, *numbers: int) -> None:
    for number in sorted(numbers, reverse=True):
        message, block = thoughts(body)[number]
        message["content"] = [each for each in message["content"] if each is not block]


def called(talking: Talking, *, steps: int = 2, parallel: int = 2, key: str = KEY, path: str = "") -> Body:
    """A Gemini conversation whose turn has two steps and is not over."""
    contents: list[dict[str, Any]] = [
        {"role": "user", "parts": [{"text": f"Look. [steps:{steps}][parallel:{parallel}]"}]}
    ]
    body: Body = {"contents": contents, "tools": [{}]}
    for _ in range(steps):
        parts = ask(talking, body, model=GEMINI, key=key, path=path)["candidates"][0]["content"]["parts"]
        names = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
        responses = [{"functionResponse": {"name": name, "response": {}}} for name in names]
        contents += [{"role": "model", "parts": parts}, {"role": "user", "parts": responses}]
    return body


def refusal_of(talking: Talking, body: Body, **how: str) -> str:
    answer = ask(talking, body, **{"model": GEMINI, **how})
    return str(answer["error"]["message"]) if "error" in answer else ""


def calls(body: Body, content: int) -> list[dict[str, Any]]:
    return [part for part in body["contents"][content]["parts"] if "functionCall" in part]
