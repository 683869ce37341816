"""JSON schemas as the Gemini API takes them in `parametersJsonSchema` and `responseJsonSchema`."""

from typing import Any

from antigravity_healing.wire.translate import pointers
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.keywords import IS_FIT, Schema, is_number, types_of, with_words
from antigravity_healing.wire.translate.to_gemini.schema_cycles import open_required_circles

_PLAIN = frozenset(
    ("$id", "$ref", "$anchor", "format", "title", "description", "minItems", "maxItems", "minimum", "maximum")
)
_LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_LISTS = ("prefixItems", "anyOf", "oneOf")
_TYPES = {
    str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", list: "array", dict: "object",
}  # fmt: skip
_COMBINING = frozenset(("$ref", "anyOf", "oneOf", "allOf"))
_OLD_DEFINITIONS, _DEFINITIONS = "definitions", "$defs"
# The API takes far less; more would be too deep for this program's own stack.
_DEEPEST = 100


def gemini_schema(schema: Schema, where: str) -> Schema:
    """The schema with only the keywords that the API takes: looser where one has no counterpart, never stricter.

    where: the schema's place in the request. Raises UntranslatableError for one that is nested too deeply.
    """
    cleaning = _Cleaning(where)
    clean = cleaning.schema(schema, 0)
    for referrer in cleaning.referrers:
        if not _leads_somewhere(clean, referrer["$ref"]):
            del referrer["$ref"]
    if cleaning.referrers:
        open_required_circles(clean)
    return clean


class _Cleaning:
    """Cleans one schema, and notes the subschemas that refer to others."""

    def __init__(self, where: str) -> None:
        self.referrers: list[Schema] = []
        self._where = where

    def schema(self, value: Any, depth: int) -> Schema:
        """A subschema; one that is none allows everything."""
        if depth > _DEEPEST:
            raise UntranslatableError(f"{self._where}: the schema is nested too deeply")
        if not isinstance(value, dict):
            return {}
        clean: Schema = {}
        for name, item in value.items():
            if name == "type" and (types := types_of(item)) is not None:
                clean[name] = types if isinstance(item, list) else types[0]
            elif name in _PLAIN and IS_FIT[name](item):
                clean[name] = item
        for exclusive, plain in _LIMITS.items():
            if plain not in clean and is_number(value.get(exclusive)):
                clean[plain] = value[exclusive]
        clean = self._with_values(value, clean)
        self._add_subschemas(value, clean, depth + 1)
        self._add_properties(value, clean, depth + 1)
        return self._referring(clean) if "$ref" in clean else clean

    @staticmethod
    def _with_values(value: Schema, clean: Schema) -> Schema:
        """With the values that are allowed, of which the API takes strings and numbers; others are told in words."""
        values = [value["const"]] if "const" in value else value.get("enum")
        if not isinstance(values, list) or not values:
            return clean
        plain = [each for each in values if isinstance(each, str) or is_number(each)]
        nulls = sum(each is None for each in values)
        if len(plain) == len(values):
            return {**clean, "enum": values}
        if plain and len(plain) + nulls == len(values) and not value.keys() & _COMBINING:
            return {**clean, "anyOf": [{"enum": plain}, {"type": "null"}]}
        if "type" not in clean:
            types = list(dict.fromkeys(_TYPES[type(each)] for each in values if type(each) in _TYPES))
            clean["type"] = types[0] if len(types) == 1 else types
        # One of what has only one value is all that can be said.
        return clean if nulls == len(values) else with_words(clean, {"enum": values})

    def _add_subschemas(self, value: Schema, clean: Schema, depth: int) -> None:
        lists: dict[str, Any] = {name: value.get(name) for name in _LISTS}
        if isinstance(items := value.get("items"), dict):
            clean["items"] = self.schema(items, depth)
        elif isinstance(items, list):
            # As tuples were written before 2020.
            lists["prefixItems"] = items
        if isinstance(every := value.get("allOf"), list) and len(every) == 1 and not lists["anyOf"]:
            # All of one are any of one. Of more there is no counterpart.
            lists["anyOf"] = every
        for name, members in lists.items():
            kept = [item for item in members if item is not False] if isinstance(members, list) else []
            if kept:
                clean[name] = [self.schema(item, depth) for item in kept]

    def _add_properties(self, value: Schema, clean: Schema, depth: int) -> None:
        definitions = {
            name: item
            for keyword in (_OLD_DEFINITIONS, _DEFINITIONS)
            if isinstance(found := value.get(keyword), dict)
            for name, item in found.items()
        }
        if definitions:
            clean[_DEFINITIONS] = {name: self.schema(item, depth) for name, item in definitions.items()}
        properties = value.get("properties")
        if isinstance(properties, dict):
            allowed = {name: item for name, item in properties.items() if item is not False}
            clean["properties"] = {name: self.schema(item, depth) for name, item in allowed.items()}
            required = value.get("required")
            names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
            # As until draft 3 a property may say so itself.
            names += [name for name, item in allowed.items() if isinstance(item, dict) and item.get("required") is True]
            if known := [name for name in dict.fromkeys(names) if name in allowed]:
                clean["required"] = known
        others = value.get("additionalProperties")
        if isinstance(others, bool):
            clean["additionalProperties"] = others
        elif isinstance(others, dict):
            clean["additionalProperties"] = self.schema(others, depth)

    def _referring(self, clean: Schema) -> Schema:
        """One with a reference, beside which the API takes nothing but what begins with `$`."""
        target = clean.pop("$ref")
        if not isinstance(target, str):
            return clean
        old = f"#/{_OLD_DEFINITIONS}/"
        if target.startswith(old):
            target = f"#/{_DEFINITIONS}/" + target.removeprefix(old)
        reference: Schema = {"$ref": target}
        self.referrers.append(reference)
        if any(not name.startswith("$") for name in clean) and "anyOf" not in clean:
            return {**clean, "anyOf": [reference]}
        reference.update((name, item) for name, item in clean.items() if name.startswith("$"))
        return reference


def _leads_somewhere(root: Schema, target: str) -> bool:
    """Whether a reference has a target; of those that are no JSON pointers all are believed to have one."""
    steps = pointers.steps_of(target)
    return steps is None or isinstance(pointers.at(root, steps), dict)
