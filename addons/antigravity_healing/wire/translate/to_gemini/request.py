"""Anthropic Messages requests as Gemini generateContent requests."""

from typing import Any

from antigravity_healing.wire.anthropic.history import as_blocks, said_to_model
from antigravity_healing.wire.gemini.models import gemini_model
from antigravity_healing.wire.translate.common import Body, History, UntranslatableError
from antigravity_healing.wire.translate.to_gemini.config import generation_config
from antigravity_healing.wire.translate.to_gemini.content import gemini_contents
from antigravity_healing.wire.translate.to_gemini.parts import Part, text_parts
from antigravity_healing.wire.translate.to_gemini.tools import gemini_tools

# Of the other fields that this translation does not read, those that are known are hints, or are about billing and
# transport; those that are not known are new ones, without which clients do well.
_WITHOUT_COUNTERPART = ("container", "mcp_servers", "compaction", "thread")
# In the place of a block that says nothing, so that the others keep theirs.
_NOTHING = {"type": "text", "text": ""}


def to_gemini(
    body: Body, model: str, history: History, *, vertex: bool = False, without: frozenset[str] = frozenset()
) -> Body:
    """The body of a generateContent request for this model that asks what a Messages request asks.

    history: what is known of the turns that were Gemini's. vertex: whether Vertex AI is asked.
    without: what the model does not take: `thinking_level` (no level but low), `thinking_level_low` (not that one
    either), `call_id` (the ids of calls and responses).
    Raises UntranslatableError for what has no counterpart, and for what is no Messages request.
    """
    request = _prompt(body, model, history, vertex=vertex, without=without)
    if request["contents"][-1]["role"] == "model" and not gemini_model(model).continues:
        raise UntranslatableError(
            "messages: This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    if config := generation_config(body, gemini_model(model), without):
        request["generationConfig"] = config
    return request


def count_tokens_to_gemini(
    body: Body, model: str, history: History, *, vertex: bool = False, without: frozenset[str] = frozenset()
) -> Body:
    """The body of a countTokens request for this model that counts what a Messages request says.

    The parameters are those of `to_gemini`, and so is what it raises.
    """
    request = _prompt(body, model, history, vertex=vertex, without=without)
    # How tools are to be used adds no tokens.
    request.pop("toolConfig", None)
    if vertex:
        return request
    return {"generateContentRequest": {"model": f"models/{model.removeprefix('models/')}", **request}}


def _prompt(body: Body, model: str, history: History, *, vertex: bool, without: frozenset[str]) -> Body:
    for name in _WITHOUT_COUNTERPART:
        if body.get(name):
            raise UntranslatableError(f"{name}: there is no counterpart in the Gemini API")
    known = gemini_model(model)
    tools = gemini_tools(body, known, vertex=vertex)
    instruction = _instruction(body.get("system") or [])
    request: dict[str, Any] = {
        "contents": gemini_contents(body, known, history, call_ids="call_id" not in without),
        "systemInstruction": {"parts": instruction} if instruction else None,
        "tools": tools.tools,
        "toolConfig": tools.config,
    }
    return {name: value for name, value in request.items() if value}


def _instruction(system: Any) -> list[Part]:
    """The parts of the system prompt. What says to Anthropic whose request this is, is no part of it."""
    blocks = as_blocks(system)
    if isinstance(blocks, list):
        system = [_NOTHING if (said := said_to_model(block)) is None else said for block in blocks]
    return text_parts(system, "system")
