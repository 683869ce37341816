"""References of schemas that lead in a circle, which the Gemini API takes only inside of optional properties."""

from collections.abc import Iterator
from typing import NamedTuple

from antigravity_healing.wire.translate import pointers
from antigravity_healing.wire.translate.keywords import Schema

_ONE = ("items", "additionalProperties")
_LISTS = ("prefixItems", "anyOf", "oneOf")


class _Step(NamedTuple):
    """A way from a schema to one that it needs. by: the required property that it goes by, if any."""

    to: Schema
    by: str = ""


def open_required_circles(root: Schema) -> None:
    """Make the required properties that lead back to themselves optional, in the schema itself.

    References that lead to themselves without any property are taken out: they say nothing.
    root: a schema that `gemini_schema` has cleaned.
    """
    for part in _circles(root):
        for each in part.values():
            inside = {step.by for step in _steps(each, root) if step.by and id(step.to) in part}
            if left := [name for name in each.get("required", ()) if name not in inside]:
                each["required"] = left
            else:
                each.pop("required", None)
    for part in _circles(root):
        for each in part.values():
            if any(id(step.to) in part for step in _steps(each, root, tree=False)):
                del each["$ref"]


def _circles(root: Schema) -> list[dict[int, Schema]]:
    """The largest sets of schemas, by their identity, that all lead to each other. (Tarjan's algorithm, in a loop.)"""
    found: list[dict[int, Schema]] = []
    # The order in which each was seen, and the first seen that it leads back to; absent when its set is complete.
    seen: dict[int, int] = {}
    lowest: dict[int, int] = {}
    open_ones: list[Schema] = []
    for start in (root, *root.get("$defs", {}).values()):
        path = [] if id(start) in seen else [(start, _steps(start, root))]
        while path:
            each, steps = path[-1]
            if id(each) not in seen:
                seen[id(each)] = lowest[id(each)] = len(seen)
                open_ones.append(each)
            step = next(steps, None)
            if step is not None:
                if id(step.to) not in seen:
                    path.append((step.to, _steps(step.to, root)))
                elif id(step.to) in lowest:
                    lowest[id(each)] = min(lowest[id(each)], seen[id(step.to)])
                continue
            path.pop()
            low = lowest[id(each)]
            if path:
                before = id(path[-1][0])
                lowest[before] = min(lowest[before], low)
            if low == seen[id(each)]:
                at = next(at for at in range(len(open_ones) - 1, -1, -1) if open_ones[at] is each)
                part = {id(one): one for one in open_ones[at:]}
                del open_ones[at:]
                for one in part:
                    del lowest[one]
                if len(part) > 1 or any(step.to is each for step in _steps(each, root)):
                    found.append(part)
    return found


def _steps(schema: Schema, root: Schema, *, tree: bool = True) -> Iterator[_Step]:
    """The ways to all that a value has to fit, or has to hold. tree: whether to schemas inside of this one, too."""
    if tree:
        for name in _ONE:
            if isinstance(item := schema.get(name), dict):
                yield _Step(item)
        for name in _LISTS:
            for item in schema.get(name, ()):
                yield _Step(item)
        required = frozenset(schema.get("required", ()))
        for name, item in schema.get("properties", {}).items():
            if name in required:
                yield _Step(item, name)
    steps = pointers.steps_of(schema["$ref"]) if "$ref" in schema else None
    if steps is not None and isinstance(target := pointers.at(root, steps), dict):
        yield _Step(target)
