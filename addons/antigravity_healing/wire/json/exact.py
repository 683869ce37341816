"""The inputs and arguments of calls as the JSON text that was written for them.

A double has no place for many a number that a model writes, and a dict none for a name that comes twice. Whoever acts
on a call has to get what the model wrote.
"""

import re
from collections.abc import Iterable
from secrets import token_hex
from typing import Any, NamedTuple

import orjson

from antigravity_healing.wire.json.value import JsonText, joined, parse_strictly
from antigravity_healing.wire.json.value import parse as parse_plainly

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# In JSON these quotes can't close one string and open another, so unless a backslash stands before it this is a name.
_OBJECT = re.compile(rb'"(?:args|input|response)"[ \t\r\n]*+:[ \t\r\n]*+(?=\{[ \t\r\n]*+[^} \t\r\n])')
_NAME = re.compile(rb'"(?:args|input|response)"')
_LONGEST_NAME = len(b'"response"')
# So much at once holds the interpreter for a millisecond or so.
_STEP_BYTES = 256 * 1024
_TO_BRACE = re.compile(rb'[^{}"]*+(?:%s[^{}"]*+){0,1000}+' % _STRING, re.DOTALL)
_BRACES = (b"{", b"}")
_OPENING, _BACKSLASH = b"{", ord("\\")
# So many objects take a twentieth of a second. A text that has more is read as any other.
_MOST_OBJECTS = 10_000
_CONTAINERS = frozenset((dict, list))
_NAMES = frozenset(("args", "input", "response"))
_HOLDERS = frozenset((
    "functionCall", "function_call", "functionResponse", "function_response", "toolCall", "tool_call", "toolResponse",
    "tool_response",
))  # fmt: skip
_CALLS = frozenset(("tool_use", "server_tool_use", "mcp_tool_use"))
_ONLY_MEMBER = re.compile(rb"\{\s*+%s\s*+:(.*)\}" % _STRING, re.DOTALL)


def parse(data: bytes | bytearray) -> Any:
    """As `jsonvalue.parse`, but the inputs, arguments and responses of calls are written again as they stand here.

    Raises ValueError also where one of them holds NaN or Infinity.
    """
    found = _objects_in(data)
    if not found or all(each.exact for each in found):
        return parse_plainly(data)
    return _put_together(data, found)


def made_exact(value: Any, data: bytes) -> Any:
    """The same for what has been parsed already. value: what `jsonvalue.parse` gave, which is not changed."""
    if _is_written_as(value, data):
        return value
    found = _objects_in(data)
    return value if all(each.exact for each in found) else _put_together(data, found)


def read_input(pieces: Iterable[str]) -> dict[str, Any]:
    """The object that the pieces of a call's input say together. Raises ValueError where they say none."""
    text = joined(pieces)
    # Half a surrogate pair can be written in ASCII only.
    data = text.encode("utf-8", "backslashreplace")
    value = parse_strictly(data)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value if _is_written_as(value, data) else JsonText(value, data)


def only_member(value: dict[str, Any]) -> str | None:
    """The JSON text of the one member of an object that was read here; None where nothing better than it is known."""
    if not isinstance(value, JsonText) or (match := _ONLY_MEMBER.fullmatch(value.text.strip())) is None:
        return None
    text = match[1].strip()
    try:
        parse_strictly(text)
    except ValueError:
        return None  # a name that comes twice
    return text.decode()


class _Object(NamedTuple):
    """An object that stands in a text. exact: whether it is written as it stands there anyway."""

    start: int
    end: int
    exact: bool
    value: dict[str, Any]


def _is_written_as(value: Any, text: bytes) -> bool:
    try:
        return orjson.dumps(value) == text
    except TypeError:
        return False


def _objects_in(data: bytes | bytearray) -> list[_Object]:
    """The members with these names that are objects and not empty, but for those inside of another.

    None where there are very many.
    """
    found: list[_Object] = []
    at = 0
    while match := _next_object(data, at):
        if len(found) >= _MOST_OBJECTS:
            return []
        at = match.end()
        if data[match.start() - 1] != _BACKSLASH:
            start, at = at, _end_of(data, at)
            text = bytes(data[start:at])
            value: dict[str, Any] = parse_strictly(text)
            exact = _is_written_as(value, text)
            found.append(_Object(start, at, exact, value if exact else JsonText(value, text)))
    return found


def _next_object(data: bytes | bytearray, at: int) -> re.Match[bytes] | None:
    """The name of the next such member, looked for in steps that let others have the interpreter."""
    while at < len(data):
        if (name := _NAME.search(data, at, at + _STEP_BYTES)) is None:
            at += _STEP_BYTES - _LONGEST_NAME
        elif found := _OBJECT.match(data, name.start()):
            return found
        else:
            at = name.start() + 1
    return None


def _end_of(data: bytes | bytearray, start: int) -> int:
    depth = 0
    at = start
    while match := _TO_BRACE.match(data, at):
        before, at = at, match.end()
        found = data[at : at + 1]
        if found in _BRACES:
            at += 1
            depth += 1 if found == _OPENING else -1
            if not depth:
                return at
        elif at == before:
            break
    raise ValueError("an object without an end")


def _put_together(data: bytes | bytearray, found: list[_Object]) -> Any:
    """Parse the text around the objects, and put them into their places."""
    pieces: list[bytes | bytearray] = []
    at = 0
    # Nobody can have written this name.
    mark = token_hex(8)
    for place, each in enumerate(found):
        pieces += (data[at : each.start], b'{"%b":%d}' % (mark.encode(), place))
        at = each.end
    value = parse_plainly(b"".join((*pieces, data[at:])))
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        holder, item = waiting.pop()
        if type(item) is list:
            waiting += [(holder, each) for each in item if type(each) in _CONTAINERS]
            continue
        for name, member in item.items() if type(item) is dict else ():
            if type(member) not in _CONTAINERS:
                continue
            if name in _NAMES and type(member) is dict and type(index := member.get(mark)) is int:
                known = found[index].value
                # Others, like the schema of a parameter that is called so, belong to those who change them.
                item[name] = known if _is_calls(name, holder, item) else dict(known)
            else:
                waiting.append((name, member))
    return value


def _is_calls(name: str, holder: str, item: dict[str, Any]) -> bool:
    if name != "input":
        return holder in _HOLDERS
    kind = item.get("type")
    return isinstance(kind, str) and kind in _CALLS
