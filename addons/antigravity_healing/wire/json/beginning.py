"""Reading a JSON object of which only the beginning has come."""

import re
from typing import Any

from antigravity_healing.wire.json.exact import read_input

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SCALAR = r"(?:-?\d++(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null)(?![\w.+-])"
_TOKEN = re.compile(rf"\s*+({_STRING}|[{{}}\[\],:]|{_SCALAR})", re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


def read_beginning(text: str) -> dict[str, Any]:
    """What a JSON object that was cut off says up to there: its whole members, and those begun that have some.

    As the SDK reads it: half a string says nothing, half a number is taken for a whole one. What is no JSON ends it.
    """
    open_: list[str] = []
    at = end = 0
    before = ""
    while match := _TOKEN.match(text, at):
        token, at = match[1], match.end()
        if token in _CLOSING:
            open_.append(_CLOSING[token])
            end = at
        elif open_ and token == open_[-1]:
            open_.pop()
            end = at
        elif token not in ("}", "]", ",", ":") and (before == ":" or open_[-1:] == ["]"]):
            end = at
        if not open_:
            break
        before = token
    try:
        return read_input((text[:end], *reversed(open_)))
    except ValueError:
        return {}
