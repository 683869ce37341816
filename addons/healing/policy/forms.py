"""What a body is by its first bytes: labels lie, and a healthy answer with the wrong one is still an answer."""

import re
from enum import Enum

from healing.wire.sse import BOM

_FIELD = re.compile(rb"(?:data|event|id|retry)?:")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_BLANK = b" \t\r\n"


class Form(Enum):
    """What a good answer to a request for one comes as."""

    EVENTS = "a stream of events"
    JSON = "one JSON value"


def form_of(beginning: bytes, asked: Form, *, whole: bool = False) -> Form | None:
    """What a body that begins so is; None as long as that can't be told.

    asked: what was asked for, which is what a body counts as that is neither. whole: whether nothing more comes.
    """
    said = beginning.removeprefix(BOM).lstrip(_BLANK)
    if said[:1] in (b"{", b"["):
        return Form.JSON
    if _FIELD.match(said):
        return Form.EVENTS
    if not whole and (any(field.startswith(said) for field in _FIELDS) or BOM.startswith(beginning)):
        return None
    return asked
