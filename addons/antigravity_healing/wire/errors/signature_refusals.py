"""What an upstream means when it refuses a conversation for its signatures.

The texts are matched without quotes of any kind and without regard to case: each provider words them in several ways,
and gateways pass them on with any status.
"""

import re
from enum import StrEnum
from typing import NamedTuple


class SignatureFault(StrEnum):
    """What is wrong with the signatures of a request's history."""

    PREFIX = "bound to another conversation"
    """What comes before the block is not what it was made for."""
    BLOCK = "invalid signature"
    """The block itself: edited, foreign, or its signature is garbage."""
    LOST = "signature lost"
    """A thinking block without a signature."""
    LATEST = "latest turn changed"
    """The latest assistant message does not have its thinking blocks as they were."""
    UNOPENED = "thinking block missing"
    """An open tool round that has to begin with a thinking block does not."""
    UNWANTED = "thinking while it is disabled"
    FINAL = "ends in thinking"
    """An assistant message ends in a thinking block: an aborted answer was stored."""
    CALL_UNSIGNED = "thought signature missing"
    """A Gemini function call without its thought signature."""
    CALL_CORRUPTED = "thought signature invalid"
    """A Gemini thought signature that does not verify."""


class Position(NamedTuple):
    """The block that an error names: `messages.1.content.0`."""

    message: int
    block: int | None


_TEXTS = (
    (SignatureFault.PREFIX, r"bound to a different conversation|not created in this conversation"),
    (
        SignatureFault.BLOCK,
        r"invalid signature in thinking block|invalid data in redacted_thinking block"
        r"|each thinking block must contain thinking"
        r"|\bmessages\.\d{1,6}\.content\.\d{1,6}\.(?:thinking\.)?thinking: field required",
    ),
    # Of a message's block, or of none that is named: a tool's schema may have a member of this name, too.
    (
        SignatureFault.LOST,
        r"(?:\bmessages\.\d{1,6}\.content\.\d{1,6}\.|(?<![\w.\])-]))(?:thinking\.)?signature: field required",
    ),
    (
        SignatureFault.LATEST,
        r"thinking or redacted_thinking blocks in the latest assistant message cannot be modified",
    ),
    (SignatureFault.UNOPENED, r"expected thinking or redacted_thinking, but found"),
    (
        SignatureFault.UNWANTED,
        r"when thinking is disabled, an assistant message in the final position cannot contain thinking",
    ),
    (SignatureFault.FINAL, r"the final block in an assistant message cannot be thinking"),
    (
        SignatureFault.CALL_UNSIGNED,
        r"missing\b[^.\n]{0,40}\bthought[_ ]?signature|thought[_ ]?signature\b[^.\n]{0,40}\bmissing",
    ),
    (
        SignatureFault.CALL_CORRUPTED,
        r"(?:corrupted|invalid)\b[^.\n]{0,40}\bthought[_ ]?signature"
        r"|thought[_ ]?signature\b[^.\n]{0,40}\b(?:corrupted|invalid|not valid)"
        r"|thought[_ ]?signature\b.{0,40}\(type_bytes\)",
    ),
)
# Also those that a gateway has escaped.
_QUOTES = re.compile(r"\\{0,8}[`'\"´‘’‚‛“”„‟«»‹›]")
_FAULTS = [(fault, re.compile(pattern)) for fault, pattern in _TEXTS]
_POSITION = re.compile(r"\bmessages\.(\d{1,6})(?:\.content\.(\d{1,6}))?")
_NO_BINDING = re.compile(
    r"block_binding: extra inputs are not permitted|unexpected value\(s\)[^.\n]{0,200}anthropic-beta"
)


def signature_fault(text: str) -> SignatureFault | None:
    """What an error's text says of signatures, None if it says nothing of them."""
    plain = _plain(text)
    return next((fault for fault, pattern in _FAULTS if pattern.search(plain)), None)


def named_position(text: str) -> Position | None:
    """The block or message that an error's text names first, counted from 0; None if it names none."""
    match = _POSITION.search(text.casefold())
    if match is None:
        return None
    return Position(int(match.group(1)), int(match.group(2)) if match.group(2) else None)


def refuses_binding(text: str) -> bool:
    """Whether an upstream does not know the control that makes it drop mismatched thinking blocks by itself."""
    return _NO_BINDING.search(_plain(text)) is not None


def _plain(text: str) -> str:
    return _QUOTES.sub("", text).casefold()
