"""Changing JSON inputs as JSON: a byte that is changed at random nearly always makes one that is none."""

import json
from copy import deepcopy
from random import Random
from typing import Any

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 2**53 + 1, 2**63, -(2**64), 1e308, "", " ", "\n", "\u0000", "\ud83d", "\u2028",
    "text", [], {}, [[]], [{}], {"": 0}, {"type": None}, "STOP", "user", "model", "assistant", "tool_use",
    "tool_result",
)  # fmt: skip
_LONG = 100
_DEPTHS = (3, 30, 300, 1000, 1500)


def mutated(data: bytes, longest: int, seed: int) -> bytes | None:
    """The JSON text with one to four places changed; None where it is no JSON or has got too long."""
    random = Random(seed)
    try:
        value = json.loads(data)
        for _ in range(random.randint(1, 4)):
            value = _changed(value, _nodes(value), random)
        made = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return None
    return made if len(made) <= longest else None


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Each place in a value: what holds it, and under what."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        members = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, item in members:
            found.append((holder, key))
            waiting.append(item)
    return found


def _changed(value: Any, places: list[tuple[Any, Any]], random: Random) -> Any:
    if not places:
        return _odd(random)
    holder, key = random.choice(places)
    other_holder, other_key = random.choice(places)
    match random.randrange(7):
        case 0:
            holder[key] = _odd(random)
        case 1:
            holder[key] = json.loads(json.dumps(other_holder[other_key]))
        case 2:
            del holder[key]
        case 3 if isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        case 4 if isinstance(holder, dict):
            names = [name for _, name in places if isinstance(name, str)]
            holder[random.choice(names)] = holder.pop(key)
        case 5:
            for _ in range(random.choice(_DEPTHS)):
                holder[key] = [holder[key]] if random.random() < 0.5 else {str(key): holder[key]}
        case _:
            if isinstance(holder[key], str) and len(holder[key]) < _LONG:
                holder[key] = holder[key] * random.choice((0, 2, 50))
            elif isinstance(holder[key], list):
                random.shuffle(holder[key])
    return value


def _odd(random: Random) -> Any:
    # A copy: what is changed in it later must not be there the next time, nor hold itself in the end.
    return deepcopy(random.choice(_ODD))
