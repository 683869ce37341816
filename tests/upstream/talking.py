"""An API that talks and calls tools, mints signatures, and checks those that come back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from . import anthropic, gemini
from .calls import Call
from .healthy import Asked, asked, body_of, healthy
from .judging_anthropic import Accepted, AnthropicJudge, RefusedError, block_key, blocks_of, signed_by
from .judging_gemini import GeminiJudge, MissingError, call_key, member, merged, vendor_of
from .minting import Claims, Signer, family_of, has_prefix_check, key_of
from .replies import Reply

_MARK = re.compile(r"\[(\w+)(?::(\d+))?\]")


@dataclass(frozen=True)
class Plan:
    """What the last real user message asks for, in marks: `[steps:2]`, `[parallel:3]`, `[silent]`, `[redacted]`.

    steps: tool rounds before the end. parallel: calls in each. done: tool rounds that are over.
    """

    steps: int
    parallel: int
    silent: bool
    redacted: bool
    done: int

    @property
    def calls(self) -> int:
        """How many calls come now."""
        return self.parallel if self.done < self.steps else 0


class Talking:
    """What is played for each call; to be used as an upstream's default.

    knows_binding, strict_latest, per_key: as the judges have them. call_ids: whether Gemini's calls have ids.
    missing_as_finish: whether a missing thought signature is told by a finish reason. wrap: what becomes of refusals.
    judged: per generate call, what was refused ("" if nothing was).
    """

    def __init__(
        self,
        *,
        knows_binding: bool = True,
        strict_latest: bool = False,
        per_key: bool = True,
        call_ids: bool = False,
        missing_as_finish: bool = False,
        wrap: Callable[[Reply], Reply] = lambda reply: reply,
    ) -> None:
        self.judged: list[str] = []
        self.dropped: list[list[tuple[str, str]]] = []
        self._signer = Signer()
        self._anthropic = AnthropicJudge(self._signer, knows_binding=knows_binding, strict_latest=strict_latest)
        self._gemini = GeminiJudge(self._signer, per_key=per_key)
        self._call_ids = call_ids
        self._missing_as_finish = missing_as_finish
        self._wrap = wrap
        self._numbers = count(1)

    @property
    def minted(self) -> list[str]:
        """All signatures that it has given out."""
        return self._signer.minted

    @property
    def refused(self) -> list[str]:
        """The texts of the refusals."""
        return [text for text in self.judged if text]

    def __call__(self, call: Call) -> Reply:
        """The reply to a call."""
        ask = asked(call)
        if ask.action != "generate" or not body_of(call):
            return healthy(call)
        try:
            reply = self._answer_anthropic(call, ask) if ask.dialect == "anthropic" else self._answer_gemini(call, ask)
        except RefusedError as refused:
            self.judged.append(refused.message)
            return self._refusal(ask, refused)
        self.judged.append("")
        return reply

    @property
    def _answer(self) -> int:
        """The number of the answer that is being made: clients take what has the same id for pieces of one answer."""
        return len(self.judged) + 1

    def _refusal(self, ask: Asked, refused: RefusedError) -> Reply:
        if ask.dialect == "gemini":
            if self._missing_as_finish and isinstance(refused, MissingError):
                chunk = gemini.gemini_chunk(None, finish_reason="MISSING_THOUGHT_SIGNATURE", model=ask.model)
                return _responses([chunk], ask)
            return self._wrap(gemini.gemini_error(400, None, refused.message))
        headers = {"anthropic-thinking-prefix-mismatch": "true"} if refused.mismatch else {}
        return self._wrap(anthropic.anthropic_error(400, "invalid_request_error", refused.message, headers=headers))

    # Anthropic.

    def _answer_anthropic(self, call: Call, ask: Asked) -> Reply:
        body, key = call.json, call.credential
        accepted = self._anthropic.judge(call.headers, body, key)
        self.dropped.append(accepted.dropped)
        blocks = self._blocks(body, key, accepted)
        stop = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
        listed = [{"type": "thinking_dropped", "path": path} for path in accepted.listed]
        more = {"input_transformations": listed} if listed else {}
        return _message(blocks, stop, ask, {"id": f"msg_{self._answer:04}", **more})

    def _blocks(self, body: dict[str, Any], key: str, accepted: Accepted) -> list[dict[str, Any]]:
        plan, number = _plan(_anthropic_turns(body), bool(body.get("tools"))), next(self._numbers)
        thoughts: list[dict[str, Any]] = []
        if thinks(body):
            said = "" if plan.silent else f"Thought number {number}: this wants a look at what there is, and some care."
            thoughts.append({"type": "thinking", "thinking": said})
            if plan.redacted:
                thoughts.append({"type": "redacted_thinking"})
        self._sign(thoughts, body["model"], key, accepted)
        silent = plan.calls and plan.done
        said_aloud = [] if silent else [{"type": "text", "text": f"Words number {number}."}]
        calls = [
            {
                "type": "tool_use",
                "id": f"toolu_{number:04}{each}",
                "name": "look",
                "input": {"at": each} if each else {},
            }
            for each in range(plan.calls)
        ]
        return [*thoughts, *said_aloud, *calls]

    def _sign(self, thoughts: list[dict[str, Any]], model: str, key: str, accepted: Accepted) -> None:
        turn, chain = self._signer.new_turn(), accepted.chain
        for ordinal, block in enumerate(thoughts):
            claims = Claims("anthropic", key_of(family_of(model)), key_of(key), signed_by(block))
            claims = replace(
                claims, prefix=accepted.prefix, chain=chain, turn=turn, ordinal=ordinal, size=len(thoughts)
            )
            block["data" if block["type"] == "redacted_thinking" else "signature"] = self._signer.mint(claims)
            chain = (*chain, block_key(block))

    # Gemini.

    def _answer_gemini(self, call: Call, ask: Asked) -> Reply:
        self._gemini.judge(call.path, ask.model, call.json, call.credential)
        return _candidate(self._parts(call, ask), ask, f"response{self._answer:04}")

    def _parts(self, call: Call, ask: Asked) -> list[dict[str, Any]]:
        body = call.json
        plan, number = _plan(_gemini_turns(body), bool(body.get("tools"))), next(self._numbers)
        thought = {"text": f"Thought number {number}.", "thought": True}
        if plan.calls:
            made = [("look", {"at": number * 10 + each}) for each in range(plan.calls)]
            return [thought, *self._signed_calls(call, ask, number, made)]
        return [thought, *self._signed_text(call, ask, f"Words number {number}, and that is all.")]

    def _signed_calls(
        self, call: Call, ask: Asked, number: int, made: list[tuple[str, dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Function calls, told as names and arguments; the first is signed."""
        parts: list[dict[str, Any]] = []
        for each, (name, args) in enumerate(made):
            own = {"id": f"call{number}{each}"} if self._call_ids else {}
            parts.append({"functionCall": {"name": name, "args": args, **own}})
        first = parts[0]
        first["thoughtSignature"] = self._minted(call, call_key(first["functionCall"]), ask.model)
        return parts

    def _signed_text(self, call: Call, ask: Asked, said: str) -> list[dict[str, Any]]:
        signature = self._minted(call, key_of("text", said), ask.model)
        if not ask.stream:
            return [{"text": said, "thoughtSignature": signature}]
        # In a stream the signature comes last, on a part of its own with nothing in it.
        return [{"text": said[:8]}, {"text": said[8:]}, {"text": "", "thoughtSignature": signature}]

    def _minted(self, call: Call, signed: str, model: str) -> str:
        claims = Claims(vendor_of(call.path), key_of(family_of(model)), key_of(call.credential), signed)
        return self._signer.mint(claims)


def thinks(body: dict[str, Any]) -> bool:
    """Whether the answer to an Anthropic request begins with thinking."""
    thinking = body.get("thinking")
    if thinking is None:
        return has_prefix_check(body["model"])
    return thinking.get("type") in ("enabled", "adaptive")


def _plan(turns: list[tuple[str, bool]], has_tools: bool) -> Plan:
    """The plan for a history, told as its user turns: the text of each, and whether it brings results of tools."""
    done = 0
    for text, brings_results in reversed(turns):
        if not brings_results:
            marks = {name: int(value or 1) for name, value in _MARK.findall(text)}
            steps = marks.get("steps", 1) if has_tools else 0
            return Plan(steps, marks.get("parallel", 1), "silent" in marks, "redacted" in marks, done)
        done += 1
    return Plan(0, 1, False, False, done)


def _anthropic_turns(body: dict[str, Any]) -> list[tuple[str, bool]]:
    turns = []
    for message in body["messages"]:
        if message["role"] == "user":
            blocks = blocks_of(message)
            text = "".join(block["text"] for block in blocks if block.get("type") == "text")
            turns.append((text, any(block.get("type") == "tool_result" for block in blocks)))
    return turns


def _gemini_turns(body: dict[str, Any]) -> list[tuple[str, bool]]:
    return [
        ("".join(part.get("text", "") for part in parts), any(member(part, "functionResponse") for part in parts))
        for role, parts in merged(body["contents"])
        if role == "user"
    ]


def _message(blocks: list[dict[str, Any]], stop: str, ask: Asked, more: dict[str, Any]) -> Reply:
    """An Anthropic answer of these blocks, streamed or not."""
    whole = {**_head(ask.model), **more, "content": blocks, "stop_reason": stop}
    if not ask.stream:
        return Reply(headers=anthropic.JSON_HEADERS, body=anthropic.compact(whole).encode(), name="talking")
    events = [anthropic.anthropic_event({"type": "message_start", "message": {**_head(ask.model), **more}})]
    for index, block in enumerate(blocks):
        events += anthropic.block_events(index, *_streamed(block))
    return anthropic.anthropic_reply([*events, *anthropic.anthropic_end(stop)], name="talking")


def _head(model: str) -> dict[str, Any]:
    return {
        "model": model,
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": anthropic.usage(12, 9),
    }


def _streamed(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as its start and its deltas."""
    match block["type"]:
        case "thinking":
            pieces = anthropic.deltas(block["thinking"], 3)
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
            start = {"type": "thinking", "thinking": "", "signature": ""}
            return start, [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
        case "text":
            pieces = anthropic.deltas(block["text"], 2)
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
        case "tool_use":
            given = anthropic.compact(block["input"]) if block["input"] else ""
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    return block, []


def _candidate(parts: list[dict[str, Any]], ask: Asked, response_id: str) -> Reply:
    """A Gemini answer of these parts: one object, or one for each part."""
    pieces = [[part] for part in parts] if ask.stream else [parts]
    last = len(pieces) - 1
    return _responses(
        [
            gemini.gemini_chunk(
                piece, finish_reason="STOP" if number == last else None, model=ask.model, response_id=response_id
            )
            for number, piece in enumerate(pieces)
        ],
        ask,
    )


def _responses(chunks: list[dict[str, Any]], ask: Asked) -> Reply:
    """These objects as they were asked for: as events, as an array that streams, or the only one."""
    if ask.stream and ask.sse:
        return gemini.gemini_reply([gemini.gemini_event(chunk) for chunk in chunks], name="talking")
    body = anthropic.compact(chunks if ask.stream else chunks[0]).encode()
    if not ask.stream:
        return Reply(headers=gemini.JSON_HEADERS, body=body, name="talking")
    halves = (body[: len(body) // 2], body[len(body) // 2 :])
    return Reply(headers=gemini.JSON_HEADERS, chunks=halves, name="talking")
