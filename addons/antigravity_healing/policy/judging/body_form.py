"""What a body is by its first bytes: labels lie, and a healthy answer with the wrong one is still an answer."""

import re
from enum import Enum

from antigravity_healing.wire.http.sse import BOM

_FIELD = re.compile(rb"(?:data|event|id|retry)?:")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_BLANK = b" \t\r\n"
LONGEST_BEGINNING = 16 * 1024
"""Bytes that are waited for a sign of what a body is."""


class Form(Enum):
    """What a good answer to a request for one comes as."""

    EVENTS = "a stream of events"
    ARRAY = "a stream that is one JSON array"
    JSON = "one JSON value"


def labelled(content_type: str, asked: Form) -> Form:
    """What a body is by its label, where that says so, else what was asked for."""
    kind = content_type.lower()
    if kind.startswith("application/json"):
        return Form.ARRAY if asked is Form.ARRAY else Form.JSON
    return Form.EVENTS if kind.startswith("text/event-stream") else asked


def form_of(beginning: bytes, otherwise: Form, *, whole: bool = False, arrays: bool = False) -> Form | None:
    """What a body that begins so is; None as long as that can't be told.

    otherwise: what a body counts as that is none of them. whole: whether nothing more comes.
    arrays: whether an array is the events of a stream.
    """
    text = beginning.removeprefix(BOM).lstrip(_BLANK)
    if text[:1] in (b"{", b"["):
        return Form.ARRAY if arrays and text[:1] == b"[" else Form.JSON
    if _FIELD.match(text):
        return Form.EVENTS
    undecided = any(field.startswith(text) for field in _FIELDS) or BOM.startswith(beginning)
    if undecided and not whole and len(beginning) < LONGEST_BEGINNING:
        return None
    return otherwise
