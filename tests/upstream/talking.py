"""An API that talks and calls tools, mints signatures, and checks those that come back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from . import anthropic, gemini
from .answers import candidate, message, responses
from .calls import Call
from .healthy import Asked, asked, body_of, healthy
from .judging_anthropic import THINKING, Accepted, AnthropicJudge, RefusedError, block_key, plain, signed_by
from .judging_gemini import GeminiJudge, MissingError, signed_part, text_of, vendor_of
from .minting import Claims, Signer, family_of, has_prefix_check, key_of
from .replies import Reply
from .saying import Ids, Speaker, Words, anthropic_plan, gemini_plan

_instances = count(1)
_OWN_THOUGHT = re.compile(r"\(Thought number \d+\.\)$")


class Talking:
    """What is played for each call; to be used as an upstream's default.

    It says the same few words in every conversation (`saying.py`); signatures and ids are never the same twice.

    knows_binding, strict_latest, per_key: as the judges have them. call_ids: whether Gemini's calls have ids.
    missing_as_finish: whether a missing thought signature is told by a finish reason. wrap: what becomes of refusals.
    words: what is told apart by a number. seed: what ids and signatures are made from; each instance has its own.
    whose: which conversation a call is of; without it, what `user` says.
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
        words: Words = "few",
        seed: str = "",
        whose: Callable[[Call], str] | None = None,
    ) -> None:
        self.judged: list[str] = []
        """Per generate call, what was refused ("" if nothing was)."""
        self.dropped: list[list[tuple[str, str]]] = []
        self.user = ""
        """Whose calls come now."""
        self.asked: list[tuple[str, Call]] = []
        """All generate calls, and whose they are."""
        self.answers: list[tuple[str, list[dict[str, Any]]]] = []
        """The blocks or parts of all answers, and whom each was for."""
        self.owners: dict[str, str] = {}
        """Whom each signature, id, image and numbered thought was made for."""
        seed = seed or str(next(_instances))
        self._signer = Signer(name=seed)
        self._anthropic = AnthropicJudge(self._signer, knows_binding=knows_binding, strict_latest=strict_latest)
        self._gemini = GeminiJudge(self._signer, per_key=per_key)
        self._call_ids = call_ids
        self._missing_as_finish = missing_as_finish
        self._wrap = wrap
        self._whose = whose
        self._ids = Ids(seed)
        self._speaker = Speaker(self._ids, words)

    @property
    def minted(self) -> list[str]:
        """All signatures that it has given out."""
        return self._signer.minted

    @property
    def refused(self) -> list[str]:
        """The texts of the refusals."""
        return [text for text in self.judged if text]

    @property
    def strangers(self) -> list[tuple[str, str, str]]:
        """What calls brought that was made for another conversation: whose call, whose it is, and what."""
        return [
            (user, owner, found)
            for user, call in self.asked
            for found in _strings(call.json)
            if (owner := self.owners.get(_bare(found), user)) != user
        ]

    def owner_of(self, value: str) -> str | None:
        """Whom a signature, id, image or numbered thought was made for."""
        return self.owners.get(_bare(value))

    def __call__(self, call: Call) -> Reply:
        """The reply to a call."""
        ask = asked(call)
        if ask.action != "generate" or not body_of(call):
            return healthy(call)
        user = self._whose(call) if self._whose else self.user
        self.asked.append((user, call))
        try:
            reply = self._answer_anthropic(call, ask) if ask.dialect == "anthropic" else self._answer_gemini(call, ask)
        except RefusedError as refused:
            self.judged.append(refused.message)
            return self._refusal(ask, refused)
        self.judged.append("")
        return reply

    def _own(self, pieces: list[dict[str, Any]]) -> None:
        """Remember whom an answer was made for."""
        user, _ = self.asked[-1]
        self.answers.append((user, pieces))
        for piece in pieces:
            call = piece.get("functionCall", {})
            found = [piece.get(name) for name in ("signature", "thoughtSignature", "data", "id")]
            found += [call.get("id"), piece.get("inlineData", {}).get("data")]
            found += [text for text in _strings(piece) if _OWN_THOUGHT.search(text)]
            self.owners |= {_bare(value): user for value in found if value}

    def _refusal(self, ask: Asked, refused: RefusedError) -> Reply:
        if ask.dialect == "gemini":
            if self._missing_as_finish and isinstance(refused, MissingError):
                chunk = gemini.gemini_chunk(None, finish_reason="MISSING_THOUGHT_SIGNATURE", model=ask.model)
                return responses([chunk], ask)
            return self._wrap(gemini.gemini_error(400, None, refused.message))
        headers = {"anthropic-thinking-prefix-mismatch": "true"} if refused.mismatch else {}
        return self._wrap(anthropic.anthropic_error(400, "invalid_request_error", refused.message, headers=headers))

    # Anthropic.

    def _answer_anthropic(self, call: Call, ask: Asked) -> Reply:
        body, key = call.json, call.credential
        accepted = self._anthropic.judge(call.headers, body, key)
        self.dropped.append(accepted.dropped)
        blocks = self._blocks(body)
        self._sign(blocks, body, key, accepted)
        self._own(blocks)
        stop = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
        listed = [{"type": "thinking_dropped", "path": path} for path in accepted.listed]
        more = {"input_transformations": listed} if listed else {}
        return message(blocks, stop, ask, {"id": self._ids.claude("msg"), **more})

    def _blocks(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """An answer without signatures."""
        return self._speaker.blocks(anthropic_plan(body), thinks=thinks(body))

    def _sign(self, blocks: list[dict[str, Any]], body: dict[str, Any], key: str, accepted: Accepted) -> None:
        """Sign each thought of an answer: it is bound to all that stands before it, in the answer, too."""
        turn, chain, prefix = self._signer.new_turn(), accepted.chain, accepted.prefix
        size, ordinal = sum(block["type"] in THINKING for block in blocks), 0
        for block in blocks:
            if block["type"] not in THINKING:
                prefix = key_of(prefix, "assistant", len(body["messages"]), plain(block))
                continue
            claims = Claims("anthropic", key_of(family_of(body["model"])), key_of(key), signed_by(block))
            claims = replace(claims, prefix=prefix, chain=chain, turn=turn, ordinal=ordinal, size=size)
            block["data" if block["type"] == "redacted_thinking" else "signature"] = self._signer.mint(claims)
            chain, ordinal = (*chain, block_key(block)), ordinal + 1

    # Gemini.

    def _answer_gemini(self, call: Call, ask: Asked) -> Reply:
        self._gemini.judge(call.path, ask.model, call.json, call.credential)
        parts = self._parts(call.json, stream=ask.stream)
        said = ""
        for part in parts:
            said += text_of(part)
            if self._call_ids and "functionCall" in part:
                part["functionCall"] |= {"id": self._ids.call()}
            if "thoughtSignature" in part:
                part["thoughtSignature"] = self._minted(call, signed_part(part, said), ask.model)
        self._own(parts)
        return candidate(parts, ask, self._ids.response())

    def _parts(self, body: dict[str, Any], *, stream: bool) -> list[dict[str, Any]]:
        """An answer; what is to be signed has an empty signature."""
        return self._speaker.parts(gemini_plan(body), stream=stream)

    def _minted(self, call: Call, signed: str, model: str) -> str:
        claims = Claims(vendor_of(call.path), key_of(family_of(model)), key_of(call.credential), signed)
        return self._signer.mint(claims)


def thinks(body: dict[str, Any]) -> bool:
    """Whether the answer to an Anthropic request begins with thinking."""
    thinking = body.get("thinking")
    if thinking is None:
        return has_prefix_check(body["model"])
    return thinking.get("type") in ("enabled", "adaptive")


def _strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _bare(text: str) -> str:
    """One spelling for all of base64."""
    return text.rstrip("=").translate({ord("+"): "-", ord("/"): "_"})
