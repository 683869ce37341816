"""A key for how a conversation begins."""

import hashlib
from typing import Any

from antigravity_healing.wire.json.value import dump

_LONG = 64 * 1024
# As deep as a message holds its documents, and as many parts as people write by hand.
_DEEPEST = 5
_MOST_ITEMS = 1000


def opening_key(*parts: Any) -> str:
    """The same for the same JSON values in the same order; a long document is not copied for it."""
    return hashlib.sha256(dump([_shortened(part, _DEEPEST) for part in parts])).hexdigest()


def _shortened(value: Any, depth: int) -> Any:
    """The value with digests in place of long strings, as far as it is looked into."""
    if isinstance(value, str):
        if len(value) <= _LONG:
            return value
        return {"sha256": hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()}
    if not depth or not isinstance(value, dict | list) or len(value) > _MOST_ITEMS:
        return value
    if isinstance(value, dict):
        return {name: _shortened(item, depth - 1) for name, item in value.items()}
    return [_shortened(item, depth - 1) for item in value]
