"""JSON as it really comes: fast where it is ordinary, and without refusing what only strict parsers refuse.

Half a surrogate pair (an emoji split over two deltas), integers beyond 64 bits and NaN are in real traffic; orjson
takes none of them.
"""

import hashlib
import json
from typing import Any

import orjson


def parse(data: bytes | bytearray) -> Any:
    """The value. Raises ValueError for what is no JSON, and for nesting that is too deep."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data.decode())
        except RecursionError:
            raise ValueError("nested too deeply") from None


def dump(value: Any) -> bytes:
    """The value as compact JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def dump_text(value: Any) -> str:
    """The value as compact JSON, as text."""
    return dump(value).decode()


def objects_at(body: Any, name: str) -> list[dict[str, Any]]:
    """The objects of a list in a body; what is none stands as an empty one, so that places stay right."""
    items = body.get(name) if isinstance(body, dict) else None
    return [item if isinstance(item, dict) else {} for item in items] if isinstance(items, list) else []


def only_objects_at(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list in a body, the list itself; an empty one where anything else is in it."""
    items = body.get(name)
    return items if isinstance(items, list) and all(isinstance(item, dict) for item in items) else []


def with_items(body: dict[str, Any], name: str, changed: dict[int, Any]) -> dict[str, Any]:
    """The body with other items at some places of a list; the body itself where nothing is to be changed."""
    if not changed:
        return body
    items = list(body[name])
    for place, item in changed.items():
        items[place] = item
    return {**body, name: items}


def canonical(value: Any) -> bytes:
    """The value as JSON that is the same for equal values, whatever the order of their members."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def digest(*parts: str | bytes) -> str:
    """A short key for these parts: 32 hexadecimal digits; equal for equal parts only."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8))
        whole.update(data)
    return whole.hexdigest()
