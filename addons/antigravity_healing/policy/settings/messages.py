"""Words for messages about the configuration."""

import json
from collections.abc import Iterable
from difflib import get_close_matches

from pydantic import BaseModel


def quote(text: object) -> str:
    """The text in double quotes, with everything odd in it escaped."""
    plain = json.dumps(text, ensure_ascii=False)
    return plain if plain.isprintable() else json.dumps(text)


def kind_of(value: object) -> str:
    """What a TOML value is, in plain words; never the value itself."""
    match value:
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int():
            return "a number"
        case float():
            return "a decimal number"
        case list() | tuple():
            return "a list"
        case dict() | BaseModel():
            return "a table"
    return "a date or time"


def nearest(word: str, known: Iterable[str], cutoff: float) -> str | None:
    """The known word that is nearest to this one, None if none is near enough; `cutoff` is a ratio up to 1."""
    by_lower = {item.lower(): item for item in known}
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[near[0]] if near else None


def hint(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, else all of them."""
    near = nearest(word, known, cutoff=0.6)
    return f"; did you mean {quote(near)}?" if near else f"; what can be there: {', '.join(sorted(known))}"
