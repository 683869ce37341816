"""The thought signatures in a Gemini conversation's history: on which parts they are, and where they have to be.

Nothing here changes what it is given: changed bodies share their unchanged parts with the old ones.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from antigravity_healing.wire.gemini.spelling import in_camel_case
from antigravity_healing.wire.json.value import canonical, digest, objects_at, only_objects_at, with_items
from antigravity_healing.wire.requests.places import (
    SHORTEST_SIGNATURE,
    Places,
    PlacesBuilder,
    Said,
    Side,
    Spot,
    loosely,
)
from antigravity_healing.wire.requests.places import Place as Spoken

type Body = dict[str, Any]
type Part = dict[str, Any]

STAND_IN = "skip_thought_signature_validator"
"""The documented signature for function calls that really have none."""
_SPELLINGS = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")
_RESPONSES = ("functionResponse", "function_response")
_IN_PIECES = ("partialArgs", "partial_args", "willContinue", "will_continue")
_WANTED_IN_PIECES = (
    ("toolConfig", "tool_config"),
    ("functionCallingConfig", "function_calling_config"),
    ("streamFunctionCallArguments", "stream_function_call_arguments"),
)
# Members of a part that say nothing by themselves.
_FRAME = frozenset(("text", "thought", *_SPELLINGS, "partMetadata", "part_metadata"))
EMPTY_PART: Part = {"text": "(no text)"}
"""Stands in a content of which nothing is left: one without parts is refused."""


class PartPlace(NamedTuple):
    """Where a part is: the index of its content, and of the part in it."""

    content: int
    part: int


class Call(NamedTuple):
    """A function call of the history.

    id: as the API gave it, "" if it gave none. said: its name and arguments, as a key.
    nth: how many calls of its turn that say the same come before it.
    first: whether it is the first of its turn, which has to be signed.
    current: whether it belongs to the current turn, which is checked.
    """

    place: PartPlace
    part: Part
    id: str
    said: str
    nth: int
    first: bool
    current: bool


def contents_of(body: Any) -> list[dict[str, Any]]:
    """The contents; what is none at all stands as an empty one, so that places stay right."""
    return objects_at(body, "contents")


def parts_of(content: dict[str, Any]) -> list[Part]:
    """The parts of a content; none where they are not what they should be."""
    return only_objects_at(content, "parts")


def model_parts(body: Any) -> Iterator[tuple[PartPlace, Part]]:
    """All parts that the model said."""
    for index, content in enumerate(contents_of(body)):
        if content.get("role") == "model":
            for number, part in enumerate(parts_of(content)):
                yield PartPlace(index, number), part


def signature_of(part: Part) -> str:
    """The thought signature of a part, "" if it has none."""
    for name in _SPELLINGS:
        if isinstance(value := part.get(name), str):
            return value
    return ""


def real_signature_of(part: Part) -> str:
    """The thought signature of a part, "" if it has none that was minted for it: the stand-in is none."""
    signature = signature_of(part)
    return signature if len(signature) >= SHORTEST_SIGNATURE and not is_stand_in(signature) else ""


def signed_in(parts: Iterable[Part]) -> list[str]:
    """What is signed among these parts, in short words."""
    return [in_words(part) for part in parts if real_signature_of(part)]


def in_words(part: Part) -> str:
    """What a signed part is, in short words."""
    call = call_of(part)
    return "text" if call is None else f"call {call.get('name')}"


def is_stand_in(signature: str) -> bool:
    """Whether it is the documented stand-in, also where a client has put it into base64."""
    return bool(signature) and signature_key(signature) in _STAND_INS


def signature_key(signature: str) -> str:
    """What identifies a signature in whatever base64 it is written."""
    try:
        raw = base64.b64decode(signature.rstrip("=").replace("-", "+").replace("_", "/") + "==", validate=False)
    except (binascii.Error, ValueError):
        return digest("text", signature)
    return digest("signature", raw)


_STAND_INS = frozenset(signature_key(spelled) for spelled in (STAND_IN, base64.b64encode(STAND_IN.encode()).decode()))


def response_of(part: Part) -> dict[str, Any] | None:
    """The function's response that a part is, None if it is none."""
    for name in _RESPONSES:
        if isinstance(response := part.get(name), dict):
            return response
    return None


def call_of(part: Part) -> dict[str, Any] | None:
    """The function call of a part, None if it is none."""
    for name in _CALLS:
        if isinstance(call := part.get(name), dict):
            return call
    return None


def call_said(call: dict[str, Any]) -> str:
    """What a call says, whatever its id: equal for equal names and arguments only."""
    return digest("call", str(call.get("name")), canonical(call.get("args") or {}))


def call_flaw(call: dict[str, Any], *, in_pieces: bool = False) -> str:
    """What a model did that made a call which nobody can carry out, "" if this one can be.

    in_pieces: whether the request asks for arguments in pieces, of which only the first has the name.
    """
    name = call.get("name")
    named = f'"{name}"' if isinstance(name, str) and name else "a tool without a name"
    if not isinstance(call.get("args"), dict | None):
        return f"called {named} with arguments that are no object"
    if in_pieces:
        return ""
    if any(call.get(member) for member in _IN_PIECES):
        return f"called {named} in pieces, which it was not asked for"
    return "" if isinstance(name, str) and name else f"called {named}"


def wants_pieces(body: Any) -> bool:
    """Whether a request asks for the arguments of calls in pieces, as Vertex AI gives them."""
    for names in _WANTED_IN_PIECES:
        body = next((body[name] for name in names if name in body), None) if isinstance(body, dict) else None
    return body is True


def places_of(body: Any, client: str) -> Places:
    """Where each side's turn stands. client: whose conversation it is."""
    return Places(partial(_sides_of, body, client))


def _sides_of(body: Any, client: str) -> tuple[list[Side], Spoken]:
    system = body.get("systemInstruction", body.get("system_instruction")) if isinstance(body, dict) else None
    places = PlacesBuilder(client, system, body.get("tools") if isinstance(body, dict) else None)
    for index, content in enumerate(contents_of(body)):
        said = places.message(index, is_model=content.get("role") == "model")
        for part in parts_of(content):
            _say(said, part)
    return places.places()


def said_by(parts: Sequence[Part]) -> Spoken:
    """What an answer of these parts says."""
    said = Said()
    for part in parts:
        _say(said, part)
    return said.so_far()


def call_ids(parts: Iterable[Part]) -> list[str]:
    """The ids of the function calls among these parts."""
    calls = (call_of(part) for part in parts)
    return [str(call["id"]) for call in calls if call is not None and call.get("id")]


def spots_of(parts: Iterable[Part]) -> Iterator[tuple[Part, Spot]]:
    """The parts of a turn that may be signed, each with its spot: what is said before it, and what it says itself.

    A part of text says all of the text that goes on with it, however it is cut into parts.
    """
    said = Said()
    for part in parts:
        before = said.so_far()
        _say(said, part)
        if (call := call_of(part)) is not None:
            yield part, before.with_("call", call_said(call))
        elif part.get("thought"):
            continue
        elif _is_text(part):
            # A digest of the text, as each part's text would be all of the others' before it, too.
            yield part, said.before_run().with_("text", said.run)
        else:
            yield part, before.with_("other", digest(canonical(_other(part))))


def _say(said: Said, part: Part) -> None:
    """Tell what a part says, but for thoughts, which clients lose."""
    if (call := call_of(part)) is not None:
        name, args = str(call.get("name")), call.get("args") or {}
        written = canonical(args)
        exact = digest("call", str(call.get("id") or ""), name, written).encode()
        said.item(exact, digest("call", name, loosely(args, written)).encode())
    elif part.get("thought"):
        return
    elif _is_text(part):
        text = part.get("text")
        said.text(text if isinstance(text, str) else "")
    elif (response := response_of(part)) is not None:
        exact = digest(canonical(response)).encode()
        said.item(exact, exact)
    else:
        said.item(digest(canonical(_other(part))).encode())


def _is_text(part: Part) -> bool:
    """Whether a part is text, or says nothing."""
    return isinstance(part.get("text"), str) or not part.keys() - _FRAME


def _other(part: Part) -> Part:
    """What a part of another kind says, in one spelling."""
    said: Part = in_camel_case(_bare(part))
    return said


def calls_of(body: Any) -> list[Call]:
    """The function calls of the history. The model's neighbouring contents are one turn, however a client splits it."""
    contents = contents_of(body)
    current_from = _current_turn(contents)
    seen: Counter[str] = Counter()
    calls = []
    for index, content in enumerate(contents):
        if content.get("role") != "model":
            seen.clear()
            continue
        for number, part in enumerate(parts_of(content)):
            if (call := call_of(part)) is None:
                continue
            said = call_said(call)
            here, call_id = PartPlace(index, number), str(call.get("id") or "")
            calls.append(Call(here, part, call_id, said, seen[said], not seen, index >= current_from))
            seen[said] += 1
    return calls


def checked_calls(body: Any) -> list[Call]:
    """The calls whose signatures upstream looks at: the first of each step of the current turn."""
    return [call for call in calls_of(body) if call.current and call.first]


def turns_of(body: Any, places: Places) -> Iterator[tuple[Side, list[tuple[PartPlace, Part]]]]:
    """The model's turns: each side, and its parts with their places."""
    contents = contents_of(body)
    for side in places.models:
        yield (
            side,
            [
                (PartPlace(index, number), part)
                for index in range(side.first, side.last + 1)
                for number, part in enumerate(parts_of(contents[index]))
            ],
        )


def lacks_signatures(parts: Sequence[Part]) -> bool:
    """Whether a turn of the model may have lost a signature: cheap, and right whenever it says no."""
    if not any(map(signature_of, parts)):
        return True
    call = next((part for part in parts if call_of(part) is not None), None)
    return call is not None and not signature_of(call)


def with_parts(body: Body, change: Callable[[PartPlace, Part], Part | None]) -> Body:
    """The body with each of the model's parts as `change` gives it; None takes a part out."""
    changed = {}
    for index, content in enumerate(contents_of(body)):
        if content.get("role") != "model":
            continue
        parts = parts_of(content)
        new = [change(PartPlace(index, number), part) for number, part in enumerate(parts)]
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
