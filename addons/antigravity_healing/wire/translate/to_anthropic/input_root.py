"""The top level of a tool's input, where the Messages API takes an object's schema without references and unions."""

from collections.abc import Iterator
from typing import Any

from antigravity_healing.wire.json.value import canonical, dump_text
from antigravity_healing.wire.translate import pointers
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.keywords import Schema, types_of, with_description
from antigravity_healing.wire.translate.to_anthropic.property_names import LISTS_OF_SCHEMAS, ONE_SCHEMA, SCHEMAS_BY_NAME

_COMBINING = ("$ref", "allOf", "anyOf", "oneOf")
_UNIONS = {"anyOf": "at least one", "oneOf": "exactly one"}
_DEFINITIONS = ("$defs", "definitions")
_HEAD = frozenset((*_DEFINITIONS, "$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary"))
_MODERN = "https://json-schema.org/draft/2020-12/schema"
_BY_NAME = ("properties", "patternProperties", "dependentSchemas")
_MERGED = frozenset(("properties", "required", "unevaluatedProperties"))
_CONDITION = ("if", "then", "else")
# How much a small schema may grow when its parts are put together: they can refer to each other twice and twice again.
_MOST_PARTS = 300
_MOST_PROPERTIES = 20_000
_MOST_WORDS = 100_000


def object_root(schema: Schema, where: str) -> Schema:
    """The schema as one of an object, with nothing at its top that is chosen or referred to.

    It allows what the given one allows of objects: of a union each property that any member names, and the union itself
    is told in words. A member says nothing of a property that it does not name.
    schema: one of draft 2020-12; its references are changed where they lead into its top. where: its place.
    Raises UntranslatableError where no object is allowed.
    """
    if schema.get("type") == "object" and not any(name in schema for name in _COMBINING):
        return schema
    schema = _with_copy_for_references(schema)
    merging = _Merging(schema, where)
    merged = merging.object(schema, frozenset())
    if merged is None:
        raise UntranslatableError(f"{where}: the parameters of a function have to be an object")
    head = {name: item for name, item in schema.items() if name in _HEAD}
    if head.get("$schema", _MODERN).removesuffix("#") != _MODERN:
        del head["$schema"]
    root = {"type": "object", "properties": {}, **merged, **head}
    return with_description(root, "\n".join(merging.words)) if merging.words else root


def _with_copy_for_references(schema: Schema) -> Schema:
    """The schema with a copy of its top among its definitions, where references lead into what is about to change."""
    referrers = [each for each in _subschemas(schema) if _into_top(each.get("$ref")) is not None]
    if not referrers:
        return schema
    definitions = schema.get("$defs", {})
    name = "input"
    while name in definitions:
        name += "_"
    copy = {keyword: item for keyword, item in schema.items() if keyword not in _HEAD}
    schema = {**schema, "$defs": {**definitions, name: copy}}
    for each in [copy, *referrers]:
        if (steps := _into_top(each.get("$ref"))) is not None:
            each["$ref"] = pointers.pointer(("$defs", name, *steps))
    if copy.get("$ref") == pointers.pointer(("$defs", name)):
        # The top is itself.
        del copy["$ref"], schema["$ref"]
    elif "$ref" in copy:
        schema["$ref"] = copy["$ref"]
    return schema


def _into_top(target: Any) -> list[str] | None:
    """The steps of a reference that leads to the top or into it, but not to a definition."""
    steps = pointers.steps_of(target) if isinstance(target, str) else None
    return None if steps is None or (steps and steps[0] in _DEFINITIONS) else steps


def _subschemas(schema: Schema) -> Iterator[Schema]:
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, dict):
            continue
        yield each
        for name, item in each.items():
            if name in ONE_SCHEMA:
                waiting.append(item)
            elif name in LISTS_OF_SCHEMAS:
                waiting += item
            elif name in SCHEMAS_BY_NAME:
                waiting += item.values()


class _Merging:
    """Puts together what the top of a schema is made of.

    words: what of its unions is lost.
    """

    def __init__(self, root: Schema, where: str) -> None:
        self.words: list[str] = []
        self._root = root
        self._where = where
        self._parts = 0
        self._properties = 0
        self._told = 0

    def object(self, schema: Any, seen: frozenset[str], *, told: bool = False) -> Schema | None:
        """What a schema says of an object, without unions and references; None if it allows none.

        seen: the references that led here. told: whether its unions stand in words already.
        """
        self._parts += 1
        self._properties += len(schema.get("properties", ())) if isinstance(schema, dict) else 0
        if self._parts > _MOST_PARTS or self._properties > _MOST_PROPERTIES:
            raise UntranslatableError(f"{self._where}: the top level of the schema is made of too many parts")
        if not isinstance(schema, dict):
            return None if schema is False else {}
        if "object" not in (types_of(schema.get("type")) or ("object",)):
            return None
        own = {name: item for name, item in schema.items() if name not in _HEAD and name not in (*_COMBINING, "type")}
        parts: list[Schema | None] = [own]
        if isinstance(target := schema.get("$ref"), str):
            parts.append(self._referred(target, seen, told=told))
        parts += [self.object(each, seen, told=told) for each in schema.get("allOf", ())]
        for keyword, how_many in _UNIONS.items():
            if members := schema.get(keyword):
                parts.append(self._union(members, how_many, seen, told=told))
        merged: Schema = {}
        for part in parts:
            if part is None:
                return None
            _add(part, merged)
        if len(parts) > 1:
            # What others have said of is no longer known.
            merged.pop("unevaluatedProperties", None)
        return merged

    def _referred(self, target: str, seen: frozenset[str], *, told: bool) -> Schema | None:
        steps = pointers.steps_of(target)
        found = None if steps is None else pointers.at(self._root, steps)
        if target in seen or not isinstance(found, dict | bool):
            # That it is itself says nothing, and what others say is not known.
            return {}
        return self.object(found, seen | {target}, told=told)

    def _union(self, members: list[Any], how_many: str, seen: frozenset[str], *, told: bool) -> Schema | None:
        possible = [(given, made) for given in members if (made := self.object(given, seen, told=True)) is not None]
        if not possible:
            return None
        if len(possible) == 1:
            # By itself it may have unions that are worth telling.
            return self.object(possible[0][0], seen, told=told)
        if not told and self._told < _MOST_WORDS:
            shown = ", ".join(dump_text(self._shown(given)) for given, _ in possible)
            self.words.append(f"The input has to fit {how_many} of these schemas: [{shown}]")
            self._told += len(shown)
        return _either([made for _, made in possible])

    def _shown(self, member: Any) -> Any:
        """A member of a union as it is told: what it refers to, if that is all it does."""
        if isinstance(member, dict) and member.keys() == {"$ref"}:
            steps = pointers.steps_of(member["$ref"])
            found = None if steps is None else pointers.at(self._root, steps)
            return member if found is None else found
        return member


def _add(part: Schema, merged: Schema) -> None:
    """Let one more schema hold for the same object. Of what can't be said of both the first one's is kept."""
    for name, item in part.items():
        before = merged.get(name)
        if name in _BY_NAME and isinstance(before, dict):
            merged[name] = {**before, **{key: _both(before.get(key, True), each) for key, each in item.items()}}
        elif name == "required" and before is not None:
            merged[name] = list(dict.fromkeys((*before, *item)))
        elif name == "dependentRequired" and before is not None:
            merged[name] = {**item, **before}
        elif name not in merged and not (name in _CONDITION and "if" not in part):
            merged[name] = item


def _both(first: Any, second: Any) -> Any:
    if first is True or canonical(first) == canonical(second):
        return second
    return first if second is True else {"allOf": [first, second]}


def _either(members: list[Schema]) -> Schema:
    """What holds for an object for which one of these does."""
    first = members[0]
    merged = {
        name: item
        for name, item in first.items()
        if name not in ("properties", "required", "unevaluatedProperties")
        and all(_says(each, name, item) for each in members)
    }
    if any("patternProperties" in each for each in members) and "patternProperties" not in merged:
        merged.pop("additionalProperties", None)
    names = dict.fromkeys(name for each in members for name in each.get("properties", ()))
    if names:
        merged["properties"] = {name: _any_of([_said_of(name, each) for each in members]) for name in names}
    if required := [name for name in first.get("required", ()) if all(name in m.get("required", ()) for m in members)]:
        merged["required"] = required
    return merged


def _says(schema: Schema, name: str, item: Any) -> bool:
    return name in schema and canonical(schema[name]) == canonical(item)


def _said_of(name: str, schema: Schema) -> Any:
    """What a schema says of a property, None if it does not name it."""
    properties = schema.get("properties", {})
    if name in properties:
        return properties[name]
    others = schema.get("additionalProperties")
    return others if isinstance(others, dict) else None


def _any_of(said: list[Any]) -> Any:
    different = {canonical(each): each for each in said if each is not None}
    return next(iter(different.values())) if len(different) == 1 else {"anyOf": list(different.values())}
