"""JSON schemas as the Gemini API takes them in `parametersJsonSchema` and `responseJsonSchema`."""

from typing import Any
from urllib.parse import unquote

from healing.wire.translate.common import UntranslatableError

type Schema = dict[str, Any]

_PLAIN = frozenset(
    ("$id", "$ref", "$anchor", "type", "format", "title", "description", "minItems", "maxItems", "minimum", "maximum")
)
_LISTS = ("prefixItems", "anyOf", "oneOf")
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
        clean = {name: item for name, item in value.items() if name in _PLAIN and item is not None}
        self._add_values(value, clean)
        self._add_subschemas(value, clean, depth + 1)
        self._add_properties(value, clean, depth + 1)
        return self._referring(clean) if "$ref" in clean else clean

    def _add_values(self, value: Schema, clean: Schema) -> None:
        if "const" in value:
            clean["enum"] = [value["const"]]
        elif isinstance(values := value.get("enum"), list) and values:
            clean["enum"] = values

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
            names = required if isinstance(required, list) else []
            if known := [name for name in names if isinstance(name, str) and name in allowed]:
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
    if not target.startswith("#/"):
        return True
    node: Any = root
    for step in target.removeprefix("#/").split("/"):
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and name in node:
            node = node[name]
        elif isinstance(node, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(node):
            node = node[int(name[:9])]
        else:
            return False
    return isinstance(node, dict)
