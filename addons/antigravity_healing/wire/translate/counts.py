"""Counts of tokens and descriptions of models, Gemini's as Anthropic's and Anthropic's as Gemini's."""

from typing import Any

_UNKNOWN_DATE = "1970-01-01T00:00:00Z"


def anthropic_count(answer: Any) -> dict[str, Any]:
    """Gemini's answer to `countTokens` as Anthropic's. Raises ValueError where it has no count."""
    return {"input_tokens": _count(answer, "totalTokens")}


def gemini_count(answer: Any) -> dict[str, Any]:
    """Anthropic's count of tokens as Gemini's. Raises ValueError where it has no count."""
    return {"totalTokens": _count(answer, "input_tokens")}


def anthropic_model(answer: Any, name: str) -> dict[str, Any]:
    """Gemini's description of a model as Anthropic's, under the name that the client uses. Raises ValueError."""
    if not isinstance(answer, dict):
        raise ValueError("no model")
    model = {"type": "model", "id": name, "display_name": str(answer.get("displayName") or name)}
    limits = {"max_input_tokens": answer.get("inputTokenLimit"), "max_tokens": answer.get("outputTokenLimit")}
    return {**model, "created_at": _UNKNOWN_DATE, **{key: value for key, value in limits.items() if value}}


def gemini_model(answer: Any, name: str) -> dict[str, Any]:
    """Anthropic's description of a model as Gemini's, under the name that the client uses. Raises ValueError."""
    if not isinstance(answer, dict):
        raise ValueError("no model")
    limits = {"inputTokenLimit": answer.get("max_input_tokens"), "outputTokenLimit": answer.get("max_tokens")}
    return {
        "name": f"models/{name}",
        "displayName": str(answer.get("display_name") or name),
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        **{key: value for key, value in limits.items() if value},
    }


def _count(answer: Any, name: str) -> int:
    count = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(count, int):
        raise ValueError(f"no {name}")
    return count
