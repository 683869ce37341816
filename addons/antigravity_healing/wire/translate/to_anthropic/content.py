"""The contents of a Gemini request as Anthropic messages."""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from antigravity_healing.wire.anthropic.history import EMPTY_TURN
from antigravity_healing.wire.json.value import canonical, digest
from antigravity_healing.wire.translate.common import Block, Body, History, UntranslatableError
from antigravity_healing.wire.translate.to_anthropic import parts as parts_of
from antigravity_healing.wire.translate.to_anthropic.parts import Part
from antigravity_healing.wire.translate.to_anthropic.property_names import NO_PROPERTIES, PropertyNames
from antigravity_healing.wire.translate.to_anthropic.tools import tool_name

type Message = dict[str, Any]

_ROLES: dict[Any, Literal["user", "assistant"]] = {
    "model": "assistant",
    "user": "user",
    "function": "user",
    "tool": "user",
    "": "user",
    None: "user",
}
_CALL_ID = re.compile(r"[A-Za-z0-9_-]+")
# The Gemini API's own words.
_UNPAIRED = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)


@dataclass(slots=True)
class _Turn:
    """Neighbouring contents of one side: all of their parts, with their places. end: the index of the last one."""

    role: Literal["user", "assistant"]
    end: int = 0
    parts: list[tuple[str, Part]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Call:
    """A function's call that waits for its response. own: the client's id for it, "" if it gave none."""

    name: str
    own: str
    id: str


def messages(contents: Any, history: History, arguments: Mapping[str, PropertyNames]) -> list[Message]:
    """The messages, beginning with the user's, of user and assistant in turn. Raises UntranslatableError.

    A turn that is known as upstream's own is the list that `history` gives.
    arguments: how those of the client's functions are called upstream, by the functions' names.
    """
    turns = list(_turns(contents))
    ids = _Ids()
    told: list[Message] = []
    calls: list[_Call] = []
    for number, turn in enumerate(turns):
        if turn.role == "user":
            blocks = _user_blocks(turn, calls)
            calls = []
        else:
            blocks, calls = _own_blocks(turn, ids, history) or _model_blocks(turn, number, ids, arguments)
        told.append({"role": turn.role, "content": blocks or [EMPTY_TURN]})
    last = told[-1]["content"][-1]
    if turns[-1].role == "assistant" and last["type"] == "text":
        # What is to be gone on with must not end in white space.
        told[-1]["content"] = [*told[-1]["content"][:-1], {**last, "text": last["text"].rstrip()}]
    if turns[0].role == "assistant":
        told.insert(0, {"role": "user", "content": [EMPTY_TURN]})
    return told


def system_blocks(instruction: Any, where: str) -> list[Block]:
    """The blocks of a system instruction, in which only text may be. Raises UntranslatableError."""
    blocks: list[Block] = []
    for at, part in _parts(instruction, where):
        text = parts_of.text_of(part)
        if text is None:
            raise UntranslatableError(f"{at}: only text has a counterpart in the Messages API here")
        blocks += parts_of.text_block(text)
    return blocks


def _turns(contents: Any) -> Iterator[_Turn]:
    if isinstance(contents, str | dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise UntranslatableError("contents: contents is not specified")
    turn: _Turn | None = None
    for index, content in enumerate(contents):
        where = f"contents[{index}]"
        role = content.get("role") if isinstance(content, dict) else None
        if not isinstance(role, str | None) or role not in _ROLES:
            raise UntranslatableError(f"{where}.role: Please use a valid role: user, model.")
        if turn is None or turn.role != _ROLES[role]:
            if turn is not None:
                yield turn
            turn = _Turn(_ROLES[role])
        turn.end = index
        turn.parts += _parts(content, where)
    if turn is not None:
        yield turn


def _parts(content: Any, where: str) -> Iterator[tuple[str, Part]]:
    """The parts of a content, each with its place; a string is one of text, and a part may stand alone."""
    parts = content
    if isinstance(content, dict):
        parts = content.get("parts") if "parts" in content or content.keys() <= {"role"} else content
        where = f"{where}.parts"
    if parts is None:
        return
    for index, part in enumerate(parts if isinstance(parts, list) else [parts]):
        at = f"{where}[{index}]"
        if isinstance(part, str):
            yield at, {"text": part}
        elif isinstance(part, dict):
            yield at, {name: value for name, value in part.items() if name != "role"}
        else:
            raise UntranslatableError(f"{at}: a part has to be an object")


class _Ids:
    """The ids of all calls of a request: the client's own where the API takes them, and each only once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def of(self, own: str, place: str) -> str:
        """The id of the call at this place."""
        call_id = own if _CALL_ID.fullmatch(own) else f"call_{digest(own)[:16]}" if own else f"call_{place}"
        if call_id in self._given:
            call_id = f"{call_id}_{place}"
        while call_id in self._given:
            call_id += "_"
        self._given.add(call_id)
        return call_id

    def are_free(self, call_ids: Iterable[str]) -> bool:
        """Whether no call has got one of these yet."""
        return self._given.isdisjoint(call_ids)


def _own_blocks(turn: _Turn, ids: _Ids, history: History) -> tuple[list[Block], list[_Call]] | None:
    """A turn as it came from Anthropic, and the calls in it; None where that is not known."""
    parts = [part for _, part in turn.parts]
    own = history.turn(turn.end, parts)
    if own is None:
        return None
    given = [part["functionCall"] for part in parts if parts_of.is_call(part)]
    uses = [block for block in own if block.get("type") == "tool_use"]
    if len(given) != len(uses) or not ids.are_free(str(use["id"]) for use in uses):
        return None
    calls = []
    for call, use in zip(given, uses, strict=True):
        client_id = call.get("id")
        own_id = ids.of(str(use["id"]), "")
        calls.append(_Call(str(call.get("name")), client_id if isinstance(client_id, str) else "", own_id))
    return own, calls


def _model_blocks(
    turn: _Turn, number: int, ids: _Ids, arguments: Mapping[str, PropertyNames]
) -> tuple[list[Block], list[_Call]]:
    """The blocks of a turn, and the calls among them. Its thoughts are left out: only signed they may be sent."""
    blocks: list[Block] = []
    calls: list[_Call] = []
    said: list[str] = []
    for where, part in turn.parts:
        text = parts_of.text_of(part)
        if text is not None and not part.get("thought"):
            # A block's text comes in many parts.
            said.append(text)
            continue
        blocks += parts_of.text_block("".join(said))
        said.clear()
        if parts_of.is_call(part):
            block, call = _call(part["functionCall"], where, f"{number}_{len(calls)}", ids, arguments)
            blocks.append(block)
            calls.append(call)
        elif parts_of.is_response(part):
            raise UntranslatableError(f"{where}: a function response can't be in a content of the model")
        elif text is None:
            blocks += parts_of.model_blocks(part, where)
    return blocks + parts_of.text_block("".join(said)), calls


def _call(
    given: Part, where: str, place: str, ids: _Ids, arguments: Mapping[str, PropertyNames]
) -> tuple[Block, _Call]:
    name, own, args = given.get("name"), given.get("id"), given.get("args", {})
    if not isinstance(name, str) or not name:
        raise UntranslatableError(f"{where}.functionCall.name: has to be a string")
    if not isinstance(args, dict):
        raise UntranslatableError(f"{where}.functionCall.args: has to be an object")
    own = own if isinstance(own, str) else ""
    call = _Call(name, own, ids.of(own, place))
    args = arguments.get(name, NO_PROPERTIES).value_there(args)
    return {"type": "tool_use", "id": call.id, "name": tool_name(name), "input": args}, call


def _user_blocks(turn: _Turn, calls: list[_Call]) -> list[Block]:
    """The results of the calls of the turn before, in their order, then what else the user says."""
    responses: list[tuple[str, Part]] = []
    expected = Counter(call.own for call in calls)
    given: dict[str, set[str]] = {}
    said: list[Block] = []
    for where, part in turn.parts:
        if parts_of.is_response(part):
            response = part["functionResponse"]
            own = response.get("id")
            # Gemini CLI sends each twice in a conversation that it takes up again.
            if isinstance(own, str) and own:
                before, said_here = given.setdefault(own, set()), digest(canonical(response))
                if len(before) >= expected[own] and said_here in before:
                    continue
                before.add(said_here)
            responses.append((f"{where}.functionResponse", response))
        elif parts_of.is_call(part):
            raise UntranslatableError(f"{where}: a function call can only be in a content of the model")
        elif not (part.get("thought") and parts_of.text_of(part) is not None):
            said += parts_of.user_blocks(part, where)
    return [*(parts_of.result_block(*pair) for pair in _paired(responses, calls)), *said]


def _paired(responses: list[tuple[str, Part]], calls: list[_Call]) -> list[tuple[Body, str, str]]:
    """Each call's response, its id and the response's place: by the client's id, else in order by the name."""
    if len(responses) != len(calls):
        raise UntranslatableError(_UNPAIRED)
    by_own_id = {call.own: call for call in reversed(calls) if call.own}
    by_name: dict[Any, deque[_Call]] = {}
    for call in calls:
        by_name.setdefault(call.name, deque()).append(call)
    paired: dict[str, tuple[Body, str, str]] = {}
    others = []
    for where, response in responses:
        own = response.get("id")
        match = by_own_id.pop(own, None) if isinstance(own, str) else None
        if match is None:
            others.append((where, response))
        else:
            paired[match.id] = (response, match.id, where)
    for where, response in others:
        name = response.get("name")
        waiting = by_name.get(name) if isinstance(name, str) else None
        while waiting and waiting[0].id in paired:
            waiting.popleft()
        if not waiting:
            raise UntranslatableError(f'{where}: there is no function call of "{name}" before it. {_UNPAIRED}')
        match = waiting.popleft()
        paired[match.id] = (response, match.id, where)
    return [paired[call.id] for call in calls]
