"""References of schemas that lead in a circle, which the Gemini API takes only where a property may be left out."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from healing.wire.translate import pointers
from healing.wire.translate.keywords import Schema

_ONE = ("items", "additionalProperties")
_LISTS = ("prefixItems", "anyOf", "oneOf")


class _Step(NamedTuple):
    """A way from a schema to one that it needs. by: the required property that it goes by, "" if by none."""

    holder: Schema
    by: str
    to: Any


def open_required_cycles(root: Schema) -> None:
    """Make properties optional, in the schema itself, until no value has to hold another of its kind for ever.

    A circle that goes by no property at all is cut at the reference that closes it.
    root: a schema that `gemini_schema` has cleaned.
    """
    done: set[int] = set()
    for start in (root, *root.get("$defs", {}).values()):
        if id(start) not in done:
            _open_from(start, root, done)


def _open_from(start: Schema, root: Schema, done: set[int]) -> None:
    path = [_Step(start, "", start)]
    on_path = {id(start): 0}
    waiting = [_steps(start, root)]
    while waiting:
        step = next(waiting[-1], None)
        if step is None:
            waiting.pop()
            left = id(path.pop().to)
            del on_path[left]
            done.add(left)
        elif step.by and step.by not in step.holder.get("required", ()):
            # Made optional since.
            continue
        elif (begun := on_path.get(id(step.to))) is not None:
            _open([*path[begun + 1 :], step])
        elif id(step.to) not in done:
            on_path[id(step.to)] = len(path)
            path.append(step)
            waiting.append(_steps(step.to, root))


def _open(circle: list[_Step]) -> None:
    for step in reversed(circle):
        if step.by:
            step.holder["required"] = [name for name in step.holder.get("required", ()) if name != step.by]
            if not step.holder["required"]:
                del step.holder["required"]
            return
    circle[-1].holder.pop("$ref", None)


def _steps(schema: Any, root: Schema) -> Iterator[_Step]:
    """The ways to all that a value has to fit, or may have to hold without a property that can be left out."""
    if not isinstance(schema, dict):
        return
    for name in _ONE:
        if isinstance(item := schema.get(name), dict):
            yield _Step(schema, "", item)
    for name in _LISTS:
        for item in schema.get(name, ()):
            yield _Step(schema, "", item)
    required = frozenset(schema.get("required", ()))
    for name, item in schema.get("properties", {}).items():
        if name in required:
            yield _Step(schema, name, item)
    steps = pointers.steps_of(schema.get("$ref", ""))
    if steps is not None and isinstance(target := pointers.at(root, steps), dict):
        yield _Step(schema, "", target)
