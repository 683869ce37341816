"""What the Messages API asks of the schema of a tool's input."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator

_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_ONE = (
    *("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties", "contentSchema", "additionalItems"),
)
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_BY_NAME = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas", "dependencies")


def check_input_schema(schema: dict[str, Any]) -> None:
    """Raise AssertionError, or jsonschema's SchemaError, unless the API takes the schema."""
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert not schema.keys() & {"anyOf", "oneOf", "allOf", "$ref"}, "the top level is put together of others"
    for each in every_schema(schema):
        for key in each.get("properties", ()):
            assert _KEY.fullmatch(key), f"a property's key: {key}"
        if str(target := each.get("$ref", "#")).startswith("#/"):
            assert isinstance(_at(schema, target), dict | bool), f"a reference to nowhere: {target}"


def every_schema(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all that it is made of, but for `true` and `false`."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += [each[name] for name in _ONE if name in each]
            waiting += [member for name in _LISTS for member in each.get(name, ())]
            waiting += [member for name in _BY_NAME for member in each.get(name, {}).values()]


def _at(node: Any, target: str) -> Any:
    for step in target.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        node = node[int(name)] if isinstance(node, list) else node[name]
    return node
