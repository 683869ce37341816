"""The messages of an Anthropic request as Gemini contents."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from antigravity_healing.wire.anthropic.history import is_thinking
from antigravity_healing.wire.gemini.history import EMPTY_PART, call_of, call_said, signature_of
from antigravity_healing.wire.gemini.models import GeminiModel
from antigravity_healing.wire.json.value import objects_at
from antigravity_healing.wire.translate.common import (
    Block,
    Body,
    History,
    ToolNames,
    UntranslatableError,
    gemini_tool_names,
    own_id,
)
from antigravity_healing.wire.translate.to_gemini import parts as parts_of
from antigravity_healing.wire.translate.to_gemini.parts import Part

type Content = dict[str, Any]


@dataclass(slots=True)
class _Turn:
    """Neighbouring messages of one side. end: the index of the last. blocks: all of theirs, with their places."""

    role: Literal["user", "model"]
    end: int
    blocks: list[tuple[str, Block]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Call:
    """A tool's use. where: its message's place. name: as Gemini knows it. id: Gemini's own, "" if it gave none."""

    where: str
    name: str
    id: str

    def named(self, **members: Any) -> dict[str, Any]:
        """A function's call or response with these members."""
        head = {"id": self.id, "name": self.name} if self.id else {"name": self.name}
        return {**head, **members}


def gemini_contents(body: Body, model: GeminiModel, history: History, *, call_ids: bool) -> list[Content]:
    """The contents, beginning with the user's, of user and model in turn, each with at least one part.

    call_ids: whether calls and responses get their ids. Raises UntranslatableError.
    """
    contents: list[Content] = []
    calls: dict[str, _Call] = {}
    names = gemini_tool_names(str(tool.get("name")) for tool in objects_at(body, "tools"))
    for turn in _turns(body):
        if turn.role == "model":
            calls = _calls(turn, names, call_ids=call_ids)
            parts = _model_parts(turn, calls, history, names)
        else:
            parts = _user_parts(turn, calls, model)
            calls = {}
        contents.append({"role": turn.role, "parts": parts or [EMPTY_PART]})
    if contents[0]["role"] == "model":
        contents.insert(0, {"role": "user", "parts": [EMPTY_PART]})
    return contents


def _turns(body: Body) -> list[_Turn]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise UntranslatableError("messages: at least one message is required")
    turns: list[_Turn] = []
    for index, message in _shown_messages(messages):
        where = f"messages.{index}"
        role: Literal["user", "model"] = "model" if message["role"] == "assistant" else "user"
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role, index))
        turns[-1].end = index
        if message["role"] == "system":
            # May also be there only for its other members.
            parts = parts_of.text_parts(message.get("content") or [], f"{where}.content")
            turns[-1].blocks += [(where, {"type": "text", **part}) for part in parts]
        else:
            turns[-1].blocks += parts_of.blocks_of(message.get("content"), f"{where}.content")
    return turns or [_Turn("user", 0)]


def _shown_messages(messages: list[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The messages that the model gets to see, with their indices."""
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise UntranslatableError(f"messages.{index}: Input should be an object")
        if message.get("role") not in ("user", "assistant", "system"):
            raise UntranslatableError(f'messages.{index}.role: Input should be "user", "assistant" or "system"')
    last_of_user = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    for index, message in enumerate(messages):
        passed = message["role"] == "system" and message.get("clear_at") == "next_user_message"
        if not (passed and index < last_of_user):
            yield index, message


def _calls(turn: _Turn, names: ToolNames, *, call_ids: bool) -> dict[str, _Call]:
    """The calls of a turn by the ids that the client knows, in their order."""
    calls: dict[str, _Call] = {}
    for where, block in turn.blocks:
        if block.get("type") == "tool_use":
            shown = parts_of.field(block, "id", where)
            name = parts_of.field(block, "name", where)
            if shown in calls:
                raise UntranslatableError(f"{where}: `tool_use` ids must be unique: {shown}")
            if not isinstance(block.get("input"), dict):
                raise UntranslatableError(f"{where}.input: Input should be an object")
            message = where.partition(".content")[0]
            calls[shown] = _Call(message, names.there(names.back(name)), own_id(shown) if call_ids else "")
    return calls


def _model_parts(turn: _Turn, calls: dict[str, _Call], history: History, names: ToolNames) -> list[Part]:
    """A turn's parts as they came from Gemini, where that is known; else block by block."""
    own = history.turn(turn.end, [block for _, block in turn.blocks])
    if own is not None:
        made = [call for part in own if (call := call_of(part)) is not None]
        for shown, call in zip(list(calls), made, strict=False):
            calls[shown] = replace(calls[shown], name=str(call.get("name")))
        return [_with_id(part, calls) for part in own]
    translated = []
    for where, block in turn.blocks:
        if block.get("type") == "tool_use":
            translated.append(_call_part(block, calls, history, names))
        elif block.get("type") == "tool_result":
            raise UntranslatableError(f"{where}: `tool_result` blocks can only be in `user` messages")
        elif not is_thinking(block):
            translated += parts_of.content_parts(block, where)
    return translated


def _with_id(part: Part, calls: dict[str, _Call]) -> Part:
    """Gemini's own part; a call without its id where the model takes none."""
    own = call_of(part)
    if own is None or not own.get("id") or any(call.id == own["id"] for call in calls.values()):
        return part
    return {**part, "functionCall": {name: value for name, value in own.items() if name != "id"}}


def _signature(part: Part) -> Part:
    signature = signature_of(part)
    return {"thoughtSignature": signature} if signature else {}


def _call_part(block: Block, calls: dict[str, _Call], history: History, names: ToolNames) -> Part:
    """A call; signed if Gemini made it so, and then, like its response, under the name that Gemini gave it."""
    shown, given = block["id"], block["input"]
    part, own = {"functionCall": calls[shown].named(args=given)}, history.call(shown)
    made = call_of(own) if own is not None else None
    if own is None or made is None:
        return part
    name = str(made.get("name"))
    if call_said({**made, "name": names.there(names.back(name))}) != call_said(part["functionCall"]):
        return part
    calls[shown] = replace(calls[shown], name=name)
    return {"functionCall": calls[shown].named(args=given), **_signature(own)}


def _user_parts(turn: _Turn, calls: dict[str, _Call], model: GeminiModel) -> list[Part]:
    """The responses to the calls of the turn before, in their order, then what else the user says."""
    responses: dict[str, Part] = {}
    media: list[Part] = []
    said: list[Part] = []
    for where, block in turn.blocks:
        if block.get("type") == "tool_use":
            raise UntranslatableError(f"{where}: `tool_use` blocks can only be in `assistant` messages")
        if is_thinking(block):
            raise UntranslatableError(f"{where}: `{block['type']}` blocks can only be in `assistant` messages")
        if block.get("type") != "tool_result":
            said += parts_of.content_parts(block, where)
            continue
        shown = parts_of.field(block, "tool_use_id", where)
        if shown not in calls:
            raise UntranslatableError(
                f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {shown}. Each `tool_result` block "
                "must have a corresponding `tool_use` block in the previous message."
            )
        if shown in responses:
            raise UntranslatableError(
                f"{where}: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {shown}"
            )
        given = parts_of.response_of(block, where)
        response = calls[shown].named(response=given.response)
        if given.media and model.media_in_responses:
            response["parts"] = given.media
        else:
            media += given.media
        responses[shown] = {"functionResponse": response}
    if missing := [shown for shown in calls if shown not in responses]:
        raise UntranslatableError(
            f"{calls[missing[0]].where}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )
    return [*(responses[shown] for shown in calls), *media, *said]
