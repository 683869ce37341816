"""JSON schemas of any draft, and what clients take for such, as schemas of draft 2020-12 that mean the same."""

from typing import Any

from antigravity_healing.wire.translate import pointers
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.keywords import IS_FIT, Schema, is_pattern, types_of, with_words
from antigravity_healing.wire.translate.to_anthropic.property_names import (
    BY_PROPERTY,
    LISTS_OF_SCHEMAS,
    NO_PROPERTIES,
    ONE_SCHEMA,
    SCHEMAS_BY_NAME,
    PropertyNames,
)

_VALUES = frozenset(("const", "default", "enum", "examples"))
# These may be null.
_ANY_VALUE = frozenset(("const", "default"))
_LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
# What they allow may shrink when what is in them, or beside them, allows more.
_CONTRARY = frozenset(("not", "if", "then", "else", "maxContains", "unevaluatedItems", "unevaluatedProperties"))
# What they say is said by names, and these change.
_OF_NAMES = frozenset(("patternProperties", "propertyNames"))
_BESIDE_PATTERNS = ("additionalProperties", "unevaluatedProperties")
_AT_RISK = _CONTRARY | _OF_NAMES | {"pattern", *_BESIDE_PATTERNS}
_DEEPEST = 100


def modern(schema: Any, where: str, names: PropertyNames = NO_PROPERTIES) -> Schema:
    """The schema in draft 2020-12: equal to the given one if that is such, else looser at most, never stricter.

    where: its place in the request. names: how its properties are called upstream.
    What can't be kept is told in descriptions. Raises UntranslatableError for what is no object or nested too deeply.
    """
    if not isinstance(schema, dict):
        raise UntranslatableError(f"{where}: a schema has to be an object")
    cleaning = _Cleaning(where, names)
    clean = cleaning.whole(schema)
    if cleaning.loosened:
        clean = _Cleaning(where, names, loose=True).whole(schema)
    return clean


class _Cleaning:
    """Cleans one schema.

    loosened: whether a part of it now allows more than it did.
    """

    def __init__(self, where: str, names: PropertyNames, *, loose: bool = False) -> None:
        """loose: whether parts are known to allow more, so that nothing may depend on what they do not allow."""
        self.loosened = False
        self._where = where
        self._names = names
        self._loose = loose
        self._referrers: list[Schema] = []

    def whole(self, schema: Schema) -> Schema:
        """The schema, with its references leading to where their targets are now."""
        clean = self._object(schema, 0)
        for referrer in self._referrers:
            target = self._target(clean, referrer["$ref"])
            if target is None:
                del referrer["$ref"]
                self.loosened = True
            else:
                referrer["$ref"] = target
        return clean

    def _schema(self, value: Any, depth: int) -> Schema | bool:
        """A subschema; what is none allows everything."""
        if isinstance(value, bool):
            return value
        return self._object(value, depth) if isinstance(value, dict) else {}

    def _object(self, value: Schema, depth: int) -> Schema:
        if depth > _DEEPEST:
            raise UntranslatableError(f"{self._where}: the schema is nested too deeply")
        clean: Schema = {}
        lost: Schema = {}
        for keyword, item in value.items():
            if item is None and keyword not in _ANY_VALUE:
                continue
            if keyword in _AT_RISK and self._is_lost(keyword, item, value):
                lost[keyword] = item
            elif keyword == "type":
                self._add_type(item, clean, lost)
            elif keyword in ("items", "additionalItems"):
                self._add_items(keyword, value, clean, depth + 1)
            else:
                self._add(keyword, item, clean, depth + 1)
        if not value.keys().isdisjoint(_LIMITS):
            self._add_limits(value, clean)
        if "properties" in value or "required" in value:
            self._add_required(value, clean)
        if self._loose and "oneOf" in clean:
            _loosen_choice(clean)
        clean = with_words(clean, lost)
        if "$ref" in clean:
            self._referrers.append(clean)
        return clean

    def _is_lost(self, keyword: str, item: Any, value: Schema) -> bool:
        """Whether a keyword can only be told in words."""
        if keyword in _CONTRARY and self._loose:
            return True
        patterns = value.get("patternProperties")
        unread = isinstance(patterns, dict) and not all(map(is_pattern, patterns))
        lost = (
            (keyword == "pattern" and isinstance(item, str) and not is_pattern(item))
            or (keyword == "patternProperties" and unread)
            or (keyword in _OF_NAMES and bool(self._names))
            or (keyword in _BESIDE_PATTERNS and isinstance(patterns, dict) and (unread or bool(self._names)))
        )
        self.loosened |= lost
        return lost

    def _add_type(self, kinds: Any, clean: Schema, lost: Schema) -> None:
        types = types_of(kinds)
        if types is None:
            if kinds not in ("any", "ANY", "TYPE_UNSPECIFIED", []):
                lost["type"] = kinds
        elif isinstance(kinds, list):
            clean["type"] = types
        else:
            [clean["type"]] = types

    def _add_items(self, keyword: str, value: Schema, clean: Schema, depth: int) -> None:
        """Lists as they were described before 2020: `items` for the first ones, `additionalItems` for the rest."""
        items = value.get("items")
        if not isinstance(items, list):
            clean[keyword] = self._schema(value[keyword], depth)
        elif keyword == "items" and items and not isinstance(value.get("prefixItems"), list):
            clean["prefixItems"] = [self._schema(item, depth) for item in items]
        elif keyword == "additionalItems":
            clean["items"] = self._schema(value[keyword], depth)

    def _add(self, keyword: str, item: Any, clean: Schema, depth: int) -> None:
        if keyword in _VALUES:
            item = [item] if keyword == "examples" and not isinstance(item, list) else item
            if keyword != "enum" or isinstance(item, list):
                clean[keyword] = self._names.value_there(item)
        elif keyword in ONE_SCHEMA:
            clean[keyword] = self._schema(item, depth)
        elif keyword in LISTS_OF_SCHEMAS:
            if isinstance(item, list) and item:
                clean[keyword] = [self._schema(member, depth) for member in item]
        elif keyword in SCHEMAS_BY_NAME:
            if isinstance(item, dict):
                there = self._names.there if keyword in BY_PROPERTY else str
                clean[keyword] = {there(name): self._named(keyword, each, depth) for name, each in item.items()}
        elif keyword == "required":
            clean[keyword] = self._texts(item)
        elif keyword == "dependentRequired":
            if isinstance(item, dict):
                clean[keyword] = {self._names.there(name): self._texts(names) for name, names in item.items()}
        elif (is_fit := IS_FIT.get(keyword)) is None or is_fit(item):
            clean[keyword] = item

    def _named(self, keyword: str, item: Any, depth: int) -> Any:
        """A subschema that has a name, or the names of other properties in its place."""
        if keyword == "dependencies" and isinstance(item, list):
            return self._texts(item)
        return self._schema(item, depth)

    def _texts(self, names: Any) -> list[str]:
        """Names of properties, each once."""
        given = names if isinstance(names, list) else []
        return list(dict.fromkeys(self._names.there(name) for name in given if isinstance(name, str)))

    @staticmethod
    def _add_limits(value: Schema, clean: Schema) -> None:
        """Limits that, as until draft 4, are themselves excluded or not."""
        for exclusive, plain in _LIMITS.items():
            if value.get(exclusive) is True and plain in clean:
                clean[exclusive] = clean.pop(plain)

    def _add_required(self, value: Schema, clean: Schema) -> None:
        """Properties that, as until draft 3, say themselves that they are required."""
        properties = value.get("properties")
        marked = [
            self._names.there(name)
            for name, item in (properties.items() if isinstance(properties, dict) else ())
            if isinstance(item, dict) and item.get("required") is True
        ]
        if marked:
            clean["required"] = list(dict.fromkeys((*clean.get("required", ()), *marked)))
        if not isinstance(value.get("required"), list) and not marked:
            clean.pop("required", None)

    def _target(self, root: Schema, target: str) -> str | None:
        """Where a reference leads now; None if it leads nowhere. What is no pointer is believed to lead somewhere."""
        steps = pointers.steps_of(target)
        if steps is None:
            return target
        node: Any = root
        now: list[str] = []
        for number, step in enumerate(steps):
            step = self._step(node, step, steps[number + 1 : number + 2])
            node = pointers.member(node, step)
            now.append(step)
        if not isinstance(node, dict | bool):
            return None
        return target if now == steps else pointers.pointer(now)

    def _step(self, node: Any, step: str, after: list[str]) -> str:
        if not isinstance(node, dict):
            return step
        if step == "items" and "prefixItems" in node and after and after[0].isdigit():
            return "prefixItems"
        if step == "additionalItems" and "items" in node:
            return "items"
        if step == "oneOf" and step not in node:
            return "anyOf"
        return step if step in node else self._names.there(step)


def _loosen_choice(clean: Schema) -> None:
    """Make the members of `oneOf` those of an `anyOf`."""
    members = clean.pop("oneOf")
    if "anyOf" in clean:
        clean["allOf"] = [*clean.get("allOf", ()), {"anyOf": members}]
    else:
        clean["anyOf"] = members
