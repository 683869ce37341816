"""Healthy histories, made by asking an API that talks, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
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
    return reply_with(talking, path, body, headers)


def reply_with(talking: Talking, path: str, body: bytes, headers: dict[str, str]) -> Reply:
    """The reply to a request with this body and these headers."""
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


# One request at a time, through whatever stands between the client and the API.


@dataclass(frozen=True)
class Sent:
    """A request on its way. path: without its query. headers: names in lower case."""

    path: str
    body: bytes
    headers: dict[str, str]


type Send = Callable[[Sent], Reply]
"""What asks upstream."""
type Through = Callable[[Sent, Send], Reply]
"""What stands in between: it gets the client's request, asks upstream as often as it likes, and gives the reply."""


def straight(sent: Sent, send: Send) -> Reply:
    """Nothing stands in between."""
    return send(sent)


class RefusedTalkError(AssertionError):
    """The client got an error."""


@dataclass
class Talk:
    """A client's conversation that goes on by single requests, so that several can be mixed.

    user: whose it is, as the API records it. key: the client's credential. through: what stands in between.
    spoil: what the client does to its history after each answer.
    went: what the client sent. came: what came upstream for it, refused calls too.
    """

    dialect: str
    model: str
    talking: Talking
    user: str = ""
    key: str = KEY
    through: Through = straight
    spoil: Callable[[list[Body]], object] = lambda history: None
    system: str = "Be brief."
    history: list[Body] = field(default_factory=list)
    went: list[Sent] = field(default_factory=list)
    came: list[Sent] = field(default_factory=list)

    @property
    def in_round(self) -> bool:
        """Whether the results of tools are what comes next."""
        return bool(self._calls())

    def step(self, prompt: str) -> None:
        """One request: with the results of tools if there are calls to answer, else with the prompt."""
        calls = self._calls()
        if calls:
            self.history.append(self._results(calls))
        elif self.dialect == "anthropic":
            self.history.append({"role": "user", "content": prompt})
        else:
            self.history.append({"role": "user", "parts": [{"text": prompt}]})
        self.history.append(self.ask())
        self.spoil(self.history)

    def turn(self, prompt: str) -> None:
        """As many requests as the prompt takes."""
        self.step(prompt)
        while self.in_round:
            self.step("")

    def ask(self) -> Body:
        """Send the history as it is, and give the message that comes."""
        sent = self._request()
        self.went.append(sent)
        reply = self.through(sent, self._send)
        if reply.status != 200:
            raise RefusedTalkError(reply.whole)
        answer = json.loads(reply.whole)
        if self.dialect == "anthropic":
            return {"role": "assistant", "content": answer["content"]}
        message: Body = answer["candidates"][0]["content"]
        return message

    def _send(self, sent: Sent) -> Reply:
        self.came.append(sent)
        self.talking.user = self.user
        return reply_with(self.talking, sent.path, sent.body, sent.headers)

    def _request(self) -> Sent:
        if self.dialect == "anthropic":
            kind = "adaptive" if has_prefix_check(self.model) else "enabled"
            tools: list[Body] = [{"name": "look", "input_schema": {"type": "object"}}]
            body: Body = {"model": self.model, "max_tokens": 4000, "system": self.system, "tools": tools}
            thinking = {"type": kind} if kind == "adaptive" else {"type": kind, "budget_tokens": 2000}
            body |= {"thinking": thinking, "messages": self.history}
            return Sent("/v1/messages", json.dumps(body).encode(), {"x-api-key": self.key})
        tools = [{"functionDeclarations": [{"name": "look", "parameters": {"type": "OBJECT"}}]}]
        body = {"systemInstruction": {"parts": [{"text": self.system}]}, "tools": tools, "contents": self.history}
        body |= {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
        path = f"/v1beta/models/{self.model}:generateContent"
        return Sent(path, json.dumps(body).encode(), {"x-goog-api-key": self.key})

    def _calls(self) -> list[Body]:
        last: Body = self.history[-1] if self.history else {"role": "user"}
        if last["role"] == "assistant":
            return [block for block in last["content"] if block["type"] == "tool_use"]
        if last["role"] == "model":
            return [part["functionCall"] for part in last["parts"] if "functionCall" in part]
        return []

    def _results(self, calls: list[Body]) -> Body:
        if self.dialect == "anthropic":
            results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "seen"} for call in calls]
            return {"role": "user", "content": results}
        names = [{name: call[name] for name in ("id", "name") if name in call} for call in calls]
        parts = [{"functionResponse": {**name, "response": {"output": "seen"}}} for name in names]
        return {"role": "user", "parts": parts}


def side_by_side(talks: Sequence[tuple[Talk, Sequence[str]]], order: Sequence[int] = ()) -> None:
    """Have each conversation say its prompts, one request of one and one request of another at a time.

    order: whose request comes next, by numbers of those that are not at their end; over and over. Without it in turn.
    """
    left = [(talk, list(prompts)) for talk, prompts in talks]
    for number in cycle(order or range(len(talks))):
        left = [(talk, prompts) for talk, prompts in left if talk.in_round or prompts]
        if not left:
            return
        talk, prompts = left[number % len(left)]
        talk.step("" if talk.in_round else prompts.pop(0))
