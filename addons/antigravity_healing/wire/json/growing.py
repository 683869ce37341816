"""Fields that grow from event to event, and what they weigh, so that whoever keeps them can stop in time."""

from typing import Any

from antigravity_healing.wire.json.value import JsonText, joined

# What any value weighs beside its text.
_EACH = 16
# How deep fields are merged one by one: usage has objects, and these have counts.
_MERGED_LEVELS = 4
# Members of an object that is merged: it is copied each time.
_MOST_MERGED = 1000
_JOINED_AT_ONCE = 256


def weight(value: Any) -> int:
    """About how many bytes a JSON value takes."""
    total = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        total += _EACH
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, dict):
            total += sum(map(len, item))
            waiting += item.values()
            if isinstance(item, JsonText):
                total += len(item.text)
        elif isinstance(item, list):
            waiting += item
    return total


class Pieces:
    """A text that comes in pieces."""

    def __init__(self) -> None:
        self._joined: list[str] = []
        self._last: list[str] = []

    def add(self, piece: str) -> int:
        """Take the next piece. Gives what it weighs."""
        self._last.append(piece)
        # Each has a frame that is larger than most of them are.
        if len(self._last) >= _JOINED_AT_ONCE:
            self._joined.append("".join(self._last))
            self._last.clear()
        return len(piece)

    @property
    def text(self) -> str:
        """The whole."""
        return joined((*self._joined, *self._last))


def put(fields: dict[str, Any], name: str, value: Any) -> int:
    """Set a field to what was said last; what says nothing takes nothing back. Gives by how much the fields grew."""
    known = fields.get(name)
    if known is not None and (value is None or value == ""):
        return 0
    fields[name] = value
    return weight(value) + len(name) if known is None else weight(value) - weight(known)


def extend(fields: dict[str, Any], name: str, value: Any) -> int:
    """As `put`, but a list goes on, unless it repeats what has come: then it is the new total."""
    known = fields.get(name)
    if not isinstance(value, list):
        return put(fields, name, value)
    if isinstance(known, list) and not _begins_with(value, known):
        known.extend(value)
        return weight(value)
    return put(fields, name, list(value))


def merge(fields: dict[str, Any], name: str, said: Any) -> int:
    """As `put`, but an object is merged field by field, unless it has very many."""
    return _merge(fields, name, said, _MERGED_LEVELS)


def _merge(fields: dict[str, Any], name: str, said: Any, levels: int) -> int:
    known = fields.get(name)
    if not (levels and isinstance(said, dict) and isinstance(known, dict)) or len(known) + len(said) > _MOST_MERGED:
        return put(fields, name, said)
    # A copy: the known one may belong to an event.
    merged = fields[name] = dict(known)
    return sum(_merge(merged, field, value, levels - 1) for field, value in said.items())


def _begins_with(items: list[Any], start: list[Any]) -> bool:
    try:
        return len(items) >= len(start) and items[: len(start)] == start
    except RecursionError:
        return False
