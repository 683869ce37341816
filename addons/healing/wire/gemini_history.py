"""The thought signatures in a Gemini conversation's history: on which parts they are, and where they have to be.

Nothing here changes what it is given: changed bodies share their unchanged parts with the old ones.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from healing.wire.jsonvalue import canonical, digest, objects_at, only_objects_at, with_items

type Body = dict[str, Any]
type Part = dict[str, Any]

STAND_IN = "skip_thought_signature_validator"
"""The documented signature for function calls that really have none."""
_SPELLINGS = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")
_RESPONSES = ("functionResponse", "function_response")
EMPTY_PART: Part = {"text": "(no text)"}
"""Stands in a content of which nothing is left: one without parts is refused."""


class Place(NamedTuple):
    """Where a part is: the index of its content, and of the part in it."""

    content: int
    part: int


class Call(NamedTuple):
    """A function call of the history.

    id: as the API gave it, "" if it gave none. said: its name and arguments, as a key.
    key: what identifies it in this conversation.
    first: whether it is the first of its turn, which has to be signed.
    current: whether it belongs to the current turn, which is checked.
    """

    place: Place
    part: Part
    id: str
    said: str
    key: str
    first: bool
    current: bool


def contents_of(body: Any) -> list[dict[str, Any]]:
    """The contents; what is none at all stands as an empty one, so that places stay right."""
    return objects_at(body, "contents")


def parts_of(content: dict[str, Any]) -> list[Part]:
    """The parts of a content; none where they are not what they should be."""
    return only_objects_at(content, "parts")


def model_parts(body: Any) -> Iterator[tuple[Place, Part]]:
    """All parts that the model said."""
    for index, content in enumerate(contents_of(body)):
        if content.get("role") == "model":
            for number, part in enumerate(parts_of(content)):
                yield Place(index, number), part


def signature_of(part: Part) -> str:
    """The thought signature of a part, "" if it has none."""
    for name in _SPELLINGS:
        if isinstance(value := part.get(name), str):
            return value
    return ""


def signature_key(signature: str) -> str:
    """What identifies a signature in whatever base64 it is written."""
    try:
        raw = base64.b64decode(signature.rstrip("=").replace("-", "+").replace("_", "/") + "==", validate=False)
    except (binascii.Error, ValueError):
        return digest("text", signature)
    return digest("signature", raw)


def call_of(part: Part) -> dict[str, Any] | None:
    """The function call of a part, None if it is none."""
    for name in _CALLS:
        if isinstance(call := part.get(name), dict):
            return call
    return None


def said_by(call: dict[str, Any]) -> str:
    """What a call says, whatever its id: equal for equal names and arguments only."""
    return digest("call", str(call.get("name")), canonical(call.get("args") or {}))


def visible_text(parts: Sequence[Part]) -> str | None:
    """The text of these parts without thoughts, None if there is anything but text among them."""
    if any(not isinstance(part.get("text"), str) for part in parts):
        return None
    return "".join(part["text"] for part in parts if not part.get("thought"))


def calls_of(body: Any) -> list[Call]:
    """The function calls of the history. The model's neighbouring contents are one turn, however a client splits it."""
    contents = contents_of(body)
    current_from = _current_turn(contents)
    start = digest(canonical(contents[0])) if contents else ""
    seen: Counter[str] = Counter()
    calls = []
    signed_turn = False
    for index, content in enumerate(contents):
        if content.get("role") != "model":
            signed_turn = False
            continue
        for number, part in enumerate(parts_of(content)):
            if (call := call_of(part)) is None:
                continue
            call_id = str(call.get("id") or "")
            said = said_by(call)
            same = digest(said, call_id)
            seen[same] += 1
            key = digest(start, same, str(seen[same]))
            calls.append(Call(Place(index, number), part, call_id, said, key, not signed_turn, index >= current_from))
            signed_turn = True
    return calls


def checked_calls(body: Any) -> list[Call]:
    """The calls whose signatures upstream looks at: the first of each step of the current turn."""
    return [call for call in calls_of(body) if call.current and call.first]


def lacks_signatures(body: Any) -> bool:
    """Whether any turn of the model may have lost a signature: cheap, and right whenever it says no."""
    in_turn = False
    for content in contents_of(body):
        if content.get("role") != "model":
            in_turn = False
            continue
        parts = parts_of(content)
        signed_part = any(signature_of(part) for part in parts)
        call = next((part for part in parts if call_of(part) is not None), None)
        if not signed_part and not in_turn:
            return True
        if call is not None and not in_turn and not signature_of(call):
            return True
        in_turn = in_turn or call is not None
    return False


def with_parts(body: Body, change: Callable[[Place, Part], Part | None]) -> Body:
    """The body with each of the model's parts as `change` gives it; None takes a part out."""
    changed = {}
    for index, content in enumerate(contents_of(body)):
        if content.get("role") != "model":
            continue
        parts = parts_of(content)
        new = [change(Place(index, number), part) for number, part in enumerate(parts)]
        if any(after is not before for after, before in zip(new, parts, strict=True)):
            changed[index] = {**content, "parts": [part for part in new if part is not None] or [EMPTY_PART]}
    return with_items(body, "contents", changed)


def signed(part: Part, signature: str, spelling: str) -> Part:
    """The part with this signature."""
    return {**_bare(part), spelling: signature}


def unsigned(part: Part) -> Part | None:
    """The part without its signature, None if there is nothing else in it."""
    rest = _bare(part)
    return rest if rest.get("text") or rest.keys() - {"text", "thought"} else None


def _bare(part: Part) -> Part:
    return {name: value for name, value in part.items() if name not in _SPELLINGS}


def spelling_in(body: Any) -> str:
    """How this client spells the member that holds a signature."""
    names = {name for _, part in model_parts(body) for name in part}
    snake = names & {"thought_signature", "function_call"} and "thoughtSignature" not in names
    return "thought_signature" if snake else "thoughtSignature"


def _current_turn(contents: Sequence[dict[str, Any]]) -> int:
    """Where the current turn begins: behind the last user content that is no function's response."""
    for index in range(len(contents) - 1, -1, -1):
        content = contents[index]
        if content.get("role") in ("user", None) and not any(_is_response(part) for part in parts_of(content)):
            return index + 1
    return 0


def _is_response(part: Part) -> bool:
    return any(name in part for name in _RESPONSES)
