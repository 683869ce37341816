"""What the keywords of JSON schema take, by draft 2020-12, and what is meant where clients write something else."""

import math
import re
from collections.abc import Callable
from typing import Any

from antigravity_healing.wire.json.value import dump_text

type Schema = dict[str, Any]

TYPES = frozenset(("string", "number", "integer", "boolean", "array", "object", "null"))
_ALIASES = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "double": "number",
    "str": "string",
    "list": "array",
    "dict": "object",
    "none": "null",
}
_ANCHOR = re.compile(r"[A-Za-z_][-A-Za-z0-9._]*")
_WITHOUT_FRAGMENT = re.compile(r"[^#]*#?")


def types_of(kinds: Any) -> list[str] | None:
    """The types that a member `type` stands for, each once; None where it allows all, or is not understood."""
    types: list[str] = []
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        small = kind.lower() if isinstance(kind, str) else ""
        small = _ALIASES.get(small, small)
        if small not in TYPES:
            return None
        if small not in types:
            types.append(small)
    return types or None


def is_pattern(value: Any) -> bool:
    """Whether a regular expression is one that upstream can read, which not all are that JavaScript can."""
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def with_words(clean: Schema, lost: Schema) -> Schema:
    """The schema, with keywords that could not be kept told to the model in its description."""
    if not lost:
        return clean
    words = "{" + ", ".join(f"{name}: {dump_text(item)}" for name, item in lost.items()) + "}"
    return with_description(clean, words)


def with_description(clean: Schema, words: str) -> Schema:
    """The schema, with these words at the end of its description."""
    described = clean.get("description")
    return {**clean, "description": f"{described}\n\n{words}" if isinstance(described, str) and described else words}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether this is a number of JSON."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return is_number(value) and value >= 0 and value == int(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_anchor(value: Any) -> bool:
    return isinstance(value, str) and _ANCHOR.fullmatch(value) is not None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _WITHOUT_FRAGMENT.fullmatch(value) is not None


def _is_vocabulary(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, bool) for item in value.values())


IS_FIT: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("title", "description", "$comment", "format", "contentEncoding", "contentMediaType"), _is_text),
    **dict.fromkeys(("$schema", "$ref", "$dynamicRef", "$recursiveRef"), _is_text),
    **dict.fromkeys(("$anchor", "$dynamicAnchor", "$recursiveAnchor"), _is_anchor),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _is_bool),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), is_number),
    **dict.fromkeys(("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"), _is_count),
    **dict.fromkeys(("maxContains", "minContains"), _is_count),
    "multipleOf": _is_positive,
    "enum": _is_list,
    "pattern": _is_text,
    "$id": _is_id,
    "$vocabulary": _is_vocabulary,
}
"""Whether a value is one that the keyword takes, for those whose values hold neither schemas nor names."""
