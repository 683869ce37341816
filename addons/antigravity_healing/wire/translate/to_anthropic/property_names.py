"""The names of a tool's arguments as the Messages API takes them, and back."""

import re
from collections.abc import Iterator
from typing import Any

from antigravity_healing.wire.json.value import JsonText, digest, dump, parse

LEGAL_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_LONGEST = 64
_ILLEGAL = re.compile(r"[^a-zA-Z0-9_.-]")
# Strings are taken whole, so that none begins where another ends; what a colon follows is a name.
_STRINGS = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")([ \t\r\n]*+:)?', re.DOTALL)

ONE_SCHEMA = frozenset((
    "items", "additionalItems", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else",
    "unevaluatedItems", "unevaluatedProperties", "contentSchema",
))  # fmt: skip
LISTS_OF_SCHEMAS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
BY_PROPERTY = frozenset(("properties", "dependentSchemas", "dependencies"))
"""Keywords that hold subschemas by names of properties; the last one lists of such names, too."""
SCHEMAS_BY_NAME = frozenset((*BY_PROPERTY, "$defs", "definitions", "patternProperties"))


class PropertyNames:
    """The names of one tool's arguments, at any depth: those that upstream would not take become such as it does."""

    def __init__(self, schema: Any) -> None:
        """schema: a JSON schema, of any draft."""
        names = dict.fromkeys(_names_in(schema))
        taken = {name for name in names if LEGAL_NAME.fullmatch(name)}
        self._there: dict[str, str] = {}
        for name in names:
            if name not in taken and name not in self._there:
                self._there[name] = there = _legal(name, taken)
                taken.add(there)
        self._back = {there: name for name, there in self._there.items()}

    def __bool__(self) -> bool:
        """Whether any name has to change."""
        return bool(self._there)

    def there(self, name: str) -> str:
        """The name that upstream takes."""
        return self._there.get(name, name)

    def value_there(self, value: Any) -> Any:
        """A value with the names that upstream takes; the value itself where that changes nothing."""
        return _renamed(value, self._there)

    def value_back(self, value: Any) -> Any:
        """A value of upstream's with the client's own names; the value itself where that changes nothing."""
        return _renamed(value, self._back)


def _legal(name: str, taken: set[str]) -> str:
    """A name like this one, and not one of those."""
    plain = _ILLEGAL.sub("_", name)
    legal, salt = "", name
    while not legal or legal in taken:
        salt = digest(salt)
        mark = f"_{salt[:8]}"
        legal = plain[: _LONGEST - len(mark)] + mark
    return legal


def _names_in(schema: Any) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        for keyword, item in each.items() if isinstance(each, dict) else ():
            if keyword in ONE_SCHEMA or keyword in LISTS_OF_SCHEMAS:
                waiting += item if isinstance(item, list) else [item]
            elif keyword in SCHEMAS_BY_NAME and isinstance(item, dict):
                waiting += item.values()
                if keyword in BY_PROPERTY:
                    yield from item
                    yield from (name for names in item.values() for name in _texts(names))
            elif keyword == "required":
                yield from _texts(item)
            elif keyword == "dependentRequired" and isinstance(item, dict):
                yield from item
                yield from (name for names in item.values() for name in _texts(names))


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The value with other names in its objects, its numbers written as they were."""
    if not names:
        return value
    text = value.text if isinstance(value, JsonText) else dump(value)

    def swapped(match: re.Match[bytes]) -> bytes:
        if match[2] is None or (name := names.get(parse(match[1]))) is None:
            return match[0]
        return dump(name) + match[2]

    changed = _STRINGS.sub(swapped, text)
    if changed == text:
        return value
    renamed = parse(changed)
    return JsonText(renamed, changed) if isinstance(value, JsonText) else renamed


NO_PROPERTIES = PropertyNames({})
"""Those of a tool that is not known."""
