"""Gemini generateContent requests as Anthropic Messages requests."""

from typing import Any

from antigravity_healing.wire.anthropic.models import claude_model
from antigravity_healing.wire.gemini.spelling import in_camel_case
from antigravity_healing.wire.translate.common import NO_HISTORY, Body, History, UntranslatableError
from antigravity_healing.wire.translate.to_anthropic.config import settings
from antigravity_healing.wire.translate.to_anthropic.content import messages, system_blocks
from antigravity_healing.wire.translate.to_anthropic.tools import anthropic_tools

# Of the other members those that are known are hints, or for Google's own filters and bills (`safetySettings`,
# `labels`, `serviceTier`, `store`); those that are not known are new ones, without which clients do well.
_WITHOUT_COUNTERPART = ("cachedContent", "continuationToken")
_COUNTED = frozenset(("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"))


def to_anthropic(
    body: Body,
    model: str,
    history: History = NO_HISTORY,
    *,
    stream: bool,
    max_tokens: int | None = None,
    without: frozenset[str] = frozenset(),
) -> Body:
    """The body of a Messages request for this model that asks what a generateContent request asks.

    history: what is known of the turns that were Anthropic's.
    max_tokens: for a client that sends no `maxOutputTokens`; None: the highest of the model.
    without: what the model does not take: `thinking` (neither that setting nor the effort).
    Raises UntranslatableError for what has no counterpart, and for what is no generateContent request.
    """
    asked = in_camel_case(body)
    config = asked.get("generationConfig", {})
    if not isinstance(config, dict):
        raise UntranslatableError("generationConfig: has to be an object")
    for holder in (asked, config):
        for name in _WITHOUT_COUNTERPART:
            if holder.get(name):
                raise UntranslatableError(f"{name}: there is no counterpart in the Messages API")
    tools = anthropic_tools(asked)
    known = claude_model(model)
    request: dict[str, Any] = {
        "model": model,
        **settings(config, known, forced=tools.forced, max_tokens=max_tokens, thinks="thinking" not in without),
        "system": system_blocks(asked.get("systemInstruction"), "systemInstruction"),
        "tools": tools.tools,
        "tool_choice": tools.choice,
        "messages": messages(asked.get("contents"), history, tools.arguments),
    }
    request = {name: value for name, value in request.items() if value}
    return {**request, "stream": True} if stream else request


def count_tokens_to_anthropic(
    body: Body, model: str, history: History = NO_HISTORY, *, without: frozenset[str] = frozenset()
) -> Body:
    """The body of a count_tokens request for this model that counts what a countTokens request says.

    The parameters are those of `to_anthropic`, and so is what it raises.
    """
    asked = in_camel_case(body)
    inner = asked.get("generateContentRequest")
    if inner is not None and not isinstance(inner, dict):
        raise UntranslatableError("generateContentRequest: has to be an object")
    request = to_anthropic(asked if inner is None else inner, model, history, stream=False, without=without)
    return {name: value for name, value in request.items() if name in _COUNTED}
