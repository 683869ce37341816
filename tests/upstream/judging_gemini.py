"""How the Gemini API looks at the thought signatures in a request's history."""

from __future__ import annotations

import re
from typing import Any

from .judging_anthropic import RefusedError
from .minting import Signer, decoded, family_of, key_of

STAND_IN = "skip_thought_signature_validator"
MISSING = (
    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, "
    "and missing thought_signature may lead to degraded model performance. Additional data, function call "
    "`default_api:{name}` , position {place}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures."
)
MISSING_ON_VERTEX = (
    "Unable to submit request: function call `{name}` in the {place}. content block is missing a `thought_signature`."
)
CORRUPTED = "Corrupted thought signature."
# `gemini-3-pro`, and `2.5` wherever it stands.
_VERSION = re.compile(r"\bgemini-(\d+)|\b(\d{1,2})\.\d")


class MissingError(RefusedError):
    """A call without its signature: refused, or answered with a finish reason."""


class GeminiJudge:
    """Judges requests. per_key: whether a signature serves only the key that it was minted for."""

    def __init__(self, signer: Signer, *, per_key: bool = True) -> None:
        self._signer = signer
        self._per_key = per_key

    def judge(self, path: str, model: str, body: dict[str, Any], key: str) -> None:
        """Raises RefusedError, MissingError among them."""
        contents = body.get("contents") or []
        if not contents:
            raise RefusedError("* GenerateContentRequest.contents: contents is not specified")
        _check_encodings(contents)
        turns = merged(contents)
        _check_structure(turns)
        for number, (role, parts) in enumerate(turns):
            if role == "model" and number >= _current(turns):
                self._check_turn(path, model, key, number, parts)

    def _check_turn(self, path: str, model: str, key: str, number: int, parts: list[dict[str, Any]]) -> None:
        said, called = "", False
        for part in parts:
            call, signature = member(part, "functionCall"), signature_of(part)
            said += text_of(part)
            if signature:
                self._check_signature(path, signature, signed_part(part, said), model, key, stand_in=call is not None)
            elif call is not None and not called and needs_signatures(model):
                text = MISSING_ON_VERTEX if vendor_of(path) == "vertex" else MISSING
                raise MissingError(text.format(name=call["name"], place=number + 1))
            called = called or call is not None

    def _check_signature(self, path: str, signature: str, signed: str, model: str, key: str, *, stand_in: bool) -> None:
        if signature == STAND_IN or decoded(signature) == STAND_IN.encode():
            if not stand_in or not needs_signatures(model):
                raise RefusedError("Thought signature is not valid")
            return
        claims = self._signer.read(signature)
        good = claims is not None and claims.vendor == vendor_of(path) and claims.signed == signed
        if claims is None or not good or claims.family != key_of(family_of(model)):
            raise RefusedError(CORRUPTED)
        if self._per_key and claims.credential != key_of(key):
            raise RefusedError(CORRUPTED)


def needs_signatures(model: str) -> bool:
    """Whether a model insists on signatures: from 3 on, also where the name does not tell."""
    match = _VERSION.search(model)
    return match is None or int(match[1] or match[2]) >= 3


def vendor_of(path: str) -> str:
    """Who mints: the Gemini API and Vertex do not take each other's signatures."""
    return "vertex" if "/publishers/" in path else "gemini"


def merged(contents: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The turns: role and parts. Neighbouring contents of one role are one."""
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for content in contents:
        # Results of functions may come as of a role of their own.
        role, parts = "model" if content.get("role") == "model" else "user", content.get("parts")
        if not isinstance(parts, list) or not parts:
            raise RefusedError("contents.parts must not be empty.")
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        else:
            turns.append((role, list(parts)))
    return turns


def member(part: dict[str, Any], name: str) -> dict[str, Any] | None:
    """A member of a part in either spelling."""
    snake = re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)
    return part.get(name, part.get(snake))


def signature_of(part: dict[str, Any]) -> str:
    """The signature of a part in either spelling, "" if it has none."""
    return part.get("thoughtSignature") or part.get("thought_signature") or ""


def text_of(part: dict[str, Any]) -> str:
    """What a part says aloud."""
    return "" if part.get("thought") else part.get("text", "")


def signed_part(part: dict[str, Any], said: str) -> str:
    """What a signature signs of a part; said: all that its turn has said aloud, up to its end."""
    if (call := member(part, "functionCall")) is not None:
        return call_key(call)
    if (code := member(part, "executableCode")) is not None:
        return key_of("code", code.get("language"), code.get("code"))
    if (image := member(part, "inlineData")) is not None:
        return key_of("image", (decoded(image.get("data")) or b"").hex())
    return key_of("text", said)


def call_key(call: dict[str, Any]) -> str:
    """What a signature signs of a call."""
    return key_of("call", call["name"], call.get("args") or {})


def _current(turns: list[tuple[str, list[dict[str, Any]]]]) -> int:
    """The first turn after the last user turn that answers no function call."""
    last = 0
    for number, (role, parts) in enumerate(turns):
        if role == "user" and not any(member(part, "functionResponse") is not None for part in parts):
            last = number
    return last


def _check_encodings(contents: list[dict[str, Any]]) -> None:
    """The request is decoded before anything is looked at, so this goes for what is over, too."""
    for number, content in enumerate(contents):
        for place, part in enumerate(content.get("parts") or []):
            if decoded(signature := signature_of(part)) is None:
                field = f"contents[{number}].parts[{place}].thought_signature"
                text = f"Invalid value at '{field}' (TYPE_BYTES), Base64 decoding failed for \"{signature}\""
                raise RefusedError(text)


def _check_structure(turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    open_calls: list[str] = []
    for role, parts in turns:
        for part in parts:
            if not part.keys() - {"thoughtSignature", "thought_signature", "thought"}:
                raise RefusedError("contents.parts: required oneof field 'data' must have one initialized field")
            if signature_of(part) and member(part, "functionResponse") is not None:
                raise RefusedError("Thought signature is not valid")
        answered = [each["name"] for part in parts if (each := member(part, "functionResponse")) is not None]
        if role == "user" and sorted(answered) != sorted(open_calls):
            raise RefusedError(
                "Please ensure that the number of function response parts is equal to that of function call parts."
            )
        open_calls = [each["name"] for part in parts if (each := member(part, "functionCall")) is not None]
