"""Gemini requests in one spelling: clients write members in camelCase or snake_case."""

import re
from typing import Any

_SNAKE = re.compile(r"_([a-z])")
# What these hold is the client's own.
_OPAQUE = frozenset((
    "args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema", "responseSchema", "schema",
    "jsonSchema", "labels", "partMetadata",
))  # fmt: skip
# Nothing that is known lies deeper.
_DEEPEST = 20


def in_camel_case(value: Any, depth: int = 0) -> Any:
    """The value with all members of objects in camelCase, but those of arguments, responses and schemas."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, list):
        return [in_camel_case(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    spelled = {_SNAKE.sub(lambda match: match.group(1).upper(), name): item for name, item in value.items()}
    return {
        name: item if name in _OPAQUE else in_camel_case(item, depth + 1)
        for name, item in spelled.items()
        if item is not None
    }
