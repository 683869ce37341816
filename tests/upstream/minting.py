"""Signatures as the real APIs mint them: over exactly the text or call, per model family and per key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from itertools import count
from typing import Any

_RELEASE = re.compile(r"(?:@[\w.-]+|-latest|-\d{8})$")
_CLAUDE = re.compile(r"\b(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?![\d.])")
_MAC_BYTES = 16


def family_of(model: str) -> str:
    """The model without the name of its release."""
    return _RELEASE.sub("", model.removeprefix("models/"))


def claude_version(model: str) -> tuple[str, tuple[int, int]] | None:
    """The line and version of a Claude model, None where the name does not tell."""
    match = _CLAUDE.search(model)
    return (match[1], (int(match[2]), int(match[3] or 0))) if match else None


def has_prefix_check(model: str) -> bool:
    """Whether a model checks what comes before each thinking block."""
    found = claude_version(model)
    if found is None:
        return False
    line, version = found
    return version >= ((5, 1) if line in ("fable", "mythos") else (5, 5))


def key_of(*parts: Any) -> str:
    """A short digest of JSON values; equal for equal ones, however their numbers are written."""
    text = json.dumps(_as_numbers(parts), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_numbers(value: Any) -> Any:
    match value:
        case dict():
            return {name: _as_numbers(item) for name, item in value.items()}
        case list() | tuple():
            return [_as_numbers(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value


@dataclass(frozen=True)
class Claims:
    """What a signature says.

    family, credential: digests of the model family and of the key that minted it.
    signed: digest of exactly what it signs.
    prefix: digest of all that came before, but for thinking; chain: the digests of the thinking blocks before it.
    turn, ordinal, size: which block of how many of which answer it is.
    """

    vendor: str
    family: str
    credential: str
    signed: str
    prefix: str = ""
    chain: tuple[str, ...] = ()
    turn: int = 0
    ordinal: int = 0
    size: int = 1


class Signer:
    """Mints signatures and reads them; two signers with the same secret trust each other.

    name: signers of different names never mint the same.
    """

    def __init__(self, secret: bytes = b"the faulty upstream", name: str = "") -> None:
        self.minted: list[str] = []
        """All that this signer has minted."""
        self._secret = secret
        self._name = name
        self._nonces = count(1)
        self._turns = count(1)

    def new_turn(self) -> int:
        """The number of a new answer."""
        return next(self._turns)

    def mint(self, claims: Claims) -> str:
        """A signature: standard base64, at least 60 characters, never the same twice."""
        nonce = f"{self._name}.{next(self._nonces)}"
        text = json.dumps([nonce, *claims.__dict__.values()], separators=(",", ":")).encode()
        self.minted.append(base64.b64encode(self._mac(text) + text).decode())
        return self.minted[-1]

    def read(self, signature: object) -> Claims | None:
        """What a signature says, None if this signer did not make it. Any spelling of base64 will do."""
        raw = decoded(signature)
        if raw is None or not encodes(str(signature), raw):
            return None
        if not hmac.compare_digest(raw[:_MAC_BYTES], self._mac(raw[_MAC_BYTES:])):
            return None
        _, vendor, family, credential, signed, prefix, chain, turn, ordinal, size = json.loads(raw[_MAC_BYTES:])
        return Claims(vendor, family, credential, signed, prefix, tuple(chain), turn, ordinal, size)

    def _mac(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, text, "sha256")[:_MAC_BYTES]


def decoded(signature: object) -> bytes | None:
    """The bytes of a base64 text in any spelling, None if it is none."""
    if not isinstance(signature, str):
        return None
    plain = signature.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        return None


def encodes(signature: str, raw: bytes) -> bool:
    """Whether it is the base64 of these bytes, and not one with other bits behind the last byte."""
    return base64.b64encode(raw).decode().rstrip("=") == signature.rstrip("=").replace("-", "+").replace("_", "/")
