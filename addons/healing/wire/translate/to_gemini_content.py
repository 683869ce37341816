"""The messages of an Anthropic request as Gemini contents."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from healing.wire import exact
from healing.wire.anthropic_history import answered_by, is_thinking
from healing.wire.gemini_history import EMPTY_PART, said_by, signature_of
from healing.wire.translate import to_gemini_parts as parts_of
from healing.wire.translate.common import Block, Body, History, Piece, UntranslatableError, own_id
from healing.wire.translate.gemini_models import GeminiModel
from healing.wire.translate.to_gemini_parts import Part
from healing.wire.translate.to_gemini_tools import function_name

type Content = dict[str, Any]


@dataclass(slots=True)
class _Turn:
    """Neighbouring messages of one side. start: the index of the first. blocks: all of theirs, with their places."""

    role: Literal["user", "model"]
    start: int
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
    for turn in _turns(body):
        if turn.role == "model":
            calls = _calls(turn, call_ids=call_ids)
            parts = _model_parts(body, turn, calls, history)
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


def _calls(turn: _Turn, *, call_ids: bool) -> dict[str, _Call]:
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
            calls[shown] = _Call(message, function_name(name), own_id(shown) if call_ids else "")
    return calls


def _model_parts(body: Body, turn: _Turn, calls: dict[str, _Call], history: History) -> list[Part]:
    """A turn's parts as they came from Gemini, where that is known; else block by block."""
    blocks = [block for _, block in turn.blocks]
    pieces = history.pieces(answered_by(body, turn.start), blocks)
    if pieces is not None and (parts := _rebuilt(pieces, blocks, calls)) is not None:
        return parts
    translated = []
    for where, block in turn.blocks:
        if block.get("type") == "tool_use":
            part = _call_part(block, calls)
            translated.append(_signed(part, history.signature(block["id"], said_by(part["functionCall"]))))
        elif block.get("type") == "tool_result":
            raise UntranslatableError(f"{where}: `tool_result` blocks can only be in `user` messages")
        elif not is_thinking(block):
            translated += parts_of.content_parts(block, where)
    return translated


def _rebuilt(pieces: Sequence[Piece], blocks: Sequence[Block], calls: dict[str, _Call]) -> list[Part] | None:
    """The parts that these blocks were made of, each with its signature; None if they were made of others."""
    spoken = [block for block in blocks if not is_thinking(block) and block.get("text") != ""]
    parts: list[Part] = []
    place = used = 0
    for piece in pieces:
        block = spoken[place] if place < len(spoken) else {}
        # A piece is made of some characters of a block, or of a whole one, or has nothing to do with any.
        characters = piece.what if piece.kind == "text" else piece.shown
        text = _characters(block, used, characters)
        if text is None:
            return None
        part = _part(piece, text, block if not used else {}, calls)
        if part is None:
            return None
        if part != {"text": ""} or piece.signature:
            changed = piece.kind == "call" and piece.said and said_by(part["functionCall"]) != piece.said
            parts.append(part if changed else _signed(part, piece.signature))
        used += len(text)
        whole = piece.kind == "call" or (piece.kind == "part" and not text)
        if whole or (text and used == len(block["text"])):
            place, used = place + 1, 0
    # Behind the parts stands what the answer was grounded in, which was no part of it.
    rest_is_servers = all(parts_of.is_servers(block) for block in spoken[place:])
    return parts if rest_is_servers and not used else None


def _characters(block: Block, start: int, count: int | str) -> str | None:
    """So many characters of a block of text, None if it has fewer."""
    if not isinstance(count, int) or count < 0:
        return None
    if count == 0:
        return ""
    text = block.get("text")
    if block.get("type") != "text" or not isinstance(text, str) or start + count > len(text):
        return None
    return text[start : start + count]


def _part(piece: Piece, text: str, block: Block, calls: dict[str, _Call]) -> Part | None:
    """The part that a piece stands for, None if the block is not the one that it was shown as.

    text: the characters that it was shown as.
    """
    match piece.kind:
        case "text":
            return {"text": text}
        case "thought":
            return {"text": str(piece.what), "thought": True}
        case "call":
            is_shown = block.get("type") == "tool_use" and block.get("id") == piece.what
            return _call_part(block, calls) if is_shown else None
        case "part" if text or parts_of.is_servers(block):
            return _parsed(piece.what)
    return None


def _parsed(part: int | str) -> Part | None:
    try:
        value = exact.parse(str(part).encode())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _call_part(block: Block, calls: dict[str, _Call]) -> Part:
    return {"functionCall": calls[block["id"]].named(args=block["input"])}


def _signed(part: Part, signature: str) -> Part:
    return {**part, "thoughtSignature": signature} if signature and not signature_of(part) else part


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
