"""JSON schemas of Gemini requests as the Messages API takes them."""

from typing import Any

from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.keywords import TYPES, Schema, with_words
from antigravity_healing.wire.translate.to_anthropic.draft2020 import modern
from antigravity_healing.wire.translate.to_anthropic.input_root import object_root
from antigravity_healing.wire.translate.to_anthropic.property_names import PropertyNames

# Gemini's own form of a schema is OpenAPI's, in either spelling.
_KEYWORDS = {
    "any_of": "anyOf",
    "max_items": "maxItems",
    "min_items": "minItems",
    "max_length": "maxLength",
    "min_length": "minLength",
    "max_properties": "maxProperties",
    "min_properties": "minProperties",
    "additional_properties": "additionalProperties",
    "property_ordering": "propertyOrdering",
    "defs": "$defs",
    "ref": "$ref",
}
_PLAIN = frozenset((
    "title", "description", "default", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
))  # fmt: skip
# 64-bit integers are strings in Google's JSON.
_COUNTS = frozenset(("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"))
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_DEFINITIONS = ("$defs", "definitions")
_COMBINING = ("anyOf", "oneOf", "allOf")
# Of an answer's schema these are kept; the others are told in its description.
_KEPT_IN_FORMAT = frozenset(("$ref", "type", "title", "description", "enum", "const", "required"))
_SAID_BY_FORMAT = frozenset(("$schema", "$id", "$anchor", "additionalProperties", "propertyOrdering"))
_DEEPEST = 100


def json_schema(schema: Any, where: str, depth: int = 0) -> Schema:
    """A schema of OpenAPI's form, with types in capitals, as JSON schema; null says nothing.

    Raises UntranslatableError.
    """
    schema = {} if schema is None else schema
    _check(schema, where, depth)
    given = {_KEYWORDS.get(name, name): item for name, item in schema.items() if item is not None}
    clean: Schema = {
        name: _count(item) if name in _COUNTS else item
        for name, item in given.items()
        if name in _PLAIN or name in _COUNTS
    }
    kinds = given.get("type")
    types = [kind.lower() for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    types = [kind for kind in types if kind in TYPES]
    if given.get("format") in _FORMATS:
        clean["format"] = given["format"]
    if isinstance(values := given.get("enum"), list) and values:
        clean["enum"] = values
    if "example" in given:
        clean["examples"] = [given["example"]]
    if isinstance(target := given.get("$ref"), str):
        clean["$ref"] = target.replace("#/defs/", "#/$defs/", 1)
    _add_subschemas(given, clean, where, depth + 1)
    if given.get("nullable") is True:
        types = _nullable(types, clean)
    if types:
        clean["type"] = types[0] if len(types) == 1 else types
    return clean


def _nullable(types: list[str], clean: Schema) -> list[str]:
    """The types with null, which the other keywords of the schema come to allow too."""
    if "enum" in clean and None not in clean["enum"]:
        clean["enum"] = [*clean["enum"], None]
    if "anyOf" in clean:
        clean["anyOf"] = [*clean["anyOf"], {"type": "null"}]
    return [*types, "null"] if types and "null" not in types else types


def _add_subschemas(given: Schema, clean: Schema, where: str, depth: int) -> None:
    for name in ("items", "additionalProperties"):
        if isinstance(given.get(name), dict):
            clean[name] = json_schema(given[name], where, depth)
    if isinstance(others := given.get("additionalProperties"), bool):
        clean["additionalProperties"] = others
    for name in (*_COMBINING, "prefixItems"):
        if isinstance(members := given.get(name), list) and members:
            clean[name] = [json_schema(member, where, depth) for member in members]
    for name in ("$defs", "properties"):
        if isinstance(members := given.get(name), dict):
            clean[name] = {key: json_schema(member, where, depth) for key, member in members.items()}
    if isinstance(order := given.get("propertyOrdering"), list) and "properties" in clean:
        first = {name: clean["properties"][name] for name in order if _is_key(name, clean["properties"])}
        clean["properties"] = first | clean["properties"]
    if isinstance(required := given.get("required"), list) and required:
        clean["required"] = required


def input_schema(schema: Any, where: str, names: PropertyNames) -> Schema:
    """The schema of a tool's input as the API takes it. schema: a JSON schema. Raises UntranslatableError."""
    return object_root(modern(schema, where, names), where)


def format_schema(schema: Any, where: str, depth: int = 0) -> Schema:
    """A JSON schema as the API takes it for an answer: few keywords, and objects closed.

    schema: one of draft 2020-12. Raises UntranslatableError for an object whose members may have any name.
    """
    _check(schema, where, depth)
    clean: Schema = {name: item for name, item in schema.items() if name in _KEPT_IN_FORMAT and item is not None}
    for name in _DEFINITIONS:
        if isinstance(members := schema.get(name), dict):
            clean[name] = {key: format_schema(member, where, depth + 1) for key, member in members.items()}
    if "$ref" in clean:
        return {name: item for name, item in clean.items() if name in ("$ref", *_DEFINITIONS)}
    for name in _COMBINING:
        if isinstance(members := schema.get(name), list) and members:
            told = "anyOf" if name == "oneOf" else name
            clean[told] = [format_schema(member, where, depth + 1) for member in members]
    if isinstance(schema.get("items"), dict):
        clean["items"] = format_schema(schema["items"], where, depth + 1)
    if schema.get("minItems") in (0, 1):
        clean["minItems"] = schema["minItems"]
    if schema.get("format") in _FORMATS:
        clean["format"] = schema["format"]
    kinds = schema.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds) or "properties" in schema:
        _close(schema, clean, where, depth + 1)
    return _described(schema, clean)


def _close(schema: Schema, clean: Schema, where: str, depth: int) -> None:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else None
    others = schema.get("additionalProperties")
    if not properties and (isinstance(others, dict) or (properties is None and others is not False)):
        raise UntranslatableError(
            f"{where}: an object whose members may have any name can't be asked for of Anthropic; "
            "name them in its properties"
        )
    clean["properties"] = {key: format_schema(each, where, depth) for key, each in (properties or {}).items()}
    clean["additionalProperties"] = False


def _described(schema: Schema, clean: Schema) -> Schema:
    """The schema, with the keywords that the API does not take told to the model in words."""
    lost = {
        name: item
        for name, item in schema.items()
        if name not in clean and name not in _SAID_BY_FORMAT and name != "oneOf" and item is not None
    }
    return with_words(clean, lost)


def _check(schema: Any, where: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise UntranslatableError(f"{where}: the schema is nested too deeply")
    if not isinstance(schema, dict):
        raise UntranslatableError(f"{where}: a schema has to be an object")


def _is_key(name: Any, members: Schema) -> bool:
    return isinstance(name, str) and name in members


def _count(value: Any) -> Any:
    return int(value[:18]) if isinstance(value, str) and value.isascii() and value.isdigit() else value
